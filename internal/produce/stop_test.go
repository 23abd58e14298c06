package produce_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/interrupt"
	"weir.example/weir/internal/produce"
)

// outcome is a line of the acknowledgement log.
type outcome struct {
	Outcome, Device, Boot string
	From, To              int64
}

// acknowledged returns how often each sequence number was acknowledged.
func acknowledged(t *testing.T, path string) map[int64]int {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := make(map[int64]int)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var o outcome
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil || o.Outcome != "acked" {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		for seq := o.From; seq <= o.To; seq++ {
			seen[seq]++
		}
	}
	return seen
}

// within panics with the stacks of all goroutines unless done is called before the limit.
func within(t *testing.T, limit time.Duration, what string) (done func()) {
	timer := time.AfterFunc(limit, func() {
		var stacks strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 2) // to memory
		panic(what + " takes longer than " + limit.String() + "\n" + stacks.String())
	})
	return func() { timer.Stop() }
}

// A producer that is stopped at any request, even if its connection then breaks, returns in time,
// leaves no transaction open, and has committed exactly once what it acknowledged.
func TestStopLeavesNothingOpen(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 8
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	b := interrupt.New(t, kfake.SeedTopics(4, "readings", "dlq"), kfake.SeedTopics(1, "progress"))
	b.CountAll()
	ackLog := filepath.Join(t.TempDir(), "acks.jsonl")
	src := &sized{total: 1_000_000, large: 8}
	transactions := int64(0)
	for round := range rounds {
		ctx, stop := context.WithCancel(t.Context())
		n, cut := 1+rng.IntN(80), rng.IntN(5)
		b.After(n, func() {
			b.Cut(cut)
			stop()
		})
		done := within(t, time.Minute, "the stop")
		r, err := produce.Run(ctx, produce.Config{
			Broker: b.Config(), Topic: "readings", DLQ: "dlq", Progress: "progress", AckLog: ackLog, MarkTransactions: rng.IntN(2) == 0,
			CommitInterval: 3 * time.Millisecond, MaxRecords: 300,
			Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		}, &sized{total: src.total, large: src.large})
		done()
		stop()
		b.Cut(0)
		if err != nil {
			t.Fatalf("round %d, stopped at request %d, %d cut: %v", round, n, cut, err)
		}
		if open := b.Open(t); len(open) > 0 {
			t.Fatalf("round %d, stopped at request %d, %d cut: %d transactions are open after the stop, the first %+v", round, n, cut, len(open), open[0])
		}
		transactions += r.Transactions
	}
	if transactions == 0 {
		t.Fatal("no transaction was committed: the test has tested nothing")
	}
	committed := make(map[int64]int)
	if err := broker.ReadAll(t.Context(), b.Config(), "readings", nil, func(r *kgo.Record) error {
		var read struct {
			Seq int64 `json:"seq"`
		}
		if err := json.Unmarshal(r.Value, &read); err != nil {
			return err
		}
		committed[read.Seq]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for seq, n := range committed {
		if n != 1 {
			t.Errorf("reading %d is committed %d times", seq, n)
		}
	}
	for seq := range int64(len(committed)) {
		if committed[seq] == 0 {
			t.Errorf("reading %d is missing, but later ones are committed", seq)
		}
	}
	for seq, n := range acknowledged(t, ackLog) {
		if n != 1 || committed[seq] != 1 {
			t.Errorf("reading %d is acknowledged %d times and committed %d times", seq, n, committed[seq])
		}
	}
}
