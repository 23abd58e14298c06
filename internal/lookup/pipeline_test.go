package lookup_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/lookup"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink/postgres"
	"weir.example/weir/internal/stack"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*group).manage"))
}

// pipeline joins each reading twice with its device, and counts the rows of each device.
const pipeline = `
CREATE TABLE readings (device STRING, n BIGINT, proc_time AS PROCTIME()) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE devices (id STRING, version BIGINT, label STRING, PRIMARY KEY (id) NOT ENFORCED)
WITH ('connector' = 'jdbc', 'url' = '$URL', 'table-name' = 'devices', 'username' = '$USER', 'password' = '$PASSWORD'$OPTIONS);
CREATE TABLE named (device STRING, n BIGINT, version BIGINT, label STRING, at_ TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'named', 'format' = 'json');
CREATE TABLE again (n BIGINT, label STRING) WITH ('connector' = 'kafka', 'topic' = 'again', 'format' = 'json');
CREATE TABLE counted (device STRING, n BIGINT, version BIGINT, PRIMARY KEY (device) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'counted', 'key.format' = 'raw', 'value.format' = 'json');
CREATE VIEW joined AS SELECT r.device, r.n, d.version, d.label, r.proc_time AS at_ FROM readings AS r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.proc_time AS d ON r.device = d.id;
INSERT INTO named SELECT * FROM joined;
INSERT INTO counted SELECT device, COUNT(*), MAX(version) FROM joined GROUP BY device;
INSERT INTO again SELECT r.n, d.label FROM readings AS r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.proc_time AS d ON r.device = d.id;`

// site is a broker, a database and the pipeline between them.
type site struct {
	*testing.T
	at     broker.Config
	server *stack.Postgres
	client *kgo.Client
	sent   int
	config engine.Config

	left atomic.Int64 // EndTxn requests until the broker hangs up, once
	die  context.CancelFunc
}

const never = 1 << 40

// partitions of the topic of readings.
const partitions = 3

func newSite(t *testing.T, server *stack.Postgres, options string) *site {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "readings"), kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "100", "group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	s := &site{T: t, at: broker.Config{Brokers: c.ListenAddrs()}, server: server}
	s.left.Store(never)
	c.ControlKey(kmsg.EndTxn.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if s.left.Add(-1) > 0 {
			return nil, nil, false
		}
		s.left.Store(never) // the abort that follows succeeds
		s.die()
		return nil, errors.New("the broker hangs up"), true // without handling the request
	})
	s.client, err = broker.Connect(t.Context(), s.at, kgo.DefaultProduceTopic("readings"), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	url := "jdbc:postgresql://127.0.0.1:1/none"
	if server != nil {
		url = server.URL("postgres")
	}
	text := strings.NewReplacer("$URL", url, "$USER", stack.PostgresUser, "$PASSWORD", stack.PostgresPassword, "$OPTIONS", options).Replace(pipeline)
	program, err := plan.Compile(text, "test")
	if err != nil {
		t.Fatal(err)
	}
	s.config = engine.Config{
		Broker: s.at, Program: program, Instances: []string{"a", "b"}, UntilEnd: true, MaxRecords: 40, StateDir: t.TempDir(),
		TransactionTimeout: 2 * time.Second, CommitInterval: 20 * time.Millisecond, Lookups: postgres.OpenLookups(secret.Source{}),
	}
	if testing.Verbose() {
		s.config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return s
}

// send writes readings of some devices, the first of which the database has.
func (s *site) send(n int, random *rand.Rand) {
	s.Helper()
	var records []*kgo.Record
	for range n {
		value := fmt.Sprintf(`{"device":"d%d","n":%d}`, random.IntN(12), s.sent)
		records = append(records, &kgo.Record{Partition: random.Int32N(partitions), Value: []byte(value)})
		s.sent++
	}
	if err := s.client.ProduceSync(s.Context(), records...).FirstErr(); err != nil {
		s.Fatal(err)
	}
}

type row struct {
	Device, Label string
	N             int
	Version       *int
	At            string `json:"at_"`
	written       time.Time
}

func (s *site) rows(topic string) (all []row) {
	s.Helper()
	err := broker.ReadAll(s.Context(), s.at, topic, nil, func(r *kgo.Record) error {
		v := row{written: r.Timestamp}
		all = append(all, v)
		if r.Value == nil {
			return nil
		}
		return json.Unmarshal(r.Value, &all[len(all)-1])
	})
	if err != nil {
		s.Fatal(err)
	}
	return all
}

// run runs the pipeline until its nth transaction, or to its end.
func (s *site) run(n int, committed bool) {
	s.Helper()
	s.left.Store(never)
	if n > 0 && !committed {
		s.left.Store(int64(n))
	}
	ctx, cancel := context.WithTimeout(s.Context(), 40*time.Second)
	defer cancel()
	s.die = cancel
	var commits atomic.Int64
	c := s.config
	c.OnCommit = func(engine.Commit) {
		if commits.Add(1) == int64(n) && committed {
			cancel()
		}
	}
	_, err := engine.Run(ctx, c)
	var open *broker.LeftOpenError
	if err != nil && (n == 0 || !errors.As(err, &open)) {
		s.Fatal(err)
	}
	if n == 0 && ctx.Err() != nil {
		s.Fatalf("the run does not end; the status is %+v", c.Status.Snapshot().Workers)
	}
}

// history is when each version of the devices was written: an UPDATE of all of them.
type history struct {
	sync.Mutex
	began, ended []time.Time
}

// change updates the devices until ctx is done, whatever happens to the server.
func (h *history) change(ctx context.Context, server *stack.Postgres) {
	var conn *pgx.Conn
	for version := 1; ctx.Err() == nil; {
		began := time.Now()
		err := errors.New("not connected")
		if conn == nil {
			conn, _ = pgx.Connect(ctx, server.DSN("postgres"))
		}
		if conn != nil {
			// Whether an UPDATE was committed whose connection broke, is seen by its condition.
			_, err = conn.Exec(ctx, "UPDATE devices SET version = $1, label = 'v' || $1::text WHERE version < $1", version)
		}
		if err != nil {
			if conn != nil {
				_ = conn.Close(context.WithoutCancel(ctx))
			}
			conn = nil
			time.Sleep(5 * time.Millisecond)
			continue
		}
		h.Lock()
		h.began, h.ended = append(h.began, began), append(h.ended, time.Now())
		h.Unlock()
		version++
		time.Sleep(time.Millisecond)
	}
	if conn != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
	}
}

// check checks a row against the history: the version was not yet replaced when the transaction
// began, and existed when the row was written.
func (h *history) check(t *testing.T, r row) {
	t.Helper()
	h.Lock()
	defer h.Unlock()
	began, err := time.Parse("2006-01-02 15:04:05.999Z", r.At)
	if err != nil {
		t.Fatal(err)
	}
	v := *r.Version
	if v < len(h.ended) && h.ended[v].Add(time.Millisecond).Before(began) {
		t.Errorf("reading %d has version %d, which was replaced at %s, before its transaction began at %s", r.N, v, h.ended[v], began)
	}
	if v > 0 && v <= len(h.began) && h.began[v-1].After(r.written.Add(time.Millisecond)) {
		t.Errorf("reading %d has version %d, which was written at %s, after the row at %s", r.N, v, h.began[v-1], r.written)
	}
	if r.Label != fmt.Sprintf("v%d", v) {
		t.Errorf("reading %d has half of an update: version %d and label %s", r.N, v, r.Label)
	}
}

// While every device is updated all the time, workers crash before and after each of their first
// transactions, and the database is killed and comes back. Each reading is joined once, with a
// version that was current in its transaction, the same in all that the transaction computes; what
// the state has was joined with the same versions.
func TestChangesAndCrashes(t *testing.T) {
	server := stack.NewPostgres(t)
	setUp(t, server)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newSite(t, server, "")
	h := &history{}
	ctx, stop := context.WithCancel(t.Context())
	var changing sync.WaitGroup
	changing.Go(func() { h.change(ctx, server) })
	defer changing.Wait()
	defer stop()
	s.send(300, random)
	const crashes = 6
	for n := 1; n <= crashes; n++ {
		var restarting sync.WaitGroup
		if n%3 == 0 {
			after := time.Duration(random.IntN(100)) * time.Millisecond
			restarting.Go(func() { restart(t, server, after) })
		}
		s.run(n, random.IntN(2) == 0)
		restarting.Wait()
		s.send(60, random)
	}
	s.send(400, random) // many transactions of a session
	s.run(0, false)
	stop()
	changing.Wait()

	named := s.rows("named")
	again := make(map[int]string)
	for _, r := range s.rows("again") {
		if _, twice := again[r.N]; twice {
			t.Errorf("reading %d is twice in again", r.N)
		}
		again[r.N] = r.Label
	}
	seen, highest, count := make(map[int]bool), make(map[string]int), make(map[string]int)
	versions := make(map[string]map[string]bool) // by time of the transaction and device
	for _, r := range named {
		if seen[r.N] {
			t.Errorf("reading %d is there twice", r.N)
		}
		seen[r.N] = true
		count[r.Device]++
		if known := r.Device < "d2" || len(r.Device) == 2 && r.Device < "d8"; known != (r.Version != nil) {
			t.Errorf("reading %d of %s has version %v", r.N, r.Device, r.Version)
		}
		if again[r.N] != r.Label {
			t.Errorf("reading %d has label %q in one row and %q in another of the transaction", r.N, r.Label, again[r.N])
		}
		if r.Version == nil {
			continue
		}
		h.check(t, r)
		highest[r.Device] = max(highest[r.Device], *r.Version)
		at := r.At + r.Device
		if versions[at] == nil {
			versions[at] = make(map[string]bool)
		}
		versions[at][r.Label] = true
	}
	if len(named) != s.sent || len(again) != s.sent {
		t.Errorf("%d and %d rows of %d readings", len(named), len(again), s.sent)
	}
	for at, labels := range versions { // two workers may begin at the same time
		if len(labels) > len(s.config.Instances) {
			t.Errorf("transaction and device %s have %d versions", at, len(labels))
		}
	}
	last := make(map[string]row)
	for _, r := range s.rows("counted") {
		last[r.Device] = r
	}
	for device, n := range count {
		r := last[device]
		if r.N != n || r.Version != nil && *r.Version != highest[device] || (r.Version == nil) != (highest[device] == 0) {
			t.Errorf("the state of %s has %d readings and version %v, want %d and %d", device, r.N, r.Version, n, highest[device])
		}
	}
	if len(h.ended) < 10 {
		t.Errorf("only %d updates", len(h.ended))
	}
}

// setUp creates the devices d0 to d7, and d10.
func setUp(t *testing.T, server *stack.Postgres) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	const create = "CREATE TABLE devices (id text PRIMARY KEY, version bigint NOT NULL, label text)"
	for _, statement := range []string{create, "INSERT INTO devices SELECT 'd' || i, 0, 'v0' FROM unnest('{0,1,2,3,4,5,6,7,10,11}'::int[]) i"} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

func restart(t *testing.T, server *stack.Postgres, after time.Duration) {
	time.Sleep(after)
	if err := server.Kill(); err != nil {
		t.Error(err)
	}
	time.Sleep(300 * time.Millisecond)
	if err := server.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// A database that is down when the pipeline starts makes it wait, without an end of its session; it
// goes on when the database is there. While it waits, it can be stopped.
func TestDatabaseIsDown(t *testing.T) {
	server := stack.NewPostgres(t)
	setUp(t, server)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, server, "")
	s.send(50, rand.New(rand.NewPCG(1, 1)))
	s.config.Status = engine.NewStatus(s.config.Program)
	s.config.Instances = []string{"a"}
	waiting := func() engine.WorkerStatus {
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			for _, w := range s.config.Status.Snapshot().Workers {
				if w.Phase == engine.Waiting {
					return w
				}
			}
		}
		t.Fatal("the pipeline does not wait")
		return engine.WorkerStatus{}
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := engine.Run(ctx, s.config)
		ended <- err
	}()
	w := waiting()
	if !strings.Contains(w.Reason, "look up rows of table devices: connect to the database") {
		t.Errorf("it waits for %q", w.Reason)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("stopped while it waits: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it can't be stopped while it waits")
	}
	s.config.Status = engine.NewStatus(s.config.Program)
	var starting sync.WaitGroup
	starting.Go(func() {
		waiting()
		if err := server.Start(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	s.run(0, false)
	starting.Wait()
	w = s.config.Status.Snapshot().Workers[0]
	if w.Sessions != 1 || w.Aborted[engine.AbortLookup] == 0 {
		t.Errorf("%d sessions, aborted transactions %v", w.Sessions, w.Aborted)
	}
	if named := s.rows("named"); len(named) != s.sent {
		t.Errorf("%d rows of %d readings", len(named), s.sent)
	}
}

// A table that does not fit is an error of the start.
func TestTableDoesNotFit(t *testing.T) {
	server := stack.NewPostgres(t)
	s := newSite(t, server, "")
	_, err := engine.Run(t.Context(), s.config)
	if err == nil || !strings.Contains(err.Error(), "table devices does not exist in the database. Create it:\nCREATE TABLE") {
		t.Errorf("error %v", err)
	}
}

// slowSource answers after a time for each key.
type slowSource struct{ each time.Duration }

func (slowSource) Close() {}

func (s slowSource) Rows(ctx context.Context, keys []operator.LookupKey) ([][]operator.LookupRow, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Duration(len(keys)) * s.each):
	}
	all := make([][]operator.LookupRow, len(keys))
	for i, k := range keys {
		all[i] = []operator.LookupRow{{Values: []any{int64(len(k.ID)), "v"}}}
	}
	return all, nil
}

// A database that is too slow for the keys of a transaction makes transactions smaller, instead of
// being asked the same again and again.
func TestSlowDatabase(t *testing.T) {
	s := newSite(t, nil, "")
	s.config.MaxRecords, s.config.TransactionTimeout = 0, time.Second
	s.config.Lookups = func(context.Context, string, *lookup.Table) (lookup.Source, error) {
		return slowSource{2 * time.Millisecond}, nil
	}
	var records []*kgo.Record
	for n := range 1200 {
		records = append(records, &kgo.Record{Partition: int32(n % partitions), Value: fmt.Appendf(nil, `{"device":"x%d","n":%d}`, n, n)})
	}
	if err := s.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	s.config.Status = engine.NewStatus(s.config.Program)
	s.run(0, false)
	if named := s.rows("named"); len(named) != len(records) {
		t.Errorf("%d rows of %d readings", len(named), len(records))
	}
	aborted := int64(0)
	for _, w := range s.config.Status.Snapshot().Workers {
		aborted += w.Aborted[engine.AbortLookup]
	}
	if aborted == 0 || aborted > 30 {
		t.Errorf("%d transactions were aborted", aborted)
	}
}
