package plan

import (
	"fmt"
	"math"
	"slices"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// Rank numbers the rows of each partition in order and passes those numbered From to Limit.
type Rank struct {
	opDefaults
	Partition []int // columns of the input, without those of the window
	Order     []SortKey
	Arrival   Arrival // orders instead of Order
	Limit     int64
	From      int64 // first number that passes; 1 by default
	Number    bool  // append the number as the last column
	// First passes only the first row by time, once the watermark has passed it. That row is never
	// replaced.
	First bool
	// End is the column with the window's end: the rows of a window are emitted once the watermark
	// passes it. -1 without a window: rows are emitted immediately and replaced later.
	End  int
	Zone expr.Zone
	// Limited marks ORDER BY … LIMIT, or a LIMIT of updating rows. It never is a deduplication: of
	// equal rows, the first one passes.
	Limited bool
}

// Arrival is the order of processing time: that in which the operator reads its rows. Rows of one
// transaction have the same time, and keep this order.
type Arrival byte

// Orders of arrival.
const (
	NoArrival   Arrival = iota // another order
	OldestFirst                // ORDER BY PROCTIME()
	NewestFirst                // ORDER BY PROCTIME() DESC
)

func (a Arrival) String() string {
	return [...]string{"no order", "arrival", "arrival DESC"}[a]
}

// maxTopN is the number of rows of each partition that a Rank may keep.
const maxTopN = 10_000

// SortKey is one column of an order.
type SortKey struct {
	Column    int
	Desc      bool
	NullsLast bool
}

// Name implements Op.
func (*Rank) Name() string { return "Rank" }

// Describe implements Op.
func (k *Rank) Describe(r *Relation) string {
	in := r.Inputs[0].Cols
	order := describeOrder(r.Inputs[0], k.Order)
	if k.Arrival != NoArrival {
		order = k.Arrival.String()
	}
	partition := listNames(in, k.Partition)
	if k.First {
		return fmt.Sprintf("First of each (%s) by %s", partition, order)
	}
	if k.Limited {
		text := describeLimit(k.From-1, k.Limit-k.From+1)
		if order != "" {
			text += " by " + order
		}
		return text
	}
	text := fmt.Sprintf("Top %d of each (%s) by %s", k.Limit, partition, order)
	if k.End >= 0 {
		text += ", when the window ends"
	}
	return text
}

func (k *Rank) brief(*Relation) string { return fmt.Sprintf("first %d", k.Limit) }

// Reads implements Op.
func (k *Rank) Reads(r *Relation, _ int, need func(int)) {
	needColumns(k.Partition, need)
	for _, key := range k.Order {
		need(key.Column)
	}
	if k.End >= 0 {
		need(k.End)
	}
	needPassed(r, len(r.Cols)-1, need)
}

// Stateful implements Op.
func (*Rank) Stateful() bool { return true }

// Signature implements Op.
func (*Rank) Signature(r *Relation) string {
	text := r.Describe() + "; rows of " + rowSignature(r.Inputs[0])
	if r.Inputs[0].Updating {
		text += "; all rows"
	}
	return text
}

// overCall returns the first call with OVER (…) in a SELECT.
func overCall(s *sql.Select) *sql.Call {
	var found *sql.Call
	for _, it := range s.Items {
		walk(it.Expr, func(c *sql.Call) {
			if found == nil && isOver(c) {
				found = c
			}
		})
	}
	return found
}

// pending is the limit of a Rank before the enclosing WHERE sets it.
const pending = -1

// rankBinding binds a SELECT with a ROW_NUMBER.
type rankBinding struct {
	planner *planner
	scope   *scope
	call    *sql.Call // ROW_NUMBER() OVER (…)
	spec    *sql.WindowSpec
	items   []item
	number  int // position of the row number among the items

	pre   []expr.Node // columns of the Rank's input: the other items, then what OVER needs
	names []string
}

// rank binds SELECT …, ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) AS n. The enclosing query sets
// how many rows pass.
func (p *planner) rank(s *sql.Select, from *Relation, sc *scope) (*Relation, error) {
	call := overCall(s)
	spec, err := overWindow(s, call)
	if err != nil {
		return nil, err
	}
	if len(spec.OrderBy) == 0 {
		return nil, sql.Errorf(spec, "ROW_NUMBER requires an ORDER BY")
	}
	b := &rankBinding{planner: p, scope: sc, call: call, spec: spec}
	if err := b.bindItems(s); err != nil {
		return nil, err
	}
	partition, err := b.partition()
	if err != nil {
		return nil, err
	}
	r := &Rank{Limit: pending, From: 1, Number: true, End: -1}
	if r.Arrival, err = b.arrival(from); err != nil {
		return nil, err
	}
	if r.Arrival == NoArrival {
		if r.Order, err = b.order(); err != nil {
			return nil, err
		}
	}
	in, err := b.input(r, p.project(from, b.names, b.pre), partition)
	if err != nil {
		return nil, err
	}
	cols := append(slices.Clone(in.Cols), Column{Name: "ROW_NUMBER", Type: notNull(column.BigInt)})
	ranked := p.relation(r, cols, in)
	p.describeRank(ranked)
	return b.project(ranked), nil
}

// bindItems binds the items of the SELECT and finds the row number among them.
func (b *rankBinding) bindItems(s *sql.Select) (err error) {
	seen := false
	binder := &binder{planner: b.planner, scope: b.scope, special: func(c *sql.Call) (expr.Node, error) {
		if c != b.call {
			return nil, nil
		}
		seen = true
		return &expr.Col{Index: aggregateColumns, Name: "ROW_NUMBER", T: notNull(column.BigInt)}, nil
	}}
	if b.items, err = b.planner.items(s, binder); err != nil {
		return err
	}
	b.number = slices.IndexFunc(b.items, func(it item) bool {
		c, ok := it.node.(*expr.Col)
		return ok && c.Index == aggregateColumns
	})
	if !seen || b.number < 0 {
		return sql.Errorf(b.call, "ROW_NUMBER must be a separate column").WithHint("write ROW_NUMBER() OVER (…) AS n, and compute with n in the enclosing query")
	}
	b.pre = slices.Delete(slices.Clone(itemExprs(b.items)), b.number, b.number+1)
	b.names = slices.Delete(slices.Clone(itemNames(b.items)), b.number, b.number+1)
	return nil
}

// column returns the column of the Rank's input with an expression, which it adds if it is missing.
func (b *rankBinding) column(e sql.Expr) (int, error) {
	n, err := (&binder{planner: b.planner, scope: b.scope}).bind(e)
	if err != nil {
		return 0, err
	}
	n = expr.Fold(n)
	if i := position(b.pre, n); i >= 0 {
		return i, nil
	}
	b.pre, b.names = append(b.pre, n), append(b.names, n.String())
	return len(b.pre) - 1, nil
}

func (b *rankBinding) partition() (columns []int, err error) {
	for _, e := range b.spec.PartitionBy {
		i, err := b.column(e)
		if err == nil {
			err = checkKey(e, "PARTITION BY of", b.pre[i].Type())
		}
		if err != nil {
			return nil, err
		}
		columns = append(columns, i)
	}
	return columns, nil
}

// arrival returns the order if it is that of processing time.
func (b *rankBinding) arrival(from *Relation) (Arrival, error) {
	for _, o := range b.spec.OrderBy {
		n, err := (&binder{planner: b.planner, scope: b.scope}).bind(o.Expr)
		if err != nil {
			return NoArrival, err
		}
		switch {
		case !b.scope.isProctime(n):
		case len(b.spec.OrderBy) > 1:
			return NoArrival, sql.Errorf(o.Expr, "ROW_NUMBER with an ORDER BY of PROCTIME() and other columns is not supported").WithHint("order by PROCTIME() alone: rows have it in the order in which they are read")
		case from.Updating:
			return NoArrival, sql.Errorf(o.Expr, "ROW_NUMBER with an ORDER BY of PROCTIME() over updating rows is not supported").WithHint("%s", updatingHint(from, "number the rows before they are grouped"))
		case o.Desc:
			return NewestFirst, nil
		default:
			return OldestFirst, nil
		}
	}
	return NoArrival, nil
}

func (b *rankBinding) order() (keys []SortKey, err error) {
	for _, o := range b.spec.OrderBy {
		i, err := b.column(o.Expr)
		if err != nil {
			return nil, err
		}
		key, err := sortKey(o, i, b.pre[i].Type())
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// input partitions the Rank's input. If a window is part of the key, the Rank emits its rows at the
// end of the window.
func (b *rankBinding) input(r *Rank, in *Relation, partition []int) (*Relation, error) {
	w := groupWindowOf(in, partition)
	if w == nil || in.Updating {
		r.Partition = partition
		return b.planner.keyBy(in, partition), nil
	}
	if _, raw := origin(in).(*Window); raw && w.Kind == Session {
		return nil, sql.Errorf(b.spec, "ROW_NUMBER over a SESSION that is not grouped is not supported")
	}
	if err := checkByClock(b.spec, w.Window, "ROW_NUMBER in"); err != nil {
		return nil, err
	}
	if r.Arrival != NoArrival {
		return nil, sql.Errorf(b.spec, "ROW_NUMBER with an ORDER BY of PROCTIME() in windows is not supported").WithHint("order by the time of the rows; Flink does not support this either")
	}
	r.End, r.Zone = partition[w.End], w.Zone
	var plain []int
	for i, c := range partition {
		if i != w.Time { // windows with the same end may have different starts, so the key has both
			r.Partition = append(r.Partition, c)
		}
		if i != w.Start && i != w.End && i != w.Time {
			plain = append(plain, c)
		}
	}
	return b.planner.keyBy(in, plain), nil
}

// project puts the row number in its place among the items.
func (b *rankBinding) project(ranked *Relation) *Relation {
	exprs := make([]expr.Node, 0, len(b.items))
	for i := range b.items {
		switch {
		case i == b.number:
			exprs = append(exprs, ranked.col(len(ranked.Cols)-1))
		case i < b.number:
			exprs = append(exprs, ranked.col(i))
		default:
			exprs = append(exprs, ranked.col(i-1))
		}
	}
	return b.planner.project(ranked, itemNames(b.items), exprs)
}

// describeRank sets the properties of a Rank's rows, which depend on its limit.
func (p *planner) describeRank(r *Relation) {
	rank, in := r.Op.(*Rank), r.Inputs[0]
	r.Keyed, r.Hash = in.Keyed, in.Hash
	if rank.End >= 0 || rank.First {
		return
	}
	for i := range r.Cols {
		r.Cols[i].Rowtime = false
	}
	r.Updating = true
	r.Key = slices.Clone(rank.Partition)
	if rank.Limit != 1 || rank.Limited {
		r.Key = append(r.Key, len(r.Cols)-1)
		r.Multiset = true
	}
}

// isPendingRank reports whether r is the projection of a Rank without a limit.
func isPendingRank(r *Relation) bool {
	if _, ok := r.Op.(*Project); !ok {
		return false
	}
	rank, ok := r.Inputs[0].Op.(*Rank)
	return ok && rank.Limit == pending
}

// limitRank sets the limit from the conditions of a WHERE on the row number; other conditions
// become a filter.
func (p *planner) limitRank(e sql.Node, from *Relation, cond expr.Node) (*Relation, error) {
	project, ranked := from.Op.(*Project), from.Inputs[0]
	rank := *ranked.Op.(*Rank)
	number := len(ranked.Cols) - 1
	place := slices.IndexFunc(project.Exprs, func(n expr.Node) bool {
		c, ok := n.(*expr.Col)
		return ok && c.Index == number
	})
	first, last := int64(1), int64(math.MaxInt64)
	var rest []expr.Node
	for _, part := range conjuncts(cond) {
		op, k, ok := numberCondition(part, place)
		switch {
		case !ok:
			rest = append(rest, part)
		case op == "=":
			first, last = max(first, k), min(last, k)
		case op == "<=":
			last = min(last, k)
		case op == "<":
			last = min(last, k-1)
		case op == ">=":
			first = max(first, k)
		case op == ">":
			first = max(first, k+1)
		}
	}
	if last == math.MaxInt64 {
		return nil, sql.Errorf(e, "the row number has no upper limit, so every row would have to be kept").WithHint("write WHERE %s <= 10", sql.Quote(from.Cols[max(place, 0)].Name))
	}
	if last < first || last < 1 {
		return nil, sql.Errorf(e, "no row number satisfies this condition")
	}
	if last > maxTopN {
		return nil, sql.Errorf(e, "a Top-N of more than %d rows is not supported", maxTopN)
	}
	if rank.Arrival == NewestFirst && last > 1 {
		return nil, sql.Errorf(e, "ROW_NUMBER with an ORDER BY of PROCTIME() DESC supports only the last row").
			WithHint("write WHERE %s = 1; for the last n values, write ARRAY_AGG(x) OVER (… ROWS BETWEEN n PRECEDING AND CURRENT ROW); Flink keeps the first rows instead of the last", sql.Quote(from.Cols[max(place, 0)].Name))
	}
	rank.Limit, rank.From = last, first
	cols := slices.Clone(ranked.Cols)
	if in := ranked.Inputs[0]; rank.keepsFirst(in) {
		rank.First = true
		copy(cols, in.Cols) // including the rowtime
		if rank.Arrival == NoArrival {
			p.differLate(e, "that arrives after its time has been computed")
		}
	}
	limited := p.relation(&rank, cols, ranked.Inputs[0])
	p.describeRank(limited)
	exprs := make([]expr.Node, len(project.Exprs))
	copy(exprs, project.Exprs)
	r := p.project(limited, names(from.Cols), exprs)
	if len(rest) > 0 {
		r = p.filter(r, conjunction(rest))
	}
	return r, nil
}

// keepsFirst reports whether the Rank is a deduplication that keeps the first row by time. As in
// Flink, its rows are not updating.
func (k *Rank) keepsFirst(in *Relation) bool {
	if in.Updating || k.End >= 0 || k.Limit != 1 {
		return false
	}
	return k.Arrival == OldestFirst || len(k.Order) == 1 && !k.Order[0].Desc && in.Cols[k.Order[0].Column].Rowtime
}

// numberCondition parses a comparison of the row number with a constant as number op k.
func numberCondition(n expr.Node, place int) (op string, k int64, ok bool) {
	c, isCall := n.(*expr.Call)
	if !isCall || len(c.Args) != 2 {
		return "", 0, false
	}
	turned := map[string]string{"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
	op = c.F.Name
	if turned[op] == "" {
		return "", 0, false
	}
	l, r := c.Args[0], c.Args[1]
	if _, constant := l.(*expr.Const); constant {
		l, r, op = r, l, turned[op]
	}
	if cast, isCast := l.(*expr.Call); isCast && cast.F.Name == "CAST" {
		l = cast.Args[0]
	}
	col, isColumn := l.(*expr.Col)
	value, isConst := expr.Fold(r).(*expr.Const)
	if !isColumn || col.Index != place || !isConst {
		return "", 0, false
	}
	k, ok = value.Value.(int64)
	return op, k, ok
}

// findPending reports whether a Rank below r has no limit.
func findPending(r *Relation) (found bool) {
	r.descend(func(r *Relation) bool {
		rank, ok := r.Op.(*Rank)
		found = found || ok && rank.Limit == pending
		return !found
	})
	return found
}
