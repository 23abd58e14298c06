package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/audit"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/sinktest"
	"weir.example/weir/internal/stack"
)

// childEnv has the childConfig of a process that runs a sink until it is killed.
const childEnv = "WEIR_TEST_SINK"

type childConfig struct {
	Brokers []string
	DataDir string // of the embedded broker
	SQL     string
}

func runChild(text string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	p, err := plan.Compile(c.SQL, "test")
	if err != nil {
		return err
	}
	of := p.Deliveries()[0]
	config := sinktest.Config(broker.Config{Brokers: c.Brokers, DataDir: c.DataDir}, p, of, newTarget(p, of))
	config.MaxRows, config.SessionTimeout, config.DeliverTimeout = 500, 6*time.Second, 10*time.Second
	config.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	sink.Run(context.Background(), config)
	return nil
}

// child is a process that runs a sink.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func startChild(t *testing.T, c childConfig) *child {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	if testing.Verbose() {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started := &child{cmd, make(chan struct{})}
	go func() {
		_ = cmd.Wait() // it is killed
		close(started.done)
	}()
	return started
}

func (c *child) kill() {
	_ = c.cmd.Process.Signal(syscall.SIGCONT)
	_ = c.cmd.Process.Kill()
	<-c.done
}

// While two processes deliver, they and the server are killed, paused and restarted at random. In
// the end the table equals the topic: the checker says so, which shares no code with the sink.
func TestKills(t *testing.T) {
	for name, key := range map[string]string{"append": "", "upsert": "k"} {
		t.Run(name, func(t *testing.T) { testKills(t, key) })
	}
}

func testKills(t *testing.T, key string) {
	rows, faults := longtest.Size(5_000, 20_000, 1_000_000), longtest.Size(2, 5, 60)
	seed := rand.Uint64()
	t.Logf("seed %d, %d rows, %d faults", seed, rows, faults)
	random := rand.New(rand.NewPCG(seed, 0))
	server := stack.NewPostgres(t)
	const partitions = 5
	p, of := table(t, server, "postgres", kv, key)
	target := newTarget(p, of)
	conn := connect(t, server, "postgres")
	run(t, conn, CreateTable(of, target.jdbc))
	closeConn(conn)
	at := sinktest.Embedded(t, partitions)
	var writing sync.WaitGroup
	writing.Go(func() { writeSome(t, at, rows, key != "", seed) })
	children := []*child{nil, nil}
	c := childConfig{at.Brokers, at.DataDir, p.SQL}
	for i := range children {
		children[i] = startChild(t, c)
	}
	defer func() {
		for _, each := range children {
			each.kill()
		}
	}()
	for range faults {
		time.Sleep(time.Duration(random.IntN(700)) * time.Millisecond)
		i := random.IntN(len(children))
		switch random.IntN(4) {
		case 0, 1:
			children[i].kill()
			children[i] = startChild(t, c)
		case 2: // past the session timeout: a zombie
			_ = children[i].cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(7 * time.Second)
			_ = children[i].cmd.Process.Signal(syscall.SIGCONT)
		default:
			if err := server.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := server.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if longtest.Enabled() {
		outages(t, server)
	}
	writing.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(longtest.Size(60, 90, 900))*time.Second)
	defer cancel()
	if err := sink.AwaitDelivered(ctx, sinktest.Config(at, p, of, target)); err != nil {
		t.Fatalf("%v\n%s", err, server.Log())
	}
	checkDatabase(t, at, p, of)
}

// outages makes the server stop answering for longer than a delivery may take, and go away for
// three minutes.
func outages(t *testing.T, server *stack.Postgres) {
	t.Helper()
	step := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	step(server.Pause())
	time.Sleep(25 * time.Second)
	step(server.Resume())
	time.Sleep(5 * time.Second)
	step(server.Kill())
	time.Sleep(3 * time.Minute)
	step(server.Start(t.Context()))
}

// writeSome writes rows in transactions, some of which are aborted.
func writeSome(t *testing.T, at broker.Config, rows int, keyed bool, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	client, err := broker.Connect(t.Context(), at, kgo.TransactionalID("writer"), kgo.DefaultProduceTopic("test.t.out"), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	for i := 0; i < rows; {
		var records []*kgo.Record
		for range 1 + random.IntN(rows/20) {
			if i++; i > rows {
				break
			}
			k := random.IntN(rows / 10)
			r := put(int32(k%5), fmt.Sprintf("k%d", k), i)
			switch {
			case !keyed:
				r.Key = nil
			case random.IntN(4) == 0:
				r.Value = nil
			}
			records = append(records, r)
		}
		commit := random.IntN(5) > 0
		err := client.BeginTransaction()
		if err == nil {
			err = client.ProduceSync(t.Context(), records...).FirstErr()
		}
		switch {
		case err == nil && commit:
			err = broker.Commit(t.Context(), client)
		case err == nil:
			err = client.EndTransaction(t.Context(), kgo.TryAbort)
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// checkDatabase runs the checker.
func checkDatabase(t *testing.T, at broker.Config, p *plan.Program, of *plan.Table) {
	t.Helper()
	connect, err := newTarget(p, of).config()
	if err != nil {
		t.Fatal(err)
	}
	d := audit.DatabaseConfig{Sink: "test.t", Topic: of.Kafka.Topic, DLQ: "test.dlq", Connect: connect, Table: "t", Columns: []audit.DatabaseColumn{
		{Field: "k", Type: audit.ValueType{Kind: audit.TextValue}}, {Field: "v", Type: audit.ValueType{Kind: audit.NumberValue}},
	}}
	if of.Upsert {
		d.Key = []int{0}
	}
	report, err := audit.Verify(t.Context(), audit.Config{Broker: at, Databases: []audit.DatabaseConfig{d}})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if n := report.Databases; !report.Clean() || n.Waiting > 0 || n.Records == 0 || n.NotJudged > 0 {
		t.Errorf("%s", text.String())
	}
	t.Log(text.String())
}

// A server that stops answering does not hang the sink: it gives up the delivery, and repeats it.
func TestServerDiesAtCommit(t *testing.T) {
	server := stack.NewPostgres(t)
	p, of := table(t, server, "postgres", kv, "")
	conn := connect(t, server, "postgres")
	run(t, conn, "CREATE TABLE t (k text, v bigint)")
	closeConn(conn)
	at := sinktest.Cluster(t, 3)
	for i := range 3 {
		sinktest.Write(t, at, sinktest.Record(int32(i), "", fmt.Sprintf(`{"k":"a","v":%d}`, i)))
	}
	target := newTarget(p, of)
	var once sync.Once
	target.failpoint = func() {
		once.Do(func() {
			if err := server.Kill(); err != nil {
				t.Error(err)
			}
			go func() {
				if err := server.Start(context.Background()); err != nil {
					t.Error(err)
				}
			}()
		})
	}
	sinktest.Deliver(t, sinktest.Config(at, p, of, target))
	checkDatabase(t, at, p, of)
}
