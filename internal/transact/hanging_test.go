package transact

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/txtest"
)

// lossy is a session of which the broker can lose a marker in out-1.
type lossy struct {
	*Sessions
	t *testing.T
	b *txtest.Broker
	g *Group

	id    int64        // of the producer
	since atomic.Int64 // offset from which the producer's records in out-1 are open
}

const nothingLost = -2

func newLossy(t *testing.T) *lossy {
	t.Helper()
	b := txtest.New(t, kfake.SeedTopics(2, "in", "out"))
	l := &lossy{Sessions: newSessions(t.Context()), t: t, b: b}
	l.Broker = b.Config("a")
	l.since.Store(nothingLost)
	b.ControlKey(kmsg.DescribeProducers.Int16(), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		b.KeepControl()
		since := l.since.Load()
		if since == nothingLost {
			return nil, nil, false
		}
		return txtest.OpenSince(kreq.(*kmsg.DescribeProducersRequest), l.id, "out", 1, since), nil, true
	})
	var err error
	if l.g, err = openGroup(t, b, l.Sessions, kgo.RecordPartitioner(broker.GivenPartitions()), kgo.FetchMaxWait(10*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.g.Close)
	if l.id, _, err = l.g.Client.ProducerID(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lossy) begin() error { return errors.Join(l.g.Begin(), l.Begun(l.t.Context(), l.g.Client)) }

// write begins a transaction with a record in each partition, and returns the offset in out-1.
func (l *lossy) write() int64 {
	l.t.Helper()
	if err := l.begin(); err != nil {
		l.t.Fatal(err)
	}
	results := l.g.Client.ProduceSync(l.t.Context(), &kgo.Record{Topic: "out"}, &kgo.Record{Topic: "out", Partition: 1})
	for _, r := range results {
		if r.Err != nil {
			l.t.Fatal(r.Err)
		}
		if r.Record.Partition == 1 {
			return r.Record.Offset
		}
	}
	l.t.Fatal("no record in partition 1")
	return 0
}

// first ends a transaction, whose marker is lost in out-1.
func (l *lossy) first(try kgo.TransactionEndTry) {
	l.t.Helper()
	offset := l.write()
	if committed, err := l.g.End(l.t.Context(), try); err != nil || committed != bool(try) {
		l.t.Fatalf("the first transaction: committed %t, %v", committed, err)
	}
	l.since.Store(offset)
}

// disconnect breaks a connection of the client.
func (l *lossy) disconnect() {
	l.t.Helper()
	before := l.hanging.breaks.Count()
	cut := l.b.Cut(func(_ *txtest.Broker, req kmsg.Request) bool { return req.Key() == kmsg.DescribeCluster.Int16() })
	defer cut.Stop()
	ctx, cancel := context.WithTimeout(l.t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(ctx, l.g.Client); err == nil {
		l.t.Fatal("the broker has answered")
	}
	if l.hanging.breaks.Count() == before {
		l.t.Fatal("the end of a connection has not been noticed")
	}
}

// A transaction does not begin where the one before hangs. That is looked for after a connection
// has ended, and only then.
func TestHangsBetweenTransactions(t *testing.T) {
	l := newLossy(t)
	l.first(kgo.TryCommit)
	if err := l.begin(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.g.End(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	l.disconnect()
	var open *broker.StillOpenError
	if err := l.begin(); !errors.As(err, &open) || len(open.Partitions) != 1 || open.Partitions[0].Partition != 1 {
		t.Errorf("begin: %v", err)
	}
	if _, err := l.g.End(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	l.since.Store(nothingLost)
	l.write()
	if committed, err := l.g.End(t.Context(), kgo.TryCommit); err != nil || !committed {
		t.Errorf("committed %t, %v", committed, err)
	}
}

// A transaction that has become a part of the one before ends as that one did, or with an error
// that no new session would help against.
func TestHangsUnderTransaction(t *testing.T) {
	for _, tt := range []struct {
		name       string
		first, try kgo.TransactionEndTry
		committed  bool
		refused    bool
	}{
		{"both are committed", kgo.TryCommit, kgo.TryCommit, true, false},
		{"both are aborted", kgo.TryAbort, kgo.TryAbort, false, false},
		{"a commit after an abort", kgo.TryAbort, kgo.TryCommit, false, false},
		{"an abort after a commit", kgo.TryCommit, kgo.TryAbort, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLossy(t)
			l.first(tt.first)
			l.write()
			l.disconnect()
			committed, err := l.g.End(t.Context(), tt.try)
			var mixed *broker.MixedError
			if committed != tt.committed || errors.As(err, &mixed) != tt.refused || (err != nil) != tt.refused {
				t.Fatalf("committed %t, %v", committed, err)
			}
			if !tt.refused {
				return
			}
			if !l.permanent(err) || len(mixed.Partitions) != 1 || mixed.Partitions[0].Topic != "out" || mixed.Partitions[0].Partition != 1 {
				t.Errorf("permanent %t, %v", l.permanent(err), mixed)
			}
		})
	}
}

// The transaction that hangs need not be the one before: that one may have written nothing. Its end
// then does not tell which end would be right, and nobody is left without an error.
func TestHangsBeforeAnEmptyTransaction(t *testing.T) {
	for _, try := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		l := newLossy(t)
		l.first(kgo.TryCommit)
		if err := l.begin(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.g.End(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		l.write()
		l.disconnect()
		committed, err := l.g.End(t.Context(), try)
		var mixed *broker.MixedError
		if !errors.As(err, &mixed) || committed {
			t.Errorf("commit %t: committed %t, %v", try, committed, err)
		}
	}
}

// The transaction that a process has left open is not aborted if it has become a part of the one
// before.
func TestHangsUnderOpenTransaction(t *testing.T) {
	l := newLossy(t)
	l.first(kgo.TryCommit)
	l.write()
	_, err := openGroup(t, l.b, l.Sessions)
	var mixed *broker.MixedError
	if !errors.As(err, &mixed) {
		t.Fatalf("acquired: %v", err)
	}
	if err := l.g.Client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if rows := l.b.Committed("out"); len(rows[0]) != 2 || len(rows[1]) != 2 {
		t.Errorf("%d and %d records are committed, expected 2 and 2", len(rows[0]), len(rows[1]))
	}
}

// A new cluster has no coordinator until the first client has asked for it, and elects one then.
func TestAcquireWaitsForTheCoordinator(t *testing.T) {
	const refusals = 10
	b := txtest.New(t, kfake.SeedTopics(1, "in", "out"))
	var asked atomic.Int32
	b.ControlKey(kmsg.FindCoordinator.Int16(), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		b.KeepControl()
		req := kreq.(*kmsg.FindCoordinatorRequest)
		if req.CoordinatorType != 1 || asked.Add(1) > refusals {
			return nil, nil, false
		}
		resp := kreq.ResponseKind().(*kmsg.FindCoordinatorResponse)
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.ErrorCode = "tx", kerr.CoordinatorNotAvailable.Code
		resp.Coordinators = append(resp.Coordinators, c)
		return resp, nil, true
	})
	s := newSessions(t.Context())
	s.Broker = b.Config("a")
	g, err := openGroup(t, b, s)
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
	if n := asked.Load(); n <= refusals {
		t.Errorf("asked %d times", n)
	}
}
