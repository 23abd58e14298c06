package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// The position in the state decides where a partition is resumed, not the group's offsets: those
// expire, and are deleted and reset by hand. When a partition is assigned, the client fetches the
// group's offsets and then waits in AdjustFetchOffsetsFn until the session has restored the state,
// so that no row is fetched before.

// assignment is what is known of an assigned partition. A partition that is assigned again gets a
// new one. session.mu guards it.
type assignment struct {
	restored chan struct{} // closed once recorded, adopt and log are final
	recorded *position     // nil if none is recorded
	adopt    bool          // an older version of Weir wrote the state: the group's offset is its position
	log      partitionLog

	resumed bool  // next is known
	next    int64 // offset to read next, by what is committed
	read    int64 // offset to read next after the open transaction; -1 if that has read nothing
	end     int64 // end of readable records when it was last seen
	heal    bool  // next has to be committed as position and group offset although nothing was read
}

// partitionLog describes a partition in the cluster.
type partitionLog struct {
	id         kadm.TopicID
	partitions int32
	start, end int64 // offsets
}

// startOffsets replaces the group's offsets of newly assigned partitions by the positions in the
// state. It runs on a goroutine of the client.
func (s *session) startOffsets(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for topic, partitions := range offsets {
		for partition, group := range partitions {
			at, err := s.startOffset(ctx, topicPartition{topic, partition}, group)
			if err != nil {
				s.refuse(err)
				return nil, err
			}
			partitions[partition] = at
		}
	}
	return offsets, nil
}

func (s *session) startOffset(ctx context.Context, tp topicPartition, committed kgo.Offset) (kgo.Offset, error) {
	s.mu.Lock()
	c := s.assigned[tp]
	s.mu.Unlock()
	if c == nil {
		return committed, fmt.Errorf("%s-%d was revoked again: %w", tp.topic, tp.partition, context.Canceled)
	}
	select {
	case <-c.restored:
	case <-ctx.Done():
		return committed, ctx.Err()
	}
	group := committed.EpochOffset().Offset
	next, err := s.resume(tp, c, group)
	if err != nil {
		return committed, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.next, c.end, c.resumed = next, c.log.end, true
	c.heal = next != group && (c.recorded != nil || next > c.log.start) || c.adopt
	s.resumed, s.healing = true, s.healing || c.heal
	s.p.setHealed(tp, !c.heal)
	if next == group {
		return committed, nil // with its epoch
	}
	return kgo.NewOffset().At(next), nil
}

// resume decides where a partition is resumed. group is the offset that the group has committed,
// negative if it has none.
func (s *session) resume(tp topicPartition, c *assignment, group int64) (int64, error) {
	at := s.cfg.Logger.With("topic", tp.topic, "partition", tp.partition)
	switch {
	case c.adopt && group < 0:
		return 0, s.p.mismatch("the position of the state in %s-%d is unknown, because an older version of Weir wrote the state, and group %s has no offset there: rows would be lost or counted twice",
			tp.topic, tp.partition, Group(s.cfg.Program))
	case c.adopt:
		at.Warn("an older version of Weir wrote the state without a position: using the group's offset this once", "offset", group)
		if c.log.start > group {
			return s.skipTo(tp, c.log, group, c.log.start)
		}
		return group, nil
	case c.recorded == nil:
		return s.resumeWithoutPosition(tp, c, group)
	}
	if id := c.log.id.String(); id != c.recorded.ID {
		return s.resumeRecreated(tp, c)
	}
	next := c.recorded.Next
	if c.log.start > next {
		return s.skipTo(tp, c.log, next, c.log.start)
	}
	if c.log.end < next {
		if !s.p.accepted(tp, c.log.end, next) {
			return 0, s.p.lostError(tp, c.log.end, next, "are part of the state, but the topic ends before them: it was truncated, for example by an unclean leader election or a restored backup")
		}
		return c.log.end, nil
	}
	switch {
	case group < 0:
		at.Warn("the group has no offset: using the position in the state", "offset", next)
	case group != next:
		at.Warn("the group's offset differs from the position in the state: using the position", "group", group, "offset", next)
	}
	return next, nil
}

// resumeWithoutPosition decides where a partition is first read.
func (s *session) resumeWithoutPosition(tp topicPartition, c *assignment, group int64) (int64, error) {
	byGroup := s.p.adopted
	for _, t := range s.p.sources() {
		byGroup = byGroup || t.Kafka.Topic == tp.topic && t.Kafka.Startup.Group
	}
	switch {
	case group >= 0 && byGroup && c.log.start > group:
		return s.skipTo(tp, c.log, group, c.log.start)
	case group >= 0 && byGroup:
		return group, nil
	case group < 0 && s.p.wantsGroup(tp.topic):
		return 0, &fatalError{fmt.Errorf("group %s has no offset for %s-%d, and its table has 'scan.startup.mode' = 'group-offsets' and 'properties.auto.offset.reset' = 'none': "+
			"set the group's offset, or choose another startup mode", Group(s.cfg.Program), tp.topic, tp.partition)}
	case group > 0:
		return 0, s.p.mismatch("group %s has read %s-%d up to offset %d, but the pipeline's state has no position there: the state was lost, or another program has used the group",
			Group(s.cfg.Program), tp.topic, tp.partition, group)
	}
	switch begin, known := s.p.startupOf(tp); {
	case known && begin < c.log.start:
		return s.skipTo(tp, c.log, begin, c.log.start)
	case known:
		return begin, nil
	}
	return c.log.start, nil
}

// wantsGroup reports whether a topic must be read from an offset of the group.
func (p *pipeline) wantsGroup(topic string) bool {
	return slices.ContainsFunc(p.sources(), func(t *plan.Table) bool {
		return t.Kafka.Topic == topic && t.Kafka.Startup.Group && t.Kafka.Reset == plan.ResetNone
	})
}

// resumeRecreated decides where a topic is resumed that was deleted and created again: a source
// from its beginning, keeping the state.
func (s *session) resumeRecreated(tp topicPartition, c *assignment) (int64, error) {
	was, id := c.recorded, c.log.id.String()
	if !s.p.isSource(tp.topic) {
		if !s.p.accepted(tp, was.Next, was.End) {
			return 0, s.p.lostError(tp, was.Next, max(was.End, was.Next+1), "may be missing: the topic, which transports rows between stages, was deleted and created again")
		}
		return c.log.start, nil
	}
	s.cfg.Logger.Warn("the topic was deleted and created again: reading it from its beginning, keeping the state", "topic", tp.topic, "partition", tp.partition, "was", was.ID, "is", id)
	s.cfg.Status.recreated(tp.topic, was.ID, id)
	if was.End > was.Next {
		s.p.skipped(tp, was.ID, was.Next, was.End, "they were deleted with their topic before they were read")
	}
	return c.log.start, nil
}

// refuse records an error that ends the session.
func (s *session) refuse(err error) {
	var fatal *fatalError
	if !errors.As(err, &fatal) {
		return // the client asks again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = err
	}
}

// refusal returns the error with which startOffsets ended the session, if any.
func (s *session) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// resumeAdded finds the positions of newly assigned partitions, and lets the client read them.
func (s *session) resumeAdded(ctx context.Context, added map[topicPartition]*assignment) error {
	if len(added) == 0 {
		return nil
	}
	if err := s.restoreLedgers(ctx, added); err != nil {
		return err
	}
	for tp, c := range added {
		if err := s.findPosition(tp, c); err != nil {
			return err
		}
	}
	if err := s.inheritPositions(ctx, added); err != nil {
		return err
	}
	if err := s.describeLogs(ctx, added); err != nil {
		return err
	}
	for _, c := range added {
		close(c.restored)
	}
	return nil
}

// findPosition finds the position that is recorded for a partition.
func (s *session) findPosition(tp topicPartition, c *assignment) error {
	var by string
	for _, l := range s.ledgersOf(tp) {
		positions, adopt, err := s.p.trust(l)
		if err != nil {
			return err
		}
		at, known := positions[tp.topic]
		switch {
		case adopt:
			c.adopt = true
		case !known: // it was never read
		case c.recorded != nil && c.recorded.Next != at.Next:
			return s.p.mismatch("%s and %s disagree on the position of %s-%d: offset %d and offset %d", by, l.topic, tp.topic, tp.partition, c.recorded.Next, at.Next)
		default:
			c.recorded, by = &at, l.topic
		}
	}
	return nil
}

// inheritPositions finds the positions of sources that only stateless stages read until SQL was
// added that keeps state over them. They stay in the positions topic until a task's state has one.
// A topic never becomes stateless again, because its stage would be lost.
func (s *session) inheritPositions(ctx context.Context, added map[topicPartition]*assignment) error {
	byPartition, unknown := make(map[int32]*ledger), make(map[topicPartition]*assignment)
	for tp, c := range added {
		if c.recorded == nil && !c.adopt && s.p.isSource(tp.topic) && len(s.p.statefulReaders(tp.topic)) > 0 {
			unknown[tp] = c
			byPartition[tp.partition] = &ledger{store: state.Memory(), topic: s.p.positionsTopic(), partition: tp.partition}
		}
	}
	if len(byPartition) == 0 {
		return nil
	}
	n, err := partitionsOf(ctx, s.group.Admin, s.p.positionsTopic())
	if err != nil {
		return err
	}
	maps.DeleteFunc(byPartition, func(partition int32, _ *ledger) bool { return partition >= n })
	if len(byPartition) == 0 {
		return nil
	}
	if _, err := s.p.readChangelog(ctx, s.group.Admin, slices.Collect(maps.Values(byPartition)), func(int32) {}); err != nil {
		return err
	}
	for tp, c := range unknown {
		l := byPartition[tp.partition]
		if l == nil { // the positions topic has no such partition
			continue
		}
		_, positions, err := l.read()
		if err != nil {
			return err
		}
		if at, known := positions[tp.topic]; known {
			c.recorded = &at
		}
	}
	return nil
}

// describeLogs fetches the topics' ids and numbers of partitions, and where their logs start and
// end.
func (s *session) describeLogs(ctx context.Context, added map[topicPartition]*assignment) error {
	unique := make(map[string]bool)
	for tp := range added {
		unique[tp.topic] = true
	}
	topics := slices.Sorted(maps.Keys(unique))
	starts, err := listStarts(ctx, s.group.Admin, topics...)
	if err != nil {
		return err
	}
	ends, err := listEnds(ctx, s.group.Admin, topics...)
	if err != nil {
		return err
	}
	for tp, c := range added {
		t := s.details[tp.topic]
		start, _ := starts.Lookup(tp.topic, tp.partition)
		end, _ := ends.Lookup(tp.topic, tp.partition)
		c.log = partitionLog{id: t.ID, partitions: int32(len(t.Partitions)), start: start.Offset, end: end.Offset} //nolint:gosec // small number
		s.p.attempts.assigned(tp, c.log.id.String())
	}
	return nil
}
