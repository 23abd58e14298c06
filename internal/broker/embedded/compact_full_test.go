package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// A compaction on a full disk loses no records: each partition keeps its old segments, also after a
// restart, and is compacted once there is space.
func TestCompactionOnFullDiskLosesNothing(t *testing.T) {
	dir := t.TempDir()
	const size = 256 << 20
	resize := func(bytes int64, flags uintptr) {
		t.Helper()
		err := syscall.Mount("weir-test", dir, "tmpfs", flags, fmt.Sprint("size=", bytes))
		switch {
		case flags == 0 && errors.Is(err, syscall.EPERM):
			t.Skip("mounting a separate disk needs root")
		case err != nil:
			t.Fatal(err)
		}
	}
	resize(size, 0)
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	open := func() *Broker {
		t.Helper()
		b, err := Open(Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), MaintainEvery: -1, CompactBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open()
	defer func() { _ = b.Close() }()
	const partitions, keys, versions = 4, 500, 4
	writer, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.TransactionalID("writer"), kgo.ProducerBatchMaxBytes(100_000),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { writer.Close() }()
	policy := "compact"
	if _, err := kadm.NewClient(writer).CreateTopic(t.Context(), partitions, 1, map[string]*string{"cleanup.policy": &policy}, "t"); err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	write := func(key string, partition, version int) *kgo.Record {
		value := make([]byte, 20_000)
		copy(value, fmt.Sprint(key, "=", version, ";"))
		want[key] = string(value)
		return &kgo.Record{Topic: "t", Partition: int32(partition), Key: []byte(key), Value: value}
	}
	for version := range versions {
		var records []*kgo.Record
		for p := range partitions {
			for k := range keys {
				records = append(records, write(fmt.Sprint(p, "/", k), p, version))
			}
		}
		if err := writer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := writer.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := broker.Commit(t.Context(), writer); err != nil {
			t.Fatal(err)
		}
	}
	all := func(when string) {
		t.Helper()
		got := latest(t, b, "t")
		missing := 0
		for key, value := range want {
			if got[key] != value {
				missing++
			}
		}
		if missing > 0 || len(got) != len(want) {
			t.Errorf("%s, readers miss the latest value of %d keys of %d, and see %d keys", when, missing, len(want), len(got))
		}
	}
	all("before the compaction")
	before := topicBytes(b, partitions)
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		t.Fatal(err)
	}
	resize(int64(stat.Blocks-stat.Bfree)*stat.Bsize+2<<20, syscall.MS_REMOUNT) // the broker still writes
	if err := b.Maintain(t.Context()); err == nil {
		t.Error("a compaction on a full disk returned no error")
	}
	all("after a compaction without room")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open()
	all("after a restart")
	resize(size, syscall.MS_REMOUNT)
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	all("after a compaction with room")
	if after := topicBytes(b, partitions); after > before/2 {
		t.Errorf("the compaction left %d of %d bytes", after, before)
	}
}

// latest reads the last committed value of each key of a topic.
func latest(t *testing.T, b *Broker, topic string) map[string]string {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ends, err := kadm.NewClient(c).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	left := make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	got := make(map[string]string)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for len(left) > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Errorf("read %s: %v; not read to their ends: %v", topic, err, left)
			return got
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				got[string(r.Key)] = string(r.Value)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return got
}

func topicBytes(b *Broker, partitions int32) (n int64) {
	for id := range partitions {
		n += b.bytes(topicPartition{"t", id})
	}
	return n
}
