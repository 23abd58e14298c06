package dryrun

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weir.example/weir/internal/plan"
)

const sortPipeline = `CREATE TABLE events (k STRING, n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'events', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE sorted (k STRING, n BIGINT, ts TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'sorted', 'format' = 'json');
CREATE TABLE first_ten (k STRING, n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'first_ten', 'format' = 'json');
INSERT INTO sorted SELECT k, n, ts FROM events ORDER BY ts, n DESC, k NULLS LAST;
INSERT INTO first_ten SELECT k, n FROM events LIMIT 10 OFFSET 5;`

type event struct {
	K  *string `json:"k"`
	N  *int64  `json:"n"`
	TS string  `json:"ts"`
}

// compareEvents is the order of the query: n DESC has NULL last, as k has explicitly.
func compareEvents(a, b event) int {
	return cmp.Or(cmp.Compare(a.TS, b.TS), -compareNulls(a.N, b.N, -1), compareNulls(a.K, b.K, 1))
}

// compareNulls compares values, given how NULL compares with the others.
func compareNulls[T cmp.Ordered](a, b *T, null int) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return null
	case b == nil:
		return -null
	}
	return cmp.Compare(*a, *b)
}

// ORDER BY of the time emits all rows in order, whatever the order of polls, the size of
// transactions and the crashes. LIMIT passes its number of rows exactly once.
func TestSortedRows(t *testing.T) {
	p, err := plan.Compile(sortPipeline, "sort")
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Int64N(1_000_000)
	random := rand.New(rand.NewPCG(uint64(seed), 1))
	const rows, partitions = 600, 3
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var all []event
	var sent []Row
	for i := range rows {
		at = at.Add(time.Duration(random.IntN(200)) * time.Millisecond)
		e := event{TS: at.Add(-time.Duration(random.IntN(1900)) * time.Millisecond).Format("2006-01-02 15:04:05.000")}
		if random.IntN(5) > 0 {
			k := fmt.Sprintf("k%d", i%7)
			e.K = &k
		}
		if random.IntN(5) > 0 {
			n := int64(i % 3)
			e.N = &n
		}
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
		sent = append(sent, Row{Table: "events", Value: string(text), Partition: random.Int32N(partitions)})
	}
	for _, o := range []Options{{}, {Batch: 7, Crash: true}, {Seed: 1 + seed, Batch: 20}, {Seed: 2 + seed, MaxFired: 3, Crash: true}} {
		o.Partitions = partitions
		s, err := New(p, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range sent {
			if err := s.Send(row); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.End(); err != nil {
			t.Fatal(err)
		}
		var got []event
		var last string
		for _, r := range s.Written()["sorted"] {
			var e event
			if err := json.Unmarshal(r.Value, &e); err != nil {
				t.Fatal(err)
			}
			if len(got) > 0 && compareEvents(e, got[len(got)-1]) < 0 {
				t.Fatalf("seed %d, %+v: row %d, %s, follows %s", seed, o, len(got), r.Value, last)
			}
			last = string(r.Value)
			got = append(got, e)
		}
		late, err := s.Output(".late")
		if err != nil {
			t.Fatal(err)
		}
		if len(got)+len(late) != len(all) || len(late) > 0 {
			t.Errorf("seed %d, %+v: %d rows and %d late ones, want %d and none", seed, o, len(got), len(late), len(all))
		}
		if n := len(s.Written()["first_ten"]); n != 10 {
			t.Errorf("seed %d, %+v: LIMIT 10 passed %d rows", seed, o, n)
		}
	}
}
