package plan

import (
	"slices"

	"weir.example/weir/internal/expr"
)

// rewrite makes the same rows with less work.
func (p *planner) rewrite() {
	if p.plain {
		p.leavePlain()
		return
	}
	for i, s := range p.Sinks {
		p.Sinks[i] = p.pushFilters(s, make(map[*Relation]*Relation))
	}
	p.countUsers()
	p.visit(p.deferWindows)
	p.markNeeded()
}

// leavePlain does what a program cannot run without.
func (p *planner) leavePlain() {
	p.countUsers()
	p.visit(func(r *Relation) {
		if a, ok := r.Op.(*Aggregate); ok && a.Window != nil && a.Window.Kind == Session {
			p.deferWindows(r)
		}
	})
	p.visit(func(r *Relation) {
		r.Needed = slices.Repeat([]bool{true}, len(r.Cols))
	})
}

// countUsers counts for each relation what reads it, after views that nobody uses are out of sight.
func (p *planner) countUsers() {
	p.visit(func(r *Relation) { r.users = 0 })
	p.visit(func(r *Relation) {
		for _, in := range r.Inputs {
			in.users++
		}
	})
}

// pushFilters moves filters below projections and into scans, where their input has no other user.
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
		switch op := in.Op.(type) {
		case *Scan:
			op.Filter = conjunction(append(conjunctsOf(op.Filter), f.Cond))
			result = in
		case *Project:
			below := p.filter(in.Inputs[0], expr.Fold(substitute(f.Cond, op.Exprs)))
			in.Inputs[0] = p.pushFilters(below, done)
			result = in
		case *Window:
			if !readsWindow(f.Cond, in) {
				below := p.filter(in.Inputs[0], f.Cond)
				in.Inputs[0] = p.pushFilters(below, done)
				result = in
			}
		}
	}
	done[r] = result
	return result
}

// readsWindow reports whether an expression over a relation looks at the window of its rows.
func readsWindow(n expr.Node, r *Relation) bool {
	for c := range expr.Columns(n) {
		if r.Cols[c].Window != nil {
			return true
		}
	}
	return false
}

func conjunctsOf(n expr.Node) []expr.Node {
	if n == nil {
		return nil
	}
	return []expr.Node{n}
}

// substitute puts the expressions of a projection in the place of its columns.
func substitute(n expr.Node, exprs []expr.Node) expr.Node {
	return expr.Replace(n, func(n expr.Node) expr.Node {
		if c, ok := n.(*expr.Col); ok {
			return exprs[c.Index]
		}
		return n
	})
}

// deferWindows leaves it to an aggregate to put the windows of its rows together from slices, so
// that a row is counted once and not once for each window. That is so when nothing in between looks
// at the windows.
func (p *planner) deferWindows(r *Relation) {
	a, ok := r.Op.(*Aggregate)
	if !ok || a.Window == nil || a.Window.Kind == Tumble {
		return
	}
	if a.Window.Kind != Session && slices.ContainsFunc(a.Aggs, func(g Agg) bool {
		return g.Distinct || g.Name == "FIRST_VALUE" || g.Name == "LAST_VALUE" // of two slices it is not known what came first
	}) {
		return
	}
	windowed := func(in *Relation, c int) bool { return in.Cols[c].Window == a.Window.Window }
	in := r.Inputs[0]
	for _, g := range a.Aggs {
		if g.Arg >= 0 && windowed(in, g.Arg) || g.Filter >= 0 && windowed(in, g.Filter) {
			return
		}
	}
	for ; ; in = in.Inputs[0] {
		if in.users > 1 {
			return
		}
		switch op := in.Op.(type) {
		case *Window:
			op.Deferred = op == a.Window.Window
			a.Window.Sliced = op.Deferred
			return
		case *Exchange:
		case *Filter:
			if readsWindow(op.Cond, in) {
				return
			}
		case *Project:
			for _, e := range op.Exprs {
				if _, plain := e.(*expr.Col); plain {
					continue
				}
				for c := range expr.Columns(e) {
					if windowed(in.Inputs[0], c) {
						return
					}
				}
			}
		default:
			return
		}
	}
}

// markNeeded finds the columns that somebody reads.
func (p *planner) markNeeded() {
	var order []*Relation
	p.visit(func(r *Relation) {
		r.Needed = make([]bool, len(r.Cols))
		order = append(order, r)
	})
	for _, r := range slices.Backward(order) {
		if scan, ok := r.Op.(*Scan); ok {
			scan.markNeeded(r.Needed)
			continue
		}
		for i, in := range r.Inputs {
			columnsOf(r, i, func(c int) { in.Needed[c] = true })
		}
	}
}

// markNeeded adds the columns that the scan itself looks at: for its filter, watermark and computed
// columns.
func (s *Scan) markNeeded(needed []bool) {
	mark := func(n expr.Node) {
		if n != nil {
			for c := range expr.Columns(n) {
				needed[c] = true
			}
		}
	}
	mark(s.Filter)
	mark(s.Table.Watermark)
	if s.Table.Watermark != nil {
		needed[s.Table.Rowtime] = true
	}
	if s.Table.Upsert {
		for _, c := range s.Table.PrimaryKey {
			needed[c] = true
		}
	}
	for i, c := range s.Table.Columns {
		if needed[i] {
			mark(c.Computed)
		}
	}
}
