package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stateTopic is the log of the transaction coordinators. A decision to commit or abort is in it
// before any marker is written (KIP-98), and stays until its compaction.
const stateTopic = "__transaction_state"

// stateMargin is how long before the last record of a transaction the log of its coordinator is
// read: clients' and brokers' clocks differ.
const stateMargin = 15 * time.Minute

// errDecided ends the search once the decision is found.
var errDecided = errors.New("decided")

// searchStateLog returns the outcome that the log of the coordinator of a transactional id has.
func (i *investigation) searchStateLog(ctx context.Context, id string) (outcome Outcome, err error) {
	admin := kadm.NewClient(i.logs.client)
	listed, err := admin.ListTopics(ctx, stateTopic)
	if err != nil {
		return "", fmt.Errorf("list topics: %w", err)
	}
	detail := listed[stateTopic]
	switch {
	case errors.Is(detail.Err, kerr.UnknownTopicOrPartition), detail.Err == nil && len(detail.Partitions) == 0:
		return "", nil // the embedded broker has none
	case detail.Err != nil:
		return "", detail.Err
	}
	i.logs.topics[stateTopic] = detail
	p := partitionKey{stateTopic, coordinatorPartition(id, int32(len(detail.Partitions)))} //nolint:gosec // few
	start, high, err := i.logs.bounds(ctx, p)
	if err != nil {
		return "", err
	}
	after, err := admin.ListOffsetsAfterMilli(ctx, i.t.Started.Add(-stateMargin).UnixMilli(), stateTopic)
	if err != nil {
		return "", fmt.Errorf("list offsets of %s: %w", stateTopic, err)
	}
	if o, ok := after.Lookup(p.topic, p.id); ok && o.Err == nil {
		start = max(start, o.Offset)
	}
	d := decision{id: id, t: i.t}
	err = i.logs.read(ctx, p, start, high, func(b *kmsg.RecordBatch) error { return eachState(b, d.consider) })
	if err != nil && !errors.Is(err, errDecided) {
		return "", err
	}
	if d.outcome != "" {
		i.found.Coordinator = fmt.Sprintf("the log of its coordinator has %s for epoch %d of transactional id %s in %s-%d at offset %d",
			d.state, d.epoch, id, p.topic, p.id, d.offset)
	}
	return d.outcome, nil
}

// decision looks for the end of a transaction among the states of its transactional id.
type decision struct {
	id string
	t  *Transaction

	ongoing bool // the last state is that of the open transaction
	outcome Outcome
	state   kmsg.TransactionState
	epoch   int16
	offset  int64
}

// consider takes the next state of a transactional id. Only with transaction.version 2 (KIP-890)
// does the epoch say which transaction a state is of: its end has the epoch after that of its
// records, or a later one if the coordinator aborts by itself.
func (d *decision) consider(id string, v *kmsg.TxnMetadataValue, offset int64) error {
	if id != d.id || v.ProducerID != d.t.ProducerID || v.ClientTransactionVersion < 2 || v.ProducerEpoch < d.t.Epoch {
		return nil
	}
	next := v.ProducerEpoch == d.t.Epoch+1
	switch v.State {
	case kmsg.TransactionStatePrepareCommit, kmsg.TransactionStateCompleteCommit:
		if next {
			d.outcome = Committed
		}
	case kmsg.TransactionStatePrepareAbort, kmsg.TransactionStateCompleteAbort:
		if next || d.ongoing && v.ProducerEpoch > d.t.Epoch {
			d.outcome = Aborted
		}
	}
	if d.outcome != "" {
		d.state, d.epoch, d.offset = v.State, v.ProducerEpoch, offset
		return errDecided
	}
	d.ongoing = v.State == kmsg.TransactionStateOngoing && v.ProducerEpoch == d.t.Epoch
	return nil
}

// eachState calls fn with the states in a batch of stateTopic.
func eachState(b *kmsg.RecordBatch, fn func(id string, v *kmsg.TxnMetadataValue, offset int64) error) error {
	const codec = 7 // of a batch's attributes
	if b.Attributes&controlBatch != 0 {
		return nil
	}
	if b.Attributes&codec != 0 {
		return errors.New("its batches are compressed")
	}
	in := b.Records
	for range b.NumRecords {
		length, n := binary.Varint(in)
		if n <= 0 || length < 0 || int64(len(in)-n) < length {
			return fmt.Errorf("decode batch at offset %d: a record is cut off", b.FirstOffset)
		}
		size := n + int(length)
		var r kmsg.Record
		var key kmsg.TxnMetadataKey
		var value kmsg.TxnMetadataValue
		err := errors.Join(r.ReadFrom(in[:size]), key.ReadFrom(r.Key))
		if err == nil && r.Value != nil {
			err = value.ReadFrom(r.Value)
		}
		offset := b.FirstOffset + int64(r.OffsetDelta)
		if err != nil {
			return fmt.Errorf("decode state at offset %d: %w", offset, err)
		}
		if r.Value != nil {
			if err := fn(key.TransactionalID, &value, offset); err != nil {
				return err
			}
		}
		in = in[size:]
	}
	return nil
}
