package postgres

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/stack"
)

// shared is a server for the tests that don't kill it.
var shared struct {
	once   sync.Once
	server *stack.Postgres
	err    error
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if shared.server != nil {
		if err := shared.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// database creates an empty database, named after the test, and returns a connection to it.
func database(t *testing.T) (*stack.Postgres, string, *pgx.Conn) {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = stack.StartPostgres(context.Background()) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	name := strings.NewReplacer("/", "_", "#", "_").Replace(strings.ToLower(t.Name()))
	run(t, connect(t, shared.server, "postgres"), "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	return shared.server, name, connect(t, shared.server, name)
}

func connect(t *testing.T, s *stack.Postgres, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(conn) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, statements string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), statements).ReadAll(); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// query returns the rows of a query, with the values of a row separated by bars.
func query(t *testing.T, conn *pgx.Conn, text string) (all []string) {
	t.Helper()
	results, err := conn.PgConn().Exec(t.Context(), text).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for _, row := range results[0].Rows {
		var values []string
		for _, v := range row {
			if v == nil {
				values = append(values, "NULL")
				continue
			}
			values = append(values, string(v))
		}
		all = append(all, strings.Join(values, "|"))
	}
	return all
}

// table plans a pipeline that writes a table with these columns and this primary key ("" for none)
// to the database.
func table(t testing.TB, s *stack.Postgres, database, columns, key string) (*plan.Program, *plan.Table) {
	t.Helper()
	if key != "" {
		columns += ", PRIMARY KEY (" + key + ") NOT ENFORCED"
	}
	with := fmt.Sprintf("'connector' = 'jdbc', 'url' = '%s', 'table-name' = 't', 'username' = '%s', 'password' = '%s'", s.URL(database), stack.PostgresUser, stack.PostgresPassword)
	source := "CREATE TABLE r WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json') LIKE t (EXCLUDING ALL);"
	p, err := plan.Compile(fmt.Sprintf("CREATE TABLE t (%s) WITH (%s);\n%s\nINSERT INTO t SELECT * FROM r;", columns, with, source), "test")
	if err != nil {
		t.Fatal(err)
	}
	return p, p.Deliveries()[0]
}

// cluster starts a broker with the topic of table t and the one of dead letters.
func cluster(t *testing.T, partitions int32) broker.Config {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "100", "group.initial.rebalance.delay.ms": "0"}), kfake.SeedTopics(partitions, "test.t.out"), kfake.SeedTopics(1, "test.dlq"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return broker.Config{Brokers: c.ListenAddrs()}
}

// write commits records to the topic of table t in one transaction.
func write(t *testing.T, at broker.Config, records ...*kgo.Record) {
	t.Helper()
	client, err := broker.Connect(t.Context(), at, kgo.TransactionalID("writer"), kgo.DefaultProduceTopic("test.t.out"), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := broker.Commit(t.Context(), client); err != nil {
		t.Fatal(err)
	}
}

// record returns a record of the topic; an empty value is a deletion.
func record(partition int32, key, value string) *kgo.Record {
	r := &kgo.Record{Partition: partition, Value: []byte(value)}
	if key != "" {
		r.Key = []byte(key)
	}
	if value == "" {
		r.Value = nil
	}
	return r
}

func configOf(at broker.Config, p *plan.Program, t *plan.Table, target sink.Target) sink.Config {
	return sink.Config{Broker: at, Pipeline: p.Name, Table: t, DeadLetters: "test.dlq", Target: target, Status: sink.NewStatus(p.Name, t)}
}

// deliver runs the sink until everything in the topic is delivered, and returns its state at the
// end.
func deliver(t *testing.T, c sink.Config) sink.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { sink.Run(running, c) })
	err := sink.AwaitDelivered(ctx, c)
	at := c.Status.Snapshot()
	stop()
	done.Wait()
	if err != nil {
		t.Fatalf("%v; the sink is %s: %s", err, at.Phase, at.LastError)
	}
	return at
}

func newTarget(p *plan.Program, t *plan.Table) *Target { return New(p.Name, t, secret.Source{}, nil) }

// letters returns the values of the dead letters.
func letters(t *testing.T, at broker.Config) (all []string) {
	t.Helper()
	err := broker.ReadAll(t.Context(), at, "test.dlq", nil, func(r *kgo.Record) error {
		reason := ""
		for _, h := range r.Headers {
			if h.Key == "weir-dlq-reason" {
				reason = string(h.Value)
			}
		}
		all = append(all, string(r.Value)+" "+reason)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func admin(t *testing.T, at broker.Config) *kadm.Client {
	t.Helper()
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}
