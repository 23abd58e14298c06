package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/operator"
)

// process runs polled records through their tasks, in a transaction. Before that it acts on
// whatever has changed since the last poll: assigned partitions, deleted records, ends of inputs.
func (s *session) process(ctx context.Context, fetches kgo.Fetches) error {
	if s.assignmentChanged() {
		// A restore waits for open transactions on the changelog, so ours must not be one of them.
		if err := s.readAgain(fetches); err != nil {
			return err
		}
		return s.restore(ctx)
	}
	if err := s.checkGaps(ctx, fetches); err != nil {
		return err
	}
	known := s.cfg.Generated.known()
	if resumed := s.takeResumed(); resumed || s.rolledBack || known != s.generated {
		s.generated = known
		if err := s.endEmpty(); err != nil {
			return err
		}
	}
	if err := s.beginHealing(); err != nil {
		return err
	}
	if held, err := s.holdUnknown(ctx, fetches); held || err != nil {
		return err
	}
	var failed error
	fetches.EachPartition(func(tp kgo.FetchTopicPartition) {
		if failed != nil || len(tp.Records) == 0 {
			return
		}
		failed = s.step(tp)
	})
	if errors.Is(failed, errMoved) { // the next call restores; a new session would move the partitions of other workers, too
		return s.readAgain(fetches)
	}
	if failed != nil {
		return failed
	}
	if err := s.idle(); err != nil {
		return err
	}
	if err := s.closeWindows(); err != nil {
		return err
	}
	return s.expire()
}

// readAgain discards the open transaction and the records just polled, which are read again: an
// abort rewinds to the committed offsets.
func (s *session) readAgain(fetches kgo.Fetches) error {
	if fetches.NumRecords() > 0 {
		if err := s.begin(); err != nil {
			return err
		}
	}
	return s.end(kgo.TryAbort)
}

// step runs the records of one partition through the tasks that read it.
func (s *session) step(tp kgo.FetchTopicPartition) error {
	if err := s.begin(); err != nil {
		return err
	}
	newest := tp.Records[len(tp.Records)-1]
	last := newest.Offset
	at := topicPartition{tp.Topic, tp.Partition}
	if next, ok := s.nextOffset(at); ok && tp.Records[0].Offset < next {
		return fmt.Errorf("received records of %s-%d from offset %d, but the state covers them up to %d: the topic was truncated or created again", tp.Topic, tp.Partition, tp.Records[0].Offset, next)
	}
	if err := s.checkGap(at, tp.Records[0].Offset, tp.LogStartOffset); err != nil {
		return err
	}
	if err := s.reached(at, last+1, tp.LastStableOffset); err != nil {
		return err
	}
	records := withoutControl(tp.Records)
	s.tx.spans = s.tx.tracer.Process(records, s.cfg.Program.Name, s.tx.spans)
	s.tx.read += len(records)
	for _, r := range records {
		s.tx.bytes += recordBytes(r)
	}
	if s.p.isSource(tp.Topic) {
		if s.w.result.FirstRecord == 0 {
			s.w.result.FirstRecord = s.cfg.Now().UnixMilli()
		}
		s.tx.sourced += len(records)
		s.tx.measure(records)
	}
	end, bounded := s.p.endOf(tp.Topic, tp.Partition)
	read := int64(len(records))
	if bounded && len(records) > 0 && records[len(records)-1].Offset >= end {
		records = slices.DeleteFunc(records, func(r *kgo.Record) bool { return r.Offset >= end })
	}
	poison, err := s.p.attempts.begin(at, records)
	switch {
	case err != nil:
		return err
	case poison && !s.p.isSource(tp.Topic):
		return &fatalError{fmt.Errorf("the process dies each time it computes the record of %s-%d at offset %d, which the pipeline has written itself: report it as a defect of Weir; "+
			"weir run --reset starts the pipeline without its state", tp.Topic, tp.Partition, records[0].Offset)}
	case poison:
		s.cfg.Logger.Error("a record becomes a dead letter because the process has died each time it computed it", "topic", tp.Topic, "partition", tp.Partition, "offset", records[0].Offset)
		s.tx.out.DeadLetters = append(s.tx.out.DeadLetters, operator.DeadLetter{Record: records[0], Reason: errPoison})
		records = records[1:]
	}
	s.tx.attempted[at] = true
	for _, stage := range s.stages[tp.Topic] {
		t := s.tasks[taskID{stage.Name, tp.Partition}]
		if t == nil {
			return fmt.Errorf("received records of %s-%d, which is not assigned", tp.Topic, tp.Partition)
		}
		t.counts.read(tp.Topic, read, last+1, tp.LastStableOffset, newest.Timestamp)
		if bounded && len(records) > 0 && t.op.Ended() {
			return &fatalError{fmt.Errorf("the pipeline has already finished, but %s has new records: rename it (SET 'pipeline.name') to start without state, or remove 'scan.bounded.mode'",
				tp.Topic)}
		}
		t.touched = t.touched || t.ledger != nil // its position
		if len(records) > 0 {
			t.touched = true
			t.last[tp.Topic] = s.cfg.Now()
			s.p.attempts.computing(at, true)
			s.cfg.onStep(records)
			if err := t.op.Step(tp.Topic, records, s.tx.at, &s.tx.out); err != nil {
				return stepError(err)
			}
			s.p.attempts.computing(at, false)
		}
		if bounded && last+1 >= end {
			t.touched = true
			if err := t.op.End(tp.Topic, s.tx.at, &s.tx.out); err != nil {
				return &fatalError{err}
			}
		}
		s.tx.send(t)
	}
	return nil
}

// withoutControl removes transaction markers, in place.
func withoutControl(records []*kgo.Record) []*kgo.Record {
	return slices.DeleteFunc(records, func(r *kgo.Record) bool { return r.Attrs.IsControl() })
}
