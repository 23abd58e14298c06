package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// Proportions and ratios of Nexmark's generator (nexmark/nexmark, GeneratorConfig).
const (
	proportion       = 50 // events of which one is a person, three are auctions and 46 are bids
	personEvents     = 1
	auctionEvents    = 3
	firstID          = 1000 // of people and auctions
	firstCategory    = 10
	categories       = 5
	activePeople     = 1000
	inFlightAuctions = 100
	idLead           = 10  // ids that may not exist yet
	hotAuctions      = 2   // all but one in so many bids are for a hot auction
	hotSellers       = 4   // all but one in so many auctions have a hot seller
	hotBidders       = 4   // all but one in so many bids come from a hot bidder
	hotEvery         = 100 // one id in so many is hot, for as long as it is the latest of them
	channels         = 10_000
	step             = 100 * time.Microsecond // of event time between two events
)

var (
	firstNames  = []string{"Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"}
	lastNames   = []string{"Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"}
	cities      = []string{"Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"}
	states      = []string{"AZ", "CA", "ID", "OR", "WA", "WY"}
	hotChannels = []string{"Google", "Facebook", "Baidu", "Apple"}
	firstEvent  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// generator generates Nexmark's events as JSON, with NULL for the rows of the other kinds, as
// Flink's format writes them. Equal seeds give equal events.
type generator struct {
	random *rand.Rand
	next   int64
}

func newGenerator(seed uint64) *generator {
	return &generator{random: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // test data
}

// event appends the next event.
func (g *generator) event(dst []byte) []byte {
	n := g.next
	g.next++
	at := firstEvent.Add(time.Duration(n) * step)
	switch of := n % proportion; {
	case of < personEvents:
		return g.person(dst, n, at)
	case of < personEvents+auctionEvents:
		return g.auction(dst, n, at)
	}
	return g.bid(dst, n, at)
}

// lastPerson and lastAuction return the number of the latest person and auction at an event.
func lastPerson(n int64) int64 { return n / proportion }

func lastAuction(n int64) int64 {
	return n/proportion*auctionEvents + min(max(n%proportion-personEvents, -1), auctionEvents-1)
}

func (g *generator) aPerson(n int64) int64 {
	people := lastPerson(n) + 1
	active := min(people, activePeople)
	return firstID + people - active + g.random.Int64N(active+idLead)
}

func (g *generator) anAuction(n int64) int64 {
	last := max(lastAuction(n), 0)
	first := max(last-inFlightAuctions, 0)
	return firstID + first + g.random.Int64N(last-first+1+idLead)
}

func hot(last int64) int64 { return firstID + max(last, 0)/hotEvery*hotEvery }

func (g *generator) price() int64 { return int64(math.Round(math.Pow(10, g.random.Float64()*6) * 100)) }

func (g *generator) pick(from []string) string { return from[g.random.IntN(len(from))] }

// letters appends n random letters, and some more or less as in Nexmark's extra fields.
func (g *generator) letters(dst []byte, n int) []byte {
	n = n - n/5 + g.random.IntN(2*n/5+1)
	for range n {
		dst = append(dst, 'a'+byte(g.random.IntN(26)))
	}
	return dst
}

func appendTime(dst []byte, at time.Time) []byte {
	return append(at.AppendFormat(append(dst, '"'), "2006-01-02 15:04:05.000"), '"')
}

func (g *generator) person(dst []byte, n int64, at time.Time) []byte {
	first, last := g.pick(firstNames), g.pick(lastNames)
	dst = fmt.Appendf(dst, `{"event_type":0,"person":{"id":%d,"name":"%s %s","emailAddress":"`, firstID+lastPerson(n), first, last)
	dst = append(g.letters(dst, 7), '@')
	dst = append(g.letters(dst, 5), `.com","creditCard":"`...)
	dst = fmt.Appendf(dst, `%04d %04d %04d %04d","city":"%s","state":"%s","dateTime":`, g.random.IntN(10_000), g.random.IntN(10_000), g.random.IntN(10_000),
		g.random.IntN(10_000), g.pick(cities), g.pick(states))
	dst = append(appendTime(dst, at), `,"extra":"`...)
	return append(g.letters(dst, 110), `"},"auction":null,"bid":null}`...)
}

func (g *generator) auction(dst []byte, n int64, at time.Time) []byte {
	seller := hot(lastPerson(n))
	if g.random.IntN(hotSellers) == 0 {
		seller = g.aPerson(n)
	}
	initial := g.price()
	dst = fmt.Appendf(dst, `{"event_type":1,"person":null,"auction":{"id":%d,"itemName":"`, firstID+lastAuction(n))
	dst = append(g.letters(dst, 20), `","description":"`...)
	dst = append(g.letters(dst, 100), `","initialBid":`...)
	dst = strconv.AppendInt(dst, initial, 10)
	dst = append(strconv.AppendInt(append(dst, `,"reserve":`...), initial+g.price(), 10), `,"dateTime":`...)
	dst = append(appendTime(dst, at), `,"expires":`...)
	open := time.Duration(inFlightAuctions*proportion/auctionEvents) * step // until this many auctions follow
	dst = appendTime(dst, at.Add(time.Millisecond+time.Duration(g.random.Int64N(int64(2*open)))))
	dst = fmt.Appendf(dst, `,"seller":%d,"category":%d,"extra":"`, seller, firstCategory+g.random.IntN(categories))
	return append(g.letters(dst, 140), `"},"bid":null}`...)
}

func (g *generator) bid(dst []byte, n int64, at time.Time) []byte {
	auction, bidder := hot(lastAuction(n)), hot(lastPerson(n))+1
	if g.random.IntN(hotAuctions) == 0 {
		auction = g.anAuction(n)
	}
	if g.random.IntN(hotBidders) == 0 {
		bidder = g.aPerson(n)
	}
	dst = fmt.Appendf(dst, `{"event_type":2,"person":null,"auction":null,"bid":{"auction":%d,"bidder":%d,"price":%d,"channel":"`, auction, bidder, g.price())
	if g.random.IntN(2) == 0 {
		channel := g.random.IntN(len(hotChannels))
		dst = fmt.Appendf(dst, `%s","url":"https://www.nexmark.com/%x/item.htm?query=1`, hotChannels[channel], 0x5eed_0000+channel)
	} else {
		channel := g.random.IntN(channels)
		dst = fmt.Appendf(dst, `channel-%d","url":"https://www.nexmark.com/%x/%x/%x/item.htm?query=1&channel_id=%d`, channel, channel*7919, channel*31, channel*17,
			channel*214_748)
	}
	dst = append(appendTime(append(dst, `","dateTime":`...), at), `,"extra":"`...)
	return append(g.letters(dst, 165), `"}}`...)
}
