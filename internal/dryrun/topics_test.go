package dryrun

import (
	"fmt"
	"testing"

	"weir.example/weir/internal/plan"
)

// A table of two topics has its watermark in every task, even where one topic has fewer partitions
// than the other, and its rows are those of both.
func TestTopicsOfDifferentSizes(t *testing.T) {
	p, err := plan.Compile(`
		CREATE TABLE readings (device_id STRING, v INT, ts TIMESTAMP_LTZ(3), source STRING METADATA FROM 'topic' VIRTUAL, WATERMARK FOR ts AS ts)
		WITH ('connector' = 'kafka', 'topic' = 'a;b', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
		CREATE TABLE sums (device_id STRING, s TIMESTAMP_LTZ(3), n BIGINT, total INT, sources BIGINT) WITH ('connector' = 'kafka', 'topic' = 'sums', 'format' = 'json');
		INSERT INTO sums SELECT device_id, window_start, COUNT(*), SUM(v), COUNT(DISTINCT source)
		FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end`, "sizes")
	if err != nil {
		t.Fatal(err)
	}
	for seed := range int64(20) {
		for _, crash := range []bool{false, true} {
			s, err := New(p, Options{Partitions: 3, Seed: seed, Crash: crash}, map[string]int32{"a": 3, "b": 1})
			if err != nil {
				t.Fatal(err)
			}
			send := func(topic string, partition int32, device string, second int) {
				t.Helper()
				row := Row{Table: topic, Partition: partition, Value: fmt.Sprintf(`{"device_id":%q,"v":%d,"ts":"2026-01-01T00:00:%02dZ"}`, device, second, second)}
				if err := s.Send(row); err != nil {
					t.Fatal(err)
				}
			}
			for _, second := range []int{1, 5, 12, 19, 21} {
				for partition := range int32(3) {
					send("a", partition, "d", second)
				}
				send("b", 0, "d", second+1)
			}
			if err := s.Settle(); err != nil {
				t.Fatal(err)
			}
			rows, err := s.Output("sums")
			if err != nil {
				t.Fatal(err)
			}
			want := `[{"device_id":"d","s":"2026-01-01 00:00:00Z","n":8,"total":26,"sources":2} {"device_id":"d","s":"2026-01-01 00:00:10Z","n":7,"total":106,"sources":2}]`
			if got := fmt.Sprint(rows); got != want {
				t.Errorf("seed %d, crash %t:\n%s\nexpected\n%s", seed, crash, got, want)
			}
		}
	}
}
