package engine

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	// usualLimit is how large a batch of records is at most where a topic doesn't say: less than what Kafka takes by default.
	usualLimit = 1_000_012
	// ownLimit is that of the topics of state and of rows on their way: to a row that a topic takes, they add something.
	ownLimit = 8 << 20
	// batchOverhead is more than what a batch of one record adds to it.
	batchOverhead = 128
)

// findLimits asks how large records of topics may be: max.message.bytes. Where that is not to be known, the usual limit stays.
func (p *pipeline) findLimits(ctx context.Context, admin *kadm.Client, topics []string) error {
	p.limits = make(map[string]int32)
	if len(topics) == 0 {
		return nil
	}
	configs, err := admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return fmt.Errorf("look at the topics' limits: %w", err)
	}
	for _, topic := range configs {
		for _, entry := range topic.Configs {
			if entry.Key != "max.message.bytes" || entry.Value == nil {
				continue
			}
			if n, err := strconv.ParseInt(*entry.Value, 10, 32); err == nil {
				p.limits[topic.Name] = int32(min(max(n, 512), 64<<20))
			}
		}
	}
	return nil
}

// batchLimit is how large a batch of a topic may be.
func (p *pipeline) batchLimit(topic string) int32 {
	if n, ok := p.limits[topic]; ok {
		return n
	}
	return usualLimit
}

// recordLimit is how large a record of a topic may be.
func (p *pipeline) recordLimit(topic string) int { return int(p.batchLimit(topic)) - batchOverhead }
