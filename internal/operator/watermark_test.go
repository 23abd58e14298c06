package operator

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWatermarkMerger(t *testing.T) {
	type step struct {
		in        int
		watermark int64
		idle      bool
		want      int64
		wantIdle  bool
	}
	for name, steps := range map[string][]step{
		"the slowest input decides":                {{0, 5, false, minWatermark, false}, {1, 3, false, 3, false}, {1, 9, false, 5, false}},
		"an input never falls back":                {{0, 5, false, minWatermark, false}, {1, 5, false, 5, false}, {0, 2, false, 5, false}},
		"an idle input does not hold others back":  {{0, 5, false, minWatermark, false}, {1, minWatermark, true, 5, false}, {0, 7, false, 7, false}},
		"an input that resumes counts again":       {{0, 5, true, minWatermark, false}, {1, 3, false, 3, false}, {0, 6, false, 3, false}},
		"all idle: the furthest input decides":     {{0, 5, true, minWatermark, false}, {1, 3, true, 5, true}},
		"an ended input does not hold others back": {{0, maxWatermark, false, minWatermark, false}, {1, 3, false, 3, false}, {1, maxWatermark, false, maxWatermark, false}},
		"ended and idle":                           {{0, maxWatermark, false, minWatermark, false}, {1, 3, true, maxWatermark, false}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newWatermarkMerger(2)
			for i, s := range steps {
				got, idle := p.advance(s.in, s.watermark, s.idle)
				if got != s.want || idle != s.wantIdle {
					t.Fatalf("step %d: got %d, idle %v; want %d, %v", i, got, idle, s.want, s.wantIdle)
				}
			}
			p.reset()
			if got, idle := p.advance(0, 1, false); got != minWatermark || idle {
				t.Errorf("after reset: got %d, idle %v; want minWatermark of the other input", got, idle)
			}
		})
	}
}

// The merged watermark of inputs that are never idle is the minimum of their maxima and never
// decreases.
func TestWatermarkMergerIsMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inputs := rapid.IntRange(1, 5).Draw(t, "inputs")
		p, reached := newWatermarkMerger(inputs), make([]int64, inputs)
		for i := range reached {
			reached[i] = minWatermark
		}
		last := int64(math.MinInt64)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			in := rapid.IntRange(0, inputs-1).Draw(t, "in")
			watermark := rapid.Int64Range(-100, 100).Draw(t, "watermark")
			reached[in] = max(reached[in], watermark)
			got, idle := p.advance(in, watermark, false)
			if want := slices.Min(reached); got != want || idle || got < last {
				t.Fatalf("got %d, idle %v after %d; want %d", got, idle, last, want)
			}
			last = got
		}
	})
}

// The watermark of a table is that of its rows, not of its name: a table that is renamed keeps it,
// also if it gets its old name back, and one that is added over the same topic starts without.
func TestRenamedTableKeepsItsWatermark(t *testing.T) {
	const renamed = `
CREATE TABLE %[1]s (id STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'id', 'value.format' = 'json');
CREATE TABLE other (id STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' HOUR) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'id', 'value.format' = 'json');
CREATE TABLE minutes (id STRING, n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'minutes', 'format' = 'json');
INSERT INTO minutes SELECT id, COUNT(*) FROM TABLE(TUMBLE(TABLE %[1]s, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY id, window_start, window_end;`
	const added = `INSERT INTO minutes SELECT m.id, 1 FROM measurements AS m JOIN other AS o ON m.id = o.id AND m.ts = o.ts;`
	row := func(at string) [2]string { return [2]string{"a", fmt.Sprintf(`{"id":"a","ts":"2026-01-01 %s"}`, at)} }
	micros := func(hour int) int64 { return time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC).UnixMicro() }
	x := newExpiringTask(t, fmt.Sprintf(renamed, "readings"))
	want := func(all map[string]int64) {
		t.Helper()
		if got := x.task().Watermarks(); !maps.Equal(got, all) {
			t.Errorf("the watermarks are %v, want %v", got, all)
		}
	}
	x.send("readings", row("10:00:00"))
	for _, name := range []string{"measurements", "readings", "measurements"} {
		x.replan(fmt.Sprintf(renamed, name))
		want(map[string]int64{"readings/" + name: micros(10)})
		x.send("readings", row("09:00:00")) // which is late
		want(map[string]int64{"readings/" + name: micros(10)})
	}
	x.replan(fmt.Sprintf(renamed, "measurements") + added)
	want(map[string]int64{"readings/measurements": micros(10)})
	x.send("readings", row("12:00:00"))
	want(map[string]int64{"readings/measurements": micros(12), "readings/other": micros(11)})
	// Two tables are gone, and either of them may be the one that is new.
	x.replan(fmt.Sprintf(renamed, "readings"))
	want(map[string]int64{"readings/readings": micros(11)})
	x.send("readings", row("13:00:00"))
	want(map[string]int64{"readings/readings": micros(13)})
}
