package deadletter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/interrupt"
)

// interrupted starts a broker with dead letters of n records in two partitions.
func interrupted(t *testing.T, n int) *interrupt.Broker {
	t.Helper()
	b := interrupt.New(t, kfake.SeedTopics(2, "in", "dlq"), kfake.SeedTopics(1, "progress"))
	fill(t, b.Config(), n)
	return b
}

// A replay that is stopped at any request of its transactions leaves none of them open. Later
// replays complete it, and each dead letter is replayed once.
func TestStoppedReplayLeavesNothingOpen(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	const letters = 2_000
	b := interrupted(t, letters)
	cfg := ReplayConfig{Topics: topics, BatchSize: 20}
	stops := 0
	for round := range 30 {
		ctx, stop := context.WithCancel(t.Context())
		n := 1 + rng.IntN(12)
		b.After(n, stop)
		_, err := Replay(ctx, b.Config(), cfg)
		if err != nil {
			stops++
		}
		stop()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("round %d, stopped at request %d: %v", round, n, err)
		}
		if open := b.Open(t); len(open) > 0 {
			t.Fatalf("round %d, stopped at request %d: %d transactions are open after the stop, the first %+v", round, n, len(open), open[0])
		}
	}
	if stops == 0 {
		t.Error("no replay was stopped: the test has tested nothing")
	}
	if _, err := Replay(t.Context(), b.Config(), cfg); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := broker.ReadAll(t.Context(), b.Config(), "in", nil, func(r *kgo.Record) error {
		got = append(got, string(r.Value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range letters {
		want = append(want, fmt.Sprint("value ", i))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d records were replayed, want each of %d dead letters once", len(got), letters)
	}
}

// A replay that cannot end its transaction because the broker does not answer returns in time, with
// an error that names the transaction.
func TestStoppedReplayWithSilentBroker(t *testing.T) {
	b := interrupted(t, 200)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	b.After(6, func() {
		b.Silence()
		stop()
	})
	began := time.Now()
	_, err := Replay(ctx, b.Config(), ReplayConfig{Topics: topics, BatchSize: 20, StopTimeout: 500 * time.Millisecond})
	var open *broker.LeftOpenError
	if !errors.As(err, &open) || open.TransactionalID != "weir-replay-dlq" {
		t.Errorf("error %v, want one that names the transaction", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}
