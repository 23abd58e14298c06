package plan

import (
	"fmt"

	"weir.example/weir/internal/sql"
)

// WindowJoin joins the rows of equal windows of both inputs. A window is joined once the watermark
// has passed its end.
type WindowJoin struct {
	opDefaults
	JoinOn
	Window *Window // of the left input
	Ends   [2]int  // the column of each input with the window's end
}

// Name implements Op.
func (*WindowJoin) Name() string { return "WindowJoin" }

// Describe implements Op.
func (j *WindowJoin) Describe(r *Relation) string {
	return fmt.Sprintf("%s window join in %s on %s", j.word(), j.Window, j.describe(r))
}

func (j *WindowJoin) brief(*Relation) string { return "per window" }

// Reads implements Op.
func (j *WindowJoin) Reads(r *Relation, input int, need func(int)) {
	need(j.Ends[input])
	j.reads(r, input, need)
}

// Stateful implements Op.
func (*WindowJoin) Stateful() bool { return true }

// Signature implements Op.
func (j *WindowJoin) Signature(r *Relation) string { return j.signature(r) }

func (*WindowJoin) matchesNulls() bool      { return false }
func (j *WindowJoin) copies(input int) bool { return j.Kind.Keeps(input) }
func (*WindowJoin) dropsLate() bool         { return true }

func (j *WindowJoin) dropsNulls(input int) bool { return j.dropsUnmatched(input) }

// windowJoin returns the join as a window join; nil if its condition doesn't equate the windows of
// both sides.
func (b *joinBinding) windowJoin() (*Relation, error) {
	start, end := -1, -1 // the pairs of keys with these roles
	for i := range b.on.Left {
		switch role := b.left.Cols[b.on.Left[i]].Role; {
		case role != b.right.Cols[b.on.Right[i]].Role:
		case role == WindowStart && start < 0:
			start = i
		case role == WindowEnd && end < 0:
			end = i
		}
	}
	if start < 0 || end < 0 {
		return nil, nil
	}
	l, r := b.left.Cols[b.on.Left[end]].Window, b.right.Cols[b.on.Right[end]].Window
	if b.left.Cols[b.on.Left[start]].Window != l || b.right.Cols[b.on.Right[start]].Window != r {
		return nil, nil
	}
	for _, w := range []*Window{l, r} {
		if err := checkByClock(b.where, w, "a join of"); err != nil {
			return nil, err
		}
	}
	if !l.same(r) {
		return nil, sql.Errorf(b.where, "the windows of a join differ: %s and %s", l, r).WithHint("use the same window function on both sides; Flink joins such rows as if they had no windows, and keeps all of them")
	}
	if b.left.Updating || b.right.Updating {
		return nil, sql.Errorf(b.where, "a window join of updating rows is not supported").WithHint("group both sides by the window first; Flink does not support this either")
	}
	j := &WindowJoin{JoinOn: b.on, Window: l, Ends: [2]int{b.on.Left[end], b.on.Right[end]}}
	plain := [2][]int{{}, {}} // keys other than the window's
	var keys [2][]int         // keys other than the window's end, which is the state's window
	for i := range b.on.Left {
		lc, rc := b.on.Left[i], b.on.Right[i]
		if i != end {
			keys[0], keys[1] = append(keys[0], lc), append(keys[1], rc)
		}
		if b.left.Cols[lc].Window != l || b.right.Cols[rc].Window != r {
			plain[0], plain[1] = append(plain[0], lc), append(plain[1], rc)
		}
	}
	j.Left, j.Right, j.Cond = keys[0], keys[1], conjunction(b.rest)
	b.place(plain[0], plain[1])
	b.planner.differLate(b.where, "that arrives after its window was joined")
	if l.Kind == Session {
		b.planner.differ(b.where, "joined-sessions", "windows that start and end at the same times are joined; Flink 2.2 also joins those that only end at the same time")
	}
	return b.relation(j), nil
}

// same reports whether two window functions assign equal windows to equal times.
func (w *Window) same(o *Window) bool {
	zone := func(w *Window) string {
		if w.Zone == nil {
			return ""
		}
		return w.Zone.String()
	}
	return w.Kind == o.Kind && w.Size == o.Size && w.Slide == o.Slide && w.Offset == o.Offset && w.Gap == o.Gap && zone(w) == zone(o)
}
