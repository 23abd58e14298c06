package engine

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

const clockWindows = `
CREATE TABLE readings (device_id STRING, sensor STRING, arrived AS PROCTIME()) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json',
  'scan.startup.mode' = 'earliest-offset');
CREATE TABLE counts (sensor STRING, s TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'counts', 'format' = 'json');
INSERT INTO counts SELECT sensor, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(arrived), INTERVAL '0.1' SECOND))
GROUP BY sensor, window_start, window_end;`

// Windows over PROCTIME() are emitted by the clock alone, after the last record, and each once,
// although workers are killed with transactions open and partitions move between them.
func TestWindowsCloseWithoutRecords(t *testing.T) {
	const rows = 120
	at := cluster(t, rows)
	clock := &ticking{at: time.Now(), read: make(map[int64]bool)}
	config := countedConfig(t, at, clockWindows)
	config.Now, config.CommitInterval, config.UntilEnd = clock.now, 5*time.Millisecond, false
	for round := range 5 { // killed at some point
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+40*round)*time.Millisecond)
		_, _ = Run(ctx, config)
		cancel()
		clock.at = clock.at.Add(-time.Duration(round) * 300 * time.Millisecond) // another machine takes over
	}
	committed := make(chan bool, 1)
	config.OnCommit = func(Commit) {
		select {
		case committed <- true:
		default:
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, err := Run(ctx, config)
		ended <- err
	}()
	total := 0
	for running := true; running; {
		select {
		case <-committed:
		case err := <-ended:
			if running = false; err != nil {
				t.Error(err)
			}
		}
		total = 0
		seen := make(map[string]bool)
		if err := broker.ReadAll(t.Context(), at, "counts", nil, func(r *kgo.Record) error {
			var w struct {
				Sensor, S string
				N         int
			}
			if err := json.Unmarshal(r.Value, &w); err != nil {
				return err
			}
			if total += w.N; seen[w.Sensor+w.S] {
				t.Errorf("the window %s of %s was emitted twice", w.S, w.Sensor)
			}
			seen[w.Sensor+w.S] = true
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if total >= rows {
			stop()
		}
	}
	if total != rows {
		t.Errorf("%d rows in windows, want %d", total, rows)
	}
}
