package dryrun

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
)

const nexmarkQ11 = `CREATE TABLE bid (auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP(3), WATERMARK FOR dateTime AS dateTime - INTERVAL '4' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'bid', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE sessions (bidder BIGINT, bid_count BIGINT, starttime TIMESTAMP(3), endtime TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'sessions', 'format' = 'json');
INSERT INTO sessions SELECT bidder, COUNT(*), window_start, window_end
FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end;`

type bid struct {
	bidder    int64
	partition int32
	at        time.Time
}

// bids generates bids of 300 bidders, five of them hot. They are out of order by less than the
// watermark's delay, and most are in partition 0.
func bids(random *rand.Rand, n int, partitions int32) []bid {
	all := make([]bid, n)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range all {
		at = at.Add(time.Duration(random.IntN(200)) * time.Millisecond)
		p := int32(0)
		if random.IntN(3) == 0 {
			p = random.Int32N(partitions)
		}
		bidder := int64(random.IntN(300))
		if random.IntN(4) == 0 {
			bidder = int64(random.IntN(5))
		}
		all[i] = bid{bidder, p, at.Add(-time.Duration(random.IntN(3900)) * time.Millisecond)}
	}
	return all
}

// sessionsOf computes the sessions of all bids directly.
func sessionsOf(all []bid) []string {
	of := make(map[int64][]time.Time)
	for _, b := range all {
		of[b.bidder] = append(of[b.bidder], b.at)
	}
	var rows []string
	for bidder, times := range of {
		slices.SortFunc(times, time.Time.Compare)
		start := 0
		for i := range times {
			if i+1 < len(times) && times[i+1].Sub(times[i]) <= 10*time.Second {
				continue
			}
			const layout = "2006-01-02 15:04:05.999"
			rows = append(rows, fmt.Sprintf(`{"bidder":%d,"bid_count":%d,"starttime":"%s","endtime":"%s"}`, bidder, i+1-start,
				times[start].Format(layout), times[i].Add(10*time.Second).Format(layout)))
			start = i + 1
		}
	}
	slices.Sort(rows)
	return rows
}

// Nexmark's q11 over skewed partitions gives the expected sessions, regardless of the order in
// which partitions are read and of how far one of them is ahead.
func TestNexmarkSessions(t *testing.T) {
	for range 6 {
		seed := 1 + rand.Int64N(1_000_000)
		random := rand.New(rand.NewPCG(uint64(seed), 1)) //nolint:gosec // test data
		partitions := 2 + random.Int32N(3)
		all := bids(random, 3000, partitions)
		want := sessionsOf(all)
		p, err := plan.Compile(nexmarkQ11, "q11")
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(p, Options{Partitions: partitions, Seed: seed}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range all {
			value := fmt.Sprintf(`{"auction":1,"bidder":%d,"price":7,"dateTime":"%s"}`, b.bidder, b.at.Format("2006-01-02 15:04:05.999"))
			s.Append(&kgo.Record{Topic: "bid", Partition: b.partition, Value: []byte(value)})
		}
		if err := s.End(); err != nil {
			t.Fatal(err)
		}
		got, err := s.Output("sessions")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("seed %d, %d partitions: %d sessions, want %d", seed, partitions, len(got), len(want))
		}
		if late, err := s.Output(".late"); err != nil || len(late) > 0 {
			t.Errorf("seed %d: %d late rows, want none: %v", seed, len(late), err)
		}
		if err := s.Check(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
