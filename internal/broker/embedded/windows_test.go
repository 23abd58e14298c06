package embedded

import (
	"errors"
	"hash/crc32"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// After a kill, an idempotent producer continues with its next sequence number, and what it resends
// is a duplicate, although its last batches had been removed from the log.
func TestSequencesContinueAfterRemoval(t *testing.T) {
	for name, c := range map[string]struct {
		config map[string]string
		remove func(t *testing.T, b *Broker, c *kgo.Client)
	}{
		"compaction": {map[string]string{"cleanup.policy": "compact"}, func(t *testing.T, b *Broker, _ *kgo.Client) {
			if err := b.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		"retention": {map[string]string{"retention.ms": "1000"}, func(t *testing.T, b *Broker, _ *kgo.Client) {
			if err := b.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		"deleted records": {nil, func(t *testing.T, _ *Broker, c *kgo.Client) {
			before := make(kadm.Offsets)
			before.AddOffset(killState, 0, 3, -1)
			if _, err := kadm.NewClient(c).DeleteRecords(t.Context(), before); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, Config{Dir: dir, CompactBytes: 1, MaintainEvery: -1})
			client1 := client(t, b, kgo.MaxVersions(kversion.V3_5_0()))
			createTopic(t, client1, killState, c.config)
			p := newSequenced(t, client1)
			for seq, key := range []string{"a", "b"} {
				if offset, err := p.produce(t, client1, int32(seq), key); err != nil || offset != int64(seq) { //nolint:gosec // small
					t.Fatalf("batch %d: offset %d, error %v", seq, offset, err)
				}
			}
			other := newSequenced(t, client1)
			for seq, key := range []string{"b", "z"} {
				if _, err := other.produce(t, client1, int32(seq), key); err != nil { //nolint:gosec // small
					t.Fatal(err)
				}
			}
			c.remove(t, b, client1)
			killed := t.TempDir()
			copyGolden(t, dir, killed)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = open(t, Config{Dir: killed, MaintainEvery: -1})
			defer b.Close()
			client2 := client(t, b, kgo.MaxVersions(kversion.V3_5_0()))
			if offset, err := p.produce(t, client2, 2, "c"); err != nil || offset != 4 {
				t.Errorf("the next batch: offset %d, error %v, expected offset 4", offset, err)
			}
			if offset, err := p.produce(t, client2, 1, "b"); err != nil || offset != 1 {
				t.Errorf("the last batch, resent: offset %d, error %v, expected it to be the duplicate of offset 1", offset, err)
			}
		})
	}
}

// The saved windows of a deleted topic do not apply to a new one of the same name, and the next
// start removes those without a new one.
func TestWindowsOfDeletedTopics(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir, CompactBytes: 1, MaintainEvery: -1})
	c := client(t, b, kgo.MaxVersions(kversion.V3_5_0()))
	admin := kadm.NewClient(c)
	p := newSequenced(t, c)
	compact := map[string]string{"cleanup.policy": "compact"}
	createTopic(t, c, killState, compact)
	for seq := range int32(9) {
		if _, err := p.produce(t, c, seq, "k"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(windowsFile(dir, killState, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteTopic(t.Context(), killState); err != nil {
		t.Fatal(err)
	}
	createTopic(t, c, killState, compact)
	for seq := range int32(2) {
		if _, err := p.produce(t, c, seq, "k"); err != nil {
			t.Fatal(err)
		}
	}
	recreated, deleted := t.TempDir(), t.TempDir()
	copyGolden(t, dir, recreated)
	if _, err := admin.DeleteTopic(t.Context(), killState); err != nil {
		t.Fatal(err)
	}
	copyGolden(t, dir, deleted)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, Config{Dir: recreated, MaintainEvery: -1})
	if offset, err := p.produce(t, client(t, b, kgo.MaxVersions(kversion.V3_5_0())), 2, "k"); err != nil || offset != 2 {
		t.Errorf("the next batch in the new topic: offset %d, error %v, expected offset 2", offset, err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, Config{Dir: deleted, MaintainEvery: -1}).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(windowsFile(deleted, killState, 0)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("saved windows of a deleted topic: %v, expected none", err)
	}
}

// sequenced is an idempotent producer that writes batches of one record to partition 0 of
// killState.
type sequenced struct{ producer }

func newSequenced(t *testing.T, c *kgo.Client) sequenced {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(t.Context(), c)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	return sequenced{producer{resp.ProducerID, resp.ProducerEpoch}}
}

// produce writes an old record with a sequence number, and returns its offset.
func (s sequenced) produce(t *testing.T, c *kgo.Client, seq int32, key string) (offset int64, err error) {
	t.Helper()
	record := kmsg.Record{Key: []byte(key), Value: []byte("v")}
	record.Length = int32(len(record.AppendTo(nil)) - 1) //nolint:gosec // a short one
	at := time.Now().Add(-time.Hour).UnixMilli()
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, FirstTimestamp: at, MaxTimestamp: at, NumRecords: 1,
		ProducerID: s.id, ProducerEpoch: s.epoch, FirstSequence: seq, Records: record.AppendTo(nil),
	}
	encoded := batch.AppendTo(nil)
	batch.Length = int32(len(encoded) - 12)                                                        //nolint:gosec // a short one
	batch.CRC = int32(crc32.Checksum(batch.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli))) //nolint:gosec // its bits
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = batch.AppendTo(nil)
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = killState, append(topic.Partitions, partition)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis, req.Topics = -1, 10_000, append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), c)
	if err != nil {
		return 0, err
	}
	answer := resp.Topics[0].Partitions[0]
	return answer.BaseOffset, kerr.ErrorForCode(answer.ErrorCode)
}
