package conformance

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/stack"
)

// databasePipeline writes a table without a key and one with a key, with all types that Flink's
// connector has. Two more get the rows of lookup joins, by keys that have several rows, one or
// none.
const databasePipeline = `
CREATE TABLE r (Id STRING, b BOOLEAN, ti TINYINT, si SMALLINT, i INT, n BIGINT, f FLOAT, d DOUBLE, dec_ DECIMAL(12, 3), vc VARCHAR(5), ch CHAR(3), bin BYTES, day_ DATE, at_ TIME, ts TIMESTAMP(3))
WITH ('connector' = 'kafka', 'topic' = '$NAME.in', 'format' = 'json', 'properties.bootstrap.servers' = '$BROKERS', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE a (Id STRING, b BOOLEAN, ti TINYINT, si SMALLINT, i INT, n BIGINT, f FLOAT, d DOUBLE, dec_ DECIMAL(12, 3), vc VARCHAR(5), ch CHAR(3), bin BYTES, day_ DATE, at_ TIME, ts TIMESTAMP(3))
WITH ('connector' = 'jdbc', 'url' = '$URL', 'table-name' = 'public.${SIDE}_a', 'username' = '$USER', 'password' = '$PASSWORD', 'driver' = 'org.postgresql.Driver', 'sink.buffer-flush.interval' = '1 s');
CREATE TABLE t (Id STRING, rows_ BIGINT, total DECIMAL(38, 3), highest DOUBLE, PRIMARY KEY (Id) NOT ENFORCED)
WITH ('connector' = 'jdbc', 'url' = '$URL', 'table-name' = '${SIDE}_t', 'username' = '$USER', 'password' = '$PASSWORD');
CREATE TABLE timed (Id STRING, i INT, n BIGINT, dec_ DECIMAL(12, 3), day_ DATE, d DOUBLE, vc VARCHAR(5), proc_time AS PROCTIME())
WITH ('connector' = 'kafka', 'topic' = '$NAME.in', 'format' = 'json', 'properties.bootstrap.servers' = '$BROKERS', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE devices (id STRING, level INT, name VARCHAR(20), highest DOUBLE, factor DECIMAL(10, 4), since TIMESTAMP(6), active BOOLEAN, day_ DATE, code CHAR(3))
WITH ('connector' = 'jdbc', 'url' = '$URL', 'table-name' = 'public.devices', 'username' = '$USER', 'password' = '$PASSWORD',
  'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.max-rows' = '100', 'lookup.partial-cache.expire-after-write' = '1 min', 'lookup.max-retries' = '1');
CREATE TABLE amounts (amount DECIMAL(12, 3), name STRING) WITH ('connector' = 'jdbc', 'url' = '$URL', 'table-name' = 'amounts', 'username' = '$USER', 'password' = '$PASSWORD');
CREATE TABLE l (id STRING, n BIGINT, name STRING, factor DECIMAL(10, 4), since TIMESTAMP(6), active BOOLEAN, day_ DATE, code CHAR(3))
WITH ('connector' = 'jdbc', 'url' = '$URL', 'table-name' = '${SIDE}_l', 'username' = '$USER', 'password' = '$PASSWORD');
CREATE TABLE m (id STRING, n BIGINT, name STRING, amount STRING)
WITH ('connector' = 'jdbc', 'url' = '$URL', 'table-name' = '${SIDE}_m', 'username' = '$USER', 'password' = '$PASSWORD');
INSERT INTO l SELECT r.Id, r.n, d.name, d.factor, d.since, d.active, d.day_, d.code
FROM timed AS r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.proc_time AS d ON r.Id = d.id AND d.level = 1 AND (r.d > d.highest OR d.highest IS NULL);
INSERT INTO m SELECT r.Id, r.n, d.name, x.name
FROM timed AS r JOIN devices FOR SYSTEM_TIME AS OF r.proc_time AS d ON UPPER(r.Id) = d.id AND r.day_ = d.day_
LEFT JOIN amounts FOR SYSTEM_TIME AS OF r.proc_time AS x ON r.dec_ = x.amount WHERE d.active AND r.n > 1;
INSERT INTO a SELECT * FROM r;
INSERT INTO t SELECT Id, COUNT(*), SUM(dec_), MAX(d) FROM r GROUP BY Id HAVING MAX(n) < 5 OR COUNT(*) > 2;`

// databaseDevices are the tables that lookup joins read.
const databaseDevices = `CREATE TABLE devices (id varchar(10), level integer, name varchar(20), highest double precision, factor numeric(10, 4), since timestamp, active boolean, day_ date, code char(3));
INSERT INTO devices VALUES ('k0', 1, 'zero', 3, 1.5, '2026-01-01 00:00:00.123456', true, '2026-02-20', 'ab'), ('k0', 1, 'zero again', 6, -0.0001, NULL, false, NULL, NULL), ('k0', 2, 'no level', 0, 0, NULL, true, NULL, NULL),
  ('k1', 1, 'one', NULL, NULL, '1969-12-31 23:59:59.999999', NULL, '2026-02-21', 'xyz'), ('k2', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (NULL, 1, 'null', 0, 0, NULL, true, NULL, NULL),
  ('K2', 1, 'upper', 0, 0, NULL, true, '2026-02-22', 'a'), ('K3', 1, 'upper', 0, 0, NULL, true, '2026-02-23', 'a'), ('K3', 1, 'twin', 0, 0, NULL, true, '2026-02-23', 'a'), ('K1', 1, 'inactive', 0, 0, NULL, NULL, '2026-02-21', 'a');
CREATE TABLE amounts (amount numeric(12, 3), name text);
INSERT INTO amounts VALUES (2.125, 'two'), (2.125, 'again'), (NULL, 'null')`

// testDatabase runs the same SQL on both sides into one database, and compares the tables.
func testDatabase(t *testing.T, l *Lab) {
	t.Run("database", func(t *testing.T) {
		server := stack.NewPostgres(t)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		name := fmt.Sprintf("database-%d", time.Now().UnixMilli())
		text := func(side string) string {
			return strings.NewReplacer("$NAME", name, "$BROKERS", strings.Join(l.Brokers, ","), "$URL", server.URL("postgres"), "${SIDE}", side,
				"$USER", stack.PostgresUser, "$PASSWORD", stack.PostgresPassword).Replace(databasePipeline)
		}
		conn, err := pgx.Connect(ctx, server.DSN("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.Background()) }()
		for _, side := range []string{"weir", "flink"} {
			for _, statement := range []string{
				"CREATE TABLE %s_a (id text, b boolean, ti smallint, si smallint, i integer, n bigint, f real, d double precision, dec_ numeric(12, 3), vc varchar(5), ch char(3), bin bytea, day_ date, at_ time, ts timestamp)",
				"CREATE TABLE %s_l (id text, n bigint, name text, factor numeric(10, 4), since timestamp, active boolean, day_ date, code char(3))",
				"CREATE TABLE %s_m (id text, n bigint, name text, amount text)",
				"CREATE TABLE %s_t (id text PRIMARY KEY, rows_ bigint, total numeric(38, 3), highest double precision)",
			} {
				if _, err := conn.Exec(ctx, fmt.Sprintf(statement, side)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := conn.Exec(ctx, databaseDevices, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := l.deleteTopics(context.WithoutCancel(ctx), name); err != nil {
				t.Error(err)
			}
		}()
		fillDatabaseTopic(ctx, t, l, name+".in")

		program, err := plan.Compile(text("weir"), name)
		if err != nil {
			t.Fatal(err)
		}
		run := engine.Config{Broker: broker.Config{Brokers: l.Brokers}, Program: program, Instances: []string{"conformance-" + name}, Logger: slog.New(slog.DiscardHandler)}
		if _, err := node.RunPipeline(ctx, run, node.SinkStatus(program)); err != nil {
			t.Fatal(err)
		}
		parsed, err := sql.Parse(text("flink"))
		if err != nil {
			t.Fatal(err)
		}
		onFlink := &script{settings: map[string]string{"table.local-time-zone": "UTC"}}
		for _, s := range parsed.Statements {
			if insert, ok := s.(*sql.Insert); ok {
				onFlink.inserts = append(onFlink.inserts, insert)
				continue
			}
			onFlink.statements = append(onFlink.statements, s)
		}
		if err := l.runFlink(ctx, onFlink, name); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"a", "t", "l", "m"} {
			weir, flink := tableRows(ctx, t, conn, "weir_"+table), tableRows(ctx, t, conn, "flink_"+table)
			if diff := cmp.Diff(flink, weir); diff != "" || len(weir) < 3 {
				t.Errorf("table %s (-flink +weir):\n%s", table, diff)
			}
		}
	})
}

// fillDatabaseTopic writes rows of three keys, one of which the query deletes again.
func fillDatabaseTopic(ctx context.Context, t *testing.T, l *Lab, topic string) {
	t.Helper()
	client, err := broker.Connect(ctx, broker.Config{Brokers: l.Brokers}, kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(50))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	forever := "-1"
	if made, err := kadm.NewClient(client).CreateTopics(ctx, 2, 1, map[string]*string{"retention.ms": &forever}, topic); err != nil || made.Error() != nil {
		t.Fatal(err, made.Error())
	}
	var records []*kgo.Record
	for i := range 12 {
		k := i % 4
		value := fmt.Sprintf(`{"Id":"k%d","b":%v,"ti":%d,"si":-300,"i":%d,"n":%d,"f":0.1,"d":%d.25,"dec_":%d.125,"vc":"ü'\"%d","ch":"ab","bin":"AP8=","day_":"2026-02-2%d","at_":"23:59:0%d","ts":"2026-03-01 12:00:00.00%d"}`,
			k, i%2 == 0, i, i*100000, i, i, i, k, k, k, k)
		if i == 11 {
			value = `{"Id":"k9","b":null,"ti":null,"si":null,"i":null,"n":null,"f":null,"d":null,"dec_":null,"vc":null,"ch":null,"bin":null,"day_":null,"at_":null,"ts":null}`
		}
		records = append(records, &kgo.Record{Partition: int32(k % 2), Value: []byte(value)}) //nolint:gosec // small
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func tableRows(ctx context.Context, t *testing.T, conn *pgx.Conn, table string) []string {
	t.Helper()
	rows, err := conn.Query(ctx, "SELECT to_json(x)::text FROM "+table+" x ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}
