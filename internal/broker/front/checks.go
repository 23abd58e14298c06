package front

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Check examines a request before the broker handles it. If refused, resp is the answer, and the
// broker never sees the request. A check may change the request.
type Check = func(req kmsg.Request) (resp kmsg.Response, err error, refused bool)

// Checks returns the checks of well-formed requests that kfake lacks, by API. They must run before
// any other control function of an API. topicName returns the name of the topic with an id, or "".
func Checks(topicName func(id [16]byte) string) map[kmsg.Key]Check {
	return map[kmsg.Key]Check{
		kmsg.Produce:           unknownTopics{topicName}.onProduce,
		kmsg.JoinGroup:         onJoinGroup,
		kmsg.CreateTopics:      onCreateTopics,
		kmsg.CreatePartitions:  onCreatePartitions,
		kmsg.AlterClientQuotas: onAlterClientQuotas,
	}
}

// maxPartitions is how many partitions a request may create: Kafka's MAX_PARTITIONS_PER_BATCH.
const maxPartitions = 10_000

const maxTopicName = 249 // bytes

// ValidTopicName reports whether Kafka accepts a topic's name.
func ValidTopicName(name string) bool { return topicNameError(name) == "" }

// topicNameError returns what is wrong with a topic's name in Kafka's words, or "".
func topicNameError(name string) string {
	switch {
	case name == "":
		return "the empty string is not allowed"
	case name == "." || name == "..":
		return "'" + name + "' is not allowed"
	case len(name) > maxTopicName:
		return fmt.Sprintf("the length of '%s' is longer than the max allowed length %d", name, maxTopicName)
	}
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-' {
			continue
		}
		return fmt.Sprintf("'%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
	}
	return ""
}

// onCreateTopics keeps kfake from creating topics whose name or number of partitions is invalid.
// Others of the same request are created: the invalid ones are left to kfake without partitions,
// which refuses them with INVALID_PARTITIONS, and repairCreateTopics sets the right error.
func onCreateTopics(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req := r.(*kmsg.CreateTopicsRequest)
	total := int64(0)
	for i := range req.Topics {
		t := &req.Topics[i]
		total += int64(max(t.NumPartitions, 0)) + int64(len(t.ReplicaAssignment))
		if topicNameError(t.Topic) != "" || t.NumPartitions < -1 {
			t.NumPartitions, t.ReplicationFactor, t.ReplicaAssignment = 0, 1, nil
		}
	}
	if total <= maxPartitions {
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewCreateTopicsResponseTopic()
		rt.Topic, rt.ErrorCode, rt.ErrorMessage = t.Topic, kerr.PolicyViolation.Code, tooManyPartitions()
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil, true
}

func tooManyPartitions() *string {
	return kmsg.StringPtr("Excessively large number of partitions per request.")
}

// onCreatePartitions bounds the partitions of each topic after the request, which bounds those that
// it adds.
func onCreatePartitions(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req := r.(*kmsg.CreatePartitionsRequest)
	total := int64(0)
	for _, t := range req.Topics {
		total += int64(max(t.Count, 0))
	}
	if total <= maxPartitions {
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewCreatePartitionsResponseTopic()
		rt.Topic, rt.ErrorCode, rt.ErrorMessage = t.Topic, kerr.PolicyViolation.Code, tooManyPartitions()
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil, true
}

// onJoinGroup removes repeated protocols of a member: kfake counts the members that support each,
// and panics if the number exceeds that of the members.
func onJoinGroup(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req := r.(*kmsg.JoinGroupRequest)
	seen := make(map[string]bool)
	req.Protocols = slices.DeleteFunc(req.Protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		repeated := seen[p.Name]
		seen[p.Name] = true
		return repeated
	})
	return nil, nil, false
}

// onAlterClientQuotas refuses quotas: kfake would store them, but not enforce them.
func onAlterClientQuotas(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	resp := r.ResponseKind().(*kmsg.AlterClientQuotasResponse)
	for _, e := range r.(*kmsg.AlterClientQuotasRequest).Entries {
		result := kmsg.NewAlterClientQuotasResponseEntry()
		result.ErrorCode, result.ErrorMessage = kerr.UnsupportedVersion.Code, kmsg.StringPtr("The embedded broker does not enforce client quotas.")
		for _, of := range e.Entity {
			entity := kmsg.NewAlterClientQuotasResponseEntryEntity()
			entity.Type, entity.Name = of.Type, of.Name
			result.Entity = append(result.Entity, entity)
		}
		resp.Entries = append(resp.Entries, result)
	}
	return resp, nil, true
}

// unknownTopics protects kfake from a Produce request with several unknown topic ids, such as those
// of deleted topics: if they have a partition in common, its handler panics.
type unknownTopics struct {
	name func(id [16]byte) string
}

// onProduce answers such a request itself: nothing is written, and the partitions of topics that
// exist get an error after which clients send them again.
func (u unknownTopics) onProduce(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req := r.(*kmsg.ProduceRequest)
	if req.Version < 13 || len(req.Topics) < 2 {
		return nil, nil, false
	}
	unknown := make([]bool, len(req.Topics))
	n := 0
	for i, t := range req.Topics {
		if unknown[i] = u.name(t.TopicID) == ""; unknown[i] {
			n++
		}
	}
	if n < 2 {
		return nil, nil, false
	}
	if req.Acks == 0 { // there is no answer: keep the topics that exist
		known := req.Topics[:0]
		for i, t := range req.Topics {
			if !unknown[i] {
				known = append(known, t)
			}
		}
		req.Topics = known
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for i, t := range req.Topics {
		code := kerr.NotLeaderForPartition.Code
		if unknown[i] {
			code = kerr.UnknownTopicID.Code
		}
		rt := kmsg.NewProduceResponseTopic()
		rt.TopicID = t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil, true
}
