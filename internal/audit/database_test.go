package audit

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/stack"
)

// databaseWorld is a topic and a database that a correct sink has filled from it.
type databaseWorld struct {
	t      *testing.T
	config Config
	conn   *pgx.Conn
}

// worldColumn is a column with a value in the topic, the same one in the database, and another one.
type worldColumn struct {
	name             string
	typ              ValueType
	db               string
	json, sql, other string
}

func array(k ValueKind) ValueType { return ValueType{Kind: ArrayValue, Elem: &ValueType{Kind: k}} }

var worldColumns = []worldColumn{
	{"k", ValueType{Kind: TextValue}, "text", `"%s"`, `'%s'`, `'other'`},
	{"b", ValueType{Kind: BooleanValue}, "boolean", `true`, `true`, `false`},
	{"n", ValueType{Kind: NumberValue}, "bigint", `9007199254740993`, `9007199254740993`, `9007199254740992`},
	{"dec", ValueType{Kind: NumberValue}, "numeric", `1.50`, `1.5`, `1.51`},
	{"f", ValueType{Kind: FloatValue}, "real", `0.1`, `0.1`, `0.10000001`},
	{"d", ValueType{Kind: DoubleValue}, "double precision", `1.0E-7`, `1e-7`, `1.0000000000000001e-7 * 1.0000001`},
	{"nan", ValueType{Kind: DoubleValue}, "double precision", `"NaN"`, `'NaN'`, `NULL`},
	{"s", ValueType{Kind: TextValue}, "text", `"ü\n\"x "`, `E'ü\n"x '`, `E'ü\n"x'`},
	{"raw", ValueType{Kind: BytesValue}, "bytea", `"AP8="`, `'\x00ff'`, `'\x00fe'`},
	{"day", ValueType{Kind: DateValue}, "date", `"2026-02-28"`, `'2026-02-28'`, `'2026-03-01'`},
	{"at", ValueType{Kind: TimeValue}, "time", `"12:00:00.500"`, `'12:00:00.5'`, `'12:00:00'`},
	{"ts", ValueType{Kind: TimestampValue}, "timestamp", `"2026-03-01 12:00:00.100"`, `'2026-03-01 12:00:00.1'`, `'2026-03-01 12:00:00.100001'`},
	{"ltz", ValueType{Kind: InstantValue}, "timestamptz", `"2026-03-01 12:00:00Z"`, `'2026-03-01 13:00:00+01'`, `'2026-03-01 12:00:00+01'`},
	{"ints", array(NumberValue), "int[]", `[1,null,3]`, `'{1,NULL,3}'`, `'{1,3,NULL}'`},
	{"times", array(TimestampValue), "timestamp[]", `["2026-03-01 12:00:00"]`, `'{"2026-03-01 12:00:00"}'`, `'{}'`},
	{"raws", array(BytesValue), "bytea[]", `["AP8="]`, `ARRAY['\x00ff'::bytea]`, `ARRAY['\x00'::bytea]`},
	{"doc", ValueType{Kind: JSONValue}, "jsonb", `{"a":1.0,"b":[null,"x"]}`, `'{"b": [null, "x"], "a": 1}'`, `'{"b": ["x", null], "a": 1}'`},
}

const worldTopic = "p.t.out"

// newDatabaseWorld fills a topic of two partitions and its table. Keys a, b and c exist, d was
// deleted, and the last version of e was refused.
func newDatabaseWorld(t *testing.T, server *stack.Postgres, keyed bool) *databaseWorld {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, worldTopic), kfake.SeedTopics(1, "p.dlq"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	conn, err := pgx.Connect(t.Context(), server.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	w := &databaseWorld{t: t, conn: conn}
	d := DatabaseConfig{Sink: "p.t", Topic: worldTopic, DLQ: "p.dlq", Connect: conn.Config(), Table: "t"}
	var columns []string
	for _, c := range worldColumns {
		d.Columns = append(d.Columns, DatabaseColumn{Field: c.name, Type: c.typ})
		columns = append(columns, c.name+" "+c.db)
	}
	if keyed {
		d.Key = []int{0}
	}
	w.config = Config{Broker: broker.Config{Brokers: cluster.ListenAddrs()}, Databases: []DatabaseConfig{d}}
	w.exec("DROP TABLE IF EXISTS t, weir_offsets; CREATE TABLE weir_offsets (sink text, part int, next bigint, epoch bigint, topic_id text); CREATE TABLE t (" + strings.Join(columns, ", ") + ")")

	client, err := broker.Connect(t.Context(), w.config.Broker, kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	write := func(r *kgo.Record) {
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for i, k := range []string{"a", "b", "a", "c", "d", "d", "e"} {
		r := &kgo.Record{Topic: worldTopic, Partition: int32(k[0]-'a') % 2, Value: []byte(jsonRow(k))}
		if keyed {
			r.Key = fmt.Appendf(nil, `{"k":%q}`, k)
			if i == 5 {
				r.Value = nil
			}
		}
		write(r)
		if k == "e" {
			write(&kgo.Record{Topic: "p.dlq", Value: r.Value, Headers: []kgo.RecordHeader{
				{Key: headerDLQTopic, Value: []byte(worldTopic)}, {Key: headerDLQPartition, Value: fmt.Append(nil, r.Partition)}, {Key: headerDLQOffset, Value: fmt.Append(nil, r.Offset)},
			}})
			continue
		}
		if keyed {
			w.exec("DELETE FROM t WHERE k = '" + k + "'")
		}
		if r.Value != nil {
			w.insert(k)
		}
	}
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopics(t.Context(), worldTopic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(t.Context(), worldTopic)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		w.exec(fmt.Sprintf("INSERT INTO weir_offsets VALUES ('p.t', %d, %d, 1, '%s')", o.Partition, o.Offset, topics[worldTopic].ID))
	})
	return w
}

func jsonRow(k string) string {
	var fields []string
	for _, c := range worldColumns {
		v := c.json
		if c.name == "k" {
			v = fmt.Sprintf(v, k)
		}
		fields = append(fields, fmt.Sprintf("%q:%s", c.name, v))
	}
	return "{" + strings.Join(fields, ",") + "}"
}

func (w *databaseWorld) insert(k string) {
	var values []string
	for _, c := range worldColumns {
		v := c.sql
		if c.name == "k" {
			v = fmt.Sprintf(v, k)
		}
		values = append(values, v)
	}
	w.exec("INSERT INTO t VALUES (" + strings.Join(values, ", ") + ")")
}

func (w *databaseWorld) exec(statements string) {
	w.t.Helper()
	if _, err := w.conn.PgConn().Exec(w.t.Context(), statements).ReadAll(); err != nil {
		w.t.Fatalf("%s: %v", statements, err)
	}
}

// verdict returns C7.
func (w *databaseWorld) verdict() (Check, *Report) {
	w.t.Helper()
	r, err := Verify(w.t.Context(), w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range r.Checks {
		if c.ID == "C7" {
			return c, r
		}
	}
	w.t.Fatal("no C7")
	return Check{}, nil
}

// A table that a correct sink has written passes; each fault in one place is found.
func TestDatabase(t *testing.T) {
	server := stack.NewPostgres(t)
	for _, keyed := range []bool{false, true} {
		w := newDatabaseWorld(t, server, keyed)
		if c, r := w.verdict(); c.Verdict != OK || !r.Clean() || r.Databases.Refused != 1 {
			t.Fatalf("keyed %v: a correct table: %+v %+v", keyed, c, r.Findings)
		}
		faults := map[string]string{
			"lost":                   "DELETE FROM t WHERE k = 'b'",
			"lost instead of other":  "UPDATE t SET k = 'c' WHERE k = 'b'",
			"doubled":                "INSERT INTO t SELECT * FROM t WHERE k = 'b'",
			"surplus":                "INSERT INTO t (k) VALUES ('z')",
			"offset beyond the end":  "UPDATE weir_offsets SET next = next + 1",
			"offsets of another one": "UPDATE weir_offsets SET topic_id = 'x' WHERE part = 1",
		}
		if keyed {
			faults["deleted row is back"] = "INSERT INTO t SELECT 'd', * FROM (SELECT " + strings.Join(names(worldColumns[1:]), ", ") + " FROM t WHERE k = 'b') x"
		} else {
			faults["refused row is there"] = "INSERT INTO t SELECT 'e', * FROM (SELECT " + strings.Join(names(worldColumns[1:]), ", ") + " FROM t WHERE k = 'b') x"
			faults["one of two is lost"] = "DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t WHERE k = 'a')"
			faults["row without its offset"] = "UPDATE weir_offsets SET next = next - 1 WHERE part = 1"
		}
		for _, c := range worldColumns[1:] {
			faults["other value of "+c.name] = fmt.Sprintf("UPDATE t SET %s = %s WHERE k = 'b'", c.name, c.other)
			faults["no value of "+c.name] = fmt.Sprintf("UPDATE t SET %s = NULL WHERE k = 'b'", c.name)
		}
		for name, fault := range faults {
			w.exec("CREATE TABLE t0 AS TABLE t; CREATE TABLE o0 AS TABLE weir_offsets; " + fault)
			if c, r := w.verdict(); c.Verdict != Failed || r.Clean() || len(r.Findings) == 0 {
				t.Errorf("keyed %v: %s is not found: %+v", keyed, name, c)
			}
			w.exec("TRUNCATE t, weir_offsets; INSERT INTO t TABLE t0; INSERT INTO weir_offsets TABLE o0; DROP TABLE t0, o0")
		}
		// Rows that are not delivered yet are no fault.
		w.exec("UPDATE weir_offsets SET next = 0; TRUNCATE t")
		if c, r := w.verdict(); c.Verdict != OK || r.Databases.Waiting == 0 {
			t.Errorf("keyed %v: nothing is delivered: %+v", keyed, c)
		}
	}
}

func names(columns []worldColumn) (all []string) {
	for _, c := range columns {
		all = append(all, c.name)
	}
	return all
}
