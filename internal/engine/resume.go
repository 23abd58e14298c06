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
)

// Where a partition is read on is decided by the position in the state, not by the group's offsets:
// those expire, and are deleted and reset by hand. The client asks for the group's offsets when a
// partition is assigned (AdjustFetchOffsetsFn) and waits there until the session has restored the
// state, so that no row is fetched before.

// covered is what is known of an assigned partition. A new assignment has a new one. session.mu
// guards it.
type covered struct {
	restored chan struct{} // closed when recorded, adopt and found are known, which nobody changes afterwards
	recorded *position     // nil where none is recorded
	adopt    bool          // an older version of Weir wrote the state: the group's offset is its position
	found    found

	settled bool  // next is decided
	next    int64 // to read, by what is committed
	read    int64 // to read after the open transaction; -1 where that has read nothing
	end     int64 // readable when it was last looked at
	heal    bool  // next is to be written, and committed as the group's offset, although nothing was read
}

// found is what the cluster says of a partition.
type found struct {
	id         kadm.TopicID
	partitions int32
	start, end int64 // of the log
}

// startOffsets replaces the group's offsets of partitions that were just assigned by those that the
// state covers. A goroutine of the client's calls it.
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
	c := s.covered[tp]
	s.mu.Unlock()
	if c == nil {
		return committed, fmt.Errorf("%s-%d was taken away again: %w", tp.topic, tp.partition, context.Canceled)
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
	c.next, c.end, c.settled = next, c.found.end, true
	c.heal = next != group && (c.recorded != nil || next > c.found.start) || c.adopt
	s.settled, s.healing = true, s.healing || c.heal
	s.p.setHealed(tp, !c.heal)
	if next == group {
		return committed, nil // with its epoch
	}
	return kgo.NewOffset().At(next), nil
}

// resume decides where a partition is read on. group is the offset that the group has committed;
// negative where it has none.
func (s *session) resume(tp topicPartition, c *covered, group int64) (int64, error) {
	at := s.cfg.Logger.With("topic", tp.topic, "partition", tp.partition)
	switch {
	case c.adopt && group < 0:
		return 0, s.p.mismatch("the state does not say how far it covers %s-%d, because an older version of Weir wrote it, and group %s has no offset there: rows would be lost or counted twice",
			tp.topic, tp.partition, Group(s.cfg.Program))
	case c.adopt:
		at.Warn("an older version of Weir wrote the state, without a position: the group's offset is taken, this once", "offset", group)
		if c.found.start > group {
			return s.passOver(tp, c.found, group, c.found.start)
		}
		return group, nil
	case c.recorded == nil:
		return s.beginAt(tp, c, group)
	}
	if id := c.found.id.String(); id != c.recorded.ID {
		return s.readRecreated(tp, c)
	}
	next := c.recorded.Next
	if c.found.start > next {
		return s.passOver(tp, c.found, next, c.found.start)
	}
	if c.found.end < next {
		if !s.p.accepted(tp, c.found.end, next) {
			return 0, s.p.lost(tp, c.found.end, next, "are part of the state, but the topic ends before them: it was cut, as an unclean leader election or a restored backup does")
		}
		return c.found.end, nil
	}
	switch {
	case group < 0:
		at.Warn("the group has no offset: the position in the state decides", "offset", next)
	case group != next:
		at.Warn("the group's offset is not that of the state: the position in the state decides", "group", group, "offset", next)
	}
	return next, nil
}

// beginAt is where a partition is first read.
func (s *session) beginAt(tp topicPartition, c *covered, group int64) (int64, error) {
	byGroup := s.p.adopted
	for _, t := range s.p.sources() {
		byGroup = byGroup || t.Topic == tp.topic && t.Startup.Group
	}
	switch {
	case group >= 0 && byGroup && c.found.start > group:
		return s.passOver(tp, c.found, group, c.found.start)
	case group >= 0 && byGroup:
		return group, nil
	case group < 0 && s.p.wantsGroup(tp.topic):
		return 0, &fatalError{fmt.Errorf("group %s has no offset of %s-%d, and its table says 'scan.startup.mode' = 'group-offsets' and 'properties.auto.offset.reset' = 'none': "+
			"set the group's offset, or choose another startup mode", Group(s.cfg.Program), tp.topic, tp.partition)}
	case group > 0:
		return 0, s.p.mismatch("group %s has read %s-%d up to offset %d, and no state of this pipeline says so: the state was lost, or another program has used the group",
			Group(s.cfg.Program), tp.topic, tp.partition, group)
	}
	switch begin, known := s.p.beginOf(tp); {
	case known && begin < c.found.start:
		return s.passOver(tp, c.found, begin, c.found.start)
	case known:
		return begin, nil
	}
	return c.found.start, nil
}

// wantsGroup reports whether a topic can only be read from an offset of the group.
func (p *pipeline) wantsGroup(topic string) bool {
	return slices.ContainsFunc(p.sources(), func(t *plan.Table) bool { return t.Topic == topic && t.Startup.Group && t.Reset == plan.ResetNone })
}

// readRecreated is where a topic is read that was deleted and created again: a source from its
// beginning, with the state kept.
func (s *session) readRecreated(tp topicPartition, c *covered) (int64, error) {
	was, id := c.recorded, c.found.id.String()
	if !s.p.isSource(tp.topic) {
		if !s.p.accepted(tp, was.Next, was.End) {
			return 0, s.p.lost(tp, was.Next, max(was.End, was.Next+1), "may be missing: the topic, which carries rows between stages, was deleted and created again")
		}
		return c.found.start, nil
	}
	s.cfg.Logger.Warn("the topic was deleted and created again: it is read from its beginning, and the state is kept", "topic", tp.topic, "partition", tp.partition, "was", was.ID, "is", id)
	s.cfg.Status.recreated(tp.topic, was.ID, id)
	if was.End > was.Next {
		s.p.skipped(tp, was.ID, was.Next, was.End, "they were deleted with their topic before they were read")
	}
	return c.found.start, nil
}

// refuse keeps the error with which the session is to end.
func (s *session) refuse(err error) {
	var broken *fatalError
	if !errors.As(err, &broken) {
		return // the group asks again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = err
	}
}

// refusal is the error with which startOffsets ended the session; nil where it did not.
func (s *session) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// recall finds what is recorded of partitions that have come, and lets the client read them.
func (s *session) recall(ctx context.Context, come map[topicPartition]*covered) error {
	if len(come) == 0 {
		return nil
	}
	if err := s.restoreLedgers(ctx, come); err != nil {
		return err
	}
	for tp, c := range come {
		if err := s.recorded(tp, c); err != nil {
			return err
		}
	}
	if err := s.find(ctx, come); err != nil {
		return err
	}
	for _, c := range come {
		close(c.restored)
	}
	return nil
}

// recorded finds the position that is recorded for a partition.
func (s *session) recorded(tp topicPartition, c *covered) error {
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
		case !known: // no record of it was ever read
		case c.recorded != nil && c.recorded.Next != at.Next:
			return s.p.mismatch("%s and %s disagree on how far %s-%d is read: up to offset %d, and up to offset %d", by, l.topic, tp.topic, tp.partition, c.recorded.Next, at.Next)
		default:
			c.recorded, by = &at, l.topic
		}
	}
	return nil
}

// find asks the cluster for the topics' ids and partitions, and how far their logs reach.
func (s *session) find(ctx context.Context, come map[topicPartition]*covered) error {
	unique := make(map[string]bool)
	for tp := range come {
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
	for tp, c := range come {
		t := s.details[tp.topic]
		start, _ := starts.Lookup(tp.topic, tp.partition)
		end, _ := ends.Lookup(tp.topic, tp.partition)
		c.found = found{id: t.ID, partitions: int32(len(t.Partitions)), start: start.Offset, end: end.Offset} //nolint:gosec // few
	}
	return nil
}
