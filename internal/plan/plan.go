// Package plan turns the syntax tree of a pipeline into what the engine runs: names and types are
// bound, relations are built and rewritten, and cut into stages at the points where rows change
// partition.
//
//	plan.go        Compile: from text to Program; settings
//	catalog.go     CREATE TABLE: columns, watermark, key, options
//	types.go       types as written -> expr.Type; which casts happen by themselves
//	relation.go    relations: scan, filter, project, window, aggregate, rank, join, union,
//	               exchange, sink
//	scope.go       which column a name means
//	bind_expr.go   expressions
//	bind_query.go  queries: SELECT, views, UNION ALL
//	group.go       GROUP BY: aggregate functions, windows
//	grouping.go    GROUPING SETS, ROLLUP, CUBE
//	window.go      window table functions and the older TUMBLE(…) of GROUP BY
//	rank.go        ROW_NUMBER: deduplication and Top-N
//	over.go        aggregates OVER the rows before
//	join.go        lookup of a versioned table
//	unnest.go      UNNEST: a row for each element of an array
//	insert.go      INSERT INTO: columns and keys against the table
//	topics.go      topics of the pipeline's own, and tables that must not meet them
//	rewrite.go     filters into scans, columns that nobody needs, sliced windows
//	stage.go       exchanges, stages, operator ids
//	placement.go   where the partitions of topics are relied on to hold equal keys
//	preview.go     a query on its own, to look at
//	difference.go  what Weir does otherwise than Flink, for weir check
//	explain.go     plans as text, JSON and graph
//	svg.go         a plan as a drawing
//
// Meaning is Flink 2.x's. What is not supported is refused with its position and the name of the
// feature.
package plan

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// Program is a pipeline, ready to run.
type Program struct {
	Name     string // pipeline.name: the identity of what runs
	SQL      string // the text that it was made of
	Zone     expr.Zone
	Settings Settings
	Tables   []*Table
	Sinks    []*Relation // each over the rows of one INSERT
	Stages   []*Stage    // those that feed others first

	Differences []Difference // to Flink, each name once; local-times at each place
}

// Settings are what SET gives.
type Settings struct {
	DeadLetterTopic string // default <name>.dlq
	LateTopic       string // default <name>.late
	IdleTimeout     time.Duration
	MaxAhead        time.Duration // rows later than the transaction's time and this do not move the watermark; 0: all do
	AnyPartition    bool          // weir.key-partitioning is any: keys may lie in any partition
	Sink            SinkSettings
}

// SinkSettings are how an INSERT treats values that its table's columns do not allow
// (table.exec.sink.*).
type SinkSettings struct {
	DropNulls bool       // a row with NULL in a NOT NULL column is dropped and counted; else it is a dead letter
	Lengths   LengthMode // of CHAR(n), VARCHAR(n), BINARY(n) and VARBINARY(n) that hold other lengths
}

// LengthMode is a value of table.exec.sink.type-length-enforcer. It concerns what an INSERT writes
// without a cast: a source's values, which are not cut to the length that the source's table
// declares.
type LengthMode string

// Modes of the length enforcer.
const (
	LengthIgnore LengthMode = ""         // write values as they are
	LengthTrim   LengthMode = "TRIM_PAD" // cut, and pad CHAR and BINARY
	LengthError  LengthMode = "ERROR"    // the row is a dead letter
)

// Compile plans a pipeline. name is its identity where the file does not SET 'pipeline.name'. All
// errors are *sql.Error but for a file without INSERT.
func Compile(text, name string) (*Program, error) {
	script, err := sql.Parse(text)
	if err != nil {
		return nil, err
	}
	p := newPlanner(name, text)
	if err := p.statements(script); err != nil {
		return nil, err
	}
	return p.finish()
}

// CompilePlain plans a pipeline like Compile, but leaves its relations as the text has them:
// filters stay where they are written, every column is computed, and only the windows of SESSION
// are put together by their aggregate, which has no other way. It gives the same rows with more
// work; tests compare the two.
func CompilePlain(text, name string) (*Program, error) {
	script, err := sql.Parse(text)
	if err != nil {
		return nil, err
	}
	p := newPlanner(name, text)
	p.plain = true
	if err := p.statements(script); err != nil {
		return nil, err
	}
	return p.finish()
}

func newPlanner(name, text string) *planner {
	return &planner{
		Program: &Program{Name: name, SQL: text, Zone: time.UTC},
		tables:  make(map[string]*Table), views: make(map[string]*view), scans: make(map[*Table]*Relation), sets: make(map[string]*sql.Set),
	}
}

func (p *planner) statements(script *sql.Script) error {
	if err := p.setPlacement(script); err != nil {
		return err
	}
	for _, s := range script.Statements {
		if err := p.statement(s); err != nil {
			return err
		}
	}
	return nil
}

// finish makes what is bound ready to run.
func (p *planner) finish() (*Program, error) {
	if len(p.Sinks) == 0 {
		return nil, errors.New("the file has no INSERT INTO … SELECT, so that there is nothing to run")
	}
	if err := CheckName(p.Name); err != nil {
		return nil, err
	}
	if p.Settings.DeadLetterTopic == "" {
		p.Settings.DeadLetterTopic = p.Name + ".dlq"
	}
	if p.Settings.LateTopic == "" {
		p.Settings.LateTopic = p.Name + ".late"
	}
	if err := p.checkTopics(); err != nil {
		return nil, err
	}
	p.rewrite()
	if err := p.cut(); err != nil {
		return nil, err
	}
	p.differPlacements()
	return p.Program, nil
}

// CheckName reports whether a pipeline can have this name: it begins names of topics, the group and
// transactional ids.
func CheckName(name string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`).MatchString(name) {
		return fmt.Errorf("the pipeline's name %q can't begin the names of topics: use letters, digits, dots, _ and - (SET 'pipeline.name' = '…')", name)
	}
	return nil
}

// planner is the state of Compile.
type planner struct {
	*Program
	tables map[string]*Table
	views  map[string]*view
	scans  map[*Table]*Relation
	sets   map[string]*sql.Set // the last SET of a key
	with   []map[string]*view  // common table expressions in sight, innermost last
	count  int                 // relations made
	plain  bool                // without rewrites, see CompilePlain
}

// view is a named query. It is bound once, and its relation shared.
type view struct {
	query   *sql.Query
	columns []sql.Ident
	bound   *Relation
}

func (p *planner) statement(s sql.Statement) error {
	switch s := s.(type) {
	case *sql.Set:
		return p.set(s)
	case *sql.CreateTable:
		name, err := p.newName(s.Name, s.IfNotExists)
		if err != nil || name == "" {
			return err
		}
		t, err := p.createTable(name, s)
		if err != nil {
			return err
		}
		p.tables[name] = t
		p.Tables = append(p.Tables, t)
	case *sql.CreateView:
		name, err := p.newName(s.Name, s.IfNotExists)
		if err != nil || name == "" {
			return err
		}
		v := &view{query: s.Query, columns: s.Columns}
		if err := p.view(v, s, name); err != nil { // an error in a view that nobody uses is still one
			return err
		}
		p.views[name] = v
	case *sql.Drop:
		return p.drop(s)
	case *sql.Insert:
		return p.insert(s)
	case *sql.StatementSet:
		for _, i := range s.Inserts {
			if err := p.insert(i); err != nil {
				return err
			}
		}
	default:
		return sql.Errorf(s, "this statement is not supported")
	}
	return nil
}

// tableName is the name of a table without catalog and database, of which there is one.
func tableName(path []sql.Ident) (string, error) {
	if len(path) > 1 {
		front := path[:len(path)-1]
		if len(front) > 2 || front[len(front)-1].Name != "default_database" || len(front) == 2 && front[0].Name != "default_catalog" {
			return "", sql.Errorf(path[0], "catalogs and databases are not supported").WithHint("there is only default_catalog.default_database: write the table's name alone")
		}
	}
	return path[len(path)-1].Name, nil
}

func (p *planner) newName(path []sql.Ident, ifNotExists bool) (string, error) {
	name, err := tableName(path)
	if err != nil {
		return "", err
	}
	if p.tables[name] == nil && p.views[name] == nil {
		return name, nil
	}
	if ifNotExists {
		return "", nil
	}
	return "", sql.Errorf(path[0], "%s exists already", name)
}

func (p *planner) drop(s *sql.Drop) error {
	name, err := tableName(s.Name)
	if err != nil {
		return err
	}
	found := p.tables[name] != nil
	if s.View {
		found = p.views[name] != nil
	}
	if !found {
		if s.IfExists {
			return nil
		}
		return sql.Errorf(s, "there is no %s %s", map[bool]string{true: "view", false: "table"}[s.View], name)
	}
	delete(p.tables, name)
	delete(p.views, name)
	return nil
}

// ignoredSettings are Flink's own: they say how Flink runs the file, not what comes out.
var ignoredSettings = []string{
	"execution.", "parallelism.", "state.", "restart-strategy.", "taskmanager.", "jobmanager.", "sql-client.", "table.exec.mini-batch.",
	"table.exec.resource.", "table.exec.state.", "table.optimizer.", "table.dml-sync", "pipeline.max-parallelism", "pipeline.object-reuse",
	"pipeline.auto-watermark-interval", "table.exec.async-lookup.", "table.exec.sink.keyed-shuffle", "table.exec.sink.rowtime-inserter", "rest.", "metrics.", "web.", "pipeline.jars",
}

var settings = []string{
	"pipeline.name", "table.local-time-zone", "table.exec.source.idle-timeout", "execution.runtime-mode", deadLetterTopic, keyPartitioning, lateTopic, maxAhead,
	"table.exec.sink.not-null-enforcer", "table.exec.sink.type-length-enforcer",
}

// deadLetterTopic and lateTopic are the settings that name the topics of dead letters and of late
// rows.
const (
	deadLetterTopic = "weir.dead-letter.topic"
	lateTopic       = "weir.late.topic"
)

// maxAhead is the setting that keeps rows from the future from moving the watermark.
const maxAhead = "weir.watermark.max-ahead"

func (p *planner) set(s *sql.Set) error {
	bad := func(hint string) error {
		return sql.Errorf(s, "'%s' can't be the value of '%s'", s.Value, s.Key).WithHint("%s", hint)
	}
	p.sets[s.Key] = s
	switch s.Key {
	case "pipeline.name":
		if err := CheckName(s.Value); err != nil {
			return sql.Errorf(s, "%s", err)
		}
		p.Name = s.Value
	case "table.local-time-zone":
		zone, err := expr.ParseZone(s.Value)
		if err != nil {
			return bad(err.Error())
		}
		p.Zone = zone
		if _, err := time.LoadLocation(s.Value); err != nil && !strings.HasPrefix(s.Value, "GMT") {
			p.differ(s, "time-zones", "Flink refuses the zone '%s': it wants a name such as Europe/Berlin, or GMT+08:00", s.Value)
		}
	case "table.exec.source.idle-timeout":
		d, err := ParseDuration(s.Value)
		if err != nil {
			return bad("write a duration such as 30 s or 5 min")
		}
		p.Settings.IdleTimeout = d
	case "execution.runtime-mode":
		if !strings.EqualFold(s.Value, "streaming") {
			return bad("only streaming is supported; a bounded run (scan.bounded.mode) ends by itself")
		}
	case "table.exec.state.ttl":
		p.differ(s, "state-ttl", "state is kept for ever; Flink forgets groups and rows that have not changed for '%s', and begins them anew", s.Value)
	case maxAhead:
		d, err := ParseDuration(s.Value)
		if err != nil || d <= 0 {
			return bad("write a duration such as 1 h")
		}
		p.Settings.MaxAhead = d
		p.differ(s, "max-ahead", "a row whose time is more than %s after the transaction's does not move the watermark; Flink ignores the setting, and each later row of its partition is late", s.Value)
	case deadLetterTopic:
		p.Settings.DeadLetterTopic = s.Value
	case lateTopic:
		p.Settings.LateTopic = s.Value
	case keyPartitioning: // applied already
	case "table.exec.sink.upsert-materialize":
		if !slices.Contains([]string{"NONE", "AUTO"}, strings.ToUpper(s.Value)) {
			return bad("write NONE or AUTO")
		}
	case "table.exec.sink.not-null-enforcer":
		mode := strings.ToUpper(s.Value)
		if mode != "ERROR" && mode != "DROP" {
			return bad("write ERROR or DROP")
		}
		p.Settings.Sink.DropNulls = mode == "DROP"
	case "table.exec.sink.type-length-enforcer":
		switch mode := strings.ToUpper(s.Value); mode {
		case "IGNORE":
			p.Settings.Sink.Lengths = LengthIgnore
		case "TRIM_PAD", "ERROR":
			p.Settings.Sink.Lengths = LengthMode(mode)
		default:
			return bad("write IGNORE, TRIM_PAD or ERROR")
		}
	case "table.exec.sink.nested-constraint-enforcer":
		if !strings.EqualFold(s.Value, "IGNORE") {
			return bad("only IGNORE is supported; the other enforcers look at columns, not into ROW, ARRAY and MAP")
		}
	default:
		for _, prefix := range ignoredSettings {
			if strings.HasPrefix(s.Key, prefix) {
				return nil
			}
		}
		return sql.Errorf(s, "setting '%s' is not supported", s.Key).WithHint("%s", orElse(suggest.DidYouMean(s.Key, settings), "supported are "+strings.Join(settings, ", ")))
	}
	return nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

var durationText = regexp.MustCompile(`^\s*(\d+)\s*([a-zA-Zµ]*)\s*$`)

// durationUnits are those of Flink's TimeUtils.
var durationUnits = map[string]time.Duration{
	"": time.Millisecond, "ms": time.Millisecond, "milli": time.Millisecond, "millis": time.Millisecond, "millisecond": time.Millisecond, "milliseconds": time.Millisecond,
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hour": time.Hour, "hours": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"us": time.Microsecond, "µs": time.Microsecond, "micro": time.Microsecond, "micros": time.Microsecond, "microsecond": time.Microsecond, "microseconds": time.Microsecond,
	"ns": time.Nanosecond, "nano": time.Nanosecond, "nanos": time.Nanosecond, "nanosecond": time.Nanosecond, "nanoseconds": time.Nanosecond,
}

// ParseDuration reads a duration as Flink's options have it: a whole number and a unit;
// milliseconds without one.
func ParseDuration(s string) (time.Duration, error) {
	m := durationText.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is no duration", s)
	}
	unit, ok := durationUnits[strings.ToLower(m[2])]
	if !ok {
		return 0, fmt.Errorf("%q has no unit of time", s)
	}
	var n int64
	if _, err := fmt.Sscan(m[1], &n); err != nil {
		return 0, err
	}
	return time.Duration(n) * unit, nil
}
