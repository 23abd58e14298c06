package plan

import (
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// aggregates are the supported functions: what they take, and what they give.
var aggregates = map[string]func(arg expr.Type) (expr.Type, error){
	"COUNT": func(expr.Type) (expr.Type, error) { return expr.Type{Kind: expr.BigInt, NotNull: true}, nil },
	"SUM": numeric(func(t expr.Type) expr.Type {
		if t.Kind == expr.Decimal {
			return expr.OfDecimal(expr.MaxPrecision, t.Scale)
		}
		return t
	}),
	"AVG": numeric(average), "STDDEV_POP": numeric(average), "STDDEV_SAMP": numeric(average), "VAR_POP": numeric(average), "VAR_SAMP": numeric(average),
	"MIN": ordered, "MAX": ordered,
	"FIRST_VALUE": anyType, "LAST_VALUE": anyType,
}

// aggregateAliases are other names of the same functions.
var aggregateAliases = map[string]string{"STDDEV": "STDDEV_SAMP", "VARIANCE": "VAR_SAMP"}

// otherAggregates are known to Flink and not supported.
var otherAggregates = []string{
	"APPROX_COUNT_DISTINCT", "ARRAY_AGG", "COLLECT", "CORR", "COVAR_POP", "COVAR_SAMP", "CUME_DIST", "DENSE_RANK", "GROUPING", "GROUP_ID", "GROUPING_ID",
	"JSON_ARRAYAGG", "JSON_OBJECTAGG", "LAG", "LEAD", "LISTAGG", "NTH_VALUE", "NTILE", "PERCENT_RANK", "PERCENTILE", "RANK", "REGR_COUNT", "ROW_NUMBER",
}

func isAggregate(name string) bool {
	return aggregates[name] != nil || aggregateAliases[name] != "" || slices.Contains(otherAggregates, name)
}

func aggregateNames() []string {
	var all []string
	for name := range aggregates {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// average is the type of an average: that of the numbers, and for decimals with at least six digits
// behind the point.
func average(t expr.Type) expr.Type {
	if t.Kind == expr.Decimal {
		return expr.OfDecimal(expr.MaxPrecision, max(6, t.Scale))
	}
	return t
}

func numeric(result func(expr.Type) expr.Type) func(expr.Type) (expr.Type, error) {
	return func(t expr.Type) (expr.Type, error) {
		if !t.Numeric() {
			return t, fmt.Errorf("wants numbers, not %s", t.Nullable(true))
		}
		return result(t), nil
	}
}

func ordered(t expr.Type) (expr.Type, error) {
	if t.Kind == expr.Array || t.Kind == expr.Map || t.Kind == expr.Row || t.Kind == expr.Bytes {
		return t, fmt.Errorf("wants values that have an order, not %s", t.Nullable(true))
	}
	return t, nil
}

func anyType(t expr.Type) (expr.Type, error) { return t, nil }

// grouping binds one SELECT with GROUP BY or aggregates.
//
// Expressions of SELECT and HAVING are bound over the rows before grouping, with aggregates as
// columns from aggregateColumns on. Then what equals a key of the group is replaced by the key's
// column.
type grouping struct {
	binder
	query *sql.Select
	from  *Relation

	window *sql.Call // the older window of GROUP BY
	pre    []expr.Node
	keys   []expr.Node
	aggs   []Agg

	// sets are the places in keys of each GROUPING SET; nil where all are grouped by. told are what
	// GROUPING(…) tells of them.
	sets [][]int
	told [][]int
}

const (
	aggregateColumns = 1 << 20
	groupingColumns  = 1 << 21 // and what GROUPING(…) tells, behind the aggregates
)

// hasAggregates reports whether SELECT or HAVING has an aggregate, or DISTINCT needs none.
func (g *grouping) hasAggregates() bool {
	found := g.query.Having != nil
	for _, it := range g.query.Items {
		walk(it.Expr, func(c *sql.Call) {
			if c.Over == nil && c.OverName == nil && isAggregate(strings.ToUpper(c.Name)) {
				found = true
			}
		})
	}
	return found
}

func (g *grouping) bind() (*Relation, error) {
	if err := g.bindKeys(); err != nil {
		return nil, err
	}
	g.special = g.call
	items, err := g.items(g.query, &g.binder)
	if err != nil {
		return nil, err
	}
	var having expr.Node
	if g.query.Having != nil {
		if having, err = g.condition(g.query.Having, "HAVING"); err != nil {
			return nil, err
		}
	}
	names := make([]string, len(g.pre))
	for i, e := range g.pre {
		names[i] = e.String()
	}
	r, err := g.aggregated(g.project(g.from, names, g.pre))
	if err != nil {
		return nil, err
	}
	if having != nil {
		if having, err = g.over(r, having, g.query.Having); err != nil {
			return nil, err
		}
		r = g.filter(r, having)
	}
	for i := range items {
		if items[i].node, err = g.over(r, items[i].node, items[i].at); err != nil {
			return nil, err
		}
	}
	return g.project(r, itemNames(items), itemExprs(items)), nil
}

// aggregated groups by the keys, or by each set of them.
func (g *grouping) aggregated(in *Relation) (*Relation, error) {
	if g.sets != nil {
		return g.aggregateSets(in)
	}
	keys := make([]int, len(g.keys))
	for i := range keys {
		keys[i] = i
	}
	return g.aggregate(g.query, in, keys, g.aggs)
}

// bindKeys binds GROUP BY.
func (g *grouping) bindKeys() error {
	for _, e := range g.query.GroupBy {
		if c, ok := groupWindow(e); ok {
			if g.window != nil {
				return sql.Errorf(e, "a second window in GROUP BY")
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
		return nil, sql.Errorf(e, "GROUP BY a constant puts all rows into one group").WithHint("write the column or expression, not its number")
	}
	if t := n.Type(); t.Kind == expr.Map {
		return nil, sql.Errorf(e, "GROUP BY a %s is not supported", t.Nullable(true))
	}
	return n, nil
}

// bindWindow puts the window of GROUP BY below the rows, and its columns among the keys.
func (g *grouping) bindWindow() error {
	c := g.window
	if len(c.Args) == 0 {
		return sql.Errorf(c, "%s wants the time column first", c.Name)
	}
	n, err := g.binder.bind(c.Args[0])
	if err != nil {
		return err
	}
	column, ok := n.(*expr.Col)
	if !ok {
		return sql.Errorf(c.Args[0], "%s wants the time column here", c.Name)
	}
	w, err := g.planner.window(c, WindowKind(strings.ToUpper(c.Name)), g.from, column.Index, c.Args[1:])
	if err != nil {
		return err
	}
	first := len(g.from.Cols)
	g.from = g.windowed(g.from, w, "window_start", "window_end", "window_time")
	for i := first; i < first+3; i++ {
		g.keys = append(g.keys, g.from.col(i))
	}
	g.pre = slices.Clone(g.keys)
	if w.Kind == Session { // keyed by what is grouped
		w.Keys = nil
	}
	return nil
}

// call binds aggregates, and the functions that speak of the window.
func (g *grouping) call(c *sql.Call) (expr.Node, error) {
	name := strings.ToUpper(c.Name)
	if kind, role := auxiliary(name); role != NoRole {
		if g.window == nil || WindowKind(strings.ToUpper(g.window.Name)) != kind || !sameArgs(g.window.Args, c.Args) {
			return nil, sql.Errorf(c, "%s speaks of no window of GROUP BY", name).WithHint("write the same %s(…) in GROUP BY", kind)
		}
		return g.keys[len(g.keys)-4+int(role)], nil
	}
	if name == "GROUPING" || name == "GROUPING_ID" {
		return g.grouped(c)
	}
	if other := aggregateAliases[name]; other != "" {
		name = other
	}
	if c.Over != nil || c.OverName != nil || !isAggregate(name) {
		return nil, nil
	}
	if aggregates[name] == nil {
		return nil, sql.Errorf(c, "the aggregate %s is not supported", name).WithHint("supported are %s", strings.Join(aggregateNames(), ", "))
	}
	a, err := bindAggregate(c, name, &binder{planner: g.planner, scope: g.scope}, g.column)
	if err != nil {
		return nil, err
	}
	// Over no rows there is no value: always possible without keys, else where no row passes or all
	// are NULL.
	if name != "COUNT" {
		a.Type = a.Type.Nullable(a.Filter >= 0 || len(g.keys) == 0 || !g.pre[a.Arg].Type().NotNull || strings.HasSuffix(name, "_SAMP"))
	}
	i := slices.IndexFunc(g.aggs, func(b Agg) bool {
		return a.Name == b.Name && a.Arg == b.Arg && a.Filter == b.Filter && a.Distinct == b.Distinct
	})
	if i < 0 {
		i = len(g.aggs)
		g.aggs = append(g.aggs, a)
	}
	return &expr.Col{Index: aggregateColumns + i, Name: name, T: a.Type}, nil
}

// bindAggregate binds argument and FILTER of an aggregate function; column gives an expression its
// place. The type is that of the function over a value, NULL aside.
func bindAggregate(c *sql.Call, name string, b *binder, column func(expr.Node) int) (Agg, error) {
	result := aggregates[name]
	a := Agg{Name: name, Arg: -1, Filter: -1, Distinct: c.Distinct && name != "MIN" && name != "MAX"}
	switch {
	case c.Star && name == "COUNT" && !c.Distinct:
		a.Type, _ = result(expr.Type{})
	case len(c.Args) != 1 || c.Star || len(c.OrderBy) > 0:
		return a, sql.Errorf(c, "%s takes one argument", name)
	default:
		arg, err := b.bind(c.Args[0])
		if err != nil {
			return a, err
		}
		if a.Type, err = result(arg.Type()); err != nil {
			return a, sql.Errorf(c.Args[0], "%s %s", name, err)
		}
		if k, constant := expr.Fold(arg).(*expr.Const); !constant || k.Value == nil || name != "COUNT" || c.Distinct {
			a.Arg = column(expr.Fold(arg)) // COUNT(1) is COUNT(*)
		}
	}
	if c.Filter != nil {
		cond, err := b.condition(c.Filter, "FILTER")
		if err != nil {
			return a, err
		}
		a.Filter = column(cond)
	}
	return a, nil
}

func sameArgs(a, b []sql.Expr) bool {
	return slices.EqualFunc(a, b, func(x, y sql.Expr) bool { return sql.FormatExpr(x) == sql.FormatExpr(y) })
}

// column is the place of an expression among those that are computed before grouping.
func (g *grouping) column(n expr.Node) int {
	for i, e := range g.pre {
		if expr.SameNode(e, n) {
			return i
		}
	}
	g.pre = append(g.pre, n)
	return len(g.pre) - 1
}

// over brings an expression over the rows before grouping to the grouped ones.
func (g *grouping) over(r *Relation, n expr.Node, where sql.Node) (expr.Node, error) {
	for i, k := range g.keys {
		if expr.SameNode(k, n) {
			return r.col(i), nil
		}
	}
	switch n := n.(type) {
	case *expr.Col:
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

// aggregate groups a relation by columns.
func (p *planner) aggregate(where sql.Node, in *Relation, keys []int, aggs []Agg) (*Relation, error) {
	a := &Aggregate{Keys: keys, Aggs: aggs}
	if in.Updating {
		if err := checkRetraction(where, in, a); err != nil {
			return nil, err
		}
	}
	var plain []int // keys without those of the window
	if a.Window = groupWindowOf(in, keys); a.Window != nil && in.Updating {
		return nil, sql.Errorf(where, "grouping of rows that are updated by a window is not supported").WithHint("group in the window first")
	} else if a.Window != nil {
		for i, k := range keys {
			if i != a.Window.Start && i != a.Window.End && i != a.Window.Time {
				plain = append(plain, k)
			}
		}
		if err := checkSession(where, in, a.Window.Window, plain); err != nil {
			return nil, err
		}
		if a.Window.Kind == Session && origin(in) != Op(a.Window.Window) {
			p.differ(where, "sessions-again", "Flink 2.2 takes the grouping of windows of SESSION for one without window, which updates its rows")
		}
	} else {
		plain = keys
	}
	in = p.keyBy(in, plain)
	cols := make([]Column, 0, len(keys)+len(aggs))
	place := make(map[int]int)
	for i, k := range keys {
		c := in.Cols[k]
		if a.Window == nil {
			c.Rowtime, c.Window, c.Role = false, nil, NoRole
		}
		place[k] = i
		cols = append(cols, c)
	}
	if a.Window != nil {
		for i := range cols {
			cols[i].Rowtime = i == a.Window.Time
		}
	}
	for _, g := range aggs {
		cols = append(cols, Column{Name: g.String(in), Type: g.Type})
	}
	r := p.relation(a, cols, in)
	r.Keyed, r.Hash = through(in.Keyed, place), in.Hash
	p.differGroup(where, r)
	if a.Window == nil {
		r.Updating = len(aggs) > 0 || in.Updating
		r.Key = make([]int, len(keys))
		for i := range keys {
			r.Key[i] = i
		}
	}
	return r, nil
}

// checkRetraction refuses what can't be computed over rows that are taken back.
func checkRetraction(where sql.Node, in *Relation, a *Aggregate) error {
	if _, scan := origin(in).(*Scan); scan {
		return sql.Errorf(where, "grouping of an upsert-kafka table is not supported").WithHint("declare the topic with the kafka connector, and keep the newest row of each key with ROW_NUMBER")
	}
	for _, g := range a.Aggs {
		if !slices.Contains([]string{"COUNT", "SUM", "AVG", "MIN", "MAX"}, g.Name) {
			return sql.Errorf(where, "%s over rows that are updated is not supported", g.Name).
				WithHint("the rows below come from a GROUP BY without window or a deduplication; over these are supported AVG, COUNT, MAX, MIN, SUM")
		}
	}
	return nil
}

// groupWindowOf finds start and end of one window among the keys.
func groupWindowOf(in *Relation, keys []int) *GroupWindow {
	g := &GroupWindow{Start: -1, End: -1, Time: -1}
	for i, k := range keys {
		c := in.Cols[k]
		if c.Window == nil || g.Window != nil && g.Window != c.Window {
			continue
		}
		g.Window = c.Window
		switch c.Role {
		case WindowStart:
			g.Start = i
		case WindowEnd:
			g.End = i
		case WindowTime:
			g.Time = i
		}
	}
	if g.Start < 0 || g.End < 0 {
		return nil
	}
	return g
}

// checkSession wants a session to be grouped by what it is partitioned by.
func checkSession(where sql.Node, in *Relation, w *Window, plain []int) error {
	if w.Kind != Session || w.Keys == nil || origin(in) != Op(w) {
		return nil
	}
	for at := in; ; at = at.Inputs[0] { // bring the keys down to the input of the window
		p, ok := at.Op.(*Project)
		if !ok {
			if at.Op == Op(w) {
				break
			}
			continue
		}
		for i, k := range plain {
			c, ok := p.Exprs[k].(*expr.Col)
			if !ok {
				return sql.Errorf(where, "a SESSION must be grouped by the columns of its PARTITION BY")
			}
			plain = slices.Clone(plain)
			plain[i] = c.Index
		}
	}
	a, b := slices.Sorted(slices.Values(plain)), slices.Sorted(slices.Values(w.Keys))
	if !slices.Equal(a, b) {
		return sql.Errorf(where, "a SESSION must be grouped by window_start, window_end and the columns of its PARTITION BY, and no others")
	}
	return nil
}

// keyBy makes sure that rows that agree in columns are in one task: they are already, or an
// exchange brings them there.
func (p *planner) keyBy(in *Relation, keys []int) *Relation {
	if in.Keyed != nil && !slices.ContainsFunc(in.Keyed, func(c int) bool { return !slices.Contains(keys, c) }) {
		return in
	}
	return p.exchange(in, keys)
}

func (p *planner) exchange(in *Relation, keys []int) *Relation {
	r := p.relation(&Exchange{Keys: keys}, in.Cols, in)
	r.Keyed, r.Hash, r.Key = append([]int{}, keys...), exchanged, in.Key
	return r
}

func (a Agg) String(in *Relation) string {
	arg := "*"
	if a.Arg >= 0 {
		arg = in.Cols[a.Arg].Name
	}
	if a.Distinct {
		arg = "DISTINCT " + arg
	}
	if a.Name == lag {
		arg += fmt.Sprintf(", %d", a.Back)
		if a.Default != nil {
			arg += fmt.Sprintf(", %v", a.Default)
		}
	}
	s := a.Name + "(" + arg + ")"
	if a.Filter >= 0 {
		s += " FILTER (WHERE " + in.Cols[a.Filter].Name + ")"
	}
	return s
}

// walk calls fn for the calls of an expression that are not inside another query.
func walk(e sql.Expr, fn func(*sql.Call)) {
	all := func(list []sql.Expr) {
		for _, x := range list {
			walk(x, fn)
		}
	}
	switch e := e.(type) {
	case *sql.Call:
		fn(e)
		all(e.Args)
	case *sql.Unary:
		walk(e.X, fn)
	case *sql.Binary:
		all([]sql.Expr{e.L, e.R})
	case *sql.Is:
		all([]sql.Expr{e.X, e.Y})
	case *sql.Between:
		all([]sql.Expr{e.X, e.Low, e.High})
	case *sql.In:
		walk(e.X, fn)
		all(e.List)
	case *sql.Like:
		all([]sql.Expr{e.X, e.Pattern, e.Escape})
	case *sql.Case:
		all([]sql.Expr{e.Operand, e.Else})
		for _, w := range e.Whens {
			all([]sql.Expr{w.Cond, w.Then})
		}
	case *sql.Cast:
		walk(e.X, fn)
	case *sql.RowValue:
		all(e.Items)
	case *sql.ArrayValue:
		all(e.Items)
	case *sql.MapValue:
		all(e.Items)
	case *sql.Index:
		all([]sql.Expr{e.X, e.Index})
	case *sql.Field:
		walk(e.X, fn)
	}
}
