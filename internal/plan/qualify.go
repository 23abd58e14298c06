package plan

import (
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// qualifying is a SELECT with QUALIFY. It is bound as a SELECT with further columns, which are what
// the condition computes OVER and what it reads besides, whose rows are then filtered like those of
// a query in FROM.
type qualifying struct {
	query  *sql.Select
	more   []sql.SelectItem
	tables []string // by which the condition names the further columns; "" for those without
	// aliases are the names in the condition that SELECT gives to something else than a column with
	// the name.
	aliases []*sql.ColumnRef
	of      map[string]int // calls with OVER that are further columns, by their text
}

// qualify binds a SELECT with QUALIFY.
func (p *planner) qualify(s *sql.Select) (*Relation, error) {
	q := &qualifying{query: s, of: make(map[string]int)}
	if err := q.check(); err != nil {
		return nil, err
	}
	q.collect(s.Qualify)
	for _, ref := range q.aliases {
		tree, _, err := p.hinted(s)
		if err != nil {
			return nil, err
		}
		if _, _, err := tree.sc.find(ref.Parts); err == nil {
			name := sql.Quote(ref.Parts[0].Name)
			return nil, sql.Errorf(ref, "%s is both a column of FROM and an alias of SELECT", name).WithHint("choose another alias")
		}
	}
	inner := *s
	inner.Qualify, inner.Items = nil, slices.Concat(s.Items, q.more)
	r, err := p.selectCore(&inner)
	if err != nil {
		return nil, err
	}
	n := len(r.Cols) - len(q.more)
	visible := &scope{}
	visible.add("", r.Cols[:n])
	for i, table := range q.tables {
		visible.add(table, r.Cols[n+i:n+i+1])
	}
	b := &binder{planner: p, scope: visible, special: func(c *sql.Call) (expr.Node, error) {
		if !isOver(c) {
			return nil, nil //nolint:nilnil // bound like any other call
		}
		if at := q.selected(c, n); at >= 0 {
			return r.col(at), nil
		}
		return r.col(n + q.of[sql.FormatExpr(c)]), nil
	}}
	cond, err := b.condition(s.Qualify, "QUALIFY")
	if err != nil {
		return nil, err
	}
	if r, err = p.where(s.Qualify, r, cond); err != nil || len(q.more) == 0 {
		return r, err
	}
	if n > maxQualified {
		p.differ(s.Qualify, "qualify-columns", "Flink can't plan QUALIFY in a SELECT of more than %d columns whose condition computes what is not selected: select it as well", maxQualified)
	}
	return p.project(r, names(r.Cols[:n]), r.first(n)), nil
}

// maxQualified is how many columns Flink can separate from what only QUALIFY computes.
const maxQualified = 5

// check refuses what Flink refuses, and what it can't plan.
func (q *qualifying) check() error {
	s := q.query
	over, grouped := overCall(s) != nil, len(s.GroupBy) > 0 || selectsAggregate(s)
	walk(s.Qualify, func(c *sql.Call) {
		over = over || isOver(c)
		grouped = grouped || !isOver(c) && isAggregate(strings.ToUpper(c.Name))
	})
	const subquery = "move the query to FROM, and the condition to the WHERE around it"
	switch {
	case !over:
		return sql.Errorf(s.Qualify, "the condition of QUALIFY has no function with OVER").WithHint("write WHERE; Flink doesn't accept it either")
	case grouped:
		return sql.Errorf(s.Qualify, "QUALIFY in a query with GROUP BY or aggregates is not supported").WithHint("Flink 2.2 doesn't support it either: %s", subquery)
	case s.Distinct:
		return sql.Errorf(s.Qualify, "QUALIFY with SELECT DISTINCT is not supported").WithHint("%s", subquery)
	}
	return nil
}

// collect adds what an expression needs and the SELECT does not have.
func (q *qualifying) collect(e sql.Expr) {
	switch e := e.(type) {
	case nil:
		return
	case *sql.ColumnRef:
		name := e.Parts[len(e.Parts)-1]
		star := slices.ContainsFunc(q.query.Items, isStar)
		named := slices.ContainsFunc(q.query.Items, func(it sql.SelectItem) bool { return !isStar(it) && itemName(it, 0) == name.Name })
		text := sql.FormatExpr(e)
		known := slices.ContainsFunc(q.more, func(it sql.SelectItem) bool { return sql.FormatExpr(it.Expr) == text })
		switch {
		case known, len(e.Parts) == 1 && (named || star):
			if named && slices.ContainsFunc(q.query.Items, func(it sql.SelectItem) bool {
				return it.Alias != nil && it.Alias.Name == name.Name && sql.FormatExpr(it.Expr) != text
			}) {
				q.aliases = append(q.aliases, e)
			}
		case len(e.Parts) == 1:
			q.add(sql.SelectItem{Expr: e}, "")
		default:
			q.add(sql.SelectItem{Expr: e}, e.Parts[len(e.Parts)-2].Name)
		}
		return
	case *sql.Call:
		if isOver(e) {
			if _, known := q.of[sql.FormatExpr(e)]; !known && q.selected(e, len(q.query.Items)) < 0 {
				q.of[sql.FormatExpr(e)] = len(q.more)
				q.add(sql.SelectItem{Expr: e, Alias: &sql.Ident{Pos: e.Pos, Name: fmt.Sprintf("%sQ%d", unnamed, len(q.more))}}, "")
			}
			return
		}
	}
	for _, x := range operands(e) {
		if x != nil {
			q.collect(x)
		}
	}
}

func (q *qualifying) add(it sql.SelectItem, table string) {
	q.more, q.tables = append(q.more, it), append(q.tables, table)
}

// selected returns the place of a call among the n columns of the SELECT; -1 if it is none of them,
// or is between two stars.
func (q *qualifying) selected(c *sql.Call, n int) int {
	items := q.query.Items
	i := slices.IndexFunc(items, func(it sql.SelectItem) bool { return sql.FormatExpr(it.Expr) == sql.FormatExpr(c) })
	switch {
	case i < 0:
		return -1
	case !slices.ContainsFunc(items[:i], isStar):
		return i
	case !slices.ContainsFunc(items[i:], isStar):
		return n - len(items) + i
	}
	return -1
}

func isStar(it sql.SelectItem) bool {
	_, star := it.Expr.(*sql.Star)
	return star
}

func isOver(c *sql.Call) bool { return c.Over != nil || c.OverName != nil }
