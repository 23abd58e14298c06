package front

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// repairs has the changes of answers that differ from Kafka's, by API. Only these are parsed.
var repairs = map[kmsg.Key]func(l *Listener, req kmsg.Request, resp kmsg.Response){
	kmsg.Metadata: func(_ *Listener, _ kmsg.Request, r kmsg.Response) { repairMetadata(r.(*kmsg.MetadataResponse)) },
	kmsg.LeaveGroup: func(_ *Listener, req kmsg.Request, r kmsg.Response) {
		repairLeaveGroup(req.(*kmsg.LeaveGroupRequest), r.(*kmsg.LeaveGroupResponse))
	},
	kmsg.DescribeGroups: func(_ *Listener, _ kmsg.Request, r kmsg.Response) {
		repairDescribeGroups(r.(*kmsg.DescribeGroupsResponse))
	},
	kmsg.ApiVersions: func(_ *Listener, _ kmsg.Request, r kmsg.Response) { announceServed(r.(*kmsg.ApiVersionsResponse)) },
	kmsg.CreateTopics: func(l *Listener, req kmsg.Request, r kmsg.Response) {
		repairCreateTopics(r.(*kmsg.CreateTopicsResponse))
		l.repairConfigErrors(req.(*kmsg.CreateTopicsRequest), r.(*kmsg.CreateTopicsResponse))
	},
	kmsg.DescribeTopicPartitions: func(_ *Listener, _ kmsg.Request, r kmsg.Response) {
		repairTopicPartitions(r.(*kmsg.DescribeTopicPartitionsResponse))
	},
	kmsg.ConsumerGroupDescribe: func(l *Listener, _ kmsg.Request, r kmsg.Response) {
		repairConsumerGroups(r.(*kmsg.ConsumerGroupDescribeResponse), l.topicNames.Load())
	},
	kmsg.ShareFetch: func(_ *Listener, _ kmsg.Request, r kmsg.Response) { repairShareFetch(r.(*kmsg.ShareFetchResponse)) },
	kmsg.DescribeClientQuotas: func(_ *Listener, _ kmsg.Request, r kmsg.Response) {
		repairClientQuotas(r.(*kmsg.DescribeClientQuotasResponse))
	},
}

// repair returns the answer to a request as Kafka would send it.
func (l *Listener) repair(req request, p []byte) ([]byte, error) {
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
	fix(l, req.parsed, resp)
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
			switch kmsg.Key(k.ApiKey) {
			case kmsg.Produce: // as Kafka announces, for old versions of librdkafka (KAFKA-18659)
				k.MinVersion = 0
			case kmsg.SASLHandshake: // likewise: librdkafka 2.0 logs in with version 1, but only if there is version 0
				k.MinVersion = 0
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

// repairConfigErrors sets the errors of topics with invalid settings that the broker has refused
// for another reason.
func (l *Listener) repairConfigErrors(req *kmsg.CreateTopicsRequest, r *kmsg.CreateTopicsResponse) {
	wrong := make(map[string]string)
	for _, t := range req.Topics {
		for _, c := range t.Configs {
			if problem := l.topicConfigError(c.Name, c.Value); problem != "" && t.NumPartitions != 0 {
				wrong[t.Topic] = problem
				break
			}
		}
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		if problem := wrong[t.Topic]; problem != "" && t.ErrorCode == kerr.InvalidPartitions.Code {
			t.ErrorCode, t.ErrorMessage = kerr.InvalidConfig.Code, &problem
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

// repairMetadata sets the error of unknown topics whose names are invalid.
func repairMetadata(r *kmsg.MetadataResponse) {
	for i := range r.Topics {
		t := &r.Topics[i]
		if t.ErrorCode == kerr.UnknownTopicOrPartition.Code && t.Topic != nil && topicNameError(*t.Topic) != "" {
			t.ErrorCode = kerr.InvalidTopicException.Code
		}
	}
}

// repairLeaveGroup repeats the ids by which the request named the members. For static members,
// kfake answers with the id that the group has assigned, by which Java's client finds no member.
func repairLeaveGroup(req *kmsg.LeaveGroupRequest, r *kmsg.LeaveGroupResponse) {
	if len(r.Members) != len(req.Members) {
		return
	}
	for i := range r.Members {
		r.Members[i].MemberID, r.Members[i].InstanceID = req.Members[i].MemberID, req.Members[i].InstanceID
	}
}

func repairDescribeGroups(r *kmsg.DescribeGroupsResponse) {
	for i := range r.Groups {
		for k := range r.Groups[i].Members {
			m := &r.Groups[i].Members[k]
			m.ClientHost = clientHost(m.ClientHost)
		}
	}
}

// clientHost returns a client's address in Kafka's form, /127.0.0.1. kfake's has the port.
func clientHost(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return "/" + host
}

// defaultAssignor assigns the partitions of groups whose members name none (KIP-848).
const defaultAssignor = "uniform"

// repairConsumerGroups sets what kfake leaves out: the names of topics and the default assignor.
func repairConsumerGroups(r *kmsg.ConsumerGroupDescribeResponse, names *map[[16]byte]string) {
	if names == nil {
		names = new(map[[16]byte]string)
	}
	for i := range r.Groups {
		g := &r.Groups[i]
		if g.AssignorName == "" && g.ErrorCode == 0 {
			g.AssignorName = defaultAssignor
		}
		for k := range g.Members {
			m := &g.Members[k]
			m.ClientHost = clientHost(m.ClientHost)
			for _, a := range []*kmsg.Assignment{&m.Assignment, &m.TargetAssignment} {
				for n := range a.TopicPartitions {
					a.TopicPartitions[n].Topic = (*names)[a.TopicPartitions[n].TopicID]
				}
			}
		}
	}
}
