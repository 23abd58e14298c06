package spool

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"weir.example/weir/reading"
)

// A number that has not come is never taken for a repeat; one that has come is recognized unless
// too many gaps were open since; and what is missing is exactly what has not come.
func TestCounterModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 2000 {
		c := &counter{}
		seen := make(map[string]map[int64]bool)
		next := int64(rng.IntN(3))
		boot := 0
		for range 300 {
			n := Count{Boot: fmt.Sprint("b", boot), Seq: next}
			switch k := rng.IntN(20); {
			case k < 2:
				n.Seq += int64(rng.IntN(5))
				next = n.Seq + 1
			case k < 6:
				n.Seq = max(0, next-int64(rng.IntN(40)))
				next = max(next, n.Seq+1)
			case k < 7 && rng.IntN(20) == 0:
				boot++
				next = 1
				n = Count{Boot: fmt.Sprint("b", boot), Seq: 0}
			default:
				next++
			}
			cut := false
			for _, r := range c.runs {
				cut = cut || r.cut && r.boot == n.Boot
			}
			before := seen[n.Boot][n.Seq]
			v := c.take(&n)
			if v == known && !before {
				t.Fatalf("number %d of %s is taken for a repeat, but has not come", n.Seq, n.Boot)
			}
			if v != known && before && !cut {
				t.Fatalf("number %d of %s came twice: %d", n.Seq, n.Boot, v)
			}
			if seen[n.Boot] == nil {
				seen[n.Boot] = make(map[int64]bool)
			}
			seen[n.Boot][n.Seq] = true
		}
		var missing int64
		cut := false
		for _, r := range c.runs {
			cut = cut || r.cut
		}
		for _, numbers := range seen {
			low, high := int64(1<<62), int64(-1)
			for n := range maps.Keys(numbers) {
				low, high = min(low, n), max(high, n)
			}
			missing += high - low + 1 - int64(len(numbers))
		}
		if !cut && c.missing != missing {
			t.Fatalf("%d are missing, want %d", c.missing, missing)
		}
		b := c.append(nil)
		d := decoder{rest: b}
		if got := d.counter(); !bytes.Equal(got.append(nil), b) || d.failed || len(d.rest) > 0 {
			t.Fatalf("decoded %+v, want %+v", got, c)
		}
	}
}

// Counters that begin again are no repeats: without a boot, and with one that says so by a time.
func TestCounterRestarts(t *testing.T) {
	for _, tt := range []struct {
		name string
		all  []Count
		want []verdict
	}{
		{"without a boot", []Count{{Seq: 5}, {Seq: 6}, {Seq: 0}, {Seq: 1}, {Seq: 1}, {Seq: 5}}, []verdict{fresh, fresh, restart, fresh, fresh, skipping}},
		{"with times", []Count{{Boot: "s", Seq: 0, At: 10}, {Boot: "s", Seq: 1, At: 20}, {Boot: "s", Seq: 1, At: 20}, {Boot: "s", Seq: 0, At: 30}, {Boot: "s", Seq: 1, At: 40}}, []verdict{fresh, fresh, known, restart, fresh}},
		{"of earlier boots", []Count{{Boot: "a", Seq: 0}, {Boot: "b", Seq: 0}, {Boot: "a", Seq: 0}, {Boot: "b", Seq: 1}}, []verdict{fresh, fresh, known, fresh}},
		{"far ahead", []Count{{Boot: "a", Seq: 0}, {Boot: "a", Seq: 1 << 40}}, []verdict{fresh, restart}},
	} {
		c := &counter{}
		for i := range tt.all {
			if got := c.take(&tt.all[i]); got != tt.want[i] {
				t.Errorf("%s: number %d: %d, want %d", tt.name, i, got, tt.want[i])
			}
		}
	}
}

// Whatever is killed and whichever writes fail, a message with a number is in Kafka exactly once if
// its device sends it until it is acknowledged, and notes are those of the acknowledged entries.
func TestCountsSurvive(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for run := range uint64(60) {
		w := newWorld(t, seed+run)
		next := int64(0)
		for range 60 {
			number := next
			if w.rng.IntN(4) == 0 {
				number = max(0, next-int64(w.rng.IntN(8)))
			}
			e := &Entry{
				Readings: []reading.Reading{{DeviceID: "d", Sensor: "s", Value: float64(number), TS: number}},
				Counts:   []Count{{Device: "d", Boot: "b", Seq: number, From: 0, To: 1}},
				Notes:    []Note{{Key: "last", Value: fmt.Append(nil, number)}},
			}
			switch n := w.rng.IntN(20); {
			case n < 3:
				w.bad.set(50)
			case n < 5:
				w.bad.set(0)
				w.crash(100)
			}
			if _, err := w.s.Put(t.Context(), e); err == nil {
				if got := string(w.s.Notes("la")["last"]); got != fmt.Sprint(number) {
					t.Fatalf("the note is %q, want %d", got, number)
				}
				next = max(next, number+1)
			}
			if w.rng.IntN(4) == 0 {
				w.send(3, true)
			}
		}
		w.bad.set(0)
		w.crash(50)
		before := w.s.Stats().Devices.Missing
		w.drain()
		counts := make(map[float64]int)
		for i := range w.committed {
			counts[w.committed[i].Value]++
		}
		for n := range next {
			if counts[float64(n)] != 1 {
				t.Fatalf("number %d is in Kafka %d times (run %d)", n, counts[float64(n)], run)
			}
		}
		if before != 0 {
			t.Fatalf("%d are missing", before)
		}
		w.close()
	}
}

// Devices that are too many to count are not refused.
func TestTooManyCounters(t *testing.T) {
	s, err := Open(Config{Dir: t.TempDir(), MaxDevices: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 10 {
		e := &Entry{Readings: []reading.Reading{{DeviceID: "d", Sensor: "s"}}, Counts: []Count{{Device: fmt.Sprint(i), Boot: "b", To: 1}}}
		for range 2 {
			if _, err := s.Put(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if now := s.Stats(); now.Devices.Repeated != 3 || now.Devices.Uncounted != 14 || now.Readings != 17 {
		t.Errorf("%+v", now)
	}
}
