package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/trace"
)

// linger is how long the client waits for a batch to fill before it sends it. The end of a
// transaction doesn't wait for it.
const linger = 5 * time.Millisecond

// transaction is what a session does between a begin and an end.
//
// Rows go to the client as soon as a task has made them, so that it packs and sends them while the
// next ones are computed; state, letters and late rows follow at the end, when they are known.
type transaction struct {
	open    bool
	began   time.Time
	at      time.Time // the transaction's time, of Config.Now
	read    int       // records
	sourced int       // of them, those of tables
	sample  []time.Time

	out     operator.Output // not sent yet
	counted tally
	wrote   int // rows of the tables of the INSERTs

	produce func(*kgo.Record)
	written *broker.Writes     // all that was given to produce
	release context.CancelFunc // of the time that these records have

	aborting string // why the next abort is, where it is no rebalance

	spans []trace.Span // of the records that are followed
	whole trace.Whole
}

// begin begins a transaction where none is open.
func (s *session) begin() error {
	if s.tx.open {
		return nil
	}
	if err := s.group.Begin(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	ctx, release := context.WithTimeout(s.w.grace, s.cfg.TransactionTimeout)
	var err error
	if s.w.begun, err = broker.BegunBy(ctx, s.group.Client()); err != nil {
		release()
		return err
	}
	s.tx.release = release
	s.tx.open, s.tx.began, s.tx.at = true, time.Now(), s.cfg.Now()
	written := broker.NewWrites(s.group.Client())
	s.tx.written = written
	s.tx.produce = func(r *kgo.Record) {
		if err := s.hasPartition(r); err != nil {
			written.Refuse(r, err)
			return
		}
		written.Produce(ctx, r)
	}
	return nil
}

// hasPartition refuses a record for a partition that its topic did not have when the pipeline
// started.
func (s *session) hasPartition(r *kgo.Record) error {
	if n := s.p.partitions[r.Topic]; r.Partition < 0 || r.Partition >= n {
		return fmt.Errorf("write to %s-%d of %d partitions: %w", r.Topic, r.Partition, n, broker.ErrNoPartition)
	}
	return nil
}

// send gives what a task has put out to the client.
func (s *session) send(t *task) {
	s.tx.counted.putDown(&s.tx.out, t)
	s.following.Parent(&s.tx.whole, s.tx.out.Records, s.cfg.Program.Name, s.tx.began)
	for _, r := range s.tx.out.Records {
		s.tx.produce(r)
		if s.sinks[r.Topic] {
			s.tx.wrote++
		}
	}
	s.tx.out.Sent()
	s.tx.counted.out = 0
}

// end commits or aborts the open transaction, also after a stop. After an error its outcome is
// unknown, and the session is over.
func (s *session) end(try kgo.TransactionEndTry) error {
	if !s.tx.open {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.w.grace, s.cfg.TransactionTimeout)
	defer cancel()
	var failed error
	if try == kgo.TryCommit {
		if failed = s.complete(ctx); failed != nil {
			try = kgo.TryAbort
		} else if healed, err := s.heal(ctx); err != nil || !healed {
			try, failed = kgo.TryAbort, err
		}
	}
	committed, err := s.ending.End(ctx, s.group, try)
	defer func() { s.tx.aborting = "" }()
	done := s.take()
	if err != nil {
		s.abort(AbortUnknown)
		s.w.left = err
		return errors.Join(fmt.Errorf("end transaction: %w", err), failed)
	}
	_ = s.tx.written.Err() // known already; but what it aborts must not reach into the next transaction
	s.tx.release()
	if !committed {
		if failed != nil {
			s.abort(AbortWrite)
		} else {
			s.abort(cmp.Or(s.tx.aborting, AbortRebalance))
		}
		s.rewound = true
		for _, t := range s.tasks {
			t.abort()
		}
		return errors.Join(failed, s.endPositions(false))
	}
	s.endSpans("")
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
		s.cfg.Logger.Warn("an option leaves data out, as it is meant to; how much is in weir_engine_dropped_total", "table", d.Table, "what", d.What)
	}
	s.cfg.Metrics.committed(s.cfg.Program.Name, done)
	s.cfg.OnCommit(done)
	return nil
}

// giveUp aborts the open transaction of a session that is over. Where that fails, the next
// session's ProducerID does it, or the end of the worker; until then, or until the transaction
// times out, what it has sent would hold readers back.
func (s *session) giveUp() {
	if !s.tx.open {
		return
	}
	ctx, cancel := context.WithTimeout(s.w.grace, time.Second)
	defer cancel()
	_, s.w.left = s.group.End(ctx, kgo.TryAbort)
	s.abort(AbortProcess)
}

// take returns what the transaction did, as of now, and makes room for the next one.
func (s *session) take() Commit {
	done := Commit{Records: s.tx.sourced, Outputs: s.tx.wrote, DeadLetters: len(s.tx.out.Letters), Late: len(s.tx.out.Late), Ahead: s.tx.out.Ahead, Took: time.Since(s.tx.began)}
	for _, l := range s.tx.out.Letters {
		if done.Causes == nil {
			done.Causes = make(map[string]int)
		}
		done.Causes[deadletter.Cause(l.Reason)]++
	}
	if len(s.tx.out.Dropped) > 0 {
		done.Dropped = maps.Clone(s.tx.out.Dropped)
	}
	now := s.cfg.Now()
	for _, at := range s.tx.sample {
		done.Latencies = append(done.Latencies, now.Sub(at))
	}
	s.tx.out.Reset()
	s.tx.open, s.tx.read, s.tx.sourced, s.tx.wrote, s.tx.sample, s.tx.counted = false, 0, 0, 0, s.tx.sample[:0], tally{}
	return done
}

func (s *session) abort(reason string) {
	s.w.result.Aborted++
	s.cfg.Status.aborted(s.w.instance, reason)
	s.endSpans(reason)
}

// endSpans ends the spans of a transaction: without a reason it was committed.
func (s *session) endSpans(aborted string) {
	trace.End(s.tx.spans, aborted)
	clear(s.tx.spans)
	s.tx.spans = s.tx.spans[:0]
	s.tx.whole.End(aborted)
}

// commit makes the transaction's changes the state.
func (t *task) commit() error {
	if !t.touched {
		return nil
	}
	t.touched = false
	at := t.store.Offset()
	if n := len(t.changes); n > 0 {
		at = t.changes[n-1].Offset + 1
	}
	t.changes = nil
	t.op.Committed()
	return t.store.Commit(at)
}

// abort drops the transaction's changes.
func (t *task) abort() {
	t.touched, t.changes = false, nil
	t.did.reset()
	t.store.Abort()
	if t.op != nil {
		t.op.Reset()
	}
}

// complete gives the client what belongs to the end of the transaction, and waits until the broker
// has all of it.
func (s *session) complete(ctx context.Context) error {
	for _, t := range s.tasks {
		if !t.touched {
			continue
		}
		if err := t.op.Flush(&s.tx.out); err != nil {
			return &fatalError{err}
		}
		s.send(t)
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
	for _, r := range s.p.setAside(&s.tx.out, s.limits, s.cfg.Now()) {
		s.tx.produce(r)
	}
	if err := s.group.Client().Flush(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return s.explainWrite(ctx, s.tx.written.Err())
}

// setAside are the records of rows that are set aside, as dead letters or late.
func (p *pipeline) setAside(out *operator.Output, limits broker.Limits, now time.Time) (records []*kgo.Record) {
	settings := p.cfg.Program.Settings
	for _, aside := range []struct { // the topic may be the same
		topic   string
		letters []operator.Letter
	}{{settings.DeadLetterTopic, out.Letters}, {settings.LateTopic, out.Late}} {
		topic := aside.topic
		for _, l := range aside.letters {
			r := deadletter.Record(topic, l.Record, l.Reason, now, min(deadletter.MaxBytes, limits.Record(topic)))
			r.Partition, r.Context = l.Record.Partition%max(1, p.partitions[topic]), l.Record.Context
			records = append(records, r)
		}
	}
	return records
}

// explainWrite adds to the error of a write what only the pipeline knows. A record is too large,
// although it was looked at, where the topic's limit was lowered meanwhile: a new session goes by
// the new one.
func (s *session) explainWrite(ctx context.Context, err error) error {
	var failed *broker.WriteError
	switch {
	case err == nil || !errors.As(err, &failed):
		return err
	case !errors.Is(err, kerr.MessageTooLarge): // rows of tables are looked at before
		return fmt.Errorf("write outputs: %w", err)
	case s.p.ownTopic(failed.Topic):
		return &fatalError{fmt.Errorf("write outputs: %w: keep less in a row or in a Top-N, or raise max.message.bytes of topic %s", err, failed.Topic)}
	}
	limits, lookErr := broker.FindLimits(ctx, s.admin, failed.Topic)
	if lookErr != nil || limits.Batch(failed.Topic) != s.limits.Batch(failed.Topic) {
		return errors.Join(fmt.Errorf("write outputs: %w: max.message.bytes of topic %s has changed", err, failed.Topic), lookErr)
	}
	return &fatalError{fmt.Errorf("write outputs: %w: the broker takes less than its limit of %d bytes: raise max.message.bytes of topic %s, or message.max.bytes of the brokers",
		err, s.limits.Batch(failed.Topic), failed.Topic)}
}
