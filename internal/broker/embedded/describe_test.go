package embedded

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What the broker describes, where kfake alone differs from Kafka.
func TestDescribesLikeKafka(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { b.Close() }()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := t.Context()
	if _, err := kadm.NewClient(client).CreateTopics(ctx, 2, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	t.Run("group of KIP-848", func(t *testing.T) { describesConsumerGroup(ctx, t, client) })
	t.Run("static member leaves", func(t *testing.T) { staticMemberLeaves(ctx, t, b.Addr(), client) })
	t.Run("producers after markers", func(t *testing.T) { describesProducers(ctx, t, b.Addr(), client) })
	t.Run("transaction timeout", func(t *testing.T) {
		for _, want := range []int32{60_000, 4_000} {
			initProducer(ctx, t, client, "timeout", want)
			if have := describedTimeout(ctx, t, client, "timeout"); have != want {
				t.Errorf("timeout %d, want %d", have, want)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if b, err = Open(Config{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		reopened, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		defer reopened.Close()
		if have := describedTimeout(ctx, t, reopened, "timeout"); have != 4_000 {
			t.Errorf("timeout %d after a restart, want 4000", have)
		}
	})
}

// One invalid topic of a request for several gets the error that a single one gets, and the others
// are created.
func TestCreatesTopicsBesidesInvalidOnes(t *testing.T) {
	b, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range []string{"valid", "unknown-setting", "no-partitions", "invalid name"} {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
		switch name {
		case "unknown-setting":
			topic.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "unknown", Value: kmsg.StringPtr("1")}}
		case "no-partitions":
			topic.NumPartitions = 0
		}
		req.Topics = append(req.Topics, topic)
	}
	resp, err := req.RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]error{"valid": nil, "unknown-setting": kerr.InvalidConfig, "no-partitions": kerr.InvalidPartitions, "invalid name": kerr.InvalidTopicException}
	for _, topic := range resp.Topics {
		if err := kerr.ErrorForCode(topic.ErrorCode); !errors.Is(err, want[topic.Topic]) {
			t.Errorf("%s: %v, want %v", topic.Topic, err, want[topic.Topic])
		}
		delete(want, topic.Topic)
	}
	if len(want) > 0 {
		t.Errorf("no answer for %v", want)
	}
}

// Requests for metadata create topics only if the broker is configured to, and none with an invalid
// name, which Kafka reports as such.
func TestAutoCreateTopics(t *testing.T) {
	for _, auto := range []bool{false, true} {
		b, err := Open(Config{Dir: t.TempDir(), AutoCreateTopics: auto})
		if err != nil {
			t.Fatal(err)
		}
		client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]error{"new": kerr.UnknownTopicOrPartition, "not valid": kerr.InvalidTopicException} {
			if auto && name == "new" {
				want = nil
			}
			req := kmsg.NewPtrMetadataRequest()
			req.AllowAutoTopicCreation = true
			req.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
			resp, err := req.RequestWith(t.Context(), client)
			if err != nil || len(resp.Topics) != 1 {
				t.Fatalf("%s: %+v, %v", name, resp, err)
			}
			if have := kerr.ErrorForCode(resp.Topics[0].ErrorCode); !errors.Is(have, want) {
				t.Errorf("%s, creation %t: %v, want %v", name, auto, have, want)
			}
			if exists := b.cluster.TopicInfo(name) != nil; exists != (auto && name == "new") {
				t.Errorf("%s, creation %t: exists is %t", name, auto, exists)
			}
		}
		client.Close()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func describesConsumerGroup(ctx context.Context, t *testing.T, client *kgo.Client) {
	t.Helper()
	beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	beat.Group, beat.MemberID, beat.RebalanceTimeoutMillis = "group", "member", 10_000
	beat.SubscribedTopicNames = []string{"t"}
	beat.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	joined, err := beat.RequestWith(ctx, client)
	if err != nil || joined.ErrorCode != 0 {
		t.Fatalf("join: %+v, %v", joined, err)
	}
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{"group"}
	resp, err := req.RequestWith(ctx, client)
	if err != nil || len(resp.Groups) != 1 || len(resp.Groups[0].Members) != 1 {
		t.Fatalf("describe: %+v, %v", resp, err)
	}
	group := resp.Groups[0]
	member := group.Members[0]
	if group.AssignorName != "uniform" || member.ClientHost != "/127.0.0.1" {
		t.Errorf("assignor %q, client host %q", group.AssignorName, member.ClientHost)
	}
	for name, a := range map[string]kmsg.Assignment{"current": member.Assignment, "target": member.TargetAssignment} {
		if len(a.TopicPartitions) != 1 || a.TopicPartitions[0].Topic != "t" || len(a.TopicPartitions[0].Partitions) != 2 {
			t.Errorf("%s assignment %+v, want both partitions of t", name, a)
		}
	}
}

func staticMemberLeaves(ctx context.Context, t *testing.T, addr string, client *kgo.Client) {
	t.Helper()
	assigned := make(chan struct{}, 1)
	member, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup("static"), kgo.InstanceID("one"), kgo.ConsumeTopics("t"),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) {
			select {
			case assigned <- struct{}{}:
			default:
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	select {
	case <-assigned:
	case <-ctx.Done():
		t.Fatal("no partition was assigned")
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = "static"
	req.Members = []kmsg.LeaveGroupRequestMember{{InstanceID: kmsg.StringPtr("one")}, {InstanceID: kmsg.StringPtr("two")}}
	resp, err := req.RequestWith(ctx, client)
	if err != nil || len(resp.Members) != 2 {
		t.Fatalf("leave: %+v, %v", resp, err)
	}
	for i, code := range []int16{0, 25} { // UNKNOWN_MEMBER_ID
		if m := resp.Members[i]; m.MemberID != "" || m.InstanceID == nil || *m.InstanceID != *req.Members[i].InstanceID || m.ErrorCode != code {
			t.Errorf("member %d: %+v, want the ids of the request and error %d", i, m, code)
		}
	}
}

func describesProducers(ctx context.Context, t *testing.T, addr string, client *kgo.Client) {
	t.Helper()
	producer, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID("markers"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := producer.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: 1, Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	id, epoch, err := producer.ProducerID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	open := func(partition int32) []kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{partition}}}
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Topics[0].Partitions[0].ActiveProducers
	}
	if have := open(1); len(have) != 1 || have[0].ProducerID != id || have[0].CurrentTxnStartOffset != 0 {
		t.Errorf("open transactions before the markers: %+v", have)
	}
	if have := open(0); len(have) != 0 {
		t.Errorf("open transactions in another partition: %+v", have)
	}
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Markers = []kmsg.WriteTxnMarkersRequestMarker{{
		ProducerID: id, ProducerEpoch: epoch,
		Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: []int32{1}}},
	}}
	if resp, err := req.RequestWith(ctx, client); err != nil || resp.Markers[0].Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("write markers: %+v, %v", resp, err)
	}
	if have := open(1); len(have) != 0 {
		t.Errorf("open transactions after the markers: %+v", have)
	}
	if err := producer.EndTransaction(ctx, kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

func initProducer(ctx context.Context, t *testing.T, client *kgo.Client, transactionalID string, timeout int32) {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &transactionalID, timeout
	req.ProducerID, req.ProducerEpoch = -1, -1
	if resp, err := req.RequestWith(ctx, client); err != nil || resp.ErrorCode != 0 {
		t.Fatalf("init producer: %+v, %v", resp, err)
	}
}

func describedTimeout(ctx context.Context, t *testing.T, client *kgo.Client, transactionalID string) int32 {
	t.Helper()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{transactionalID}
	resp, err := req.RequestWith(ctx, client)
	if err != nil || len(resp.TransactionStates) != 1 {
		t.Fatalf("describe transaction: %+v, %v", resp, err)
	}
	return resp.TransactionStates[0].TimeoutMillis
}
