package plan

import (
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// LookupJoin joins each row of its input with the rows that a table of a database has for its key
// at the moment of the transaction. Its columns are those of the input followed by the table's.
type LookupJoin struct {
	opDefaults
	Table *Table
	Left  []int     // columns of the input
	Keys  []int     // columns of the table that must be equal to them; never empty
	Outer bool      // emit rows without a match, with NULL
	Cond  expr.Node // over the columns of both; nil is true
}

// Name implements Op.
func (*LookupJoin) Name() string { return "LookupJoin" }

// Describe implements Op.
func (j *LookupJoin) Describe(r *Relation) string {
	text := "Lookup"
	if j.Outer {
		text = "Outer lookup"
	}
	text += fmt.Sprintf(" (%s) = (%s) in %s", listNames(r.Inputs[0].Cols, j.Left), strings.Join(j.Table.namesOf(j.Keys), ", "), j.Table.Delivery)
	if j.Cond != nil {
		text += " and " + j.Cond.String()
	}
	text += ", reads " + orElse(strings.Join(j.Table.namesOf(j.Columns(r)), ", "), "no columns")
	if c := j.cache(); c != nil {
		text += fmt.Sprintf(", keeps up to %d rows", c.MaxRows)
		if c.AfterWrite > 0 {
			text += fmt.Sprintf(" for %s", c.AfterWrite)
		}
		if c.AfterAccess > 0 {
			text += fmt.Sprintf(", unused ones for %s", c.AfterAccess)
		}
	}
	return text
}

func (j *LookupJoin) cache() *LookupCache {
	if of, ok := j.Table.Delivery.(*JDBC); ok {
		return of.Cache
	}
	return nil
}

func (j *LookupJoin) brief(*Relation) string { return j.Table.Name }

// Reads implements Op.
func (j *LookupJoin) Reads(r *Relation, _ int, need func(int)) {
	n := len(r.Inputs[0].Cols)
	needColumns(j.Left, need)
	needPassed(r, n, need)
	needExpr(j.Cond, func(c int) {
		if c < n {
			need(c)
		}
	})
}

// Columns lists the columns of the table whose values are read.
func (j *LookupJoin) Columns(r *Relation) (all []int) {
	n := len(r.Inputs[0].Cols)
	used := make(map[int]bool)
	needExpr(j.Cond, func(c int) { used[c] = true })
	for i := range j.Table.Columns {
		if r.Needed[n+i] || used[n+i] {
			all = append(all, i)
		}
	}
	return all
}

func (j *LookupJoin) copies(int) bool     { return j.Outer }
func (*LookupJoin) matchesNulls() bool    { return false }
func (j *LookupJoin) dropsNulls(int) bool { return !j.Outer }

// pushFilter moves what reads only the input before the lookup, so that fewer keys are looked up.
func (j *LookupJoin) pushFilter(r *Relation, cond expr.Node) (below expr.Node, ok bool) {
	n := len(r.Inputs[0].Cols)
	var before, on []expr.Node
	for _, part := range conjuncts(cond) {
		if sideOf(part, n) == onlyLeft {
			before = append(before, part)
			continue
		}
		on = append(on, part)
	}
	if len(on) > 0 && (j.Outer || slices.ContainsFunc(on, expr.Volatile)) {
		return nil, false
	}
	if j.Cond != nil {
		on = append(conjuncts(j.Cond), on...)
	}
	j.Cond = conjunction(on)
	return conjunction(before), true
}

// lookupJoin binds left JOIN table FOR SYSTEM_TIME AS OF left.proc_time ON left.k = table.k.
func (p *planner) lookupJoin(t *sql.Join, table *Table, left *Relation, sc *scope) (*Relation, *scope, error) {
	right := t.Right.(*sql.TableName)
	if _, ok := table.Delivery.(*JDBC); !ok {
		return nil, nil, checkRead(right, table)
	}
	if err := checkLookedUp(right, table, left, sc); err != nil {
		return nil, nil, err
	}
	cols, alias, err := table.lookedUp(right)
	if err != nil {
		return nil, nil, err
	}
	n := len(left.Cols)
	both := &scope{cols: slices.Concat(sc.cols, cols), tables: append(slices.Clone(sc.tables), scopeTable{alias, n, n + len(cols)})}
	both.inherit(sc, 0)
	cond, err := (&binder{planner: p, scope: both}).condition(t.On, "ON")
	if err != nil {
		return nil, nil, err
	}
	j := &LookupJoin{Table: table, Outer: t.Kind == "LEFT"}
	keys := &joinBinding{planner: p, left: left}
	j.keys(cond, keys)
	if len(j.Keys) == 0 {
		return nil, nil, sql.Errorf(t.On, "a lookup in table %s requires that ON equates a column of it with a value of the left table", table.Name).
			WithHint("both must have the same type, which can't be FLOAT, DOUBLE or CHAR(n): CAST the value of the left table; Flink does not look up by anything else either")
	}
	left = keys.left
	out := slices.Concat(left.Cols, cols)
	for i := len(left.Cols); i < len(out); i++ {
		out[i].Type = out[i].Type.Nullable(j.Outer || !out[i].Type.NotNull)
	}
	r := p.relation(j, out, left)
	r.Keyed, r.Hash = left.Keyed, left.Hash
	r = keys.withoutExtra(r)
	both.cols = slices.Clone(r.Cols)
	p.differ(right, "lookup-time", "a row of %s is looked up once for each key and transaction; Flink looks it up for each row. "+
		"Rows are still written exactly once, but the same records may give other rows when they are read again", table.Name)
	p.differTypes(right, table, "read")
	return r, both, nil
}

// checkLookedUp refuses what is not a lookup as of the time of the transaction.
func checkLookedUp(right *sql.TableName, table *Table, left *Relation, sc *scope) error {
	const declare = "declare a column proc_time AS PROCTIME() in the left table, and write FOR SYSTEM_TIME AS OF its proc_time"
	ref, ok := right.AsOf.(*sql.ColumnRef)
	if !ok {
		return sql.Errorf(right.AsOf, "FOR SYSTEM_TIME AS OF requires a time column of the left table").WithHint(declare)
	}
	i, parts, err := sc.find(ref.Parts)
	if err != nil {
		return err
	}
	if parts < len(ref.Parts) || !left.Cols[i].Proctime {
		return sql.Errorf(right.AsOf, "%s is not PROCTIME(), but a database knows only its current rows, so table %s can't be joined as of another time", left.Cols[i].Name, table.Name).WithHint(declare)
	}
	for _, c := range table.Columns {
		if !c.Physical() {
			return sql.Errorf(right, "column %s of table %s is computed, which a lookup does not support", c.Name, table.Name).WithHint("compute it in the query with the join")
		}
	}
	return nil
}

// lookedUp returns the columns of the table and its name in the query.
func (t *Table) lookedUp(ref *sql.TableName) (cols []Column, alias string, err error) {
	cols, alias = t.columns(), orElse(ref.Alias.Name.Name, ref.Name[len(ref.Name)-1].Name)
	for i := range cols {
		cols[i].Rowtime = false
	}
	if given := ref.Alias.Columns; len(given) > 0 {
		if len(given) != len(cols) {
			return nil, "", sql.Errorf(ref, "%s has %d column(s), but %d names are given", alias, len(cols), len(given))
		}
		for i, name := range given {
			cols[i].Name = name.Name
		}
	}
	return cols, alias, nil
}

// keys splits the condition into equalities that the database evaluates, and the rest.
func (j *LookupJoin) keys(cond expr.Node, b *joinBinding) {
	border := len(b.left.Cols)
	var equal, rest []expr.Node
	for _, part := range conjuncts(cond) {
		value, c, ok := j.key(part, border)
		if !ok || slices.Contains(j.Keys, c) {
			rest = append(rest, part)
			continue
		}
		equal, j.Keys = append(equal, value), append(j.Keys, c)
	}
	if len(j.Keys) == 0 {
		return
	}
	b.left, j.Left = b.withKeys(b.left, equal, 0)
	for i, part := range rest {
		rest[i] = b.afterExtra(part, border)
	}
	j.Cond = conjunction(rest)
}

// key parses an equality of a value of the left side, or a constant, and a column of the table that
// a database compares as SQL does.
func (j *LookupJoin) key(cond expr.Node, border int) (value expr.Node, c int, ok bool) {
	call, isCall := cond.(*expr.Call)
	if !isCall || call.F.Name != "=" {
		return nil, 0, false
	}
	l, r := call.Args[0], call.Args[1]
	if sideOf(l, border) == onlyRight {
		l, r = r, l
	}
	col, isCol := r.(*expr.Col)
	if side := sideOf(l, border); !isCol || col.Index < border || side != onlyLeft && !isConst(l) || expr.Volatile(l) {
		return nil, 0, false
	}
	c = col.Index - border
	return l, c, lookupKey(l.Type(), j.Table.Columns[c].Type, isConst(l))
}

// lookupKey reports whether a value can be looked up in a column of a type: every value of its own
// type is one of the column's.
func lookupKey(value, of column.Type, constant bool) bool {
	switch of.Kind {
	case column.TinyInt, column.SmallInt, column.Int, column.BigInt:
		return value.Integer() && value.Kind <= of.Kind // kinds are in order of size
	case column.Decimal:
		return value.Kind == of.Kind && value.Scale == of.Scale
	case column.String:
		return value.Kind == of.Kind && !of.Fixed && (!value.Fixed || constant)
	case column.Boolean, column.Bytes, column.Date, column.Time, column.Timestamp, column.TimestampLTZ:
		return value.Kind == of.Kind && !of.Fixed && !value.Fixed
	}
	return false
}

// Lookups returns the lookup joins of the program.
func (p *Program) Lookups() (all []*Relation) {
	p.visit(func(r *Relation) {
		if _, ok := r.Op.(*LookupJoin); ok {
			all = append(all, r)
		}
	})
	return all
}

// checkLookups refuses columns that are read from a database in a form that SQL would have to
// parse. It runs when it is known which columns are read.
func (p *planner) checkLookups() error {
	for _, r := range p.program.Lookups() {
		j := r.Op.(*LookupJoin) //nolint:forcetypeassert // see Lookups
		for _, c := range j.Columns(r) {
			switch of := j.Table.Columns[c].Type; of.Kind {
			case column.Array, column.Multiset, column.Map, column.Row, column.Null, column.IntervalDay, column.IntervalMonth:
				return sql.Errorf(j.Table, "column %s of %s is %s, which a lookup can't read", j.Table.Columns[c].Name, j.Table.Name, of.Nullable(true)).
					WithHint("select the parts that you need in a view of the database, and name the view in 'table-name'")
			}
		}
	}
	return nil
}
