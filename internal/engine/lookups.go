package engine

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/lookup"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/retry"
)

// prepareLookups checks the tables of lookup joins. It waits for no database: transactions do.
func (p *pipeline) prepareLookups(ctx context.Context) error {
	p.closeLookups()
	if len(p.cfg.Program.Lookups()) == 0 {
		return nil
	}
	if p.cfg.Lookups == nil {
		return &fatalError{errors.New("the program has lookup joins, but no connection to databases is set")}
	}
	p.lookups = lookup.New(lookup.Config{Program: p.cfg.Program, Open: p.cfg.Lookups, Now: p.cfg.Now, Logger: p.cfg.Logger, Metrics: p.cfg.LookedUp})
	if err := p.lookups.Check(ctx); err != nil {
		return &fatalError{err}
	}
	return nil
}

func (p *pipeline) closeLookups() {
	if p.lookups != nil {
		p.lookups.Close()
		p.lookups = nil
	}
}

// stepError returns the error of a task: permanent, unless a database has not answered.
func stepError(err error) error {
	if noAnswer(err) {
		return err
	}
	return &fatalError{err}
}

// noAnswer reports whether an error is that of a lookup.
func noAnswer(err error) bool { return errors.As(err, new(*operator.LookupError)) }

// beginLookups fixes the answers of lookups from now on until the transaction ends. They may take
// half of the time that it has.
func (s *session) beginLookups() {
	if s.lookups == nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.tx.ctx, s.cfg.TransactionTimeout/2)
	release := s.tx.release
	s.tx.release = func() {
		cancel()
		release()
	}
	s.lookups.Begin(ctx)
}

// awaitDatabase aborts the open transaction after a lookup that had no answer, and waits until the
// database can be reached. The records are then read again, which may find other rows. The session
// remains in the group meanwhile, so that no partition moves.
func (s *session) awaitDatabase(ctx context.Context, failed error) error {
	if s.tx.open {
		if read, took := s.tx.read, time.Since(s.tx.began); took < s.cfg.TransactionTimeout {
			s.w.pace.failed(read, took, failed) // too many keys for the time that a transaction has
		}
		s.tx.aborting = AbortLookup
		if err := s.end(kgo.TryAbort); err != nil {
			return err
		}
	}
	s.cfg.Status.phase(s.w.instance, Waiting, failed.Error())
	s.cfg.Logger.Warn("a lookup has no answer: waiting for the database", "instance", s.w.instance, "err", failed)
	began := time.Now()
	for ctx.Err() == nil && !s.assignmentChanged() {
		if err := s.pause(ctx, s.unanswered.NextBackOff()); err != nil {
			return nil //nolint:nilerr // stopped; the caller sees it
		}
		reach, cancel := context.WithTimeout(ctx, s.cfg.TransactionTimeout/2)
		err := s.lookups.Reach(reach)
		cancel()
		if err == nil {
			s.cfg.Logger.Info("the database can be reached again", "instance", s.w.instance, "after", time.Since(began).Round(time.Millisecond))
			break
		}
		s.cfg.Status.phase(s.w.instance, Waiting, err.Error())
	}
	s.notIdle()
	s.reportHeld()
	return nil
}

// pause waits for d, until ctx is done, or until partitions are assigned or revoked.
func (s *session) pause(ctx context.Context, d time.Duration) error {
	const step = 50 * time.Millisecond
	for ; d > 0 && !s.assignmentChanged(); d -= step {
		if err := retry.Sleep(ctx, min(d, step)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// notIdle makes no input idle for the time in which nothing was read: its rows are still to come.
func (s *session) notIdle() {
	for _, t := range s.tasks {
		for topic := range t.last {
			t.last[topic] = s.cfg.Now()
		}
	}
}
