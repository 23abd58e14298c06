package sink

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// gate is memory whose deliveries a test controls.
type gate struct {
	*memory
	// during is called in a delivery, before it has an effect; n counts the deliveries of all
	// sessions from 1. Its error is that of the delivery, which has an effect if committed is true.
	during func(n int, b *Batch) (committed bool, err error)

	mu       sync.Mutex
	n        int
	sessions int
	sizes    []int   // of the deliveries that had an effect
	by       []int   // their sessions
	failed   []int   // sessions whose deliveries had an error
	values   []int64 // in the order in which they were written
}

type gateSession struct {
	*gate
	inner Session
	id    int
}

func (g *gate) Open(ctx context.Context, from Topic) (Session, error) {
	inner, err := g.memory.Open(ctx, from)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sessions++
	return &gateSession{g, inner, g.sessions}, err
}

func (s *gateSession) Close() {}

func (s *gateSession) Claim(ctx context.Context, partitions []int32) (map[int32]int64, error) {
	return s.inner.Claim(ctx, partitions)
}

func (s *gateSession) Deliver(ctx context.Context, b *Batch, refused func([]Refusal) error) error {
	s.mu.Lock()
	s.n++
	n := s.n
	s.mu.Unlock()
	committed, injected := s.during(n, b)
	err := injected
	if injected == nil || committed {
		err = errors.Join(injected, s.inner.Deliver(ctx, b, refused))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || committed {
		s.sizes, s.by = append(s.sizes, b.Rows.N), append(s.by, s.id)
		s.values = append(s.values, b.Rows.Cols[0].I...)
	}
	if slices.Contains(s.failed, s.id) {
		panic("a session has delivered after an error")
	}
	if err != nil {
		s.failed = append(s.failed, s.id)
	}
	return err
}

// ahead is a sink whose first delivery goes on once the next batch is prepared.
type ahead struct {
	gate     *gate
	config   Config
	prepared chan struct{} // a value for each batch
}

func newAhead(at broker.Config, m *memory, rows int) *ahead {
	a := &ahead{gate: &gate{memory: m}, prepared: make(chan struct{}, 10_000)}
	a.gate.during = func(int, *Batch) (bool, error) { return false, nil }
	return a.with(at, rows)
}

func (a *ahead) with(at broker.Config, rows int) *ahead {
	a.config = Config{Broker: at, Pipeline: "p", DeadLetters: "p.dlq", Target: a.gate, MaxRows: rows, SessionTimeout: 2 * time.Second, prepared: func() { a.prepared <- struct{}{} }}
	return a
}

// first calls f in the first delivery, when the next batch is prepared.
func (a *ahead) first(t *testing.T, f func() (committed bool, err error)) {
	t.Helper()
	a.gate.during = func(n int, _ *Batch) (bool, error) {
		if n > 1 {
			return false, nil
		}
		for range 2 { // its own, and the next
			if !a.await(t.Context()) {
				t.Error("no batch is prepared while the target writes one")
				return false, errInjected
			}
		}
		return f()
	}
}

// await waits until a batch is prepared.
func (a *ahead) await(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	select {
	case <-a.prepared:
		return true
	case <-ctx.Done():
		return false
	}
}

// deliver runs the sink until everything is delivered, and returns its status.
func (a *ahead) deliver(t *testing.T, processes int) []Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var running sync.WaitGroup
	sinks, stop := context.WithCancel(ctx)
	var all []Config
	for range processes {
		c := a.config
		c.Table = programOf(t).Deliveries()[0]
		c.Status = NewStatus("p", c.Table)
		all = append(all, c)
		running.Go(func() { Run(sinks, c) })
	}
	err := AwaitDelivered(ctx, all[0])
	stop()
	running.Wait()
	var status []Snapshot
	for _, c := range all {
		status = append(status, c.Status.Snapshot())
	}
	if err != nil {
		t.Fatalf("%v: %+v", err, status)
	}
	return status
}

func letterCount(t *testing.T, at broker.Config) (n int) {
	t.Helper()
	if err := broker.ReadAll(t.Context(), at, "p.dlq", nil, func(*kgo.Record) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// While the target writes a batch, the next one is prepared, and no more than one batch and its
// records are kept.
func TestPreparesAhead(t *testing.T) {
	const n = 200
	at, _ := world(t, n)
	m := newMemory(0)
	a := newAhead(at, m, 20)
	a.first(t, func() (bool, error) { return false, nil })
	status := a.deliver(t, 1)
	m.check(t, n)
	if a.gate.sessions != 1 || status[0].Retries != 0 || status[0].Rows != n {
		t.Errorf("%d sessions, %+v", a.gate.sessions, status)
	}
	for _, size := range a.gate.sizes {
		if size > 20 {
			t.Errorf("batches of %v rows", a.gate.sizes)
		}
	}
}

// A delivery that fails takes the prepared batch with it: the next session reads it again from
// where the target is, whether the failed delivery was committed or not.
func TestFailureDropsThePreparedBatch(t *testing.T) {
	const n = 200
	for _, committed := range []bool{false, true} {
		at, _ := world(t, n)
		m := newMemory(0)
		a := newAhead(at, m, 20)
		a.first(t, func() (bool, error) { return committed, errInjected })
		status := a.deliver(t, 1)
		m.check(t, n)
		if a.gate.sessions != 2 || status[0].Retries != 1 {
			t.Errorf("committed %t: %d sessions, %+v", committed, a.gate.sessions, status)
		}
		if b := a.gate.by; committed && (b[0] != 1 || b[1] != 2) || !committed && b[0] != 2 {
			t.Errorf("committed %t: deliveries of the sessions %v", committed, b)
		}
	}
}

// A session that loses its partitions in a delivery delivers nothing more, although the next batch
// is prepared.
func TestFenceDropsThePreparedBatch(t *testing.T) {
	const n = 200
	at, _ := world(t, n)
	m := newMemory(0)
	a := newAhead(at, m, 20)
	a.first(t, func() (bool, error) {
		other, err := m.Open(t.Context(), Topic{})
		if err == nil {
			_, err = other.Claim(t.Context(), []int32{0, 1, 2, 3})
		}
		if err != nil {
			t.Error(err)
		}
		return false, nil
	})
	status := a.deliver(t, 1)
	m.check(t, n)
	if a.gate.sessions != 2 || status[0].Retries != 1 || slices.Contains(a.gate.by, 1) {
		t.Errorf("%d sessions, deliveries of %v, %+v", a.gate.sessions, a.gate.by, status)
	}
}

// A sink that is stopped in a delivery ends it, and leaves the prepared batch to the next run.
func TestStopDropsThePreparedBatch(t *testing.T) {
	const n = 200
	at, _ := world(t, n)
	m := newMemory(0)
	a := newAhead(at, m, 20)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	a.first(t, func() (bool, error) {
		stop()
		return false, nil
	})
	c := a.config
	c.Table = programOf(t).Deliveries()[0]
	Run(ctx, c)
	if len(a.gate.sizes) != 1 || len(m.rows) != a.gate.sizes[0] {
		t.Fatalf("deliveries of %v rows, and %d rows in the target", a.gate.sizes, len(m.rows))
	}
	a.deliver(t, 1)
	m.check(t, n)
}

// Dead letters of a prepared batch are written when it is delivered, and once. Before, another
// process could still get its rows.
func TestLettersOfAPreparedBatch(t *testing.T) {
	const n = 80
	at, _ := world(t, n)
	bad := undecodable(t, at)
	m := newMemory(0)
	a := newAhead(at, m, 10)
	fails := 4
	a.gate.during = func(_ int, b *Batch) (bool, error) {
		if fails--; fails < 0 {
			return false, nil
		}
		a.await(t.Context())
		a.await(t.Context())
		reached := 0
		for p, offset := range bad {
			if max(b.Next[p], m.next[p]) > offset {
				reached++
			}
		}
		if letters := letterCount(t, at); letters > reached {
			t.Errorf("%d dead letters, but only %d of their records are in batches that were delivered", letters, reached)
		}
		return fails%2 == 1, errInjected
	}
	a.deliver(t, 1)
	m.check(t, n)
	if letters := letterCount(t, at); letters != len(bad) {
		t.Errorf("%d dead letters instead of %d", letters, len(bad))
	}
}

// undecodable appends a record that can't be decoded to each partition, and returns the records'
// offsets.
func undecodable(t *testing.T, at broker.Config) map[int32]int64 {
	t.Helper()
	client, err := broker.Connect(t.Context(), at, kgo.DefaultProduceTopic("p.t.out"), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	offsets := make(map[int32]int64)
	for p := range int32(4) {
		r := &kgo.Record{Partition: p, Value: []byte(`{"v":`)}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		offsets[p] = r.Offset
	}
	return offsets
}

// A process that joins gets partitions between two deliveries. The first one goes on without an
// error, and does not deliver what it has prepared of them.
func TestRebalanceWithAPreparedBatch(t *testing.T) {
	const n = 800
	at, _ := world(t, n)
	m := newMemory(0)
	a := newAhead(at, m, 20)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	joining, join := context.WithCancel(ctx)
	defer join()
	var all []Config
	for range 2 {
		c := a.config
		c.Table = programOf(t).Deliveries()[0]
		c.Status = NewStatus("p", c.Table)
		all = append(all, c)
	}
	all[1].prepared = nil
	a.first(t, func() (bool, error) {
		join()
		return false, rebalancing(t, at)
	})
	first := a.gate.during
	a.gate.during = func(n int, b *Batch) (bool, error) {
		if n > 1 && all[1].Status.Snapshot().Partitions == 0 { // the rebalance goes on between deliveries
			a.await(ctx)
			_ = retry.Sleep(ctx, 20*time.Millisecond)
		}
		return first(n, b)
	}
	var running sync.WaitGroup
	running.Go(func() { Run(ctx, all[0]) })
	running.Go(func() {
		<-joining.Done()
		Run(ctx, all[1])
	})
	err := AwaitDelivered(ctx, all[0])
	one, two := all[0].Status.Snapshot(), all[1].Status.Snapshot()
	stop()
	running.Wait()
	if err != nil {
		t.Fatalf("%v: %+v, %+v", err, one, two)
	}
	m.check(t, n)
	if one.Retries+two.Retries != 0 || one.Partitions+two.Partitions != 4 || two.Rows == 0 {
		t.Errorf("%+v\n%+v", one, two)
	}
}

// rebalancing waits until a second process has asked for partitions.
func rebalancing(t *testing.T, at broker.Config) error {
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		groups, err := kadm.NewClient(client).DescribeGroups(t.Context(), Group("p", "t"))
		if err != nil {
			return err
		}
		if groups[Group("p", "t")].State == "PreparingRebalance" {
			return nil
		}
		if err := retry.Sleep(t.Context(), time.Millisecond); err != nil {
			return err
		}
	}
}

// Random faults: processes join one at a time, deliveries fail before or after they commit, and
// rows are refused, while the next batch is prepared during each delivery.
func TestPreparedBatchesAtRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const n, bad = 600, 333
	for round := range uint64(3) {
		at, _ := world(t, n)
		m := newMemory(seed + round)
		m.fails, m.bad = 5, bad
		a := newAhead(at, m, 15)
		a.gate.during = func(int, *Batch) (bool, error) {
			m.mu.Lock()
			waits := m.random.IntN(2) == 0
			m.mu.Unlock()
			if waits { // for a batch, mostly the next one of this session
				select {
				case <-a.prepared:
				case <-time.After(10 * time.Millisecond):
				}
			}
			return false, nil
		}
		a.deliver(t, 3)
		m.check(t, n, bad)
		if letters := letterCount(t, at); letters < 1 {
			t.Error("no dead letter")
		}
	}
}
