package engine

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/syncbuf"
	"weir.example/weir/internal/txtest"
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
	at := broker.Config{Brokers: c.ListenAddrs()}
	producer, id, _ := txtest.Hang(t, c, "readings", []byte(`{"device_id":"d","sensor":"s"}`))
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
		if finished.Load() || id.Load() == 0 {
			return nil, nil, false
		}
		return txtest.OpenSince(kreq.(*kmsg.DescribeProducersRequest), id.Load(), "counted.repartition1", 0, 7), nil, true
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
