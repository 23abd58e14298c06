package produce

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// progress is the value of a source's record in the compacted progress topic, with the key
// "source/NAME".
type progress struct {
	Position json.RawMessage `json:"position"` // in the source's own format
	Readings int64           `json:"readings"` // committed by all runs
}

func progressKey(name string) string { return "source/" + name }

// readProgress returns the last committed progress of a source, or nil. The caller must have
// acquired the source's transactional id, so that no other producer can commit.
func readProgress(ctx context.Context, c broker.Config, topic, name string) (*progress, error) {
	var last *progress
	key := progressKey(name)
	err := broker.ReadAll(ctx, c, topic, nil, func(r *kgo.Record) error {
		if string(r.Key) != key {
			return nil
		}
		if r.Value == nil {
			last = nil
			return nil
		}
		last = new(progress)
		if err := json.Unmarshal(r.Value, last); err != nil {
			return fmt.Errorf("decode progress of %s at %s-%d offset %d: %w", name, r.Topic, r.Partition, r.Offset, err)
		}
		return nil
	})
	return last, err
}

func (p *progress) record(topic, name string) (*kgo.Record, error) {
	value, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: topic, Key: []byte(progressKey(name)), Value: value}, nil
}
