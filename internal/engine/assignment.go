package engine

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// onAssigned notes partitions that the group has assigned to this member. Like onRevoked it runs on
// a goroutine of the client, or in a poll; process acts on the change.
func (s *session) onAssigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	if len(added) == 0 {
		s.cfg.Status.joined(s.w.instance) // other members have all partitions
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, partitions := range added {
		for _, p := range partitions {
			s.assigned[topicPartition{topic, p}] = &assignment{restored: make(chan struct{}), read: -1}
			for _, stage := range s.stages[topic] {
				s.changed[taskID{stage.Name, p}] = true
			}
		}
	}
}

// onRevoked notes partitions that the group has revoked, or that are lost.
func (s *session) onRevoked(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.interrupt != nil {
		s.interrupt(errRevoked)
	}
	for topic, partitions := range revoked {
		for _, p := range partitions {
			delete(s.assigned, topicPartition{topic, p})
			s.p.attempts.revoked(topicPartition{topic, p})
			s.p.setHealed(topicPartition{topic, p}, false)
			for _, stage := range s.stages[topic] {
				s.changed[taskID{stage.Name, p}] = true // closed, unless it is assigned again
			}
		}
	}
}

// takeChanges returns the tasks whose partitions were assigned or revoked since the last call, and
// whether the session has them now; and of those that it has, the partitions that the client does
// not read yet because their state is not restored. Both are of one moment: a partition that is
// revoked and assigned again afterwards must not be resumed for a task that is about to be closed.
// interrupt is called with errRevoked when partitions are revoked after that moment.
func (s *session) takeChanges(interrupt context.CancelCauseFunc) (changed map[taskID]bool, added map[topicPartition]*assignment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupt = interrupt
	changed, added = make(map[taskID]bool), make(map[topicPartition]*assignment)
	for id := range s.changed {
		changed[id] = false
	}
	for tp, a := range s.assigned {
		for _, stage := range s.stages[tp.topic] {
			id := taskID{stage.Name, tp.partition}
			if _, ok := changed[id]; !ok {
				continue
			}
			changed[id] = true
			select {
			case <-a.restored:
			default:
				added[tp] = a
			}
		}
	}
	clear(s.changed)
	return changed, added
}

// assignmentChanged reports whether partitions were assigned or revoked since the last restore.
func (s *session) assignmentChanged() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.changed) > 0
}
