package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// Table is a table of the program: what SQL knows of it, and the part of its connector.
type Table struct {
	sql.Pos
	Name    string
	Upsert  bool // a row replaces the previous one with its key, a tombstone deletes it
	Changes bool // each change of a row is written with its kind, such as +U: see Print
	Columns []TableColumn

	Rowtime    int       // column of the watermark; -1 without one
	Watermark  expr.Node // over Columns; nil without one
	PrimaryKey []int

	Partitioned []int // columns of PARTITIONED BY

	// Generator generates the rows; nil if producers write them.
	Generator *Generator

	Bounded     bool // the source ends
	IdleTimeout time.Duration

	// Pattern is the option 'topic-pattern', if it has one: see Matches.
	Pattern string
	// Parts are the tables of the single topics, if it reads several; see planner.scan.
	Parts []*Table
	hints string // the options of a hint, see planner.withHints

	// Kafka is never nil: the rows of every table pass through a topic.
	Kafka *Kafka

	// Delivery is where a sink takes the rows from the topic; nil if they stay there.
	Delivery Delivery
}

// Delivery is the part of a connector whose rows are outside of Kafka, such as *JDBC. The table's
// topic is then one of the pipeline's own: see Program.ResultTopic. Rows with Discard pass through
// none.
type Delivery interface {
	// String names the target, without secrets.
	String() string
}

// TableColumn is one column of a table. Physical columns are stored in the record's key or value.
type TableColumn struct {
	Name     string
	Type     column.Type
	Metadata string    // key of the metadata: timestamp, partition, …
	Virtual  bool      // read-only metadata
	Computed expr.Node // over the other columns; never written
}

// Physical reports whether the column is stored in key or value.
func (c TableColumn) Physical() bool { return c.Metadata == "" && c.Computed == nil }

func (t *Table) String() string {
	if t.Discards() {
		return t.Name + " (discarded)"
	}
	if t.Delivery != nil {
		return fmt.Sprintf("%s (topic %s, delivered to %s)", t.Name, t.Kafka.Topic, t.Delivery)
	}
	return fmt.Sprintf("%s (topic %s)", t.Name, t.Kafka.Topic)
}

// parts returns the tables of single topics that it consists of.
func (t *Table) parts() []*Table {
	if t.Parts == nil {
		return []*Table{t}
	}
	return t.Parts
}

// columns returns the table's columns as those of a relation.
func (t *Table) columns() []Column {
	cols := make([]Column, len(t.Columns))
	for i, c := range t.Columns {
		cols[i] = Column{Name: c.Name, Type: c.Type, Rowtime: i == t.Rowtime && t.Watermark != nil, Proctime: isProctime(c.Computed)}
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

// newTable binds CREATE TABLE, and writes LIKE and AS out.
func (p *planner) newTable(s *sql.CreateTable) error {
	name, err := p.newName(s.Name, s.IfNotExists)
	if err != nil {
		return err
	}
	if name == "" {
		if s.As != nil {
			return sql.Errorf(s.Name[0], "%s already exists", lastName(s.Name)).WithHint("write INSERT INTO %s in place of CREATE TABLE … AS", sql.Quote(lastName(s.Name)))
		}
		return nil
	}
	if s.As != nil {
		return p.newTableAs(name, s)
	}
	if s.Like != nil {
		if s, err = p.like(s); err != nil {
			return err
		}
	}
	_, err = p.declare(name, s)
	return err
}

// declare adds the table of a CREATE TABLE without LIKE and AS.
func (p *planner) declare(name string, s *sql.CreateTable) (*Table, error) {
	t, err := p.createTable(name, s)
	if err != nil {
		return nil, err
	}
	p.tables[name], p.declared[name] = t, s
	p.addTable(t)
	p.program.Script.Statements = append(p.program.Script.Statements, s)
	return t, nil
}

// addTable adds a table to the program.
func (p *planner) addTable(t *Table) {
	if t.Parts == nil {
		p.program.Tables = append(p.program.Tables, t)
	}
	p.program.Tables = append(p.program.Tables, t.Parts...)
}

// createTable binds a table. One that reads several topics has a part for each.
func (p *planner) createTable(name string, s *sql.CreateTable) (*Table, error) {
	topics, pattern, err := p.topicList(s, name)
	if err != nil {
		return nil, err
	}
	if len(topics) <= 1 && pattern == "" {
		return p.bindTable(name, s)
	}
	var parts []*Table
	for _, topic := range topics {
		of := *s
		of.Options = overwrite(s.Options, []sql.Option{topic})
		t, err := p.bindTable(name, &of)
		if err != nil {
			return nil, err
		}
		t.Pattern = pattern
		parts = append(parts, t)
	}
	if parts[0].Upsert {
		return nil, sql.Errorf(topics[0].ValuePos, "table %s: upsert-kafka supports only a single topic", name).
			WithHint("a key could be in several topics, whose order is unknown: declare a table for each topic")
	}
	t := *parts[0]
	t.Parts = parts
	return &t, nil
}

// bindTable binds a table of a single topic.
func (p *planner) bindTable(name string, s *sql.CreateTable) (*Table, error) {
	o, c, err := readOptions(s, name)
	if err != nil {
		return nil, err
	}
	t := &Table{Pos: s.Pos, Name: name, Rowtime: -1}
	for _, col := range s.Columns {
		if t.index(col.Name.Name) >= 0 {
			return nil, sql.Errorf(col.Name, "column %s is listed twice in table %s", col.Name.Name, name)
		}
		bound, err := physicalOrMetadata(col, o.name, c.metadata())
		if err != nil {
			return nil, err
		}
		t.Columns = append(t.Columns, bound)
	}
	differences, volatile := slices.Clone(p.program.Differences), slices.Clone(p.program.Volatile)
	if err := p.bindComputed(t, s); err != nil {
		return nil, err
	}
	if _, ok := c.(datagen); ok {
		t.Generator = &Generator{Zone: p.program.Zone}
		if t.Generator.readClock(t) {
			p.program.Differences, p.program.Volatile = differences, volatile
		}
	}
	if err := p.bindWatermark(t, s.Watermark); err != nil {
		return nil, err
	}
	if err := t.setPrimaryKey(s.PrimaryKey); err != nil {
		return nil, err
	}
	if err := t.setPartitioned(s.Partitioned, c); err != nil {
		return nil, err
	}
	if err := c.bind(t, o); err != nil {
		return nil, err
	}
	if t.IdleTimeout == 0 {
		t.IdleTimeout = p.program.Settings.IdleTimeout
	}
	return t, o.unread(s.Options)
}

func (t *Table) setPrimaryKey(key *sql.PrimaryKey) error {
	if key == nil {
		return nil
	}
	for _, c := range key.Columns {
		i := t.index(c.Name)
		if i < 0 || !t.Columns[i].Physical() {
			return sql.Errorf(c, "primary key column %s is not a physical column of %s", c.Name, t.Name).WithHint("%s", suggest.DidYouMean(c.Name, t.names()))
		}
		t.Columns[i].Type.NotNull = true
		t.PrimaryKey = append(t.PrimaryKey, i)
	}
	return nil
}

// physicalOrMetadata binds a column. The expression and type of a computed column are set later, by
// bindComputed.
func physicalOrMetadata(c sql.Column, connector string, available map[string]metadata) (TableColumn, error) {
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
	known, ok := available[key]
	if !ok {
		keys := slices.Sorted(maps.Keys(available))
		return col, sql.Errorf(c.Metadata, "the %s connector has no metadata '%s'", connector, col.Metadata).
			WithHint("%s", orElse(suggest.DidYouMean(key, keys), "available: "+strings.Join(keys, ", ")))
	}
	if !known.typ.Same(t) && (known.typ.Kind != t.Kind || t.Class() != column.Ints) && !assignable(known.typ, t) {
		return col, sql.Errorf(c.Type, "metadata '%s' is %s, not %s", key, known.typ, c.Type)
	}
	if !known.writable {
		col.Virtual = true // as in Flink, which rejects only writes to it
	}
	return col, nil
}

// bindComputed binds the computed columns, which may use all columns that are not computed.
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
		return sql.Errorf(w, "watermark column %s is not a column of %s", name, t.Name).WithHint("%s", suggest.DidYouMean(name, t.names()))
	}
	if ct := t.Columns[t.Rowtime].Type; !ct.Instant() || ct.Precision > 3 {
		return sql.Errorf(w, "the watermark column must be at most TIMESTAMP(3) or TIMESTAMP_LTZ(3), but %s is %s", name, ct.Nullable(true))
	}
	visible := &scope{}
	visible.add(t.Name, t.columns())
	n, err := (&binder{planner: p, scope: visible}).bind(w.Expr)
	if err != nil {
		return err
	}
	if !n.Type().Instant() {
		return sql.Errorf(w.Expr, "the watermark must be a timestamp, got %s", n.Type().Nullable(true)).WithHint("for example %s - INTERVAL '5' SECOND", sql.Quote(name))
	}
	hint := usesProctime
	if t.Generator != nil {
		hint = "declare a column that is the clock alone, such as ts AS LOCALTIMESTAMP with WATERMARK FOR ts AS ts: it has the time at which the row was generated"
	}
	for _, e := range []expr.Node{n, t.Columns[t.Rowtime].Computed} {
		if call := expr.FindVolatile(e); call != nil {
			return sql.Errorf(w, "a watermark can't depend on %s, whose value is another one when the records are read again", call.F.SQLName()).WithHint("%s", hint)
		}
	}
	t.Watermark = expr.Fold(n)
	return nil
}
