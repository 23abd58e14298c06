package embedded

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker/front"
)

// Administrative requests that kfake answers unlike Kafka:
//
//   - ListGroups compares types case-sensitively, so that Java's clients, which capitalize them,
//     find no group.
//   - OffsetFetch of an unknown group is an error, which ends a Java consumer that assigns itself
//     partitions. In Kafka such a group has no offsets. Topics that the client may not describe are
//     not left out.
//   - IncrementalAlterConfigs appends to nothing instead of the default: appending compact to
//     cleanup.policy drops delete.
//   - CreateTopics, IncrementalAlterConfigs and AlterConfigs accept any setting.
//   - AlterConfigs of a broker also replaces the settings that it was started with, and clients can
//     change how often kfake compacts, which would then not spare open transactions.

// onMetadata keeps kfake from creating topics whose names are invalid, if it creates topics that
// clients request. The client's next request creates the others.
func onMetadata(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	if req, ok := kreq.(*kmsg.MetadataRequest); ok && req.AllowAutoTopicCreation {
		for _, t := range req.Topics {
			if t.Topic != nil && !front.ValidTopicName(*t.Topic) {
				req.AllowAutoTopicCreation = false
			}
		}
	}
	return nil, nil, false
}

// onConsumerGroupDescribe gives the front the names of all topics: kfake's answer has ids only.
func (b *Broker) onConsumerGroupDescribe(kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	b.front.SetTopicNames(b.loop.topicNames())
	return nil, nil, false
}

// onListGroups normalizes the types to list.
func onListGroups(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	if req, ok := kreq.(*kmsg.ListGroupsRequest); ok {
		for i, t := range req.TypesFilter {
			req.TypesFilter[i] = strings.ToLower(t)
		}
	}
	return nil, nil, false
}

// onOffsetFetch answers requests that name unknown groups, which have no offsets, and those that
// name topics, or ask for all, of which the client may describe only some: kfake does not check
// topics. Others are left to kfake.
func (b *Broker) onOffsetFetch(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.OffsetFetchRequest)
	if !ok {
		return nil, nil, false
	}
	groups := req.Groups
	if req.Version <= 7 {
		groups = []kmsg.OffsetFetchRequestGroup{onlyGroup(req)}
	}
	resp := req.ResponseKind().(*kmsg.OffsetFetchResponse) //nolint:forcetypeassert // kmsg pairs them
	mine := false
	for _, g := range groups {
		if g.Group == "" {
			return nil, nil, false
		}
		answer, differs := b.fetchOffsets(g, req.RequireStable)
		resp.Groups = append(resp.Groups, answer)
		mine = mine || differs
	}
	if !mine {
		return nil, nil, false
	}
	if req.Version <= 7 {
		ungroup(resp)
	}
	return resp, nil, true
}

// fetchOffsets returns a group's offsets, and whether kfake's answer would differ.
func (b *Broker) fetchOffsets(g kmsg.OffsetFetchRequestGroup, stable bool) (answer kmsg.OffsetFetchResponseGroup, differs bool) {
	answer = kmsg.NewOffsetFetchResponseGroup()
	answer.Group = g.Group
	if !b.access.current.may(kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup, g.Group) {
		answer.ErrorCode = kerr.GroupAuthorizationFailed.Code
		return answer, false
	}
	info := b.cluster.GroupInfo(g.Group)
	differs = info == nil
	unstable := info != nil && stable && b.journal.producers.unstable(g.Group)
	for _, t := range b.requestedTopics(g) {
		topic := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic, TopicID: t.TopicID}
		allowed := b.access.current.may(kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, t.Topic)
		differs = differs || !allowed
		if !allowed && g.Topics == nil {
			continue
		}
		for _, p := range t.Partitions {
			offset := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			offset.Partition, offset.Offset, offset.Metadata = p, -1, kmsg.StringPtr("")
			switch {
			case !allowed:
				offset.ErrorCode = kerr.TopicAuthorizationFailed.Code
			case unstable:
				offset.ErrorCode = kerr.UnstableOffsetCommit.Code
			case info != nil:
				if c, ok := info.Commits[t.Topic][p]; ok {
					offset.Offset, offset.LeaderEpoch, offset.Metadata = c.Offset, c.LeaderEpoch, kmsg.StringPtr(c.Metadata)
				}
			}
			topic.Partitions = append(topic.Partitions, offset)
		}
		answer.Topics = append(answer.Topics, topic)
	}
	return answer, differs
}

// onlyGroup returns the group of a request of version 7 or earlier.
func onlyGroup(req *kmsg.OffsetFetchRequest) kmsg.OffsetFetchRequestGroup {
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = req.Group
	if req.Topics == nil {
		return g
	}
	g.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	for _, t := range req.Topics {
		g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	return g
}

// ungroup gives the answer with one group the form of version 7 and earlier.
func ungroup(resp *kmsg.OffsetFetchResponse) {
	g := resp.Groups[0]
	resp.Groups, resp.ErrorCode = nil, g.ErrorCode
	for _, t := range g.Topics {
		topic := kmsg.NewOffsetFetchResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			partition := kmsg.NewOffsetFetchResponseTopicPartition()
			partition.Partition, partition.Offset, partition.LeaderEpoch = p.Partition, p.Offset, p.LeaderEpoch
			partition.Metadata, partition.ErrorCode = p.Metadata, p.ErrorCode
			topic.Partitions = append(topic.Partitions, partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
}

// requestedTopics returns the topics of a request with their names; all with offsets, if it names
// none.
func (b *Broker) requestedTopics(g kmsg.OffsetFetchRequestGroup) []kmsg.OffsetFetchRequestGroupTopic {
	if g.Topics == nil {
		info := b.cluster.GroupInfo(g.Group)
		if info == nil {
			return nil
		}
		var all []kmsg.OffsetFetchRequestGroupTopic
		for name, commits := range info.Commits {
			t := kmsg.OffsetFetchRequestGroupTopic{Topic: name}
			if topic := b.cluster.TopicInfo(name); topic != nil {
				t.TopicID = topic.TopicID
			}
			for p := range commits {
				t.Partitions = append(t.Partitions, p)
			}
			all = append(all, t)
		}
		return all
	}
	topics := slices.Clone(g.Topics)
	for i := range topics {
		if topics[i].Topic == "" {
			topics[i].Topic = b.topicName(topics[i].TopicID)
		}
	}
	return topics
}

// cleanupPolicy is the only setting of topics that is a list.
const (
	cleanupPolicy        = "cleanup.policy"
	defaultCleanupPolicy = "delete"
)

// invalidOperation makes kfake refuse the change of a resource.
const invalidOperation = kmsg.IncrementalAlterConfigOp(99)

// cleanerBackoff is the interval of kfake's own compaction, which must never run: see maintain.go.
const cleanerBackoff = "log.cleaner.backoff.ms"

// brokerConfigs returns the settings of the broker.
func brokerConfigs(p Profile) map[string]string {
	return map[string]string{
		"default.replication.factor": "1",
		cleanerBackoff:               "315360000000",
		"log.segment.bytes":          strconv.FormatInt(p.SegmentBytes, 10),
	}
}

// invalidBrokerConfig returns why clients can't change a setting of the broker, or "".
func invalidBrokerConfig(name string) string {
	if name == cleanerBackoff {
		return cleanerBackoff + " can't be changed: Weir schedules the embedded broker's compaction"
	}
	return ""
}

// onIncrementalAlterConfigs refuses invalid settings, and gives a list that is appended to its
// default.
func (b *Broker) onIncrementalAlterConfigs(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.IncrementalAlterConfigsRequest)
	if !ok {
		return nil, nil, false
	}
	for i := range req.Resources {
		r := &req.Resources[i]
		for k := range r.Configs {
			c := &r.Configs[k]
			wrong := b.invalidChange(r, c)
			if wrong == "" {
				continue
			}
			if len(req.Resources) > 1 {
				c.Op = invalidOperation // kfake answers for the other resources
				continue
			}
			resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse) //nolint:forcetypeassert // kmsg pairs them
			refused := kmsg.NewIncrementalAlterConfigsResponseResource()
			refused.ResourceType, refused.ResourceName = r.ResourceType, r.ResourceName
			refused.ErrorCode, refused.ErrorMessage = kerr.InvalidConfig.Code, &wrong
			resp.Resources = append(resp.Resources, refused)
			return resp, nil, true
		}
	}
	return nil, nil, false
}

// invalidChange returns why Kafka refuses a change, or "". It applies a change of a default.
func (b *Broker) invalidChange(r *kmsg.IncrementalAlterConfigsRequestResource, c *kmsg.IncrementalAlterConfigsRequestResourceConfig) (wrong string) {
	if r.ResourceType == kmsg.ConfigResourceTypeBroker {
		return invalidBrokerConfig(c.Name)
	}
	if r.ResourceType != kmsg.ConfigResourceTypeTopic {
		return ""
	}
	info := b.cluster.TopicInfo(r.ResourceName)
	if info == nil {
		return ""
	}
	switch c.Op {
	case kmsg.IncrementalAlterConfigOpSet:
		wrong = invalidTopicConfig(c.Name, c.Value)
	case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
		_, own := info.Configs[cleanupPolicy]
		wrong = invalidTopicConfig(c.Name, c.Value)
		if wrong == "" && c.Name == cleanupPolicy && !own {
			changeDefault(c)
		}
	}
	return wrong
}

// changeDefault turns a change of the default cleanup policy into its result.
func changeDefault(c *kmsg.IncrementalAlterConfigsRequestResourceConfig) {
	appended := c.Op == kmsg.IncrementalAlterConfigOpAppend
	c.Op = kmsg.IncrementalAlterConfigOpSet
	switch {
	case appended && *c.Value != defaultCleanupPolicy:
		c.Value = kmsg.StringPtr(defaultCleanupPolicy + "," + *c.Value)
	case !appended && *c.Value == defaultCleanupPolicy:
		c.Value = kmsg.StringPtr("") // no policy: Kafka keeps everything
	default:
		c.Value = kmsg.StringPtr(defaultCleanupPolicy)
	}
}

// onAlterConfigs refuses invalid settings, and keeps those that the broker was started with.
// Kafka's clients have replaced this request by IncrementalAlterConfigs, and send one resource.
func (b *Broker) onAlterConfigs(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.AlterConfigsRequest)
	if !ok {
		return nil, nil, false
	}
	for i := range req.Resources {
		r := &req.Resources[i]
		for _, c := range r.Configs {
			wrong := ""
			switch r.ResourceType {
			case kmsg.ConfigResourceTypeTopic:
				wrong = invalidTopicConfig(c.Name, c.Value)
			case kmsg.ConfigResourceTypeBroker:
				wrong = invalidBrokerConfig(c.Name)
			}
			if wrong == "" {
				continue
			}
			resp := req.ResponseKind().(*kmsg.AlterConfigsResponse) //nolint:forcetypeassert // kmsg pairs them
			for _, all := range req.Resources {
				refused := kmsg.NewAlterConfigsResponseResource()
				refused.ResourceType, refused.ResourceName = all.ResourceType, all.ResourceName
				refused.ErrorCode, refused.ErrorMessage = kerr.InvalidConfig.Code, &wrong
				resp.Resources = append(resp.Resources, refused)
			}
			return resp, nil, true
		}
		if r.ResourceType == kmsg.ConfigResourceTypeBroker {
			b.keepBrokerConfigs(r)
		}
	}
	return nil, nil, false
}

// keepBrokerConfigs adds to a request the settings that it would otherwise remove.
func (b *Broker) keepBrokerConfigs(r *kmsg.AlterConfigsRequestResource) {
	for name, value := range brokerConfigs(b.profile) {
		named := slices.ContainsFunc(r.Configs, func(c kmsg.AlterConfigsRequestResourceConfig) bool { return c.Name == name })
		if !named {
			r.Configs = append(r.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: name, Value: &value})
		}
	}
}

// onCreateTopics refuses invalid settings of a topic. In a request for several topics, those with
// invalid settings are left to kfake without partitions, which refuses them and creates the others.
func onCreateTopics(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.CreateTopicsRequest)
	if !ok {
		return nil, nil, false
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		for _, c := range t.Configs {
			wrong := invalidTopicConfig(c.Name, c.Value)
			if wrong == "" {
				continue
			}
			if len(req.Topics) > 1 {
				t.NumPartitions, t.ReplicaAssignment = 0, nil
				break
			}
			resp := req.ResponseKind().(*kmsg.CreateTopicsResponse) //nolint:forcetypeassert // kmsg pairs them
			refused := kmsg.NewCreateTopicsResponseTopic()
			refused.Topic, refused.ErrorCode, refused.ErrorMessage = t.Topic, kerr.InvalidConfig.Code, &wrong
			refused.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
			resp.Topics = append(resp.Topics, refused)
			return resp, nil, true
		}
	}
	return nil, nil, false
}

// topicConfigs has a check for each setting of a topic in Kafka 4.3. Kafka's clients may set any of
// them; those that the broker does not use are stored.
var topicConfigs = map[string]func(string) bool{
	cleanupPolicy:         listOf("compact", "delete"),
	"compression.type":    listOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
	"delete.retention.ms": atLeast(0), "file.delete.delay.ms": atLeast(0), "flush.messages": atLeast(1), "flush.ms": atLeast(0),
	"follower.replication.throttled.replicas": anything, "index.interval.bytes": atLeast(0),
	"leader.replication.throttled.replicas": anything, "local.retention.bytes": atLeast(-2), "local.retention.ms": atLeast(-2),
	"max.compaction.lag.ms": atLeast(1), "max.message.bytes": atLeast(0),
	"message.timestamp.after.max.ms": atLeast(0), "message.timestamp.before.max.ms": atLeast(0),
	"message.timestamp.type": listOf("CreateTime", "LogAppendTime"), "min.cleanable.dirty.ratio": fraction,
	"min.compaction.lag.ms": atLeast(0), "min.insync.replicas": atLeast(1), "preallocate": listOf("true", "false"),
	"remote.log.copy.disable": listOf("true", "false"), "remote.log.delete.on.disable": listOf("true", "false"),
	"remote.storage.enable": listOf("true", "false"), "retention.bytes": anyNumber, "retention.ms": atLeast(-1),
	"segment.bytes": atLeast(1), "segment.index.bytes": atLeast(4), "segment.jitter.ms": atLeast(0), "segment.ms": atLeast(1),
	"unclean.leader.election.enable": listOf("true", "false"),
	"kfake.is_internal":              listOf("true", "false"),
}

// invalidTopicConfig returns why Kafka refuses a setting of a topic, or "".
func invalidTopicConfig(name string, value *string) string {
	valid, ok := topicConfigs[name]
	switch {
	case !ok:
		return "Unknown topic config name: " + name
	case value == nil:
		return fmt.Sprintf("Null value not supported for topic configs: %s", name)
	case !valid(*value):
		return fmt.Sprintf("Invalid value %s for configuration %s", *value, name)
	}
	return ""
}

func anything(string) bool { return true }

func anyNumber(text string) bool {
	_, err := strconv.ParseInt(text, 10, 64)
	return err == nil
}

func fraction(text string) bool {
	v, err := strconv.ParseFloat(text, 64)
	return err == nil && v >= 0 && v <= 1
}

func atLeast(least int64) func(string) bool {
	return func(text string) bool {
		v, err := strconv.ParseInt(text, 10, 64)
		return err == nil && v >= least
	}
}

func listOf(allowed ...string) func(string) bool {
	return func(text string) bool {
		for _, part := range strings.Split(text, ",") {
			if !slices.Contains(allowed, strings.TrimSpace(part)) && text != "" {
				return false
			}
		}
		return true
	}
}
