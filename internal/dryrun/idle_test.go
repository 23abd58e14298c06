package dryrun

import (
	"fmt"
	"testing"

	"weir.example/weir/internal/plan"
)

// A task that is restored after a window has closed, because an input was idle, does not open the
// window again for a row of that input, whose own watermark is before its end.
func TestClosedWindowsStayClosed(t *testing.T) {
	for name, from := range map[string]string{
		"topics": "SELECT * FROM a", "union": "SELECT * FROM first1 UNION ALL SELECT * FROM second1",
	} {
		const options = `'connector' = 'kafka', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json', 'scan.watermark.idle-timeout' = '5 s'`
		const columns = `(k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)`
		p, err := plan.Compile(fmt.Sprintf(`
			CREATE TABLE a %[1]s WITH (%[2]s, 'topic' = 't1;t2');
			CREATE TABLE first1 %[1]s WITH (%[2]s, 'topic' = 't1');
			CREATE TABLE second1 %[1]s WITH (%[2]s, 'topic' = 't2');
			CREATE TABLE counts (k STRING, began TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'counts', 'format' = 'json');
			CREATE VIEW r AS %[3]s;
			INSERT INTO counts SELECT k, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY k, window_start, window_end`,
			columns, options, from), "closed")
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(p, Options{Partitions: 4}, nil)
		if err != nil {
			t.Fatal(err)
		}
		send := func(topic, time string) {
			t.Helper()
			if err := s.Send(Row{Table: topic, Value: fmt.Sprintf(`{"k":"x","ts":"2026-01-01 %s"}`, time), Partition: -1}); err != nil {
				t.Fatal(err)
			}
			if err := s.Settle(); err != nil {
				t.Fatal(err)
			}
		}
		send("t2", "00:00:10")
		send("t1", "00:00:20")
		if err := s.Wait(10e9); err != nil {
			t.Fatal(err)
		}
		send("t1", "00:05:20")
		for _, task := range s.tasks {
			if err := s.restore(task); err != nil {
				t.Fatal(err)
			}
		}
		send("t2", "00:00:30")
		send("t2", "00:09:30")
		send("t1", "00:09:30")
		for topic, want := range map[string]int{"counts": 2, ".late": 1} {
			if rows, err := s.Output(topic); err != nil || len(rows) != want {
				t.Errorf("%s: %s has %v, %v; expected %d rows", name, topic, rows, err, want)
			}
		}
	}
}
