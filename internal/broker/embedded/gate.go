package embedded

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// gate holds back produce requests to one partition while it is closed, except those of admitted
// producers, which have an open transaction on the partition and must be able to finish it.
//
// A broker has one gate, and kfake one control function for it, for the broker's lifetime: kfake
// has a race if a second function gets a request that has slept in the first.
type gate struct {
	topicName func(id [16]byte) string // empty if no topic has the id; requests may have only ids

	mu       sync.Mutex
	changed  chan struct{}   // closed and replaced when the fields below change
	closed   *topicPartition // nil: open
	decided  bool            // admitted is set
	admitted map[producer]bool
}

func newGate(topicName func(id [16]byte) string) *gate {
	return &gate{topicName: topicName, changed: make(chan struct{})}
}

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
	if g.closed == nil {
		return true, nil
	}
	for _, t := range req.Topics {
		name := t.Topic
		if req.Version >= 13 {
			name = g.topicName(t.TopicID)
		}
		if name != g.closed.topic {
			continue
		}
		for _, p := range t.Partitions {
			if p.Partition == g.closed.id && !g.admits(p.Records) {
				return false, g.changed
			}
		}
	}
	return true, nil
}

// admits reports whether a batch may pass the closed gate.
func (g *gate) admits(records []byte) bool {
	if len(records) < batchHeaderSize {
		return true // the broker rejects it
	}
	h := parseHeader(records)
	return g.decided && g.admitted[producer{h.producerID, h.producerEpoch}]
}

// close starts holding back every produce request to a partition.
func (g *gate) close(at topicPartition) { g.set(&at, false, nil) }

// admit sets the producers that may pass the gate closed for a partition; nil means none.
func (g *gate) admit(at topicPartition, who map[producer]bool) { g.set(&at, true, who) }

// open lets all requests pass.
func (g *gate) open() { g.set(nil, false, nil) }

func (g *gate) set(closed *topicPartition, decided bool, admitted map[producer]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.decided, g.admitted = closed, decided, admitted
	close(g.changed)
	g.changed = make(chan struct{})
}
