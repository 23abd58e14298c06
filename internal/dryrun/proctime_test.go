package dryrun

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weir.example/weir/internal/plan"
)

// Windows over PROCTIME(): one of the groups of a partition's key, one after an exchange, and two
// whose windows overlap, from slices and row by row.
const clockWindows = `
CREATE TABLE r (k STRING, n INT, p AS PROCTIME()) WITH ('connector' = 'kafka', 'topic' = 'r', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json');
CREATE TABLE own (k STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, least TIMESTAMP_LTZ(3), most TIMESTAMP_LTZ(3), emitted TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'own', 'format' = 'json');
CREATE TABLE exchanged (k STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, least TIMESTAMP_LTZ(3), most TIMESTAMP_LTZ(3), emitted TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'exchanged', 'format' = 'json');
CREATE TABLE sliced (k STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, emitted TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'sliced', 'format' = 'json');
CREATE TABLE expanded (k STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, emitted TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'expanded', 'format' = 'json');
INSERT INTO own SELECT k, window_start, window_end, COUNT(*), MIN(p), MAX(p), window_time FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(p), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end, window_time;
INSERT INTO exchanged SELECT CAST(MOD(n, 3) AS STRING), TUMBLE_START(p, INTERVAL '10' SECOND), TUMBLE_END(p, INTERVAL '10' SECOND), COUNT(*), MIN(p), MAX(p), TUMBLE_PROCTIME(p, INTERVAL '10' SECOND) FROM r GROUP BY MOD(n, 3), TUMBLE(p, INTERVAL '10' SECOND);
INSERT INTO sliced SELECT k, window_start, window_end, COUNT(*), window_time FROM TABLE(HOP(TABLE r, DESCRIPTOR(p), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY k, window_start, window_end, window_time;
INSERT INTO expanded SELECT k, window_start, window_end, COUNT(DISTINCT n), window_time FROM TABLE(HOP(TABLE r, DESCRIPTOR(p), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY k, window_start, window_end, window_time;`

type clockWindow struct {
	K                    string
	S, E                 string
	C                    int
	Least, Most, Emitted string
}

// Each row is in every window of its time once, and no window is emitted before its end or twice,
// whatever happens: transactions are aborted and tasks restored from their changelogs, tasks read
// in any order, few windows fit into a transaction, and the clock goes back, as when another
// machine takes over.
func TestWindowsByTheClock(t *testing.T) {
	p, err := plan.Compile(clockWindows, "clock")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		seed := 1 + rand.Int64N(1_000_000)
		for _, back := range []bool{false, true} {
			t.Run(fmt.Sprint(seed, back), func(t *testing.T) { testClockWindows(t, p, seed, back) })
		}
	}
}

func testClockWindows(t *testing.T, p *plan.Program, seed int64, back bool) {
	random := rand.New(rand.NewPCG(uint64(seed), 1)) //nolint:gosec // not for secrets
	s, err := New(p, Options{Partitions: 4, Crash: seed%4 != 0, Seed: seed, MaxFired: 1 + random.IntN(5)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows, keys := 0, map[string]int{}
	for range 30 {
		for range random.IntN(6) {
			key := string(rune('a' + random.IntN(6)))
			if err := s.Send(Row{Table: "r", Value: fmt.Sprintf(`{"k":%q,"n":%d}`, key, rows), Partition: -1}); err != nil {
				t.Fatal(err)
			}
			rows++
			keys[key]++
		}
		if err := s.Work(); err != nil {
			t.Fatal(err)
		}
		switch random.IntN(4) {
		case 0:
			s.Advance(time.Duration(random.IntN(30_000)) * time.Millisecond)
		case 1:
			if err := s.Wait(time.Duration(random.IntN(30_000)) * time.Millisecond); err != nil {
				t.Fatal(err)
			}
		case 2:
			if back {
				s.Advance(-time.Duration(random.IntN(60_000)) * time.Millisecond)
			}
		}
	}
	if err := s.Settle(); err != nil {
		t.Fatal(err)
	}
	open := readClockWindows(t, s) // emitted by the clock alone
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	all := readClockWindows(t, s)
	for table, times := range map[string]int{"own": 1, "exchanged": 1, "sliced": 3, "expanded": 3} {
		total, seen := 0, make(map[string]bool)
		for i, w := range all[table] {
			total += w.C
			if id := w.K + w.S + w.E; seen[id] {
				t.Errorf("%s: the window %s of %s was emitted twice", table, w.S, w.K)
			} else {
				seen[id] = true
			}
			began, ended := clockTime(t, w.S), clockTime(t, w.E)
			if i < len(open[table]) && clockTime(t, open[table][i].Emitted).Before(clockTime(t, open[table][i].E)) {
				t.Errorf("%s: a window was emitted before its end: %+v", table, open[table][i])
			}
			if w.Least == "" {
				continue
			}
			// After an exchange, rows are read later, by a clock that may not have gone back.
			least, most := clockTime(t, w.Least), clockTime(t, w.Most)
			if !most.Before(ended) && (!back || table == "own") || least.Before(began) && !back && table == "own" {
				t.Errorf("%s: the rows of window %s to %s have arrived from %s to %s", table, w.S, w.E, w.Least, w.Most)
			}
		}
		if total != times*rows {
			t.Errorf("%s: %d rows were counted %d times, want %d", table, rows, total, times*rows)
		}
	}
	for _, w := range all["own"] {
		keys[w.K] -= w.C
	}
	for k, left := range keys {
		if left != 0 {
			t.Errorf("the windows of %s have %d rows less than were sent", k, left)
		}
	}
	if len(s.Written()[".late"]) > 0 {
		t.Error("rows are late")
	}
}

func readClockWindows(t *testing.T, s *Simulation) map[string][]clockWindow {
	t.Helper()
	of := make(map[string][]clockWindow)
	for topic, records := range s.Written() {
		for _, r := range records {
			var w clockWindow
			if topic == "r" {
				continue
			}
			if err := json.Unmarshal(r.Value, &w); err != nil {
				t.Fatal(err)
			}
			of[topic] = append(of[topic], w)
		}
	}
	return of
}

func clockTime(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05.999Z07:00", text)
	if err != nil {
		if at, err = time.Parse("2006-01-02 15:04:05.999", text); err != nil {
			t.Fatal(err)
		}
	}
	return at
}
