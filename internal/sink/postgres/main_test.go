package postgres

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
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

func newTarget(p *plan.Program, t *plan.Table) *Target { return New(p.Name, t, secret.Source{}, nil) }

func admin(t *testing.T, at broker.Config) *kadm.Client {
	t.Helper()
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}
