package plan

import "fmt"

// Exchange sends rows to the partition of their keys, or to all partitions, through a topic. It
// ends one stage and starts another.
type Exchange struct {
	opDefaults
	Keys      []int  // columns; empty sends all rows to one partition
	Broadcast bool   // send each row to every partition
	Topic     string // set when the plan is cut into stages
}

// Name implements Op.
func (*Exchange) Name() string { return "Exchange" }

// Describe implements Op.
func (e *Exchange) Describe(r *Relation) string {
	by := "(" + listNames(r.Inputs[0].Cols, e.Keys) + ")"
	switch {
	case e.Broadcast:
		by = "nothing: each row to all partitions"
	case len(e.Keys) == 0:
		by = "nothing: all rows to one partition"
	}
	return fmt.Sprintf("Exchange by %s through topic %s", by, e.Topic)
}

// Reads implements Op.
func (e *Exchange) Reads(r *Relation, _ int, need func(int)) {
	needColumns(e.Keys, need)
	needPassed(r, len(r.Cols), need)
}

// signature identifies how the exchange distributes rows.
func (e *Exchange) signature(r *Relation) string {
	if e.Broadcast {
		return "all partitions"
	}
	return keySignature(r.Inputs[0], e.Keys)
}

func (e *Exchange) topic() string                        { return e.Topic }
func (*Exchange) forwardsWindow(*Relation, *Window) bool { return true }
func (*Exchange) copies(int) bool                        { return true }

// keyBy returns the relation with rows that agree in keys in the same task. It adds an exchange
// unless the existing partitioning already guarantees that.
func (p *planner) keyBy(in *Relation, keys []int) *Relation {
	if in.Keyed != nil && subset(in.Keyed, keys) {
		return in
	}
	return p.exchange(in, keys)
}

func (p *planner) exchange(in *Relation, keys []int) *Relation {
	r := p.relation(&Exchange{Keys: keys}, in.Cols, in)
	r.Keyed, r.Hash, r.Key, r.Multiset, r.Scattered = append([]int{}, keys...), exchanged, in.Key, in.Multiset, in.Scattered
	return r
}

// broadcast returns the relation with all of its rows in every task.
func (p *planner) broadcast(in *Relation) *Relation {
	r := p.relation(&Exchange{Broadcast: true}, in.Cols, in)
	r.Key, r.Multiset, r.Scattered = in.Key, in.Multiset, in.Scattered
	return r
}
