package broker

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// usualLimit is how large a batch of records is at most where a topic doesn't say: less than
	// what Kafka takes by default.
	usualLimit = 1_000_012
	// batchOverhead is more than what a batch of one record adds to it.
	batchOverhead = 128
	// HeaderOverhead is more than the lengths that Kafka's record format adds to a header, in
	// bytes.
	HeaderOverhead = 12
)

// Limits are how large the batches of topics may be, in bytes: max.message.bytes. A topic that is
// not in it has the usual limit.
type Limits map[string]int32

// FindLimits asks for the limits of topics. Those that the broker does not tell keep the usual one.
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
				limits[topic.Name] = int32(min(max(n, 512), 64<<20)) // what the client takes
			}
		}
	}
	return limits, nil
}

// Batch is how large a batch of a topic may be, for kgo.ProducerBatchMaxBytesFn.
func (l Limits) Batch(topic string) int32 {
	if n, ok := l[topic]; ok {
		return n
	}
	return usualLimit
}

// Record is how large a record of a topic may be, in bytes of key, value and headers: see
// CheckSize.
func (l Limits) Record(topic string) int { return int(l.Batch(topic)) - batchOverhead }

// CheckSize refuses a record of more bytes than the limit, which the broker would refuse with its
// whole batch.
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
