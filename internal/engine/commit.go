package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/operator"
)

// begin begins a transaction, unless one is open.
func (s *session) begin() error {
	if s.tx.open {
		return nil
	}
	if err := s.tx.begin(s.w.sessions); err != nil {
		return err
	}
	s.beginLookups()
	return nil
}

// call calls a function of a task in a transaction, although the task may have no record, and sends
// what it has written.
func (s *session) call(t *task, fn func(now time.Time, out *operator.Output) error) error {
	if err := s.begin(); err != nil {
		return err
	}
	t.touched = true
	if err := fn(s.tx.at, &s.tx.out); err != nil {
		return stepError(err)
	}
	s.tx.send(t)
	return nil
}

// end commits or aborts the open transaction, if there is one, also after a stop. After an error
// its outcome is unknown, and the session must end.
func (s *session) end(try kgo.TransactionEndTry) error {
	if !s.tx.open {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.w.sessions.Work, s.cfg.TransactionTimeout)
	defer cancel()
	began := time.Now()
	var failed error
	if try == kgo.TryCommit {
		if failed = s.complete(ctx); failed != nil {
			try = kgo.TryAbort
		} else if healed, err := s.heal(ctx); err != nil || !healed {
			try, failed = kgo.TryAbort, err
		}
	}
	committed, err := s.group.End(ctx, try)
	defer func() { s.tx.aborting = "" }()
	read := s.tx.read
	done := s.tx.finish()
	if err != nil {
		s.w.pace.failed(read, done.Took, err)
		s.countAbort(AbortUnknown)
		s.w.sessions.LeftOpen(err)
		if noAnswer(failed) {
			failed = errors.New(failed.Error()) // the session can't wait for the database: it must end
		}
		return errors.Join(fmt.Errorf("end transaction: %w", err), failed)
	}
	_ = s.tx.written.Err() // waits for the records of an abort, which must not reach into the next transaction
	s.tx.release()
	if !committed {
		s.w.pace.failed(read, done.Took, failed)
		return errors.Join(failed, s.aborted(failed))
	}
	s.w.pace.committed(read, done.Took)
	err = s.committed(done)
	s.commits.committed(time.Since(began))
	return err
}

// aborted rolls the session back after an abort. failed is the error that caused it, if any.
func (s *session) aborted(failed error) error {
	switch {
	case noAnswer(failed):
		s.countAbort(AbortLookup)
	case failed != nil:
		s.countAbort(AbortWrite)
	default:
		s.countAbort(cmp.Or(s.tx.aborting, AbortRebalance))
	}
	s.rolledBack = true
	s.p.attempts.survived(s.tx.attempted)
	clear(s.tx.attempted)
	for _, t := range s.tasks {
		t.abort()
	}
	return s.endPositions(false)
}

// committed makes what the transaction changed the session's state, and reports the commit.
func (s *session) committed(done Commit) error {
	s.w.sessions.Committed()
	s.unanswered.Reset()
	s.p.attempts.committed(s.tx.attempted)
	clear(s.tx.attempted)
	s.tx.endSpans("")
	for _, t := range s.tasks {
		t.current = s.cfg.Now()
		if err := t.commit(); err != nil {
			return fmt.Errorf("keep the state of %s-%d: %w", t.stage.Name, t.partition, err)
		}
	}
	if err := s.endPositions(true); err != nil {
		return err
	}
	s.warnAhead(done.Ahead)
	s.w.result.add(done)
	for _, d := range s.cfg.Status.committed(s.w.instance, done, s.tasks) {
		s.cfg.Logger.Warn("an option of the table drops data; weir_engine_dropped_total counts it", "table", d.Table, "what", d.What)
	}
	s.cfg.Metrics.committed(s.cfg.Program.Name, done)
	s.cfg.OnCommit(done)
	return nil
}

// giveUp aborts the open transaction of a failed session. If that fails, the next session does it
// by acquiring the transactional id, or the end of the worker does; until then, or until the
// transaction times out, its records hold up readers.
func (s *session) giveUp() {
	if !s.tx.open {
		return
	}
	ctx, cancel := context.WithTimeout(s.w.sessions.Work, time.Second)
	defer cancel()
	_, err := s.group.End(ctx, kgo.TryAbort)
	s.w.sessions.LeftOpen(err)
	s.countAbort(AbortProcess)
}

// countAbort reports an aborted transaction, or one with an unknown outcome.
func (s *session) countAbort(reason string) {
	s.w.result.Aborted++
	s.cfg.Status.aborted(s.w.instance, reason)
	s.tx.endSpans(reason)
}

// complete produces what belongs to the end of the transaction: held-back rows, positions,
// changelogs, dead letters and late rows. It waits until the broker has acknowledged everything.
func (s *session) complete(ctx context.Context) error {
	for _, t := range s.tasks {
		if !t.touched {
			continue
		}
		if err := t.op.FinishTransaction(&s.tx.out); err != nil {
			return stepError(err)
		}
		s.tx.send(t)
		if err := t.store.Err(); err != nil {
			return fmt.Errorf("local copy of the state: %w", err)
		}
		if t.ledger == nil {
			continue
		}
		if err := t.ledger.write(s.cfg.Program.Name, s.positionsOf(t.stage.Topics(), t.partition)); err != nil {
			return err
		}
		t.changes = t.ledger.records(s.tx.produce)
	}
	if err := s.writePositions(); err != nil {
		return err
	}
	for _, r := range s.p.diverted(&s.tx.out, s.limits, s.cfg.Now()) {
		s.tx.produce(r)
	}
	if err := s.group.Client.Flush(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return s.explainWrite(ctx, s.tx.written.Err())
}

// diverted returns the records for the dead-letter and late topics.
func (p *pipeline) diverted(out *operator.Output, limits broker.Limits, now time.Time) (records []*kgo.Record) {
	settings := p.cfg.Program.Settings
	for _, diverted := range []struct { // both may be the same topic
		topic   string
		letters []operator.DeadLetter
	}{{settings.DeadLetterTopic, out.DeadLetters}, {settings.LateTopic, out.Late}} {
		topic := diverted.topic
		for _, l := range diverted.letters {
			r := deadletter.Record(topic, l.Record, l.Reason, now, min(deadletter.MaxBytes, limits.Record(topic)))
			r.Partition, r.Context = l.Record.Partition%max(1, p.partitions[topic]), l.Record.Context
			records = append(records, r)
		}
	}
	return records
}

// explainWrite adds what only the pipeline knows to the error of a write. A record that passed the
// size check is too large if the topic's limit was lowered in the meantime: a new session uses the
// new limit.
func (s *session) explainWrite(ctx context.Context, err error) error {
	var failed *broker.WriteError
	switch {
	case err == nil || !errors.As(err, &failed):
		return err
	case !errors.Is(err, kerr.MessageTooLarge): // rows of tables are checked before
		return fmt.Errorf("write outputs: %w", err)
	case s.p.isOwnTopic(failed.Topic):
		return &fatalError{fmt.Errorf("write outputs: %w: keep less in a row or in a Top-N, or raise max.message.bytes of topic %s", err, failed.Topic)}
	}
	limits, lookErr := broker.FindLimits(ctx, s.group.Admin, failed.Topic)
	if lookErr != nil || limits.Batch(failed.Topic) != s.limits.Batch(failed.Topic) {
		return errors.Join(fmt.Errorf("write outputs: %w: max.message.bytes of topic %s has changed", err, failed.Topic), lookErr)
	}
	return &fatalError{fmt.Errorf("write outputs: %w: the broker accepts less than its limit of %d bytes: raise max.message.bytes of topic %s, or message.max.bytes of the brokers",
		err, s.limits.Batch(failed.Topic), failed.Topic)}
}
