package broker

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// usualLimit is the maximum batch size, in bytes, for topics whose limit is unknown: below
	// Kafka's default.
	usualLimit = 1_000_012
	// batchOverhead is an upper bound on what a batch adds to its only record, in bytes.
	batchOverhead = 128
	// HeaderOverhead is an upper bound on what Kafka's record format adds to a header, in bytes.
	HeaderOverhead = 12
)

// Limits holds the maximum batch size by topic, in bytes (max.message.bytes). Topics that are
// missing have the usual limit.
type Limits map[string]int32

// FindLimits reads the limits of topics. Topics whose limit the broker does not report keep the
// usual one.
func FindLimits(ctx context.Context, admin *kadm.Client, topics ...string) (Limits, error) {
	limits := make(Limits)
	if len(topics) == 0 {
		return limits, nil
	}
	configs, err := admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("read the topics' max.message.bytes: %w", err)
	}
	for _, topic := range configs {
		for _, entry := range topic.Configs {
			if entry.Key != "max.message.bytes" || entry.Value == nil {
				continue
			}
			if n, err := strconv.ParseInt(*entry.Value, 10, 32); err == nil {
				limits[topic.Name] = int32(min(max(n, 512), 64<<20)) // the range that the client accepts
			}
		}
	}
	return limits, nil
}

// Batch returns the maximum batch size of a topic, for kgo.ProducerBatchMaxBytesFn.
func (l Limits) Batch(topic string) int32 {
	if n, ok := l[topic]; ok {
		return n
	}
	return usualLimit
}

// Record returns the maximum size of a topic's record, in bytes of key, value and headers: see
// CheckSize.
func (l Limits) Record(topic string) int { return int(l.Batch(topic)) - batchOverhead }

// CheckSize rejects a record that exceeds the limit; the broker would reject its whole batch.
func CheckSize(r *kgo.Record, limit int) error {
	size := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += HeaderOverhead + len(h.Key) + len(h.Value)
	}
	if size > limit {
		return fmt.Errorf("the record has %d bytes, and topic %s takes %d (max.message.bytes)", size, r.Topic, limit)
	}
	return nil
}
