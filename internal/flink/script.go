package flink

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sql"
)

// Environment is what differs between environments, so that a pipeline's file need not contain it.
type Environment struct {
	Kafka            broker.Config
	Registry         string // URL of the schema registry; "": as in the file
	RegistryUser     string
	RegistryPassword string
}

// Options configure a deployment.
type Options struct {
	Name               string        // default: SET 'pipeline.name', or else Fallback
	Fallback           string        // name of the file, without .sql
	Parallelism        int           // 0: as in the file, or else the cluster's default
	CheckpointInterval time.Duration // 0: as in the file, or else 10 s
	CheckpointDir      string        // "": as in the file, or else the cluster's default
	TransactionTimeout time.Duration // for sinks whose timeout the file does not set; the broker's maximum
}

// Script is a pipeline's file as submitted to Flink: the statements as written, plus the table
// options that depend on the environment or that exactly-once delivery requires.
type Script struct {
	Name       string
	Settings   map[string]string // of the session
	Statements []string          // CREATE and DROP
	Job        string            // INSERT, or a statement set with all of them
	Sources    []Table
	Sinks      []Table
	Warnings   []string

	CheckpointInterval time.Duration
}

// Table is a table that the pipeline reads or writes, with the options passed to Flink.
type Table struct {
	Name    string
	Topic   string
	Upsert  bool
	Options map[string]string
}

// prefixRoot begins the transactional ids of all Flink sinks deployed by Weir.
const prefixRoot = "weir-flink/"

// TransactionalIDPrefix is the prefix for all sinks of a job. Flink appends the table, the subtask
// and the checkpoint.
func TransactionalIDPrefix(job string) string { return prefixRoot + job + "/" }

// JobOfTransaction returns the job whose sink uses a transactional id; ok is false for other ids.
func JobOfTransaction(id string) (job string, ok bool) {
	rest, ok := strings.CutPrefix(id, prefixRoot)
	if !ok {
		return "", false
	}
	job, _, ok = strings.Cut(rest, "/")
	return job, ok
}

// DefaultCheckpointInterval is the default interval at which results become visible.
const DefaultCheckpointInterval = 10 * time.Second

// NewScript prepares a pipeline's file. Errors with a position in the file are *sql.Error.
func NewScript(text string, env Environment, o Options) (*Script, error) {
	text, parsed, err := writtenOut(text, o.Fallback, env)
	if err != nil {
		return nil, err
	}
	s := &Script{Name: o.Name, Settings: make(map[string]string)}
	w := &writer{Script: s, text: text, env: env, options: o, read: tablesRead(parsed), written: make(map[string]bool)}
	var inserts []string
	set := false
	for i, statement := range parsed.Statements {
		switch statement := statement.(type) {
		case *sql.Insert:
			w.written[last(statement.Table)] = true
			inserts = append(inserts, parsed.Texts[i])
		case *sql.StatementSet:
			set = true
			for _, insert := range statement.Inserts {
				w.written[last(insert.Table)] = true
			}
			from := sql.Offset(text, statement.Inserts[0].Pos) - sql.Offset(text, statement.Pos)
			inside, err := sql.Parse(parsed.Texts[i][from : len(parsed.Texts[i])-len("END")])
			if err != nil {
				return nil, err
			}
			inserts = append(inserts, inside.Texts...)
		case *sql.Set:
			s.Settings[statement.Key] = statement.Value
		}
	}
	if len(inserts) == 0 {
		return nil, errors.New("the file has no INSERT INTO … SELECT: there is nothing to deploy")
	}
	if err := w.settings(); err != nil {
		return nil, err
	}
	for i, statement := range parsed.Statements {
		switch statement := statement.(type) {
		case *sql.CreateTable:
			changed, err := w.createTable(statement, parsed.Texts[i])
			if err != nil {
				return nil, err
			}
			s.Statements = append(s.Statements, changed)
		case *sql.CreateView, *sql.Drop:
			s.Statements = append(s.Statements, parsed.Texts[i])
		}
	}
	s.Job = inserts[0]
	if set || len(inserts) > 1 {
		s.Job = "EXECUTE STATEMENT SET BEGIN\n" + strings.Join(inserts, ";\n") + ";\nEND" // one job for all INSERTs
	}
	return s, nil
}

// writtenOut parses a pipeline. If it has LIKE or AS, whose tables need options of their own, the
// text is rewritten without them.
func writtenOut(text, name string, env Environment) (string, *sql.Script, error) {
	parsed, err := sql.Parse(text)
	if err != nil {
		return "", nil, err
	}
	if err := checkHints(parsed); err != nil {
		return "", nil, err
	}
	if !slices.ContainsFunc(parsed.Statements, func(s sql.Statement) bool {
		t, ok := s.(*sql.CreateTable)
		return ok && (t.Like != nil || t.As != nil)
	}) {
		return text, parsed, nil
	}
	program, err := plan.Compile(withRegistry(parsed, env), name)
	if err != nil {
		return "", nil, err
	}
	text = program.Script.String()
	parsed, err = sql.Parse(text)
	return text, parsed, err
}

// withRegistry returns a pipeline as text, with the registry of the environment, which the file
// need not contain.
func withRegistry(script *sql.Script, env Environment) string {
	for _, s := range script.Statements {
		t, ok := s.(*sql.CreateTable)
		if !ok || env.Registry == "" {
			continue
		}
		given := make(map[string]string)
		for _, o := range t.Options {
			given[o.Key] = o.Value
		}
		for key, url := range registryURLs(given, env.Registry) {
			if given[key] == "" {
				t.Options = append(t.Options, sql.Option{Key: key, Value: url})
			}
		}
	}
	return script.String()
}

// checkHints refuses hints that replace options which a deployment sets or checks itself.
func checkHints(script *sql.Script) (failed error) {
	walk(script, func(node any) {
		h, ok := node.(sql.Hint)
		if !ok || failed != nil {
			return
		}
		for _, o := range h.Options {
			if o.Key == "connector" || o.Key == "topic" || strings.HasPrefix(o.Key, "properties.") || strings.HasPrefix(o.Key, "sink.") {
				failed = sql.Errorf(o, "the hint replaces the option '%s', which weir flink deploy sets or checks", o.Key).
					WithHint("declare a table with it: CREATE TABLE … WITH ('%s' = '…') LIKE …", o.Key)
			}
		}
	})
	return failed
}

func last(path []sql.Ident) string { return path[len(path)-1].Name }

// writer writes a script.
type writer struct {
	*Script
	text          string
	env           Environment
	options       Options
	read, written map[string]bool // names of tables
}

// settings derives the session's settings from the file and the options.
func (w *writer) settings() error {
	s := w.Settings
	for key := range s {
		if strings.HasPrefix(key, "weir.") { // read by Weir only
			delete(s, key)
		}
	}
	if w.Name == "" {
		w.Name = s["pipeline.name"]
	}
	if w.Name == "" {
		w.Name = w.options.Fallback
	}
	if err := plan.CheckName(w.Name); err != nil {
		return err
	}
	s["pipeline.name"] = w.Name
	s["execution.runtime-mode"] = "streaming"
	if w.options.Parallelism > 0 {
		s["parallelism.default"] = strconv.Itoa(w.options.Parallelism)
	}
	if mode, ok := s["execution.checkpointing.mode"]; ok && !strings.EqualFold(mode, "EXACTLY_ONCE") {
		w.warn("the file sets 'execution.checkpointing.mode' = '%s': after a failure rows are processed again", mode)
	} else {
		s["execution.checkpointing.mode"] = "EXACTLY_ONCE"
	}
	w.CheckpointInterval = w.options.CheckpointInterval
	if text, ok := s["execution.checkpointing.interval"]; ok && w.CheckpointInterval == 0 {
		interval, err := plan.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("SET 'execution.checkpointing.interval': %w", err)
		}
		w.CheckpointInterval = interval
	}
	if w.CheckpointInterval == 0 {
		w.CheckpointInterval = DefaultCheckpointInterval
	}
	s["execution.checkpointing.interval"] = millis(w.CheckpointInterval) + " ms"
	// Checkpoints must outlive a cancelled job or a lost JobManager, since the job is recovered
	// from them.
	s["execution.checkpointing.externalized-checkpoint-retention"] = "RETAIN_ON_CANCELLATION"
	if w.options.CheckpointDir != "" {
		s["execution.checkpointing.dir"] = w.options.CheckpointDir
	}
	if s["table.local-time-zone"] == "" {
		s["table.local-time-zone"] = "UTC" // as in weir run, independent of the gateway's time zone
	}
	return nil
}

func (w *writer) warn(format string, args ...any) {
	w.Warnings = append(w.Warnings, fmt.Sprintf(format, args...))
}

// onlyInWeir are connectors that Flink does not have.
var onlyInWeir = []string{"http", "influxdb", "mqtt"}

// withoutStore takes the options of an object store out of a table: Flink has them in the
// configuration of the cluster.
func (w *writer) withoutStore(s *sql.CreateTable, t Table, text string) string {
	given := maps.Clone(t.Options)
	maps.DeleteFunc(t.Options, func(key, _ string) bool { return strings.HasPrefix(key, "s3.") })
	if scheme, _, ok := strings.Cut(t.Options["path"], "://"); ok && strings.HasPrefix(scheme, "s3") {
		w.warn("table %s: Flink needs the plugin flink-s3-fs-hadoop for its path, and has the options s3.… in the configuration of the cluster", t.Name)
	}
	return w.rewrite(s, text, given, t.Options)
}

// createTable returns the text of a CREATE TABLE with its options for this environment.
func (w *writer) createTable(s *sql.CreateTable, text string) (string, error) {
	t := Table{Name: last(s.Name), Options: make(map[string]string)}
	for _, o := range s.Options {
		t.Options[o.Key] = o.Value
	}
	connector := t.Options["connector"]
	if connector == "jdbc" && strings.HasPrefix(t.Options["url"], "jdbc:sqlite:") {
		return "", fmt.Errorf("table %s: Flink's jdbc connector does not know SQLite: run the pipeline with weir run, or write to PostgreSQL or a topic", t.Name)
	}
	if slices.Contains(onlyInWeir, connector) {
		return "", fmt.Errorf("table %s: Flink has no connector %s: let this file write to a kafka or upsert-kafka table, and take the rows from its topic with a second file: weir run, INSERT INTO %s SELECT * FROM that topic", t.Name, connector, t.Name)
	}
	if connector == "jdbc" && w.written[t.Name] {
		w.warn("table %s: Flink's jdbc connector writes at least once. %s", t.Name, map[bool]string{
			true: "Rows with its primary key replace each other, so that repeated ones do no harm", false: "Without a primary key, rows are doubled after a failure",
		}[s.PrimaryKey != nil])
	}
	if connector == "filesystem" && w.written[t.Name] {
		w.warn("table %s: Flink completes its files at checkpoints, on the machines of its TaskManagers, and needs the jar of the format %s in its lib directory", t.Name, t.Options["format"])
	}
	if connector != "kafka" && connector != "upsert-kafka" {
		if connector == "filesystem" {
			text = w.withoutStore(s, t, text)
		}
		return text, nil
	}
	t.Topic, t.Upsert = t.Options["topic"], connector == "upsert-kafka"
	if err := checkFormats(s); err != nil {
		return "", err
	}
	given := maps.Clone(t.Options)
	if err := w.connection(&t); err != nil {
		return "", err
	}
	isSource := w.read[t.Name] || !w.written[t.Name]
	if isSource {
		w.source(&t)
		w.Sources = append(w.Sources, t)
	}
	if w.written[t.Name] {
		w.sink(&t)
		w.Sinks = append(w.Sinks, t)
	}
	return w.rewrite(s, text, given, t.Options), nil
}

// rewrite replaces the values of existing options in place, removes those that are not wanted, and
// appends new options after the last one.
func (w *writer) rewrite(s *sql.CreateTable, text string, given, wanted map[string]string) string {
	start := sql.Offset(w.text, s.Pos)
	end := func(o sql.Option) int { return literalEnd(text, sql.Offset(w.text, o.ValuePos)-start) }
	behind := end(s.Options[len(s.Options)-1])
	var added strings.Builder
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if _, ok := given[key]; !ok {
			fmt.Fprintf(&added, ",\n  %s = %s", sql.QuoteString(key), sql.QuoteString(wanted[key]))
		}
	}
	text = text[:behind] + added.String() + text[behind:]
	for i, o := range slices.Backward(s.Options) { // backwards, so that earlier positions stay valid
		value, ok := wanted[o.Key]
		switch {
		case !ok && i > 0:
			text = text[:end(s.Options[i-1])] + text[end(o):]
		case !ok:
			text = text[:sql.Offset(w.text, o.Pos)-start] + strings.TrimLeft(text[end(o):], ", \t\r\n")
		case value != o.Value:
			from := sql.Offset(w.text, o.ValuePos) - start
			text = text[:from] + sql.QuoteString(value) + text[end(o):]
		}
	}
	return text
}

// literalEnd returns the offset after the string literal that starts at from.
func literalEnd(text string, from int) int {
	for i := from + 1; i < len(text); i++ {
		if text[i] != '\'' {
			continue
		}
		if i+1 < len(text) && text[i+1] == '\'' {
			i++
			continue
		}
		return i + 1
	}
	return len(text)
}

// connection sets the addresses of Kafka and the schema registry. The command line overrides the
// file.
func (w *writer) connection(t *Table) error {
	k := &w.env.Kafka
	if len(k.Brokers) > 0 {
		t.Options["properties.bootstrap.servers"] = strings.Join(k.Brokers, ",")
	}
	if t.Options["properties.bootstrap.servers"] == "" {
		return fmt.Errorf("table %s: no Kafka brokers are set: use --brokers, or 'properties.bootstrap.servers' in the file", t.Name)
	}
	for key, value := range security(k) {
		if value.err != nil {
			return value.err
		}
		t.Options["properties."+key] = value.text
	}
	if w.env.Registry == "" {
		return nil
	}
	for key, url := range registryURLs(t.Options, w.env.Registry) {
		t.Options[key] = url
		if optionPrefix := strings.TrimSuffix(key, "url"); w.env.RegistryUser != "" {
			t.Options[optionPrefix+"basic-auth.credentials-source"] = "USER_INFO"
			t.Options[optionPrefix+"basic-auth.user-info"] = w.env.RegistryUser + ":" + w.env.RegistryPassword
		}
	}
	return nil
}

// registryURLs returns the options of a table's formats that name the schema registry.
func registryURLs(options map[string]string, url string) map[string]string {
	urls := make(map[string]string)
	for option, prefix := range map[string]string{"format": "", "value.format": "value.", "key.format": "key."} {
		if name := options[option]; strings.HasSuffix(name, "-confluent") {
			urls[prefix+name+".url"] = url
		}
	}
	return urls
}

// property is the value of a Kafka client property.
type property struct {
	text string
	err  error
}

// shaded is the package of Kafka's classes in Flink's SQL connector.
const shaded = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security."

// security returns the configuration as properties of Java clients. Certificates are inlined, since
// this machine's files do not exist on the cluster.
func security(k *broker.Config) map[string]property {
	p := make(map[string]property)
	tls := k.TLS || k.CAFile != "" || k.CertFile != ""
	protocol := "PLAINTEXT"
	if tls {
		protocol = "SSL"
	}
	if k.SASL != "" {
		protocol = "SASL_" + protocol
		mechanism := strings.ToUpper(k.SASL)
		module := shaded + "scram.ScramLoginModule"
		if mechanism == "PLAIN" {
			module = shaded + "plain.PlainLoginModule"
		}
		p["sasl.mechanism"] = property{text: mechanism}
		p["sasl.jaas.config"] = property{text: fmt.Sprintf("%s required username=%s password=%s;", module, jaas(k.User), jaas(k.Password))}
	}
	if tls || k.SASL != "" {
		p["security.protocol"] = property{text: protocol}
	}
	if k.TLSInsecure {
		p["ssl"] = property{err: errors.New("--tls-insecure is not possible: Flink's Kafka client always verifies the brokers' certificates; set their authority with --tls-ca")}
	}
	file := func(key, path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			err = fmt.Errorf("read %s: %w", path, err)
		}
		p[key] = property{string(text), err}
	}
	if k.CAFile != "" {
		p["ssl.truststore.type"] = property{text: "PEM"}
		file("ssl.truststore.certificates", k.CAFile)
	}
	if k.CertFile != "" {
		p["ssl.keystore.type"] = property{text: "PEM"}
		file("ssl.keystore.certificate.chain", k.CertFile)
		file("ssl.keystore.key", k.KeyFile)
	}
	return p
}

// jaas quotes a value for a JAAS configuration.
func jaas(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// source sets the options that a table needs to be read: committed records only, and a consumer
// group.
func (w *writer) source(t *Table) {
	switch level := t.Options["properties.isolation.level"]; level {
	case "":
		t.Options["properties.isolation.level"] = "read_committed"
	case "read_committed":
	default:
		w.warn("table %s reads '%s': rows of transactions that are aborted are counted, too", t.Name, level)
	}
	if t.Options["properties.group.id"] == "" {
		t.Options["properties.group.id"] = "weir-" + w.Name // as in weir run; Flink keeps offsets in its state, and commits them only for monitoring
	}
	if mode := t.Options["scan.startup.mode"]; !t.Upsert && (mode == "" || mode == "group-offsets") && t.Options["properties.auto.offset.reset"] == "" {
		t.Options["properties.auto.offset.reset"] = "earliest" // as in weir run; by default Flink fails if the group has no offset
	}
}

// sink sets the options that a table needs to be written exactly once.
func (w *writer) sink(t *Table) {
	switch guarantee := t.Options["sink.delivery-guarantee"]; guarantee {
	case "":
		t.Options["sink.delivery-guarantee"] = "exactly-once"
	case "exactly-once":
	default:
		w.warn("table %s is written '%s': after a failure rows are written again", t.Name, guarantee)
		return
	}
	prefix := TransactionalIDPrefix(w.Name) + t.Name
	if own := t.Options["sink.transactional-id-prefix"]; own != "" && own != prefix && own != w.Name && own != t.Name && own != t.Topic {
		w.warn("table %s: the transactional ids start with %s, not %s: no other job may use them", t.Name, prefix, own)
	}
	t.Options["sink.transactional-id-prefix"] = prefix
	if t.Options["properties.transaction.timeout.ms"] == "" && w.options.TransactionTimeout > 0 {
		t.Options["properties.transaction.timeout.ms"] = millis(w.options.TransactionTimeout)
	}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Secret reports whether a file has options whose values must not be stored.
func Secret(text string) bool { return secret.Redact(text) != text }

// tablesRead returns the names of the tables and views that queries read.
func tablesRead(script *sql.Script) map[string]bool {
	names := make(map[string]bool)
	walk(script, func(node any) {
		if t, ok := node.(*sql.TableName); ok {
			names[last(t.Name)] = true
		}
	})
	return names
}

// walk calls visit for each node of the statements, and each part of a node.
func walk(script *sql.Script, visit func(node any)) {
	var down func(v reflect.Value)
	down = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if v.IsNil() {
				return
			}
			visit(v.Interface())
			down(v.Elem())
		case reflect.Struct:
			visit(v.Interface())
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					down(v.Field(i))
				}
			}
		case reflect.Slice:
			for i := range v.Len() {
				down(v.Index(i))
			}
		}
	}
	down(reflect.ValueOf(script.Statements))
}
