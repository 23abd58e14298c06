package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// logs reads batches as brokers store them: also control batches, empty ones, and those of
// transactions that are open or aborted. It decompresses nothing.
type logs struct {
	client *kgo.Client
	topics kadm.TopicDetails
}

// list finds all topics and their leaders.
func (l *logs) list(ctx context.Context) (err error) {
	l.topics, _, err = readable(ctx, l.client, nil)
	return err
}

// bounds returns the start and the high watermark of a partition.
func (l *logs) bounds(ctx context.Context, p partitionKey) (start, high int64, err error) {
	return l.fetch(ctx, p, 0, 0, nil)
}

// read calls fn with the batches that have an offset of [from, to); the first may begin earlier.
func (l *logs) read(ctx context.Context, p partitionKey, from, to int64, fn func(*kmsg.RecordBatch) error) error {
	for from < to {
		next := from
		start, high, err := l.fetch(ctx, p, from, 1<<20, func(b *kmsg.RecordBatch) error {
			last := b.FirstOffset + int64(b.LastOffsetDelta)
			next = max(next, last+1)
			if last < from || b.FirstOffset >= to {
				return nil
			}
			return fn(b)
		})
		switch {
		case err != nil:
			return err
		case from < start: // deleted meanwhile
			next = start
		case next == from && from >= high: // nothing there
			return nil
		case next == from:
			return fmt.Errorf("read %s-%d: no records from offset %d, and the end is %d", p.topic, p.id, from, high)
		}
		from = next
	}
	return nil
}

// epochAt returns the epoch of the producer's batch at an offset, -1 if there is none.
func (l *logs) epochAt(ctx context.Context, p partitionKey, offset, producerID int64) (epoch int16, err error) {
	epoch = -1
	err = l.read(ctx, p, offset, offset+1, func(b *kmsg.RecordBatch) error {
		if b.ProducerID == producerID {
			epoch = b.ProducerEpoch
		}
		return nil
	})
	return epoch, err
}

// fetch reads once, from an offset, and returns the bounds of the partition.
func (l *logs) fetch(ctx context.Context, p partitionKey, from int64, size int32, fn func(*kmsg.RecordBatch) error) (start, high int64, err error) {
	detail, ok := l.topics[p.topic]
	if !ok {
		return 0, 0, fmt.Errorf("read %s-%d: topic not found", p.topic, p.id)
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 100, 1, max(1, size)
	topic, partition := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	topic.Topic, topic.TopicID = p.topic, detail.ID
	partition.Partition, partition.FetchOffset, partition.PartitionMaxBytes = p.id, from, max(1, size)
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	kresp, err := l.client.Broker(int(detail.Partitions[p.id].Leader)).RetriableRequest(ctx, req)
	if err != nil {
		return 0, 0, fmt.Errorf("read %s-%d: %w", p.topic, p.id, err)
	}
	resp, ok := kresp.(*kmsg.FetchResponse)
	if !ok {
		return 0, 0, fmt.Errorf("read %s-%d: unexpected response", p.topic, p.id)
	}
	err = kerr.ErrorForCode(resp.ErrorCode)
	for _, t := range resp.Topics {
		for _, r := range t.Partitions {
			start, high = r.LogStartOffset, r.HighWatermark
			if err == nil {
				err = kerr.ErrorForCode(r.ErrorCode)
			}
			if err == nil && fn != nil {
				err = eachBatch(r.RecordBatches, fn)
			}
		}
	}
	if errors.Is(err, kerr.OffsetOutOfRange) {
		return l.bounds(ctx, p)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read %s-%d: %w", p.topic, p.id, err)
	}
	return start, high, nil
}

// batchHead is the length of what precedes a batch's Length, and of that itself.
const batchHead = 8 + 4

// eachBatch decodes batches. The last one may be cut off.
func eachBatch(in []byte, fn func(*kmsg.RecordBatch) error) error {
	for len(in) > batchHead+5 {
		size := batchHead + int(int32(binary.BigEndian.Uint32(in[8:]))) //nolint:gosec // it is signed
		if size < batchHead || size > len(in) {
			return nil
		}
		if magic := in[batchHead+4]; magic != 2 {
			return fmt.Errorf("a batch has the format %d, older than transactions", magic)
		}
		var b kmsg.RecordBatch
		if err := b.UnsafeReadFrom(in[:size]); err != nil {
			return fmt.Errorf("decode batch: %w", err)
		}
		if err := fn(&b); err != nil {
			return err
		}
		in = in[size:]
	}
	return nil
}

// producerBatch is what a batch says of its producer's transactions.
type producerBatch struct {
	epoch  int16
	offset int64
	at     time.Time

	control          bool
	emptied          bool // compaction has removed the marker
	commit           bool
	coordinatorEpoch int32
}

// controlBatch is the bit of a batch's attributes.
const controlBatch = 1 << 5

func producerBatchOf(b *kmsg.RecordBatch) (producerBatch, error) {
	c := producerBatch{epoch: b.ProducerEpoch, offset: b.FirstOffset, at: time.UnixMilli(b.MaxTimestamp), control: b.Attributes&controlBatch != 0}
	if c.emptied = c.control && b.NumRecords == 0; !c.control || c.emptied {
		return c, nil
	}
	var r kmsg.Record
	err := r.ReadFrom(b.Records)
	var key kmsg.ControlRecordKey
	var value kmsg.EndTxnMarker
	if err = errors.Join(err, key.ReadFrom(r.Key), value.ReadFrom(r.Value)); err != nil {
		return c, fmt.Errorf("decode marker at offset %d: %w", b.FirstOffset, err)
	}
	c.commit, c.coordinatorEpoch = key.Type == kmsg.ControlRecordKeyTypeCommit, value.CoordinatorEpoch
	return c, nil
}
