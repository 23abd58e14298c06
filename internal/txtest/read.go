package txtest

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// Committed returns the records of a topic that read_committed readers see now, those before the
// first open transaction, by partition in the order of their offsets.
func (b *Broker) Committed(topic string) map[int32][]*kgo.Record {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), Patience)
	defer cancel()
	left := make(map[int32]int64)
	for _, p := range b.PartitionInfos(topic) {
		if p.LastStableOffset > p.LogStartOffset {
			left[p.Partition] = p.LastStableOffset
		}
	}
	client, err := broker.Connect(ctx, b.Config("reader"), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.KeepControlRecords(), kgo.FetchMaxWait(20*time.Millisecond))
	if err != nil {
		b.t.Fatalf("read %s: %v", topic, err)
	}
	defer client.Close()
	records := make(map[int32][]*kgo.Record)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			b.t.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, ok := left[r.Partition]
			if !ok {
				return
			}
			if r.Offset < end && !r.Attrs.IsControl() {
				records[r.Partition] = append(records[r.Partition], r)
			}
			if r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		})
	}
	return records
}

// Offsets returns the offsets that a group has committed in a topic, by partition.
func (b *Broker) Offsets(group, topic string) map[int32]int64 {
	offsets := make(map[int32]int64)
	if g := b.GroupInfo(group); g != nil {
		for p, c := range g.Commits[topic] {
			offsets[p] = c.Offset
		}
	}
	return offsets
}

// Ends returns the end offsets of a topic's partitions, including uncommitted records.
func (b *Broker) Ends(topic string) map[int32]int64 {
	ends := make(map[int32]int64)
	for _, p := range b.PartitionInfos(topic) {
		ends[p.Partition] = p.HighWatermark
	}
	return ends
}

// Producer is one incarnation of a transactional id.
type Producer struct {
	ID    int64
	Epoch int16
}

// TakeOver acquires a transactional id like a newer instance: it fences the older one, and aborts
// its open transaction.
func (b *Broker) TakeOver(id string) Producer {
	b.t.Helper()
	client, err := broker.Connect(b.t.Context(), b.Config("newer"), kgo.TransactionalID(id))
	if err != nil {
		b.t.Fatal(err)
	}
	defer client.Close()
	newer := Producer{}
	if newer.ID, newer.Epoch, err = client.ProducerID(b.t.Context()); err != nil {
		b.t.Fatalf("take over %s: %v", id, err)
	}
	return newer
}

// Producer returns the current owner of a transactional id.
func (b *Broker) Producer(id string) Producer {
	b.t.Helper()
	described, err := kadm.NewClient(b.side).DescribeTransactions(b.t.Context(), id)
	if err == nil {
		err = described[id].Err
	}
	if err != nil {
		b.t.Fatalf("describe transaction %s: %v", id, err)
	}
	return Producer{described[id].ProducerID, described[id].ProducerEpoch}
}
