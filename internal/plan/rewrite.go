package plan

import (
	"slices"

	"weir.example/weir/internal/expr"
)

// rewrite changes the plan to produce the same rows with less work.
func (p *planner) rewrite() {
	if p.plain {
		p.leavePlain()
		return
	}
	for i, s := range p.program.Sinks {
		p.program.Sinks[i] = p.pushFilters(s, make(map[*Relation]*Relation))
	}
	p.countUsers()
	p.program.visit(p.deferWindows)
	p.markNeeded()
}

// leavePlain applies only what a program needs in order to run.
func (p *planner) leavePlain() {
	p.countUsers()
	p.program.visit(func(r *Relation) {
		if a, ok := r.Op.(*Aggregate); ok && a.Window != nil && a.Window.Kind == Session {
			p.deferWindows(r)
		}
	})
	p.program.visit(func(r *Relation) {
		r.Needed = slices.Repeat([]bool{true}, len(r.Cols))
	})
}

// countUsers counts the readers of each relation, except for unused views.
func (p *planner) countUsers() {
	p.program.visit(func(r *Relation) { r.users = 0 })
	p.program.visit(func(r *Relation) {
		for _, in := range r.Inputs {
			in.users++
		}
	})
}

// pushFilters moves filters below projections and into scans if their input has no other reader.
func (p *planner) pushFilters(r *Relation, done map[*Relation]*Relation) *Relation {
	if to := done[r]; to != nil {
		return to
	}
	p.countUsers()
	for i, in := range r.Inputs {
		r.Inputs[i] = p.pushFilters(in, done)
	}
	result := r
	if f, ok := r.Op.(*Filter); ok && !r.Updating && r.Inputs[0].users <= 1 {
		in := r.Inputs[0]
		if below, ok := in.Op.pushFilter(in, f.Cond); ok {
			if below != nil {
				in.Inputs[0] = p.pushFilters(p.filter(in.Inputs[0], below), done)
			}
			result = in
		}
	}
	done[r] = result
	return result
}

// readsWindow reports whether an expression over a relation reads a window column.
func readsWindow(n expr.Node, r *Relation) bool {
	for c := range expr.Columns(n) {
		if r.Cols[c].Window != nil {
			return true
		}
	}
	return false
}

// substitute replaces references to the columns of a projection with its expressions.
func substitute(n expr.Node, exprs []expr.Node) expr.Node {
	return replaceColumns(n, func(c *expr.Col) expr.Node { return exprs[c.Index] })
}

// deferWindows lets an aggregate assemble windows from slices, so that each row is aggregated once
// instead of once per window. It applies if nothing in between reads the windows.
func (p *planner) deferWindows(r *Relation) {
	a, ok := r.Op.(*Aggregate)
	if !ok || a.Window == nil || a.Window.Kind == Tumble {
		return
	}
	if a.Window.Kind != Session && slices.ContainsFunc(a.Aggs, func(g Agg) bool {
		return g.Distinct || g.Name == "JSON_OBJECTAGG" || g.Name == "FIRST_VALUE" || g.Name == "LAST_VALUE" // the order of rows in different slices is unknown
	}) {
		return
	}
	windowed := func(in *Relation, c int) bool { return in.Cols[c].Window == a.Window.Window }
	in := r.Inputs[0]
	for _, g := range a.Aggs {
		if slices.ContainsFunc(g.Others, func(c int) bool { return windowed(in, c) }) {
			return
		}
		if g.Arg >= 0 && windowed(in, g.Arg) || g.Filter >= 0 && windowed(in, g.Filter) {
			return
		}
	}
	for ; ; in = in.Inputs[0] {
		if in.users > 1 {
			return
		}
		if w, ok := in.Op.(*Window); ok {
			w.Deferred = w == a.Window.Window
			a.Window.Sliced = w.Deferred
			return
		}
		if !in.Op.forwardsWindow(in, a.Window.Window) {
			return
		}
	}
}

// markNeeded marks the columns that are read.
func (p *planner) markNeeded() {
	var order []*Relation
	p.program.visit(func(r *Relation) {
		r.Needed = make([]bool, len(r.Cols))
		order = append(order, r)
	})
	for _, r := range slices.Backward(order) {
		if len(r.Inputs) == 0 {
			r.Op.Reads(r, 0, func(c int) { r.Needed[c] = true })
		}
		for i, in := range r.Inputs {
			r.Op.Reads(r, i, func(c int) { in.Needed[c] = true })
		}
	}
	markParts(order)
}
