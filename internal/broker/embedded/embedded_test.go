package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func open(t *testing.T, cfg Config) *Broker {
	t.Helper()
	cfg.MaintainEvery = -1
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func client(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addr()), kgo.DisableClientMetrics(), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func createTopic(t *testing.T, c *kgo.Client, topic string, config map[string]string) {
	t.Helper()
	values := make(map[string]*string)
	for k, v := range config {
		values[k] = &v
	}
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), killPartitions, 1, values, topic); err != nil {
		t.Fatal(err)
	}
}

// Compaction runs while transactions commit and abort, and no key loses its committed value,
// neither to an abort after the compaction nor to a later restart.
func TestCompactionBesideTransactions(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir, CompactBytes: 1})
	c := client(t, b, kgo.TransactionalID("writer"))
	createTopic(t, c, killState, map[string]string{"cleanup.policy": "compact"})
	stop := make(chan struct{})
	compacted := make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				compacted <- n
				return
			default:
				if b.Maintain(context.Background()) == nil {
					n++
				}
			}
		}
	}()
	const keys = 3
	var want [keys]int
	for n := 1; n <= 250; n++ {
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(killPartitions) {
			for range 2 { // twice, so that an open transaction has several batches
				r := &kgo.Record{Topic: killState, Partition: p, Key: fmt.Appendf(nil, "%d", n%keys), Value: fmt.Appendf(nil, "%d", n)}
				if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		end := kgo.TryAbort
		if n%4 != 0 {
			end, want[n%keys] = kgo.TryCommit, n
		}
		if err := c.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	t.Logf("%d maintenances", <-compacted)
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	check := func(b *Broker) (records int) {
		t.Helper()
		wrong := func(format string, args ...any) { t.Errorf(format, args...) }
		for p, last := range lastByKey(t, b.Addr(), killState, wrong, &records) {
			for k, n := range want {
				if last[fmt.Sprint(k)] != fmt.Sprint(n) {
					t.Errorf("partition %d key %d is %q, want %d", p, k, last[fmt.Sprint(k)], n)
				}
			}
		}
		return records
	}
	if records := check(b); records > killPartitions*(keys+4) {
		t.Errorf("%d records are left: compaction did nothing", records)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, Config{Dir: dir})
	check(b)
	for range 2 { // the second call returns as well
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// lastByKey returns the last committed value of each key, by partition.
func lastByKey(t *testing.T, addr, topic string, wrong func(string, ...any), records *int) []map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	*records = 0
	all := make([]map[string]string, killPartitions)
	for p := range all {
		all[p] = make(map[string]string)
	}
	offsets := make(map[int32]kgo.Offset)
	for p := range int32(killPartitions) {
		offsets[p] = kgo.NewOffset().AtStart()
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ends, err := kadm.NewClient(c).ListCommittedOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	left := make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) { left[o.Partition] = o.Offset })
	for len(left) > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			wrong("read %s, %v left: %v", topic, left, err)
			return all
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				*records++
				all[r.Partition][string(r.Key)] = string(r.Value)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return all
}

// Offsets of a partition that retention has emptied continue where they were, after a clean stop
// and after a kill.
func TestOffsetsContinueAfterRetention(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir})
	c := client(t, b)
	createTopic(t, c, killTopic, map[string]string{"retention.ms": "1000"})
	old := time.Now().Add(-time.Hour)
	for range 7 {
		r := &kgo.Record{Topic: killTopic, Partition: 1, Value: []byte("old"), Timestamp: old}
		if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := b.cluster.PartitionInfo(killTopic, 1); p.LogStartOffset != 7 {
		t.Errorf("after retention the log starts at %d, want 7", p.LogStartOffset)
	}
	for _, unclean := range []bool{false, true} {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if unclean {
			if err := os.WriteFile(filepath.Join(dir, uncleanFile), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b = open(t, Config{Dir: dir})
		if p := b.cluster.PartitionInfo(killTopic, 1); p.HighWatermark != 7 || p.LastStableOffset != 7 {
			t.Errorf("after a stop (unclean %v) the log ends at %d and is stable to %d, want 7", unclean, p.HighWatermark, p.LastStableOffset)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// A compaction that was killed halfway is undone.
func TestKilledCompactionIsUndone(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir})
	c := client(t, b)
	createTopic(t, c, killState, map[string]string{"cleanup.policy": "compact"})
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: killState, Partition: 2, Key: []byte("k"), Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := linkPartition(dir, topicPartition{killState, 2}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	// State after the kill: files deleted, links present.
	gone, err := filepath.Glob(filepath.Join(partitionDir(filepath.Join(dir, dataDir), killState, 2), "*.*"))
	if err != nil || len(gone) == 0 {
		t.Fatal(gone, err)
	}
	for _, f := range gone {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	b = open(t, Config{Dir: dir})
	var records int
	last := lastByKey2(t, b, &records)
	if last != "v" || records != 1 {
		t.Errorf("%d records, the last %q, want v", records, last)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// lastByKey2 reads key k of partition 2, where the other partitions are empty.
func lastByKey2(t *testing.T, b *Broker, records *int) (value string) {
	t.Helper()
	c := client(t, b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{killState: {2: kgo.NewOffset().AtStart()}}))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
		*records++
		value = string(r.Value)
	})
	return value
}

// One process serves a directory; others find and join it.
func TestHoldAndJoin(t *testing.T) {
	dir := t.TempDir()
	if m, err := Join(dir); m != nil || err != nil {
		t.Errorf("join of nothing: %v, %v", m, err)
	}
	b := open(t, Config{Dir: dir})
	_, err := Open(Config{Dir: dir})
	var held *HeldError
	if !errors.As(err, &held) || held.Addr != b.Addr() {
		t.Errorf("second open: %v", err)
	}
	if b.Shared() {
		t.Error("shared before anyone joined")
	}
	m, err := Join(dir)
	if err != nil || m == nil || m.Addr != b.Addr() {
		t.Fatalf("join: %+v, %v", m, err)
	}
	if !b.Shared() {
		t.Error("not shared after a join")
	}
	if err := m.Leave(); err != nil {
		t.Fatal(err)
	}
	if b.Shared() {
		t.Error("shared after the member left")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err := Join(dir); m != nil || err != nil {
		t.Errorf("join after the close: %v, %v", m, err)
	}
}

func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Open(Config{Dir: t.TempDir(), Addr: l.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("error %v", err)
	}
}

// Clients receive the advertised address, whatever address they connected to first.
func TestAdvertise(t *testing.T) {
	const proxy = "127.0.0.1:1"
	ports, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := ports.Addr().String()
	_ = ports.Close()
	b, err := Open(Config{Dir: t.TempDir(), Addr: listen, Advertise: proxy})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Addr() != proxy {
		t.Errorf("Addr is %s, expected %s", b.Addr(), proxy)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(listen))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), c.SeedBrokers()[0])
	if err != nil || len(resp.Brokers) != 1 || fmt.Sprint(resp.Brokers[0].Host, ":", resp.Brokers[0].Port) != proxy {
		t.Errorf("clients receive %+v, %v, expected %s", resp, err, proxy)
	}
}
