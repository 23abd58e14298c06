package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/sql"
)

// stateTTL is the setting that drops state that has not changed for a time.
const stateTTL = "table.exec.state.ttl"

// parseTTL parses a TTL. 0 keeps state forever.
func parseTTL(text string) (time.Duration, error) {
	d, err := ParseDuration(text)
	if err != nil || d > 0 && d < time.Second {
		return 0, errors.New("write a duration of at least one second, such as 1 h, or 0 to keep state forever")
	}
	return d, nil
}

// expire sets how long each relation keeps its state: for the TTL of a STATE_TTL hint, or else that
// of the setting. Like in Flink, the state of windows and interval joins is not affected: the
// watermark frees it.
func (p *planner) expire() {
	var timed, untimed bool
	var kept []string
	p.program.visit(func(r *Relation) {
		if what := r.outlives(); what != "" && !slices.Contains(kept, what) {
			kept = append(kept, what)
		}
		if !r.Expires() {
			return
		}
		for i, hint := range r.hinted {
			r.TTL[i] = p.program.Settings.StateTTL
			if hint != nil {
				r.TTL[i] = *hint
			}
		}
		switch {
		case r.TTL == [2]time.Duration{}:
		case r.EventTime():
			timed = true
		default:
			untimed = true
		}
	})
	p.program.Expires = timed || untimed
	p.differTTL(timed, untimed, kept)
}

// differTTL records by which time state expires, and which state is kept.
func (p *planner) differTTL(timed, untimed bool, kept []string) {
	var parts []string
	switch {
	case timed && untimed:
		parts = append(parts, "state that has not changed for its TTL is dropped: by the watermark where rows of tables that have one are read directly, otherwise by the time of the transaction; Flink uses the clock of its machine")
	case timed:
		parts = append(parts, "state is dropped when the watermark is its TTL after its last change; Flink uses the clock of its machine")
	case untimed:
		parts = append(parts, "state is dropped when it has not changed for its TTL, by the time of each transaction; Flink uses the clock of its machine")
	}
	if len(kept) > 0 && p.program.Settings.StateTTL > 0 {
		parts = append(parts, fmt.Sprintf("the state of %s is kept; Flink drops it as well", strings.Join(kept, " and of ")))
	}
	var where sql.Node = p.sets[stateTTL]
	if p.program.Settings.StateTTL == 0 && p.ttlHint != nil {
		where = p.ttlHint
	}
	if len(parts) > 0 {
		p.differ(where, "state-ttl", "%s", strings.Join(parts, "; "))
	}
}

// outlives names state that is kept although it is of a kind that expires in Flink; "" if the
// relation has none.
func (r *Relation) outlives() string {
	switch r.Op.(type) {
	case *Over:
		return "OVER"
	case *TemporalJoin:
		return "FOR SYSTEM_TIME AS OF"
	case *Limit:
		return "LIMIT"
	}
	return ""
}

// Expires reports whether the relation's state is one that a TTL applies to: it is not freed by
// the watermark.
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
