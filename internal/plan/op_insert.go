package plan

import (
	"slices"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// Insert writes rows to a table. Columns[i] is the input's column for the table's column i; -1
// writes NULL.
type Insert struct {
	opDefaults
	Table   *Table
	Columns []int
	Sink    SinkSettings // the settings in effect at the INSERT

	// Exact lists the table's columns whose values must have the declared length. They are part of
	// the key by which rows replace each other: truncation could make different keys equal.
	Exact []int
}

// Name implements Op.
func (*Insert) Name() string { return "Insert" }

// Describe implements Op.
func (n *Insert) Describe(*Relation) string {
	if n.Table.Upsert {
		return "Upsert into " + n.Table.String()
	}
	return "Insert into " + n.Table.String()
}

// Reads implements Op.
func (n *Insert) Reads(_ *Relation, _ int, need func(int)) {
	for _, c := range n.Columns {
		if c >= 0 {
			need(c)
		}
	}
}

// insert binds INSERT INTO table [(columns)] query.
func (p *planner) insert(s *sql.Insert) error {
	name, err := tableName(s.Table)
	if err != nil {
		return err
	}
	if p.tables[name] == nil {
		if p.views[name] != nil {
			return sql.Errorf(s.Table[0], "%s is a view; only tables can be written to", name)
		}
		var known []string
		for n := range p.tables {
			known = append(known, n)
		}
		slices.Sort(known)
		return sql.Errorf(s.Table[0], "table %s not found", name).WithHint("%s", orElse(suggest.DidYouMean(name, known), "declare it with CREATE TABLE first"))
	}
	hints, err := tableOptions(s.Hints)
	if err != nil {
		return err
	}
	t, err := p.withHints(name, hints)
	if err != nil {
		return err
	}
	r, err := p.queryToWrite(s.Query)
	if err != nil {
		return err
	}
	return p.insertRows(s, t, r)
}

// insertRows binds the INSERT of the rows of r into t.
func (p *planner) insertRows(s *sql.Insert, t *Table, r *Relation) error {
	if t.Pattern != "" {
		return sql.Errorf(s.Table[0], "table %s has a pattern in place of a topic, and can't be written", t.Name).
			WithHint("declare a table with the option 'topic' to write to")
	}
	if t.Parts != nil {
		return sql.Errorf(s.Table[0], "table %s has several topics, and can't be written", t.Name).
			WithHint("write to a table with one topic; with CREATE TABLE … WITH ('topic' = '…') LIKE %s, it is declared in a line", sql.Quote(t.Name))
	}
	if t.Generator != nil {
		return sql.Errorf(s.Table[0], "table %s is generated, and can't be written", t.Name).WithHint("the connector datagen is a source: write to a table with another connector")
	}
	targets, err := t.targets(s)
	if err != nil {
		return err
	}
	if len(targets) != len(r.Cols) {
		return sql.Errorf(s, "the query has %d column(s), but %s takes %d", len(r.Cols), t.Name, len(targets)).
			WithHint("query: %s; table: %s", strings.Join(names(r.Cols), ", "), strings.Join(t.namesOf(targets), ", "))
	}
	if err := checkRowtimes(s, r); err != nil {
		return err
	}
	insert := &Insert{Table: t, Columns: make([]int, len(t.Columns)), Sink: p.program.Settings.Sink}
	for i := range insert.Columns {
		insert.Columns[i] = -1
	}
	cols := slices.Clone(r.Cols)
	for i, target := range targets {
		to := t.Columns[target].Type
		if !assignable(cols[i].Type, to) {
			hint := "write CAST(… AS " + to.Nullable(true).String() + ")"
			if to.Kind == column.Multiset {
				hint = "write COLLECT(CAST(… AS " + to.Key.Nullable(true).String() + "))"
			}
			return sql.Errorf(s, "column %s of %s is %s, but the query yields %s %s", t.Columns[target].Name, t.Name, to.Nullable(true), cols[i].Name, cols[i].Type.Nullable(true)).
				WithHint("%s", hint)
		}
		insert.Columns[target] = i
		if r.Updating && slices.Contains(r.Key, i) && shortens(cols[i].Type, to) {
			insert.Exact = append(insert.Exact, target)
			continue
		}
		if shortens(cols[i].Type, to) && to.Fixed && !cols[i].Type.Fixed && !constant(r, i) {
			p.differ(s, "lengths", "column %s of %s is %s, but the query yields %s: values are truncated and padded; Flink requires a CAST", t.Columns[target].Name, t.Name, to.Nullable(true), cols[i].Type.Nullable(true))
		}
		cols[i].Type = to.Nullable(!cols[i].Type.NotNull)
	}
	for i, c := range t.Columns {
		if insert.Columns[i] < 0 && c.Physical() && c.Type.NotNull {
			return sql.Errorf(s, "%s.%s is NOT NULL, but gets no value", t.Name, c.Name)
		}
	}
	p.differInsert(s, insert, r)
	r = p.castTo(s, r, cols)
	if err := insert.checkKey(s, r); err != nil {
		return err
	}
	if !t.Upsert && !t.Changes {
		p.differRows(s, r)
	}
	if r.Updating && r.Multiset && !t.Changes {
		r = p.materialize(r, insert.keyColumns())
	}
	p.program.Sinks = append(p.program.Sinks, p.relation(insert, nil, r))
	return nil
}

// checkRowtimes refuses rows with several watermark columns, as Flink does: it could not tell which
// of them is the time of the record.
func checkRowtimes(where sql.Node, r *Relation) error {
	var times []string
	for _, c := range r.Cols {
		if c.Rowtime && !c.Cast {
			times = append(times, c.Name)
		}
	}
	if len(times) <= 1 {
		return nil
	}
	return sql.Errorf(where, "the query has several columns with a watermark: %s", strings.Join(times, ", ")).
		WithHint("write CAST(… AS TIMESTAMP_LTZ(3)), or AS TIMESTAMP(3), for all but one of them; Flink does not support this either")
}

// shortens reports whether a cast may change the length of a string or of bytes.
func shortens(from, to column.Type) bool {
	return from.Kind == to.Kind && (to.Kind == column.String || to.Kind == column.Bytes) && !to.Holds(from)
}

// queryToWrite binds the query of an INSERT.
func (p *planner) queryToWrite(q *sql.Query) (*Relation, error) {
	r, err := p.wholeQuery(q, true)
	if err != nil {
		return nil, err
	}
	if pendingRank := findPending(r); pendingRank {
		return nil, sql.Errorf(q, "ROW_NUMBER needs a limit in the enclosing query").WithHint("SELECT … FROM (SELECT *, ROW_NUMBER() OVER (…) AS n FROM t) WHERE n <= 10")
	}
	if w := findSession(r); w {
		return nil, sql.Errorf(q, "a SESSION window must be grouped by window_start and window_end").WithHint("otherwise the end of a session is unknown")
	}
	return r, nil
}

// targets returns the table's column for each column of the query.
func (t *Table) targets(s *sql.Insert) ([]int, error) {
	var all []int
	for i, c := range t.Columns {
		if c.Physical() || c.Metadata != "" && !c.Virtual {
			all = append(all, i)
		}
	}
	if len(s.Columns) == 0 {
		return all, nil
	}
	var chosen []int
	for _, c := range s.Columns {
		i := t.index(c.Name)
		if i < 0 || !slices.Contains(all, i) {
			return nil, sql.Errorf(c, "%s has no writable column %s", t.Name, c.Name).WithHint("%s", suggest.DidYouMean(c.Name, t.namesOf(all)))
		}
		if slices.Contains(chosen, i) {
			return nil, sql.Errorf(c, "column %s is listed twice", c.Name)
		}
		chosen = append(chosen, i)
	}
	return chosen, nil
}

func (t *Table) namesOf(columns []int) []string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = t.Columns[c].Name
	}
	return all
}

// checkKey requires updating rows to be written to a table with the same key.
func (n *Insert) checkKey(s *sql.Insert, r *Relation) error {
	t := n.Table
	if !r.Updating || t.Changes {
		return nil
	}
	if !t.Upsert {
		hint := "use the upsert-kafka connector with a PRIMARY KEY, or group by a window"
		if t.Delivery != nil {
			hint = "declare a PRIMARY KEY (…) NOT ENFORCED, or group by a window"
		}
		if _, ok := t.Delivery.(*Files); ok {
			hint = "group by a window; rows of files can't be replaced: write to a jdbc or upsert-kafka table with a PRIMARY KEY"
		}
		return sql.Errorf(s, "%s is append-only, but the query updates rows", t.Name).WithHint("%s", hint)
	}
	if r.Multiset && (r.Key == nil || subset(r.Key, n.keyColumns())) {
		return nil
	}
	sameInAll := func(c int) bool { return constant(r, c) }
	written := slices.DeleteFunc(n.keyColumns(), sameInAll)
	if r.Key == nil {
		return sql.Errorf(s, "the query doesn't select its key, so %s can't tell which row replaces which", t.Name).
			WithHint("select the columns of GROUP BY, of PARTITION BY or of the upsert table's primary key, and the row number of a Top-N")
	}
	a, b := slices.Sorted(slices.Values(written)), slices.Sorted(slices.Values(r.Key))
	if !slices.Equal(a, b) {
		var key []string
		for _, c := range r.Key {
			key = append(key, r.Cols[c].Name)
		}
		return sql.Errorf(s, "the primary key of %s is (%s), but the query has one row per (%s)", t.Name, strings.Join(t.namesOf(t.PrimaryKey), ", "), strings.Join(key, ", ")).
			WithHint("make them equal: otherwise rows with different keys overwrite each other")
	}
	return nil
}

// keyColumns returns the input's columns of the table's primary key.
func (n *Insert) keyColumns() []int {
	var all []int
	for _, c := range n.Table.PrimaryKey {
		all = append(all, n.Columns[c])
	}
	return all
}

// constant reports whether a column has the same value in every row.
func constant(r *Relation, c int) bool {
	p, ok := r.Op.(*Project)
	if !ok {
		return false
	}
	switch e := expr.Fold(p.Exprs[c]).(type) {
	case *expr.Const:
		return true
	case *expr.Col:
		return constant(r.Inputs[0], e.Index)
	}
	return false
}
