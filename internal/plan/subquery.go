package plan

import (
	"slices"
	"strings"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// whereTree distributes WHERE over the tables of FROM. A condition EXISTS (…) or x IN (SELECT …)
// becomes a semi join, its negation an anti join.
func (p *planner) whereTree(tree *joinTree, where sql.Expr) (*joinTree, error) {
	parts := []sql.Expr{where}
	if slices.ContainsFunc(sqlConjuncts(where), isSubquery) {
		parts = sqlConjuncts(where)
	}
	var queries []sql.Expr
	for _, part := range parts {
		if isSubquery(part) {
			queries = append(queries, part)
			continue
		}
		cond, err := (&binder{planner: p, scope: tree.sc}).condition(part, "WHERE")
		if err != nil {
			return nil, err
		}
		for _, c := range conjuncts(cond) {
			tree.addFilter(c)
		}
	}
	if tree.table != nil {
		tree.where = where
	}
	for _, part := range queries {
		var err error
		if tree, err = p.subquery(tree, part); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

// sqlConjuncts splits a condition at its ANDs.
func sqlConjuncts(e sql.Expr) []sql.Expr {
	if b, ok := e.(*sql.Binary); ok && b.Op == "AND" {
		return append(sqlConjuncts(b.L), sqlConjuncts(b.R)...)
	}
	return []sql.Expr{e}
}

// isSubquery reports whether a condition is EXISTS (…) or x IN (SELECT …), or a negation of one.
func isSubquery(e sql.Expr) bool {
	switch e := e.(type) {
	case *sql.Unary:
		return e.Op == "NOT" && isSubquery(e.X)
	case *sql.Subquery:
		return e.Exists
	case *sql.In:
		_, list := listOf(e)
		return e.Query != nil && !list
	}
	return false
}

// positive returns a condition without its NOTs, and whether they negate it.
func positive(e sql.Expr) (without sql.Expr, not bool) {
	for {
		u, ok := e.(*sql.Unary)
		if !ok || u.Op != "NOT" {
			return e, not
		}
		not, e = !not, u.X
	}
}

// listOf returns x IN (VALUES (a), (b)) as x IN (a, b).
func listOf(e *sql.In) (*sql.In, bool) {
	if e.Query == nil || len(e.Query.With) > 0 || arranges(e.Query) {
		return nil, false
	}
	v, ok := e.Query.Body.(*sql.Values)
	if _, row := e.X.(*sql.RowValue); !ok || row {
		return nil, false
	}
	list := *e
	list.Query, list.List = nil, nil
	for _, row := range v.Rows {
		if len(row) != 1 {
			return nil, false
		}
		list.List = append(list.List, row[0])
	}
	return &list, true
}

// subquery joins a tree with the query of a condition.
func (p *planner) subquery(tree *joinTree, e sql.Expr) (*joinTree, error) {
	e, not := positive(e)
	if in, ok := e.(*sql.In); ok {
		return p.in(tree, in, not != in.Not)
	}
	q := e.(*sql.Subquery)
	inner, _, on, err := p.inner(tree, q.Query, nil)
	if err != nil {
		return nil, err
	}
	return semiJoined(e, not, tree, inner, on), nil
}

func semiJoined(where sql.Node, not bool, tree, inner *joinTree, on []expr.Node) *joinTree {
	kind := SemiJoin
	if not {
		kind = AntiJoin
	}
	result := joined(where, kind, tree, inner)
	for _, cond := range on {
		result.addOn(cond)
	}
	return result
}

// inner binds the query of a condition. If it is a plain SELECT, its WHERE and the given items may
// use columns of the query around it. on are the conditions that do, and values the items, over the
// columns of both; without items, values are the columns of the query.
func (p *planner) inner(tree *joinTree, q *sql.Query, items []sql.SelectItem) (inner *joinTree, values, on []expr.Node, err error) {
	border := len(tree.sc.cols)
	s, ok := plainSelect(q)
	if !ok {
		r, err := p.query(q)
		if err != nil {
			return nil, nil, nil, err
		}
		for i, c := range r.Cols {
			values = append(values, &expr.Col{Index: border + i, Name: c.Name, T: c.Type})
		}
		return &joinTree{where: q, sc: scopeOf("", r), table: r}, values, nil, nil
	}
	if inner, _, err = p.hinted(s); err != nil {
		return nil, nil, nil, err
	}
	below, _ := valueQueriesOf(s)
	if inner, err = p.withValues(inner, below); err != nil {
		return nil, nil, nil, err
	}
	b := &binder{planner: p, scope: inner.sc.within(tree.sc)}
	if s.Where != nil {
		var nested []sql.Expr
		for _, part := range sqlConjuncts(s.Where) {
			if isSubquery(part) {
				nested = append(nested, part)
				continue
			}
			cond, err := b.condition(part, "WHERE")
			if err != nil {
				return nil, nil, nil, err
			}
			for _, c := range conjuncts(cond) {
				if side := sideOf(c, border); side == onlyRight || side == neither {
					inner.addFilter(shifted(c, -border))
				} else {
					on = append(on, c)
				}
			}
		}
		for _, part := range nested {
			if inner, err = p.subquery(inner, part); err != nil {
				return nil, nil, nil, err
			}
		}
	}
	for _, it := range items {
		n, err := b.bind(it.Expr)
		if err != nil {
			return nil, nil, nil, err
		}
		values = append(values, n)
	}
	return inner, values, on, nil
}

// plainSelect returns a query that is a SELECT of rows: without groups, aggregates, row numbers,
// stars or limits.
func plainSelect(q *sql.Query) (*sql.Select, bool) {
	s, ok := q.Body.(*sql.Select)
	if !ok || len(q.With) > 0 || arranges(q) || len(s.From) == 0 || len(s.GroupBy) > 0 || s.Having != nil || s.Qualify != nil {
		return nil, false
	}
	plain := true
	for _, it := range s.Items {
		walk(it.Expr, func(c *sql.Call) {
			plain = plain && c.Over == nil && c.OverName == nil && !isAggregate(strings.ToUpper(c.Name))
		})
	}
	return s, plain
}

// in binds x IN (SELECT …), or (x, y) IN (SELECT …). NOT IN is not true if the query has a NULL, or
// if x is NULL and the query has a row.
func (p *planner) in(tree *joinTree, e *sql.In, not bool) (*joinTree, error) {
	operands := []sql.Expr{e.X}
	if row, ok := e.X.(*sql.RowValue); ok {
		operands = row.Items
	}
	left, err := (&binder{planner: p, scope: tree.sc}).bindAll(operands)
	if err != nil {
		return nil, err
	}
	var items []sql.SelectItem
	query := e.Query
	if s, ok := plainSelect(query); ok {
		star := slices.ContainsFunc(s.Items, isStar)
		if items = s.Items; star {
			query = &sql.Query{Pos: e.Query.Pos, Body: e.Query} // its columns are only known once it is bound
		}
	}
	inner, values, on, err := p.inner(tree, query, items)
	if err != nil {
		return nil, err
	}
	if len(values) != len(left) {
		return nil, sql.Errorf(e, "IN compares %d value(s) with a query of %d column(s)", len(left), len(values))
	}
	for i := range left {
		maybeNull := !tree.excludesNull(left[i]) || !inner.excludesNull(shifted(values[i], -len(tree.sc.cols)))
		equal, err := p.equal(left[i], values[i], not && maybeNull)
		if err != nil {
			return nil, at(e, err)
		}
		on = append(on, equal)
	}
	return semiJoined(e, not, tree, inner, on), nil
}

// equal compares two values. With unknown, the comparison is also true if it is NULL.
func (p *planner) equal(x, y expr.Node, unknown bool) (expr.Node, error) {
	zone := p.program.Zone
	equal, err := expr.Bind("=", zone, x, y)
	if err != nil || !unknown {
		return equal, err
	}
	null, err := expr.Bind("IS NULL", zone, equal)
	if err != nil {
		return nil, err
	}
	return expr.Bind("OR", zone, equal, null)
}

// excludesNull reports whether a value is never NULL in the rows of the tree.
func (t *joinTree) excludesNull(n expr.Node) bool {
	return n.Type().NotNull || t.table != nil && slices.ContainsFunc(t.after, func(cond expr.Node) bool {
		c, ok := cond.(*expr.Call)
		return ok && c.F.Name == "IS NOT NULL" && expr.SameNode(c.Args[0], n)
	})
}
