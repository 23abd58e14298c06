package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/audit"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/sinktest"
)

// With childSQL, a process of the tests runs a sink until it is killed.
const (
	childBrokers = "WEIR_TEST_SQLITE_BROKERS"
	childDataDir = "WEIR_TEST_SQLITE_DATA_DIR" // of the embedded broker
	childSQL     = "WEIR_TEST_SQLITE_SQL"
)

func TestMain(m *testing.M) {
	text := os.Getenv(childSQL)
	if text == "" {
		os.Exit(m.Run())
	}
	p, err := plan.Compile(text, "test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	of := p.Deliveries()[0]
	c := sinktest.Config(broker.Config{Brokers: strings.Split(os.Getenv(childBrokers), ","), DataDir: os.Getenv(childDataDir)}, p, of, New(p.Name, of))
	c.MaxRows, c.SessionTimeout = 50, 3*time.Second
	sink.Run(context.Background(), c)
}

// table plans a pipeline that writes a table with these columns and this primary key ("" for none)
// to a database file.
func table(t *testing.T, path, columns, key string) (*plan.Program, *plan.Table) {
	t.Helper()
	if key != "" {
		columns += ", PRIMARY KEY (" + key + ") NOT ENFORCED"
	}
	p, err := plan.Compile(fmt.Sprintf(`CREATE TABLE t (%s) WITH ('connector' = 'jdbc', 'url' = 'jdbc:sqlite:%s', 'table-name' = 't');
		CREATE TABLE r WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json') LIKE t (EXCLUDING ALL); INSERT INTO t SELECT * FROM r;`, columns, path), "test")
	if err != nil {
		t.Fatal(err)
	}
	return p, p.Deliveries()[0]
}

func open(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func run(t *testing.T, path, statements string) {
	t.Helper()
	if _, err := open(t, path).ExecContext(t.Context(), statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// query returns the rows of a query, with the types and values of a row separated by bars.
func query(t *testing.T, path, text string) (all []string) {
	t.Helper()
	rows, err := open(t, path).QueryContext(t.Context(), text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	names, _ := rows.Columns()
	for rows.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = &values[i]
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		var row []string
		for _, v := range values {
			row = append(row, fmt.Sprintf("%v", v))
		}
		all = append(all, strings.Join(row, "|"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

const allTypes = `k STRING, bool BOOLEAN, tiny TINYINT, big BIGINT, f FLOAT, d DOUBLE, dec_ DECIMAL(20, 4), txt STRING, ch CHAR(3), bin BYTES, dat DATE, tim TIME, ts TIMESTAMP(6),
	ltz TIMESTAMP_LTZ(3), ints ARRAY<INT>, r ROW<a INT, b ROW<c STRING>>, m MAP<STRING, DOUBLE>, bag MULTISET<STRING>`

// Each type arrives unchanged in the table that is created with the file.
func TestTypes(t *testing.T) {
	for name, key := range map[string]string{"append": "", "upsert": "k"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "results %41.db")
			p, of := table(t, path, allTypes, key)
			at := sinktest.Cluster(t, 2)
			for i, row := range []string{
				`{"k":"a","bool":true,"tiny":-128,"big":9223372036854775807,"f":0.1,"d":1.7976931348623157E308,"dec_":-1234567890123456.7890,"txt":"ü\n\"\u0000'","ch":"xy ","bin":"AP8=","dat":"2026-02-28","tim":"23:59:59","ts":"2026-03-01 12:00:00.123456","ltz":"1969-12-31 23:59:59.999Z","ints":[1,null,-3],"r":{"a":1,"b":{"c":"x"}},"m":{"a":1.5,"b":null},"bag":{"x":2}}`,
				`{"k":"b","bool":null,"tiny":null,"big":null,"f":null,"d":null,"dec_":null,"txt":null,"ch":null,"bin":null,"dat":null,"tim":null,"ts":null,"ltz":null,"ints":null,"r":null,"m":null,"bag":null}`,
				`{"k":"c","bool":false,"tiny":0,"big":0,"f":2.0,"d":"-Infinity","dec_":0,"txt":"12.50","ch":"   ","bin":"","dat":"0001-01-01","tim":"00:00:00","ts":"0001-01-01 00:00:00","ltz":"9999-12-31 23:59:59.999Z","ints":[],"r":{"a":null,"b":null},"m":{},"bag":{}}`,
				`{"k":"d","bool":false,"tiny":0,"big":0,"f":0,"d":"NaN","dec_":0,"txt":"","ch":"","bin":"","dat":"0001-01-01","tim":"00:00:00","ts":"0001-01-01 00:00:00","ltz":"9999-12-31 23:59:59.999Z","ints":[],"r":null,"m":{},"bag":{}}`,
			} {
				k := ""
				if key != "" {
					k = `{"k":"` + string(rune('a'+i)) + `"}`
				}
				sinktest.Write(t, at, sinktest.Record(int32(i%2), k, row))
			}
			done := sinktest.Deliver(t, sinktest.Config(at, p, of, New(p.Name, of)))
			want := []string{
				"a|1|-128|9223372036854775807|0.10000000149011612|1.7976931348623157e+308|-1234567890123456.7890|ü\n\"\x00'|xy |[0 255]|2026-02-28|23:59:59|2026-03-01 12:00:00.123456|1969-12-31 23:59:59.999Z|[1,null,-3]|{\"a\":1,\"b\":{\"c\":\"x\"}}|{\"a\":1.5,\"b\":null}|{\"x\":2}",
				"b|" + strings.TrimSuffix(strings.Repeat("<nil>|", 17), "|"),
				`c|0|0|0|2|-Inf|0.0000|12.50|   |[]|0001-01-01|00:00:00|0001-01-01 00:00:00|9999-12-31 23:59:59.999Z|[]|{"a":null,"b":null}|{}|{}`,
			}
			if diff := cmp.Diff(want, query(t, path, "SELECT * FROM t ORDER BY k")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got := sinktest.Letters(t, at); len(got) != 1 || !strings.Contains(got[0], "column d is NaN, which SQLite would store as NULL") || done.DeadLetters != 1 {
				t.Errorf("dead letters %v, status %+v", got, done)
			}
		})
	}
}

const kv = "k STRING, v BIGINT"

func put(partition int32, k string, v int) *kgo.Record {
	return sinktest.Record(partition, fmt.Sprintf(`{"k":%q}`, k), fmt.Sprintf(`{"k":%q,"v":%d}`, k, v))
}

// The last version of each key remains, whichever versions were in one batch, and rows that the
// database refuses become dead letters, alone.
func TestVersionsAndRefusals(t *testing.T) {
	for _, rows := range []int{1, 2, 100} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "r.db")
			run(t, path, `CREATE TABLE T (K TEXT PRIMARY KEY, v INTEGER CHECK (v <> 7), extra TEXT DEFAULT 'x');
				CREATE TRIGGER no_d BEFORE DELETE ON t WHEN old.k = 'kept' BEGIN SELECT RAISE(ABORT, 'it stays'); END`)
			p, of := table(t, path, kv, "k")
			at := sinktest.Cluster(t, 2)
			sinktest.Write(t, at, put(0, "a", 1), put(1, "b", 1), put(1, "kept", 5), put(0, "seven", 7), put(0, "a", 2), sinktest.Record(1, `{"k":"b"}`, ""), put(0, "c", 1), sinktest.Record(0, `{"k":"c"}`, ""), put(0, "c", 3))
			c := sinktest.Config(at, p, of, New(p.Name, of))
			c.MaxRows = rows
			sinktest.Deliver(t, c)
			sinktest.Write(t, at, sinktest.Record(1, `{"k":"kept"}`, ""), put(0, "c", 4))
			sinktest.Deliver(t, c)
			if diff := cmp.Diff([]string{"a|2|x", "c|4|x", "kept|5|x"}, query(t, path, "SELECT * FROM t ORDER BY k")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			got := sinktest.Letters(t, at)
			if len(got) != 2 || !strings.Contains(got[0], "CHECK constraint failed: v <> 7") || !strings.Contains(got[1], "it stays") {
				t.Errorf("dead letters %q", got)
			}
		})
	}
}

// Tables that would change values, or lack columns or the key, are refused with a way forward.
func TestRefusedTables(t *testing.T) {
	for _, c := range []struct{ create, columns, key, want string }{
		{"CREATE TABLE other (k TEXT)", kv, "", `table t does not exist in .*Create it:\nCREATE TABLE "t"`},
		{"CREATE VIEW t AS SELECT 1 AS k, 2 AS v", kv, "", "is not a table of the database itself"},
		{"CREATE TABLE t (k TEXT)", kv, "", `column v is missing.*ALTER TABLE "t" ADD COLUMN "v" INTEGER;`},
		{"CREATE TABLE t (k TEXT, v REAL)", kv, "", `column v is declared "REAL", whose affinity REAL would change values of BIGINT: declare it INTEGER`},
		{"CREATE TABLE t (k INTEGER, v INTEGER)", kv, "", `column k is declared "INTEGER", whose affinity INTEGER would change values of STRING`},
		{"CREATE TABLE t (k TEXT, d NUMERIC)", "k STRING, d DECIMAL(10, 2)", "", `column d is declared "NUMERIC"`},
		{"CREATE TABLE t (k TEXT, d DECIMAL(10, 2))", "k STRING, d DOUBLE", "", `declare it REAL`},
		{"CREATE TABLE t (k TEXT, v INTEGER, x TEXT NOT NULL)", kv, "", "column x is NOT NULL without a default"},
		{"CREATE TABLE t (k TEXT, v INTEGER AS (1))", kv, "", "column v is generated"},
		{"CREATE TABLE t (k TEXT, v INTEGER)", kv, "k", `CREATE UNIQUE INDEX "t_key" ON "t" \("k" COLLATE BINARY\);`},
		{"CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, v INTEGER)", kv, "k", "no unique index"},
		{"CREATE TABLE t (k TEXT, v INTEGER); CREATE UNIQUE INDEX i ON t (k) WHERE v > 0", kv, "k", "no unique index"},
		{"CREATE TABLE t (k TEXT, v INTEGER, UNIQUE (v, k))", kv, "k", "no unique index"},
		{"CREATE TABLE t (k TEXT, v INTEGER, UNIQUE (v, k))", kv, "k, v", ""},
		{"CREATE TABLE t (k TEXT, v INTEGER PRIMARY KEY)", kv, "v", ""},
		{"CREATE TABLE t (k TEXT, v INTEGER, PRIMARY KEY (k)) STRICT, WITHOUT ROWID", kv, "k", ""},
		{"CREATE TABLE t (k, v)", kv, "", ""},
	} {
		path := filepath.Join(t.TempDir(), "r.db")
		run(t, path, c.create)
		p, of := table(t, path, c.columns, c.key)
		s, err := New(p.Name, of).Open(t.Context(), sink.Topic{Name: "test.t.out", ID: "topic"})
		if err == nil {
			s.Close()
		}
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.create, err)
			}
			continue
		}
		if !errors.As(err, new(*sink.RefusedError)) || !regexp.MustCompile("(?s)"+c.want).MatchString(err.Error()) {
			t.Errorf("%s, key (%s): %v, want %s", c.create, c.key, err, c.want)
		}
	}
	broken := filepath.Join(t.TempDir(), "r.db")
	if err := os.WriteFile(broken, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	p, of := table(t, broken, kv, "")
	if _, err := New(p.Name, of).Open(t.Context(), sink.Topic{}); !errors.As(err, new(*sink.RefusedError)) || !strings.Contains(err.Error(), "file is not a database") {
		t.Errorf("a file that is no database: %v", err)
	}
}

// A claim fences the session that had the partition, and continues behind what that has committed.
func TestFencing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	p, of := table(t, path, kv, "")
	claim := func(partitions ...int32) (sink.Session, map[int32]int64) {
		s, err := New(p.Name, of).Open(t.Context(), sink.Topic{Name: "test.t.out", ID: "topic"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		next, err := s.Claim(t.Context(), partitions)
		if err != nil {
			t.Fatal(err)
		}
		return s, next
	}
	first, _ := claim(0, 1)
	if err := first.Deliver(t.Context(), sinktest.Batch(0, 0, 1), nil); err != nil {
		t.Fatal(err)
	}
	second, next := claim(0)
	if next[0] != 1 {
		t.Fatalf("the second session begins at %v", next)
	}
	both := sinktest.Batch(1, 0, 2)
	both.From[0], both.Next[0] = 1, 2
	for _, b := range []*sink.Batch{sinktest.Batch(0, 1, 2), both} {
		if err := first.Deliver(t.Context(), b, nil); !errors.As(err, new(*sink.FencedError)) {
			t.Fatalf("the fenced session delivers: %v", err)
		}
	}
	if err := errors.Join(first.Deliver(t.Context(), sinktest.Batch(1, 0, 3), nil), second.Deliver(t.Context(), sinktest.Batch(0, 1, 4), nil)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"k|1", "k|3", "k|4"}, query(t, path, "SELECT * FROM t ORDER BY v")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	_, err := New(p.Name, of).Open(t.Context(), sink.Topic{Name: "test.t.out", ID: "topic"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(p.Name, of).Open(t.Context(), sink.Topic{Name: "test.t.out", ID: "another"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Claim(t.Context(), []int32{0}); err == nil || !strings.Contains(err.Error(), "its offsets are those of topic id topic") {
		t.Errorf("another topic: %v", err)
	}
}

// A process that was killed when it had created the file, and not yet the table, does not leave a
// database in which the others miss the table. One with other tables is left alone.
func TestCreate(t *testing.T) {
	for name, before := range map[string]string{
		"no file": "", "empty file": "PRAGMA user_version = 0", "WAL": "PRAGMA journal_mode = WAL", "other table": "CREATE TABLE other (k TEXT)",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "r.db")
			if before != "" {
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				run(t, path, before)
			}
			p, of := table(t, path, kv, "")
			var opening sync.WaitGroup
			for range 4 {
				opening.Go(func() {
					s, err := New(p.Name, of).Open(t.Context(), sink.Topic{Name: "test.t.out", ID: "topic"})
					if err == nil {
						s.Close()
					}
					// Others than a refusal, such as a locked database, are tried again.
					if refused := errors.As(err, new(*sink.RefusedError)); refused && name != "other table" || err == nil && name == "other table" {
						t.Errorf("open: %v", err)
					}
				})
			}
			opening.Wait()
			want := []string{"t", "weir_offsets"}
			if name == "other table" {
				want = []string{"other"}
			}
			if diff := cmp.Diff(want, query(t, path, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")); diff != "" {
				t.Errorf("tables (-want +got)\n%s", diff)
			}
		})
	}
}

// While two processes deliver, they are killed at random. In the end each row is there once.
func TestKills(t *testing.T) {
	rows, kills := longtest.Size(1_000, 4_000, 200_000), longtest.Size(2, 6, 60)
	seed := rand.Uint64()
	t.Logf("seed %d, %d rows, %d kills", seed, rows, kills)
	random := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "r.db")
	const partitions = 3
	p, of := table(t, path, kv, "")
	at := sinktest.Embedded(t, partitions)
	var want []string
	for begin := 0; begin < rows; begin += 500 {
		var records []*kgo.Record
		for i := begin; i < min(begin+500, rows); i++ {
			records = append(records, sinktest.Record(int32(random.IntN(partitions)), "", fmt.Sprintf(`{"k":"k%d","v":%d}`, i, i)))
			want = append(want, fmt.Sprintf("k%d|%d", i, i))
		}
		sinktest.Write(t, at, records...)
	}
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childBrokers+"="+strings.Join(at.Brokers, ","), childDataDir+"="+at.DataDir, childSQL+"="+p.SQL)
		if testing.Verbose() {
			cmd.Stderr = os.Stderr
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	kill := func(cmd *exec.Cmd) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	children := []*exec.Cmd{start(), start()}
	defer func() {
		for _, c := range children {
			kill(c)
		}
	}()
	for range kills {
		time.Sleep(time.Duration(200+random.IntN(1500)) * time.Millisecond) // a random moment of another process
		i := random.IntN(len(children))
		kill(children[i])
		children[i] = start()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := sink.AwaitDelivered(ctx, sinktest.Config(at, p, of, New(p.Name, of))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, query(t, path, "SELECT * FROM t ORDER BY v")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	check := func(what string, want audit.DatabaseReport) {
		t.Helper()
		d := audit.DatabaseConfig{Sink: "test.t", Topic: of.Kafka.Topic, DLQ: "test.dlq", File: path, Table: "t", Columns: []audit.DatabaseColumn{
			{Field: "k", Type: audit.ValueType{Kind: audit.TextValue}}, {Field: "v", Type: audit.ValueType{Kind: audit.NumberValue}},
		}}
		r, err := audit.Verify(t.Context(), audit.Config{Broker: at, Databases: []audit.DatabaseConfig{d}})
		if err != nil {
			t.Fatal(err)
		}
		want.Tables, want.Records = 1, int64(rows)
		if diff := cmp.Diff(&want, r.Databases); diff != "" {
			t.Errorf("%s (-want +got)\n%s", what, diff)
		}
	}
	check("all rows", audit.DatabaseReport{Rows: int64(rows)})
	run(t, path, "DELETE FROM t WHERE v = 3; UPDATE t SET k = 'other' WHERE v = 4; INSERT INTO t VALUES ('k5', 5)")
	check("two rows lost, two too many", audit.DatabaseReport{Rows: int64(rows), Lost: 2, Surplus: 2})
}
