package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// Table is a topic as rows.
type Table struct {
	sql.Pos
	Name    string
	Upsert  bool // upsert-kafka: a row replaces the one of its key, a tombstone deletes it
	Topic   string
	Brokers string // properties.bootstrap.servers; "" where the file leaves it out
	Columns []TableColumn

	Rowtime    int       // column of the watermark; -1 where there is none
	Watermark  expr.Node // over Columns; nil where there is none
	PrimaryKey []int

	Key, Value Format

	Startup     Startup
	Reset       Reset
	Bounded     bool // scan.bounded.mode is latest-offset
	IdleTimeout time.Duration
}

// TableColumn is one column of a table. Physical columns lie in key or value of the record.
type TableColumn struct {
	Name     string
	Type     column.Type
	Metadata string    // key of the metadata: timestamp, partition, …
	Virtual  bool      // metadata that can't be written
	Computed expr.Node // over the other columns; never written
}

// Physical reports a column that lies in key or value.
func (c TableColumn) Physical() bool { return c.Metadata == "" && c.Computed == nil }

// Format is how key or value of a record hold columns. Name is "" for a key that is not looked at.
type Format struct {
	Name    string
	Options format.Options
	Columns []int          // of the table
	Fields  []format.Field // as the format names them, parallel to Columns
}

// hash names how Kafka's default partitioner sees the key: by its bytes.
func (f *Format) hash() string {
	s := f.Name
	for _, field := range f.Fields {
		s += " " + field.Type.Nullable(true).String()
		if f.Name != "raw" {
			s += " " + field.Name
		}
	}
	return s + format.Encoding(f.Name, f.Options)
}

// Startup is where a source begins that has no committed offset: scan.startup.mode.
type Startup struct {
	Group     bool // group-offsets, or nothing is said: offsets that somebody has set for the group count
	Latest    bool
	Timestamp int64 // milliseconds since 1970; 0 where the mode is another one
}

// Reset is where a source reads on whose next records were deleted before they were read:
// properties.auto.offset.reset.
type Reset string

// Values of Reset.
const (
	ResetEarliest Reset = "earliest" // at what is left, which is the default
	ResetLatest   Reset = "latest"   // at the end
	ResetNone     Reset = "none"     // nowhere: the pipeline stops; it does so, too, where scan.startup.mode wants the group's offset and there is none
)

// metadataTypes are the metadata of the Kafka connector. Those that can be written: timestamp and
// headers.
var metadataTypes = map[string]column.Type{
	"topic": {Kind: column.String, NotNull: true}, "partition": {Kind: column.Int, NotNull: true}, "offset": {Kind: column.BigInt, NotNull: true},
	"leader-epoch": {Kind: column.Int}, "timestamp": {Kind: column.TimestampLTZ, Precision: 3, NotNull: true}, "timestamp-type": {Kind: column.String, NotNull: true},
	"headers": {Kind: column.Map, NotNull: true, Key: &column.Type{Kind: column.String, NotNull: true}, Elem: &column.Type{Kind: column.Bytes}},
}

func writable(metadata string) bool { return metadata == "timestamp" || metadata == "headers" }

// Columns of the table as a relation has them.
func (t *Table) columns() []Column {
	cols := make([]Column, len(t.Columns))
	for i, c := range t.Columns {
		cols[i] = Column{Name: c.Name, Type: c.Type, Rowtime: i == t.Rowtime && t.Watermark != nil}
	}
	return cols
}

func (t *Table) index(name string) int {
	return slices.IndexFunc(t.Columns, func(c TableColumn) bool { return c.Name == name })
}

func (t *Table) names() []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}

func (p *planner) createTable(name string, s *sql.CreateTable) (*Table, error) {
	t := &Table{Pos: s.Pos, Name: name, Rowtime: -1}
	for _, c := range s.Columns {
		if t.index(c.Name.Name) >= 0 {
			return nil, sql.Errorf(c.Name, "column %s stands twice in table %s", c.Name.Name, name)
		}
		col, err := physicalOrMetadata(c)
		if err != nil {
			return nil, err
		}
		t.Columns = append(t.Columns, col)
	}
	if err := p.bindComputed(t, s); err != nil {
		return nil, err
	}
	if err := p.bindWatermark(t, s.Watermark); err != nil {
		return nil, err
	}
	if s.PrimaryKey != nil {
		for _, c := range s.PrimaryKey.Columns {
			i := t.index(c.Name)
			if i < 0 || !t.Columns[i].Physical() {
				return nil, sql.Errorf(c, "the primary key's %s is no physical column of %s", c.Name, name).WithHint("%s", suggest.DidYouMean(c.Name, t.names()))
			}
			t.Columns[i].Type.NotNull = true
			t.PrimaryKey = append(t.PrimaryKey, i)
		}
	}
	return t, t.setOptions(s, p)
}

func physicalOrMetadata(c sql.Column) (TableColumn, error) {
	col := TableColumn{Name: c.Name.Name}
	if c.Type == nil {
		return col, nil // computed
	}
	t, err := bindType(c.Type)
	if err != nil {
		return col, err
	}
	col.Type = t
	if c.Metadata == nil {
		return col, nil
	}
	col.Metadata, col.Virtual = c.Metadata.From, c.Metadata.Virtual
	if col.Metadata == "" {
		col.Metadata = col.Name
	}
	key := strings.TrimPrefix(col.Metadata, "value.")
	known, ok := metadataTypes[key]
	if !ok {
		var keys []string
		for k := range metadataTypes {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		return col, sql.Errorf(c.Metadata, "the kafka connector has no metadata '%s'", col.Metadata).
			WithHint("%s", orElse(suggest.DidYouMean(key, keys), "it has "+strings.Join(keys, ", ")))
	}
	if !known.Same(t) && (known.Kind != t.Kind || t.Class() != column.Ints) && !assignable(known, t) {
		return col, sql.Errorf(c.Type, "metadata '%s' is %s, not %s", key, known, c.Type)
	}
	if !writable(key) && !col.Virtual {
		col.Virtual = true // as Flink, which refuses only to write them
	}
	return col, nil
}

// bindComputed binds the computed columns, which may use any other column that is not computed.
func (p *planner) bindComputed(t *Table, s *sql.CreateTable) error {
	all := t.columns()
	for i, c := range s.Columns {
		if c.Computed == nil {
			continue
		}
		visible := &scope{}
		visible.add(t.Name, all)
		for j := range s.Columns {
			visible.hide(j, s.Columns[j].Computed != nil)
		}
		n, err := (&binder{planner: p, scope: visible}).bind(c.Computed)
		if err != nil {
			return err
		}
		t.Columns[i].Computed, t.Columns[i].Type = expr.Fold(n), n.Type()
	}
	return nil
}

func (p *planner) bindWatermark(t *Table, w *sql.Watermark) error {
	if w == nil {
		return nil
	}
	name := w.Column[0].Name
	t.Rowtime = t.index(name)
	if t.Rowtime < 0 || len(w.Column) > 1 {
		return sql.Errorf(w, "the watermark's column %s is no column of %s", name, t.Name).WithHint("%s", suggest.DidYouMean(name, t.names()))
	}
	if ct := t.Columns[t.Rowtime].Type; !ct.Instant() || ct.Precision > 3 {
		return sql.Errorf(w, "the watermark's column must be TIMESTAMP(3) or TIMESTAMP_LTZ(3) at most, and %s is %s", name, ct.Nullable(true))
	}
	visible := &scope{}
	visible.add(t.Name, t.columns())
	n, err := (&binder{planner: p, scope: visible}).bind(w.Expr)
	if err != nil {
		return err
	}
	if !n.Type().Instant() {
		return sql.Errorf(w.Expr, "the watermark is %s, and must be a timestamp", n.Type().Nullable(true)).WithHint("for example %s - INTERVAL '5' SECOND", sql.Quote(name))
	}
	t.Watermark = expr.Fold(n)
	return nil
}

// tableOptions are the options of both connectors. One that begins with properties. or a format's
// name is looked at apart.
var tableOptions = []string{
	"connector", "topic", "format", "key.format", "value.format", "key.fields", "key.fields-prefix", "value.fields-include", "scan.startup.mode",
	"scan.startup.timestamp-millis", "scan.bounded.mode", "scan.watermark.idle-timeout", "scan.watermark.alignment.group", "scan.watermark.alignment.max-drift",
	"scan.watermark.alignment.update-interval", "scan.watermark.emit.strategy", "scan.topic-partition-discovery.interval", "scan.parallelism",
	"sink.parallelism", "sink.partitioner", "sink.delivery-guarantee", "sink.transactional-id-prefix", "sink.transaction-naming-strategy",
	"sink.buffer-flush.max-rows", "sink.buffer-flush.interval",
}

// options reads the options of a CREATE TABLE and remembers which it has read.
type options struct {
	all  map[string]sql.Option
	read map[string]bool
}

func (o *options) get(key string) string {
	o.read[key] = true
	return o.all[key].Value
}

func (o *options) has(key string) bool {
	_, ok := o.all[key]
	return ok
}

// one returns a value that is one of these; the first is the default.
func (o *options) one(key string, allowed ...string) (string, error) {
	v := o.get(key)
	if v == "" {
		return allowed[0], nil
	}
	if !slices.Contains(allowed, v) {
		return "", o.bad(key, "use "+strings.Join(allowed, " or "))
	}
	return v, nil
}

func (o *options) bad(key, hint string) error {
	at := o.all[key]
	return sql.Errorf(at.ValuePos, "'%s' is not supported as '%s'", at.Value, key).WithHint("%s", hint)
}

func (t *Table) setOptions(s *sql.CreateTable, p *planner) error {
	o := &options{all: make(map[string]sql.Option), read: make(map[string]bool)}
	for _, option := range s.Options {
		if o.has(option.Key) {
			return sql.Errorf(option, "option '%s' stands twice", option.Key)
		}
		o.all[option.Key] = option
	}
	if !o.has("connector") {
		return sql.Errorf(s, "table %s has no option 'connector'", t.Name).WithHint("'connector' = 'kafka' or 'upsert-kafka'")
	}
	connector := o.get("connector")
	if connector != "kafka" && connector != "upsert-kafka" {
		return o.bad("connector", "supported are kafka and upsert-kafka")
	}
	t.Upsert = connector == "upsert-kafka"
	if t.Topic = o.get("topic"); t.Topic == "" || strings.ContainsAny(t.Topic, "; ") {
		if o.has("topic-pattern") || t.Topic != "" {
			return sql.Errorf(s, "table %s: one topic for a table is supported, and no pattern", t.Name).WithHint("write a table for each topic, and UNION ALL")
		}
		return sql.Errorf(s, "table %s has no option 'topic'", t.Name)
	}
	t.Brokers = o.get("properties.bootstrap.servers")
	for _, step := range []func(*options) error{t.setFormats, t.setScan, t.setSink} {
		if err := step(o); err != nil {
			return err
		}
	}
	if t.IdleTimeout == 0 {
		t.IdleTimeout = p.Settings.IdleTimeout
	}
	return o.unread(s.Options)
}

// unread reports the first option that nobody asked for.
func (o *options) unread(in []sql.Option) error {
	for _, option := range in {
		if o.read[option.Key] || slices.Contains(tableOptions, option.Key) || strings.HasPrefix(option.Key, "properties.") {
			continue
		}
		return sql.Errorf(option, "option '%s' is not supported", option.Key).WithHint("%s", orElse(suggest.DidYouMean(option.Key, tableOptions), "see the reference of table options"))
	}
	return nil
}

// setFormats finds which columns lie in key and value.
func (t *Table) setFormats(o *options) error {
	var physical []int
	for i, c := range t.Columns {
		if c.Physical() {
			physical = append(physical, i)
		}
	}
	if t.Upsert {
		for _, wrong := range []string{"key.fields", "format"} {
			if o.has(wrong) {
				return sql.Errorf(o.all[wrong], "upsert-kafka has no option '%s'", wrong).WithHint("its key is the PRIMARY KEY; use 'key.format' and 'value.format'")
			}
		}
		if len(t.PrimaryKey) == 0 {
			return sql.Errorf(t, "upsert-kafka table %s needs a PRIMARY KEY (…) NOT ENFORCED", t.Name)
		}
		if !o.has("key.format") || !o.has("value.format") {
			return sql.Errorf(t, "upsert-kafka table %s needs the options 'key.format' and 'value.format'", t.Name)
		}
		t.Key.Columns = t.PrimaryKey
	} else if err := t.setKeyFields(o); err != nil {
		return err
	}
	include, err := o.one("value.fields-include", "ALL", "EXCEPT_KEY")
	if err != nil {
		return err
	}
	for _, i := range physical {
		if include == "ALL" || !slices.Contains(t.Key.Columns, i) {
			t.Value.Columns = append(t.Value.Columns, i)
		}
	}
	if err := t.setFormat(&t.Key, "key.", "key.format", o, o.get("key.fields-prefix")); err != nil {
		return err
	}
	option := "value.format"
	if o.has("format") && !o.has(option) {
		option = "format"
	}
	if !o.has(option) {
		return sql.Errorf(t, "table %s has no option 'value.format'", t.Name).WithHint("supported are %s", strings.Join(format.Names(), ", "))
	}
	return t.setFormat(&t.Value, "value.", option, o, "")
}

func (t *Table) setKeyFields(o *options) error {
	names := o.get("key.fields")
	if (names == "") != !o.has("key.format") {
		return sql.Errorf(t, "table %s: the options 'key.format' and 'key.fields' go together", t.Name)
	}
	for _, name := range strings.Split(names, ";") {
		if name == "" {
			continue
		}
		i := t.index(name)
		if i < 0 || !t.Columns[i].Physical() {
			return sql.Errorf(o.all["key.fields"].ValuePos, "'key.fields' names %s, which is no physical column of %s", name, t.Name).WithHint("%s", suggest.DidYouMean(name, t.names()))
		}
		t.Key.Columns = append(t.Key.Columns, i)
	}
	return nil
}

func (t *Table) setFormat(f *Format, part, option string, o *options, prefix string) error {
	if !o.has(option) {
		return nil
	}
	f.Name = o.get(option)
	if !slices.Contains(format.Names(), f.Name) {
		return o.bad(option, orElse(suggest.DidYouMean(f.Name, format.Names()), "supported are "+strings.Join(format.Names(), ", ")))
	}
	for _, i := range f.Columns {
		name, cut := strings.CutPrefix(t.Columns[i].Name, prefix)
		if !cut {
			return sql.Errorf(t, "column %s is in 'key.fields', and its name does not begin with the 'key.fields-prefix' %s", t.Columns[i].Name, prefix)
		}
		f.Fields = append(f.Fields, format.Field{Name: name, Type: t.Columns[i].Type})
	}
	f.Options = make(format.Options)
	where := map[string]sql.Node{}
	for _, lead := range []string{part + f.Name + ".", f.Name + "."} {
		for key, option := range o.all {
			if name, ok := strings.CutPrefix(key, lead); ok && (part == "value." || lead != f.Name+".") {
				o.read[key] = true
				f.Options[name] = option.Value
				where[name] = option
			}
		}
	}
	if format.HasRegistry(f.Name) {
		f.Options.SetRegistryDefaults(t.Topic, part == "key.")
	}
	if err := format.Check(f.Name, f.Fields, f.Options); err != nil {
		return sql.Errorf(t, "table %s, %sformat %s: %s", t.Name, part, f.Name, err)
	}
	return nil
}

func (t *Table) setScan(o *options) error {
	mode := o.get("scan.startup.mode")
	reset, err := o.one("properties.auto.offset.reset", string(ResetEarliest), string(ResetLatest), string(ResetNone))
	if err != nil {
		return err
	}
	if t.Reset = Reset(reset); t.Reset == ResetLatest && (mode == "earliest-offset" || mode == "timestamp") {
		t.Reset = ResetEarliest // as in Flink, where these modes have a say
	}
	switch mode {
	case "earliest-offset":
	case "latest-offset":
		t.Startup.Latest = true
	case "", "group-offsets":
		t.Startup.Group, t.Startup.Latest = true, t.Reset == ResetLatest
	case "timestamp":
		ms, err := strconv.ParseInt(o.get("scan.startup.timestamp-millis"), 10, 64)
		if err != nil || ms <= 0 {
			return sql.Errorf(t, "table %s: 'scan.startup.mode' = 'timestamp' needs 'scan.startup.timestamp-millis'", t.Name)
		}
		t.Startup.Timestamp = ms
	default:
		return o.bad("scan.startup.mode", "use earliest-offset, latest-offset, group-offsets or timestamp")
	}
	bounded, err := o.one("scan.bounded.mode", "unbounded", "latest-offset")
	if err != nil {
		return err
	}
	t.Bounded = bounded == "latest-offset"
	if idle := o.get("scan.watermark.idle-timeout"); idle != "" {
		if t.IdleTimeout, err = ParseDuration(idle); err != nil {
			return o.bad("scan.watermark.idle-timeout", "write a duration such as 30 s or 5 min")
		}
	}
	return nil
}

// setSink refuses what would be less than the file asks for. Everything that Weir writes is in a
// transaction, which at-least-once allows too.
func (t *Table) setSink(o *options) error {
	if _, err := o.one("sink.delivery-guarantee", "exactly-once", "at-least-once", "none"); err != nil {
		return err
	}
	_, err := o.one("sink.partitioner", "default", "fixed", "round-robin")
	return err
}

func (t *Table) String() string { return fmt.Sprintf("%s (topic %s)", t.Name, t.Topic) }
