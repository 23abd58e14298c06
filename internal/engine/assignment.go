package engine

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

func (s *session) onAssigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	if len(added) == 0 {
		s.cfg.Status.joined(s.w.instance) // others have all partitions
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, partitions := range added {
		if s.assigned[topic] == nil {
			s.assigned[topic] = make(map[int32]bool)
		}
		for _, p := range partitions {
			s.assigned[topic][p] = true
			s.covered[topicPartition{topic, p}] = &covered{restored: make(chan struct{}), read: -1}
			for _, stage := range s.stages[topic] {
				s.fresh[taskID{stage.Name, p}] = true
			}
		}
	}
}

func (s *session) onRevoked(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, partitions := range gone {
		for _, p := range partitions {
			delete(s.assigned[topic], p)
			delete(s.covered, topicPartition{topic, p})
			for _, stage := range s.stages[topic] {
				s.fresh[taskID{stage.Name, p}] = true // to be closed, or to come again
			}
		}
	}
}

// takeCome returns the partitions of tasks that the client may not read yet, since their state is
// not restored.
func (s *session) takeCome(fresh map[taskID]bool) map[topicPartition]*covered {
	s.mu.Lock()
	defer s.mu.Unlock()
	come := make(map[topicPartition]*covered)
	for tp, c := range s.covered {
		for _, stage := range s.stages[tp.topic] {
			if _, ok := fresh[taskID{stage.Name, tp.partition}]; !ok {
				continue
			}
			select {
			case <-c.restored:
			default:
				come[tp] = c
			}
		}
	}
	return come
}

// takeFresh returns the tasks whose partitions have come or gone, and whether they are here now.
func (s *session) takeFresh() map[taskID]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fresh) == 0 {
		return nil
	}
	here := make(map[taskID]bool)
	for id := range s.fresh {
		here[id] = false
		for topic, stages := range s.stages {
			for _, stage := range stages {
				here[id] = here[id] || stage.Name == id.stage && s.assigned[topic][id.partition]
			}
		}
	}
	clear(s.fresh)
	return here
}
