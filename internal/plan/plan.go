// Package plan compiles the syntax tree of a pipeline into a program for the engine: it binds names
// and types, builds and rewrites relations, and cuts them into stages where rows change partition.
//
//	plan.go              Compile: from text to Program
//	settings.go          SET
//	catalog.go           CREATE TABLE: columns, watermark, primary key
//	connector.go         what a connector implements; options of CREATE TABLE
//	connector_options.go what connectors declare of their options, also for the reference
//	connector_filesystem.go
//	                     filesystem: a directory of files
//	connector_web.go     options of connectors over HTTP; connector_http.go: webhooks;
//	                     connector_influxdb.go: the line protocol; connector_mqtt.go: MQTT
//	connector_jdbc.go    jdbc: a table of a PostgreSQL database; connector_sqlite.go: of SQLite
//	connector_jdbc_lookup.go
//	                     options of lookups in it
//	connector_datagen.go datagen: tables whose rows are generated
//	connector_print.go   the connectors print and blackhole
//	connector_kafka.go   kafka and upsert-kafka: topic, key and value, startup
//	table_format.go      formats of keys and values
//	types.go             SQL types -> column.Type; implicit casts
//	relation.go          Relation: an operator with its inputs and columns
//	op.go                Op: what each operator implements
//	op_scan.go           Scan: reading a topic
//	op_normalize.go      Normalize: from upserts to changes of rows
//	op_filter.go         Filter: WHERE and HAVING
//	op_project.go        Project: computed columns
//	op_window.go         Window: window table functions and legacy group windows
//	op_window_proctime.go windows over PROCTIME()
//	op_aggregate.go      Aggregate: groups with or without windows
//	op_rank.go           Rank: ROW_NUMBER, as deduplication or Top-N
//	op_sort.go           TemporalSort: ORDER BY time
//	op_limit.go          Limit: LIMIT of rows that are not updated
//	op_over.go           Over: aggregates OVER preceding rows
//	op_temporal_join.go  TemporalJoin: lookup in a versioned table
//	op_lookup_join.go    LookupJoin: lookup in a table of a database
//	op_join.go           what joins of two inputs have in common
//	op_window_join.go    WindowJoin: rows of equal windows
//	op_interval_join.go  IntervalJoin: rows with close times
//	op_regular_join.go   RegularJoin: all rows of both inputs
//	op_values_join.go    ValuesJoin: constant rows of VALUES
//	op_materialize.go    Materialize: order of changes before an upsert table
//	op_unnest.go         Unnest: a row for each element of an array
//	op_union.go          Union: UNION ALL
//	op_exchange.go       Exchange: repartitioning by key
//	op_insert.go         Insert: INSERT INTO; checks against the table's columns and key
//	scope.go             name resolution
//	bind_expr.go         expressions
//	bind_query.go        queries: SELECT, views, UNION ALL
//	qualify.go           QUALIFY
//	bind_order.go        ORDER BY and LIMIT of queries
//	subquery.go          IN (SELECT …) and EXISTS as conditions of WHERE
//	scalar_subquery.go   queries as values
//	value_queries.go     which queries a SELECT uses as values
//	membership.go        IN (SELECT …) and EXISTS as values
//	lateral.go           LATERAL queries
//	join_tree.go         FROM: distribution of conditions over joins, equal columns
//	hint.go              hints between /*+ and */; STATE_TTL
//	collect.go           aggregate functions whose results grow with their rows
//	group.go             GROUP BY
//	grouping_sets.go     GROUPING SETS, ROLLUP, CUBE
//	aggregates.go        aggregate functions
//	table_like.go        CREATE TABLE … LIKE
//	table_as.go          CREATE TABLE … AS SELECT
//	table_hints.go       the hint OPTIONS of tables
//	topics.go            topics of the pipeline itself, and conflicts of tables with them
//	topic_pattern.go     topics that match a pattern
//	rewrite.go           filter pushdown, unread columns, sliced windows
//	parts.go             unread fields of ROW columns
//	stage.go             stages, and the numbering of their state
//	continue.go          what a changed plan keeps of the state of a running one
//	names.go             names and numbers under which state is stored
//	state_ttl.go         how long state is kept
//	placement.go         reliance on the existing partitioning of topics
//	preview.go           a bare query, for a preview
//	volatile.go          functions of the clock and random ones
//	difference.go        differences from Flink, for weir check
//	explain.go           plans as text, JSON and graph
//	cost.go              what exchanges and states store
//	svg.go               plans as drawings
//
// Semantics are those of Flink 2.x. Unsupported features are rejected by name, with their position.
package plan

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// Program is a compiled pipeline.
type Program struct {
	Name     string // pipeline.name, the pipeline's identity
	SQL      string // the source text
	Zone     expr.Zone
	Settings Settings
	Script   *sql.Script // the statements, with those of LIKE and AS written out
	Tables   []*Table
	Matches  Matches     // the topics of the tables with a pattern, if they are known
	Sinks    []*Relation // one per INSERT
	Stages   []*Stage    // upstream first
	Expires  bool        // state expires: Relation.TTL is set somewhere

	// Volatile names the functions of the pipeline whose values depend on the transaction: read
	// again, the same records give other rows.
	Volatile []string

	Differences []Difference // from Flink: each name once, local-times once per position
}

// Compile plans a pipeline. name is its identity unless the file sets 'pipeline.name'. Errors are
// *sql.Error if they have a position in the text.
func Compile(text, name string) (*Program, error) { return CompileMatched(text, name, nil) }

// CompilePlain plans a pipeline like Compile, but without rewrites: filters stay where they were
// written, every column is computed, and only SESSION windows are assembled by their aggregate,
// since there is no other way to compute them. The rows are the same at a higher cost; tests
// compare the two.
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
		program: &Program{Name: name, SQL: text, Zone: time.UTC, Script: &sql.Script{}},
		tables:  make(map[string]*Table), declared: make(map[string]*sql.CreateTable), views: make(map[string]*view), sets: make(map[string]*sql.Set),
		scans: make(map[*Table]*Relation), normalized: make(map[*Table]*Relation), valueOf: make(map[sql.Expr]expr.Node), variants: make(map[string][]*Table),
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

// finish turns the bound relations into a runnable program.
func (p *planner) finish() (*Program, error) {
	if len(p.program.Sinks) == 0 {
		return nil, errors.New("the file has no INSERT INTO … SELECT, so there is nothing to run")
	}
	if err := errors.Join(CheckName(p.program.Name), CheckGroup(p.program.Name)); err != nil {
		return nil, err
	}
	if p.program.Settings.DeadLetterTopic == "" {
		p.program.Settings.DeadLetterTopic = p.program.Name + ".dlq"
	}
	if p.program.Settings.LateTopic == "" {
		p.program.Settings.LateTopic = p.program.Name + ".late"
	}
	if err := p.generateValues(); err != nil {
		return nil, err
	}
	p.nameHinted()
	if err := p.nameResults(); err != nil {
		return nil, err
	}
	if err := p.checkPatterns(); err != nil {
		return nil, err
	}
	if err := p.checkTopics(); err != nil {
		return nil, err
	}
	p.rewrite()
	if err := p.checkVolatile(); err != nil {
		return nil, err
	}
	if err := p.checkLookups(); err != nil {
		return nil, err
	}
	if err := p.cut(); err != nil {
		return nil, err
	}
	p.expire()
	p.placeNulls()
	p.differPlacements()
	return p.program, nil
}

// CheckName checks the name of a pipeline, which is the prefix of its topics, its group and its
// transactional ids.
func CheckName(name string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`).MatchString(name) {
		return fmt.Errorf("the pipeline's name %q can't be the prefix of topic names: use letters, digits, dots, _ and - (SET 'pipeline.name' = '…')", name)
	}
	return nil
}

// CheckGroup refuses the name of a pipeline whose group, weir-NAME, delivers the alerts of a site.
// If both used the group, each would take partitions from the other, and a reset of the pipeline
// would delete the offsets of the delivery.
func CheckGroup(name string) error {
	if name == "alerts" || strings.HasSuffix(name, ".alerts") {
		return fmt.Errorf("the pipeline can't have the name %q, because weir alerts uses the group weir-%s: choose another name (SET 'pipeline.name' = '…')", name, name)
	}
	return nil
}

// planner is the state of Compile.
type planner struct {
	program    *Program
	tables     map[string]*Table
	declared   map[string]*sql.CreateTable // the statements of tables, without LIKE and AS
	variants   map[string][]*Table         // a table with other options, by its name
	views      map[string]*view
	scans      map[*Table]*Relation
	normalized map[*Table]*Relation   // the Normalize of each upsert table that is read
	sets       map[string]*sql.Set    // the last SET of a key
	with       []map[string]*view     // visible common table expressions, innermost last
	count      int                    // relations created
	valueOf    map[sql.Expr]expr.Node // the value of each query that is used as one
	plain      bool                   // without rewrites, see CompilePlain
	ttlHint    *sql.Option            // the first one of STATE_TTL
}

// view is a named query. It is bound once and its relation is shared.
type view struct {
	query   *sql.Query
	columns []sql.Ident
	bound   *Relation
}

func (p *planner) statement(s sql.Statement) error {
	if _, table := s.(*sql.CreateTable); !table { // see declare
		p.program.Script.Statements = append(p.program.Script.Statements, s)
	}
	switch s := s.(type) {
	case *sql.Set:
		return p.set(s)
	case *sql.CreateTable:
		return p.newTable(s)
	case *sql.CreateView:
		name, err := p.newName(s.Name, s.IfNotExists)
		if err != nil || name == "" {
			return err
		}
		v := &view{query: s.Query, columns: s.Columns}
		if err := p.view(v, s, name, true); err != nil { // an error in an unused view is still an error
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

// tableName returns the name of a table without its catalog and database, of which there is only
// one.
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
	return "", sql.Errorf(path[0], "%s already exists", name)
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
		return sql.Errorf(s, "%s %s not found", map[bool]string{true: "view", false: "table"}[s.View], name)
	}
	delete(p.tables, name)
	delete(p.declared, name)
	delete(p.views, name)
	return nil
}
