package plan

import (
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// grouping binds one SELECT with GROUP BY or aggregates.
//
// Expressions in SELECT and HAVING are bound over the rows before grouping, with aggregates as
// columns starting at aggregateColumns. Subexpressions that equal a group key are then replaced
// with the key's column.
type grouping struct {
	planner *planner
	binder  *binder
	query   *sql.Select
	from    *Relation
	ttl     *time.Duration // of the groups, from a hint

	window *sql.Call // the legacy group window in GROUP BY
	pre    []expr.Node
	keys   []expr.Node
	aggs   []Agg

	// sets lists the positions in keys of each grouping set; nil without sets. groupings lists the
	// arguments of each GROUPING(…), also as positions.
	sets      [][]int
	groupings [][]int

	queries    []valueQuery // used as values in SELECT and HAVING outside of aggregates
	values     []*scalar    // the same, bound
	valuesFrom int          // first of their columns in the joined groups
}

const (
	aggregateColumns = 1 << 20
	groupingColumns  = 1 << 21 // results of GROUPING(…), after the aggregates
	scalarColumns    = 1 << 22 // those of queries that are used as values, after the groups
)

func (g *grouping) bind() (*Relation, error) {
	if err := g.bindKeys(); err != nil {
		return nil, err
	}
	g.binder.special = g.call
	if err := g.bindValues(); err != nil {
		return nil, err
	}
	items, err := g.planner.items(g.query, g.binder)
	if err != nil {
		return nil, err
	}
	var having expr.Node
	if g.query.Having != nil {
		if having, err = g.binder.condition(g.query.Having, "HAVING"); err != nil {
			return nil, err
		}
	}
	names := make([]string, len(g.pre))
	for i, e := range g.pre {
		names[i] = e.String()
	}
	r, err := g.aggregated(g.planner.project(g.from, names, g.pre))
	if err != nil {
		return nil, err
	}
	if r, err = g.joinValues(r); err != nil {
		return nil, err
	}
	if having != nil {
		if having, err = g.over(r, having, g.query.Having); err != nil {
			return nil, err
		}
		r = g.planner.filter(r, having)
	}
	for i := range items {
		if items[i].node, err = g.over(r, items[i].node, items[i].at); err != nil {
			return nil, err
		}
	}
	return g.planner.project(r, itemNames(items), itemExprs(items)), nil
}

// aggregated aggregates the rows by the keys, or by each grouping set.
func (g *grouping) aggregated(in *Relation) (*Relation, error) {
	if g.sets != nil {
		return g.aggregateSets(in)
	}
	keys := make([]int, len(g.keys))
	for i := range keys {
		keys[i] = i
	}
	return g.aggregate(in, keys)
}

// aggregate aggregates the rows by keys.
func (g *grouping) aggregate(in *Relation, keys []int) (*Relation, error) {
	r, err := g.planner.aggregate(g.query, in, keys, g.aggs)
	if err == nil {
		r.hinted[0] = g.ttl
	}
	return r, err
}

// bindKeys binds GROUP BY.
func (g *grouping) bindKeys() error {
	for _, e := range g.query.GroupBy {
		if c, ok := groupWindow(e); ok {
			if g.window != nil {
				return sql.Errorf(e, "GROUP BY has more than one window")
			}
			g.window = c
			continue
		}
		if sets, ok := e.(*sql.Grouping); ok {
			if err := g.bindSets(sets); err != nil {
				return err
			}
			continue
		}
		n, err := g.key(e)
		if err != nil {
			return err
		}
		g.keys = append(g.keys, n)
		for i := range g.sets {
			g.sets[i] = append(slices.Clone(g.sets[i]), len(g.keys)-1)
		}
	}
	g.pre = slices.Clone(g.keys)
	if g.window == nil {
		return nil
	}
	return g.bindWindow()
}

// key binds an expression of GROUP BY.
func (g *grouping) key(e sql.Expr) (expr.Node, error) {
	n, err := g.binder.bind(e)
	if err != nil {
		return nil, err
	}
	n = expr.Fold(n)
	if _, constant := n.(*expr.Const); constant {
		return nil, sql.Errorf(e, "GROUP BY of a constant puts all rows into one group").WithHint("write the column or expression, not its number")
	}
	if t := n.Type(); t.Kind == column.Map {
		return nil, sql.Errorf(e, "GROUP BY of a %s is not supported", t.Nullable(true)).WithHint("group by one of its entries, such as m['key']")
	}
	return n, nil
}

// bindWindow assigns the rows to the group window and adds its columns to the keys.
func (g *grouping) bindWindow() error {
	c := g.window
	if err := g.planner.checkEmit(c, ""); err != nil {
		return err
	}
	if len(c.Args) == 0 {
		return sql.Errorf(c, "%s requires the time column as its first argument", c.Name)
	}
	n, err := g.binder.bind(c.Args[0])
	if err != nil {
		return err
	}
	col, ok := n.(*expr.Col)
	if !ok {
		return sql.Errorf(c.Args[0], "the first argument of %s must be the time column", c.Name)
	}
	w, err := g.planner.window(c, WindowKind(strings.ToUpper(c.Name)), g.from, col.Index, c.Args[1:])
	if err != nil {
		return err
	}
	first := len(g.from.Cols)
	g.from = g.planner.windowed(c, g.from, w, "window_start", "window_end", "window_time")
	for i := first; i < first+3; i++ {
		g.keys = append(g.keys, g.from.col(i))
	}
	g.pre = slices.Clone(g.keys)
	if w.Kind == Session { // keyed by the group's keys
		w.Keys = nil
	}
	return nil
}

// checkEmit refuses early and late results. Flink has them for groups by TUMBLE(ts, …) and
// HOP(ts, …), and refuses groups of other windows as long as they are set.
func (p *planner) checkEmit(where sql.Node, first string) error {
	for _, s := range []struct {
		key string
		on  bool
	}{{earlyFire, p.program.Settings.EarlyFire}, {lateFire, p.program.Settings.LateFire}} {
		if s.on {
			return sql.Errorf(p.settingOr(s.key, where), "'%s' is not supported", s.key).
				WithHint("%sfor results before a window's end, group by CUMULATE, or by FLOOR(ts TO HOUR) into an upsert-kafka table; late rows are in the topic of late rows", first)
		}
	}
	return nil
}

// call binds aggregates and the auxiliary functions of the group window.
func (g *grouping) call(c *sql.Call) (expr.Node, error) {
	name := strings.ToUpper(c.Name)
	if kind, role := auxiliary(name); role != NoRole {
		if g.window == nil || WindowKind(strings.ToUpper(g.window.Name)) != kind || !sameArgs(g.window.Args, c.Args) {
			return nil, sql.Errorf(c, "%s does not match a window in GROUP BY", name).WithHint("write the same %s(…) in GROUP BY", kind)
		}
		if at := g.keys[len(g.keys)-4+int(role)]; role != WindowTime || g.from.Cols[len(g.from.Cols)-1].Proctime == strings.HasSuffix(name, "_PROCTIME") {
			return at, nil
		}
		return nil, sql.Errorf(c, "%s does not fit the time column of its window", name).WithHint("write %s_PROCTIME(…) of a window over PROCTIME(), and %[1]s_ROWTIME(…) of others", string(kind))
	}
	if name == "GROUPING" || name == "GROUPING_ID" {
		return g.grouped(c)
	}
	if other := aggregateAliases[name]; other != "" {
		name = other
	}
	if isOver(c) || !isAggregate(name) {
		return nil, nil
	}
	if aggregates[name] == nil {
		return nil, sql.Errorf(c, "the aggregate %s is not supported", name).WithHint("use one of %s", strings.Join(aggregateNames(), ", "))
	}
	a, err := bindAggregate(c, name, g.binder.plain(), g.column)
	if err != nil {
		return nil, err
	}
	// The result is NULL if there is no value to aggregate: without keys there may be no rows, and
	// in a group no row may pass the filter or all values may be NULL.
	if !a.NeverNull() {
		a.Type = a.Type.Nullable(a.Filter >= 0 || len(g.keys) == 0 || !g.pre[a.Arg].Type().NotNull || strings.HasSuffix(name, "_SAMP"))
	}
	i := slices.IndexFunc(g.aggs, a.same)
	if i < 0 {
		i = len(g.aggs)
		g.aggs = append(g.aggs, a)
	}
	return &expr.Col{Index: aggregateColumns + i, Name: name, T: a.Type}, nil
}

func sameArgs(a, b []sql.Expr) bool {
	return slices.EqualFunc(a, b, func(x, y sql.Expr) bool { return sql.FormatExpr(x) == sql.FormatExpr(y) })
}

// column returns the position of an expression among those computed before grouping.
func (g *grouping) column(n expr.Node) int {
	if i := position(g.pre, n); i >= 0 {
		return i
	}
	g.pre = append(g.pre, n)
	return len(g.pre) - 1
}

// over rewrites an expression over the rows before grouping as one over the grouped rows.
func (g *grouping) over(r *Relation, n expr.Node, where sql.Node) (expr.Node, error) {
	if i := position(g.keys, n); i >= 0 {
		return r.col(i), nil
	}
	switch n := n.(type) {
	case *expr.Col:
		if n.Index >= scalarColumns {
			return r.col(g.valuesFrom + n.Index - scalarColumns), nil
		}
		if n.Index >= groupingColumns {
			return r.col(len(g.keys) + len(g.aggs) + n.Index - groupingColumns), nil
		}
		if n.Index >= aggregateColumns {
			return r.col(len(g.keys) + n.Index - aggregateColumns), nil
		}
		return nil, sql.Errorf(where, "column %s is not in GROUP BY", n.Name).WithHint("group by it, or use an aggregate such as LAST_VALUE(%s)", sql.Quote(n.Name))
	case *expr.Call:
		copied := *n
		copied.Args = make([]expr.Node, len(n.Args))
		for i, a := range n.Args {
			over, err := g.over(r, a, where)
			if err != nil {
				return nil, err
			}
			copied.Args[i] = over
		}
		return &copied, nil
	}
	return n, nil
}
