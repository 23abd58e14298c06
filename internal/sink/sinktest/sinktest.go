// Package sinktest helps to test sinks: a broker with the topic of a table, rows in it, and their
// delivery.
package sinktest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
)

// Cluster starts a broker with the topic of table t and the one of dead letters.
func Cluster(t *testing.T, partitions int32) broker.Config {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "100", "group.initial.rebalance.delay.ms": "0"}), kfake.SeedTopics(partitions, "test.t.out"), kfake.SeedTopics(1, "test.dlq"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return broker.Config{Brokers: c.ListenAddrs()}
}

// Embedded starts the embedded broker with these topics. Tests that kill members of groups need it:
// a group of kfake alone may wait for a dead member until a rebalance times out.
func Embedded(t *testing.T, partitions int32) broker.Config {
	t.Helper()
	dir := t.TempDir()
	b, err := embedded.Open(embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	at := broker.Config{Brokers: []string{b.Addr()}, DataDir: dir}
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Name: "group.min.session.timeout.ms", Value: kadm.StringPtr("100")}}); err != nil {
		t.Fatal(err)
	}
	if err := broker.EnsureTopics(t.Context(), admin, []broker.Topic{{Name: "test.t.out", Partitions: partitions}, {Name: "test.dlq", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	return at
}

// Pipeline plans a pipeline that writes the table t with these columns and options. With a primary
// key, rows can be updated and deleted.
func Pipeline(t *testing.T, columns, key, with string) (*plan.Program, *plan.Table) {
	t.Helper()
	from := "'connector' = 'kafka', 'topic' = 'r', 'format' = 'json'"
	if key != "" {
		columns += ", PRIMARY KEY (" + key + ") NOT ENFORCED"
		from = "'connector' = 'upsert-kafka', 'topic' = 'r', 'key.format' = 'json', 'value.format' = 'json'"
	}
	p, err := plan.Compile(fmt.Sprintf("CREATE TABLE t (%s) WITH (%s);\nCREATE TABLE r WITH (%s) LIKE t (EXCLUDING OPTIONS);\nINSERT INTO t SELECT * FROM r", columns, with, from), "test")
	if err != nil {
		t.Fatal(err)
	}
	return p, p.Deliveries()[0]
}

// Write commits records to the topic of table t in one transaction.
func Write(t *testing.T, at broker.Config, records ...*kgo.Record) {
	t.Helper()
	client, err := broker.Connect(t.Context(), at, kgo.TransactionalID("writer"), kgo.DefaultProduceTopic("test.t.out"), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := broker.Commit(t.Context(), client); err != nil {
		t.Fatal(err)
	}
}

// Record returns a record of the topic; an empty value is a deletion.
func Record(partition int32, key, value string) *kgo.Record {
	r := &kgo.Record{Partition: partition, Value: []byte(value)}
	if key != "" {
		r.Key = []byte(key)
	}
	if value == "" {
		r.Value = nil
	}
	return r
}

// Config returns the configuration of the sink of a table.
func Config(at broker.Config, p *plan.Program, t *plan.Table, target sink.Target) sink.Config {
	return sink.Config{Broker: at, Pipeline: p.Name, Table: t, DeadLetters: "test.dlq", Target: target, Status: sink.NewStatus(p.Name, t)}
}

// Deliver runs the sink until everything in the topic is delivered, and returns its state at the
// end.
func Deliver(t *testing.T, c sink.Config) sink.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { sink.Run(running, c) })
	err := sink.AwaitDelivered(ctx, c)
	at := c.Status.Snapshot()
	stop()
	done.Wait()
	if err != nil {
		t.Fatalf("%v; the sink is %s: %s", err, at.Phase, at.LastError)
	}
	return at
}

// Letters returns the values of the dead letters.
func Letters(t *testing.T, at broker.Config) (all []string) {
	t.Helper()
	err := broker.ReadAll(t.Context(), at, "test.dlq", nil, func(r *kgo.Record) error {
		reason := ""
		for _, h := range r.Headers {
			if h.Key == "weir-dlq-reason" {
				reason = string(h.Value)
			}
		}
		all = append(all, string(r.Value)+" "+reason)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Batch is a batch of one row without a key, of a partition and from an offset.
func Batch(partition int32, from int64, v int64) *sink.Batch {
	b := &sink.Batch{
		Rows: column.NewBatch([]column.Type{column.Of(column.String), column.Of(column.BigInt)}), Deleted: column.NewBatch(nil),
		Origins: []*kgo.Record{{}}, From: map[int32]int64{partition: from}, Next: map[int32]int64{partition: from + 1},
	}
	b.Rows.N = 1
	b.Rows.Cols[0].AddText("k")
	b.Rows.Cols[1].AddInt(v)
	return b
}
