package postgres

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/stack"
)

// BenchmarkDeliver delivers batches of 10,000 rows with five columns, by COPY and by upserts of new
// keys, and reports rows per second and the CPU time of this process.
func BenchmarkDeliver(b *testing.B) {
	for name, key := range map[string]string{"copy": "", "upsert": "k"} {
		b.Run(name, func(b *testing.B) { benchmarkDeliver(b, key) })
	}
}

func benchmarkDeliver(b *testing.B, key string) {
	server, err := stack.StartPostgres(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	conn, err := pgx.Connect(b.Context(), server.DSN("postgres"))
	if err != nil {
		b.Fatal(err)
	}
	defer closeConn(conn)
	p, of := table(b, server, "postgres", "k STRING, sensor STRING, v DOUBLE, n BIGINT, ts TIMESTAMP_LTZ(3)", key)
	target := newTarget(p, of)
	if _, err := conn.Exec(b.Context(), CreateTable(of, target.jdbc)); err != nil {
		b.Fatal(err)
	}
	s, err := target.Open(b.Context(), sink.Topic{Name: "test.t.out", ID: "topic"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	next, err := s.Claim(b.Context(), []int32{0})
	if err != nil {
		b.Fatal(err)
	}
	const rows = 10_000
	at, written := next[0], 0
	began, cpu := time.Now(), cpuTime(b)
	for b.Loop() {
		batch := &sink.Batch{Rows: column.NewBatch(nil), Deleted: column.NewBatch(nil), From: map[int32]int64{0: at}, Next: map[int32]int64{0: at + rows}}
		for _, f := range of.Kafka.Value.Fields {
			batch.Rows.Cols = append(batch.Rows.Cols, &column.Column{Type: f.Type})
		}
		for i := range rows {
			batch.Rows.Cols[0].AddText(fmt.Sprintf("device-%d", written+i))
			batch.Rows.Cols[1].AddText("temperature")
			batch.Rows.Cols[2].AddFloat(21.5)
			batch.Rows.Cols[3].AddInt(int64(i))
			batch.Rows.Cols[4].AddInt(1_772_366_400_000_000)
			batch.Origins = append(batch.Origins, &kgo.Record{})
		}
		batch.Rows.N = rows
		if err := s.Deliver(b.Context(), batch, nil); err != nil {
			b.Fatal(err)
		}
		at, written = at+rows, written+rows
	}
	b.ReportMetric(float64(written)/time.Since(began).Seconds(), "rows/s")
	b.ReportMetric((cpuTime(b)-cpu).Seconds()*1e6/float64(written), "client-µs/row")
}

// cpuTime returns the CPU time of this process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
