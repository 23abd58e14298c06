package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// query binds a query whose rows another one reads. As in Flink, ORDER BY without a LIMIT has no
// effect there.
func (p *planner) query(q *sql.Query) (*Relation, error) { return p.wholeQuery(q, false) }

// wholeQuery binds a query with its WITH clause. sorted says whether its rows keep the order of
// ORDER BY.
func (p *planner) wholeQuery(q *sql.Query, sorted bool) (*Relation, error) {
	if len(q.With) > 0 {
		inner := make(map[string]*view)
		p.with = append(p.with, inner)
		defer func() { p.with = p.with[:len(p.with)-1] }()
		for _, c := range q.With {
			if inner[c.Name.Name] != nil {
				return nil, sql.Errorf(c.Name, "%s is defined twice in WITH", c.Name.Name)
			}
			v := &view{query: c.Query, columns: c.Columns}
			if err := p.view(v, c.Name, c.Name.Name, false); err != nil {
				return nil, err
			}
			inner[c.Name.Name] = v
		}
	}
	if arranges(q) {
		return p.arranged(q, sorted)
	}
	if inner, ok := q.Body.(*sql.Query); ok {
		return p.wholeQuery(inner, sorted)
	}
	return p.body(q.Body)
}

func (p *planner) body(b sql.QueryBody) (*Relation, error) {
	switch b := b.(type) {
	case *sql.Select:
		r, err := p.selectCore(b)
		return r, hintAlias(err, b)
	case *sql.Query:
		return p.query(b)
	case *sql.SetOp:
		return p.setOp(b)
	}
	return p.values(b.(*sql.Values)) //nolint:forcetypeassert // the remaining kind
}

// view binds a named query once. sorted says whether its rows keep the order of ORDER BY.
func (p *planner) view(v *view, where sql.Node, name string, sorted bool) error {
	r, err := p.wholeQuery(v.query, sorted)
	if err != nil {
		return err
	}
	v.bound, err = p.rename(r, v.columns, where, name)
	return err
}

// rename renames the columns of a relation.
func (p *planner) rename(r *Relation, to []sql.Ident, where sql.Node, name string) (*Relation, error) {
	if len(to) == 0 {
		return r, nil
	}
	if len(to) != len(r.Cols) {
		return nil, sql.Errorf(where, "%s has %d column(s), but %d names are given", name, len(r.Cols), len(to))
	}
	exprs, newNames := make([]expr.Node, len(to)), make([]string, len(to))
	for i, n := range to {
		exprs[i], newNames[i] = r.col(i), n.Name
	}
	return p.project(r, newNames, exprs), nil
}

func (p *planner) setOp(s *sql.SetOp) (*Relation, error) {
	left, err := p.body(s.Left)
	if err != nil {
		return nil, err
	}
	right, err := p.body(s.Right)
	if err != nil {
		return nil, err
	}
	if len(left.Cols) != len(right.Cols) {
		return nil, sql.Errorf(s, "%s of queries with %d and %d columns", s.Op, len(left.Cols), len(right.Cols))
	}
	cols := slices.Clone(left.Cols)
	for i, c := range right.Cols {
		t, ok := column.Common(cols[i].Type, c.Type)
		if !ok {
			return nil, sql.Errorf(s, "%s: column %d is %s on the left and %s on the right", s.Op, i+1, cols[i].Type.Nullable(true), c.Type.Nullable(true))
		}
		cols[i].Type = t
		cols[i].Rowtime, cols[i].Proctime = cols[i].Rowtime && c.Rowtime, cols[i].Proctime && c.Proctime
		if cols[i].Role != c.Role || cols[i].Window != c.Window {
			cols[i].Role, cols[i].Window = NoRole, nil
		}
	}
	left, right = p.castTo(s, left, cols), p.castTo(s, right, cols)
	if s.Op != "UNION" {
		return p.intersection(s, cols, left, right)
	}
	u := p.union(cols, left, right)
	if s.All {
		return u, nil
	}
	return p.distinct(s, u)
}

// union returns the rows of all relations, as rows of cols, which hold the values of all.
func (p *planner) union(cols []Column, all ...*Relation) *Relation {
	u := p.relation(&Union{}, cols, all...)
	u.Keyed, u.Hash = all[0].Keyed, all[0].Hash
	for _, in := range all {
		if in.Keyed == nil || !slices.Equal(in.Keyed, u.Keyed) || in.Hash != u.Hash {
			u.Keyed, u.Hash = nil, ""
		}
	}
	u.Multiset, u.Scattered = u.Updating, u.Updating // a key of one side may be one of the other, too
	return u
}

// intersection returns the distinct rows of INTERSECT or EXCEPT. It counts each row on both sides,
// so that a row that arrives on the other side later changes the result.
func (p *planner) intersection(s *sql.SetOp, cols []Column, left, right *Relation) (*Relation, error) {
	if s.All {
		return nil, sql.Errorf(s, "%s ALL is not supported", s.Op).WithHint("without ALL it is")
	}
	n := len(cols)
	of := func(in *Relation, isLeft bool) *Relation {
		exprs, named := in.first(n), names(cols)
		for i, name := range []string{"in left", "in right"} {
			exprs, named = append(exprs, &expr.Const{Value: isLeft == (i == 0), T: notNull(column.Boolean)}), append(named, name)
		}
		return p.project(in, named, exprs)
	}
	keys := make([]int, n)
	for i := range keys {
		keys[i] = i
	}
	aggs := []Agg{
		{Name: "COUNT", Arg: -1, Filter: n, Type: notNull(column.BigInt)},
		{Name: "COUNT", Arg: -1, Filter: n + 1, Type: notNull(column.BigInt)},
	}
	l, r := of(left, true), of(right, false)
	r, err := p.aggregate(s, p.union(append(slices.Clone(cols), l.Cols[n:]...), l, r), keys, aggs)
	if err != nil {
		return nil, err
	}
	op := map[string]string{"INTERSECT": ">", "EXCEPT": "="}[s.Op]
	zero := &expr.Const{Value: int64(0), T: notNull(column.BigInt)}
	inLeft, err := expr.Bind(">", p.program.Zone, r.col(n), zero)
	if err != nil {
		return nil, err
	}
	inRight, err := expr.Bind(op, p.program.Zone, r.col(n+1), zero)
	if err != nil {
		return nil, err
	}
	r = p.filter(r, conjunction([]expr.Node{inLeft, inRight}))
	return p.project(r, names(cols), r.first(n)), nil
}

// castTo casts the columns of a relation to the types of cols.
func (p *planner) castTo(where sql.Node, r *Relation, cols []Column) *Relation {
	exprs, same := make([]expr.Node, len(cols)), true
	for i := range cols {
		exprs[i] = expr.CastTo(r.col(i), cols[i].Type, p.program.Zone)
		p.differCall(where, exprs[i])
		_, plain := exprs[i].(*expr.Col)
		same = same && plain
	}
	if same {
		return r
	}
	return p.project(r, names(cols), exprs)
}

// distinct groups a relation by all of its columns.
func (p *planner) distinct(where sql.Node, r *Relation) (*Relation, error) {
	keys := make([]int, len(r.Cols))
	for i := range keys {
		keys[i] = i
	}
	return p.aggregate(where, r, keys, nil)
}

// fromOneRow returns a SELECT without FROM as one from a single row.
func fromOneRow(s *sql.Select) (*sql.Select, error) {
	for _, it := range s.Items {
		if star, ok := it.Expr.(*sql.Star); ok {
			return nil, sql.Errorf(star, "* needs a table").WithHint("write FROM and the table")
		}
	}
	row := &sql.Values{Pos: s.Pos, Rows: [][]sql.Expr{{&sql.Literal{Pos: s.Pos, Kind: sql.NumberLiteral, Text: "0"}}}}
	from := *s
	from.From = []sql.TableRef{&sql.Derived{Pos: s.Pos, Query: &sql.Query{Pos: s.Pos, Body: row}}}
	return &from, nil
}

func (p *planner) selectCore(s *sql.Select) (*Relation, error) {
	if len(s.From) == 0 {
		var err error
		if s, err = fromOneRow(s); err != nil {
			return nil, err
		}
	}
	if s.Qualify != nil {
		return p.qualify(s)
	}
	tree, ttl, err := p.hinted(s)
	if err != nil {
		return nil, err
	}
	below, over := valueQueriesOf(s)
	if tree, err = p.withValues(tree, below); err != nil {
		return nil, err
	}
	sc := tree.sc
	if s.Where != nil {
		if tree, err = p.whereTree(tree, s.Where); err != nil {
			return nil, err
		}
	}
	from, err := p.lower(tree)
	if err != nil {
		return nil, err
	}
	g := &grouping{planner: p, binder: &binder{planner: p, scope: sc}, query: s, from: from, ttl: ttl, queries: over}
	var r *Relation
	switch {
	case len(s.GroupBy) > 0 || selectsAggregate(s):
		r, err = g.bind()
		ttl = nil // the groups have it
	case overCall(s) != nil && strings.EqualFold(overCall(s).Name, "ROW_NUMBER"):
		r, err = p.rank(s, from, sc)
	case overCall(s) != nil:
		r, err = p.aggregatesOver(s, from, sc)
	default:
		if s.Having != nil {
			return nil, sql.Errorf(s.Having, "HAVING without GROUP BY").WithHint("use WHERE")
		}
		var items []item
		if items, err = p.items(s, g.binder); err == nil {
			r = p.project(from, itemNames(items), itemExprs(items))
		}
	}
	if err != nil || !s.Distinct {
		return r, err
	}
	if r, err = p.distinct(s, r); err == nil {
		r.hinted[0] = ttl
	}
	return r, err
}

// hintAlias explains that an alias of SELECT is not visible in the query itself.
func hintAlias(err error, s *sql.Select) error {
	var unknown *sql.Error
	if !errors.As(err, &unknown) {
		return err
	}
	for _, it := range s.Items {
		if it.Alias != nil && unknown.Message == columnNotFound(it.Alias.Name) {
			return unknown.WithHint("%s is an alias of this SELECT, visible only in the enclosing query: repeat the expression", it.Alias.Name)
		}
	}
	return err
}

// where filters a relation. Over a ROW_NUMBER, it sets how many rows of each partition pass.
func (p *planner) where(e sql.Node, from *Relation, cond expr.Node) (*Relation, error) {
	if isPendingRank(from) {
		return p.limitRank(e, from, cond)
	}
	if k, ok := cond.(*expr.Const); ok && k.Value == true {
		return from, nil
	}
	return p.filter(from, cond), nil
}

// origin returns the operator below filters and projections.
func origin(r *Relation) Op {
	for {
		switch r.Op.(type) {
		case *Filter, *Project:
			r = r.Inputs[0]
		default:
			return r.Op
		}
	}
}

// item is one column of a SELECT list.
type item struct {
	name string
	node expr.Node
	at   sql.Node
}

func itemNames(items []item) []string {
	all := make([]string, len(items))
	for i, it := range items {
		all[i] = it.name
	}
	return all
}

func itemExprs(items []item) []expr.Node {
	all := make([]expr.Node, len(items))
	for i, it := range items {
		all[i] = it.node
	}
	return all
}

// items binds a SELECT list.
func (p *planner) items(s *sql.Select, b *binder) ([]item, error) {
	var items []item
	for n, it := range s.Items {
		if star, ok := it.Expr.(*sql.Star); ok {
			positions, err := b.scope.positions(star)
			if err != nil {
				return nil, err
			}
			for _, i := range positions {
				c := b.scope.cols[i]
				n := b.scope.col(i)
				if len(star.Table) == 0 {
					if n, err = b.scope.value(i, p.program.Zone); err != nil {
						return nil, at(star, err)
					}
				}
				items = append(items, item{c.Name, n, star})
			}
			continue
		}
		node, err := b.bind(it.Expr)
		if err != nil {
			return nil, err
		}
		if node.Type().Kind == column.Null {
			return nil, sql.Errorf(it.Expr, "NULL has no type here").WithHint("write CAST(NULL AS …)")
		}
		items = append(items, item{itemName(it, n), expr.Fold(node), it.Expr})
	}
	return items, nil
}

func itemName(it sql.SelectItem, n int) string {
	if it.Alias != nil {
		return it.Alias.Name
	}
	switch e := it.Expr.(type) {
	case *sql.ColumnRef:
		return e.Parts[len(e.Parts)-1].Name
	case *sql.Field:
		return e.Name.Name
	}
	return fmt.Sprintf("%s%d", unnamed, n)
}

// unnamed starts the names of columns that a query does not name, as in Flink.
const unnamed = "EXPR$"

// from binds a table in FROM and returns its relation and the scope of its columns.
func (p *planner) from(t sql.TableRef) (*Relation, *scope, error) {
	switch t := t.(type) {
	case *sql.TableName:
		if t.AsOf != nil {
			return nil, nil, sql.Errorf(t, "FOR SYSTEM_TIME AS OF is allowed only on the right side of a JOIN")
		}
		r, err := p.named(t)
		if err != nil {
			return nil, nil, err
		}
		return p.aliased(r, t.Alias, t.Name[len(t.Name)-1].Name, t)
	case *sql.Derived:
		return p.derived(t)
	case *sql.WindowTable:
		r, err := p.windowTable(t)
		if err != nil {
			return nil, nil, err
		}
		return p.aliased(r, t.Alias, "", t)
	case *sql.Join:
		tree, err := p.tree(t)
		if err != nil {
			return nil, nil, err
		}
		r, err := p.lower(tree)
		return r, tree.sc, err
	case *sql.Unnest:
		return nil, nil, sql.Errorf(t, "UNNEST must follow a table").WithHint("write FROM t CROSS JOIN UNNEST(t.a) AS u (x)")
	}
	return nil, nil, sql.Errorf(t, "this table is not supported")
}

// derived binds a subquery in FROM.
func (p *planner) derived(d *sql.Derived) (*Relation, *scope, error) {
	r, err := p.query(d.Query)
	if err != nil {
		return nil, nil, err
	}
	return p.aliased(r, d.Alias, "", d)
}

func (p *planner) aliased(r *Relation, a sql.Alias, name string, where sql.Node) (*Relation, *scope, error) {
	if a.Name.Name != "" {
		name = a.Name.Name
	}
	r, err := p.rename(r, a.Columns, where, name)
	if err != nil {
		return nil, nil, err
	}
	return r, scopeOf(name, r), nil
}

// named returns the relation of a common table expression, a view or a table.
func (p *planner) named(t *sql.TableName) (*Relation, error) {
	r, table, err := p.resolve(t)
	if table == nil || err != nil {
		return r, err
	}
	if err := checkRead(t, table); err != nil {
		return nil, err
	}
	return p.rows(table), nil
}

// resolve finds the common table expression, view or table of a name: the relation of the first
// two, or the table.
func (p *planner) resolve(t *sql.TableName) (*Relation, *Table, error) {
	name, err := tableName(t.Name)
	if err != nil {
		return nil, nil, err
	}
	hints, err := tableOptions(t.Hints)
	if err != nil {
		return nil, nil, err
	}
	for _, inner := range slices.Backward(p.with) {
		if v := inner[name]; v != nil {
			return v.bound, nil, refuseHints(t, name)
		}
	}
	if v := p.views[name]; v != nil {
		return v.bound, nil, refuseHints(t, name)
	}
	if p.tables[name] == nil {
		return nil, nil, p.notFound(t, name)
	}
	table, err := p.withHints(name, hints)
	return nil, table, err
}

// checkRead refuses tables whose rows are not in topics, where they can be read from a position on.
func checkRead(where sql.Node, t *Table) error {
	switch t.Delivery.(type) {
	case nil:
		return nil
	case *JDBC:
		return sql.Errorf(where, "table %s of a database can be read only by a lookup join", t.Name).
			WithHint("write … JOIN %s FOR SYSTEM_TIME AS OF r.proc_time AS d ON r.k = d.k, where the left table r declares proc_time AS PROCTIME(); "+
				"or send its rows to a topic, and read that", sql.Quote(t.Name))
	}
	what, hint := readRefusal(t.Delivery)
	return sql.Errorf(where, "table %s can only be written: reading %s is not supported", t.Name, what).WithHint("%s", hint)
}

// notFound returns the error for a table or view that does not exist.
func (p *planner) notFound(where sql.Node, name string) error {
	var known []string
	for n := range p.tables {
		known = append(known, n)
	}
	for n := range p.views {
		known = append(known, n)
	}
	slices.Sort(known)
	hint := orElse(suggest.DidYouMean(name, known), "declare it with CREATE TABLE first")
	if len(known) > 0 && strings.HasPrefix(hint, "declare") {
		hint += "; known tables: " + strings.Join(known, ", ")
	}
	return sql.Errorf(where, "table %s not found", name).WithHint("%s", hint)
}

// conjuncts splits a condition at its ANDs.
func conjuncts(n expr.Node) []expr.Node {
	if c, ok := n.(*expr.Call); ok && c.F.Name == "AND" {
		return append(conjuncts(c.Args[0]), conjuncts(c.Args[1])...)
	}
	return []expr.Node{n}
}

// conjunction joins conditions with AND; it returns nil if there are none.
func conjunction(parts []expr.Node) expr.Node {
	var all expr.Node
	for _, part := range parts {
		if all == nil {
			all = part
			continue
		}
		n, err := expr.Bind("AND", nil, all, part)
		if err != nil {
			panic(err) // every part is BOOLEAN
		}
		all = n
	}
	return all
}
