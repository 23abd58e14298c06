// Package txtest scripts transactions: an in-memory broker holds a request that a test selects, and
// then answers it, refuses it, or closes the connection before or after handling it. Tests of
// transactional clients read like prose:
//
//	commit := broker.Hold(txtest.Commit("weir-weir-p/a"))
//	...
//	commit.Await()                  // the client requests its commit
//	commit.DoAndAnswer(kerr.UnknownServerError) // committed, but the client gets an error
//
// Nothing sleeps: a test waits until a request has arrived ([Held.Await]) or until the group is in
// the expected state ([Broker.AwaitGroup]). [Broker.Assign] decides which member has which
// partitions, so that partitions move when the script moves them.
//
//	txtest.go  Broker, Hold, and how a held request is handled
//	match.go   selects requests
//	group.go   partitions that move between members
//	read.go    what is committed
//	hanging.go transactions that hang
//	mutate/    faults that the scripts of engine, alert and produce must detect: make mutate
package txtest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
)

// Patience is how long a script waits for anything. It is long enough for a slow machine, because a
// passing script never waits that long.
const Patience = 30 * time.Second

// SessionTimeout is the session timeout of scripted clients: a silent member is expelled after it,
// and a live one notices a rebalance within a fifth of it.
const SessionTimeout = 1200 * time.Millisecond

// Broker is an in-memory broker that is closed when the test ends.
type Broker struct {
	*kfake.Cluster
	t     testing.TB
	ctx   context.Context
	side  *kgo.Client // executes requests whose response is withheld
	fence *embedded.Fence

	mu      sync.Mutex
	held    []*Held
	passing map[string]int // transactional ids whose next EndTxn the side client sends

	steering
}

// New starts a broker that is closed when the test ends.
func New(t testing.TB, opts ...kfake.Opt) *Broker {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(10 * time.Millisecond),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel) // before Close: it releases the requests still held
	b := &Broker{Cluster: c, t: t, ctx: ctx, passing: make(map[string]int), steering: newSteering()}
	at := b.Config("script")
	if b.side, err = broker.Connect(ctx, at, kgo.RecordPartitioner(broker.GivenPartitions()), kgo.ProducerLinger(20*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.side.Close)
	if b.fence, err = embedded.NewFence(c); err != nil {
		t.Fatal(err)
	}
	c.Control(b.meet)
	return b
}

// Config connects to the broker with a client id, by which Assign identifies the client.
func (b *Broker) Config(client string) broker.Config {
	return broker.Config{Brokers: b.ListenAddrs(), ClientID: client}
}

// Client returns the script's own client. It writes to the partitions set in records.
func (b *Broker) Client() *kgo.Client { return b.side }

// Write writes records in one call, so that a reader sees them together.
func (b *Broker) Write(records ...*kgo.Record) {
	b.t.Helper()
	if err := b.side.ProduceSync(b.t.Context(), records...).FirstErr(); err != nil {
		b.t.Fatalf("write: %v", err)
	}
}

// Held is a request that waits for the script, or that has not arrived yet.
type Held struct {
	b       *Broker
	match   Match
	keep    bool
	arrived chan kmsg.Request
	fate    chan fate
	decided fate // of a rule that stays in effect
	seen    kmsg.Request
}

// fate is how a request is handled.
type fate struct {
	do     bool        // the broker handles it
	answer *kerr.Error // replaces the broker's response
	cut    bool        // no response: the connection is closed
}

// Hold holds the next request that matches until the script decides its fate.
func (b *Broker) Hold(match Match) *Held {
	h := &Held{b: b, match: match, arrived: make(chan kmsg.Request, 1), fate: make(chan fate, 1)}
	b.add(h)
	return h
}

// Refuse answers the next request that matches with an error, without handling it.
func (b *Broker) Refuse(match Match, err *kerr.Error) *Held {
	h := b.Hold(match)
	h.decide(fate{answer: err})
	return h
}

// Cut closes the connection of each request that matches, without handling it, until Stop is
// called.
func (b *Broker) Cut(match Match) *Held {
	h := &Held{b: b, match: match, keep: true, arrived: make(chan kmsg.Request, 1), decided: fate{cut: true}}
	b.add(h)
	return h
}

func (b *Broker) add(h *Held) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = append(b.held, h)
}

// Await waits until the request has arrived, and returns it. The script may then check what is
// committed, move partitions, and so on, before it decides.
func (h *Held) Await() kmsg.Request {
	h.b.t.Helper()
	if h.seen != nil {
		return h.seen
	}
	select {
	case h.seen = <-h.arrived:
		return h.seen
	case <-time.After(Patience):
		h.b.t.Fatal("the request that the script waits for has not arrived")
		return nil
	}
}

// Pass lets the broker handle the request.
func (h *Held) Pass() { h.decide(fate{do: true}) }

// Answer answers the request with an error, without handling it.
func (h *Held) Answer(err *kerr.Error) { h.decide(fate{answer: err}) }

// HangUp closes the connection without handling the request.
func (h *Held) HangUp() { h.decide(fate{cut: true}) }

// DoAndAnswer handles an EndTxn, and answers it with an error nevertheless.
func (h *Held) DoAndAnswer(err *kerr.Error) { h.decide(fate{do: true, answer: err}) }

// DoAndHangUp handles an EndTxn, and closes the connection without a response.
func (h *Held) DoAndHangUp() { h.decide(fate{do: true, cut: true}) }

func (h *Held) decide(f fate) { h.fate <- f }

// Stop ends a Cut, or a Hold whose request has not arrived.
func (h *Held) Stop() {
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	h.b.forget(h)
}

func (b *Broker) forget(h *Held) {
	for i := range b.held {
		if b.held[i] == h {
			b.held = append(b.held[:i], b.held[i+1:]...)
			return
		}
	}
}

// take returns the Held that a request matches.
func (b *Broker) take(req kmsg.Request) *Held {
	b.mu.Lock()
	defer b.mu.Unlock()
	if end, ok := req.(*kmsg.EndTxnRequest); ok && b.passing[end.TransactionalID] > 0 {
		b.passing[end.TransactionalID]--
		return nil
	}
	for _, h := range b.held {
		if !h.match(b, req) {
			continue
		}
		if !h.keep {
			b.forget(h)
		}
		return h
	}
	return nil
}

var errHangUp = errors.New("the script hangs up")

// meet intercepts every request before the broker handles it.
func (b *Broker) meet(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	b.KeepControl()
	if resp := b.steer(req); resp != nil {
		return resp, nil, true
	}
	h := b.take(req)
	if h == nil {
		return b.fence.OnRequest(req)
	}
	select {
	case h.arrived <- req:
	default:
	}
	f := h.decided
	if !h.keep {
		b.SleepControl(func() {
			select {
			case f = <-h.fate:
			case <-b.ctx.Done():
				f = fate{cut: true}
			}
			if f.do && (f.cut || f.answer != nil) {
				b.do(req)
			}
		})
	}
	switch {
	case f.cut:
		return nil, errHangUp, true
	case f.answer != nil:
		return refusal(req, f.answer), nil, true
	}
	return b.fence.OnRequest(req)
}

// do executes an EndTxn whose response its client does not get.
func (b *Broker) do(req kmsg.Request) {
	end, ok := req.(*kmsg.EndTxnRequest)
	if !ok {
		b.t.Errorf("the answer to a %s can't be withheld", kmsg.NameForKey(req.Key()))
		return
	}
	b.mu.Lock()
	b.passing[end.TransactionalID]++
	b.mu.Unlock()
	again := *end
	resp, err := again.RequestWith(b.ctx, b.side)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		b.t.Errorf("end the transaction of %s: %v", end.TransactionalID, err)
	}
}

// RefuseWrite answers the next write to a topic with an error for that topic's partitions. The
// returned function waits until that has happened.
func (b *Broker) RefuseWrite(topic string, err *kerr.Error) (await func()) {
	h := b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: err})
	return func() {
		b.t.Helper()
		ctx, cancel := context.WithTimeout(b.ctx, Patience)
		defer cancel()
		if err := h.Wait(ctx, 1); err != nil {
			b.t.Fatalf("nothing is written to %s: %v", topic, err)
		}
	}
}
