package plan

import "fmt"

// Limit passes a number of rows, in the order of their arrival. All rows go to one task.
type Limit struct {
	opDefaults
	Skip, Rows int64
}

// Name implements Op.
func (*Limit) Name() string { return "Limit" }

// Describe implements Op.
func (l *Limit) Describe(*Relation) string { return describeLimit(l.Skip, l.Rows) }

func describeLimit(skip, rows int64) string {
	if skip > 0 {
		return fmt.Sprintf("Limit %d after %d", rows, skip)
	}
	return fmt.Sprintf("Limit %d", rows)
}

// Reads implements Op.
func (*Limit) Reads(r *Relation, _ int, need func(int)) { needPassed(r, len(r.Cols), need) }

// Stateful implements Op.
func (*Limit) Stateful() bool { return true }

// Signature implements Op.
func (*Limit) Signature(r *Relation) string { return r.Describe() }

// limit returns some of a relation's rows, which are not updated.
func (p *planner) limit(in *Relation, limit *rowLimit) *Relation {
	in = p.keyBy(in, []int{})
	r := p.relation(&Limit{Skip: limit.first - 1, Rows: limit.last - limit.first + 1}, in.Cols, in)
	r.Keyed, r.Hash = in.Keyed, in.Hash
	return r
}
