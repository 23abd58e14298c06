package conformance

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Sizes of the Nexmark cases. Of 50 events one is a person, 3 are auctions and 46 are bids, as in
// Nexmark's generator.
const (
	nexmarkSeed   = 1
	nexmarkEvents = 300
	nexmarkStep   = 200 * time.Millisecond // of event time between two events
	nexmarkJitter = 3900                   // milliseconds by which an event is older, less than the watermark's delay
	nexmarkFirst  = 1000                   // id of the first person and auction
)

type nexmarkEvent struct {
	table string // person, auction or bid
	row   map[string]any
}

// generateNexmark returns events of fewer people and auctions than Nexmark's generator, so that
// most of them meet in the joins. Half of the bids are for the latest hot auction, and a quarter
// come from a hot bidder.
func generateNexmark(random *rand.Rand) []nexmarkEvent {
	var events []nexmarkEvent
	people, auctions := int64(nexmarkFirst), int64(nexmarkFirst)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	pick := func(names ...string) string { return names[random.IntN(len(names))] }
	text := func(at time.Time) string { return at.Format("2006-01-02 15:04:05.000") }
	price := func() int64 { return int64(100 * (1 + random.IntN(1000))) }
	of := func(next int64) int64 { return nexmarkFirst + random.Int64N(next-nexmarkFirst+1) } // may not exist yet
	for i := range nexmarkEvents {
		now = now.Add(nexmarkStep)
		at := now.Add(-time.Duration(random.IntN(nexmarkJitter)) * time.Millisecond)
		extra := fmt.Sprintf("%06x", random.IntN(1<<24))
		switch i % 50 {
		case 0:
			first, last := pick("Peter", "Paul", "Julie", "Vicky"), pick("Shultz", "Abrams", "Noris", "Walton")
			events = append(events, nexmarkEvent{"person", map[string]any{
				"id": people, "name": first + " " + last, "emailAddress": strings.ToLower(first) + "@example.com",
				"creditCard": fmt.Sprintf("%04d %04d", random.IntN(10000), random.IntN(10000)), "city": pick("Phoenix", "Portland", "Boise", "Seattle"),
				"state": pick("AZ", "CA", "ID", "OR", "WA", "WY"), "dateTime": text(at), "extra": extra,
			}})
			people++
		case 1, 2, 3:
			initial := price()
			events = append(events, nexmarkEvent{"auction", map[string]any{
				"id": auctions, "itemName": pick("lamp", "chair", "clock"), "description": pick("old", "new", "rare"), "initialBid": initial,
				"reserve": initial + price(), "dateTime": text(at), "expires": text(at.Add(time.Duration(1+random.IntN(30000)) * time.Millisecond)),
				"seller": of(people), "category": 10 + random.IntN(5), "extra": extra,
			}})
			auctions++
		default:
			auction, bidder := of(auctions), of(people)
			if random.IntN(2) == 0 {
				auction = nexmarkFirst + (auctions-1-nexmarkFirst)/4*4
			}
			if random.IntN(4) == 0 {
				bidder = nexmarkFirst + (people-1-nexmarkFirst)/4*4
			}
			channel := pick("Google", "Facebook", "Baidu", "Apple")
			events = append(events, nexmarkEvent{"bid", map[string]any{
				"auction": auction, "bidder": bidder, "price": price(), "channel": channel,
				"url": "https://example.com/" + strings.ToLower(channel) + "/item", "dateTime": text(at), "extra": extra,
			}})
		}
	}
	return events
}

// nexmarkCase returns the events as a case: one table per kind, or a single table with a ROW per
// kind.
func nexmarkCase(t *testing.T, events []nexmarkEvent, nested bool) string {
	t.Helper()
	var b strings.Builder
	last := ""
	for _, e := range events {
		table, row := e.table, e.row
		if nested {
			kinds := []string{"person", "auction", "bid"}
			table, row = "events", map[string]any{"event_type": slices.Index(kinds, e.table), e.table: e.row}
		}
		if table != last {
			fmt.Fprintf(&b, "send %s\n", table)
			last = table
		}
		text, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", text)
	}
	return b.String() + "end\n"
}

// The Nexmark cases hold the events of the generator. With -golden, they are written.
func TestNexmarkCases(t *testing.T) {
	events := generateNexmark(rand.New(rand.NewPCG(nexmarkSeed, 0))) //nolint:gosec // test data
	for file, nested := range map[string]bool{"cases/nexmark.case": false, "cases/nexmark_nested.case": true} {
		want := nexmarkCase(t, events, nested)
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil { //nolint:gosec // committed
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != want {
			t.Errorf("%s differs from the generated events (-golden writes it): %v", file, err)
		}
	}
}
