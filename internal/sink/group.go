package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/saved"
)

// Sender sends rows to a target that can't keep offsets, so that a row can be there twice.
type Sender interface {
	// Into names where in the target the rows are, apart from its address: rows that are sent
	// elsewhere after a restart would be missing there. "" if it does not matter.
	Into() string
	// Open connects. The error is a *RefusedError if trying again is useless.
	Open(ctx context.Context) (Sending, error)
}

// Sending is a connection of a Sender. After an error it is closed.
type Sending interface {
	// Send sends the rows of a batch. It calls p.Sending before each request, and p.Acknowledged
	// after it.
	Send(ctx context.Context, b *Batch, p *Progress) error
	Close()
}

// AtLeastOnce returns a target that delivers with a Sender. Its positions are offsets of the sink's
// consumer group, committed after the target has acknowledged the rows. The member and the
// generation that have read a batch fence the commits, and each request begins with one: a process
// that has lost its partitions stops before it sends.
func AtLeastOnce(c broker.Config, pipeline string, t *plan.Table, s Sender) Target {
	return &groupTarget{broker: c, name: Name(pipeline, t.Name), group: Group(pipeline, t.Name), topic: t.Kafka.Topic, sender: s, now: time.Now}
}

type groupTarget struct {
	broker             broker.Config
	name, group, topic string
	sender             Sender
	now                func() time.Time
}

// note is the metadata of a committed offset. An offset without one was set by hand.
type note struct {
	Topic string `json:"topic"` // its id
	Into  string `json:"into,omitempty"`
	// Until is the offset after the last row of a request that begins at the committed offset, and
	// may have been sent.
	Until int64 `json:"until,omitempty"`
}

// decodeNote decodes the metadata of an offset. It returns false if no sink has written it:
// somebody else has set the offset.
func decodeNote(metadata string) (n note, ok bool) {
	err := saved.Decode([]byte(metadata), &n, "topic")
	if err != nil || n.Topic == "" || n.Until < 0 {
		return note{}, false
	}
	return n, true
}

// Open implements Target.
func (t *groupTarget) Open(ctx context.Context, from Topic) (Session, error) {
	sending, err := t.sender.Open(ctx)
	if err != nil {
		return nil, err
	}
	client, err := broker.Connect(ctx, t.broker)
	if err != nil {
		sending.Close()
		return nil, err
	}
	return &groupSession{groupTarget: t, from: from, sending: sending, client: client}, nil
}

// committed returns the offsets of the group, with their notes.
func (t *groupTarget) committed(ctx context.Context, client *kgo.Client) (map[int32]int64, map[int32]note, error) {
	all, err := kadm.NewClient(client).FetchOffsets(ctx, t.group)
	if err == nil {
		err = all.Error()
	}
	if errors.Is(err, kerr.GroupIDNotFound) { // no one has joined it yet, or again
		all, err = nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the offsets of group %s: %w", t.group, err)
	}
	next, notes := make(map[int32]int64), make(map[int32]note)
	for p, o := range all[t.topic] {
		if o.At < 0 {
			continue
		}
		next[p] = o.At
		if n, ok := decodeNote(o.Metadata); ok {
			notes[p] = n
		}
	}
	return next, notes, nil
}

// Positions implements Target.
func (t *groupTarget) Positions(ctx context.Context, from Topic) (map[int32]int64, error) {
	client, err := broker.Connect(ctx, t.broker)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	next, notes, err := t.committed(ctx, client)
	maps.DeleteFunc(next, func(p int32, _ int64) bool { return notes[p].Topic != "" && notes[p].Topic != from.ID })
	return next, err
}

// AcceptPosition implements Target.
func (t *groupTarget) AcceptPosition(partition int32, next int64) string {
	return fmt.Sprintf("set the offset of its group: kafka-consumer-groups --reset-offsets --to-offset %d --topic %s:%d --group %s --execute", next, t.topic, partition, t.group)
}

// groupSession implements Session.
type groupSession struct {
	*groupTarget
	from    Topic
	sending Sending
	client  *kgo.Client
	repeats map[int32]int64
	begun   map[int32]bool // partitions of which rows were delivered, by any session
}

// Close implements Session.
func (s *groupSession) Close() {
	s.sending.Close()
	s.client.Close()
}

// Claim implements Session. The group has already fenced the previous member.
func (s *groupSession) Claim(ctx context.Context, partitions []int32) (map[int32]int64, error) {
	committed, notes, err := s.committed(ctx, s.client)
	if err != nil {
		return nil, err
	}
	if s.begun, err = s.readBegun(ctx); err != nil {
		return nil, err
	}
	next := make(map[int32]int64)
	s.repeats = make(map[int32]int64)
	var expired []int32
	again := fmt.Sprintf("to deliver all rows of the topic from its beginning, stop the pipeline and set its offsets: kafka-consumer-groups --reset-offsets --to-earliest --group %s --topic %s --execute", s.group, s.topic)
	for _, p := range partitions {
		next[p] = committed[p]
		if _, ok := committed[p]; !ok && s.begun[p] {
			expired = append(expired, p)
		}
		n, ok := notes[p]
		switch {
		case ok && n.Topic != s.from.ID:
			return nil, Refuse("sink %s delivers the rows of another topic: its offsets are those of topic id %s, and %s has the id %s: the topic was deleted, and its rows that were not delivered are lost; %s", s.name, n.Topic, s.from.Name, s.from.ID, again)
		case ok && n.Into != s.sender.Into():
			return nil, Refuse("sink %s has delivered its rows so far to %s, and would continue in %s without them: give the SQL table another name; %s", s.name, n.Into, s.sender.Into(), again)
		case n.Until > next[p]:
			s.repeats[p] = n.Until
		}
	}
	if len(expired) > 0 {
		return nil, s.expired(expired)
	}
	return next, nil
}

// Repeats returns, for claimed partitions whose next rows may have been sent in one request, the
// offset after the last of them.
func (s *groupSession) Repeats() map[int32]int64 { return s.repeats }

// Deliver implements Session.
func (s *groupSession) Deliver(ctx context.Context, b *Batch, refused func([]Refusal) error) error {
	p := &Progress{session: s, batch: b, refused: refused, at: make(map[int32]int64), until: make(map[int32]int64)}
	maps.Copy(p.at, b.From)
	if err := s.sending.Send(ctx, b, p); errors.As(err, new(*FencedError)) {
		return err
	} else if err != nil {
		return errors.Join(err, p.flush(ctx))
	}
	maps.Copy(p.at, b.Next)
	clear(p.until)
	return p.commit(ctx)
}

// Progress is how far the rows of a batch are sent. Its methods are called by one goroutine.
type Progress struct {
	session *groupSession
	batch   *Batch
	refused func([]Refusal) error

	at, until map[int32]int64
	changed   bool
	letters   []Refusal // after the committed positions
	committed time.Time
}

// ownership is how long a commit shows that the partitions are still those of this process. It is
// shorter than any session timeout.
const ownership = time.Second

// Sending is called before a request. Its rows are the next ones of a partition, up to the offset
// until, exclusive; if the request fails, the next process sends the same rows in one request. With
// a negative partition nothing is recorded of its rows. If it returns an error, the request must
// not be sent.
func (p *Progress) Sending(ctx context.Context, partition int32, until int64) error {
	if partition >= 0 {
		if until > p.at[partition]+1 { // a single row needs no record
			p.until[partition], p.changed = until, true
		}
	}
	if p.changed || p.session.now().Sub(p.committed) >= ownership {
		return p.commit(ctx)
	}
	return nil
}

// Acknowledged says that the rows of a partition before an offset are delivered, or refused.
func (p *Progress) Acknowledged(partition int32, next int64) {
	if next > p.at[partition] {
		p.at[partition], p.changed = next, true
	}
	if p.until[partition] <= next {
		delete(p.until, partition)
	}
}

// Refuse makes a row a dead letter, before the position after it is committed.
func (p *Progress) Refuse(r Refusal) { p.letters = append(p.letters, r) }

// flush commits what was acknowledged before an error.
func (p *Progress) flush(ctx context.Context) error {
	if !p.changed {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
	defer cancel()
	return p.commit(ctx)
}

const flushLimit = 2 * time.Second

// commit writes dead letters and commits the positions, fenced by the generation that has read the
// batch.
func (p *Progress) commit(ctx context.Context) error {
	if len(p.letters) > 0 {
		if err := p.refused(p.letters); err != nil {
			return err
		}
		p.letters = nil
	}
	s := p.session
	if p.batch.Generation < 0 { // it has left the group, and a commit without a generation is not fenced
		return &FencedError{s.name}
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = s.group, p.batch.Member, p.batch.Generation
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = s.topic, s.from.UUID
	for _, part := range slices.Sorted(maps.Keys(p.at)) {
		text, err := json.Marshal(note{s.from.ID, s.sender.Into(), p.until[part]})
		if err != nil {
			return err
		}
		o := kmsg.NewOffsetCommitRequestTopicPartition()
		o.Partition, o.Offset, o.Metadata = part, p.at[part], kmsg.StringPtr(string(text))
		topic.Partitions = append(topic.Partitions, o)
	}
	req.Topics = append(req.Topics, topic)
	at := s.now()
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil {
		return fmt.Errorf("commit the offsets of sink %s: %w", s.name, err)
	}
	for _, t := range resp.Topics {
		for _, o := range t.Partitions {
			if err := kerr.ErrorForCode(o.ErrorCode); err != nil {
				if slices.Contains(fencing, err) {
					return &FencedError{s.name}
				}
				return fmt.Errorf("commit the offset of %s-%d for sink %s: %w", s.topic, o.Partition, s.name, err)
			}
		}
	}
	p.changed, p.committed = false, at
	return s.noteBegun(ctx, slices.Collect(maps.Keys(p.at)))
}

// fencing are the answers to a member that is no longer one of the group's current generation.
var fencing = []error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RebalanceInProgress, kerr.FencedInstanceID, kerr.StaleMemberEpoch, kerr.FencedMemberEpoch}
