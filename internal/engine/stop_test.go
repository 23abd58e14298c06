package engine

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/interrupt"
	"weir.example/weir/internal/plan"
)

// A pipeline that is stopped at any request of its transactions, over a backlog, leaves none of
// them open.
func TestStopLeavesNothingOpen(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	i := interrupt.New(t, kfake.SeedTopics(2, "readings"))
	fill(t, i.Config(), 40_000)
	program, err := plan.Compile(counted, "counted")
	if err != nil {
		t.Fatal(err)
	}
	transactions := int64(0)
	for round := range rounds {
		ctx, stop := context.WithCancel(t.Context())
		n := 1 + rng.IntN(60)
		i.After(n, stop)
		r, err := Run(ctx, Config{
			Broker: i.Config(), Program: program, Instances: []string{"a", "b"}[:1+rng.IntN(2)], CommitInterval: 5 * time.Millisecond, MaxRecords: 50,
			Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		})
		stop()
		if err != nil {
			t.Fatalf("round %d, stopped at request %d: %v", round, n, err)
		}
		if open := i.Open(t); len(open) > 0 {
			t.Fatalf("round %d, stopped at request %d: %d transactions are open after the stop, the first %+v", round, n, len(open), open[0])
		}
		transactions += r.Transactions
	}
	if transactions == 0 {
		t.Error("no transaction was committed: the test tested nothing")
	}
}

// fill sends readings to both partitions.
func fill(t *testing.T, at broker.Config, n int) {
	t.Helper()
	client, err := broker.Connect(t.Context(), at, kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for k := range n {
		client.Produce(t.Context(), &kgo.Record{Topic: "readings", Partition: int32(k % 2), Value: []byte(`{"device_id":"d","sensor":"s"}`)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A stop that can't end its transaction because the broker is silent names the transaction in time.
func TestStopBesideSilentBroker(t *testing.T) {
	i := interrupt.New(t, kfake.SeedTopics(2, "readings"))
	fill(t, i.Config(), 5_000)
	program, err := plan.Compile(counted, "counted")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	i.After(20, func() {
		i.Silence()
		stop()
	})
	const limit = 500 * time.Millisecond
	began := time.Now()
	_, err = Run(ctx, Config{Broker: i.Config(), Program: program, Instances: []string{"a"}, CommitInterval: 5 * time.Millisecond, MaxRecords: 50, StopTimeout: limit})
	var open *broker.LeftOpenError
	if !errors.As(err, &open) || open.TransactionalID != "weir-weir-counted/a" {
		t.Errorf("error %v, want one that names the transaction", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A finished run waits until readers see its rows, even if an open transaction of another producer
// precedes them.
func TestEndWaitsUntilRowsAreVisible(t *testing.T) {
	i := interrupt.New(t, kfake.SeedTopics(2, "readings"))
	at := i.Config()
	fill(t, at, 100)
	if err := i.CreateTopic("counts", 2, nil); err != nil {
		t.Fatal(err)
	}
	other, err := broker.Connect(t.Context(), at, kgo.TransactionalID("other"), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := other.ProduceSync(t.Context(), &kgo.Record{Topic: "counts", Key: []byte("x"), Value: []byte("{}")},
		&kgo.Record{Topic: "counts", Partition: 1, Key: []byte("y"), Value: []byte("{}")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	program, err := plan.Compile(counted, "counted")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Broker: at, Program: program, Instances: []string{"a"}, UntilEnd: true, CommitInterval: 5 * time.Millisecond, StopTimeout: 3 * time.Second}
	_, err = Run(t.Context(), cfg)
	var hidden *broker.NotVisibleError
	if !errors.As(err, &hidden) || len(hidden.Partitions) == 0 || hidden.Partitions[0].Topic != "counts" {
		t.Fatalf("error %v, want one that says which rows can't be seen", err)
	}
	fill(t, at, 100)
	i.After(5, func() {
		go func() { // while it runs
			if err := other.EndTransaction(context.WithoutCancel(t.Context()), kgo.TryCommit); err != nil {
				t.Error(err)
			}
		}()
	})
	cfg.StopTimeout = 0
	if _, err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if got := visible(t, at, "counts"); !slices.Contains(got, `{"sensor":"s","n":200}`) {
		t.Errorf("a reader right after the end sees %q", got)
	}
}

// visible returns the values that a read_committed reader sees now.
func visible(t *testing.T, at broker.Config, topic string) (values []string) {
	t.Helper()
	client, err := broker.Connect(t.Context(), at, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	stable, err := kadm.NewClient(client).ListCommittedOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	left := make(map[int32]int64)
	stable.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				values = append(values, string(r.Value))
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return values
}
