package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
)

// SkippedRange is a range of offsets of a source that were deleted before the pipeline had read
// them. They are offsets of records and of transaction markers; how many of each is no longer
// known.
type SkippedRange struct {
	At        time.Time `json:"at"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	From      int64     `json:"from"`
	To        int64     `json:"to"` // the first one that exists
	Why       string    `json:"why"`
}

// maxSkippedRanges is how many skipped ranges a status lists. The offsets of all are counted.
const maxSkippedRanges = 50

// gapKey is a partition of a topic with its id: a topic that is created again starts from 0.
type gapKey struct {
	topicPartition
	id string
}

// skipped reports offsets of a source, from (inclusive) to (exclusive), that were deleted before
// the pipeline has read them. id is the topic's. What a session reported before its transaction was
// aborted is not reported again.
func (p *pipeline) skipped(tp topicPartition, id string, from, to int64, why string) {
	if from = p.cfg.Status.skip(tp, id, from, to, why); from < to {
		p.cfg.Logger.Warn("records were skipped: "+why, "topic", tp.topic, "partition", tp.partition, "from", from, "to", to, "offsets", to-from)
	}
}

// skip counts deleted offsets, and returns the first one that was not counted before.
func (s *Status) skip(tp topicPartition, id string, from, to int64, why string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	from = max(from, s.gaps[gapKey{tp, id}])
	if from >= to {
		return from
	}
	s.gaps[gapKey{tp, id}] = to
	s.skipped[tp.topic] += to - from
	s.skippedRanges = append(s.skippedRanges, SkippedRange{s.now(), tp.topic, tp.partition, from, to, why})
	s.skippedRanges = s.skippedRanges[max(0, len(s.skippedRanges)-maxSkippedRanges):]
	return from
}

// allSkipped returns how many offsets were skipped.
func (s *Status) allSkipped() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, offsets := range s.skipped {
		n += offsets
	}
	return n
}

// reset returns the strictest 'properties.auto.offset.reset' of the tables of a topic, which
// decides about records that were deleted before they were read.
func (p *pipeline) reset(topic string) plan.Reset {
	least := plan.ResetEarliest
	for _, t := range p.sources() {
		if t.Kafka.Topic == topic && t.Kafka.Reset != plan.ResetEarliest && least != plan.ResetNone {
			least = t.Kafka.Reset
		}
	}
	return least
}

// skipTo decides where a partition is resumed if the offsets from next to start (exclusive) were
// deleted before they were read. A gap in a topic between stages is always a loss; for a source its
// tables decide.
func (s *session) skipTo(tp topicPartition, found partitionLog, next, start int64) (int64, error) {
	const deleted = "were deleted before they were read"
	if s.p.accepted(tp, next, start) {
		return start, nil
	}
	if !s.p.isSource(tp.topic) {
		return 0, s.p.lostError(tp, next, start, deleted)
	}
	switch s.p.reset(tp.topic) {
	case plan.ResetNone:
		return 0, s.p.lostError(tp, next, start, deleted+", by retention or DeleteRecords, and 'properties.auto.offset.reset' is 'none'")
	case plan.ResetLatest:
		start = max(start, found.end)
	}
	s.p.skipped(tp, found.id.String(), next, start, "they "+deleted)
	return start, nil
}

// checkGap handles records that start at offset first, after the next one expected. Offsets are
// missing if the log now starts after them; within the log, missing offsets belong to markers,
// aborted transactions or compacted records.
func (s *session) checkGap(tp topicPartition, first, start int64) error {
	next, ok := s.nextOffset(tp)
	if to := min(first, start); ok && next < to {
		return s.skipDeleted(tp, next, to)
	}
	return nil
}

// skipDeleted skips deleted offsets of a partition that is being read.
func (s *session) skipDeleted(tp topicPartition, next, start int64) error {
	s.mu.Lock()
	c := s.assigned[tp]
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	to, err := s.skipTo(tp, c.log, next, start)
	if err != nil {
		return err
	}
	if to != start {
		return fmt.Errorf("%s-%d has to be read from its end", tp.topic, tp.partition) // a new session starts there
	}
	return nil
}

// checkGaps finds partitions whose unread records were all deleted, which no record reveals, and
// sets their positions. A partition counts if it was at the same offset in the last check; before
// that, earlier records may still be in flight. polled are the records about to be processed.
func (s *session) checkGaps(ctx context.Context, polled kgo.Fetches) error {
	if time.Since(s.gapsChecked) < s.cfg.gapInterval {
		return nil
	}
	s.gapsChecked = time.Now()
	here := make(map[topicPartition]bool)
	polled.EachPartition(func(tp kgo.FetchTopicPartition) { here[topicPartition{tp.Topic, tp.Partition}] = len(tp.Records) > 0 })
	var topics []string
	for topic := range s.stages {
		topics = append(topics, topic)
	}
	starts, err := listStarts(ctx, s.group.Admin, topics...)
	if err != nil {
		return err
	}
	before := s.stuck
	s.stuck = make(map[topicPartition]int64)
	for topic, partitions := range starts {
		for partition, start := range partitions {
			tp := topicPartition{topic, partition}
			next, ok := s.nextOffset(tp)
			if !ok || next >= start.Offset || here[tp] || s.held[tp] != nil {
				continue
			}
			s.stuck[tp] = next
			if at, known := before[tp]; !known || at != next {
				continue
			}
			if err := s.skipDeleted(tp, next, start.Offset); err != nil {
				return err
			}
			s.setPosition(tp, start.Offset)
		}
	}
	return nil
}

// setPosition sets the position of a partition of which the open transaction has read nothing. The
// next commit writes it.
func (s *session) setPosition(tp topicPartition, next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.assigned[tp]; c != nil && c.read < 0 {
		c.next, c.heal = next, true
		s.resumed, s.healing = true, true
		s.p.setHealed(tp, false)
	}
}

// copySkipped returns the last skipped ranges, and the number of skipped offsets by topic, also if
// it is 0.
func (s *Status) copySkipped() ([]SkippedRange, map[string]int64) {
	all := make(map[string]int64)
	for _, t := range s.tasks {
		for _, in := range t.Inputs {
			all[in.Topic] = 0
		}
	}
	for topic, n := range s.skipped {
		all[topic] = n
	}
	return slices.Clone(s.skippedRanges), all
}

// Recreation is a source topic that was deleted and created again, while the state was kept.
type Recreation struct {
	Topic string `json:"topic"`
	Was   string `json:"was"` // id
	Is    string `json:"is"`
}

// recreated notes that a source topic is not the one that the state has read.
func (s *Status) recreated(topic, was, is string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := (Recreation{topic, was, is}); !slices.Contains(s.recreations, r) {
		s.recreations = append(s.recreations, r)
	}
}
