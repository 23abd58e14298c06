package embedded

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Handlers of the journal. Each writes what the broker is about to do to a transaction, under the
// conditions under which the broker does it, and nothing for requests that the broker rejects:
// recovery would otherwise restore, or end, what has never changed.
//
// The decision to abort is journaled like the decision to commit. Otherwise a kill between two
// control records of an abort would leave a transaction that recovery restores, and that its
// producer could still commit.

// about returns an entry for the transaction of a producer. It begins the transaction if the
// broker has none that is open.
func (j *journal) about(live liveProducer, ownEpoch bool) entry {
	e := entry{ProducerID: live.id, Epoch: live.epoch}
	switch {
	case !live.inTransaction:
		e.Begins = &beginning{At: time.Now().UnixMilli(), OwnEpoch: ownEpoch}
	case j.current(live.id) == nil:
		e.Begins = &beginning{At: live.started.UnixMilli()}
	}
	return e
}

// onProduce journals the partitions that a request adds to a transaction, of topics that are
// allowed. Up to version 11, clients add them with AddPartitionsToTxn (KIP-890).
func (j *journal) onProduce(req *kmsg.ProduceRequest, allowed func(topic string) bool) (resp kmsg.Response, answered bool) {
	if req.Version < 12 {
		return nil, false
	}
	entries := make(map[int64]*entry)
	for _, t := range req.Topics {
		name := t.Topic
		if req.Version >= 13 {
			name = j.topicName(t.TopicID)
		}
		if !allowed(name) {
			continue // rejected
		}
		for _, p := range t.Partitions {
			if len(p.Records) < batchHeaderSize {
				continue
			}
			b := parseHeader(p.Records)
			if b.attributes&attrTransactional == 0 || !j.producers.hasPartition(name, p.Partition) {
				continue
			}
			live, ok := j.producers.withID(b.producerID)
			if !ok || live.transactionalID == "" {
				continue
			}
			if open := j.current(live.id); open != nil && open.partitions[topicPartition{name, p.Partition}] {
				continue
			}
			e := entries[live.id]
			if e == nil {
				live.epoch = max(live.epoch, b.producerEpoch) // the broker adopts a higher one
				begun := j.about(live, true)
				e = &begun
				entries[live.id] = e
			}
			e.add(name, p.Partition)
		}
	}
	for _, e := range entries {
		if j.append(*e) != nil {
			if req.Acks == 0 {
				return nil, true // dropped
			}
			return refuseProduce(req, kerr.KafkaStorageError), true
		}
	}
	return nil, false
}

// producerOf returns the producer of a request's batches; a request has batches of one producer
// only.
func producerOf(req *kmsg.ProduceRequest) (of producer, ok bool) {
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if len(p.Records) >= batchHeaderSize {
				return producer{
					id:    int64(binary.BigEndian.Uint64(p.Records[43:])), //nolint:gosec // as it was written
					epoch: int16(binary.BigEndian.Uint16(p.Records[51:])), //nolint:gosec // as it was written
				}, true
			}
		}
	}
	return producer{}, false
}

// onAddPartitions journals the partitions of a request that the broker accepts: it knows all of
// them.
func (j *journal) onAddPartitions(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.AddPartitionsToTxnRequest)
	if !ok {
		return nil, nil, false
	}
	live, ok := j.producers.withID(req.ProducerID)
	if !ok || live.epoch != req.ProducerEpoch {
		return nil, nil, false
	}
	e, news := j.about(live, false), false
	open := j.current(live.id)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if !j.producers.hasPartition(t.Topic, p) {
				return nil, nil, false
			}
			if open == nil || !open.partitions[topicPartition{t.Topic, p}] {
				e.add(t.Topic, p)
				news = true
			}
		}
	}
	if !news && e.Begins == nil || j.append(e) == nil {
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	for _, t := range req.Topics {
		topic := kmsg.NewAddPartitionsToTxnResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			partition := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p, kerr.CoordinatorNotAvailable.Code
			topic.Partitions = append(topic.Partitions, partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, nil, true
}

func (j *journal) onAddOffsets(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.AddOffsetsToTxnRequest)
	if !ok {
		return nil, nil, false
	}
	live, ok := j.producers.withID(req.ProducerID)
	if !ok || live.epoch != req.ProducerEpoch {
		return nil, nil, false
	}
	e := j.about(live, false)
	e.Groups = []string{req.Group}
	if j.append(e) == nil {
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	resp.ErrorCode = kerr.CoordinatorNotAvailable.Code
	return resp, nil, true
}

// onTxnOffsetCommit journals the offsets that a transaction will commit, including those that the
// broker rejects because of the member's generation: a client whose offsets were rejected aborts.
//
// From version 6 on, requests have only topic ids (KIP-1319), which the broker resolves in its own
// handler, after this one.
func (j *journal) onTxnOffsetCommit(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.TxnOffsetCommitRequest)
	if !ok {
		return nil, nil, false
	}
	live, ok := j.producers.withID(req.ProducerID)
	implicit := req.Version >= 5 // begins the transaction and adds the group, if necessary
	if !ok || live.epoch != req.ProducerEpoch || live.transactionalID == "" || live.transactionalID != req.TransactionalID || !live.inTransaction && !implicit {
		return nil, nil, false
	}
	e := j.about(live, implicit)
	e.Groups = []string{req.Group}
	for _, t := range req.Topics {
		name := t.Topic
		if req.Version >= 6 {
			name = j.topicName(t.TopicID)
		}
		if !j.mayRead(name) {
			continue // rejected
		}
		for _, p := range t.Partitions {
			if !j.producers.hasPartition(name, p.Partition) {
				continue // rejected
			}
			e.Offsets = append(e.Offsets, groupOffset{
				Group: req.Group, Topic: name, Partition: p.Partition,
				Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata,
			})
		}
	}
	if j.append(e) == nil {
		return nil, nil, false
	}
	return refuseTxnOffsets(req, kerr.CoordinatorNotAvailable), nil, true
}

func refuseTxnOffsets(req *kmsg.TxnOffsetCommitRequest, err *kerr.Error) *kmsg.TxnOffsetCommitResponse {
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse) //nolint:forcetypeassert // kmsg pairs them
	for _, t := range req.Topics {
		topic := kmsg.NewTxnOffsetCommitResponseTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			partition := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p.Partition, err.Code
			topic.Partitions = append(topic.Partitions, partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// onEndTxn journals the decision to commit or abort.
//
// An end with nothing to end gets none: it is a retry, and before version 5 its epoch is the same
// as the next transaction's. Recovery would mistake it for a decision about that one.
func (j *journal) onEndTxn(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.EndTxnRequest)
	if !ok {
		return nil, nil, false
	}
	live, ok := j.producers.withID(req.ProducerID)
	if !ok || live.epoch != req.ProducerEpoch || !live.inTransaction {
		return nil, nil, false
	}
	next := live.epoch
	if req.Version >= 5 && next < maxEpoch { // KIP-890
		next++
	}
	if j.end(live, req.Commit, next) == nil {
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.EndTxnResponse)
	resp.ErrorCode = kerr.CoordinatorNotAvailable.Code
	return resp, nil, true
}

// onInit journals the decision to abort the transaction of the producer whose transactional id is
// claimed.
func (j *journal) onInit(req *kmsg.InitProducerIDRequest, c claim) (resp kmsg.Response, refused bool) {
	if !c.holder.inTransaction || j.end(c.holder, false, c.nextEpoch()) == nil {
		return nil, false
	}
	return refuseInit(req, kerr.CoordinatorNotAvailable), true
}

// end writes the decision to end the open transaction of a producer.
func (j *journal) end(live liveProducer, commit bool, nextEpoch int16) error {
	e := j.about(live, false)
	e.Ends = &ending{Commit: commit, NextEpoch: nextEpoch}
	var err error
	if e.Ends.PIDLogSize, err = fileSize(filepath.Join(j.dir, dataDir, "pids.log")); err != nil {
		return err
	}
	groups, err := fileSize(filepath.Join(j.dir, dataDir, groupsLog))
	if err != nil {
		return err
	}
	e.Ends.GroupsLogSize = &groups
	return j.append(e)
}

// fileSize returns the size of a file, 0 if it does not exist.
func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
