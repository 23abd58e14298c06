package engine

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/syncbuf"
)

// A pipeline that waits for a transaction which was committed on one partition only says so, in its
// log and its status, and goes on once the missing marker is written. Its own transactions are not
// mistaken for hanging ones, although the coordinator of this broker lists none.
func TestNamesHangingTransaction(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "readings"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.ControlKey(int16(kmsg.ListTransactions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return req.ResponseKind(), nil, true
	})
	at := broker.Config{Brokers: c.ListenAddrs()}
	producer, err := broker.Connect(t.Context(), at, kgo.TransactionalID("x"), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	if err := producer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for p := range int32(2) {
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "readings", Partition: p, Value: []byte(`{"device_id":"d","sensor":"s"}`)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	id, epoch, err := producer.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set := make(kadm.TopicsSet)
	set.Add("readings", 1)
	admin := kadm.NewClient(producer)
	if _, err := admin.WriteTxnMarkers(t.Context(), kadm.TxnMarkers{ProducerID: id, ProducerEpoch: epoch + 1, Commit: true, Topics: set}); err != nil {
		t.Fatal(err)
	}
	program, err := plan.Compile(counted, "counted")
	if err != nil {
		t.Fatal(err)
	}
	var log syncbuf.Buffer
	status := NewStatus(program)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := Run(ctx, Config{
			Broker: at, Program: program, Instances: []string{"a"}, CommitInterval: 20 * time.Millisecond, TransactionTimeout: 500 * time.Millisecond,
			Status: status, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		ended <- err
	}()
	awaitStatus(t, status, "the hanging transaction", func(s Snapshot) bool { return len(s.Hanging) > 0 })
	got := status.Snapshot().Hanging
	if len(got) != 1 || got[0].ProducerID != id || got[0].Evidence.Outcome != broker.Committed {
		t.Errorf("hanging are %+v", got)
	}
	for _, want := range []string{"a hanging transaction blocks the pipeline", "readings-0 from offset 0", "COMMIT marker in readings-1", "weir transactions commit --producer-id"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is missing in the log:\n%s", want, log.String())
		}
	}
	read := func(s Snapshot) (n int64) {
		for _, task := range s.Tasks {
			for _, in := range task.Inputs {
				if in.Topic == "readings" {
					n += in.Records
				}
			}
		}
		return n
	}
	if n := read(status.Snapshot()); n != 1 {
		t.Errorf("%d records were read before the end of the transaction", n)
	}
	if _, err := broker.CommitHanging(t.Context(), producer, broker.HangingID{ProducerID: id, Epoch: -1}); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, status, "the other record", func(s Snapshot) bool { return read(s) == 2 && len(s.Hanging) == 0 })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// awaitStatus waits until the status is as expected.
func awaitStatus(t *testing.T, status *Status, what string, is func(Snapshot) bool) {
	t.Helper()
	eventually(t, what, func() bool { return is(status.Snapshot()) })
}

// A session whose own earlier transaction hangs where it would write does not write: the marker of
// its next transaction would end both, and an abort would hide what was committed. It waits until
// somebody has finished that transaction.
func TestDoesNotWriteIntoHangingTransaction(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "readings"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	at := broker.Config{Brokers: c.ListenAddrs()}
	var id atomic.Int64 // of the pipeline's producer
	var finished atomic.Bool
	c.ControlKey(int16(kmsg.DescribeProducers), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if finished.Load() {
			return nil, nil, false
		}
		req := kreq.(*kmsg.DescribeProducersRequest)
		resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
		for _, of := range req.Topics {
			topic := kmsg.NewDescribeProducersResponseTopic()
			topic.Topic = of.Topic
			for _, p := range of.Partitions {
				partition := kmsg.NewDescribeProducersResponseTopicPartition()
				partition.Partition = p
				if of.Topic == "counted.repartition1" && id.Load() != 0 {
					active := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
					active.ProducerID, active.CurrentTxnStartOffset = id.Load(), 7
					partition.ActiveProducers = append(partition.ActiveProducers, active)
				}
				topic.Partitions = append(topic.Partitions, partition)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil, true
	})
	program, err := plan.Compile(counted, "counted")
	if err != nil {
		t.Fatal(err)
	}
	producer, err := broker.Connect(t.Context(), at, kgo.TransactionalID("weir-"+Group(program)+"/a"))
	if err != nil {
		t.Fatal(err)
	}
	of, _, err := producer.ProducerID(t.Context())
	producer.Close()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plain.Close)
	if err := plain.ProduceSync(t.Context(), &kgo.Record{Topic: "readings", Value: []byte(`{"device_id":"d","sensor":"s"}`)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	status := NewStatus(program)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	id.Store(of)
	c.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if !finished.Load() {
			t.Error("a transaction ended before the hanging one was finished")
		}
		return nil, nil, false
	})
	go func() {
		_, err := Run(ctx, Config{Broker: at, Program: program, Instances: []string{"a"}, CommitInterval: 20 * time.Millisecond, Status: status})
		ended <- err
	}()
	awaitStatus(t, status, "the refusal", func(s Snapshot) bool {
		return len(s.Workers) == 1 && s.Workers[0].Phase == Retrying && strings.Contains(s.Workers[0].Reason, "hangs on counted.repartition1-0 from offset 7")
	})
	finished.Store(true)
	awaitStatus(t, status, "commits", func(s Snapshot) bool { return len(s.Workers) == 1 && s.Workers[0].Committed > 0 })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
