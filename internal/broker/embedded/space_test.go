package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A disk that fills up while transactions commit and abort leaves none partially committed: readers
// see each on all of its partitions or on none, and never an aborted one.
func TestFullDiskTearsNoTransaction(t *testing.T) {
	dir := t.TempDir()
	size := func(bytes int64, flags uintptr) error {
		return syscall.Mount("weir-test", dir, "tmpfs", flags, fmt.Sprint("size=", bytes))
	}
	if err := size(256<<20, 0); err != nil {
		t.Skipf("mounting a separate disk needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	b, err := Open(Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), MaintainEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const partitions, idle = 8, 4
	plain, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := kadm.NewClient(plain).CreateTopic(t.Context(), partitions, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	outcome := make(map[string]bool) // committed, by the number of the transaction
	open := func(id string, timeout time.Duration) *kgo.Client {
		c, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.TransactionalID(id), kgo.TransactionTimeout(timeout), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	begin := func(c *kgo.Client, name string) {
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(partitions) {
			if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: p, Value: []byte(name)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for round := range rounds {
		var all []*kgo.Client
		for i := range idle { // one commits, one aborts, one is fenced, one is idle until it times out
			c := open(fmt.Sprint("id-", i), map[bool]time.Duration{true: 3 * time.Second, false: time.Minute}[i == 3])
			begin(c, fmt.Sprint(round, "/", i))
			all = append(all, c)
		}
		fillPages(t, plain, dir, partitions)
		before := sumOfEnds(t, plain)
		var stat syscall.Statfs_t
		if err := syscall.Statfs(dir, &stat); err != nil {
			t.Fatal(err)
		}
		if err := size(int64(stat.Blocks-stat.Bfree)*stat.Bsize, syscall.MS_REMOUNT); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 3)
		go func() { ended <- all[0].EndTransaction(t.Context(), kgo.TryCommit) }()
		go func() { ended <- all[1].EndTransaction(t.Context(), kgo.TryAbort) }()
		replaced := open("id-2", time.Minute)
		go func() {
			_, _, err := replaced.ProducerID(t.Context())
			ended <- err
		}()
		awaitEnds(t, plain, before+partitions) // the idle transaction times out, full disk or not
		if err := size(256<<20, syscall.MS_REMOUNT); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := <-ended; err != nil {
				t.Errorf("round %d: end a transaction that was open when the disk was full: %v", round, err)
			}
		}
		outcome[fmt.Sprint(round, "/0")] = true
	}
	seen := readValues(t, b.Addr(), "t", func(ctx context.Context) bool { // until the timeout unblocks readers
		admin := kadm.NewClient(plain)
		stable, err := admin.ListCommittedOffsets(ctx, "t")
		high, err2 := admin.ListEndOffsets(ctx, "t")
		if err != nil || err2 != nil {
			return false
		}
		passed := true
		high.Each(func(o kadm.ListedOffset) {
			at, _ := stable.Lookup(o.Topic, o.Partition)
			passed = passed && at.Offset == o.Offset
		})
		return passed
	})
	for name, n := range seen {
		if !outcome[name] || n != partitions {
			t.Errorf("transaction %s is on %d of %d partitions, committed %t", name, n, partitions, outcome[name])
		}
	}
	for name := range outcome {
		if seen[name] != partitions {
			t.Errorf("transaction %s was committed and is on %d of %d partitions", name, seen[name], partitions)
		}
	}
}

func sumOfEnds(t *testing.T, c *kgo.Client) (sum int64) {
	t.Helper()
	ends, err := kadm.NewClient(c).ListEndOffsets(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	return sum
}

// awaitEnds waits until the log has that many offsets. A broker that cannot write may never reach
// it.
func awaitEnds(t *testing.T, c *kgo.Client, sum int64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); sumOfEnds(t, c) < sum && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
}

// fillPages fills each partition until the last page of its file has no room for a control record.
func fillPages(t *testing.T, c *kgo.Client, dir string, n int) {
	t.Helper()
	const page, room = 4096, 60 // bytes; a control record takes 78
	all, err := partitions(filepath.Join(dir, dataDir))
	if err != nil || len(all) != n {
		t.Fatalf("%d partitions, expected %d: %v", len(all), n, err)
	}
	for i := range all {
		file := all[i].segment(all[i].bases[len(all[i].bases)-1])
		for left := 0; left == 0 || left > room; {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			left = int(page - info.Size()%page)
			if left <= room {
				break
			}
			value := max(0, left-90)
			if left < 90 {
				value = page + left - 92
			}
			r := &kgo.Record{Topic: "t", Partition: all[i].id, Key: []byte("filler"), Value: make([]byte, value)}
			if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// readValues counts the committed records of a topic by their values, once settled reports true.
func readValues(t *testing.T, addr, topic string, settled func(context.Context) bool) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !settled(ctx) {
		if ctx.Err() != nil {
			t.Fatal("readers wait for a transaction that never ends")
		}
		time.Sleep(20 * time.Millisecond)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	seen := make(map[string]int)
	for {
		poll, cancel := context.WithTimeout(ctx, 2*time.Second)
		fetches := c.PollFetches(poll)
		cancel()
		if fetches.NumRecords() == 0 {
			return seen
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Key == nil {
				seen[string(r.Value)]++
			}
		})
	}
}
