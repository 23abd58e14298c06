package front

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// repairs has the changes of answers that differ from Kafka's, by API. Only these are parsed.
var repairs = map[kmsg.Key]func(kmsg.Response){
	kmsg.ApiVersions:             func(r kmsg.Response) { announceServed(r.(*kmsg.ApiVersionsResponse)) },
	kmsg.CreateTopics:            func(r kmsg.Response) { repairCreateTopics(r.(*kmsg.CreateTopicsResponse)) },
	kmsg.DescribeTopicPartitions: func(r kmsg.Response) { repairTopicPartitions(r.(*kmsg.DescribeTopicPartitionsResponse)) },
	kmsg.ShareFetch:              func(r kmsg.Response) { repairShareFetch(r.(*kmsg.ShareFetchResponse)) },
	kmsg.DescribeClientQuotas:    func(r kmsg.Response) { repairClientQuotas(r.(*kmsg.DescribeClientQuotasResponse)) },
}

// repair returns the answer to a request as Kafka would send it.
func repair(req request, p []byte) ([]byte, error) {
	fix := repairs[kmsg.Key(req.key)]
	if fix == nil {
		return p, nil
	}
	resp := kmsg.ResponseForKey(req.key)
	resp.SetVersion(answerVersion(req, p))
	// ApiVersions never has tagged fields in the header of its answer.
	header := headerBytes
	if resp.IsFlexible() && req.key != int16(kmsg.ApiVersions) {
		header++
	}
	if err := resp.ReadFrom(p[header:]); err != nil {
		return nil, fmt.Errorf("parse the broker's answer to %s: %w", kmsg.NameForKey(req.key), err)
	}
	fix(resp)
	answer := resp.AppendTo(slices.Clone(p[:header]))
	binary.BigEndian.PutUint32(answer, uint32(len(answer)-4)) //nolint:gosec // about as long as p
	return answer, nil
}

// answerVersion returns the version of an answer: the request's, or 0 for an ApiVersions request
// that is newer than the broker.
func answerVersion(req request, p []byte) int16 {
	const unsupportedVersion = 35
	if req.key == int16(kmsg.ApiVersions) && binary.BigEndian.Uint16(p[headerBytes:]) == unsupportedVersion {
		return 0
	}
	return req.version
}

// announceServed restricts the announced versions to those that the front accepts.
func announceServed(r *kmsg.ApiVersionsResponse) {
	keys := r.ApiKeys[:0]
	for _, k := range r.ApiKeys {
		if api := served()[k.ApiKey]; api != nil {
			k.MinVersion, k.MaxVersion = max(k.MinVersion, api.from), min(k.MaxVersion, api.to)
			if k.ApiKey == int16(kmsg.Produce) {
				k.MinVersion = 0 // as Kafka announces, for old versions of librdkafka (KAFKA-18659)
			}
			keys = append(keys, k)
		}
	}
	r.ApiKeys = keys
}

// dynamicTopicConfig is the source of a topic's own settings in Kafka's answers (KIP-226).
const dynamicTopicConfig = 1

// repairCreateTopics sets the errors of the topics that onCreateTopics left to kfake, and what
// Java's clients expect: settings that are not null, each with a source.
func repairCreateTopics(r *kmsg.CreateTopicsResponse) {
	for i := range r.Topics {
		t := &r.Topics[i]
		if wrong := topicNameError(t.Topic); wrong != "" && t.ErrorCode == kerr.InvalidPartitions.Code {
			t.ErrorCode, t.ErrorMessage = kerr.InvalidTopicException.Code, kmsg.StringPtr("Topic name is invalid: "+wrong)
		}
		if t.Configs == nil {
			t.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
		}
		for k := range t.Configs {
			if t.Configs[k].Source < dynamicTopicConfig {
				t.Configs[k].Source = dynamicTopicConfig
			}
		}
	}
}

func repairTopicPartitions(r *kmsg.DescribeTopicPartitionsResponse) {
	for i := range r.Topics {
		for k := range r.Topics[i].Partitions {
			p := &r.Topics[i].Partitions[k]
			if p.EligibleLeaderReplicas == nil {
				p.EligibleLeaderReplicas = []int32{}
			}
			if p.LastKnownELR == nil {
				p.LastKnownELR = []int32{}
			}
		}
	}
}

func repairClientQuotas(r *kmsg.DescribeClientQuotasResponse) {
	if r.Entries == nil {
		r.Entries = []kmsg.DescribeClientQuotasResponseEntry{}
	}
}

func repairShareFetch(r *kmsg.ShareFetchResponse) {
	for i := range r.Topics {
		for k := range r.Topics[i].Partitions {
			if p := &r.Topics[i].Partitions[k]; p.Records == nil {
				p.Records = []byte{}
			}
		}
	}
}
