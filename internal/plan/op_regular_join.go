package plan

import (
	"fmt"
	"slices"
)

// RegularJoin joins all rows of both inputs. It keeps them in its state, so that each row meets
// those that arrive later.
type RegularJoin struct {
	opDefaults
	JoinOn
	Broadcast bool // every task has all rows of the right input
}

// Name implements Op.
func (*RegularJoin) Name() string { return "RegularJoin" }

// Describe implements Op.
func (j *RegularJoin) Describe(r *Relation) string {
	return fmt.Sprintf("%s join on %s", j.word(), j.describe(r))
}

// Reads implements Op.
func (j *RegularJoin) Reads(r *Relation, input int, need func(int)) { j.reads(r, input, need) }

// Stateful implements Op.
func (*RegularJoin) Stateful() bool { return true }

// Signature implements Op.
func (j *RegularJoin) Signature(r *Relation) string {
	if j.Broadcast {
		return j.signature(r) + "; in every task"
	}
	return j.signature(r)
}

func (*RegularJoin) matchesNulls() bool { return false }

func (j *RegularJoin) dropsNulls(input int) bool { return j.dropsUnmatched(input) }

// copies holds for inner joins as well: a row that the join has emitted and that comes back may
// match the same rows again.
func (*RegularJoin) copies(int) bool { return true }

// regularJoin returns the join as one that keeps all rows.
func (b *joinBinding) regularJoin() *Relation {
	j := &RegularJoin{JoinOn: b.on}
	j.Cond = conjunction(b.rest)
	if j.Broadcast = b.broadcasts(); j.Broadcast {
		b.right = b.planner.broadcast(b.right)
	} else {
		b.place(b.on.Left, b.on.Right)
	}
	r := b.relation(j)
	r.hinted = b.ttl
	if j.Broadcast && r.Hash != exchanged { // the join has no keys by which it could check the topic's partitions
		r.Keyed, r.Hash = nil, ""
	}
	for i := range r.Cols { // rows come in any order of their times
		r.Cols[i].Rowtime, r.Cols[i].Window, r.Cols[i].Role = false, nil, NoRole
	}
	r.Updating = b.left.Updating || b.right.Updating || b.on.Kind != InnerJoin && b.on.Kind != SemiJoin
	r.Key = b.key()
	r.Multiset, r.Scattered = true, true
	return r
}

// broadcasts reports whether the right side is a single row that is sent to all tasks of the left
// side: otherwise, without equal columns, all rows of both would go to one task. The left side must
// not read several topics, whose numbers of partitions may differ.
func (b *joinBinding) broadcasts() bool {
	if len(b.on.Left) > 0 || b.on.Kind.Keeps(1) || !singleRow(b.right) || b.left.Keyed != nil && len(b.left.Keyed) == 0 {
		return false
	}
	topics := make(map[string]bool)
	b.left.descend(func(r *Relation) bool {
		if scan, ok := r.Op.(*Scan); ok {
			topics[scan.Table.Kafka.Topic] = true
		}
		_, exchange := r.Op.(*Exchange)
		return !exchange
	})
	return len(topics) <= 1
}

// key returns a unique key of the join's rows; nil if none is known. A side whose key is among its
// equal columns has at most one match for a row of the other side.
func (b *joinBinding) key() []int {
	if b.on.Kind.LeftOnly() {
		return b.left.Key
	}
	unique := func(in *Relation, columns []int) bool { return in.Key != nil && subset(in.Key, columns) }
	right := after(b.right.Key, len(b.left.Cols))
	switch {
	case b.left.Key != nil && unique(b.right, b.on.Right) && !b.on.Kind.Keeps(1):
		return b.left.Key
	case b.right.Key != nil && unique(b.left, b.on.Left) && !b.on.Kind.Keeps(0):
		return right
	case b.left.Key == nil || b.right.Key == nil:
		return nil
	}
	return slices.Concat(b.left.Key, right)
}
