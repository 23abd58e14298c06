package engine

import (
	"github.com/twmb/franz-go/pkg/kgo"
)

// owes reports whether windows are due that one transaction could not hold, and tells the pipeline,
// which does not end before they are out.
func (s *session) owes() bool {
	owing := false
	for _, t := range s.tasks {
		owing = owing || t.op.Pending()
	}
	s.tellOwing(owing)
	return owing
}

func (s *session) tellOwing(owing bool) {
	switch {
	case owing && !s.owing:
		s.p.owing.Add(1)
	case !owing && s.owing:
		s.p.owing.Add(-1)
	}
	s.owing = owing
}

// emitDue emits windows that are due in a transaction of their own, as many as it holds. It is
// called between polls, so that a rebalance does not wait until all are out.
func (s *session) emitDue() error {
	if !s.owes() {
		return nil
	}
	if err := s.end(kgo.TryCommit); err != nil { // what it holds is enough
		return err
	}
	if s.anyFresh() {
		return nil // these may not be this worker's windows any more
	}
	for _, t := range s.tasks {
		if !t.op.Pending() {
			continue
		}
		if err := s.begin(); err != nil {
			return err
		}
		t.touched = true
		if err := t.op.Resume(&s.tx.out); err != nil {
			return &fatalError{err}
		}
		s.tx.send(t)
	}
	return s.end(kgo.TryCommit)
}

// anyFresh reports whether partitions have come or gone since the last poll was processed.
func (s *session) anyFresh() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.fresh) > 0
}
