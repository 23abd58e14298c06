package monitor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
)

// A monitor reports lag in records and seconds, open transactions, and a cluster that is down.
func TestMonitor(t *testing.T) {
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	t.Cleanup(func() {
		if !closed {
			_ = b.Close()
		}
	})
	ctx := t.Context()
	at := broker.Config{Brokers: []string{b.Addr()}}
	client, err := broker.Connect(ctx, at, kgo.TransactionalID("writer"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, "in"); err != nil {
		t.Fatal(err)
	}
	write := func(n int) {
		t.Helper()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for range n {
			client.Produce(ctx, &kgo.Record{Topic: "in", Value: []byte("x")}, nil)
		}
		if err := client.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	commit := func(offset int64) {
		t.Helper()
		offsets := kadm.Offsets{}
		offsets.AddOffset("in", 0, offset, -1)
		if err := admin.CommitAllOffsets(ctx, "readers", offsets); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	m := New(client)
	m.now = func() time.Time { return now }
	snapshot := func() Snapshot {
		t.Helper()
		v, err := m.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	lag := func() GroupTopic {
		t.Helper()
		for _, g := range snapshot().Groups {
			if g.Name == "readers" && len(g.Topics) == 1 {
				return g.Topics[0]
			}
		}
		t.Fatal("group readers not found")
		return GroupTopic{}
	}
	write(5)
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	commit(6) // after the marker
	if l := lag(); l != (GroupTopic{"in", 0, 0}) {
		t.Errorf("lag %+v, want 0", l)
	}
	now = now.Add(10 * time.Second)
	write(3)
	v := snapshot()
	if len(v.Transactions) != 1 || v.Transactions[0].TransactionalID != "writer" || len(v.Brokers) != 1 || v.Up() != 1 || len(v.Gaps) != 0 {
		t.Errorf("no open transaction in %+v", v)
	}
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	now = now.Add(20 * time.Second)
	if l := lag(); l != (GroupTopic{"in", 4, 20}) {
		t.Errorf("lag %+v, want four offsets and 20 s", l)
	}
	commit(9) // only the marker is left, which the last snapshot has seen
	now = now.Add(5 * time.Second)
	if l := lag(); l != (GroupTopic{"in", 1, 5}) {
		t.Errorf("lag %+v, want one offset and 5 s", l)
	}
	if err := testutil.CollectAndCompare(m, strings.NewReader(`
# HELP weir_monitor_group_lag_records Records between the offset a group has committed and the end of the topic.
# TYPE weir_monitor_group_lag_records gauge
weir_monitor_group_lag_records{group="readers",topic="in"} 1
# HELP weir_monitor_transactions_hanging Open transactions that no coordinator knows; no timeout ends them.
# TYPE weir_monitor_transactions_hanging gauge
weir_monitor_transactions_hanging 0
# HELP weir_monitor_up 1 if a broker answered at the last check of the cluster, 0 otherwise; without an answer only the duration is reported besides.
# TYPE weir_monitor_up gauge
weir_monitor_up 1
`), "weir_monitor_up", "weir_monitor_group_lag_records", "weir_monitor_transactions_hanging"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(m); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}

	if closed = true; b.Close() != nil {
		t.Error("the broker did not close cleanly")
	}
	if _, err := m.Snapshot(ctx); err == nil {
		t.Error("a snapshot without a broker succeeds")
	}
	if err := testutil.CollectAndCompare(m, strings.NewReader(`
# HELP weir_monitor_up 1 if a broker answered at the last check of the cluster, 0 otherwise; without an answer only the duration is reported besides.
# TYPE weir_monitor_up gauge
weir_monitor_up 0
`), "weir_monitor_up", "weir_monitor_brokers_up"); err != nil {
		t.Error(err)
	}
}

// Offline and under-replicated partitions are counted by topic. A missing broker is reported for an
// hour, or as long as it holds replicas.
func TestClusterInTrouble(t *testing.T) {
	m := New(nil)
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	meta := func(topics kadm.TopicDetails, ids ...int32) *kadm.Metadata {
		all := &kadm.Metadata{Topics: topics}
		for _, id := range ids {
			all.Brokers = append(all.Brokers, kadm.BrokerDetail{NodeID: id, Host: "kafka", Port: 9090 + id})
		}
		return all
	}
	up := kadm.BrokersApiVersions{1: {NodeID: 1}, 2: {NodeID: 2, Err: errors.New("it hangs")}}
	replicas := kadm.TopicDetails{"t": {Partitions: kadm.PartitionDetails{0: {Replicas: []int32{1, 4}}}}}
	one, two := Broker{1, "kafka:9091", true}, Broker{2, "kafka:9092", false}
	for _, test := range []struct {
		after  time.Duration
		topics kadm.TopicDetails
		ids    []int32
		want   []Broker
	}{
		{0, replicas, []int32{1, 2}, []Broker{one, two, {4, "", false}}},
		{30 * time.Minute, nil, []int32{1}, []Broker{one, two}},
		{61 * time.Minute, nil, []int32{1}, []Broker{one}},
		{62 * time.Minute, replicas, []int32{1}, []Broker{one, {4, "", false}}},
	} {
		if got := m.brokers(meta(test.topics, test.ids...), up, now.Add(test.after)); !slices.Equal(got, test.want) {
			t.Errorf("after %s: %v, want %v", test.after, got, test.want)
		}
	}
	got := topic(kadm.TopicDetail{Topic: "t", Partitions: kadm.PartitionDetails{
		0: {Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}},
		1: {Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1}},
		2: {Leader: -1, Replicas: []int32{1, 2, 3}, ISR: []int32{}},
		3: {Leader: 2, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}}, // broker 2 is down, and no other replica has become leader yet
	}}, []Broker{one, two})
	if got != (Topic{"t", 4, 2, 2}) {
		t.Errorf("%+v", got)
	}
}

// A broker that does not respond leaves gaps; the responses of the others are reported.
func TestSnapshotWithoutOneBroker(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(60, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	client, err := broker.Connect(t.Context(), broker.Config{Brokers: cluster.ListenAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for _, group := range []string{"a", "b", "c", "d", "e", "f"} { // each broker coordinates some
		offsets := kadm.Offsets{}
		offsets.AddOffset("in", 0, 0, -1)
		if err := admin.CommitAllOffsets(t.Context(), group, offsets); err != nil {
			t.Fatal(err)
		}
	}
	m := New(client)
	complete, err := m.Snapshot(t.Context())
	if err != nil || complete.Up() != 3 || len(complete.Gaps) != 0 || len(complete.Groups) != 6 || complete.Transactions == nil || complete.Topics[0].Offline != 0 {
		t.Fatalf("before: %+v, %v", complete, err)
	}
	const dead = 1
	cluster.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		versions, connects := r.(*kmsg.ApiVersionsRequest)
		connects = connects && versions.ClientSoftwareName != "kadm" // which a client sends on connecting
		if connects || r.Key() == int16(kmsg.Metadata) || cluster.CurrentNode() != dead {
			return nil, nil, false
		}
		return nil, errors.New("the broker is gone"), true
	})
	partial, err := m.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if partial.Up() != 2 || len(partial.Brokers) != 3 || partial.Brokers[dead].Up {
		t.Errorf("brokers %+v", partial.Brokers)
	}
	if n := partial.Topics[0].Offline; n == 0 || n == 60 {
		t.Errorf("%d of 60 partitions are offline", n)
	}
	if len(partial.Gaps) == 0 || len(partial.Groups) == 0 || len(partial.Groups) >= 6 {
		t.Errorf("gaps %q, groups %+v", partial.Gaps, partial.Groups)
	}
	if partial.Transactions != nil {
		t.Errorf("transactions without one of the coordinators: %+v", partial.Transactions)
	}
	t.Log(partial.Gaps)
	if err := testutil.CollectAndCompare(m, strings.NewReader(`
# HELP weir_monitor_brokers_known Brokers that are in the cluster, hold replicas, or were in the cluster within the last hour.
# TYPE weir_monitor_brokers_known gauge
weir_monitor_brokers_known 3
# HELP weir_monitor_brokers_up Brokers that answer requests.
# TYPE weir_monitor_brokers_up gauge
weir_monitor_brokers_up 2
# HELP weir_monitor_up 1 if a broker answered at the last check of the cluster, 0 otherwise; without an answer only the duration is reported besides.
# TYPE weir_monitor_up gauge
weir_monitor_up 1
`), "weir_monitor_up", "weir_monitor_brokers_up", "weir_monitor_brokers_known", "weir_monitor_transactions_hanging"); err != nil {
		t.Error(err)
	}
}
