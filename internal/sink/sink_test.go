package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a target in memory, which fails as configured. Rows and positions change together.
type memory struct {
	mu     sync.Mutex
	random *rand.Rand
	rows   map[int64]int // how often each value was written
	next   map[int32]int64
	epoch  map[int32]int64
	most   int   // rows that it can write in time; 0 is any number
	bad    int64 // the value that it refuses; 0 for none
	down   int   // rows after which it accepts no connection; 0 is never
	fails  int   // one in so many deliveries fails, before or after its commit; 0 is none
}

func newMemory(seed uint64) *memory {
	return &memory{random: rand.New(rand.NewPCG(seed, 0)), rows: make(map[int64]int), next: make(map[int32]int64), epoch: make(map[int32]int64)}
}

type memorySession struct {
	*memory
	epochs map[int32]int64
}

func (m *memory) Open(context.Context, Topic) (Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down > 0 && len(m.rows) >= m.down {
		return nil, errInjected
	}
	return &memorySession{m, make(map[int32]int64)}, nil
}

func (m *memory) Positions(context.Context, Topic) (map[int32]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.next), nil
}

func (m *memory) AcceptPosition(int32, int64) string { return "set it" }

func (s *memorySession) Close() {}

func (s *memorySession) Claim(_ context.Context, partitions []int32) (map[int32]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[int32]int64)
	for _, p := range partitions {
		s.epoch[p]++
		s.epochs[p], next[p] = s.epoch[p], s.next[p]
	}
	return next, nil
}

var errInjected = errors.New("injected")

func (s *memorySession) Deliver(_ context.Context, b *Batch, refused func([]Refusal) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most > 0 && b.Rows.N > s.most {
		return context.DeadlineExceeded
	}
	for p, from := range b.From {
		if s.next[p] != from || s.epoch[p] != s.epochs[p] {
			return &FencedError{"test"}
		}
	}
	if s.down > 0 && len(s.rows) >= s.down {
		return errInjected
	}
	fails := s.fails > 0 && s.random.IntN(s.fails) == 0
	if fails && s.random.IntN(2) == 0 {
		return errInjected
	}
	for row := range b.Rows.N {
		v := b.Rows.Cols[0].I[row]
		if v == s.bad && s.bad != 0 {
			if err := refused([]Refusal{{b.Origins[row], errInjected}}); err != nil {
				return err
			}
			continue
		}
		s.rows[v]++
	}
	maps.Copy(s.next, b.Next)
	if fails {
		return errInjected // committed, and nobody knows
	}
	return nil
}

// programOf is a pipeline that writes a table.
func programOf(t *testing.T) *plan.Program {
	t.Helper()
	p, err := plan.Compile(`CREATE TABLE t (v BIGINT) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d', 'table-name' = 't');
		CREATE TABLE r (v BIGINT) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json'); INSERT INTO t SELECT v FROM r`, "p")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// world is a topic with values from 1 to n in several partitions.
func world(t *testing.T, n int) (broker.Config, *plan.Program) {
	t.Helper()
	p := programOf(t)
	const partitions = 4
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "100", "group.initial.rebalance.delay.ms": "0"}),
		kfake.SeedTopics(partitions, "p.t.out"), kfake.SeedTopics(1, "p.dlq"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	at := broker.Config{Brokers: c.ListenAddrs()}
	client, err := broker.Connect(t.Context(), at, kgo.DefaultProduceTopic("p.t.out"), kgo.RecordPartitioner(broker.GivenPartitions()), kgo.TransactionalID("w"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for v := 1; v <= n; {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		var records []*kgo.Record
		for range min(50, n-v+1) {
			records = append(records, &kgo.Record{Partition: int32(v % partitions), Value: fmt.Appendf(nil, `{"v":%d}`, v)}) //nolint:gosec // small
			v++
		}
		if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := broker.Commit(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	return at, p
}

// run runs sinks beside each other until everything is delivered.
func run(t *testing.T, m *memory, at broker.Config, p *plan.Program, rows, processes int) []Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var running sync.WaitGroup
	var all []Config
	sinks, stop := context.WithCancel(ctx)
	for range processes {
		table := p.Deliveries()[0]
		c := Config{Broker: at, Pipeline: "p", Table: table, DeadLetters: "p.dlq", Target: m, MaxRows: rows, SessionTimeout: 2 * time.Second, Status: NewStatus("p", table)}
		all = append(all, c)
		running.Go(func() { Run(sinks, c) })
	}
	err := AwaitDelivered(ctx, all[0])
	var status []Snapshot
	for _, c := range all {
		// A status learns what the target has committed after the target.
		for s := c.Status.Snapshot(); err == nil && s.Phase == Delivering && s.Lag > 0; s = c.Status.Snapshot() {
			err = retry.Sleep(ctx, time.Millisecond)
		}
		status = append(status, c.Status.Snapshot())
	}
	stop()
	running.Wait()
	if err != nil {
		t.Fatalf("%v: %+v", err, status)
	}
	return status
}

func (m *memory) check(t *testing.T, n int, without ...int64) {
	t.Helper()
	want := make(map[int64]int)
	for v := int64(1); v <= int64(n); v++ {
		if !slices.Contains(without, v) {
			want[v] = 1
		}
	}
	if diff := cmp.Diff(want, m.rows); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Every row is delivered once, although deliveries fail before and after their commit, and several
// processes join one after the other.
func TestDeliveriesFail(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const n = 600
	at, p := world(t, n)
	m := newMemory(seed)
	m.fails = 3
	run(t, m, at, p, 40, 3)
	m.check(t, n)
}

// A target that can't write a batch in time gets smaller ones.
func TestSlowTarget(t *testing.T) {
	const n = 200
	at, p := world(t, n)
	m := newMemory(0)
	m.most = 5
	run(t, m, at, p, 100, 1)
	m.check(t, n)
}

// A refused row is one dead letter, although its delivery is repeated.
func TestRefusedRow(t *testing.T) {
	const n, bad = 100, 42
	at, p := world(t, n)
	m := newMemory(7)
	m.bad, m.fails = bad, 2
	status := run(t, m, at, p, 20, 1)
	m.check(t, n, bad)
	letters := 0
	if err := broker.ReadAll(t.Context(), at, "p.dlq", nil, func(*kgo.Record) error { letters++; return nil }); err != nil {
		t.Fatal(err)
	}
	// After a failure, the status does not know yet what the last delivery has committed.
	if s := status[0]; letters != 1 || s.Phase == Delivering && s.Lag != 0 {
		t.Errorf("%d dead letters, status %+v", letters, status)
	}
}

// Isolate finds the rows that are refused, and stops at an error that is none of a row.
func TestIsolate(t *testing.T) {
	bad := map[int]bool{0: true, 7: true, 8: true, 99: true}
	var written, refused []int
	write := func(from, to int) error {
		for i := from; i < to; i++ {
			if bad[i] {
				return errInjected
			}
		}
		for i := from; i < to; i++ {
			written = append(written, i)
		}
		return nil
	}
	if err := Isolate(100, write, func(err error) bool { return errors.Is(err, errInjected) }, func(row int, _ error) { refused = append(refused, row) }); err != nil {
		t.Fatal(err)
	}
	if len(written) != 96 || !slices.IsSorted(written) || !slices.Equal(refused, []int{0, 7, 8, 99}) {
		t.Errorf("%d rows written, refused %v", len(written), refused)
	}
	if err := Isolate(100, write, func(error) bool { return false }, nil); !errors.Is(err, errInjected) {
		t.Errorf("error %v", err)
	}
}

// While a target refuses connections after it has taken rows, those that wait are the lag.
func TestLagWhileTheTargetIsDown(t *testing.T) {
	const n = 200
	at, p := world(t, n)
	m := newMemory(1)
	m.down = n / 2
	table := p.Deliveries()[0]
	c := Config{Broker: at, Pipeline: "p", Table: table, DeadLetters: "p.dlq", Target: m, MaxRows: 10, SessionTimeout: 2 * time.Second, Status: NewStatus("p", table)}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	var running sync.WaitGroup
	running.Go(func() { Run(ctx, c) })
	defer running.Wait()
	defer stop()
	for down := 0; down < 20; { // snapshots in a row
		s := c.Status.Snapshot()
		if s.Phase != Waiting || s.Retries == 0 {
			if ctx.Err() != nil {
				t.Fatalf("the target does not fail: %+v", s)
			}
			down = 0
			continue
		}
		if s.Lag < n/4 {
			t.Fatalf("about %d rows wait, and the lag is %d: %+v", n/2, s.Lag, s)
		}
		down++
		_ = retry.Sleep(ctx, 5*time.Millisecond)
	}
}
