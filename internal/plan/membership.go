package plan

import (
	"fmt"
	"slices"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// EXISTS (SELECT …) and x IN (SELECT …) as values are left joins, too: EXISTS with the distinct
// columns that the query around it must equal, IN also with the distinct values. Without such
// columns, EXISTS is a join with a single row, that of an aggregate which is NULL if the query has
// no rows. Where it matters whether IN is FALSE or NULL, a second join says whether the query has
// rows, and whether a value of them is NULL.

// valueFrom computes the value of a query from those of its scalars.
type valueFrom func(of []expr.Node) (expr.Node, error)

// existence binds EXISTS (SELECT …) as a value.
func (p *planner) existence(e *sql.Subquery, b *binder) (parts []*scalar, value valueFrom, err error) {
	m := &member{planner: p, where: e}
	if err := m.bindQuery(e.Query, b); err != nil {
		return nil, nil, err
	}
	found, err := m.match()
	return []*scalar{found}, m.found, err
}

// membership binds x IN (SELECT …), or (x, y) IN (SELECT …), as a value. onlyTrue says that FALSE
// and NULL mean the same.
func (p *planner) membership(e *sql.In, onlyTrue bool, b *binder) (parts []*scalar, value valueFrom, err error) {
	operands := []sql.Expr{e.X}
	if row, ok := e.X.(*sql.RowValue); ok {
		operands = row.Items
	}
	left, err := b.bindAll(operands)
	if err != nil {
		return nil, nil, err
	}
	m := &member{planner: p, where: e}
	if err := m.bindQuery(e.Query, b); err != nil {
		return nil, nil, err
	}
	if n := len(m.query.Cols) - len(m.groups); n != len(left) {
		return nil, nil, sql.Errorf(e, "IN compares %d value(s) with a query of %d column(s)", len(left), n)
	}
	for i, n := range left {
		if err := m.compare(n, m.query.col(i)); err != nil {
			return nil, nil, at(e, err)
		}
	}
	found, err := m.match()
	if err != nil {
		return nil, nil, err
	}
	m.differ(onlyTrue)
	switch {
	case onlyTrue || len(m.leftNull)+len(m.rightNull) == 0:
		return []*scalar{found}, m.found, nil
	case len(left) > 1:
		return nil, nil, sql.Errorf(e, "(x, y) IN (SELECT …) of columns that may be NULL is not supported where it may be NULL itself").
			WithHint("write ((x, y) IN (SELECT …)) IS TRUE, which is FALSE then; Flink does not support this either")
	}
	unknown, err := m.unknown()
	return []*scalar{found, unknown}, m.value, err
}

// member is EXISTS (SELECT …) or x IN (SELECT …) as a value.
type member struct {
	planner *planner
	where   sql.Expr
	query   *Relation

	groups, around      []expr.Node // columns of the query that equal values of the query around it
	keys, outer         []expr.Node // the same for the values of IN
	constant            []expr.Node // comparisons with a constant, over the columns of the query
	leftNull, rightNull []expr.Node // conditions by which a value is NULL, over the columns of either query
}

// bindQuery binds the query. A plain SELECT may equate its columns with those of the query around
// it, unless they are columns of groups.
func (m *member) bindQuery(q *sql.Query, b *binder) error {
	p, sc := m.planner, b.scope
	var keys []sql.Expr
	s, plain := plainSelect(q)
	if plain {
		var rest []sql.Expr
		var err error
		if keys, rest, m.around, err = p.correlations(s, sc, false); err != nil {
			return err
		}
		if len(keys) > 0 && b.special != nil {
			return sql.Errorf(keys[0], "a query in SELECT or HAVING of groups can't use columns of the query around it").
				WithHint("write the groups as a subquery in FROM, and the condition into the WHERE around it; Flink 2.2 fails, or takes another column for it")
		}
		if len(keys) > 0 {
			q = &sql.Query{Pos: q.Pos, Body: withKeys(s, keys, rest, false)}
		}
	}
	r, err := p.query(q)
	if err != nil {
		if ref := p.correlated(&joinTree{sc: sc}, q); ref != nil && !plain {
			return sql.Errorf(ref, "a query with groups, aggregates or LIMIT can't use columns of the query around it here").
				WithHint("group by the column in a subquery, and join it: LEFT JOIN (SELECT k, COUNT(*) AS n FROM u GROUP BY k) AS l ON l.k = t.k")
		}
		return err
	}
	m.query = r
	for i := len(r.Cols) - len(keys); i < len(r.Cols); i++ {
		m.groups = append(m.groups, r.col(i))
	}
	return nil
}

// compare adds a comparison of a value of x with a column of the query.
func (m *member) compare(x expr.Node, y *expr.Col) error {
	equal, err := expr.Bind("=", m.planner.program.Zone, x, y)
	if err != nil {
		return err
	}
	call := equal.(*expr.Call)                           //nolint:forcetypeassert // as bound
	left, right := expr.Fold(call.Args[0]), call.Args[1] // of the same type
	if t := right.Type(); t.Class() == column.Boxes && (t.Kind != column.Decimal || t.Precision > column.MaxPrecision) {
		return sql.Errorf(m.where, "IN (SELECT …) of %s is supported only as a condition of WHERE", t.Nullable(true)).WithHint("join it to other conditions with AND, or compare the parts of the value")
	}
	for _, side := range []struct {
		value expr.Node
		null  *[]expr.Node
	}{{left, &m.leftNull}, {right, &m.rightNull}} {
		if side.value.Type().NotNull {
			continue
		}
		null, err := expr.Bind("IS NULL", m.planner.program.Zone, side.value)
		if err != nil {
			return err
		}
		*side.null = append(*side.null, null)
	}
	if isConst(left) {
		m.constant = append(m.constant, equal)
		return nil
	}
	m.outer, m.keys = append(m.outer, left), append(m.keys, right)
	return nil
}

// differ records what Flink does while the query has no rows: it counts them, and loses what it
// compares with a count that is not there.
func (m *member) differ(onlyTrue bool) {
	switch {
	case len(m.leftNull)+len(m.rightNull) == 0:
	case len(m.groups) == 0:
		m.planner.differ(m.where, "empty-queries", "IN is FALSE while its query has no rows; Flink then drops the rows that are compared with it, also those that pass another condition")
	case len(m.leftNull) > 0 && !onlyTrue:
		m.planner.differ(m.where, "empty-queries", "IN is FALSE where no rows of its query correspond; Flink gives NULL if the compared value is NULL")
	}
}

// match returns the scalar that is not NULL if the query has a row that equals x.
func (m *member) match() (*scalar, error) {
	p := m.planner
	r := m.query
	conds := slices.Clone(m.constant)
	keys := slices.Concat(m.keys, m.groups)
	for _, n := range keys {
		if n.Type().NotNull {
			continue
		}
		present, err := expr.Bind("IS NOT NULL", p.program.Zone, n)
		if err != nil {
			return nil, err
		}
		conds = append(conds, present)
	}
	if len(conds) > 0 {
		r = p.filter(r, conjunction(conds))
	}
	if len(keys) == 0 {
		return m.largest(r, "found", truth(true))
	}
	named := make([]string, len(keys))
	for i, n := range keys {
		named[i] = n.String()
	}
	if !slices.EqualFunc(keys, r.first(len(r.Cols)), expr.SameNode) {
		r = p.project(r, named, keys)
	}
	if r.Key == nil {
		var err error
		if r, err = p.distinct(m.where, r); err != nil {
			return nil, err
		}
	}
	exprs := append([]expr.Node{truth(true)}, r.first(len(r.Cols))...)
	return &scalar{where: m.where, table: p.project(r, append([]string{"found"}, named...), exprs), outer: slices.Concat(m.outer, m.around)}, nil
}

// unknown returns the scalar that is TRUE if the query has a NULL, FALSE if it has only other
// values, and NULL if it has no rows.
func (m *member) unknown() (*scalar, error) {
	isNull, err := m.any(m.rightNull)
	if err != nil {
		return nil, err
	}
	return m.largest(m.query, "has NULL", isNull)
}

// largest returns the largest value that a condition has over the rows of the query, or over those
// that correspond to a row of the query around it. It changes less often than the rows: what it is
// joined to is computed again each time.
func (m *member) largest(r *Relation, name string, cond expr.Node) (*scalar, error) {
	n := len(m.groups)
	named := []string{name}
	for i := range n {
		named = append(named, fmt.Sprintf("key %d", i+1))
	}
	in := m.planner.project(r, named, append([]expr.Node{cond}, m.groups...))
	largest, err := m.planner.aggregate(m.where, in, after(upTo(n), 1), []Agg{{Name: "MAX", Filter: -1, Type: column.Of(column.Boolean)}})
	if err == nil && n > 0 {
		exprs := append([]expr.Node{largest.col(n)}, largest.first(n)...)
		largest = m.planner.project(largest, named, exprs)
	}
	return &scalar{where: m.where, table: largest, outer: m.around}, err
}

// found returns whether the first scalar has a row.
func (m *member) found(of []expr.Node) (expr.Node, error) {
	return expr.Bind("IS NOT NULL", m.planner.program.Zone, of[0])
}

// value returns x IN (SELECT …), which is FALSE if the query has no rows, even if x is NULL.
func (m *member) value(of []expr.Node) (expr.Node, error) {
	found, err := m.found(of)
	if err != nil {
		return nil, err
	}
	zone := m.planner.program.Zone
	empty, err := expr.Bind("IS NULL", zone, of[1])
	if err != nil {
		return nil, err
	}
	unknown, err := m.any(append(slices.Clone(m.leftNull), of[1]))
	if err != nil {
		return nil, err
	}
	null := &expr.Const{T: column.Of(column.Boolean)}
	return expr.Bind("CASE", zone, found, truth(true), empty, truth(false), unknown, null, truth(false))
}

// any joins conditions with OR.
func (m *member) any(conds []expr.Node) (expr.Node, error) {
	if len(conds) == 0 {
		return truth(false), nil
	}
	all := conds[0]
	for _, cond := range conds[1:] {
		var err error
		if all, err = expr.Bind("OR", m.planner.program.Zone, all, cond); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func truth(value bool) *expr.Const {
	return &expr.Const{Value: value, T: notNull(column.Boolean)}
}
