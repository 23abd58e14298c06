package engine

import (
	"github.com/twmb/franz-go/pkg/kgo"
)

// anyDue reports whether windows are due that did not fit into one transaction, and notes it for
// the pipeline, which does not end before they are emitted.
func (s *session) anyDue() bool {
	due := false
	for _, t := range s.tasks {
		due = due || t.op.Pending()
	}
	s.setDue(due)
	return due
}

func (s *session) setDue(due bool) {
	switch {
	case due && !s.due:
		s.p.due.Add(1)
	case !due && s.due:
		s.p.due.Add(-1)
	}
	s.due = due
}

// emitDue emits windows that are due in a separate transaction, as many as fit. It is called
// between polls, so that a rebalance does not wait until all of them are emitted.
func (s *session) emitDue() error {
	if !s.anyDue() {
		return nil
	}
	if err := s.end(kgo.TryCommit); err != nil { // it is full
		return err
	}
	if s.assignmentChanged() {
		return nil // the windows may belong to another worker by now
	}
	for _, t := range s.tasks {
		if !t.op.Pending() {
			continue
		}
		if err := s.call(t, t.op.Resume); err != nil {
			return err
		}
	}
	return s.end(kgo.TryCommit)
}

// closeWindows emits the windows over PROCTIME() that are over, also without a record. Tasks that
// have records emit them at the beginning of their transaction.
func (s *session) closeWindows() error {
	for _, t := range s.tasks {
		now := s.cfg.Now()
		if s.tx.open {
			now = s.tx.at
		}
		if t.op.Pending() || !t.op.WindowsDue(now) {
			continue
		}
		if err := s.call(t, t.op.Tick); err != nil {
			return err
		}
	}
	return nil
}
