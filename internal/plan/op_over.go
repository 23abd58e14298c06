package plan

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// Over computes aggregate functions over each row and the preceding ones. Its columns are those of
// the input, then one for each function. A row is emitted once the watermark has passed its time,
// or, in the order of arrival, at once.
type Over struct {
	opDefaults
	Partition []int // columns of the input
	Time      int   // -1 with Arrival
	Arrival   bool  // ORDER BY PROCTIME(): rows are in the order in which they are read
	Aggs      []Agg
	Frame     Frame
}

// Frame is the range of preceding rows that a function covers, up to the current row.
type Frame struct {
	Rows      bool // by number of rows; otherwise by time, including all rows of the same time
	Unbounded bool
	Preceding int64 // rows, or microseconds
}

// Name implements Op.
func (*Over) Name() string { return "Over" }

// Describe implements Op.
func (o *Over) Describe(r *Relation) string {
	in := r.Inputs[0]
	by := OldestFirst.String()
	if !o.Arrival {
		by = in.Cols[o.Time].Name
	}
	return fmt.Sprintf("Over each (%s) by %s, %s: %s", listNames(in.Cols, o.Partition), by, o.Frame, listAggs(in, o.Aggs))
}

// Reads implements Op.
func (o *Over) Reads(r *Relation, _ int, need func(int)) {
	needColumns(o.Partition, need)
	if !o.Arrival {
		need(o.Time)
	}
	needAggs(o.Aggs, need)
	needPassed(r, len(r.Inputs[0].Cols), need)
}

// Stateful implements Op.
func (*Over) Stateful() bool { return true }

// Signature implements Op.
func (o *Over) Signature(r *Relation) string {
	return r.Describe() + "; keys " + keySignature(r.Inputs[0], o.Partition) + "; rows of " + rowSignature(r.Inputs[0])
}

func (*Over) copies(int) bool   { return true }
func (o *Over) dropsLate() bool { return !o.Arrival }

// String returns the frame as SQL.
func (f Frame) String() string {
	unit := map[bool]string{true: "ROWS", false: "RANGE"}[f.Rows]
	switch {
	case f.Unbounded:
		return unit + " UNBOUNDED PRECEDING"
	case f.Rows:
		return "ROWS " + strconv.FormatInt(f.Preceding, 10) + " PRECEDING"
	}
	return "RANGE INTERVAL '" + strconv.FormatFloat(float64(f.Preceding)/1e6, 'f', -1, 64) + "' SECOND PRECEDING"
}

// lag is the function that returns the value of a preceding row. It has no frame.
const lag = "LAG"

// overBinding binds a SELECT whose functions have OVER, all with the same window.
type overBinding struct {
	planner *planner
	binder  *binder
	query   *sql.Select
	first   *sql.Call
	spec    string
	over    *Over
	pre     []expr.Node // columns of the input, then expressions that the functions need
	names   []string
}

// overWindow returns the specification of a function's window, named or inline.
func overWindow(s *sql.Select, c *sql.Call) (*sql.WindowSpec, error) {
	if c.OverName == nil {
		return c.Over, nil
	}
	for _, w := range s.Windows {
		if w.Name.Name == c.OverName.Name {
			return w.Spec, nil
		}
	}
	return nil, sql.Errorf(c.OverName, "WINDOW %s is not defined", c.OverName.Name)
}

// aggregatesOver binds SELECT …, SUM(x) OVER (PARTITION BY … ORDER BY time ROWS …).
func (p *planner) aggregatesOver(s *sql.Select, from *Relation, sc *scope) (*Relation, error) {
	first := overCall(s)
	if from.Updating {
		return nil, sql.Errorf(first, "%s … OVER updating rows is not supported", strings.ToUpper(first.Name)).WithHint("%s; with ORDER BY the time, Flink does not support this either", updatingHint(from, "group by a window in the subquery"))
	}
	o := &overBinding{planner: p, binder: &binder{planner: p, scope: sc}, query: s, first: first}
	for i := range from.Cols {
		o.pre, o.names = append(o.pre, from.col(i)), append(o.names, from.Cols[i].Name)
	}
	if err := o.window(from); err != nil {
		return nil, err
	}
	o.binder.special = o.call
	items, err := p.items(s, o.binder)
	if err != nil {
		return nil, err
	}
	in := p.keyBy(p.project(from, o.names, o.pre), o.over.Partition)
	cols := append([]Column{}, in.Cols...)
	for _, a := range o.over.Aggs {
		cols = append(cols, Column{Name: a.String(in) + " OVER", Type: a.Type})
	}
	r := p.relation(o.over, cols, in)
	r.Keyed, r.Hash = in.Keyed, in.Hash
	p.differOver(first, o.over)
	exprs := itemExprs(items)
	for i, e := range exprs {
		exprs[i] = replaceColumns(e, func(c *expr.Col) expr.Node {
			if c.Index >= aggregateColumns {
				return r.col(len(in.Cols) + c.Index - aggregateColumns)
			}
			return c
		})
	}
	return p.project(r, itemNames(items), exprs), nil
}

// window binds the partitioning, order and frame of the first function, which the others share.
func (o *overBinding) window(from *Relation) error {
	name := strings.ToUpper(o.first.Name)
	spec, err := overWindow(o.query, o.first)
	if err != nil {
		return err
	}
	if name != lag && aggregates[name] == nil && aggregateAliases[name] == "" {
		return sql.Errorf(o.first, "%s … OVER is not supported", name).WithHint("use one of LAG, %s, and ROW_NUMBER with a limit in the enclosing query", strings.Join(aggregateNames(), ", "))
	}
	o.spec = sql.FormatWindow(spec)
	o.over = &Over{}
	for _, e := range spec.PartitionBy {
		n, err := o.binder.plain().bind(e)
		if err != nil {
			return err
		}
		if err := checkKey(e, "PARTITION BY of", n.Type()); err != nil {
			return err
		}
		o.over.Partition = append(o.over.Partition, o.column(expr.Fold(n)))
	}
	const hint = "order by the column with the watermark: otherwise the preceding rows are unknown"
	if len(spec.OrderBy) != 1 || spec.OrderBy[0].Desc {
		return sql.Errorf(spec, "%s … OVER requires an ORDER BY of one time column, ascending", name).WithHint(hint)
	}
	n, err := o.binder.plain().bind(spec.OrderBy[0].Expr)
	if err != nil {
		return err
	}
	c, ok := n.(*expr.Col)
	switch {
	case o.binder.scope.isProctime(n):
		o.over.Time, o.over.Arrival = -1, true
	case !ok || !from.Cols[c.Index].Rowtime:
		return sql.Errorf(spec.OrderBy[0].Expr, "%s … OVER requires an ORDER BY of a column with a watermark, or of PROCTIME()", name).WithHint(hint)
	default:
		o.over.Time = c.Index
	}
	o.over.Frame, err = o.frame(spec.Frame)
	return err
}

func (o *overBinding) frame(f *sql.Frame) (Frame, error) {
	if f == nil {
		return Frame{Unbounded: true}, nil
	}
	frame := Frame{Rows: f.Rows}
	if f.End.Unbounded || f.End.Following || f.End.Offset != nil || f.Start.Following {
		return frame, sql.Errorf(f, "a frame must end with CURRENT ROW").WithHint("following rows are not known yet; write ROWS BETWEEN n PRECEDING AND CURRENT ROW")
	}
	if frame.Unbounded = f.Start.Unbounded; frame.Unbounded || f.Start.Offset == nil {
		return frame, nil
	}
	n, err := (&binder{planner: o.planner}).bind(f.Start.Offset)
	if err != nil {
		return frame, err
	}
	k, constant := expr.Fold(n).(*expr.Const)
	wanted, what := column.IntervalDay, "an interval of days to seconds"
	if f.Rows {
		wanted, what = column.Int, "a number of rows"
	}
	if !constant || k.T.Kind != wanted || k.Value.(int64) < 0 {
		return frame, sql.Errorf(f.Start.Offset, "%s … PRECEDING requires %s", map[bool]string{true: "ROWS", false: "RANGE"}[f.Rows], what)
	}
	frame.Preceding = k.Value.(int64)
	return frame, nil
}

// column returns the position of an expression among those computed before the functions.
func (o *overBinding) column(n expr.Node) int {
	if i := position(o.pre, n); i >= 0 {
		return i
	}
	o.pre, o.names = append(o.pre, n), append(o.names, n.String())
	return len(o.pre) - 1
}

// call binds the functions with OVER.
func (o *overBinding) call(c *sql.Call) (expr.Node, error) {
	if c.Over == nil && c.OverName == nil {
		return nil, nil
	}
	name := strings.ToUpper(c.Name)
	spec, err := overWindow(o.query, c)
	if err != nil {
		return nil, err
	}
	if sql.FormatWindow(spec) != o.spec {
		return nil, sql.Errorf(c, "functions OVER different windows in one query are not supported").WithHint("compute one in a subquery, and the other in the enclosing query")
	}
	if name == lag {
		return o.lag(c)
	}
	if other := aggregateAliases[name]; other != "" {
		name = other
	}
	if aggregates[name] == nil {
		return nil, sql.Errorf(c, "%s … OVER is not supported", name).WithHint("use one of LAG, %s, and ROW_NUMBER with a limit in the enclosing query", strings.Join(aggregateNames(), ", "))
	}
	if c.Filter != nil {
		return nil, sql.Errorf(c.Filter, "FILTER with OVER is not supported").WithHint("Flink doesn't support it either; write SUM(CASE WHEN … THEN … END) OVER (…)")
	}
	a, err := bindAggregate(c, name, o.binder.plain(), o.column)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(name, "JSON_") {
		return nil, sql.Errorf(c, "%s … OVER is not supported", name).WithHint("Flink 2.2 doesn't support it either; use ARRAY_AGG, or group by a window")
	}
	if !a.NeverNull() {
		a.Type = a.Type.Nullable(!o.pre[a.Arg].Type().NotNull || strings.HasSuffix(name, "_SAMP"))
	}
	return o.result(a), nil
}

// result adds a function and returns its column.
func (o *overBinding) result(a Agg) *expr.Col {
	o.over.Aggs = append(o.over.Aggs, a)
	return &expr.Col{Index: aggregateColumns + len(o.over.Aggs) - 1, Name: a.Name, T: a.Type}
}

// lag binds LAG(value [, rows [, default]]).
func (o *overBinding) lag(c *sql.Call) (expr.Node, error) {
	if len(c.Args) < 1 || len(c.Args) > 3 || c.Star || c.Distinct || c.Filter != nil {
		return nil, sql.Errorf(c, "LAG takes a value, the number of rows to look back, and a default")
	}
	args, err := o.binder.plain().bindAll(c.Args)
	if err != nil {
		return nil, err
	}
	a := Agg{Name: lag, Filter: -1, Back: 1, Type: args[0].Type().Nullable(true)}
	if len(args) > 1 {
		k, constant := expr.Fold(args[1]).(*expr.Const)
		if !constant || k.T.Kind != column.Int || k.Value.(int64) < 0 || k.Value.(int64) > math.MaxInt32 {
			return nil, sql.Errorf(c.Args[1], "LAG requires a constant number of rows")
		}
		a.Back = k.Value.(int64)
	}
	if len(args) > 2 {
		k, constant := expr.Fold(expr.CastTo(args[2], a.Type, o.planner.program.Zone)).(*expr.Const)
		if !constant || !assignable(args[2].Type(), a.Type) {
			return nil, sql.Errorf(c.Args[2], "LAG requires a constant %s as its default", a.Type)
		}
		a.Default = k.Value
		if k.Value != nil && !args[0].Type().NotNull {
			o.planner.differ(c, "lag-default", "LAG of a row whose value is NULL is NULL; Flink's result is undefined")
		}
		a.Type = args[0].Type().Nullable(k.Value == nil || !args[0].Type().NotNull)
	}
	if o.over.Frame.Rows || !o.over.Frame.Unbounded {
		return nil, sql.Errorf(c, "LAG takes no frame").WithHint("write LAG(x, n) for the value n rows before")
	}
	a.Arg = o.column(expr.Fold(args[0]))
	return o.result(a), nil
}
