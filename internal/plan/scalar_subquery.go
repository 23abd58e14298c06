package plan

import (
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// scalar is a query that is used as a value: a relation with at most one row for each row of the
// query around it. Its first column is the value, the others are compared with outer.
type scalar struct {
	where sql.Node
	table *Relation
	outer []expr.Node // over the columns of the query around it
	empty expr.Node   // the value if no row corresponds, as for COUNT; nil is NULL
}

// scalar binds a query that is used as a value in a query whose columns are in sc. It must have one
// column and provably at most one row: Flink finds further rows only while it runs, and fails then.
func (p *planner) scalar(q *sql.Subquery, sc *scope) (*scalar, error) {
	query := q.Query
	v := &scalar{where: q}
	aggregated := false
	var keys []sql.Expr
	if s, ok := soleSelect(query); ok {
		aggregated = len(s.GroupBy) == 0 && selectsAggregate(s)
		var rest []sql.Expr
		var err error
		if keys, rest, v.outer, err = p.correlations(s, sc, !aggregated); err != nil {
			return nil, err
		}
		if len(keys) > 0 {
			if s.Qualify != nil {
				return nil, sql.Errorf(s.Qualify, "QUALIFY is not supported in a query that uses columns of the query around it").WithHint("join a query with QUALIFY")
			}
			if aggregated && s.Having != nil {
				return nil, sql.Errorf(s.Having, "HAVING is not supported in a query that uses columns of the query around it").WithHint("write a CASE in its SELECT")
			}
			query = &sql.Query{Pos: query.Pos, Body: withKeys(s, keys, rest, aggregated)}
		}
	}
	r, err := p.query(query)
	if err != nil {
		return nil, err
	}
	if n := len(r.Cols) - len(keys); n != 1 {
		return nil, sql.Errorf(q, "a query as a value must have one column, got %d", n).WithHint("write a query for each column; Flink does not support this either")
	}
	single := singleRow(r)
	if r.Key != nil {
		single = single || subset(r.Key, after(upTo(len(keys)), 1))
	}
	if !single {
		return nil, sql.Errorf(q, "a query as a value must have at most one row").
			WithHint("use an aggregate without GROUP BY, such as MAX(…), or compare the whole primary key of an upsert-kafka table")
	}
	v.table = r
	if aggregated && len(keys) > 0 {
		v.empty, err = emptyValue(q, r, 0, len(keys))
	}
	return v, err
}

// emptyValue returns the value that a column of a query has if none of the rows that it aggregates
// correspond; nil for NULL. The first columns of its groups are keys.
func emptyValue(where sql.Node, r *Relation, col, keys int) (expr.Node, error) {
	project, aggregate := r.Op.(*Project), r.Inputs[0]
	for c := range expr.Columns(project.Exprs[col]) {
		if c < keys {
			return nil, sql.Errorf(where, "a correlated query that aggregates can use other columns only in aggregates")
		}
	}
	n := expr.Fold(replaceColumns(project.Exprs[col], func(c *expr.Col) expr.Node {
		if aggregate.Op.(*Aggregate).Aggs[c.Index-keys].Name == "COUNT" { //nolint:forcetypeassert // below the projection of a GROUP BY
			return &expr.Const{Value: int64(0), T: c.T}
		}
		return &expr.Const{T: c.T.Nullable(true)}
	}))
	if k, ok := n.(*expr.Const); ok && k.Value == nil {
		return nil, nil
	}
	return n, nil
}

// soleSelect returns a query that is a SELECT with one item other than *.
func soleSelect(q *sql.Query) (*sql.Select, bool) {
	s, ok := q.Body.(*sql.Select)
	if !ok || len(q.With) > 0 || arranges(q) || len(s.From) == 0 || len(s.Items) != 1 {
		return nil, false
	}
	return s, !isStar(s.Items[0])
}

// correlations splits the WHERE of a query at its equalities with columns of the query around it:
// keys are the sides of the query itself, outer the others. With constants, equalities with
// constants count as well.
func (p *planner) correlations(s *sql.Select, sc *scope, constants bool) (keys, rest []sql.Expr, outer []expr.Node, err error) {
	if s.Where == nil {
		return nil, nil, nil, nil
	}
	inner, err := p.fromTree(s.From)
	if err != nil {
		return nil, nil, nil, err
	}
	border := len(sc.cols)
	b := &binder{planner: p, scope: inner.sc.within(sc)}
	for _, part := range sqlConjuncts(s.Where) {
		if hasSubquery(part) {
			rest = append(rest, part)
			continue
		}
		n, err := b.condition(part, "WHERE")
		if err != nil {
			return nil, nil, nil, err
		}
		around, own, key, ok := b.correlation(part, border)
		switch {
		case ok && (constants || sideOf(around, border) == onlyLeft):
			if err := p.comparable(part, around, own, border); err != nil {
				return nil, nil, nil, err
			}
			keys, outer = append(keys, key), append(outer, around)
		case sideOf(n, border)&onlyLeft != 0:
			return nil, nil, nil, sql.Errorf(part, "a query that is a value, or aggregates, can use columns of the query around it only in equalities").
				WithHint("write WHERE column = outer_column, or join the tables in FROM")
		default:
			rest = append(rest, part)
		}
	}
	return keys, rest, outer, nil
}

// correlation parses an equality of an expression over the query around and one over the query
// itself.
func (b *binder) correlation(e sql.Expr, border int) (around, own expr.Node, key sql.Expr, ok bool) {
	c, isBinary := e.(*sql.Binary)
	if !isBinary || c.Op != "=" {
		return nil, nil, nil, false
	}
	for _, sides := range [][2]sql.Expr{{c.L, c.R}, {c.R, c.L}} {
		l, lerr := b.bind(sides[0])
		r, rerr := b.bind(sides[1])
		if lerr != nil || rerr != nil {
			return nil, nil, nil, false
		}
		if side := sideOf(l, border); (side == onlyLeft || side == neither) && sideOf(r, border) == onlyRight {
			return expr.Fold(l), expr.Fold(r), sides[1], true
		}
	}
	return nil, nil, nil, false
}

// comparable rejects equalities of types for which several different values of the query may equal
// one around it, such as STRING '1' and '01' with INT 1.
func (p *planner) comparable(where sql.Node, around, own expr.Node, border int) error {
	equal, err := expr.Bind("=", p.program.Zone, around, own)
	if err != nil {
		return at(where, err)
	}
	if _, constant := around.(*expr.Const); constant {
		equal, err = expr.Bind("=", p.program.Zone, &expr.Col{T: around.Type()}, own)
		if err != nil {
			return at(where, err)
		}
	}
	if _, _, ok := equalSides(equal, max(border, 1)); !ok {
		return sql.Errorf(where, "a correlated query can't compare %s with %s", around.Type().Nullable(true), own.Type().Nullable(true)).WithHint("both must have the same type: write a CAST")
	}
	return nil
}

// withKeys returns a SELECT that yields its keys as well, and groups by them if it has groups.
func withKeys(s *sql.Select, keys, rest []sql.Expr, aggregated bool) *sql.Select {
	keyed := *s
	keyed.Items, keyed.GroupBy, keyed.Where = slices.Clone(s.Items), slices.Clone(s.GroupBy), nil
	grouped := aggregated || len(s.GroupBy) > 0
	for i, k := range keys {
		alias := sql.Ident{Pos: k.At(), Name: fmt.Sprintf("key %d", i+1)}
		keyed.Items = append(keyed.Items, sql.SelectItem{Expr: k, Alias: &alias})
		if grouped {
			keyed.GroupBy = append(keyed.GroupBy, k)
		}
	}
	for _, part := range rest {
		if keyed.Where == nil {
			keyed.Where = part
			continue
		}
		keyed.Where = &sql.Binary{Pos: part.At(), Op: "AND", L: keyed.Where, R: part}
	}
	return &keyed
}

// selectsAggregate reports whether SELECT contains an aggregate or there is a HAVING clause.
func selectsAggregate(s *sql.Select) bool {
	found := s.Having != nil
	for _, it := range s.Items {
		walk(it.Expr, func(c *sql.Call) {
			found = found || c.Over == nil && c.OverName == nil && isAggregate(strings.ToUpper(c.Name))
		})
	}
	return found
}

// singleRow reports whether a relation has at most one row: that of an aggregate without groups.
func singleRow(r *Relation) bool {
	a, ok := origin(r).(*Aggregate)
	return ok && len(a.Keys) == 0
}

// upTo returns 0, 1, … n-1.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// withValues joins a tree with the queries that are used as values.
func (p *planner) withValues(tree *joinTree, queries []valueQuery) (*joinTree, error) {
	for _, q := range queries {
		b := &binder{planner: p, scope: tree.sc}
		parts, value, err := p.valueParts(q, b)
		if err != nil {
			return nil, err
		}
		first := len(tree.sc.cols)
		for _, v := range parts {
			if tree, err = p.joinScalar(tree, v, v.outer); err != nil {
				return nil, err
			}
		}
		if err := p.setValue(q, parts, value, first); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

// withValuesOfOn joins the left side of a join with the queries that its condition uses as values.
func (p *planner) withValuesOfOn(tree *joinTree, on sql.Expr) (*joinTree, error) {
	v := &valueQueries{}
	v.collect(on, true, &v.below)
	if len(v.below) == 0 {
		return tree, nil
	}
	first := v.below[0].exprs[0]
	if tree.table != nil || len(tree.on) > 0 {
		return nil, sql.Errorf(first, "a query as a value is not supported in the ON of a LATERAL query").WithHint("write the condition into WHERE, or into the LATERAL query")
	}
	for _, q := range v.below {
		in, ok := q.exprs[0].(*sql.In)
		if ok {
			return nil, sql.Errorf(in, "IN (SELECT …) is not supported in ON").WithHint("of an inner join, write it into WHERE; of others, into a subquery in FROM: … LEFT JOIN (SELECT *, x IN (SELECT …) AS found FROM t) AS t ON … AND t.found; Flink 2.2 does not support this either")
		}
		query := q.exprs[0].(*sql.Subquery) //nolint:forcetypeassert // the other kind
		if ref := p.correlated(tree, query.Query); ref != nil {
			return nil, sql.Errorf(ref, "a query as a value in ON can't use columns of the tables that are joined").
				WithHint("of an inner join, write it into WHERE; of others, into a subquery in FROM; Flink 2.2 fails, or takes another column for it")
		}
	}
	valued, err := p.withValues(tree.left, v.below)
	if err != nil {
		return nil, err
	}
	valued.rows = tree.left
	return joined(tree.where, tree.kind, valued, tree.right), nil
}

// valueParts binds a query that is used as a value in expressions that b binds. Its value follows
// from those of one or more scalars.
func (p *planner) valueParts(q valueQuery, b *binder) (parts []*scalar, value valueFrom, err error) {
	s, ok := q.exprs[0].(*sql.Subquery)
	switch {
	case !ok:
		return p.membership(q.exprs[0].(*sql.In), q.onlyTrue, b) //nolint:forcetypeassert // the other kind
	case s.Exists:
		return p.existence(s, b)
	}
	v, err := p.scalar(s, b.scope)
	return []*scalar{v}, func(of []expr.Node) (expr.Node, error) { return of[0], nil }, err
}

// setValue sets the value of a query over the join with its scalars, whose columns start at first.
func (p *planner) setValue(q valueQuery, parts []*scalar, value valueFrom, first int) error {
	of := make([]expr.Node, len(parts))
	for i, v := range parts {
		var err error
		if of[i], err = v.value(first, p.program.Zone); err != nil {
			return at(q.exprs[0], err)
		}
		first += len(v.table.Cols)
	}
	n, err := value(of)
	for _, e := range q.exprs {
		p.valueOf[e] = n
	}
	return at(q.exprs[0], err)
}

// bindValues binds the queries that are used as values of groups.
func (g *grouping) bindValues() error {
	first := scalarColumns
	for _, q := range g.queries {
		parts, value, err := g.planner.valueParts(q, g.binder)
		if err != nil {
			return err
		}
		if err := g.planner.setValue(q, parts, value, first); err != nil {
			return err
		}
		for _, v := range parts {
			first += len(v.table.Cols)
		}
		g.values = append(g.values, parts...)
	}
	return nil
}

// joinValues joins the groups with the queries that are used as their values.
func (g *grouping) joinValues(r *Relation) (*Relation, error) {
	g.valuesFrom = len(r.Cols)
	if len(g.values) == 0 {
		return r, nil
	}
	tree := &joinTree{where: g.query, sc: scopeOf("", r), table: r}
	for _, v := range g.values {
		outer := make([]expr.Node, len(v.outer))
		for i, n := range v.outer {
			var err error
			if outer[i], err = g.over(&Relation{Cols: tree.sc.cols}, n, v.where); err != nil {
				return nil, err
			}
		}
		var err error
		if tree, err = g.planner.joinScalar(tree, v, outer); err != nil {
			return nil, err
		}
	}
	return g.planner.lower(tree)
}

// joinScalar joins a tree with a query that is used as a value; outer are its counterparts over the
// columns of the tree. Without a row, the value is NULL.
func (p *planner) joinScalar(tree *joinTree, v *scalar, outer []expr.Node) (*joinTree, error) {
	place := len(tree.sc.cols)
	tree = joined(v.where, LeftJoin, tree, &joinTree{where: v.where, sc: scopeOf("", v.table), table: v.table})
	for i := place; i < len(tree.sc.cols); i++ {
		tree.sc.hide(i, true)
	}
	for i, n := range outer {
		equal, err := expr.Bind("=", p.program.Zone, n, v.col(1+i, place))
		if err != nil {
			return nil, at(v.where, err)
		}
		tree.addOn(equal)
	}
	return tree, nil
}

// col returns a column of the query as a column of the join with it, where they start at first.
func (v *scalar) col(i, first int) *expr.Col {
	c := v.table.Cols[i]
	return &expr.Col{Index: first + i, Name: c.Name, T: c.Type.Nullable(true)}
}

// value returns the value over the join with the query.
func (v *scalar) value(first int, zone expr.Zone) (expr.Node, error) {
	if v.empty == nil {
		return v.col(0, first), nil
	}
	return valueOr(v.col(0, first), v.empty, v.col(1, first), zone)
}

// valueOr returns the value of a column of a query over the left join with it: empty if no row
// corresponds, so that its key is NULL.
func valueOr(n *expr.Col, empty expr.Node, key *expr.Col, zone expr.Zone) (expr.Node, error) {
	missing, err := expr.Bind("IS NULL", zone, key)
	if err != nil {
		return nil, err
	}
	return expr.Bind("CASE", zone, missing, empty, n)
}
