package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/interrupt"
)

// writer is a client of transactional id "x" with an open transaction over all partitions of topic
// "rows".
func writer(t *testing.T, at broker.Config, value string) (*kgo.Client, broker.Begun) {
	t.Helper()
	client, err := broker.Connect(t.Context(), at, kgo.TransactionalID("x"), kgo.TransactionTimeout(time.Minute), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	begun, err := broker.BegunBy(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for p := range int32(3) {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "rows", Partition: p, Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return client, begun
}

// values counts what readers see in topic "rows".
func values(t *testing.T, at broker.Config) map[string]int {
	t.Helper()
	seen := make(map[string]int)
	if err := broker.ReadAll(t.Context(), at, "rows", nil, func(r *kgo.Record) error {
		seen[string(r.Value)]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return seen
}

// EndOpen ends a session's open transaction, even if its commit has arrived or connections break.
func TestEndOpen(t *testing.T) {
	for _, c := range []struct {
		name      string
		committed bool
		cut       int // requests
	}{{"open", false, 0}, {"committed", true, 0}, {"cut", false, 5}} {
		t.Run(c.name, func(t *testing.T) {
			b := interrupt.New(t, kfake.SeedTopics(3, "rows"))
			client, begun := writer(t, b.Config(), "old")
			if c.committed {
				if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
					t.Fatal(err)
				}
			}
			b.CountAll()
			b.Cut(c.cut)
			if err := broker.EndOpen(t.Context(), b.Config(), begun, errors.New("a cause")); err != nil {
				t.Fatal(err)
			}
			if open := b.Open(t); len(open) > 0 {
				t.Errorf("open: %+v", open)
			}
			if seen := values(t, b.Config()); (seen["old"] == 3) != c.committed || len(seen) > 1 {
				t.Errorf("readers see %v", seen)
			}
			if err := client.EndTransaction(t.Context(), kgo.TryCommit); err == nil && !c.committed {
				t.Error("the session committed an aborted transaction")
			}
		})
	}
}

// Ending a session's open transaction does not fence the newer session of the same transactional
// id.
func TestEndOpenSparesNewerSession(t *testing.T) {
	b := interrupt.New(t, kfake.SeedTopics(3, "rows"))
	_, begun := writer(t, b.Config(), "old")
	newer, _ := writer(t, b.Config(), "new")
	if err := broker.EndOpen(t.Context(), b.Config(), begun, errors.New("a cause")); err != nil {
		t.Error(err)
	}
	if err := newer.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Errorf("commit of the newer session: %v", err)
	}
	if seen := values(t, b.Config()); seen["new"] != 3 || len(seen) != 1 {
		t.Errorf("readers see %v, expected the newer session's rows", seen)
	}
	if open := b.Open(t); len(open) > 0 {
		t.Errorf("open: %+v", open)
	}
}
