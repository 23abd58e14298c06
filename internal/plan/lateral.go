package plan

import (
	"slices"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// A LATERAL query in FROM may use columns of the tables before it. Weir supports the forms that
// Flink does: the conditions of a SELECT of rows become those of a join; an aggregate of the rows
// that correspond to each row becomes a join with the groups; a Top-N for each of the distinct keys
// of the same table becomes a Top-N of each group.

// lateral joins a tree with a LATERAL query. before is the table of FROM that precedes it, nil if
// several do.
func (p *planner) lateral(where sql.Node, kind JoinKind, left *joinTree, before sql.TableRef, d *sql.Derived) (*joinTree, error) {
	if kind.Keeps(1) {
		return nil, sql.Errorf(where, "LATERAL is not allowed in a %s JOIN", kind).WithHint("use LEFT JOIN or INNER JOIN; Flink does not support this either")
	}
	r, sc, err := p.derived(d)
	if err == nil { // it uses no columns of the tables before it
		return joined(where, kind, left, &joinTree{where: d, sc: sc, table: r}), nil
	}
	s, plain := plainSelect(&sql.Query{Pos: d.Query.Pos, With: d.Query.With, Body: d.Query.Body})
	switch {
	case aggregatesAll(d.Query):
		tree, refused := p.lateralAggregates(where, kind, left, d)
		if tree == nil && refused == nil {
			refused = err
		}
		return tree, refused
	case !plain || s.Distinct:
		if ref := p.correlated(left, d.Query); ref != nil {
			return nil, sql.Errorf(ref, "a LATERAL query with groups, DISTINCT or OVER can't use columns of the tables before it").
				WithHint("group by the column in a subquery, and join it: LEFT JOIN (SELECT k, COUNT(*) AS n FROM u GROUP BY k) AS l ON l.k = t.k")
		}
		return nil, err
	case arranges(d.Query):
		return p.lateralTopN(kind, left, before, d, s)
	}
	right, on, err := p.lateralRows(left, d, s)
	if err != nil {
		return nil, err
	}
	tree := joined(where, kind, left, right)
	for _, cond := range on {
		tree.addOn(cond)
	}
	return tree, nil
}

// aggregatesAll reports whether a query is an aggregate of all rows, without groups.
func aggregatesAll(q *sql.Query) bool {
	s, ok := q.Body.(*sql.Select)
	return ok && len(q.With) == 0 && !arranges(q) && len(s.From) > 0 && len(s.GroupBy) == 0 && !s.Distinct && s.Qualify == nil && selectsAggregate(s)
}

// lateralAggregates binds a LATERAL query that aggregates the rows that correspond to each row
// before it. Its one row is there also if none correspond, so that all kinds of joins are the same
// without a further condition. The tree is nil if the query uses no columns of the tables before
// it.
func (p *planner) lateralAggregates(where sql.Node, kind JoinKind, left *joinTree, d *sql.Derived) (*joinTree, error) {
	s := d.Query.Body.(*sql.Select) //nolint:forcetypeassert // see aggregatesAll
	keys, rest, outer, err := p.correlations(s, left.sc, false)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	if j, ok := where.(*sql.Join); ok && kind == LeftJoin && j.On != nil && sql.FormatExpr(j.On) != "TRUE" {
		return nil, sql.Errorf(j.On, "LEFT JOIN with a LATERAL query that aggregates can have no condition").WithHint("write ON TRUE, and the condition into the WHERE of the LATERAL query, or a CASE around its columns")
	}
	if s.Having != nil {
		return nil, sql.Errorf(s.Having, "HAVING is not supported in a query that uses columns of the query around it").WithHint("write a WHERE around the join")
	}
	r, err := p.query(&sql.Query{Pos: d.Query.Pos, Body: withKeys(s, keys, rest, true)})
	if err != nil {
		return nil, err
	}
	first := len(r.Cols) - len(keys) // of the keys
	named := r
	if len(d.Alias.Columns) > 0 {
		all := names(r.Cols)
		if err := renameAll(all[:first], d); err != nil {
			return nil, err
		}
		named = p.project(r, all, r.first(len(r.Cols)))
	}
	own := scopeOf(d.Alias.Name.Name, named)
	own.tables[0].end = first
	for i := first; i < len(named.Cols); i++ {
		own.hide(i, true)
	}
	tree := joined(where, LeftJoin, left, &joinTree{where: d, sc: own, table: named})
	border := len(left.sc.cols)
	col := func(i int) *expr.Col {
		return &expr.Col{Index: border + i, Name: named.Cols[i].Name, T: named.Cols[i].Type.Nullable(true)}
	}
	for i, n := range outer {
		equal, err := expr.Bind("=", p.program.Zone, n, col(first+i))
		if err != nil {
			return nil, at(d, err)
		}
		tree.addOn(equal)
	}
	same := kind == LeftJoin // as in Flink
	for i := range first {
		empty, err := emptyValue(d, r, i, len(keys))
		if err != nil {
			return nil, err
		}
		if empty == nil {
			continue
		}
		same = false
		n, err := valueOr(col(i), empty, col(first), p.program.Zone)
		if err != nil {
			return nil, at(d, err)
		}
		tree.sc.compute(border+i, n)
	}
	if !same {
		p.differ(d, "lateral-aggregates", "where no rows correspond, %s has one row all the same, with a COUNT of 0; Flink has none, or NULL after LEFT JOIN", d.Alias.Name.Name)
	}
	return tree, nil
}

// correlated returns the first column in the WHERE of a LATERAL query that only the tables before
// the query have; nil if there is none.
func (p *planner) correlated(left *joinTree, q *sql.Query) (found *sql.ColumnRef) {
	s, ok := q.Body.(*sql.Select)
	if !ok || len(s.From) == 0 || s.Where == nil {
		return nil
	}
	inner, err := p.fromTree(s.From)
	if err != nil {
		return nil
	}
	var find func(sql.Expr)
	find = func(e sql.Expr) {
		if ref, ok := e.(*sql.ColumnRef); ok && found == nil {
			_, _, own := inner.sc.find(ref.Parts)
			_, _, around := left.sc.find(ref.Parts)
			if own != nil && around == nil {
				found = ref
			}
		}
		for _, part := range operands(e) {
			find(part)
		}
	}
	find(s.Where)
	return found
}

// lateralRows binds a LATERAL query that is a SELECT of rows. on are its conditions over the
// columns of the tables before it and its own.
func (p *planner) lateralRows(left *joinTree, d *sql.Derived, s *sql.Select) (right *joinTree, on []expr.Node, err error) {
	border := len(left.sc.cols)
	rows, _, on, err := p.inner(left, d.Query, nil)
	if err != nil {
		return nil, nil, err
	}
	items, err := p.items(s, &binder{planner: p, scope: rows.sc.within(left.sc)})
	if err != nil {
		return nil, nil, err
	}
	in, err := p.lower(rows)
	if err != nil {
		return nil, nil, err
	}
	first := len(in.Cols)
	exprs, all := in.first(first), names(in.Cols)
	for _, it := range items {
		if side := sideOf(it.node, border); side == onlyLeft || side == bothSides {
			return nil, nil, sql.Errorf(it.at, "a LATERAL query can use columns of the tables before it only in WHERE").WithHint("compute the value in the SELECT around the join")
		}
		exprs, all = append(exprs, shifted(it.node, -border)), append(all, it.name)
	}
	if err := renameAll(all[first:], d); err != nil {
		return nil, nil, err
	}
	r := p.project(in, all, exprs)
	sc := &scope{cols: r.Cols, tables: []scopeTable{{d.Alias.Name.Name, first, len(r.Cols)}}}
	for i := range first { // read by the conditions only
		sc.hide(i, true)
	}
	return &joinTree{where: d, sc: sc, table: r}, on, nil
}

// renameAll replaces names with those in the alias of a subquery, if it has any.
func renameAll(all []string, d *sql.Derived) error {
	if n := len(d.Alias.Columns); n > 0 && n != len(all) {
		return sql.Errorf(d, "%s has %d column(s), but %d names are given", d.Alias.Name.Name, len(all), n)
	}
	for i, c := range d.Alias.Columns {
		all[i] = c.Name
	}
	return nil
}

// lateralTopN binds a Top-N for each of the distinct keys of a table, which is one for each group
// of the table:
//
//	(SELECT DISTINCT k FROM t) AS a,
//	LATERAL (SELECT … FROM t WHERE k = a.k ORDER BY … LIMIT n) AS b
func (p *planner) lateralTopN(kind JoinKind, left *joinTree, before sql.TableRef, d *sql.Derived, s *sql.Select) (*joinTree, error) {
	unsupported := sql.Errorf(d, "LIMIT in a LATERAL query that uses columns of the tables before it is not supported").
		WithHint("it works for each key of the same table, FROM (SELECT DISTINCT k FROM t) AS a, LATERAL (SELECT … FROM t WHERE k = a.k ORDER BY … LIMIT n); otherwise number the rows with ROW_NUMBER() OVER (PARTITION BY k ORDER BY …) and join them; Flink does not support this either")
	limit, err := limitOf(d.Query)
	if err != nil {
		return nil, err
	}
	keysOf, _ := before.(*sql.Derived)
	keys, table := distinctKeys(keysOf)
	from, isTable := s.From[0].(*sql.TableName)
	if keys == nil || kind != InnerJoin || limit == nil || limit.first > 1 || len(d.Query.OrderBy) == 0 || len(s.From) > 1 || !isTable || from.AsOf != nil || !samePath(from.Name, table.Name) {
		return nil, unsupported
	}
	partition, err := p.correlatedKeys(left, s, keys)
	if err != nil {
		return nil, err
	}
	if partition == nil {
		return nil, unsupported
	}
	ranked := *s
	ranked.Where = nil
	ranked.Items = nil
	for i, k := range partition {
		ranked.Items = append(ranked.Items, sql.SelectItem{Expr: k, Alias: &sql.Ident{Pos: k.At(), Name: left.sc.cols[i].Name}})
	}
	order, err := orderOf(s, d.Query.OrderBy)
	if err != nil {
		return nil, err
	}
	for _, o := range order {
		if !selects(s, o.Expr) {
			return nil, sql.Errorf(o.Expr, "ORDER BY of a LATERAL query must be one of the columns that it selects").WithHint("add it to the SELECT; Flink does not support this either")
		}
	}
	number := &sql.Call{Pos: d.Query.Limit.At(), Name: "ROW_NUMBER", Over: &sql.WindowSpec{Pos: d.Query.OrderBy[0].Expr.At(), PartitionBy: partition, OrderBy: order}}
	ranked.Items = append(append(ranked.Items, s.Items...), sql.SelectItem{Expr: number, Alias: &sql.Ident{Pos: number.Pos, Name: "row number"}})
	r, err := p.selectCore(&ranked)
	if err != nil {
		return nil, err
	}
	last := len(r.Cols) - 1
	cond, err := expr.Bind("<=", p.program.Zone, r.col(last), &expr.Const{Value: limit.last, T: notNull(column.BigInt)})
	if err != nil {
		return nil, err
	}
	if r, err = p.limitRank(d.Query.Limit, r, cond); err != nil {
		return nil, err
	}
	all := names(r.Cols[:last])
	if err := renameAll(all[len(keys):], d); err != nil {
		return nil, err
	}
	r = p.project(r, all, r.first(last))
	sc := &scope{cols: r.Cols, tables: []scopeTable{{keysOf.Alias.Name.Name, 0, len(keys)}, {d.Alias.Name.Name, len(keys), last}}}
	return &joinTree{where: d, sc: sc, table: r}, nil
}

// distinctKeys parses (SELECT DISTINCT k FROM t) or (SELECT k FROM t GROUP BY k): the columns, by
// the names that t has for them.
func distinctKeys(d *sql.Derived) (keys []string, table *sql.TableName) {
	if d == nil || d.Lateral {
		return nil, nil
	}
	s, ok := d.Query.Body.(*sql.Select)
	if !ok || len(d.Query.With) > 0 || arranges(d.Query) || len(s.From) != 1 || s.Where != nil || s.Having != nil || s.Qualify != nil || s.Distinct == (len(s.GroupBy) > 0) {
		return nil, nil
	}
	if table, ok = s.From[0].(*sql.TableName); !ok || table.AsOf != nil {
		return nil, nil
	}
	for _, it := range s.Items {
		ref, ok := it.Expr.(*sql.ColumnRef)
		if !ok {
			return nil, nil
		}
		grouped := slices.ContainsFunc(s.GroupBy, func(e sql.Expr) bool { return sql.FormatExpr(e) == sql.FormatExpr(ref) })
		if len(s.GroupBy) > 0 && !grouped {
			return nil, nil
		}
		keys = append(keys, ref.Parts[len(ref.Parts)-1].Name)
	}
	if len(s.GroupBy) > len(keys) {
		return nil, nil
	}
	return keys, table
}

func samePath(a, b []sql.Ident) bool {
	return slices.EqualFunc(a, b, func(x, y sql.Ident) bool { return x.Name == y.Name })
}

// correlatedKeys returns the columns that the WHERE of a LATERAL query equates with the keys before
// it; nil if these are not the same columns, each once, or if there are other conditions.
func (p *planner) correlatedKeys(left *joinTree, s *sql.Select, keys []string) ([]sql.Expr, error) {
	inner, err := p.fromTree(s.From)
	if err != nil || s.Where == nil || len(left.sc.cols) != len(keys) {
		return nil, err
	}
	b := &binder{planner: p, scope: inner.sc.within(left.sc)}
	columns := make([]sql.Expr, len(keys))
	for _, part := range sqlConjuncts(s.Where) {
		equal, ok := part.(*sql.Binary)
		if !ok || equal.Op != "=" {
			return nil, nil
		}
		own := equal.L
		sides, err := b.bindAll([]sql.Expr{equal.L, equal.R})
		if err != nil {
			return nil, err
		}
		x, isColumn := sides[0].(*expr.Col)
		y, isOther := sides[1].(*expr.Col)
		if !isColumn || !isOther {
			return nil, nil
		}
		if y.Index >= len(keys) {
			x, y, own = y, x, equal.R
		}
		if x.Index < len(keys) || y.Index >= len(keys) || columns[y.Index] != nil || inner.sc.cols[x.Index-len(keys)].Name != keys[y.Index] {
			return nil, nil
		}
		columns[y.Index] = own
	}
	if slices.Contains(columns, nil) {
		return nil, nil
	}
	return columns, nil
}

// selects reports whether an expression is an item of a SELECT, or a column of its *.
func selects(s *sql.Select, e sql.Expr) bool {
	return slices.ContainsFunc(s.Items, func(it sql.SelectItem) bool {
		_, column := e.(*sql.ColumnRef)
		return isStar(it) && column || sql.FormatExpr(it.Expr) == sql.FormatExpr(e)
	})
}

// orderOf returns the items of ORDER BY with the expressions that they mean.
func orderOf(s *sql.Select, items []sql.OrderItem) ([]sql.OrderItem, error) {
	all := slices.Clone(items)
	star := slices.ContainsFunc(s.Items, isStar)
	for i, o := range items {
		c, ordinal, err := columnAt(o.Expr, len(s.Items))
		switch {
		case !ordinal:
			all[i].Expr = byName(s, o.Expr)
		case star:
			return nil, sql.Errorf(o.Expr, "ORDER BY a number is not supported with *").WithHint("write the name of the column")
		case err != nil:
			return nil, err
		default:
			all[i].Expr = s.Items[c].Expr
		}
	}
	return all, nil
}
