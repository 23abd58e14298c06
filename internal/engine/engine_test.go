package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/txtest"
)

const counted = `
CREATE TABLE readings (device_id STRING, sensor STRING) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json',
  'scan.startup.mode' = 'earliest-offset');
CREATE TABLE counts (sensor STRING, n BIGINT, PRIMARY KEY (sensor) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts',
  'key.format' = 'raw', 'value.format' = 'json');
INSERT INTO counts SELECT sensor, COUNT(*) FROM readings GROUP BY sensor;`

// cluster starts a broker in memory with n readings of two sensors on two partitions.
func cluster(t *testing.T, n int) broker.Config {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "readings"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	at := broker.Config{Brokers: c.ListenAddrs()}
	send(t, at, n)
	return at
}

func send(t *testing.T, at broker.Config, n int) {
	t.Helper()
	client, err := broker.Connect(t.Context(), at, kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range n {
		r := &kgo.Record{Topic: "readings", Partition: int32(i % 2), Value: fmt.Appendf(nil, `{"device_id":"d%d","sensor":"s%d"}`, i, i/2%2)}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func run(t *testing.T, at broker.Config, sql string) (Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := Run(ctx, countedConfig(t, at, sql))
	if ctx.Err() != nil {
		t.Fatal("it did not stop at the end")
	}
	return r, err
}

func countedConfig(t *testing.T, at broker.Config, sql string) Config {
	t.Helper()
	p, err := plan.Compile(sql, "counted")
	if err != nil {
		t.Fatal(err)
	}
	return Config{Broker: at, Program: p, Instances: []string{"a", "b"}, UntilEnd: true, CommitInterval: 20 * time.Millisecond}
}

// counts returns the last value of each key of a compacted topic.
func counts(t *testing.T, at broker.Config, topic string) map[string]string {
	t.Helper()
	last := make(map[string]string)
	err := broker.ReadAll(t.Context(), at, topic, nil, func(r *kgo.Record) error {
		last[string(r.Key)] = string(r.Value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// UntilEnd stops when everything is processed, including topics between stages, and the next run
// continues.
func TestUntilEnd(t *testing.T) {
	at := cluster(t, 40)
	for round := 1; round <= 2; round++ {
		r, err := run(t, at, counted)
		if err != nil || r.Records != 40 {
			t.Fatalf("round %d: %+v, %v", round, r, err)
		}
		got := counts(t, at, "counts")
		want := fmt.Sprintf(`"n":%d}`, 20*round)
		if len(got) != 2 || !strings.HasSuffix(got["s0"], want) || !strings.HasSuffix(got["s1"], want) {
			t.Errorf("round %d: %v, want %s for each", round, got, want)
		}
		send(t, at, 40)
	}
	latest := strings.ReplaceAll(strings.ReplaceAll(counted, "earliest-offset", "latest-offset"), "'counts'", "'latest'")
	if r, err := run(t, at, "SET 'pipeline.name' = 'latest';"+latest); err != nil || r.Records != 0 {
		t.Errorf("from the end on: %+v, %v", r, err)
	}
}

// A killed process may have left a transaction open between stages. UntilEnd also waits for the
// rows after it.
func TestUntilEndBeyondAnOpenTransaction(t *testing.T) {
	b := txtest.New(t, kfake.SeedTopics(2, "readings"))
	at := b.Config("counted")
	send(t, at, 40)
	if _, err := run(t, at, counted); err != nil {
		t.Fatal(err)
	}
	dead, err := broker.Connect(t.Context(), at, kgo.TransactionalID("dead"), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	if err := dead.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for p := range int32(2) {
		if err := dead.ProduceSync(t.Context(), &kgo.Record{Topic: "counted.repartition1", Partition: p, Value: []byte("half a row")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	send(t, at, 40)
	ended := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() {
		_, err := Run(t.Context(), countedConfig(t, at, counted))
		ended <- err
	})
	t.Cleanup(running.Wait)
	b.AwaitGroup("weir-counted", func(g *kfake.GroupInfo) bool {
		read := int64(0)
		for _, o := range g.Commits["readings"] {
			read += o.Offset
		}
		return read >= 80
	})
	for range 3 { // it keeps checking whether the topic between the stages is committed as well
		check := b.Hold(func(_ *txtest.Broker, req kmsg.Request) bool {
			_, ok := req.(*kmsg.OffsetFetchRequest)
			return ok
		})
		check.Await()
		check.Pass()
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended before the open transaction: %v", err)
	default:
	}
	if err := dead.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(txtest.Patience):
		t.Fatal("it does not stop at the end")
	}
	got := counts(t, at, "counts")
	if !strings.HasSuffix(got["s0"], `"n":40}`) || !strings.HasSuffix(got["s1"], `"n":40}`) {
		t.Errorf("%v, expected n 40 for each", got)
	}
}

// Outputs are rows of the written table: neither rows on their way between stages, one per record
// here, nor state.
func TestOutputsAreResults(t *testing.T) {
	at := cluster(t, 40)
	r, err := run(t, at, counted)
	if err != nil {
		t.Fatal(err)
	}
	written := int64(0)
	if err := broker.ReadAll(t.Context(), at, "counts", nil, func(*kgo.Record) error { written++; return nil }); err != nil {
		t.Fatal(err)
	}
	if r.Outputs != written || written == 0 {
		t.Errorf("outputs %d, the topic has %d records", r.Outputs, written)
	}
}

// A pipeline refuses a group that another program has used: its state would lack what that program
// has read.
func TestForeignGroup(t *testing.T) {
	at := cluster(t, 4)
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var offsets kadm.Offsets
	offsets.AddOffset("readings", 1, 2, -1)
	if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), "weir-counted", offsets); err != nil {
		t.Fatal(err)
	}
	_, err = run(t, at, counted)
	for _, want := range []string{"group weir-counted has read topic readings (partition 1 up to offset 2)", "counted.plan", "pipeline.name"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	if r, err := run(t, at, strings.ReplaceAll(counted, "earliest-offset", "group-offsets")); err != nil || r.Records != 2 {
		t.Errorf("where the group's offsets are asked for: %+v, %v", r, err)
	}
}
