package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"weir.example/weir/internal/stack"
)

// The tables.
const (
	plain = "plain"
	keyed = "keyed"
)

const columns = "k %[1]s, sensor %[1]s, v %[2]s, n BIGINT, ts TIMESTAMP(3)"

// connect connects to the server, again if it was started again.
func (b *bench) connect(ctx context.Context) (err error) {
	if b.conn != nil && b.conn.Ping(ctx) == nil {
		return nil
	}
	b.conn, err = pgx.Connect(ctx, b.postgres.DSN("postgres"))
	return err
}

// create creates an empty table.
func (b *bench) create(ctx context.Context, table string) error {
	if err := b.connect(ctx); err != nil {
		return err
	}
	definition := fmt.Sprintf(columns, "text", "double precision")
	if table == keyed {
		definition += ", PRIMARY KEY (k)"
	}
	for _, statement := range []string{"DROP TABLE IF EXISTS results", "DROP TABLE IF EXISTS weir_offsets", "CREATE TABLE results (" + definition + ")", "CHECKPOINT"} {
		if _, err := b.conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// check makes sure that the table has the rows: all of them, or the last one of each key. The side
// rows has a part of them.
func (b *bench) check(ctx context.Context, side, table string) error {
	var rows, sum int64
	if err := b.conn.QueryRow(ctx, "SELECT count(*), coalesce(sum(n), 0)::bigint FROM results").Scan(&rows, &sum); err != nil {
		return err
	}
	want := [2]int64{int64(b.rows), b.data.sum}
	if table == keyed {
		want = [2]int64{int64(b.data.keys), b.data.lastSum}
	}
	if got := [2]int64{rows, sum}; got != want && side != "rows" {
		return fmt.Errorf("the table has %d rows with the sum %d, and not %d with %d", got[0], got[1], want[0], want[1])
	}
	return nil
}

// pipeline writes the SQL of a run to a file. With batches, Flink writes many rows in few
// statements; by default it has 100 rows in a batch, and a statement for each.
func (b *bench) pipeline(id, table string, batches bool) (file string, err error) {
	key := ""
	if table == keyed {
		key = ", PRIMARY KEY (k) NOT ENFORCED"
	}
	url, more := b.postgres.URL("postgres"), ""
	if batches {
		url += "?reWriteBatchedInserts=true"
		more = ", 'sink.buffer-flush.max-rows' = '10000'"
	}
	of := fmt.Sprintf(columns, "STRING", "DOUBLE")
	text := fmt.Sprintf(`SET 'pipeline.name' = '%s';
CREATE TABLE r (%s) WITH ('connector' = 'kafka', 'topic' = '%s', 'properties.bootstrap.servers' = '%s', 'format' = 'json',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE results (%s%s) WITH ('connector' = 'jdbc', 'url' = '%s', 'table-name' = 'results', 'username' = '%s', 'password' = '%s'%s);
INSERT INTO results SELECT * FROM r;
`, id, of, source, b.brokers, of, key, url, stack.PostgresUser, stack.PostgresPassword, more)
	dir := filepath.Join(b.dir, id)
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // a temporary folder
		return "", err
	}
	file = filepath.Join(dir, "pipeline.sql")
	return file, os.WriteFile(file, []byte(text), 0o600)
}
