package engine

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/plan"
)

// endEmpty ends bounded inputs that have no more records. Without records, step does not end them:
// in new tasks, and in tasks that an abort has rolled back to before their end although their
// positions are at it.
func (s *session) endEmpty() error {
	s.rolledBack = false
	if len(s.p.ends) == 0 {
		return nil
	}
	for id, t := range s.tasks {
		if t.op.Ended() {
			continue
		}
		for _, topic := range t.stage.Topics() {
			end, bounded := s.p.ends[topic][id.partition]
			if !bounded {
				// A topic may have fewer partitions than the stage has tasks.
				if _, source := s.p.ends[topic]; !source || id.partition < s.p.partitions[topic] {
					continue
				}
			}
			if next, resumed := s.nextOffset(topicPartition{topic, id.partition}); bounded && (!resumed || next < end) {
				continue
			}
			if err := s.begin(); err != nil {
				return err
			}
			t.touched = true
			if err := t.op.End(topic, &s.tx.out); err != nil {
				return &fatalError{err}
			}
			s.tx.send(t)
		}
	}
	return nil
}

// finished reports whether a bounded pipeline is done: all tasks of this worker have ended. A
// worker without tasks waits until the group has committed everything.
func (s *session) finished(ctx context.Context) bool {
	for _, t := range s.tasks {
		if !t.op.Ended() || t.op.Pending() {
			return false
		}
	}
	if len(s.tasks) > 0 {
		return true
	}
	topics := make([]string, 0, len(s.stages))
	for topic := range s.stages {
		topics = append(topics, topic)
	}
	committed, err := s.group.Admin.FetchOffsetsForTopics(ctx, Group(s.cfg.Program), topics...)
	if err != nil {
		return false // the next iteration asks again
	}
	ends, err := listEnds(ctx, s.group.Admin, topics...)
	if err != nil {
		return false // likewise
	}
	done := true
	ends.Each(func(o kadm.ListedOffset) {
		end := o.Offset
		if bound, ok := s.p.ends[o.Topic][o.Partition]; ok {
			end = bound
		}
		at, ok := committed.Lookup(o.Topic, o.Partition)
		done = done && (end == 0 || ok && at.Err == nil && at.At >= end)
	})
	return done
}

// idle marks inputs idle that have had no record for their idle timeout.
func (s *session) idle() error {
	for _, t := range s.tasks {
		for _, in := range t.stage.Inputs {
			scan, ok := in.Op.(*plan.Scan)
			if !ok || scan.Table.IdleTimeout == 0 || t.op.IsIdle(scan.Table.Kafka.Topic) || s.cfg.Now().Sub(t.last[scan.Table.Kafka.Topic]) < scan.Table.IdleTimeout {
				continue
			}
			if err := s.begin(); err != nil {
				return err
			}
			t.touched = true
			if err := t.op.Idle(scan.Table.Kafka.Topic, &s.tx.out); err != nil {
				return &fatalError{err}
			}
			s.tx.send(t)
		}
	}
	return nil
}
