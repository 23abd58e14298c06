package front

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topics get the names that Kafka allows. A request that has invalid names, too, creates the
// others.
func TestTopicNames(t *testing.T) {
	addr, _ := serve(t, Limits{})
	invalid := []string{"", ".", "..", "../../x", "a/b", "a b", "a\x00", "<img>", "\x1b]0;x\a", "größe", strings.Repeat("x", 250)}
	valid := []string{"a", "A.b_c-9", "...", "..a", strings.Repeat("x", 249)}
	for version := served()[19].from; version <= served()[19].to; version++ {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version, req.ValidateOnly = version, version%2 == 0
		add := func(name string, partitions int32, factor int16) {
			rt := kmsg.NewCreateTopicsRequestTopic()
			rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, factor
			req.Topics = append(req.Topics, rt)
		}
		for i, name := range invalid {
			add(name, []int32{1, 5, -1}[i%3], []int16{1, -1, 3}[i%3])
		}
		for _, name := range valid {
			add(name, 1, 1)
		}
		wrong := make(map[string]bool)
		for _, name := range invalid {
			wrong[name] = true
		}
		resp := ask(t, addr, req).(*kmsg.CreateTopicsResponse)
		if len(resp.Topics) != len(req.Topics) {
			t.Fatalf("version %d: %d answers", version, len(resp.Topics))
		}
		for _, rt := range resp.Topics {
			switch err := kerr.ErrorForCode(rt.ErrorCode); {
			case wrong[rt.Topic] && (!errors.Is(err, kerr.InvalidTopicException) || rt.ErrorMessage == nil || !strings.HasPrefix(*rt.ErrorMessage, "Topic name is invalid: ")):
				t.Errorf("version %d: topic %q: %v", version, rt.Topic, err)
			case !wrong[rt.Topic] && err != nil && !errors.Is(err, kerr.TopicAlreadyExists):
				t.Errorf("version %d: topic %q: %v", version, rt.Topic, err)
			}
		}
	}
	topics, err := kadm.NewClient(client(t, addr)).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(topics) != len(valid) {
		t.Errorf("topics %q, expected %q", topics.Names(), valid)
	}
}

// A request creates at most 10,000 partitions, and none of its topics if it asks for more.
func TestPartitionLimit(t *testing.T) {
	addr, _ := serve(t, Limits{}, "topic")
	admin := kadm.NewClient(client(t, addr))
	for _, n := range []int32{10_001, 2_000_000_000} {
		resp, err := admin.CreateTopics(t.Context(), n, 1, nil, "a", "b")
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range resp.Sorted() {
			if !errors.Is(topic.Err, kerr.PolicyViolation) {
				t.Errorf("create topic %s with %d partitions: %v", topic.Topic, n, topic.Err)
			}
		}
		more, err := admin.UpdatePartitions(t.Context(), int(n), "topic")
		if err != nil {
			t.Fatal(err)
		}
		if got := more["topic"].Err; !errors.Is(got, kerr.PolicyViolation) {
			t.Errorf("%d partitions in all: %v", n, got)
		}
	}
	if resp, err := admin.CreateTopics(t.Context(), -2, 1, nil, "a"); err != nil || !errors.Is(resp["a"].Err, kerr.InvalidPartitions) {
		t.Errorf("create a topic with -2 partitions: %v, %v", resp, err)
	}
	topics, err := admin.ListTopics(t.Context())
	if err != nil || len(topics) != 1 || len(topics["topic"].Partitions) != 1 {
		t.Errorf("topics %v, %v", topics, err)
	}
}

// Quotas would not be enforced, and are refused.
func TestUnenforced(t *testing.T) {
	addr, _ := serve(t, Limits{})
	admin := kadm.NewClient(client(t, addr))
	user := "a"
	entity := kadm.ClientQuotaEntity{{Type: "user", Name: &user}}
	quotas, err := admin.AlterClientQuotas(t.Context(), []kadm.AlterClientQuotaEntry{{Entity: entity, Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 1}}}})
	if err != nil || len(quotas) != 1 || !errors.Is(quotas[0].Err, kerr.UnsupportedVersion) {
		t.Errorf("AlterClientQuotas: %+v, %v", quotas, err)
	}
}

// Several unknown topic ids in a Produce request end kfake's process; here they get their errors.
func TestUnknownTopicIDs(t *testing.T) {
	addr, _ := serve(t, Limits{}, "topic")
	topics, err := kadm.NewClient(client(t, addr)).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := topics["topic"].ID
	for _, acks := range []int16{-1, 0} {
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks = 13, acks
		for _, id := range [][16]byte{{1}, {2}, id} {
			rt := kmsg.NewProduceRequestTopic()
			rt.TopicID = id
			rt.Partitions = append(rt.Partitions, kmsg.NewProduceRequestTopicPartition())
			req.Topics = append(req.Topics, rt)
		}
		if acks == 0 {
			c := dial(t, addr)
			send(t, c, frame(req))
			send(t, c, frame(kmsg.NewPtrMetadataRequest()))
			receive(t, c)
			continue
		}
		resp := ask(t, addr, req).(*kmsg.ProduceResponse)
		for i, want := range []error{kerr.UnknownTopicID, kerr.UnknownTopicID, kerr.NotLeaderForPartition} {
			if got := kerr.ErrorForCode(resp.Topics[i].Partitions[0].ErrorCode); !errors.Is(got, want) {
				t.Errorf("topic %d: %v, want %v", i, got, want)
			}
		}
	}
}

// A member that lists a protocol twice joins its group: kfake alone panics.
func TestJoinGroupRepeatedProtocol(t *testing.T) {
	addr, _ := serve(t, Limits{}, "topic")
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(3) // without a second request for the member id
	req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = "group", "consumer", 10_000, 10_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}, {Name: "range"}}
	resp := ask(t, addr, req).(*kmsg.JoinGroupResponse)
	if resp.ErrorCode != 0 || resp.Protocol == nil || *resp.Protocol != "range" {
		t.Errorf("answer %+v", resp)
	}
}
