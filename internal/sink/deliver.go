package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// prepared is a batch that can be delivered.
type prepared struct {
	Batch   Batch
	records []*kgo.Record // of which it was made
	bytes   int           // of them
	since   time.Time     // when the first of them was read
	bad     []Refusal     // records that are not rows
}

// delivery is a batch that the target writes.
type delivery struct {
	*prepared
	letters int
	done    context.Context // until it has ended
	err     error           // after that
}

const (
	// pollLimit bounds the time in which the group can't move partitions.
	pollLimit = 200 * time.Millisecond
	// aheadBytes bounds the records that are read while the target writes a batch.
	aheadBytes = defaultBytes
)

// step reads records, makes a batch of them, and hands it to the target if that is free. While the
// target writes a batch, the next one is made, and records are read for the one after it.
//
// The client moves no partitions from a poll on until AllowRebalance, which is called when the
// target is free: so a batch has partitions of this process alone, from the moment it is made.
// Between two deliveries the next batch may be taken apart again, see release.
func (s *session) step(ctx, work context.Context) error {
	if err := s.read(ctx); err != nil {
		return err
	}
	if s.writing != nil && s.writing.done.Err() != nil {
		return s.land()
	}
	if ctx.Err() != nil {
		return nil
	}
	s.prepare()
	if s.writing == nil && s.ready != nil {
		s.launch(work)
	}
	if s.writing == nil {
		s.client.AllowRebalance()
	}
	return nil
}

// read polls for records. If there is something else to do, it polls only for the effect that the
// client moves no partitions; if there is nothing to do, it waits until the target is free.
func (s *session) read(ctx context.Context) error {
	s.mu.Lock()
	busy, due, enough := s.ready != nil, s.due(), s.enough()
	most, wait := s.MaxRows-len(s.buffer.records), pollLimit
	if s.Interval > 0 && !s.buffer.empty() {
		wait = min(wait, max(s.Interval-s.Now().Sub(s.buffer.since), time.Millisecond))
	}
	s.mu.Unlock()
	if most <= 0 { // of rows that must be delivered together
		most = s.MaxRows
	}
	polling, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	switch {
	case s.writing == nil && (busy || due):
		cancel()
	case s.writing != nil && due && !busy:
		return nil
	case s.writing != nil && enough:
		select {
		case <-s.writing.done.Done():
		case <-ctx.Done():
		}
		return nil
	case s.writing != nil:
		defer context.AfterFunc(s.writing.done, cancel)()
	}
	fetches := s.client.PollRecords(polling, most)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	if err := fetchError(fetches); err != nil {
		return err
	}
	now := s.Now()
	fetches.EachRecord(func(r *kgo.Record) { s.buffer.add(r, now) })
	if n := fetches.NumRecords(); n > 0 || errors.Is(polling.Err(), context.DeadlineExceeded) {
		s.idle = n == 0
	}
	return nil
}

func fetchError(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled) {
			continue
		}
		if e.Topic == "" { // of the group
			return e.Err
		}
		return fmt.Errorf("read %s-%d: %w", e.Topic, e.Partition, e.Err)
	}
	return nil
}

// full reports whether the buffer has the records of a batch.
func (s *session) full() bool {
	return len(s.buffer.records) >= s.MaxRows || s.buffer.bytes >= s.MaxBytes
}

// enough reports whether nothing more is read while the target writes.
func (s *session) enough() bool { return s.full() || s.buffer.bytes >= aheadBytes }

// due reports whether a batch can be made of the buffer: it is full, or its records have waited
// long enough and the target is free.
func (s *session) due() bool {
	switch {
	case s.buffer.empty() || !s.repeatRead():
		return false
	case s.full():
		return true
	case s.writing != nil:
		return false
	}
	return s.Interval == 0 || s.Now().Sub(s.buffer.since) >= s.Interval || s.Status.awaited() && s.idle
}

// repeatRead reports whether rows that must be delivered together have all been read.
func (s *session) repeatRead() bool {
	for p, until := range s.repeat {
		if read, ok := s.buffer.read[p]; ok && read < until {
			return false
		}
	}
	return true
}

// prepare makes the next batch, if there is none and it is due.
func (s *session) prepare() {
	s.mu.Lock()
	if s.ready != nil || !s.due() {
		s.mu.Unlock()
		return
	}
	p := s.blank()
	s.buffer.take(p)
	s.mu.Unlock()
	p.bad = s.reader.fill(&p.Batch, p.records)
	s.mu.Lock()
	s.ready = p
	s.mu.Unlock()
	if s.prepared != nil {
		s.prepared()
	}
}

// blank returns a batch without records, in the memory of one that is delivered.
func (s *session) blank() *prepared {
	if len(s.spare) == 0 {
		return &prepared{Batch: *s.reader.batch()}
	}
	p := s.spare[len(s.spare)-1]
	s.spare = s.spare[:len(s.spare)-1]
	return p
}

// launch hands the next batch to the target.
func (s *session) launch(ctx context.Context) {
	done, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d := &delivery{done: done}
	s.mu.Lock()
	d.prepared, s.ready = s.ready, nil
	d.Batch.Repeat = maps.Clone(s.repeat)
	s.mu.Unlock()
	d.Batch.Member, d.Batch.Generation = s.client.GroupMetadata()
	s.writing = d
	go func() {
		defer cancel()
		d.err = s.deliver(ctx, d)
	}()
}

// deliver delivers a batch. Its dead letters are not written before, because the batch may be taken
// apart until then.
func (s *session) deliver(ctx context.Context, d *delivery) error {
	ctx, cancel := context.WithTimeout(ctx, s.DeliverTimeout)
	defer cancel()
	send := func(refused []Refusal) error {
		d.letters += len(refused)
		return s.letters.send(ctx, s.client, refused)
	}
	if len(d.bad) > 0 {
		if err := send(d.bad); err != nil {
			return err
		}
	}
	s.connected.Lock()
	defer s.connected.Unlock()
	return s.target.Deliver(ctx, &d.Batch, send)
}

// land waits for the end of the delivery, if there is one, and moves the positions. Its error ends
// the session: what is read or prepared is dropped, and the next session reads it again from where
// the target is.
func (s *session) land() error {
	d := s.writing
	if d == nil {
		return nil
	}
	<-d.done.Done()
	s.writing = nil
	if d.err != nil {
		return d.err
	}
	if d.letters > 0 {
		s.Logger.Warn("the target refused rows, which are dead letters now", "rows", d.letters, "topic", s.DeadLetters)
	}
	s.letters.delivered(d.Batch.Next)
	s.mu.Lock()
	maps.Copy(s.next, d.Batch.Next)
	for p := range d.Batch.Next {
		delete(s.repeat, p)
	}
	s.Status.delivered(s.next, Delivery{Records: len(d.records), Rows: d.Batch.Rows.N, Deletes: d.Batch.Deleted.N, Letters: d.letters})
	s.mu.Unlock()
	s.delivered = true
	if d.bytes <= aheadBytes {
		d.reset()
		s.spare = append(s.spare, d.prepared)
	}
	s.client.AllowRebalance()
	return nil
}

// reset empties a batch, and keeps its memory.
func (p *prepared) reset() {
	clear(p.records)
	p.records, p.bad = p.records[:0], nil
	p.Batch.reset()
}
