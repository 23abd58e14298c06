package metamorphic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// generator generates one case.
type generator struct {
	*rand.Rand
	zone      string
	scale     scale
	start     time.Time
	ltz       bool     // the time column is a TIMESTAMP_LTZ
	ties      bool     // rows may have equal times
	ddl       []string // statements so far
	tables    []*table
	versions  *table // the upsert table, whose versions are looked up; nil: none
	relations []*relation
	names     int
	ids       int64
	taken     map[int64]bool // times already used
	features  map[string]bool
	rejected  int
}

// scale is the distance between the times of rows, with windows of a matching size.
type scale struct {
	step    time.Duration // average between rows
	delay   time.Duration // of the watermark; rows are out of order by less
	windows [][2]string   // slide or step, and size
}

var scales = []scale{
	{200 * time.Millisecond, 2 * time.Second, [][2]string{{"1' SECOND", "2' SECOND"}, {"1' SECOND", "5' SECOND"}, {"2' SECOND", "10' SECOND"}}},
	{7 * time.Second, time.Minute, [][2]string{{"10' SECOND", "30' SECOND"}, {"30' SECOND", "1' MINUTE"}, {"20' SECOND", "1' MINUTE"}}},
	{6 * time.Minute, time.Hour, [][2]string{{"15' MINUTE", "1' HOUR"}, {"30' MINUTE", "1' HOUR"}, {"30' MINUTE", "90' MINUTE"}, {"1' HOUR", "6' HOUR"}, {"12' HOUR", "1' DAY"}, {"1' HOUR", "1' DAY"}}},
}

// moments are times before DST changes, by zone; "" has none.
var moments = map[string][]string{
	"":                    {"2026-01-01T00:00:00Z", "1969-12-31T23:00:00Z"},
	"Europe/Berlin":       {"2026-03-28T23:30:00Z", "2026-10-24T22:30:00Z"},
	"America/New_York":    {"2026-03-08T05:30:00Z", "2026-11-01T04:30:00Z"},
	"Australia/Lord_Howe": {"2026-04-04T13:30:00Z", "2026-10-03T14:00:00Z"},
	"Asia/Kolkata":        {"2026-03-29T00:00:00Z"},
}

// table is an input table.
type table struct {
	name string
	cols []tableColumn
	key  []string // of the record; always declared, and removed by variants
}

// tableColumn is a column of a table, view or query. If it may contain -0.0, its name starts with
// z: 0.0 and -0.0 are equal, and which of them MIN and MAX return depends on the order of rows.
type tableColumn struct {
	name string
	typ  column.Type
	text string // the type in SQL
}

func (c tableColumn) signed() bool { return strings.HasPrefix(c.name, "z") }

// relation is a table or view that FROM can name.
type relation struct {
	name     string
	cols     []tableColumn
	time     string   // the column with the watermark; "": none
	ties     bool     // rows may have equal times
	repeats  bool     // the time is a window's local time around a DST change: it may be ambiguous, with the watermark already at the second of the two moments
	direct   bool     // each row is computed from one record of a table with this name, without an exchange, so expressions may fail
	updating bool     // rows are updated
	unique   []string // a unique key; nil: none
	window   []string // columns with the start and end of the rows' window; nil: none
}

func newGenerator(r *rand.Rand) *generator {
	return &generator{Rand: r, taken: make(map[int64]bool), features: make(map[string]bool)}
}

func (g *generator) name(prefix string) string {
	g.names++
	return fmt.Sprintf("%s%d", prefix, g.names)
}

// oneOf returns a random element.
func oneOf[T any](g *generator, of []T) T { return of[g.IntN(len(of))] }

// chance returns true with a probability of n percent.
func (g *generator) chance(n int) bool { return g.IntN(100) < n }

// scalars are the types of table columns, with the prefix of their names.
var scalars = [][2]string{
	{"b", "BOOLEAN"}, {"i", "INT"}, {"i", "INT"}, {"l", "BIGINT"}, {"j", "SMALLINT"}, {"y", "TINYINT"}, {"d", "DOUBLE"}, {"f", "FLOAT"}, {"zd", "DOUBLE"}, {"zf", "FLOAT"}, {"zd", "DOUBLE"}, {"p", "DECIMAL(8, 2)"}, {"q", "DECIMAL(20, 5)"},
	{"s", "STRING"}, {"s", "STRING"}, {"v", "VARCHAR(3)"}, {"a", "DATE"}, {"m", "TIME(0)"}, {"w", "TIMESTAMP(3)"}, {"e", "TIMESTAMP_LTZ(3)"}, {"x", "BYTES"},
}

var nested = [][2]string{{"arr", "ARRAY<INT>"}, {"txt", "ARRAY<STRING>"}, {"rows", "ARRAY<ROW<x INT, y STRING>>"}, {"map", "MAP<STRING, INT>"}, {"set", "MULTISET<STRING>"}, {"row", "ROW<x INT, y STRING>"}}

// keyTypes are the types of a table's key.
var keyTypes = []string{"STRING", "INT", "BIGINT", "VARCHAR(3)", "DOUBLE", "DATE", "DECIMAL(8, 2)", "BOOLEAN", "SMALLINT"}

// keyName is the key column of a table. It is never -0.0, which keys of a topic must not contain.
const keyName = "k"

// makeTables generates the settings and CREATE TABLE statements of a case.
func (g *generator) makeTables() {
	zones := sortedKeys(moments)
	g.zone = oneOf(g, zones)
	g.scale, g.ltz, g.ties = scales[g.IntN(len(scales))], g.chance(75), g.chance(40)
	if g.zone != "" && g.zone != "Asia/Kolkata" {
		g.scale = scales[2]
		g.features["change of clocks"] = true
	}
	start, err := time.Parse(time.RFC3339, oneOf(g, moments[g.zone]))
	if err != nil {
		panic(err) // the moments are constants
	}
	g.start = start
	if g.zone != "" {
		g.add("SET 'table.local-time-zone' = '" + g.zone + "'")
	}
	g.add("SET 'table.exec.sink.not-null-enforcer' = 'drop'")
	keyType := oneOf(g, keyTypes)
	keyFormat := oneOf(g, []string{"json", "raw"})
	if keyType == "DATE" || strings.HasPrefix(keyType, "DECIMAL") {
		keyFormat = "json"
	}
	for range 1 + g.IntN(2) {
		g.tables = append(g.tables, g.makeTable(keyType, keyFormat))
	}
	if g.chance(40) {
		g.versions = g.makeVersions(keyType, keyFormat)
	}
}

func (g *generator) add(statement string) { g.ddl = append(g.ddl, statement) }

// text returns the statements so far.
func (g *generator) text() string { return strings.Join(g.ddl, ";\n") + ";\n" }

func (g *generator) makeTable(keyType, keyFormat string) *table {
	t := &table{name: g.name("t")}
	const k = keyName
	t.cols = []tableColumn{{name: "id", text: "BIGINT"}, {name: k, text: keyType}}
	t.key = []string{k}
	for range 2 + g.IntN(4) {
		c := oneOf(g, scalars)
		t.cols = append(t.cols, tableColumn{name: g.name(c[0]), text: c[1]})
	}
	if g.chance(35) {
		c := oneOf(g, nested)
		t.cols = append(t.cols, tableColumn{name: g.name(c[0]), text: c[1]})
	}
	if keyFormat == "json" && g.chance(30) {
		if c := t.cols[2+g.IntN(len(t.cols)-2)]; !strings.ContainsAny(c.text, "<") && !c.signed() {
			t.key = append(t.key, c.name)
		}
	}
	time := map[bool]string{true: "TIMESTAMP_LTZ(3)", false: "TIMESTAMP(3)"}[g.ltz]
	t.cols = append(t.cols, tableColumn{name: "ts", text: time})
	g.add(fmt.Sprintf("CREATE TABLE %s (%s, WATERMARK FOR ts AS ts - INTERVAL %s)\nWITH ('connector' = 'kafka', 'topic' = '%s', 'key.format' = '%s', 'key.fields' = '%s', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset')",
		t.name, declared(t.cols), interval(g.scale.delay), t.name, keyFormat, strings.Join(t.key, ";")))
	g.relations = append(g.relations, &relation{name: t.name, time: "ts", ties: g.ties, direct: true, unique: []string{"id"}, cols: g.columns("SELECT * FROM " + t.name)})
	return t
}

// makeVersions generates the upsert table: its rows can be read by updating queries, and its
// versions be looked up. Its time is the record's timestamp, so that deletions have a time, too.
func (g *generator) makeVersions(keyType, keyFormat string) *table {
	const k = keyName
	t := &table{name: g.name("v"), key: []string{k}, cols: []tableColumn{{name: k, text: keyType}, {name: "vs", text: "STRING"}, {name: "vi", text: "INT"}}}
	g.add(fmt.Sprintf("CREATE TABLE %s (%s, changed TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR changed AS changed - INTERVAL %s, PRIMARY KEY (%s) NOT ENFORCED)\n"+
		"WITH ('connector' = 'upsert-kafka', 'topic' = '%s', 'key.format' = '%s', 'value.format' = 'json')", t.name, declared(t.cols), interval(g.scale.delay), k, t.name, keyFormat))
	g.relations = append(g.relations, &relation{name: t.name, updating: true, unique: t.key, cols: g.columns("SELECT k, vs, vi FROM " + t.name)})
	return t
}

func declared(cols []tableColumn) string {
	all := make([]string, len(cols))
	for i, c := range cols {
		all[i] = c.name + " " + c.text
	}
	return strings.Join(all, ", ")
}

// interval formats whole seconds or minutes. Flink requires a precision for more than two digits.
func interval(d time.Duration) string {
	if d > time.Minute {
		return fmt.Sprintf("'%d' MINUTE", int(d.Minutes()))
	}
	return fmt.Sprintf("'%d' SECOND", int(d.Seconds()))
}

// preview plans a query over the statements so far and returns the table that its rows would be
// written to; nil if the planner rejects it.
func (g *generator) preview(query string) *plan.Table {
	p, err := plan.Preview(g.text()+query, "metamorphic")
	if err != nil {
		g.rejected++
		return nil
	}
	i := slices.IndexFunc(p.Tables, func(t *plan.Table) bool { return t.Kafka.Topic == plan.PreviewTopic })
	return p.Tables[i]
}

// columns returns the columns of a query; nil if the planner rejects it.
func (g *generator) columns(query string) []tableColumn {
	t := g.preview(query)
	if t == nil {
		return nil
	}
	cols := make([]tableColumn, len(t.Columns))
	for i, c := range t.Columns {
		cols[i] = tableColumn{c.Name, c.Type, c.Type.Nullable(true).String()}
	}
	return cols
}

// generate generates a case.
func (g *generator) generate() Case {
	g.makeTables()
	for range g.IntN(6) {
		g.view()
	}
	made := 0
	for range 8 {
		if g.insert() {
			made++
		}
		if made > 0 && g.chance(60) {
			break
		}
	}
	if made == 0 {
		t := g.relations[0]
		g.sink("SELECT id, ts FROM "+t.name, "projection")
	}
	return Case{SQL: g.text(), Sends: g.sends()}
}
