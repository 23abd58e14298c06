package plan

import (
	"fmt"

	"slices"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// Aggregate groups rows. Its columns are the keys followed by the aggregates.
type Aggregate struct {
	opDefaults
	Keys []int // columns of the input
	Aggs []Agg
	// Window is set if Keys contains the start and end of a window: a group is then final once the
	// watermark passes its end. Otherwise each change of a group replaces its row.
	Window *GroupWindow
}

// GroupWindow is the window among the keys of an aggregate. Start, End and Time are positions in
// Keys; Time is -1 if it is not a key.
type GroupWindow struct {
	*Window
	Start, End, Time int
	// Sliced means that this aggregate assembles the windows, which are Deferred.
	Sliced bool
}

// Name implements Op.
func (*Aggregate) Name() string { return "Aggregate" }

// Describe implements Op.
func (a *Aggregate) Describe(r *Relation) string {
	text := "Aggregate"
	if len(a.Aggs) == 0 {
		text = "Distinct"
	}
	if a.Window != nil {
		text += " in windows of " + a.Window.String()
	}
	if len(a.Keys) > 0 {
		text += " by " + listNames(r.Inputs[0].Cols, a.Keys)
	}
	if len(a.Aggs) > 0 {
		text += ": " + listAggs(r.Inputs[0], a.Aggs)
	}
	return text
}

// Reads implements Op.
func (a *Aggregate) Reads(_ *Relation, _ int, need func(int)) {
	needColumns(a.Keys, need)
	needAggs(a.Aggs, need)
}

// Stateful implements Op.
func (*Aggregate) Stateful() bool { return true }

// Signature implements Op.
func (a *Aggregate) Signature(r *Relation) string {
	in := r.Inputs[0]
	text := r.Describe() + "; keys " + keySignature(in, a.Keys)
	if a.Window != nil && a.Window.Sliced {
		text += "; by slices"
	}
	for _, f := range a.Aggs {
		if f.Arg >= 0 {
			text += "; " + f.Name + " of " + in.Cols[f.Arg].Type.String()
		}
		if f.KeepsValues() && !f.Collects() {
			text += " by value"
		}
	}
	for i, set := range a.DistinctSets(r) {
		if set.First != i {
			text += fmt.Sprintf("; values of %d with %d", i, set.First)
		}
	}
	return text
}

// DistinctSet says with which values a DISTINCT function remembers its own: those of the first one
// with the same argument, where each value has a bit for each function.
type DistinctSet struct {
	First int // function
	Bit   int
}

// DistinctSets returns the set of each function; of one without DISTINCT, it is its own. Functions
// whose values are counted, because rows may be taken back, share none, nor do those of sessions.
func (a *Aggregate) DistinctSets(r *Relation) []DistinctSet {
	const mostBits = 64
	sets := make([]DistinctSet, len(a.Aggs))
	first, size := make(map[int]int), make(map[int]int) // of each argument
	alone := r.Inputs[0].Updating || a.Window != nil && a.Window.Kind == Session
	for i, f := range a.Aggs {
		sets[i].First = i
		if !f.Distinct || alone {
			continue
		}
		if n := size[f.Arg]; n > 0 && n < mostBits {
			sets[i] = DistinctSet{first[f.Arg], n}
		} else {
			first[f.Arg], size[f.Arg] = i, 0
		}
		size[f.Arg]++
	}
	return sets
}

func (a *Aggregate) brief(r *Relation) string {
	if a.Window == nil {
		return "running"
	}
	return a.Window.brief(r)
}

// attached reports whether the input's windows are complete because another operator has already
// emitted them at their end.
func (a *Aggregate) attached(in *Relation) bool {
	for {
		switch op := in.Op.(type) {
		case *Window:
			return op != a.Window.Window
		case *Aggregate, *Rank:
			return true
		}
		in = in.Inputs[0]
	}
}

// aggregate groups a relation by columns.
func (p *planner) aggregate(where sql.Node, in *Relation, keys []int, aggs []Agg) (*Relation, error) {
	a := &Aggregate{Keys: slices.Clone(keys), Aggs: aggs}
	for _, k := range keys {
		if err := checkKey(where, "GROUP BY or DISTINCT of", in.Cols[k].Type); err != nil {
			return nil, err
		}
	}
	if in.Updating {
		if err := checkRetraction(where, a); err != nil {
			return nil, err
		}
	}
	var plain []int // keys other than the window's
	if a.Window = groupWindowOf(in, keys); a.Window != nil && in.Updating {
		return nil, sql.Errorf(where, "grouping updating rows by a window is not supported").WithHint("group by the window first")
	} else if a.Window != nil {
		if !a.Window.unassigned {
			if err := checkByClock(where, a.Window.Window, "grouping the groups of"); err != nil {
				return nil, err
			}
		}
		if err := p.checkEmit(where, "remove it: Flink 2.2 refuses it for windows of TABLE(TUMBLE(…)), too; "); err != nil {
			return nil, err
		}
		for i, k := range keys {
			if i != a.Window.Start && i != a.Window.End && i != a.Window.Time {
				plain = append(plain, k)
			}
		}
		if err := checkSession(where, in, a.Window.Window, plain); err != nil {
			return nil, err
		}
		if a.Window.Kind == Session && origin(in) != Op(a.Window.Window) {
			p.differ(where, "sessions-again", "Flink 2.2 treats grouping by SESSION windows as grouping without a window, which updates its rows")
		}
	} else {
		plain = keys
	}
	if in.Updating {
		a.Aggs = slices.Clone(aggs)
		for i := range a.Aggs {
			a.Aggs[i].Retracts = true
		}
	}
	if err := checkCollecting(where, in, a); err != nil {
		return nil, err
	}
	in = p.keyBy(in, plain)
	if a.Window != nil && a.Window.Proctime {
		in = p.assignByClock(where, in, a)
		keys = a.Keys
	}
	cols := make([]Column, 0, len(keys)+len(aggs))
	place := make(map[int]int)
	for i, k := range keys {
		c := in.Cols[k]
		c.Proctime = c.Proctime && c.Role == WindowTime
		if a.Window == nil {
			c.Rowtime, c.Proctime, c.Window, c.Role = false, false, nil, NoRole
		}
		place[k] = i
		cols = append(cols, c)
	}
	if a.Window != nil {
		for i := range cols {
			cols[i].Rowtime = i == a.Window.Time && !a.Window.Proctime
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

// checkRetraction rejects aggregates that can't be computed over retractions.
func checkRetraction(where sql.Node, a *Aggregate) error {
	for _, g := range a.Aggs {
		if g.Name == "FIRST_VALUE" || g.Name == "LAST_VALUE" {
			return sql.Errorf(where, "%s over updating rows is not supported: they have no order", g.Name).
				WithHint("take the first or last row by a column with ROW_NUMBER() OVER (PARTITION BY … ORDER BY …), or use MIN or MAX")
		}
	}
	return nil
}

// groupWindowOf returns the window whose start and end are among the keys; nil without one.
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

// checkSession requires a session window to be grouped by its PARTITION BY columns.
func checkSession(where sql.Node, in *Relation, w *Window, plain []int) error {
	if w.Kind != Session || w.Keys == nil || origin(in) != Op(w) {
		return nil
	}
	for at := in; ; at = at.Inputs[0] { // map the keys to the input of the window
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
				return sql.Errorf(where, "a SESSION must be grouped by its PARTITION BY columns")
			}
			plain = slices.Clone(plain)
			plain[i] = c.Index
		}
	}
	a, b := slices.Sorted(slices.Values(plain)), slices.Sorted(slices.Values(w.Keys))
	if !slices.Equal(a, b) {
		return sql.Errorf(where, "a SESSION must be grouped by window_start, window_end and its PARTITION BY columns only")
	}
	return nil
}
