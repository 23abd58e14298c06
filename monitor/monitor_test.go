package monitor

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/broker"
	"weir/broker/embedded"
)

// A monitor tells of lag in records and seconds, of open transactions, and that the cluster is gone.
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
	if len(v.Transactions) != 1 || v.Transactions[0].TransactionalID != "writer" || len(v.Brokers) != 1 || v.Known != 1 {
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
# HELP weir_monitor_group_lag_records Records between what a group has committed and the end.
# TYPE weir_monitor_group_lag_records gauge
weir_monitor_group_lag_records{group="readers",topic="in"} 1
# HELP weir_monitor_transactions_hanging Transactions that no coordinator knows, and no timeout ends.
# TYPE weir_monitor_transactions_hanging gauge
weir_monitor_transactions_hanging 0
# HELP weir_monitor_up 1 where the last look at the cluster succeeded. Where it did not, nothing else is told.
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
# HELP weir_monitor_up 1 where the last look at the cluster succeeded. Where it did not, nothing else is told.
# TYPE weir_monitor_up gauge
weir_monitor_up 0
`), "weir_monitor_up", "weir_monitor_brokers_up"); err != nil {
		t.Error(err)
	}
}

// What is wrong with partitions is counted by topic; a broker that is gone stays known for an hour.
func TestClusterInTrouble(t *testing.T) {
	got := topic(kadm.TopicDetail{Topic: "t", Partitions: kadm.PartitionDetails{
		0: {Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}},
		1: {Leader: 2, Replicas: []int32{1, 2, 3}, ISR: []int32{2}},
		2: {Leader: -1, Replicas: []int32{1, 2, 3}, ISR: []int32{}},
	}})
	if got != (Topic{"t", 3, 2, 1}) {
		t.Errorf("%+v", got)
	}
	m := New(nil)
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	m.see(kadm.BrokerDetails{{NodeID: 1}, {NodeID: 2}}, now)
	if n := m.see(kadm.BrokerDetails{{NodeID: 1}}, now.Add(59*time.Minute)); n != 2 {
		t.Errorf("%d brokers are known, want 2", n)
	}
	if n := m.see(kadm.BrokerDetails{{NodeID: 1}}, now.Add(61*time.Minute)); n != 1 {
		t.Errorf("%d brokers are known after an hour, want 1", n)
	}
}
