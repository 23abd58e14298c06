package plan

import (
	"strings"

	"weir.example/weir/internal/sql"
)

// TemporalSort emits rows in the order of their time, once the watermark has passed it. All rows go
// to one task.
type TemporalSort struct {
	opDefaults
	Order []SortKey // the first key is the time, ascending
}

// Name implements Op.
func (*TemporalSort) Name() string { return "TemporalSort" }

// Describe implements Op.
func (s *TemporalSort) Describe(r *Relation) string {
	return "Sort by " + describeOrder(r.Inputs[0], s.Order)
}

// describeOrder returns an order as text.
func describeOrder(in *Relation, order []SortKey) string {
	all := make([]string, len(order))
	for i, key := range order {
		all[i] = in.Cols[key.Column].Name
		if key.Desc {
			all[i] += " DESC"
		}
	}
	return strings.Join(all, ", ")
}

// Reads implements Op.
func (s *TemporalSort) Reads(r *Relation, _ int, need func(int)) {
	for _, key := range s.Order {
		need(key.Column)
	}
	needPassed(r, len(r.Cols), need)
}

// Stateful implements Op.
func (*TemporalSort) Stateful() bool { return true }

// Signature implements Op.
func (s *TemporalSort) Signature(r *Relation) string {
	text := r.Describe() + "; rows of " + rowSignature(r.Inputs[0])
	for _, key := range s.Order {
		if key.Desc != key.NullsLast {
			text += "; NULL of " + r.Inputs[0].Cols[key.Column].Name + " at the other end"
		}
	}
	return text
}

func (*TemporalSort) copies(int) bool { return true }
func (*TemporalSort) dropsLate() bool { return true }

// temporalSort sorts the rows of a stream, which must not end: by time, as it passes.
func (p *planner) temporalSort(q *sql.Query, r *Relation, keys []SortKey) (*Relation, error) {
	where := q.OrderBy[0].Expr
	if c := r.Cols[keys[0].Column]; !c.Rowtime || c.Cast || keys[0].Desc {
		return nil, sql.Errorf(where, "ORDER BY of a stream must begin with a column that has a watermark, ascending").
			WithHint("a stream never ends, so it can only be sorted as its time passes; write ORDER BY … LIMIT n for the first rows; Flink does not support this either")
	}
	if r.Updating {
		return nil, sql.Errorf(where, "ORDER BY of updating rows is not supported").WithHint("write ORDER BY … LIMIT n for the first rows; Flink does not support this either")
	}
	p.differLate(where, "that arrives after its time has passed")
	in := p.keyBy(r, []int{})
	sorted := p.relation(&TemporalSort{Order: keys}, in.Cols, in)
	sorted.Keyed, sorted.Hash = in.Keyed, in.Hash
	return sorted, nil
}
