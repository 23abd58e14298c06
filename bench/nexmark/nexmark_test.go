package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"weir.example/weir/bench/binary"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/plan"
)

// The side go of a benchmark in a test is the test's binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "byhand" {
		main()
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// Weir and the program written by hand have the same results, on an embedded broker.
func TestSides(t *testing.T) {
	if testing.Short() {
		t.Skip("builds weir")
	}
	server, err := embedded.Open(embedded.Config{Dir: t.TempDir(), StoredBytes: -1, MaintainEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	b := &bench{
		settings: settings{rows: 20_000, seed: 3, sides: []string{"weir", "go"}, parallelism: 2},
		dir:      t.TempDir(), brokers: server.Addr(), brokerPID: os.Getpid(),
	}
	if b.self, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	if b.weir, err = binary.Build(t.Context(), b.dir); err != nil {
		t.Fatal(err)
	}
	if err := b.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{"q1": 18_400, "q17": 0} {
		all, err := b.measureQuery(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.differ > 0 || want > 0 && f.results != want || f.results == 0 || f.cpu == 0 || f.took == 0 || f.peakKB == 0 {
				t.Errorf("%s", f)
			}
		}
	}
}

// Rows that only one side has, and keys whose last rows differ, are counted.
func TestDifferences(t *testing.T) {
	one := &rows{times: map[uint64]int{1: 2, 2: 1}, last: map[string]uint64{"a": 1, "b": 2}}
	other := &rows{times: map[uint64]int{1: 1, 3: 1}, last: map[string]uint64{"a": 1, "b": 3, "c": 1}}
	if n, back := one.differences(other), other.differences(one); n != 5 || back != 5 {
		t.Errorf("%d and %d differences, want 5", n, back)
	}
	if n := one.differences(one); n != 0 {
		t.Errorf("%d differences from itself", n)
	}
}

// event is what the tests read of an event.
type event struct {
	Type   int `json:"event_type"`
	Person *struct {
		ID int64 `json:"id"`
	} `json:"person"`
	Auction *struct {
		ID     int64 `json:"id"`
		Seller int64 `json:"seller"`
	} `json:"auction"`
	Bid *struct {
		Auction int64 `json:"auction"`
		Bidder  int64 `json:"bidder"`
		Price   int64 `json:"price"`
	} `json:"bid"`
}

// The events are the same for the same seed, have about 420 bytes, and Nexmark's proportions.
func TestEvents(t *testing.T) {
	const events = 100_000
	g, again := newGenerator(7), newGenerator(7)
	var counts [3]int
	var size int
	var hotBids, hotBidders int
	var person, auction int64 = firstID - 1, firstID - 1
	for i := range events {
		data := g.event(nil)
		if other := again.event(nil); !bytes.Equal(data, other) {
			t.Fatalf("event %d: %s, and again %s", i, data, other)
		}
		var e event
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		size += len(data)
		counts[e.Type]++
		switch e.Type {
		case 0:
			if person++; e.Person.ID != person {
				t.Fatalf("person %d follows %d", e.Person.ID, person-1)
			}
		case 1:
			if auction++; e.Auction.ID != auction || e.Auction.Seller > person+idLead {
				t.Fatalf("auction %d of seller %d follows auction %d and person %d", e.Auction.ID, e.Auction.Seller, auction-1, person)
			}
		case 2:
			if e.Bid.Auction < firstID || e.Bid.Auction > auction+idLead || e.Bid.Bidder < firstID || e.Bid.Bidder > person+idLead || e.Bid.Price < 100 || e.Bid.Price > 100_000_000 {
				t.Fatalf("bid %+v after auction %d and person %d", e.Bid, auction, person)
			}
			if e.Bid.Auction == hot(auction-firstID) {
				hotBids++
			}
			if e.Bid.Bidder == hot(person-firstID)+1 {
				hotBidders++
			}
		}
	}
	if counts != [3]int{events / 50, 3 * events / 50, 46 * events / 50} {
		t.Errorf("%v people, auctions and bids", counts)
	}
	if mean := size / events; mean < 405 || mean > 435 {
		t.Errorf("an event has %d bytes on average", mean)
	}
	if share := float64(hotBids) / float64(counts[2]); share < 0.49 || share > 0.53 {
		t.Errorf("%.2f of the bids are for the hot auction", share)
	}
	if share := float64(hotBidders) / float64(counts[2]); share < 0.74 || share > 0.77 {
		t.Errorf("%.2f of the bids come from the hot bidder", share)
	}
}

// Every query is one that Weir runs, and has the sink that results.go expects.
func TestQueries(t *testing.T) {
	for _, query := range allQueries {
		var sql strings.Builder
		if err := sqlTemplates.ExecuteTemplate(&sql, query+".sql", job{ID: query, Brokers: "127.0.0.1:9092", Source: source, Sink: "results"}); err != nil {
			t.Fatal(err)
		}
		p, err := plan.Compile(sql.String(), query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		upsert := strings.Contains(sql.String(), "upsert-kafka")
		want := false
		for _, q := range upserts {
			want = want || q == query
		}
		if upsert != want || len(p.Sinks) != 1 {
			t.Errorf("%s: an upsert sink: %t, want %t", query, upsert, want)
		}
	}
}

// The program written by hand writes what Weir and Flink write.
func TestByHand(t *testing.T) {
	for event, want := range map[string]string{
		`{"event_type":2,"person":null,"auction":null,"bid":{"auction":1,"bidder":2,"price":1000,"channel":"c","url":"u","dateTime":"2026-01-01 00:00:00.120","extra":"x"}}`: `{"auction":1,"bidder":2,"price":908.000,"dateTime":"2026-01-01 00:00:00.12","extra":"x"}`,
		`{"event_type":2,"person":null,"auction":null,"bid":{"auction":1,"bidder":2,"price":1,"channel":"c","url":"u","dateTime":"2026-01-01 00:00:10.000","extra":"x"}}`:    `{"auction":1,"bidder":2,"price":0.908,"dateTime":"2026-01-01 00:00:10","extra":"x"}`,
		`{"event_type":0,"person":{"id":1},"auction":null,"bid":null}`: "",
	} {
		if got := q1(nil, []byte(event)); string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
