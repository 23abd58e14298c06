package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// begunTopic keeps, longer than Kafka keeps the offsets of a group without members, of which
// partitions rows were delivered: the key is a partition, and the value the topic's id.
func (t *groupTarget) begunTopic() string { return t.topic + ".begun" }

// readBegun returns the partitions of which rows were delivered.
func (s *groupSession) readBegun(ctx context.Context) (map[int32]bool, error) {
	begun := make(map[int32]bool)
	topics, err := kadm.NewClient(s.client).ListTopics(ctx, s.begunTopic())
	if err == nil {
		err = topics[s.begunTopic()].Err
	}
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return begun, nil
	case err != nil:
		return nil, fmt.Errorf("describe topic %s: %w", s.begunTopic(), err)
	}
	err = broker.ReadAll(ctx, s.broker, s.begunTopic(), nil, func(r *kgo.Record) error {
		p, err := strconv.ParseInt(string(r.Key), 10, 32)
		if err != nil {
			return fmt.Errorf("topic %s, offset %d: the key %q is not a partition", r.Topic, r.Offset, r.Key)
		}
		begun[int32(p)] = string(r.Value) == s.from.ID
		return nil
	})
	return begun, err
}

// noteBegun records that rows of partitions were delivered, if it is not recorded.
func (s *groupSession) noteBegun(ctx context.Context, partitions []int32) error {
	partitions = slices.DeleteFunc(partitions, func(p int32) bool { return s.begun[p] })
	if len(partitions) == 0 {
		return nil
	}
	if err := broker.EnsureTopics(ctx, kadm.NewClient(s.client), []broker.Topic{{Name: s.begunTopic(), Partitions: 1, CleanupPolicy: "compact"}}); err != nil {
		return err
	}
	var records []*kgo.Record
	for _, p := range partitions {
		records = append(records, &kgo.Record{Topic: s.begunTopic(), Partition: 0, Key: strconv.AppendInt(nil, int64(p), 10), Value: []byte(s.from.ID)})
	}
	if err := s.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("write to topic %s: %w", s.begunTopic(), err)
	}
	for _, p := range partitions {
		s.begun[p] = true
	}
	return nil
}

// expired refuses partitions of which rows were delivered, but up to where is not known any more.
func (s *groupSession) expired(partitions []int32) error {
	return Refuse("sink %s has delivered rows of the partitions %d of topic %s, but its group %s has no offsets for them any more: Kafka has removed them, because the pipeline was stopped for longer than offsets.retention.minutes, or somebody has. "+
		"Stop the pipeline, and say where it continues: kafka-consumer-groups --reset-offsets --group %s --topic %s --execute with --to-datetime and the time at which it was stopped, with --to-earliest to send all rows again that the topic still has, or with --to-latest to send none of them",
		s.name, partitions, s.topic, s.group, s.group, s.topic)
}
