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

// A monitor tells of lag in records and seconds, of open transactions, and that the cluster is
// gone.
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
	look := func() View {
		t.Helper()
		v, err := m.Look(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	lag := func() GroupTopic {
		t.Helper()
		for _, g := range look().Groups {
			if g.Name == "readers" && len(g.Topics) == 1 {
				return g.Topics[0]
			}
		}
		t.Fatal("the group is not there")
		return GroupTopic{}
	}
	write(5)
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	commit(6) // behind the marker
	if l := lag(); l != (GroupTopic{"in", 0, 0}) {
		t.Errorf("nothing is left to read, and the lag is %+v", l)
	}
	now = now.Add(10 * time.Second)
	write(3)
	v := look()
	if len(v.Transactions) != 1 || v.Transactions[0].TransactionalID != "writer" || len(v.Brokers) != 1 || v.Up() != 1 || len(v.Gaps) != 0 {
		t.Errorf("an open transaction is not shown: %+v", v)
	}
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	now = now.Add(20 * time.Second)
	if l := lag(); l != (GroupTopic{"in", 4, 20}) {
		t.Errorf("four offsets since 20 s, and the lag is %+v", l)
	}
	commit(9) // the marker is left, which was there at the last look
	now = now.Add(5 * time.Second)
	if l := lag(); l != (GroupTopic{"in", 1, 5}) {
		t.Errorf("one offset since 5 s, and the lag is %+v", l)
	}
	if err := testutil.CollectAndCompare(m, strings.NewReader(`
# HELP weir_monitor_group_lag_records Records between the offset a group has committed and the end of the topic.
# TYPE weir_monitor_group_lag_records gauge
weir_monitor_group_lag_records{group="readers",topic="in"} 1
# HELP weir_monitor_transactions_hanging Transactions that no coordinator knows, so that no timeout ends them.
# TYPE weir_monitor_transactions_hanging gauge
weir_monitor_transactions_hanging 0
# HELP weir_monitor_up 1 where a broker answered the last look at the cluster; where none did, no other metric is reported.
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
	if _, err := m.Look(ctx); err == nil {
		t.Error("the broker is gone, and a look succeeds")
	}
	if err := testutil.CollectAndCompare(m, strings.NewReader(`
# HELP weir_monitor_up 1 where a broker answered the last look at the cluster; where none did, no other metric is reported.
# TYPE weir_monitor_up gauge
weir_monitor_up 0
`), "weir_monitor_up", "weir_monitor_brokers_up"); err != nil {
		t.Error(err)
	}
}

// What is wrong with partitions is counted by topic; a broker that is gone stays known for an hour,
// or as long as it has replicas.
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
		3: {Leader: 2, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}}, // it does not answer, and no one else leads yet
	}}, []Broker{one, two})
	if got != (Topic{"t", 4, 2, 2}) {
		t.Errorf("%+v", got)
	}
}

// A broker that does not answer leaves gaps, and what the others say is told.
func TestLookWithoutABroker(t *testing.T) {
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
	whole, err := m.Look(t.Context())
	if err != nil || whole.Up() != 3 || len(whole.Gaps) != 0 || len(whole.Groups) != 6 || whole.Transactions == nil || whole.Topics[0].Offline != 0 {
		t.Fatalf("before: %+v, %v", whole, err)
	}
	const dead = 1
	cluster.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		versions, connects := r.(*kmsg.ApiVersionsRequest)
		connects = connects && versions.ClientSoftwareName != "kadm" // as a client does before it asks anything
		if connects || r.Key() == int16(kmsg.Metadata) || cluster.CurrentNode() != dead {
			return nil, nil, false
		}
		return nil, errors.New("the broker is gone"), true
	})
	part, err := m.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if part.Up() != 2 || len(part.Brokers) != 3 || part.Brokers[dead].Up {
		t.Errorf("brokers %+v", part.Brokers)
	}
	if n := part.Topics[0].Offline; n == 0 || n == 60 {
		t.Errorf("%d of 60 partitions are offline", n)
	}
	if len(part.Gaps) == 0 || len(part.Groups) == 0 || len(part.Groups) >= 6 {
		t.Errorf("gaps %q, groups %+v", part.Gaps, part.Groups)
	}
	if part.Transactions != nil {
		t.Errorf("a coordinator is gone, and transactions are told: %+v", part.Transactions)
	}
	t.Log(part.Gaps)
	if err := testutil.CollectAndCompare(m, strings.NewReader(`
# HELP weir_monitor_brokers_known Brokers that are in the cluster, have replicas, or were there within the last hour.
# TYPE weir_monitor_brokers_known gauge
weir_monitor_brokers_known 3
# HELP weir_monitor_brokers_up Brokers that answer.
# TYPE weir_monitor_brokers_up gauge
weir_monitor_brokers_up 2
# HELP weir_monitor_up 1 where a broker answered the last look at the cluster; where none did, no other metric is reported.
# TYPE weir_monitor_up gauge
weir_monitor_up 1
`), "weir_monitor_up", "weir_monitor_brokers_up", "weir_monitor_brokers_known", "weir_monitor_transactions_hanging"); err != nil {
		t.Error(err)
	}
}
