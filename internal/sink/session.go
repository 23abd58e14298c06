package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

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

	mu        sync.Mutex
	connected sync.Mutex // guards target
	next      map[int32]int64
	repeat    map[int32]int64 // offset after the rows that must be delivered together, see Batch.Repeat
	buffer    []*kgo.Record   // read, and not delivered
	read      map[int32]int64 // next offset to read, where it differs from next
	bytes     int
	since     time.Time // of the first record of the buffer
	failed    error     // of a claim
	ended     bool      // it leaves the group
	delivered bool
}

// runSession delivers rows until ctx is done or there is an error. It reports whether it delivered
// any.
func runSession(ctx context.Context, c Config, l *letters) (delivered bool, err error) {
	work, cancel := broker.Finishing(ctx, c.StopTimeout)
	defer cancel()
	s := &session{Config: c, letters: l, next: make(map[int32]int64), repeat: make(map[int32]int64), read: make(map[int32]int64)}
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
	for ctx.Err() == nil {
		if err := s.step(ctx, work); err != nil {
			s.mu.Lock()
			s.ended = true
			s.mu.Unlock()
			return s.delivered, err
		}
	}
	return s.delivered, nil
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
		s.next[p] = at
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

func (s *session) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// release forgets partitions that another process gets, with their rows that are not delivered. A
// session that ends with an error leaves its partitions to the status: their rows wait.
func (s *session) release(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := lost[s.Table.Kafka.Topic]
	for _, p := range gone {
		delete(s.next, p)
		delete(s.read, p)
		delete(s.repeat, p)
	}
	s.buffer = slices.DeleteFunc(s.buffer, func(r *kgo.Record) bool { return slices.Contains(gone, r.Partition) })
	if !s.ended {
		s.Status.owned(s.next)
	}
}

// pollLimit bounds the time in which the group can't move partitions.
const pollLimit = 200 * time.Millisecond

// step reads records, and delivers them if there are enough or they have waited long enough.
func (s *session) step(ctx, work context.Context) error {
	wait := pollLimit
	if s.Interval > 0 && len(s.read) > 0 {
		wait = min(wait, max(s.Interval-s.Now().Sub(s.since), time.Millisecond))
	}
	polling, cancel := context.WithTimeout(ctx, wait)
	fetches := s.client.PollRecords(polling, s.MaxRows)
	cancel()
	defer s.client.AllowRebalance()
	if err := s.failure(); err != nil {
		return err
	}
	if err := fetchError(fetches); err != nil {
		return err
	}
	s.mu.Lock()
	fetches.EachRecord(s.add)
	full := len(s.buffer) >= s.MaxRows || s.bytes >= s.MaxBytes
	due := len(s.read) > 0 && s.repeatRead() && (full || s.Interval == 0 || s.Now().Sub(s.since) >= s.Interval || s.Status.awaited() && fetches.NumRecords() == 0)
	s.mu.Unlock()
	if !due || ctx.Err() != nil {
		return nil
	}
	return s.deliver(work)
}

// repeatRead reports whether rows that must be delivered together have all been read.
func (s *session) repeatRead() bool {
	for p, until := range s.repeat {
		if read, ok := s.read[p]; ok && read < until {
			return false
		}
	}
	return true
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

func (s *session) add(r *kgo.Record) {
	next, owned := s.next[r.Partition]
	if read, ok := s.read[r.Partition]; ok {
		next = read
	}
	if !owned || r.Offset < next {
		return // of a partition that was assigned before
	}
	if len(s.read) == 0 {
		s.since = s.Now()
	}
	s.read[r.Partition] = r.Offset + 1
	if !r.Attrs.IsControl() {
		s.buffer = append(s.buffer, r)
		s.bytes += len(r.Key) + len(r.Value)
	}
}

// deliver delivers the buffer. The group can't move partitions meanwhile.
func (s *session) deliver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.DeliverTimeout)
	defer cancel()
	batch, bad := s.reader.rows(s.buffer)
	batch.From, batch.Next = make(map[int32]int64), make(map[int32]int64)
	for p, next := range s.read {
		batch.From[p], batch.Next[p] = s.next[p], next
	}
	batch.Repeat = maps.Clone(s.repeat)
	batch.Member, batch.Generation = s.client.GroupMetadata()
	letters := len(bad)
	if len(bad) > 0 {
		if err := s.letters.send(ctx, s.client, bad); err != nil {
			return err
		}
	}
	began := s.Now()
	s.connected.Lock()
	err := s.target.Deliver(ctx, batch, func(refused []Refusal) error {
		letters += len(refused)
		return s.letters.send(ctx, s.client, refused)
	})
	s.connected.Unlock()
	if err != nil {
		return err
	}
	if letters > 0 {
		s.Logger.Warn("the target refused rows, which are dead letters now", "rows", letters, "topic", s.DeadLetters)
	}
	s.letters.delivered(batch.Next)
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.next, batch.Next)
	for p := range batch.Next {
		delete(s.repeat, p)
	}
	s.Status.delivered(s.next, Delivery{Records: len(s.buffer), Rows: batch.Rows.N, Deletes: batch.Deleted.N, Letters: letters, Took: s.Now().Sub(began)})
	clear(s.read)
	clear(s.buffer)
	s.buffer, s.bytes, s.delivered = s.buffer[:0], 0, true
	return nil
}
