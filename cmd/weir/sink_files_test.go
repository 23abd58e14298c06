package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/audit"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/files"
	"weir.example/weir/internal/sink/sinktest"
	"weir.example/weir/internal/site"
)

// filesWorld is a directory that the sink has filled from a topic.
type filesWorld struct {
	t      *testing.T
	at     broker.Config
	dir    string
	format string
	tables []audit.DatabaseConfig
	backup map[string]string
}

const (
	plainColumns  = "z BOOLEAN, i1 TINYINT, i8 BIGINT NOT NULL, f4 FLOAT, f8 DOUBLE, d9 DECIMAL(9, 2), d18 DECIMAL(18, 3), d38 DECIMAL(38, 10), s STRING, y BYTES, dt DATE, tm TIME(3), ts TIMESTAMP(6), lt TIMESTAMP_LTZ(3)"
	nestedColumns = ", `a,b c` ARRAY<INT>, aa ARRAY<ARRAY<STRING>>, m MAP<STRING, ROW<x INT, l ARRAY<DOUBLE>>>, r ROW<q STRING, p ROW<b BIGINT, a DECIMAL(38, 0), w TIMESTAMP(3), y BYTES>>"

	plainFull = `"z":true,"i1":-128,"i8":9007199254740993,"f4":0.1,"f8":1.0E-7,"d9":-123.40,"d18":123456789012345.678,"d38":-1234567890123456789012345678.9012345678,` +
		`"s":"é, \"q\"\n","y":"AP8Q","dt":"2026-11-29","tm":"12:30:15.120","ts":"2026-11-29 12:30:15.123456","lt":"2026-11-29 12:30:15.100Z"`
	plainNulls = `"z":null,"i1":null,"i8":1,"f4":null,"f8":null,"d9":null,"d18":null,"d38":null,"s":null,"y":null,"dt":null,"tm":null,"ts":null,"lt":null`
	plainEmpty = `"z":false,"i1":0,"i8":-1,"f4":"NaN","f8":"-Infinity","d9":0,"d18":-0.001,"d38":1E+2,"s":"","y":"","dt":"1969-12-31","tm":"00:00:00","ts":"1969-12-31 23:59:59.999999","lt":"0001-01-01 00:00:00Z"`

	nestedFull  = `,"a,b c":[1,null,3],"aa":[["a",null],[],null,["b"]],"m":{"k":{"x":1,"l":[1.5,null]},"l":null,"m":{"x":null,"l":[]}},"r":{"q":"q","p":{"b":9,"a":7,"w":"2026-11-29 12:30:15.100","y":"AP8Q"}}`
	nestedNulls = `,"a,b c":null,"aa":null,"m":null,"r":null`
	nestedEmpty = `,"a,b c":[],"aa":[null],"m":{},"r":{"q":null,"p":null}`
)

// newFilesWorld delivers rows of two partitions in two deliveries. One row becomes a dead letter.
func newFilesWorld(t *testing.T, format string) *filesWorld {
	t.Helper()
	w := &filesWorld{t: t, at: sinktest.Cluster(t, 2), dir: t.TempDir(), format: format}
	columns, rows := plainColumns, []string{plainFull, plainNulls, plainEmpty, plainFull}
	if format != "csv" {
		columns += nestedColumns
		for i, more := range []string{nestedFull, nestedNulls, nestedEmpty, nestedFull} {
			rows[i] += more
		}
	}
	p, of := w.plan(columns+", delivery INT, n INT", "site, n", "'sink.rolling-policy.rollover-interval' = '1 s'")
	for delivery := range 2 {
		more := fmt.Sprintf(`,"delivery":%d`, delivery)
		var records []*kgo.Record
		for i, row := range rows {
			records = append(records, sinktest.Record(int32(i%2), "", "{"+row+more+`,"site":"a/b%","n":0}`)) //nolint:gosec // small
		}
		records = append(records, sinktest.Record(0, "", "{"+rows[1]+more+`,"site":null,"n":null}`), sinktest.Record(1, "", "{"+rows[1]+more+`,"site":"","n":7}`))
		sinktest.Write(t, w.at, records...)
		sinktest.Deliver(t, sinktest.Config(w.at, p, of, files.New(p.Name, of, secret.Source{})))
	}
	if got := sinktest.Letters(t, w.at); len(got) != 2 {
		t.Fatalf("dead letters %q", got)
	}
	w.backup = w.read()
	return w
}

// plan plans a table with a column site besides others.
func (w *filesWorld) plan(columns, partitioned, option string) (*plan.Program, *plan.Table) {
	w.t.Helper()
	text := fmt.Sprintf("CREATE TABLE t (%s, site STRING) PARTITIONED BY (%s) WITH ('connector' = 'filesystem', 'path' = '%s', 'format' = '%s', %s);\n"+
		"CREATE TABLE r WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json') LIKE t (EXCLUDING ALL);\nINSERT INTO t SELECT * FROM r;", columns, partitioned, w.dir, w.format, option)
	file := filepath.Join(w.t.TempDir(), "test.sql")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	var err error
	if w.tables, _, err = databasesOf([]string{file}, site.Site{}); err != nil {
		w.t.Fatal(err)
	}
	programs, err := compileFiles([]string{file}, site.Site{})
	if err != nil {
		w.t.Fatal(err)
	}
	return programs[0], programs[0].Deliveries()[0]
}

func (w *filesWorld) read() map[string]string {
	all := make(map[string]string)
	if err := filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, w.dir+"/")] = string(text)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// restore undoes what a test has done to the directory.
func (w *filesWorld) restore() {
	w.t.Helper()
	for name := range w.read() {
		if err := os.Remove(filepath.Join(w.dir, name)); err != nil {
			w.t.Fatal(err)
		}
	}
	for name, text := range w.backup {
		w.write(name, text)
	}
}

func (w *filesWorld) write(name, text string) {
	w.t.Helper()
	file := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// verdict returns C7.
func (w *filesWorld) verdict() (audit.Check, *audit.Report) {
	w.t.Helper()
	r, err := audit.Verify(w.t.Context(), audit.Config{Broker: w.at, Databases: w.tables})
	if err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(r.Checks, func(c audit.Check) bool { return c.ID == "C7" })
	return r.Checks[i], r
}

// fault changes the directory, and expects that this is found.
func (w *filesWorld) fault(name, problem string, change func()) {
	w.t.Helper()
	change()
	c, r := w.verdict()
	if c.Verdict != audit.Failed || r.Clean() || !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Problem == problem }) {
		w.t.Errorf("%s: want %s, got %+v %+v", name, problem, c, r.Findings)
	}
	w.restore()
}

// full is the file that begins with the full row; its directory has an escaped name.
func (w *filesWorld) full() string {
	return "site=a%2Fb%25/n=0/t-0-00000000000000000000." + w.format
}

var lastDigit = regexp.MustCompile(`[0-9]([^0-9]*)$`)

// otherJSON returns a JSON value that is not equal, but of the same type.
func otherJSON(value string) string {
	switch {
	case value == "true":
		return "false"
	case lastDigit.MatchString(value):
		i := lastDigit.FindStringIndex(value)[0]
		return value[:i] + string('0'+(value[i]-'0'+1)%10) + value[i+1:]
	}
	return strings.Replace(value, `"`, `"x`, 1)
}

// changes returns variants of the first row of a file that each have one other value.
func (w *filesWorld) changes() map[string]string {
	switch w.format {
	case "json":
		return w.changesJSON()
	case "csv":
		return w.changesCSV()
	}
	return w.changesParquet()
}

func (w *filesWorld) changesJSON() map[string]string {
	first, rest, _ := strings.Cut(w.backup[w.full()], "\n")
	all := make(map[string]string)
	var fields map[string]json.RawMessage
	for _, change := range []func(string) string{otherJSON, func(string) string { return "null" }, func(string) string { return `"null"` }} {
		if err := json.Unmarshal([]byte(first), &fields); err != nil {
			w.t.Fatal(err)
		}
		for name, was := range fields {
			fields[name] = json.RawMessage(change(string(was)))
			line, err := json.Marshal(fields)
			if err != nil {
				w.t.Fatal(err)
			}
			all[name+" = "+string(fields[name])] = string(line) + "\n" + rest
			fields[name] = was
		}
	}
	return all
}

func (w *filesWorld) changesCSV() map[string]string {
	all := make(map[string]string)
	text := w.backup[w.full()]
	for _, value := range []string{"true", "-128", "9007199254740993", "0.1", "1.0E-7", "-123.40", "123456789012345.678", "-1234567890123456789012345678.9012345678",
		`"é, ""q""` + "\n\"", "AP8Q", "2026-11-29", "12:30:15.12", "2026-11-29 12:30:15.123456", "2026-11-29 12:30:15.1"} {
		if !strings.Contains(text, value) {
			w.t.Fatalf("no %s in %s", value, text)
		}
		all[value+" has another value"] = strings.Replace(text, value, otherJSON(value), 1)
	}
	all["no text"] = strings.Replace(text, `"é, ""q""`+"\n\"", "", 1)
	all["empty text"] = strings.Replace(text, `"é, ""q""`+"\n\"", `""`, 1)
	return all
}

func (w *filesWorld) changesParquet() map[string]string {
	all := make(map[string]string)
	for i, v := range w.rewrite(nil, nil) {
		if v.IsNull() {
			continue
		}
		all[fmt.Sprintf("value %d", i)] = w.rewritten(func(rows []parquet.Row) []parquet.Row {
			v := rows[0][i]
			var other parquet.Value
			switch v.Kind() {
			case parquet.Boolean:
				other = parquet.BooleanValue(!v.Boolean())
			case parquet.Int32:
				other = parquet.Int32Value(v.Int32() + 1)
			case parquet.Int64:
				other = parquet.Int64Value(v.Int64() + 1)
			case parquet.Float:
				other = parquet.FloatValue(v.Float() * 1.00001)
			case parquet.Double:
				other = parquet.DoubleValue(v.Double() * 1.0000001)
			case parquet.FixedLenByteArray:
				changed := bytes.Clone(v.ByteArray())
				changed[len(changed)-1] ^= 1
				other = parquet.FixedLenByteArrayValue(changed)
			case parquet.ByteArray:
				other = parquet.ByteArrayValue(append(bytes.Clone(v.ByteArray()), 'x'))
			}
			rows[0][i] = other.Level(v.RepetitionLevel(), v.DefinitionLevel(), v.Column())
			return rows
		})
	}
	return all
}

// rewrite writes the rows of a Parquet file again, changed. It returns the first one.
func (w *filesWorld) rewrite(change func([]parquet.Row) []parquet.Row, to *bytes.Buffer) parquet.Row {
	w.t.Helper()
	text := w.backup[w.full()]
	file, err := parquet.OpenFile(strings.NewReader(text), int64(len(text)))
	if err != nil {
		w.t.Fatal(err)
	}
	var rows []parquet.Row
	for _, group := range file.RowGroups() {
		reader := group.Rows()
		for range group.NumRows() {
			row := make([]parquet.Row, 1)
			if n, err := reader.ReadRows(row); n != 1 {
				w.t.Fatal(n, err)
			}
			rows = append(rows, row[0].Clone())
		}
		if err := reader.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	first := rows[0].Clone()
	if to == nil {
		return first
	}
	options := []parquet.WriterOption{file.Schema()}
	for _, meta := range file.Metadata().KeyValueMetadata {
		options = append(options, parquet.KeyValueMetadata(meta.Key, meta.Value))
	}
	out := parquet.NewGenericWriter[any](to, options...)
	if _, err := out.WriteRows(change(rows)); err != nil {
		w.t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		w.t.Fatal(err)
	}
	return first
}

func (w *filesWorld) rewritten(change func([]parquet.Row) []parquet.Row) string {
	w.t.Helper()
	var to bytes.Buffer
	w.rewrite(change, &to)
	return to.String()
}

// withRows returns a file without its first row, and one with it twice.
func (w *filesWorld) withRows() (without, twice string) {
	text := w.backup[w.full()]
	switch w.format {
	case "json":
		first, rest, _ := strings.Cut(text, "\n")
		return rest, first + "\n" + text
	case "csv":
		end := strings.Index(text, ",0\n") + 3 // its last value
		return text[end:], text[:end] + text
	}
	return w.rewritten(func(rows []parquet.Row) []parquet.Row { return rows[1:] }),
		w.rewritten(func(rows []parquet.Row) []parquet.Row { return append(rows[:1:1], rows...) })
}

// A directory that the sink has written passes; each fault in one place is found.
func TestVerifyFiles(t *testing.T) {
	for _, format := range []string{"parquet", "json", "csv"} {
		t.Run(format, func(t *testing.T) {
			w := newFilesWorld(t, format)
			if c, r := w.verdict(); c.Verdict != audit.OK || !r.Clean() || r.Databases.Rows != 10 || r.Databases.Refused != 2 || r.Databases.Records != 12 || r.Databases.Files != 6 {
				t.Fatalf("a correct directory: %+v %+v %+v", c, r.Databases, r.Findings)
			}
			w.checkContents()
			w.checkNames()
			w.checkState()
			w.checkRetention()
		})
	}
}

func (w *filesWorld) checkContents() {
	full, put := w.full(), func(name, text string) func() { return func() { w.write(name, text) } }
	for name, text := range w.changes() {
		problem := "lost row"
		if text == w.backup[full] {
			w.t.Errorf("%s changes nothing", name)
		}
		w.fault(name, problem, put(full, text))
	}
	without, twice := w.withRows()
	w.fault("row removed", "lost row", put(full, without))
	w.fault("row repeated", "surplus row", put(full, twice))
	w.fault("truncated", "unreadable file", put(full, w.backup[full][:len(w.backup[full])-1]))
	w.fault("truncated in the middle", "unreadable file", put(full, w.backup[full][:len(w.backup[full])/2]))
	w.fault("emptied", "lost row", put(full, ""))
	w.fault("garbage at the end", "unreadable file", put(full, w.backup[full]+"x"))
}

func (w *filesWorld) checkNames() {
	full, text := w.full(), w.backup[w.full()]
	name := filepath.Base(full)
	remove := func() {
		if err := os.Remove(filepath.Join(w.dir, full)); err != nil {
			w.t.Fatal(err)
		}
	}
	w.fault("file deleted", "lost row", remove)
	move := func(to string) func() { return func() { remove(); w.write(to, text) } }
	w.fault("moved to another value", "surplus row", move("site=c/n=0/"+name))
	w.fault("moved to NULL", "surplus row", move("site=__DEFAULT_PARTITION__/n=0/"+name))
	w.fault("moved to the top", "file that does not belong", move(name))
	w.fault("moved to a directory that is no number", "file that does not belong", move("site=a%2Fb%25/n=x/"+name))
	w.fault("moved to another column", "file that does not belong", move("site=a%2Fb%25/m=0/"+name))
	w.fault("rows of another partition", "lost row", move(strings.Replace(full, "t-0-", "t-1-", 1)))
	add := func(to string) func() { return func() { w.write(to, text) } }
	w.fault("file added", "lost row", func() { // a lost row and a surplus one
		remove()
		w.write(strings.Replace(full, "n=0", "n=1", 1), text)
	})
	w.fault("another name", "file that does not belong", add("site=a%2Fb%25/n=0/part-0."+w.format))
	w.fault("another table without a state", "file that does not belong", add("site=a%2Fb%25/n=0/u-0-00000000000000000000."+w.format))
	w.fault("offset beyond the position", "file that does not belong", add("site=a%2Fb%25/n=0/t-0-00000000000000000099."+w.format))
	w.fault("partition that the topic does not have", "file that does not belong", add("site=a%2Fb%25/n=0/t-7-00000000000000000000."+w.format))
	if w.format != "parquet" { // whose footer does not fit the name
		w.fault("copy", "surplus row", add("site=a%2Fb%25/n=0/t-0-00000000000000000001."+w.format))
		w.fault("no rows", "file that does not belong", func() { w.write("site=a%2Fb%25/n=0/t-0-00000000000000000001."+w.format, "") })
	} else {
		w.fault("copy", "unreadable file", add("site=a%2Fb%25/n=0/t-0-00000000000000000004."+w.format))
	}
	// What readers ignore, and files of another table.
	w.write("_SUCCESS", "")
	w.write(".weir/t/9-0.tmp", "x")
	w.write(".weir/u/state.json", "{}")
	w.write("u-0-00000000000000000000."+w.format, "x")
	if c, r := w.verdict(); c.Verdict != audit.OK {
		w.t.Errorf("files of others: %+v %+v", c, r.Findings)
	}
	w.restore()
}

// state writes the state with changes.
func (w *filesWorld) state(change func(state map[string]any)) func() {
	return func() {
		var state map[string]any
		if err := json.Unmarshal([]byte(w.backup[".weir/t/state.json"]), &state); err != nil {
			w.t.Fatal(err)
		}
		change(state)
		text, err := json.Marshal(state)
		if err != nil {
			w.t.Fatal(err)
		}
		w.write(".weir/t/state.json", string(text))
	}
}

func (w *filesWorld) checkState() {
	next := func(state map[string]any, add float64) {
		of := state["next"].(map[string]any)
		of["0"] = of["0"].(float64) + add
	}
	w.fault("another topic", "offsets of another topic", w.state(func(state map[string]any) { state["topic_id"] = "x" }))
	w.fault("another sink", "files of another sink", w.state(func(state map[string]any) { state["sink"] = "x" }))
	w.fault("offset beyond the end", "offset beyond the topic", w.state(func(state map[string]any) { next(state, 1) }))
	w.fault("rows without their offsets", "file that does not belong", w.state(func(state map[string]any) { state["next"] = map[string]any{} }))
	// A delivery that is committed, but not in place: as before it.
	w.state(func(state map[string]any) {
		state["from"] = map[string]any{"0": 4, "1": 4}
		state["files"] = []any{map[string]any{"temporary": "1-0.tmp", "file": "x"}}
	})()
	if c, r := w.verdict(); c.Verdict != audit.OK || r.Databases.Waiting == 0 || r.Databases.Rows != 5 {
		w.t.Errorf("a delivery in the middle: %+v %+v %+v", c, r.Databases, r.Findings)
	}
	w.restore()
	for name, change := range map[string]func(){
		"no state":        func() { _ = os.Remove(filepath.Join(w.dir, ".weir/t/state.json")) },
		"damaged":         func() { w.write(".weir/t/state.json", "{") },
		"another version": w.state(func(state map[string]any) { state["version"] = 2 }),
		"another layout":  w.state(func(state map[string]any) { delete(state, "partitioned") }),
	} {
		change()
		if _, err := audit.Verify(w.t.Context(), audit.Config{Broker: w.at, Databases: w.tables}); err == nil || !strings.Contains(err.Error(), "state.json") {
			w.t.Errorf("%s: %v", name, err)
		}
		w.restore()
	}
}

// checkRetention deletes the beginning of the topic: rows from before it are not judged, and faults
// in later files are still found.
func (w *filesWorld) checkRetention() {
	client, err := broker.Connect(w.t.Context(), w.at)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	to := make(kadm.Offsets)
	to.AddOffset("test.t.out", 0, 1, -1)
	if _, err := kadm.NewClient(client).DeleteRecords(w.t.Context(), to); err != nil {
		w.t.Fatal(err)
	}
	if c, r := w.verdict(); c.Verdict != audit.Partly || r.Databases.NotJudged != 1 {
		w.t.Errorf("the topic has lost its first record: %+v %+v %+v", c, r.Databases, r.Findings)
	}
	names := slices.Sorted(maps.Keys(w.backup))
	later := names[slices.Index(names, w.full())+1]
	w.fault("file with later rows deleted", "lost row", func() { _ = os.Remove(filepath.Join(w.dir, later)) })
	if w.format != "parquet" {
		w.fault("later rows repeated", "surplus row", func() { w.write(later, strings.Repeat(w.backup[later], 2)) })
	}
}

// While the sink writes files, those that are in place are compared, and no more.
func TestVerifyFilesMeanwhile(t *testing.T) {
	w := &filesWorld{t: t, at: sinktest.Cluster(t, 3), dir: t.TempDir(), format: "json"}
	p, of := w.plan("n INT", "site", "'sink.rolling-policy.file-size' = '1 b'")
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	target := files.New(p.Name, of, secret.Source{})
	batch := func(n int) {
		var records []*kgo.Record
		for i := range 10 {
			records = append(records, sinktest.Record(int32(i%3), "", fmt.Sprintf(`{"n":%d,"site":"%d"}`, n, i))) //nolint:gosec // small
		}
		sinktest.Write(t, w.at, records...)
	}
	batch(0)
	sinktest.Deliver(t, sinktest.Config(w.at, p, of, target)) // the state exists from now on
	done.Go(func() { sink.Run(ctx, sinktest.Config(w.at, p, of, target)) })
	defer done.Wait()
	defer stop()
	const batches = 40
	done.Go(func() {
		for n := range batches - 1 {
			batch(n + 1)
		}
	})
	partial := 0
	for rows := int64(0); rows < 10*batches; {
		c, r := w.verdict()
		if c.Verdict != audit.OK {
			t.Fatalf("%+v %+v %+v", c, r.Databases, r.Findings)
		}
		if rows = r.Databases.Rows; rows > 10 && rows < 10*batches {
			partial++
		}
	}
	if partial < 3 {
		t.Errorf("only %d comparisons while the sink was writing", partial)
	}
}

// Commands about databases say what they do with pipelines that write only files, or only topics.
func TestSinkMessages(t *testing.T) {
	const read = "CREATE TABLE r (a INT) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');\nINSERT INTO t SELECT * FROM r;\n"
	dir := t.TempDir()
	toFiles, toTopic := filepath.Join(dir, "files.sql"), filepath.Join(dir, "topic.sql")
	for file, with := range map[string]string{toFiles: "'connector' = 'filesystem', 'path' = '" + dir + "', 'format' = 'json'", toTopic: "'connector' = 'kafka', 'topic' = 't', 'format' = 'json'"} {
		if err := os.WriteFile(file, []byte("CREATE TABLE t (a INT) WITH ("+with+");\n"+read), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	brokers := strings.Join(sinktest.Cluster(t, 1).Brokers, ",")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"sink", "ddl", toFiles}, 1, "the targets of the others need no statement"},
		{[]string{"sink", "ddl", toTopic}, 1, "write no tables with the connector jdbc"},
		{[]string{"verify", "--brokers", brokers, "--sinks", toTopic}, 2, "connectors jdbc and filesystem, so there is nothing to compare"},
		{[]string{"verify", "--brokers", brokers, "--sinks", toFiles}, 1, "topic files.t.out"},
	} {
		if code, _, stderr := do(t, c.args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("weir %v: exit %d: %s", c.args, code, stderr)
		}
	}
}

// Compacted files are compared with the topic like those of the sink; faults in them are found, and
// a compaction that is not complete is not judged.
func TestVerifyCompacted(t *testing.T) {
	for _, format := range []string{"parquet", "json", "csv"} {
		t.Run(format, func(t *testing.T) {
			w := newFilesWorld(t, format)
			into := filepath.Join(t.TempDir(), "into")
			var r files.CompactReport
			if err := json.Unmarshal([]byte(must(t, "sink", "compact", w.dir, "--into", into, "-o", "json")), &r); err != nil {
				t.Fatal(err)
			}
			if r.FilesRead != 6 || r.Files != 3 || r.Rows != 10 {
				t.Errorf("%+v", r)
			}
			if text := must(t, "sink", "compact", w.dir, "--into", into); !strings.Contains(text, "table t: no new files in "+w.dir) {
				t.Error(text)
			}
			var err error
			if w.tables, err = copiesIn(into, w.tables); err != nil {
				t.Fatal(err)
			}
			w.dir = into
			w.backup = w.read()
			if c, r := w.verdict(); c.Verdict != audit.OK || r.Databases.Rows != 10 || r.Databases.Files != 3 || r.Databases.NotJudged > 0 {
				t.Fatalf("%+v %+v %+v", c, r.Databases, r.Findings)
			}
			full := w.full()
			without, twice := w.withRows()
			w.fault("row removed", "lost row", func() { w.write(full, without) })
			w.fault("row repeated", "surplus row", func() { w.write(full, twice) })
			w.fault("truncated", "unreadable file", func() { w.write(full, w.backup[full][:len(w.backup[full])-1]) })
			w.fault("file deleted", "lost row", func() {
				if err := os.Remove(filepath.Join(into, full)); err != nil {
					t.Fatal(err)
				}
			})
			w.state(func(state map[string]any) {
				state["compaction"] = map[string]any{"source": "/src", "until": map[string]any{}}
			})()
			if _, err := audit.Verify(t.Context(), audit.Config{Broker: w.at, Databases: w.tables}); err == nil || !strings.Contains(err.Error(), "run weir sink compact /src --into "+into+" again") {
				t.Error(err)
			}
			w.restore()
		})
	}
}

func TestSinkCompactUsage(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"sink", "compact"}, exitUsage, "directory of a filesystem sink"},
		{[]string{"sink", "compact", dir}, exitUsage, "--into is missing"},
		{[]string{"sink", "compact", dir, "--into", dir, "--file-size", "many"}, exitUsage, "write a size such as"},
		{[]string{"sink", "compact", dir, "--into", dir + "-x"}, exitFailed, "is not a directory of a filesystem sink"},
	} {
		code, _, stderr := do(t, c.args...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d, %s", c.args, code, stderr)
		}
	}
}
