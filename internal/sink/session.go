package sink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// session is one life of the consumer and of the connection to the target.
type session struct {
	Config
	client  *kgo.Client
	target  Session
	reader  *reader
	letters *letters
	starts  map[int32]int64 // of the topic's partitions
	stables map[int32]int64 // ends of what can be read

	connected sync.Mutex // guards target
	writing   *delivery  // what the target writes; nil if it is free
	idle      bool       // the last poll has read nothing
	delivered bool
	spare     []*prepared // whose memory is used again

	mu     sync.Mutex
	next   map[int32]int64 // delivered up to there
	repeat map[int32]int64 // offset after the rows that must be delivered together, see Batch.Repeat
	buffer buffer
	ready  *prepared // the next batch; nil if there is none
	failed error     // of a claim
	ended  bool      // it leaves the group
}

// runSession delivers rows until ctx is done or there is an error. It reports whether it delivered
// any.
func runSession(ctx context.Context, c Config, l *letters) (delivered bool, err error) {
	work, cancel := broker.Finishing(ctx, c.StopTimeout)
	defer cancel()
	s := &session{Config: c, letters: l, next: make(map[int32]int64), repeat: make(map[int32]int64), buffer: newBuffer()}
	if s.reader, err = newReader(c.Table); err != nil {
		return false, &RefusedError{err}
	}
	from, err := s.findTopic(ctx)
	if err != nil {
		return false, err
	}
	opening, stop := context.WithTimeout(ctx, c.DeliverTimeout)
	s.target, err = c.Target.Open(opening, from)
	stop()
	if err != nil {
		return false, err
	}
	defer func() {
		s.connected.Lock()
		defer s.connected.Unlock()
		s.target.Close()
	}()
	options, err := c.Broker.Options()
	if err != nil {
		return false, err
	}
	s.client, err = kgo.NewClient(append(options,
		kgo.ConsumerGroup(Group(c.Pipeline, c.Table.Name)), kgo.ConsumeTopics(c.Table.Kafka.Topic), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(c.SessionTimeout), kgo.HeartbeatInterval(c.SessionTimeout/4), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.KeepControlRecords(), // whose offsets count as delivered, so that the end is reached
		kgo.AdjustFetchOffsetsFn(s.claim), kgo.OnPartitionsRevoked(s.release), kgo.OnPartitionsLost(s.release),
		c.Broker.Observe("sink", c.Table.Name))...)
	if err != nil {
		return false, err
	}
	defer s.client.CloseAllowingRebalance()
	c.Status.set(Delivering, nil)
	for ctx.Err() == nil && err == nil {
		err = s.step(ctx, work)
	}
	if landed := s.land(); err == nil {
		err = landed
	}
	s.mu.Lock()
	s.ended = err != nil
	s.mu.Unlock()
	return s.delivered, err
}

// findTopic returns the identity of the topic, and notes its bounds.
func (s *session) findTopic(ctx context.Context) (Topic, error) {
	client, err := broker.Connect(ctx, s.Broker)
	if err != nil {
		return Topic{}, err
	}
	defer client.Close()
	name := s.Table.Kafka.Topic
	topics, err := kadm.NewClient(client).ListTopics(ctx, name)
	if err != nil {
		return Topic{}, fmt.Errorf("describe topic %s: %w", name, err)
	}
	if err := topics[name].Err; err != nil {
		return Topic{}, fmt.Errorf("describe topic %s: %w", name, err)
	}
	if s.starts, s.stables, err = boundsOf(ctx, kadm.NewClient(client), name); err != nil {
		return Topic{}, err
	}
	s.Status.ends(s.starts, s.stables)
	return Topic{name, topics[name].ID.String(), topics[name].ID}, nil
}

// bounds returns the start of a topic's partitions, and the ends of what readers see.
func bounds(ctx context.Context, c broker.Config, topic string) (starts, ends map[int32]int64, err error) {
	client, err := broker.Connect(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	defer client.Close()
	return boundsOf(ctx, kadm.NewClient(client), topic)
}

func boundsOf(ctx context.Context, admin *kadm.Client, topic string) (starts, ends map[int32]int64, err error) {
	starts, ends = make(map[int32]int64), make(map[int32]int64)
	for _, list := range []struct {
		of   func(context.Context, ...string) (kadm.ListedOffsets, error)
		into map[int32]int64
	}{{admin.ListStartOffsets, starts}, {admin.ListCommittedOffsets, ends}} {
		listed, err := list.of(ctx, topic)
		if err == nil {
			err = listed.Error()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("list offsets of %s: %w", topic, err)
		}
		for p, o := range listed[topic] {
			list.into[p] = o.Offset
		}
	}
	if len(starts) == 0 {
		return nil, nil, fmt.Errorf("describe topic %s: %w", topic, kerr.UnknownTopicOrPartition)
	}
	return starts, ends, nil
}

// claim replaces the group's offsets of newly assigned partitions by the target's. It runs on a
// goroutine of the client.
func (s *session) claim(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	topic := s.Table.Kafka.Topic
	assigned := slices.Sorted(maps.Keys(offsets[topic]))
	if len(assigned) == 0 {
		return offsets, nil
	}
	next, repeats, err := s.claimed(ctx, assigned)
	if err != nil {
		s.fail(err)
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, at := range next {
		s.next[p], s.buffer.from[p] = at, at
		delete(s.repeat, p)
		if until, ok := repeats[p]; ok {
			s.repeat[p] = until
		}
		offsets[topic][p] = kgo.NewOffset().At(at)
	}
	s.Status.owned(s.next)
	return offsets, nil
}

func (s *session) claimed(ctx context.Context, partitions []int32) (next, repeats map[int32]int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.DeliverTimeout)
	defer cancel()
	s.connected.Lock()
	next, err = s.target.Claim(ctx, partitions)
	if r, ok := s.target.(interface{ Repeats() map[int32]int64 }); ok {
		repeats = maps.Clone(r.Repeats())
	}
	s.connected.Unlock()
	if err != nil {
		return nil, nil, err
	}
	starts, ends, err := bounds(ctx, s.Broker, s.Table.Kafka.Topic)
	if err != nil {
		return nil, nil, err
	}
	for p, until := range repeats { // the rows that the topic still has
		repeats[p] = min(until, ends[p])
	}
	for _, p := range partitions {
		if err := s.checkPosition(p, next[p], starts[p], ends[p]); err != nil {
			return nil, nil, err
		}
	}
	return next, repeats, nil
}

// checkPosition refuses positions that the topic does not contain: rows that were not delivered are
// gone, or rows were delivered that the topic does not have.
func (s *session) checkPosition(partition int32, next, start, end int64) error {
	topic, sink := s.Table.Kafka.Topic, Name(s.Pipeline, s.Table.Name)
	switch {
	case next < start:
		return Refuse("sink %s has delivered %s-%d up to offset %d, but the topic begins at %d: the rows between were deleted before they were delivered, because the target was away for longer than the topic's retention or was restored from an older backup. "+
			"Restore a newer backup, or let the pipeline compute its results again under another name (SET 'pipeline.name'); to continue without these rows, stop the pipeline and %s", sink, topic, partition, next, start, s.Target.AcceptPosition(partition, start))
	case next > end:
		return Refuse("sink %s has delivered %s-%d up to offset %d, but the topic ends at %d: the topic is an older copy, and rows of these offsets would never be delivered. "+
			"Restore the topic, or give the pipeline another name (SET 'pipeline.name'); to deliver what the topic has from its end, stop the pipeline and %s", sink, topic, partition, next, end, s.Target.AcceptPosition(partition, end))
	}
	return nil
}

// fail ends the session with an error of another goroutine.
func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
}

// release forgets partitions that another process gets, with their rows that are not delivered. A
// session that ends with an error leaves its partitions to the status: their rows wait.
func (s *session) release(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := lost[s.Table.Kafka.Topic]
	if s.ready != nil { // it may have rows of them
		s.buffer.back(s.ready)
		s.ready = nil
	}
	for _, p := range gone {
		delete(s.next, p)
		delete(s.repeat, p)
	}
	s.buffer.drop(gone)
	if !s.ended {
		s.Status.owned(s.next)
	}
}
