package spool

import (
	"fmt"
	"sync"
)

// ErrUncommitted is the outcome of an entry that is durable, and will be sent to Kafka, but is not
// known to be committed there. It is an ErrClosed: the spool tells nothing more about it.
var ErrUncommitted = fmt.Errorf("%w: it is on the disk, but not yet known to be in Kafka", ErrClosed)

// acks are the entries whose senders wait until they are committed in Kafka, in order.
type acks struct {
	calling sync.Mutex // held while done is called, so that the calls are in order; before Spool.mu
	waiting []waitingAck
	gaveUp  bool
}

// waitingAck is a durable entry that is not acknowledged yet.
type waitingAck struct {
	end     int64 // its items are before this number
	done    func(Receipt, error)
	receipt Receipt
}

// acknowledge calls done for an entry that is durable: now, or once all items up to now are
// committed. A repeat of an entry waits as that does.
func (s *Spool) acknowledge(done func(Receipt, error), r Receipt) {
	if !s.cfg.AckCommitted {
		done(r, nil)
		return
	}
	s.mu.Lock()
	s.acks.waiting = append(s.acks.waiting, waitingAck{s.end, done, r})
	s.mu.Unlock()
	s.release()
}

// release acknowledges the entries that are committed.
func (s *Spool) release() {
	s.acks.calling.Lock()
	defer s.acks.calling.Unlock()
	s.mu.Lock()
	n := 0
	for n < len(s.acks.waiting) && s.acks.waiting[n].end <= s.committed {
		n++
	}
	ready, rest, gaveUp := s.acks.waiting[:n], s.acks.waiting[n:], s.acks.gaveUp
	s.acks.waiting = rest
	if gaveUp {
		s.acks.waiting = nil
	}
	s.mu.Unlock()
	for _, a := range ready {
		a.done(a.receipt, nil)
	}
	if gaveUp {
		for _, a := range rest {
			a.done(Receipt{}, ErrUncommitted)
		}
	}
}

// GiveUp ends the waiting for Kafka: entries that are durable and not committed get ErrUncommitted,
// from now on at once. The spool keeps them.
func (s *Spool) GiveUp() {
	s.mu.Lock()
	s.acks.gaveUp = true
	s.mu.Unlock()
	s.release()
}
