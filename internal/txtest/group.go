package txtest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Plan maps each client of a group to its partitions of a topic.
type Plan map[string][]int32

// steering controls which partitions the members of groups get: it replaces the group leader's
// assignments in transit. Members are cooperative (KIP-429): a partition goes to its new member in
// a second rebalance, after its old member has revoked it. Broker.mu guards it.
type steering struct {
	topic  string
	plan   Plan // nil: the members decide
	owned  map[string][]int32
	rejoin map[string]bool // members whose next heartbeat response announces a rebalance
}

func newSteering() steering {
	return steering{owned: make(map[string][]int32), rejoin: make(map[string]bool)}
}

// Assign assigns the partitions of a topic to the clients of a group, by client id, and waits until
// they have them.
func (b *Broker) Assign(group, topic string, plan Plan) {
	b.t.Helper()
	b.StartAssign(group, topic, plan)
	b.AwaitGroup(group, func(g *kfake.GroupInfo) bool { return g.State == "Stable" && has(g, topic, plan) })
}

// StartAssign is Assign without the wait, for members that can't respond yet.
func (b *Broker) StartAssign(group, topic string, plan Plan) {
	info := b.GroupInfo(group)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.topic, b.plan = topic, plan
	clear(b.rejoin)
	if info == nil {
		return
	}
	for _, m := range info.Members {
		b.rejoin[m.MemberID] = true
	}
}

// Plan sets the assignment of later rebalances, without starting one.
func (b *Broker) Plan(topic string, plan Plan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.topic, b.plan = topic, plan
}

// has reports whether the group's assignment is that of a plan.
func has(g *kfake.GroupInfo, topic string, plan Plan) bool {
	got := make(Plan)
	for _, m := range g.Members {
		if p := m.Assignment[topic]; len(p) > 0 {
			got[clientOf(m.MemberID)] = slices.Sorted(slices.Values(p))
		}
	}
	want := maps.Clone(plan)
	maps.DeleteFunc(want, func(_ string, p []int32) bool { return len(p) == 0 })
	return maps.EqualFunc(got, want, slices.Equal)
}

// AwaitGroup waits until a group exists and satisfies a condition.
func (b *Broker) AwaitGroup(group string, is func(*kfake.GroupInfo) bool) *kfake.GroupInfo {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), Patience)
	defer cancel()
	g, err := b.WaitGroupInfo(ctx, group, func(g *kfake.GroupInfo) bool { return g != nil && is(g) })
	if err != nil {
		b.t.Fatalf("group %s is not as the script wants it: %v", group, describe(g))
	}
	return g
}

func describe(g *kfake.GroupInfo) string {
	if g == nil {
		return "there is none"
	}
	text := fmt.Sprintf("it is %s in generation %d", g.State, g.Epoch)
	for _, m := range g.Members {
		text += fmt.Sprintf("; %s has %v", m.MemberID, m.Assignment)
	}
	return text + fmt.Sprintf("; committed: %v", g.Commits)
}

// steer applies the plan to requests of group members.
func (b *Broker) steer(req kmsg.Request) kmsg.Response {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch r := req.(type) {
	case *kmsg.HeartbeatRequest:
		if b.rejoin[r.MemberID] {
			delete(b.rejoin, r.MemberID)
			return refusal(r, kerr.RebalanceInProgress)
		}
	case *kmsg.JoinGroupRequest:
		delete(b.rejoin, r.MemberID)
		b.owned[r.MemberID] = nil
		for _, p := range r.Protocols {
			meta := kmsg.NewConsumerMemberMetadata()
			if meta.ReadFrom(p.Metadata) != nil {
				continue
			}
			for _, t := range meta.OwnedPartitions {
				if t.Topic == b.topic {
					b.owned[r.MemberID] = t.Partitions
				}
			}
		}
	case *kmsg.SyncGroupRequest:
		if b.plan == nil {
			break
		}
		for i := range r.GroupAssignment {
			b.assign(&r.GroupAssignment[i], r.GroupAssignment)
		}
	}
	return nil
}

// assign gives a member the partitions of the plan, except those that other members still have.
func (b *Broker) assign(to *kmsg.SyncGroupRequestGroupAssignment, all []kmsg.SyncGroupRequestGroupAssignment) {
	given := kmsg.NewConsumerMemberAssignment()
	topic := kmsg.NewConsumerMemberAssignmentTopic()
	topic.Topic = b.topic
	for _, p := range b.plan[clientOf(to.MemberID)] {
		if !slices.ContainsFunc(all, func(o kmsg.SyncGroupRequestGroupAssignment) bool {
			return o.MemberID != to.MemberID && slices.Contains(b.owned[o.MemberID], p)
		}) {
			topic.Partitions = append(topic.Partitions, p)
		}
	}
	if len(topic.Partitions) > 0 {
		given.Topics = append(given.Topics, topic)
	}
	to.MemberAssignment = given.AppendTo(nil)
}

// Free returns control of the assignments to the group leaders.
func (b *Broker) Free() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plan = nil
}
