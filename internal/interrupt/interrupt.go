// Package interrupt interrupts clients at an exact request of their transactions; timers would hit
// only a few of these moments.
package interrupt

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
)

// Broker is an in-memory broker that calls a function at the n-th request of a transaction.
type Broker struct {
	*kfake.Cluster
	mu     sync.Mutex
	left   int
	call   func()
	cut    int // number of further requests to cut
	silent bool
}

// New starts a broker, which is closed when the test ends.
func New(t *testing.T, opts ...kfake.Opt) *Broker {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	b := &Broker{Cluster: c}
	for _, key := range ofTransactions {
		c.ControlKey(int16(key), b.control)
	}
	return b
}

// ofTransactions lists the requests that are counted.
var ofTransactions = []kmsg.Key{kmsg.Produce, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.InitProducerID, kmsg.Heartbeat}

// CountAll makes the broker count all requests, not only those of transactions.
func (b *Broker) CountAll() {
	b.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		if slices.Contains(ofTransactions, kmsg.Key(r.Key())) {
			b.KeepControl()
			return nil, nil, false
		}
		return b.control(r)
	})
}

func (b *Broker) control(kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	b.KeepControl()
	if b.meet() {
		return nil, errors.New("the connection is cut"), true
	}
	return nil, nil, false
}

// meet counts a request, and reports whether it must not be answered.
func (b *Broker) meet() (silent bool) {
	b.mu.Lock()
	b.left--
	call := b.call
	if b.left != 0 {
		call = nil
	}
	b.mu.Unlock()
	if call != nil {
		call()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut--
	return b.silent || b.cut >= 0
}

// After arranges a call of call at the n-th request from now.
func (b *Broker) After(n int, call func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left, b.call = n, call
}

// Cut breaks the connections of the next n requests that it counts: they have no effect and get no
// answer.
func (b *Broker) Cut(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = n
}

// Silence makes the broker stop answering requests of transactions.
func (b *Broker) Silence() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.silent = true
}

// Config returns the client configuration for the broker.
func (b *Broker) Config() broker.Config { return broker.Config{Brokers: b.ListenAddrs()} }

// Open lists the transactions that currently block readers.
func (b *Broker) Open(t *testing.T) []broker.Transaction {
	t.Helper()
	client, err := broker.Connect(t.Context(), b.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	listed, err := broker.ListTransactions(t.Context(), client, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return listed.Open
}
