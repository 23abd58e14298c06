package embedded

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// gate holds produce requests back while it is closed, except those of admitted producers, which
// have an open transaction on a compacted topic and must be able to finish it.
//
// A broker has one gate, and kfake one control function for it, for the broker's lifetime: kfake
// has a race if a second function gets a request that has slept in the first.
type gate struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when the fields below change
	closed   bool
	decided  bool // admitted is set
	admitted map[producer]bool
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

// hold returns a handler that delays produce requests until they may pass.
func (g *gate) hold(sleep func(wakeup func())) handler {
	return func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req, ok := kreq.(*kmsg.ProduceRequest)
		if !ok {
			return nil, nil, false
		}
		for {
			pass, changed := g.ask(req)
			if pass {
				return nil, nil, false
			}
			sleep(func() { <-changed })
		}
	}
}

func (g *gate) ask(req *kmsg.ProduceRequest) (pass bool, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		return true, nil
	}
	if !g.decided {
		return false, g.changed
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if len(p.Records) < batchHeaderSize {
				continue
			}
			h := parseHeader(p.Records)
			if !g.admitted[producer{h.producerID, h.producerEpoch}] {
				return false, g.changed
			}
		}
	}
	return true, nil
}

// close starts holding back every produce request.
func (g *gate) close() { g.set(true, false, nil) }

// admit sets the producers that may pass the closed gate; nil means none.
func (g *gate) admit(who map[producer]bool) { g.set(true, true, who) }

// open lets all requests pass.
func (g *gate) open() { g.set(false, false, nil) }

func (g *gate) set(closed, decided bool, admitted map[producer]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.decided, g.admitted = closed, decided, admitted
	close(g.changed)
	g.changed = make(chan struct{})
}
