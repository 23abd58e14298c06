package txtest

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Match selects requests.
type Match func(b *Broker, req kmsg.Request) bool

// Commit matches the request that commits the transaction of an id.
func Commit(id string) Match {
	return func(_ *Broker, req kmsg.Request) bool {
		end, ok := req.(*kmsg.EndTxnRequest)
		return ok && end.Commit && end.TransactionalID == id
	}
}

// Abort matches the request that aborts the transaction of an id.
func Abort(id string) Match {
	return func(_ *Broker, req kmsg.Request) bool {
		end, ok := req.(*kmsg.EndTxnRequest)
		return ok && !end.Commit && end.TransactionalID == id
	}
}

// Offsets matches the request that adds the offsets of a group to the transaction of an id, if the
// given partitions are among them.
func Offsets(id string, partitions ...int32) Match {
	return func(_ *Broker, req kmsg.Request) bool {
		commit, ok := req.(*kmsg.TxnOffsetCommitRequest)
		if !ok || commit.TransactionalID != id {
			return false
		}
		var all []int32
		for _, t := range commit.Topics {
			for _, p := range t.Partitions {
				all = append(all, p.Partition)
			}
		}
		for _, p := range partitions {
			if !slices.Contains(all, p) {
				return false
			}
		}
		return true
	}
}

// Reading matches a request that fetches from a topic.
func Reading(topic string) Match {
	return func(b *Broker, req kmsg.Request) bool {
		fetch, ok := req.(*kmsg.FetchRequest)
		return ok && slices.ContainsFunc(fetch.Topics, func(t kmsg.FetchRequestTopic) bool { return b.isTopic(topic, t.Topic, t.TopicID) })
	}
}

// Heartbeat matches a heartbeat of a client.
func Heartbeat(client string) Match {
	return func(_ *Broker, req kmsg.Request) bool {
		beat, ok := req.(*kmsg.HeartbeatRequest)
		return ok && clientOf(beat.MemberID) == client
	}
}

// isTopic reports whether a request refers to a topic, by name or id.
func (b *Broker) isTopic(want, name string, id [16]byte) bool {
	if name != "" {
		return name == want
	}
	info := b.TopicIDInfo(id)
	return info != nil && info.Topic == want
}

// clientOf returns the client id of a member, which kfake's member ids start with.
func clientOf(member string) string {
	client, _, _ := strings.Cut(member, "-")
	return client
}

// refusal returns an error response to a request, for each of its partitions if it has any.
func refusal(req kmsg.Request, err *kerr.Error) kmsg.Response {
	resp := req.ResponseKind()
	switch r := resp.(type) {
	case *kmsg.EndTxnResponse:
		r.ErrorCode, r.ProducerID, r.ProducerEpoch = err.Code, -1, -1
	case *kmsg.HeartbeatResponse:
		r.ErrorCode = err.Code
	case *kmsg.InitProducerIDResponse:
		r.ErrorCode = err.Code
	case *kmsg.TxnOffsetCommitResponse:
		for _, t := range req.(*kmsg.TxnOffsetCommitRequest).Topics { //nolint:forcetypeassert // type checked by the matcher
			topic := kmsg.NewTxnOffsetCommitResponseTopic()
			topic.Topic, topic.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				partition := kmsg.NewTxnOffsetCommitResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, err.Code
				topic.Partitions = append(topic.Partitions, partition)
			}
			r.Topics = append(r.Topics, topic)
		}
	case *kmsg.ProduceResponse:
		for _, t := range req.(*kmsg.ProduceRequest).Topics { //nolint:forcetypeassert // type checked by the matcher
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic, topic.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				partition := kmsg.NewProduceResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, err.Code
				topic.Partitions = append(topic.Partitions, partition)
			}
			r.Topics = append(r.Topics, topic)
		}
	default:
		panic("a script refuses a " + kmsg.NameForKey(req.Key()) + ", which txtest can't")
	}
	return resp
}

// Taking matches the request that acquires a transactional id, and aborts its open transaction.
func Taking(id string) Match {
	return func(_ *Broker, req kmsg.Request) bool {
		init, ok := req.(*kmsg.InitProducerIDRequest)
		return ok && init.TransactionalID != nil && *init.TransactionalID == id
	}
}
