package plan

import "slices"

// stateTTL is the setting that drops state that has not changed for a time.
const stateTTL = "table.exec.state.ttl"

// expire sets how long each relation keeps its state. Like in Flink, the state of windows, interval
// joins and versioned tables is not affected: the watermark frees it.
func (p *planner) expire() {
	ttl := p.program.Settings.StateTTL
	if ttl == 0 {
		return
	}
	timed, untimed := false, false
	p.program.visit(func(r *Relation) {
		if !r.Expires() {
			return
		}
		r.TTL = ttl
		if r.EventTime() {
			timed = true
		} else {
			untimed = true
		}
	})
	set := p.sets[stateTTL]
	switch {
	case timed && untimed:
		p.differ(set, "state-ttl", "state that has not changed for %s is dropped: by the watermark where rows of tables that have one are read directly, otherwise by the time of the transaction; Flink uses the clock of its machine", ttl)
	case timed:
		p.differ(set, "state-ttl", "state is dropped when the watermark is %s after its last change; Flink uses the clock of its machine", ttl)
	case untimed:
		p.differ(set, "state-ttl", "state is dropped when it has not changed for %s, by the time of each transaction; Flink uses the clock of its machine", ttl)
	}
}

// Expires reports whether the relation's state is one that table.exec.state.ttl applies to: it is
// not freed by the watermark.
func (r *Relation) Expires() bool {
	switch op := r.Op.(type) {
	case *RegularJoin, *Normalize, *Materialize:
		return true
	case *Aggregate:
		return op.Window == nil
	case *Rank:
		return op.End < 0
	}
	return false
}

// EventTime reports whether the relation's state expires by the watermark: each row that it reads
// has one of its own. Rows that other operators compute don't: they come at the end of a
// transaction or of a window, and a watermark may have moved any distance by then.
func (r *Relation) EventTime() bool {
	return len(r.Inputs) > 0 && !slices.ContainsFunc(r.Inputs, func(in *Relation) bool { return !in.Dated() })
}

// Dated reports whether the relation's rows are those of tables with a watermark.
func (r *Relation) Dated() bool {
	dated := true
	r.descend(func(r *Relation) bool {
		switch op := r.Op.(type) {
		case *Scan:
			dated = dated && op.Table.Watermark != nil
		case *Filter, *Project, *Unnest, *Union, *Exchange, *Window, *Normalize:
		default:
			dated = false
		}
		return dated
	})
	return dated
}
