package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// process runs polled records through their tasks, inside a transaction.
func (s *session) process(ctx context.Context, fetches kgo.Fetches) error {
	if fresh := s.takeFresh(); fresh != nil {
		// A restore waits for open transactions on the changelog, so ours must not be one of them.
		// The records just polled are read again: an abort rewinds to the committed offsets.
		if s.tx.open {
			if err := s.end(kgo.TryAbort); err != nil {
				return err
			}
			return s.restore(ctx, fresh)
		}
		if err := s.restore(ctx, fresh); err != nil {
			return err
		}
	}
	if err := s.lookForGaps(ctx, fetches); err != nil {
		return err
	}
	if settled := s.takeSettled(); settled || s.rewound {
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
	if failed != nil {
		return failed
	}
	return s.idle()
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
		return fmt.Errorf("records of %s-%d from offset %d on, which the state covers up to %d: the topic was cut or created again", tp.Topic, tp.Partition, tp.Records[0].Offset, next)
	}
	if err := s.passGap(at, tp.Records[0].Offset, tp.LogStartOffset); err != nil {
		return err
	}
	if err := s.reached(at, last+1, tp.LastStableOffset); err != nil {
		return err
	}
	records := withoutControl(tp.Records)
	s.tx.spans = s.tx.tracer.Process(records, s.cfg.Program.Name, s.tx.spans)
	s.tx.read += len(records)
	if s.p.isSource(tp.Topic) {
		if s.w.result.FirstRecord == 0 {
			s.w.result.FirstRecord = s.cfg.Now().UnixMilli()
		}
		s.tx.sourced += len(records)
		s.tx.measure(records)
	}
	end, bounded := s.p.ends[tp.Topic][tp.Partition]
	read := int64(len(records))
	if bounded && len(records) > 0 && records[len(records)-1].Offset >= end {
		records = slices.DeleteFunc(records, func(r *kgo.Record) bool { return r.Offset >= end })
	}
	for _, stage := range s.stages[tp.Topic] {
		t := s.tasks[taskID{stage.Name, tp.Partition}]
		if t == nil {
			return fmt.Errorf("records of %s-%d, which is not assigned", tp.Topic, tp.Partition)
		}
		t.did.read(tp.Topic, read, last+1, tp.LastStableOffset, newest.Timestamp)
		if bounded && len(records) > 0 && t.op.Ended() {
			return &fatalError{fmt.Errorf("it has ended already, and there are new records in %s: give it another name (SET 'pipeline.name') to start without state, or leave out 'scan.bounded.mode'",
				tp.Topic)}
		}
		t.touched = t.touched || t.ledger != nil // its position
		if len(records) > 0 {
			t.touched = true
			t.last[tp.Topic] = s.cfg.Now()
			if err := t.op.Step(tp.Topic, records, s.tx.at, &s.tx.out); err != nil {
				return &fatalError{err}
			}
		}
		if bounded && last+1 >= end {
			t.touched = true
			if err := t.op.End(tp.Topic, &s.tx.out); err != nil {
				return &fatalError{err}
			}
		}
		s.tx.send(t)
	}
	return nil
}

// withoutControl drops transaction markers, in place.
func withoutControl(records []*kgo.Record) []*kgo.Record {
	return slices.DeleteFunc(records, func(r *kgo.Record) bool { return r.Attrs.IsControl() })
}
