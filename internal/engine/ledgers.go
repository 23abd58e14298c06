package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// ledgersOf returns the ledgers that hold the position of a partition: those of the stateful tasks
// that read it, or else the one in the positions topic.
func (s *session) ledgersOf(tp topicPartition) (all []*ledger) {
	for _, stage := range s.p.statefulReaders(tp.topic) {
		if t := s.tasks[taskID{stage.Name, tp.partition}]; t != nil {
			all = append(all, t.ledger)
		}
	}
	if len(all) == 0 {
		all = append(all, s.ledgers[tp.partition])
	}
	return all
}

func (p *pipeline) newLedger(stage *plan.Stage, partition int32, store *state.Store) *ledger {
	return &ledger{store: store, topic: stage.Changelog, stage: stage.Name, partition: partition, fingerprint: fingerprint(stage), former: p.former[stage.Name]}
}

// restoreLedgers reads the positions topic for partitions that were assigned and that are in no
// task's state. Another worker may have had the same partition of another topic since the last
// call, so ledgers that were read earlier are not kept.
func (s *session) restoreLedgers(ctx context.Context, added map[topicPartition]*assignment) error {
	var read []*ledger
	for tp := range added {
		if len(s.p.statefulReaders(tp.topic)) == 0 && !slices.ContainsFunc(read, func(l *ledger) bool { return l.partition == tp.partition }) {
			l := &ledger{store: state.Memory(), topic: s.p.positionsTopic(), partition: tp.partition}
			s.ledgers[tp.partition] = l
			read = append(read, l)
		}
	}
	if len(read) == 0 {
		return nil
	}
	_, err := s.p.readChangelog(ctx, s.group.Admin, read, func(int32) {})
	return err
}

// readChangelog brings the stores of ledgers, which are those of partitions of one topic, up to the
// end of that topic. It waits for transactions that are open there, and returns how many records it
// has read. onRecord is called with the partition of each. If ctx ends, the stores keep what they
// have read, and another call continues there.
func (p *pipeline) readChangelog(ctx context.Context, admin *kadm.Client, ledgers []*ledger, onRecord func(partition int32)) (records int, err error) {
	topic := ledgers[0].topic
	from, next := make(map[int32]int64, len(ledgers)), make(map[int32]int64, len(ledgers)) // offsets
	byPartition := make(map[int32]*ledger, len(ledgers))
	for _, l := range ledgers {
		from[l.partition], byPartition[l.partition] = l.store.Offset(), l
		if !l.partly {
			l.stale = false
		}
		l.partly = false
	}
	ends, err := broker.ReadFrom(ctx, p.cfg.Broker, topic, from, func(r *kgo.Record) error {
		records++
		onRecord(r.Partition)
		l := byPartition[r.Partition]
		l.stale = isState(r)
		next[r.Partition] = r.Offset + 1
		return l.store.Restore(r.Key, r.Value)
	})
	if err != nil && ctx.Err() != nil {
		for _, l := range ledgers {
			if at := next[l.partition]; at > l.store.Offset() {
				l.partly = true
				err = errors.Join(err, l.store.Restored(at))
			}
		}
	}
	if err != nil {
		return records, fmt.Errorf("read %s: %w", topic, err)
	}
	for _, l := range ledgers {
		if err := l.store.Restored(max(ends[l.partition], l.store.Offset())); err != nil {
			return records, fmt.Errorf("restore %s-%d: %w", topic, l.partition, err)
		}
		if err := p.checkBeginning(ctx, admin, l); err != nil {
			return records, err
		}
	}
	return records, nil
}

// trust returns the positions of a ledger that was read, and refuses a state that can't be
// continued from. adopt is true if a version of Weir without positions wrote to it last: the
// positions are then unknown, and the group's offsets count.
func (p *pipeline) trust(l *ledger) (positions map[string]position, adopt bool, err error) {
	head, positions, err := l.read()
	switch {
	case err != nil:
		return nil, false, err
	case head == nil && l.store.Len() == 0: // nothing was ever written
		return nil, false, nil
	case head == nil && !p.adopted:
		return nil, false, p.truncatedError(l)
	case head == nil, l.stale:
		return nil, true, nil
	case head.State != l.fingerprint && !slices.Contains(l.former, head.State):
		return nil, false, p.otherStateError(l, head)
	}
	return positions, false, nil
}

// checkBeginning refuses an empty state whose changelog does not start at offset 0: its records
// were deleted, and only transaction markers are left.
func (p *pipeline) checkBeginning(ctx context.Context, admin *kadm.Client, l *ledger) error {
	if l.store.Len() > 0 {
		return nil
	}
	starts, err := listStarts(ctx, admin, l.topic)
	if err != nil {
		return err
	}
	if start, _ := starts.Lookup(l.topic, l.partition); start.Offset > 0 {
		return p.mismatch("all records of %s-%d before offset %d are gone, and with them the state: retention, DeleteRecords or a restored backup has truncated the topic",
			l.topic, l.partition, start.Offset)
	}
	return nil
}

// errMoved says that a partition was revoked after its records were polled. The group may have
// assigned it again in the meantime.
var errMoved = errors.New("records of a partition that is not assigned")

// reached notes the next offset of a partition after the open transaction.
func (s *session) reached(tp topicPartition, next, end int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.assigned[tp]
	if c == nil || !c.resumed {
		return errMoved
	}
	c.read, c.end = next, max(next, end)
	return nil
}

// nextOffset returns the offset of the next record to read, the open transaction included; false if
// the partition is not assigned.
func (s *session) nextOffset(tp topicPartition) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.assigned[tp]
	if c == nil || !c.resumed {
		return 0, false
	}
	return max(c.next, c.read), true
}

// positionsOf returns the positions of topics on one partition after the open transaction.
func (s *session) positionsOf(topics []string, partition int32) map[string]position {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]position, len(topics))
	for _, topic := range topics {
		c := s.assigned[topicPartition{topic, partition}]
		if c == nil || !c.resumed {
			continue
		}
		all[topic] = position{ID: c.log.id.String(), Partitions: c.log.partitions, Next: max(c.next, c.read), End: max(c.end, c.next, c.read)}
	}
	return all
}

// writePositions writes the positions of partitions that were read and that no task's state covers.
func (s *session) writePositions() error {
	changed := make(map[int32][]string)
	s.mu.Lock()
	for tp, c := range s.assigned {
		if (c.read >= 0 || c.heal) && len(s.p.statefulReaders(tp.topic)) == 0 {
			changed[tp.partition] = append(changed[tp.partition], tp.topic)
		}
	}
	s.mu.Unlock()
	for partition, topics := range changed {
		l := s.ledgers[partition]
		if l == nil {
			return fmt.Errorf("positions of partition %d, which is not assigned", partition)
		}
		if err := l.write(s.cfg.Program.Name, s.positionsOf(topics, partition)); err != nil {
			return err
		}
		l.records(s.tx.produce)
	}
	return nil
}

// endPositions applies the positions of the transaction to the session, or discards them.
func (s *session) endPositions(committed bool) error {
	for _, l := range s.ledgers {
		if !committed {
			l.store.Abort()
		} else if err := l.store.Commit(0); err != nil {
			return fmt.Errorf("keep positions: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for tp, c := range s.assigned {
		if committed && c.resumed {
			c.next, c.heal = max(c.next, c.read), false
			s.p.setHealed(tp, true)
		}
		c.read = -1
	}
	s.healing = s.healing && !committed
	return nil
}

// setHealed notes whether the group's offset of a partition equals the position in the state.
func (p *pipeline) setHealed(tp topicPartition, is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.healed[tp] = is
}

// takeResumed reports whether partitions were resumed since the last call.
func (s *session) takeResumed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.resumed
	s.resumed = false
	return was
}

// beginHealing begins a transaction if offsets of the group have to be set to the positions in the
// state. Without it, partitions without new rows would keep wrong offsets, which other tools read.
func (s *session) beginHealing() error {
	s.mu.Lock()
	var heal []topicPartition
	for tp, c := range s.assigned {
		if s.healing && c.heal {
			heal = append(heal, tp)
		}
	}
	s.mu.Unlock()
	if len(heal) == 0 {
		return nil
	}
	for _, tp := range heal {
		for _, stage := range s.p.statefulReaders(tp.topic) {
			if t := s.tasks[taskID{stage.Name, tp.partition}]; t != nil {
				t.touched = true
			}
		}
	}
	return s.begin()
}

// heal commits the positions in the state as the group's offsets for partitions of which the
// transaction has read nothing, because the client commits no offset for them. It reports false if
// the group rebalances.
func (s *session) heal(ctx context.Context) (bool, error) {
	topics := make(map[string]*kmsg.TxnOffsetCommitRequestTopic)
	s.mu.Lock()
	for tp, c := range s.assigned {
		if !c.heal || c.read >= 0 || !c.resumed {
			continue
		}
		t := topics[tp.topic]
		if t == nil {
			n := kmsg.NewTxnOffsetCommitRequestTopic()
			n.Topic, n.TopicID = tp.topic, c.log.id
			t = &n
			topics[tp.topic] = t
		}
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = tp.partition, c.next
		t.Partitions = append(t.Partitions, p)
	}
	s.mu.Unlock()
	if len(topics) == 0 {
		return true, nil
	}
	client := s.group.Client
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group = s.w.transactionalID(), Group(s.cfg.Program)
	req.MemberID, req.Generation = client.GroupMetadata()
	var err error
	if req.ProducerID, req.ProducerEpoch, err = client.ProducerID(ctx); err != nil {
		return false, fmt.Errorf("commit the positions of the state: %w", err)
	}
	for _, t := range topics {
		req.Topics = append(req.Topics, *t)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return false, fmt.Errorf("commit the positions of the state: %w", err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			err := kerr.ErrorForCode(p.ErrorCode)
			if errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.UnknownMemberID) {
				return false, nil
			}
			if err != nil {
				return false, fmt.Errorf("commit the position of %s-%d: %w", t.Topic, p.Partition, err)
			}
		}
	}
	return true, nil
}
