package broker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
)

// hanging is a broker whose coordinator has forgotten a transaction over the partitions of t, and
// later ones of the same producer.
type hanging struct {
	t       *testing.T
	at      broker.Config
	watcher *kgo.Client
	client  *kgo.Client
	id      int64
	epoch   int16
}

func newHanging(t *testing.T, opts ...kfake.Opt) *hanging {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(3, "t"), kfake.SeedTopics(2, "other")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	h := &hanging{t: t, at: broker.Config{Brokers: c.ListenAddrs()}}
	h.watcher = connect(t, h.at)
	h.client = connect(t, h.at, kgo.TransactionalID("x"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	c.ControlKey(int16(kmsg.ListTransactions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return req.ResponseKind(), nil, true
	})
	return h
}

// begin writes a record to each partition of t and remembers the transaction.
func (h *hanging) begin(partitions ...int32) {
	h.t.Helper()
	if err := h.client.BeginTransaction(); err != nil {
		h.t.Fatal(err)
	}
	for _, p := range partitions {
		if err := h.client.ProduceSync(h.t.Context(), &kgo.Record{Topic: "t", Partition: p, Value: []byte("v")}).FirstErr(); err != nil {
			h.t.Fatal(err)
		}
	}
	var err error
	if h.id, h.epoch, err = h.client.ProducerID(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// mark writes a marker as a coordinator does.
func (h *hanging) mark(partition int32, epoch int16, commit bool) {
	h.t.Helper()
	set := make(kadm.TopicsSet)
	set.Add("t", partition)
	written, err := kadm.NewClient(h.watcher).WriteTxnMarkers(h.t.Context(), kadm.TxnMarkers{ProducerID: h.id, ProducerEpoch: epoch, Commit: commit, CoordinatorEpoch: 7, Topics: set})
	if err != nil {
		h.t.Fatal(err)
	}
	written.EachPartition(func(r kadm.TxnMarkersPartitionResponse) {
		if r.Err != nil {
			h.t.Fatal(r.Err)
		}
	})
}

func (h *hanging) only() broker.HangingID {
	return broker.HangingID{ProducerID: h.id, Epoch: -1}
}

// open returns the partitions with open records.
func (h *hanging) open() (partitions []int32) {
	h.t.Helper()
	listed, err := broker.ListTransactions(h.t.Context(), h.watcher, time.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, t := range listed.Hanging() {
		for _, p := range t.Partitions {
			partitions = append(partitions, p.Partition)
		}
	}
	return partitions
}

func (h *hanging) values() int {
	h.t.Helper()
	return len(readAll(h.t, h.at, "t"))
}

// A transaction that was committed on one partition is finished by commits only, with the epoch and
// coordinator of the marker that proves it.
func TestCommitHanging(t *testing.T) {
	h := newHanging(t)
	h.begin(0, 1, 2)
	h.mark(1, h.epoch+1, true)
	if diff := cmp.Diff([]int32{0, 2}, h.open()); diff != "" {
		t.Fatalf("hanging partitions (-want +got)\n%s", diff)
	}
	for _, force := range []bool{false, true} {
		_, err := broker.AbortHanging(t.Context(), h.watcher, h.only(), force)
		var refused *broker.HangingError
		if !errors.As(err, &refused) || refused.Transaction.Evidence.Outcome != broker.Committed ||
			!strings.Contains(err.Error(), "COMMIT marker in t-1 at offset 1") || !strings.Contains(err.Error(), "weir transactions commit --producer-id") {
			t.Fatalf("abort, force %t: %v", force, err)
		}
	}
	if diff := cmp.Diff([]int32{0, 2}, h.open()); diff != "" {
		t.Fatalf("after the refusal (-want +got)\n%s", diff)
	}
	got, err := broker.CommitHanging(t.Context(), h.watcher, h.only())
	if err != nil || len(got.Partitions) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if n := h.values(); n != 3 || len(h.open()) != 0 {
		t.Errorf("readers see %d of 3 records, %v are open", n, h.open())
	}
	if _, err := broker.CommitHanging(t.Context(), h.watcher, h.only()); err == nil || !strings.Contains(err.Error(), "no transaction is open") {
		t.Errorf("again: %v", err)
	}
}

// Cases without proof of a commit. Each has the error of a commit, and whether an abort needs
// force.
func TestHangingEvidence(t *testing.T) {
	for name, c := range map[string]struct {
		make    func(h *hanging)
		outcome broker.Outcome
		want    string
	}{
		"aborted elsewhere":                       {func(h *hanging) { h.begin(0, 1); h.mark(1, h.epoch+1, false) }, broker.Aborted, "it was aborted elsewhere"},
		"aborted by a coordinator that fenced it": {func(h *hanging) { h.begin(0, 1); h.mark(1, h.epoch+2, false) }, broker.Aborted, "it was aborted elsewhere"},
		"no marker": {func(h *hanging) { h.begin(0) }, broker.UnknownOutcome, "nothing proves that it was committed"},
		"both": {func(h *hanging) {
			h.begin(0, 1, 2)
			h.mark(1, h.epoch+1, false)
			h.mark(2, h.epoch+1, true)
		}, broker.Contradictory, "a commit would be wrong for some records"},
		"markers with the epoch of records": {func(h *hanging) { h.begin(0, 1); h.mark(1, h.epoch, true) }, broker.UnknownOutcome, "several transactions may have the same epoch"},
		"a commit of another epoch":         {func(h *hanging) { h.begin(0, 1); h.mark(1, h.epoch+2, true) }, broker.UnknownOutcome, "no partition has a marker"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHanging(t)
			c.make(h)
			before := h.open()
			got, err := broker.CommitHanging(t.Context(), h.watcher, h.only())
			var refused *broker.HangingError
			if !errors.As(err, &refused) || got.Evidence.Outcome != c.outcome || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("commit: %+v, %v", got.Evidence, err)
			}
			_, err = broker.AbortHanging(t.Context(), h.watcher, h.only(), false)
			if aborted := err == nil; aborted != (c.outcome == broker.Aborted) {
				t.Errorf("abort: %v", err)
			}
			if err != nil {
				if diff := cmp.Diff(before, h.open()); diff != "" {
					t.Errorf("after the refusals (-want +got)\n%s", diff)
				}
				_, err = broker.AbortHanging(t.Context(), h.watcher, h.only(), true)
				if forced := err == nil; forced != (c.outcome == broker.UnknownOutcome) {
					t.Errorf("forced abort: %v", err)
				}
			}
			if open := h.open(); (err == nil) != (len(open) == 0) {
				t.Errorf("open %v after %v", open, err)
			}
		})
	}
}

// A transaction that is only in flight is not a hanging one, nor is the next one of the same
// producer.
func TestInFlightIsNotHanging(t *testing.T) {
	at := cluster(t, kfake.SeedTopics(2, "t"))
	watcher := connect(t, at)
	client := connect(t, at, kgo.TransactionalID("x"))
	done := make(chan error, 1)
	go func() {
		for range 300 {
			if err := client.BeginTransaction(); err != nil {
				done <- err
				return
			}
			client.Produce(t.Context(), &kgo.Record{Topic: "t"}, nil)
			client.Produce(t.Context(), &kgo.Record{Topic: "t"}, nil)
			if err := errors.Join(client.Flush(t.Context()), client.EndTransaction(t.Context(), kgo.TryCommit)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for looks := 0; ; looks++ {
		listed, err := broker.ListTransactions(t.Context(), watcher, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if h := listed.Hanging(); len(h) > 0 {
			t.Fatalf("look %d: %+v", looks, h)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d looks", looks)
			return
		default:
		}
	}
}

// What may not be read is named, instead of being taken for free of transactions.
func TestUncheckedTopics(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	at := broker.Config{Brokers: c.ListenAddrs()}
	transact(t, connect(t, at, kgo.TransactionalID("x")), "t", nil, "v")
	c.ControlKey(int16(kmsg.DescribeProducers), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := kreq.ResponseKind().(*kmsg.DescribeProducersResponse)
		for _, of := range kreq.(*kmsg.DescribeProducersRequest).Topics {
			topic := kmsg.NewDescribeProducersResponseTopic()
			topic.Topic = of.Topic
			for _, p := range of.Partitions {
				refused := kmsg.NewDescribeProducersResponseTopicPartition()
				refused.Partition, refused.ErrorCode = p, kerr.TopicAuthorizationFailed.Code
				topic.Partitions = append(topic.Partitions, refused)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil, true
	})
	listed, err := broker.ListTransactions(t.Context(), connect(t, at), time.Now())
	want := []broker.Unchecked{{Topic: "t", Reason: "this user may not read it: grant the operation Read on the topic"}}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, listed.Unchecked); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
