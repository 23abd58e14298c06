package embedded

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/history"
	"weir.example/weir/internal/disktest"
	"weir.example/weir/internal/longtest"
)

const (
	accidentPartitions = 3
	accidentPatience   = 2 * time.Minute // for clients to make progress after an accident
)

var accidentTopics = []string{"accidents1", "accidents2"}

// recorder collects what the clients of a broker see.
type recorder struct {
	mu    sync.Mutex
	seen  history.History
	ended map[string]int // acknowledged ends, by writer
}

func (r *recorder) begin(writer string, records int) (index, number int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	number = len(r.seen.Transactions)
	r.seen.Transactions = append(r.seen.Transactions, history.Transaction{Writer: writer, Number: number, Records: records})
	return len(r.seen.Transactions) - 1, number
}

func (r *recorder) set(index int, o history.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.Transactions[index].Outcome = o
}

func (r *recorder) acknowledged(writer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended[writer]++
}

// await returns once each writer has had n more ends acknowledged.
func (r *recorder) await(t *testing.T, s *served, writers []string, n int) {
	t.Helper()
	target := make(map[string]int)
	r.mu.Lock()
	for _, w := range writers {
		target[w] = r.ended[w] + n
	}
	r.mu.Unlock()
	for deadline := time.Now().Add(accidentPatience); ; time.Sleep(5 * time.Millisecond) {
		s.revive()
		r.mu.Lock()
		waits := slices.DeleteFunc(slices.Clone(writers), func(w string) bool { return r.ended[w] >= target[w] })
		r.mu.Unlock()
		switch {
		case len(waits) == 0:
			return
		case time.Now().After(deadline):
			t.Fatalf("writers %v make no progress after an accident", waits)
		}
	}
}

// accidentClient gives up on a request early, so that its outcome is unknown more often.
func accidentClient(addr string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.DisableClientMetrics(), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.MetadataMinAge(20 * time.Millisecond),
	}, opts...)...)
}

// write runs transactions as one writer until ctx is done. After an error, it takes its
// transactional id with a new client.
func (r *recorder) write(ctx context.Context, addr, writer string, rng *rand.Rand, opts ...kgo.Opt) {
	for ctx.Err() == nil {
		c, err := accidentClient(addr, append(opts, kgo.TransactionalID(writer))...)
		if err != nil {
			continue
		}
		for r.transact(ctx, c, writer, rng) == nil {
		}
		c.CloseAllowingRebalance()
	}
}

// transact writes a record to each partition of both topics, in several batches, and commits, or
// sometimes aborts.
func (r *recorder) transact(ctx context.Context, c *kgo.Client, writer string, rng *rand.Rand) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := c.BeginTransaction(); err != nil {
		return err
	}
	index, number := r.begin(writer, len(accidentTopics)*accidentPartitions)
	record := history.Record{Writer: writer, Transaction: number}
	for _, topic := range accidentTopics {
		var records []*kgo.Record
		for p := range int32(accidentPartitions) {
			records = append(records, &kgo.Record{Topic: topic, Partition: p, Value: []byte(record.String())})
			record.Index++
		}
		if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
	}
	if rng.IntN(4) == 0 {
		if err := c.EndTransaction(ctx, kgo.TryAbort); err != nil {
			return err
		}
		r.acknowledged(writer)
		return nil
	}
	r.set(index, history.Unknown)
	if err := broker.Commit(ctx, c); err != nil {
		return err
	}
	r.set(index, history.Committed)
	r.acknowledged(writer)
	return nil
}

// writePlain writes batches without transactions, as an idempotent producer, until ctx is done.
func (r *recorder) writePlain(ctx context.Context, addr, writer string) {
	for ctx.Err() == nil {
		c, err := accidentClient(addr)
		if err != nil {
			continue
		}
		for n := int32(0); ctx.Err() == nil; n++ {
			index, number := r.begin(writer, 1)
			r.set(index, history.Unknown)
			of := history.Record{Writer: writer, Transaction: number}
			err := c.ProduceSync(ctx, &kgo.Record{Topic: accidentTopics[0], Partition: n % accidentPartitions, Value: []byte(of.String())}).FirstErr()
			if err != nil {
				break
			}
			r.set(index, history.Committed)
			r.acknowledged(writer)
		}
		c.CloseAllowingRebalance()
	}
}

// read follows all partitions as a read_committed reader until ctx is done. After an error, it
// begins again, as another reader.
func (r *recorder) read(ctx context.Context, addr, reader string) {
	for n := 0; ctx.Err() == nil; n++ {
		from := make(map[string]map[int32]kgo.Offset)
		for _, topic := range accidentTopics {
			from[topic] = make(map[int32]kgo.Offset)
			for p := range int32(accidentPartitions) {
				from[topic][p] = kgo.NewOffset().AtStart()
			}
		}
		c, err := accidentClient(addr, kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
		if err != nil {
			continue
		}
		seen := history.Read{Reader: fmt.Sprint(reader, "-", n)}
		for ctx.Err() == nil {
			fetches := c.PollFetches(ctx)
			if err := observe(fetches, &seen); err != nil {
				break
			}
		}
		c.Close()
		r.mu.Lock()
		r.seen.Reads = append(r.seen.Reads, seen)
		r.mu.Unlock()
	}
}

// observe appends records to a read, and returns the first error of a partition.
func observe(fetches kgo.Fetches, seen *history.Read) (failed error) {
	fetches.EachRecord(func(rec *kgo.Record) {
		if rec.Attrs.IsControl() {
			return
		}
		of, err := history.ParseRecord(string(rec.Value))
		if err != nil {
			failed = err
			return
		}
		seen.Seen = append(seen.Seen, history.Observation{Partition: history.Partition{Topic: rec.Topic, ID: rec.Partition}, Offset: rec.Offset, Record: of})
	})
	return errors.Join(failed, fetches.Err())
}

// readAll ends what is open and reads everything.
func (r *recorder) readAll(t *testing.T, addr string, writers []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), accidentPatience)
	defer cancel()
	for _, w := range writers {
		takeOver(t, addr, w)
	}
	final := history.Read{Reader: "final"}
	for _, topic := range accidentTopics {
		c, err := accidentClient(addr, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumeTopics(topic))
		if err != nil {
			t.Fatal(err)
		}
		admin := kadm.NewClient(c)
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		stable, err := admin.ListCommittedOffsets(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		left := make(map[int32]int64)
		ends.Each(func(o kadm.ListedOffset) {
			if s, _ := stable.Lookup(topic, o.Partition); s.Offset != o.Offset {
				t.Errorf("%s-%d: the last stable offset is %d, the end %d: a transaction is open", topic, o.Partition, s.Offset, o.Offset)
			} else if o.Offset > 0 {
				left[o.Partition] = o.Offset
			}
		})
		for len(left) > 0 {
			fetches := c.PollFetches(ctx)
			if err := observe(fetches, &final); err != nil {
				t.Fatalf("read %s, %v left: %v", topic, left, err)
			}
			fetches.EachRecord(func(rec *kgo.Record) {
				if rec.Offset+1 >= left[rec.Partition] {
					delete(left, rec.Partition)
				}
			})
		}
		c.Close()
	}
	r.seen.Final = final
}

// served is a broker in a process of its own, at one address over all restarts.
type served struct {
	t        *testing.T
	dir      string
	env      []string
	mayStop  bool // itself
	child    *child
	exited   chan struct{}
	restarts int
}

func (s *served) start() {
	s.t.Helper()
	env := s.env
	if s.child != nil {
		env = append(slices.Clone(env), addrEnv+"="+s.child.addr)
	}
	s.child = startChild(s.t, s.dir, env...)
	cmd, exited := s.child.cmd, make(chan struct{})
	s.exited = exited
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
}

// kill kills the process, if it has not stopped itself.
func (s *served) kill() {
	_ = s.child.cmd.Process.Kill()
	<-s.exited
}

// revive starts the broker again if it has stopped itself.
func (s *served) revive() {
	s.t.Helper()
	select {
	case <-s.exited:
		if !s.mayStop {
			s.t.Fatal("the broker has stopped")
		}
		s.restarts++
		s.start()
	default:
	}
}

// signal sends a signal to the process.
func (s *served) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.child.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// accident happens to a broker with clients, which then works again.
type accident struct {
	disk func(t *testing.T, dir string)              // prepares a directory, or skips
	do   func(t *testing.T, s *served, n *rand.Rand) // returns once the broker serves again
	sync bool                                        // Config.Sync

	mayStop bool // the broker stops if the disk fails at the wrong moment: see log.go

	// The disk forgets what is not synced: a record without a transaction can be read and vanish
	// before it is acknowledged.
	forgets bool
}

func pause(atMost time.Duration, rng *rand.Rand) {
	time.Sleep(time.Duration(rng.Int64N(int64(atMost))))
} // a random moment

var accidents = map[string]accident{
	"kill": {do: func(t *testing.T, s *served, rng *rand.Rand) {
		pause(20*time.Millisecond, rng)
		s.kill()
		s.start()
		if rng.IntN(4) == 0 {
			s.kill()
			s.start()
		}
	}},
	"stop": {do: func(t *testing.T, s *served, rng *rand.Rand) {
		pause(20*time.Millisecond, rng)
		s.signal(syscall.SIGSTOP)
		longest := 200 * time.Millisecond
		if rng.IntN(3) == 0 {
			longest = 3 * time.Second // longer than the timeout of a transaction
		}
		pause(longest, rng)
		s.signal(syscall.SIGCONT)
	}},
	"full disk": {
		mayStop: true,
		disk:    func(t *testing.T, dir string) { disktest.Mount(t, dir, 64<<20) },
		do: func(t *testing.T, s *served, rng *rand.Rand) {
			pause(20*time.Millisecond, rng)
			fill := filepath.Join(s.dir, "fill")
			disktest.Fill(t, fill)
			pause(300*time.Millisecond, rng)
			killed := rng.IntN(3) == 0
			if killed {
				s.kill()
			}
			if err := os.Remove(fill); err != nil {
				t.Fatal(err)
			}
			if killed {
				s.start()
			}
		},
	},
	"power failure": {
		sync: true, forgets: true,
		disk: mountExt4,
		do:   failPower,
	},
}

func image(dir string) string { return dir + ".img" }

// mountExt4 mounts a file system in a file, and skips the test without the means to.
func mountExt4(t *testing.T, dir string) {
	t.Helper()
	if err := exec.Command("mkfs.ext4", "-q", "-F", image(dir), "64m").Run(); err != nil { //nolint:gosec // fixed
		t.Skipf("create a file system: %v", err)
	}
	if out, err := exec.Command("mount", "-o", "loop", image(dir), dir).CombinedOutput(); err != nil { //nolint:gosec // fixed
		t.Skipf("mount a file system in a file: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
}

// failPower drops what was not synced: ext4's shutdown discards all dirty pages and the file
// system's uncommitted journal. Before, it syncs a random choice of files, as the kernel may at any
// time.
func failPower(t *testing.T, s *served, rng *rand.Rand) {
	pause(20*time.Millisecond, rng)
	all, err := filepath.Glob(filepath.Join(s.dir, dataDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(s.dir, dataDir, "partitions", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(all, segments...) {
		if rng.IntN(3) > 0 {
			continue
		}
		if f, err := os.OpenFile(path, os.O_RDWR, 0); err == nil { //nolint:gosec // a test's directory
			_ = f.Sync()
			_ = f.Close()
		}
	}
	root, err := os.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	const ext4Shutdown = 0x8004587d                                                                                              // EXT4_IOC_SHUTDOWN
	flags := uint32(2)                                                                                                           // EXT4_GOING_FLAGS_NOLOGFLUSH
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, root.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 { //nolint:gosec // the ioctl's parameter
		t.Fatalf("shut the file system down: %v", errno)
	}
	_ = root.Close()
	s.kill()
	for deadline := time.Now().Add(accidentPatience); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Unmount(s.dir, 0)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("mount", "-o", "loop", image(s.dir), s.dir).CombinedOutput(); err != nil { //nolint:gosec // fixed
		t.Fatalf("mount the file system again: %v: %s", err, out)
	}
	s.start()
}

// Through accidents of the broker and its disk, no client sees a transaction lost, doubled, torn,
// read although it was aborted, or out of order.
func TestAccidentsInHistories(t *testing.T) {
	rounds := longtest.Size(2, 3, 100)
	for name, a := range accidents {
		t.Run(name, func(t *testing.T) { surviveAccidents(t, a, rounds) })
	}
}

func surviveAccidents(t *testing.T, a accident, rounds int) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s := &served{t: t, mayStop: a.mayStop, dir: filepath.Join(t.TempDir(), "disk")}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if a.disk != nil {
		a.disk(t, s.dir)
	}
	if a.sync {
		s.env = append(s.env, syncEnv+"=1")
	}
	s.start()
	defer s.kill()
	addr := s.child.addr
	admin, err := accidentClient(addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kadm.NewClient(admin).CreateTopics(t.Context(), accidentPartitions, 1, nil, accidentTopics...); err != nil {
		t.Fatal(err)
	}
	admin.Close()
	rec := &recorder{ended: make(map[string]int)}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer func() {
		cancel()
		all.Wait()
	}()
	ids := []string{"v2", "v1", "impatient"}
	options := [][]kgo.Opt{nil, {kgo.MaxVersions(kversion.V3_8_0())}, {kgo.TransactionTimeout(2 * time.Second)}}
	for i, id := range ids {
		own := rand.New(rand.NewPCG(seed, uint64(i)+1)) //nolint:gosec // an index
		all.Go(func() { rec.write(ctx, addr, id, own, options[i]...) })
	}
	writers := slices.Clone(ids)
	if !a.forgets {
		writers = append(writers, "plain")
		all.Go(func() { rec.writePlain(ctx, addr, "plain") })
	}
	for i := range 2 {
		all.Go(func() { rec.read(ctx, addr, fmt.Sprint("reader", i)) })
	}
	for range rounds {
		rec.await(t, s, writers, 3)
		a.do(t, s, rng)
	}
	rec.await(t, s, writers, 3)
	cancel()
	all.Wait()
	rec.readAll(t, addr, ids)
	outcomes := make(map[history.Outcome]int)
	for _, x := range rec.seen.Transactions {
		outcomes[x.Outcome]++
	}
	t.Logf("%d accidents, %d transactions %v, %d records visible, %d reads; the broker stopped itself %d times", rounds, len(rec.seen.Transactions), outcomes, len(rec.seen.Final.Seen), len(rec.seen.Reads), s.restarts)
	for i, f := range history.Check(rec.seen) {
		if i < 10 {
			t.Error(f)
		}
	}
}
