package plan

import (
	"fmt"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
)

// IntervalJoin joins rows whose times are close: right time - left time is within [Lower, Upper].
// A row is kept until the watermark excludes further matches.
type IntervalJoin struct {
	opDefaults
	JoinOn
	Times        [2]int // the time column of each input
	Lower, Upper time.Duration
}

// Name implements Op.
func (*IntervalJoin) Name() string { return "IntervalJoin" }

// Describe implements Op.
func (j *IntervalJoin) Describe(r *Relation) string {
	return fmt.Sprintf("%s interval join on %s AND %s - %s BETWEEN %s AND %s", j.word(), j.describe(r),
		r.Inputs[1].Cols[j.Times[1]].Name, r.Inputs[0].Cols[j.Times[0]].Name, j.Lower, j.Upper)
}

func (j *IntervalJoin) brief(*Relation) string { return fmt.Sprintf("%s to %s", j.Lower, j.Upper) }

// Reads implements Op.
func (j *IntervalJoin) Reads(r *Relation, input int, need func(int)) {
	need(j.Times[input])
	j.reads(r, input, need)
}

// Stateful implements Op.
func (*IntervalJoin) Stateful() bool { return true }

// Signature implements Op.
func (j *IntervalJoin) Signature(r *Relation) string { return j.signature(r) }

func (*IntervalJoin) matchesNulls() bool      { return false }
func (j *IntervalJoin) copies(input int) bool { return j.Kind.Keeps(input) }
func (*IntervalJoin) dropsLate() bool         { return true }

func (j *IntervalJoin) dropsNulls(input int) bool { return j.dropsUnmatched(input) }

// intervalJoin returns the join as an interval join; nil if its condition doesn't bound the
// difference of two rowtimes on both sides.
func (b *joinBinding) intervalJoin() *Relation {
	if b.left.Updating || b.right.Updating || b.on.Kind.LeftOnly() {
		return nil
	}
	var bounds []timeBound
	var rest []expr.Node
	for _, cond := range b.rest {
		if more := b.bounds(cond); more != nil {
			bounds = append(bounds, more...)
		} else {
			rest = append(rest, cond)
		}
	}
	for i, l := range b.on.Left { // equal times bound each other, too
		if r := b.on.Right[i]; b.left.Cols[l].Rowtime && b.right.Cols[r].Rowtime {
			bounds = append(bounds, timeBound{l, r, 0, true}, timeBound{l, r, 0, false})
		}
	}
	if len(bounds) == 0 {
		return nil
	}
	first := bounds[0]
	j := &IntervalJoin{JoinOn: b.on, Times: [2]int{first.left, first.right}}
	var lower, upper bool
	for _, o := range bounds {
		switch {
		case o.left != first.left || o.right != first.right:
			return nil // two pairs of times
		case o.lower && (!lower || o.at > j.Lower):
			j.Lower, lower = o.at, true
		case !o.lower && (!upper || o.at < j.Upper):
			j.Upper, upper = o.at, true
		}
	}
	if !lower || !upper {
		return nil
	}
	j.Cond = conjunction(rest)
	b.place(b.on.Left, b.on.Right)
	b.planner.differLate(b.where, "that arrives too late for any match")
	return b.relation(j)
}

// timeBound is a bound of right time - left time.
type timeBound struct {
	left, right int // columns of the inputs
	at          time.Duration
	lower       bool
}

// bounds parses a comparison of two rowtimes, each plus or minus a constant; nil if it is another
// condition.
func (b *joinBinding) bounds(cond expr.Node) []timeBound {
	c, ok := cond.(*expr.Call)
	if !ok || len(c.Args) != 2 {
		return nil
	}
	x, xPlus, ok := b.moved(c.Args[0])
	if !ok {
		return nil
	}
	y, yPlus, ok := b.moved(c.Args[1])
	if !ok {
		return nil
	}
	op, border := c.F.Name, len(b.left.Cols)
	if x >= border { // right op left
		op = map[string]string{"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}[op]
		x, y, xPlus, yPlus = y, x, yPlus, xPlus
	}
	if x >= border || y < border {
		return nil
	}
	one := timeBound{left: x, right: y - border, at: xPlus - yPlus} // left + xPlus op right + yPlus
	switch op {
	case "=":
		upper := one
		one.lower = true
		return []timeBound{one, upper}
	case "<=", "<":
		one.lower = true
		if op == "<" {
			one.at += time.Microsecond
		}
	case ">":
		one.at -= time.Microsecond
	case ">=":
	default:
		return nil
	}
	return []timeBound{one}
}

// moved parses a rowtime plus or minus constant intervals, with its position among the columns of
// both sides.
func (b *joinBinding) moved(n expr.Node) (index int, plus time.Duration, ok bool) {
	switch n := n.(type) {
	case *expr.Col:
		border := len(b.left.Cols)
		if n.Index < border {
			return n.Index, 0, b.left.Cols[n.Index].Rowtime
		}
		return n.Index, 0, b.right.Cols[n.Index-border].Rowtime
	case *expr.Call:
		switch n.F.Name {
		case "CAST":
			if n.T.Kind != n.Args[0].Type().Kind || n.T.Precision < n.Args[0].Type().Precision {
				return 0, 0, false
			}
			return b.moved(n.Args[0])
		case "+", "-":
			at, by := n.Args[0], n.Args[1]
			if n.F.Name == "+" {
				if _, constant := at.(*expr.Const); constant {
					at, by = by, at
				}
			}
			k, constant := expr.Fold(by).(*expr.Const)
			if !constant || k.T.Kind != column.IntervalDay || k.Value == nil {
				return 0, 0, false
			}
			index, plus, ok = b.moved(at)
			length := time.Duration(k.Value.(int64)) * time.Microsecond
			if n.F.Name == "-" {
				length = -length
			}
			return index, plus + length, ok
		}
	}
	return 0, 0, false
}
