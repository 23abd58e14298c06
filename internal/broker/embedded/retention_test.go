package embedded

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Retention deletes whole segments from the beginning, only while they have expired, and nothing of
// an open transaction.
func TestExpired(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	segment := func(end int64, age time.Duration) sealed { return sealed{end: end, bytes: 100, newest: now.Add(-age)} }
	week := []sealed{segment(10, 9*24*time.Hour), segment(20, 8*24*time.Hour), segment(30, time.Hour)}
	none := limits{age: -1, bytes: -1}
	for name, c := range map[string]struct {
		segments []sealed
		stable   int64
		limits   limits
		want     int
	}{
		"no limits":                          {week, 30, none, 0},
		"old segments":                       {week, 30, limits{7 * 24 * time.Hour, -1}, 2},
		"up to the open transaction":         {week, 15, limits{7 * 24 * time.Hour, -1}, 1},
		"all, the active segment too":        {week, 30, limits{time.Minute, -1}, 3},
		"recent before old":                  {[]sealed{segment(10, time.Hour), segment(20, 8*24*time.Hour)}, 20, limits{7 * 24 * time.Hour, -1}, 0},
		"at least retention.bytes are left":  {week, 30, limits{-1, 150}, 1},
		"exactly retention.bytes are left":   {week, 30, limits{-1, 100}, 2},
		"less than retention.bytes in total": {week, 30, limits{-1, 1000}, 0},
		"no bytes":                           {week, 30, limits{-1, 0}, 3},
		"timestamps of the future":           {[]sealed{segment(10, -time.Hour)}, 10, limits{0, -1}, 0},
		"no segments":                        {nil, 0, limits{0, 0}, 0},
	} {
		if got := expired(c.segments, c.stable, c.limits, now); got != c.want {
			t.Errorf("%s: %d segments have expired, want %d", name, got, c.want)
		}
	}
}

// Retention with the cleanup policies and timestamps for which kfake's own deletes too much.
func TestRetentionKeepsWhatKafkaKeeps(t *testing.T) {
	old, recent := time.Now().Add(-30*24*time.Hour), time.Now()
	for name, tc := range map[string]struct {
		configs map[string]string
		times   []time.Time
		want    int64 // log start offset
	}{
		"compacted":                   {map[string]string{"cleanup.policy": "compact"}, []time.Time{old, old}, 0},
		"compacted, with a limit":     {map[string]string{"cleanup.policy": "compact", "retention.bytes": "1", "retention.ms": "1"}, []time.Time{old, old}, 0},
		"late record":                 {map[string]string{}, []time.Time{recent, recent, old}, 0},
		"old records":                 {map[string]string{}, []time.Time{old, old}, 2},
		"old records, kept forever":   {map[string]string{"retention.ms": "-1"}, []time.Time{old, old}, 0},
		"longer than there are times": {map[string]string{"retention.ms": "9223372036854775807"}, []time.Time{old, old}, 0},
		"compacted and deleted":       {map[string]string{"cleanup.policy": "compact,delete"}, []time.Time{old, old}, 2},
		"few bytes":                   {map[string]string{"retention.bytes": "1000"}, []time.Time{recent, recent}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, Config{Dir: t.TempDir()})
			defer b.Close()
			c := client(t, b)
			createTopic(t, c, killTopic, tc.configs)
			for _, at := range tc.times {
				produceAt(t, c, at, 10)
			}
			if err := b.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := b.cluster.PartitionInfo(killTopic, 0).LogStartOffset; got != tc.want {
				t.Errorf("the log starts at %d, want %d", got, tc.want)
			}
		})
	}
}

// An open transaction's records are kept however old their timestamps are.
func TestRetentionSparesOpenTransactions(t *testing.T) {
	b := open(t, Config{Dir: t.TempDir()})
	defer b.Close()
	c := client(t, b, kgo.TransactionalID("writer"))
	createTopic(t, c, killTopic, nil)
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produceAt(t, c, time.Now().Add(-30*24*time.Hour), 10)
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if got := b.cluster.PartitionInfo(killTopic, 0).LogStartOffset; got != 0 {
		t.Errorf("the log starts at %d: retention deleted records of an open transaction", got)
	}
}

// Retention by size leaves at least retention.bytes, in whole segments, also after a kill.
func TestRetentionByBytes(t *testing.T) {
	const limit = 50_000
	dir := t.TempDir()
	b := open(t, Config{Dir: dir})
	c := client(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	createTopic(t, c, killTopic, map[string]string{"retention.bytes": strconv.Itoa(limit), "segment.bytes": "10000"})
	for range 100 {
		produceAt(t, c, time.Now(), 3000)
	}
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := b.cluster.PartitionInfo(killTopic, 0)
	if left.NumBytes < limit || left.NumBytes > limit+15_000 {
		t.Errorf("%d bytes are left, want %d and at most a segment more", left.NumBytes, limit)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, uncleanFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b = open(t, Config{Dir: dir})
	defer b.Close()
	if again := b.cluster.PartitionInfo(killTopic, 0); again.LogStartOffset != left.LogStartOffset || again.NumBytes != left.NumBytes {
		t.Errorf("after a kill the log starts at %d with %d bytes, want %d with %d",
			again.LogStartOffset, again.NumBytes, left.LogStartOffset, left.NumBytes)
	}
	c = client(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 100 {
		produceAt(t, c, time.Now(), 3000)
	}
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := b.cluster.PartitionInfo(killTopic, 0); left.NumBytes < limit || left.NumBytes > limit+15_000 {
		t.Errorf("after a kill, %d bytes are left, want %d and at most a segment more", left.NumBytes, limit)
	}
}

func produceAt(t *testing.T, c *kgo.Client, at time.Time, size int) {
	t.Helper()
	r := &kgo.Record{Topic: killTopic, Key: []byte("k"), Value: make([]byte, size), Timestamp: at}
	if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
}
