package node

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/stack"
)

// twoSinks writes every reading to Kafka and to a database, and a count by device to the database.
const twoSinks = `CREATE TABLE r (d STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');
CREATE TABLE k (d STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'k', 'format' = 'json');
CREATE TABLE all_rows (d STRING, v INT) WITH ('connector' = 'jdbc', 'url' = '$URL', 'table-name' = 'all_rows', 'username' = '$USER', 'password' = '$PASSWORD');
CREATE TABLE totals (d STRING, n BIGINT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'jdbc', 'url' = '$URL', 'table-name' = 'totals', 'username' = '$USER', 'password' = '$PASSWORD');
INSERT INTO k SELECT d, v FROM r;
INSERT INTO all_rows SELECT d, v FROM r;
INSERT INTO totals SELECT d, COUNT(*) FROM r GROUP BY d;`

func planSinks(t *testing.T, url string) *plan.Program {
	t.Helper()
	text := strings.NewReplacer("$URL", url, "$USER", stack.PostgresUser, "$PASSWORD", stack.PostgresPassword).Replace(twoSinks)
	p, err := plan.Compile(text, "p")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func produceRows(t *testing.T, at broker.Config, from, to int) {
	t.Helper()
	client, err := broker.Connect(t.Context(), at, kgo.DefaultProduceTopic("r"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := from; i < to; i++ {
		d := fmt.Sprintf("d%d", i%7)
		r := &kgo.Record{Key: []byte(d), Value: fmt.Appendf(nil, `{"d":%q,"v":%d}`, d, i)}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func sinkCluster(t *testing.T) broker.Config {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "r"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return broker.Config{Brokers: c.ListenAddrs()}
}

// count returns the number of rows that readers of a topic see.
func count(t *testing.T, at broker.Config, topic string) (n int) {
	t.Helper()
	if err := broker.ReadAll(t.Context(), at, topic, nil, func(*kgo.Record) error { n++; return nil }); err != nil && !strings.Contains(err.Error(), topic) {
		t.Fatal(err)
	}
	return n
}

// While the database is down, the pipeline's results in Kafka go on. When it comes, it gets
// everything once; a bounded run waits for it.
func TestDatabaseIsDown(t *testing.T) {
	at := sinkCluster(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a port without a database
	if err != nil {
		t.Fatal(err)
	}
	dead := fmt.Sprintf("jdbc:postgresql://%s/postgres", listener.Addr())
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	const half = 100
	program := planSinks(t, dead)
	admin := NewAdmin()
	defer admin.Close()
	c := admin.Pipeline(engine.Config{Broker: at, Program: program, Instances: []string{"a"}, CommitInterval: 20 * time.Millisecond})
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() {
		if _, err := admin.Run(ctx, c); err != nil {
			t.Error(err)
		}
	})
	produceRows(t, at, 0, half)
	for count(t, at, "k") < half && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	waiting := func() bool {
		for _, s := range admin.Status().Sinks {
			if s.Phase != sink.Waiting || s.Lag == 0 || s.LastError == "" {
				return false
			}
		}
		return true
	}
	for !waiting() && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Errorf("the pipeline did not go on without its database: %d rows, %+v", count(t, at, "k"), admin.Status().Sinks)
	}
	stop()
	running.Wait()

	server := stack.NewPostgres(t)
	conn, err := pgx.Connect(t.Context(), server.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.PgConn().Exec(t.Context(), "CREATE TABLE all_rows (d text, v int); CREATE TABLE totals (d text PRIMARY KEY, n bigint)").ReadAll(); err != nil {
		t.Fatal(err)
	}
	produceRows(t, at, half, 2*half)
	program = planSinks(t, server.URL("postgres"))
	ctx, stop = context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	end := engine.Config{Broker: at, Program: program, Instances: []string{"a"}, UntilEnd: true}
	if _, err := RunPipeline(ctx, end, SinkStatus(program)); err != nil {
		t.Fatal(err)
	}
	var rows, distinct, devices, sum int
	if err := conn.QueryRow(ctx, "SELECT count(*), count(DISTINCT v) FROM all_rows").Scan(&rows, &distinct); err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(ctx, "SELECT count(*), sum(n) FROM totals").Scan(&devices, &sum); err != nil {
		t.Fatal(err)
	}
	if rows != 2*half || distinct != rows || devices != 7 || sum != rows {
		t.Errorf("%d rows (%d distinct), totals of %d devices sum up to %d", rows, distinct, devices, sum)
	}
}
