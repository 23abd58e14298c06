package produce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/trace"
)

// session is the lifetime of one client.
type session struct {
	p        *producer
	client   *kgo.Client
	feed     *feed
	earlier  int64 // readings committed before the open transaction
	ordinals int64 // of marked transactions
	base     int64 // ordinals of this session start after it
	limits   broker.Limits
}

// session acquires the source, looks up what was committed, and sends the rest.
//
// The order matters: acquiring the transactional id fences any older producer of the source and
// aborts its transaction. Only then is the committed progress final.
func (p *producer) session(ctx context.Context) error {
	s := &session{p: p, base: time.Now().UnixMilli() * 1_000_000}
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.client.Close()
	if err := s.resume(ctx); err != nil {
		return err
	}
	feeding, stop := context.WithCancel(ctx)
	defer stop()
	if p.started.IsZero() {
		p.started = time.Now()
	}
	s.p.cfg.Status.phase(Running, "")
	s.feed = startFeed(feeding, p.cfg, p.src, s.limits)
	err := s.transactions()
	stop()
	for range s.feed.chunks { // wait until the feed no longer uses the source
	}
	return err
}

func (s *session) connect(ctx context.Context) error {
	compression, err := broker.Compression(s.p.cfg.Compression)
	if err != nil {
		return err
	}
	s.client, err = broker.Connect(ctx, s.p.cfg.Broker,
		kgo.WithContext(s.p.sessions.Work),
		kgo.TransactionalID(transactionalID(s.p.src.Name())),
		kgo.TransactionTimeout(s.p.cfg.TransactionTimeout),
		compression,
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 { return s.limits.Batch(topic) }), // called at the first record of a partition
		kgo.MaxBufferedRecords(s.p.cfg.MaxRecords+2*chunkItems),
		kgo.ProducerLinger(5*time.Millisecond),
		broker.ClientLog(s.p.cfg.Logger),
		s.p.cfg.Broker.Observe("produce", s.p.src.Name()),
		s.p.cfg.Broker.Tracer().Client(transactionalID(s.p.src.Name()), "").Option(),
		s.p.sent.Option(),
		s.p.sessions.ClientOption(),
	)
	if err != nil {
		return err
	}
	err = errors.Join(broker.RequireTransactionV2(ctx, s.client), s.checkTopics(ctx))
	if err == nil {
		err = s.p.sessions.Acquire(ctx, s.client, s.p.topics()...)
	}
	if err != nil {
		s.client.Close()
	}
	return err
}

// topics returns what the producer writes to.
func (p *producer) topics() []string {
	return append([]string{p.cfg.Topic, p.cfg.DLQ, p.cfg.Progress}, p.cfg.Messages...)
}

func transactionalID(source string) string { return "weir-produce-" + source }

func (s *session) checkTopics(ctx context.Context) error {
	admin := kadm.NewClient(s.client)
	names := s.p.topics()
	topics, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	for _, name := range names {
		t := topics[name]
		if errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("%w: no topic %s: create it with weir topics apply", errTopics, name)
		}
		if t.Err != nil {
			return fmt.Errorf("describe topic %s: %w", name, t.Err)
		}
	}
	s.limits, err = broker.FindLimits(ctx, admin, names...)
	return err
}

func (s *session) resume(ctx context.Context) error {
	last, facts, err := readProgress(ctx, s.p.cfg.Broker, s.p.cfg.Progress, s.p.src.Name())
	if err != nil {
		return fmt.Errorf("look up the position of source %s: %w", s.p.src.Name(), err)
	}
	if s.p.beginning == nil {
		s.p.beginning = s.p.src.Position()
	}
	if last == nil {
		last = &progress{Position: s.p.beginning}
	}
	if s.p.result.Sessions == 1 {
		s.p.result.Earlier = last.Readings
		s.p.cfg.OnResume(last.Readings)
	}
	s.earlier = last.Readings
	if err := s.p.settle(last); err != nil {
		return err
	}
	if k, ok := s.p.src.(Keeper); ok {
		k.Recall(facts)
	}
	if err := s.p.src.Seek(last.Position); err != nil {
		return &sourceError{fmt.Errorf("resume source %s: %w", s.p.src.Name(), err)}
	}
	return nil
}

// settle determines the outcome of the pending transaction: it was committed if the committed
// progress covers it. Otherwise its items are sent again.
func (p *producer) settle(committed *progress) error {
	t := p.pending
	p.pending = nil
	if t == nil {
		return nil
	}
	if committed.Readings < t.readings || t.commit.Readings == 0 && !bytes.Equal(committed.Position, t.commit.Position) {
		p.abort(t.chunks, AbortUnknown)
		return nil
	}
	t.commit.Took = time.Since(t.began)
	p.result.SendingSeconds = time.Since(p.started).Seconds()
	p.result.Transactions++
	p.sessions.Committed()
	p.result.Readings += int64(t.commit.Readings)
	p.result.DeadLetters += int64(t.commit.DeadLetters)
	p.result.Bytes += int64(t.commit.Bytes)
	p.cfg.Status.committed(&t.commit)
	p.cfg.Metrics.committed(p.src.Name(), t.commit.Took)
	p.cfg.OnCommit(t.commit)
	endSpans(t.chunks, "")
	for _, c := range t.chunks {
		if err := p.acks.write(acked, c.ranges); err != nil {
			return &sourceError{err}
		}
	}
	return nil
}

// transactions sends chunks until the feed ends.
func (s *session) transactions() error {
	for {
		first, ok := <-s.feed.chunks
		if !ok {
			return s.feed.err
		}
		if err := s.transaction(first); err != nil {
			return err
		}
	}
}

// transaction sends chunks for the duration of the commit interval and the position after them, and
// commits. After a stop, it still commits what was read from the source.
func (s *session) transaction(first *chunk) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.p.sessions.Work, s.p.cfg.TransactionTimeout)
	defer cancel()
	// Only closing the client makes it give up its buffered records.
	defer context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			s.client.Close()
		}
	})()
	if err := s.client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	if err := s.p.sessions.Begun(ctx, s.client); err != nil {
		return err
	}
	writes := broker.NewWrites(s.client)
	chunks := s.gather(ctx, first, began, writes)
	last := chunks[len(chunks)-1]
	commit := Commit{}
	for _, c := range chunks {
		commit.Readings += len(c.records)
		commit.Messages += len(c.messages)
		commit.DeadLetters += len(c.deadLetters)
		for cause, n := range c.causes {
			if commit.Causes == nil {
				commit.Causes = make(map[string]int)
			}
			commit.Causes[cause] += n
		}
		commit.Bytes += c.bytes
	}
	commit.Position = last.position
	position := progress{Position: last.position, Readings: s.earlier + int64(commit.Readings)}
	rec, err := position.record(s.p.cfg.Progress, s.p.src.Name())
	if err != nil {
		return &sourceError{err}
	}
	if err := broker.CheckSize(rec, s.limits.Record(rec.Topic)); err != nil {
		err = fmt.Errorf("save the position of source %s: %w: raise max.message.bytes of topic %s", s.p.src.Name(), err, rec.Topic)
		return s.abort(ctx, chunks, began, &sourceError{err})
	}
	writes.Produce(ctx, rec)
	if err := errors.Join(s.client.Flush(ctx), writes.Err()); err != nil {
		return s.abort(ctx, chunks, began, err)
	}
	s.p.pending = &pending{readings: position.Readings, began: began, commit: commit, chunks: chunks}
	if err := s.p.sessions.Commit(ctx, s.client); err != nil {
		s.p.sessions.LeftOpen(err)
		return s.explain(began, fmt.Errorf("commit transaction: %w", err))
	}
	s.earlier = position.Readings
	if err := s.p.settle(&position); err != nil {
		return err
	}
	for _, c := range chunks {
		s.feed.recycle(c)
	}
	return nil
}

// gather produces chunks until the transaction is long or large enough, or the feed ends.
func (s *session) gather(ctx context.Context, first *chunk, began time.Time, writes *broker.Writes) []*chunk {
	chunks := []*chunk{first}
	records := len(first.records)
	if !s.p.cfg.MarkTransactions {
		s.write(ctx, first, writes)
	}
	timer := time.NewTimer(s.p.cfg.CommitInterval - time.Since(began))
	defer timer.Stop()
	for full := false; !full && records < s.p.cfg.MaxRecords; {
		select {
		case c, ok := <-s.feed.chunks:
			if !ok {
				full = true
				break
			}
			chunks = append(chunks, c)
			records += len(c.records)
			if !s.p.cfg.MarkTransactions {
				s.write(ctx, c, writes)
			}
		case <-timer.C:
			full = true
		}
	}
	if s.p.cfg.MarkTransactions { // the mark has the number of records
		s.mark(chunks, records)
		for _, c := range chunks {
			s.write(ctx, c, writes)
		}
	}
	return chunks
}

func (s *session) write(ctx context.Context, c *chunk, writes *broker.Writes) {
	for i := range c.records {
		writes.Produce(ctx, &c.records[i])
	}
	for _, r := range c.messages {
		writes.Produce(ctx, r)
	}
	for _, r := range c.deadLetters {
		writes.Produce(ctx, r)
	}
	for _, r := range c.facts {
		writes.Produce(ctx, r)
	}
}

// mark adds HeaderTransaction to all records of the transaction.
func (s *session) mark(chunks []*chunk, records int) {
	s.ordinals++
	value := fmt.Appendf(nil, "%s/%d/%d", transactionalID(s.p.src.Name()), s.base+s.ordinals, records)
	for _, c := range chunks {
		for i := range c.records {
			c.records[i].Headers = append(c.records[i].Headers, kgo.RecordHeader{Key: HeaderTransaction, Value: value})
		}
	}
}

// abort aborts a transaction after a failed write. The next session sends the same readings again.
func (s *session) abort(ctx context.Context, chunks []*chunk, began time.Time, cause error) error {
	cause = fmt.Errorf("write readings: %w", cause)
	if err := s.p.sessions.Abort(ctx, s.client); err != nil {
		s.p.sessions.LeftOpen(err)
		cause = errors.Join(cause, fmt.Errorf("abort transaction: %w", err))
	}
	explained := s.explain(began, cause)
	switch {
	case errors.Is(explained, errTimedOut), errors.Is(cause, context.DeadlineExceeded):
		s.p.abort(chunks, AbortTimeout)
	case broker.IsFenced(cause):
		s.p.abort(chunks, AbortFenced)
	default:
		s.p.abort(chunks, AbortWrite)
	}
	return explained
}

// abort counts an aborted transaction.
func (p *producer) abort(chunks []*chunk, reason string) {
	p.result.Aborted++
	p.cfg.Status.aborted(reason)
	endSpans(chunks, reason)
}

func endSpans(chunks []*chunk, aborted string) {
	for _, c := range chunks {
		trace.End(c.spans, aborted)
	}
}

// explain distinguishes a producer that was replaced from one that exceeded its transaction
// timeout: both are fenced.
func (s *session) explain(began time.Time, err error) error {
	if !broker.IsFenced(err) {
		return err
	}
	if time.Since(began) >= s.p.cfg.TransactionTimeout {
		return errors.Join(errTimedOut, err)
	}
	return takenOver(s.p.src.Name(), err)
}
