package generate

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const everyType = `CREATE TABLE g (
  n INT, count_ STRING, price DECIMAL(6, 2), fl BOOLEAN, tiny TINYINT, big BIGINT, f FLOAT, d DOUBLE, dec_ DECIMAL(5, 2), all_ DECIMAL(38, 10), s STRING, c CHAR(4), v VARCHAR(9),
  vl STRING, y BYTES, b BINARY(3), dt DATE, t TIME(3), ts TIMESTAMP(3), past TIMESTAMP_LTZ(3), a ARRAY<INT>, m MAP<STRING, DOUBLE>, bag MULTISET<STRING>, r ROW<x INT, y ROW<z STRING>>, now_ AS NOW(), sometimes INT
) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence', 'fields.n.start' = '-3', 'fields.n.end' = '2000', 'number-of-rows' = '1500',
  'fields.count_.kind' = 'sequence', 'fields.count_.start' = '1', 'fields.count_.end' = '9999', 'fields.price.kind' = 'sequence', 'fields.price.start' = '1', 'fields.price.end' = '9999',
  'fields.tiny.min' = '-2', 'fields.tiny.max' = '2', 'fields.d.min' = '1.5', 'fields.d.max' = '2.5', 'fields.dec_.min' = '-1', 'fields.dec_.max' = '1',
  'fields.s.length' = '7', 'fields.vl.length' = '5', 'fields.vl.var-len' = 'true', 'fields.y.length' = '2', 'fields.past.max-past' = '1 h',
  'fields.a.length' = '2', 'fields.a.element.min' = '0', 'fields.a.element.max' = '1', 'fields.m.key.length' = '12', 'fields.m.value.max' = '1', 'fields.bag.length' = '2', 'fields.bag.element.length' = '8', 'fields.r.x.max' = '5', 'fields.r.x.min' = '5', 'fields.r.y.z.length' = '2',
  'fields.sometimes.null-rate' = '0.5');
CREATE TABLE o (n INT) WITH ('connector' = 'blackhole'); INSERT INTO o SELECT n FROM g;`

func newRows(t testing.TB, text string) *rows {
	t.Helper()
	p, err := plan.Compile(text, "p")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC)
	r, err := newSource(Config{Program: p, Table: p.Generated()[0], Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// all returns the rows up to the end, read n at a time.
func all(t testing.TB, r *rows, n int) (rows []string) {
	t.Helper()
	items := make([]source.Item, n)
	for {
		n, err := r.Next(items)
		for _, it := range items[:n] {
			rows = append(rows, string(it.Message.Value))
		}
		if errors.Is(err, io.EOF) {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Values have their types and bounds, and each bound is reached.
func TestValues(t *testing.T) {
	lines := all(t, newRows(t, everyType), 1024)
	if len(lines) != 1500 {
		t.Fatalf("%d rows, want 1500", len(lines))
	}
	seen := make(map[string]map[string]int)
	times := make(map[int]int)
	for i, line := range lines {
		var row map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for name, v := range row {
			if seen[name] == nil {
				seen[name] = make(map[string]int)
			}
			seen[name][string(v)]++
		}
		var n struct {
			N     int
			Count string `json:"count_"`
			D     float64
			Dec   float64 `json:"dec_"`
			Past  time.Time
			S, VL string
			A     []int
			M     map[string]float64
			Bag   map[string]int
		}
		if err := json.Unmarshal([]byte(strings.Replace(line, `"past":"2026-01-02 `, `"past":"2026-01-02T`, 1)), &n); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		ago := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC).Sub(n.Past)
		if n.N != i-3 || n.D < 1.5 || n.D > 2.5 || n.Dec < -1 || n.Dec > 1 || ago < 0 || ago > time.Hour+time.Millisecond || len(n.S) != 7 || len(n.VL) < 1 || len(n.VL) > 5 || len(n.A) != 2 || len(n.M) != 3 || len(n.Bag) != 2 {
			t.Fatalf("row %d: %s", i, line)
		}
		for _, n := range n.Bag {
			times[n]++
		}
	}
	if len(times) != maxTimes || times[0] > 0 || times[maxTimes+1] > 0 {
		t.Errorf("elements of a multiset are there %v times, want 1 to %d", times, maxTimes)
	}
	for name, want := range map[string]int{"fl": 2, "tiny": 5, "dt": 1, "t": 1, "ts": 1, "now_": 1, "n": 1500, "count_": 1500, "price": 1500} {
		if len(seen[name]) != want {
			t.Errorf("%s has %d values, want %d", name, len(seen[name]), want)
		}
	}
	for name, want := range map[string]string{"dt": `"2026-01-02"`, "t": `"03:04:05.678"`, "ts": `"2026-01-02 03:04:05.678"`, "now_": `"2026-01-02 03:04:05.678Z"`} {
		if seen[name][want] != 1500 {
			t.Errorf("%s has %v, want %s", name, seen[name], want)
		}
	}
	if nulls := seen["sometimes"]["null"]; nulls < 600 || nulls > 900 {
		t.Errorf("%d of 1500 values are NULL, want about half", nulls)
	}
	if len(seen["dec_"]) < 150 || len(seen["all_"]) != 1500 || len(seen["s"]) != 1500 || len(seen["big"]) != 1500 {
		t.Error("random values repeat themselves")
	}
}

// A generator that continues at a position gives the rows that follow, whatever the size of a
// chunk.
func TestResume(t *testing.T) {
	want := all(t, newRows(t, everyType), 1024)
	r := newRows(t, everyType)
	items := make([]source.Item, 400)
	if _, err := r.Next(items); err != nil {
		t.Fatal(err)
	}
	again := newRows(t, everyType)
	if err := again.Seek(r.Position()); err != nil {
		t.Fatal(err)
	}
	got := all(t, again, 7)
	for i, line := range got {
		if line != want[400+i] {
			t.Fatalf("row %d is %s, want %s", 400+i, line, want[400+i])
		}
	}
	if len(got) != 1100 {
		t.Errorf("%d rows after the position, want 1100", len(got))
	}
	if err := again.Seek([]byte(`{"rows":-1}`)); !errors.Is(err, source.ErrPosition) {
		t.Errorf("a position before the beginning: %v", err)
	}
}

// FuzzPosition continues at a saved position: it is refused, or names a row.
func FuzzPosition(f *testing.F) {
	r := newRows(f, everyType)
	f.Add(r.Position())
	if _, err := r.Next(make([]source.Item, 400)); err != nil {
		f.Fatal(err)
	}
	f.Add(r.Position())
	for _, other := range []string{``, `null`, `{}`, `7`, `{"rows":null}`, `{"row":3,"settings":{}}`, `{"rows":9223372036854775807}`, `{"rows":1,"ROWS":-1}`} {
		f.Add([]byte(other))
	}
	f.Fuzz(func(t *testing.T, saved []byte) {
		if err := r.Seek(saved); err != nil {
			if !errors.Is(err, source.ErrPosition) || !strings.Contains(err.Error(), "pipeline.name") {
				t.Fatalf("%q: %v", saved, err)
			}
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(saved, &members); err != nil || members["rows"] == nil {
			t.Fatalf("%q is taken for the beginning", saved)
		}
		at, _ := r.Progress()
		if n, err := r.Next(make([]source.Item, 3)); at < 0 || err != nil && !errors.Is(err, io.EOF) || (n == 0) != (at >= 1500) {
			t.Fatalf("%q is row %d, after which there are %d: %v", saved, at, n, err)
		}
		if err := r.Seek(r.Position()); err != nil {
			t.Fatalf("%q: the position %s is refused: %v", saved, r.Position(), err)
		}
	})
}
