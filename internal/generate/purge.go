package generate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// purgeInterval is the time between two deletions of rows that are read.
const purgeInterval = 30 * time.Second

// Purge deletes rows that the group of the pipeline has read, until ctx is done. Their offsets are
// committed with what was computed from them, so that nobody needs them again.
func Purge(ctx context.Context, c Config, group string) {
	for retry.Sleep(ctx, purgeInterval) == nil {
		if err := c.purge(ctx, group); err != nil && ctx.Err() == nil {
			c.Logger.Warn("generated rows that were read are not deleted; the topic's retention will", "topic", c.Table.Kafka.Topic, "err", err)
		}
	}
}

func (c Config) purge(ctx context.Context, group string) error {
	client, err := broker.Connect(ctx, c.Broker)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	read, err := admin.FetchOffsetsForTopics(ctx, group, c.Table.Kafka.Topic)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	starts, err := admin.ListStartOffsets(ctx, c.Table.Kafka.Topic)
	if err != nil {
		return fmt.Errorf("list offsets: %w", err)
	}
	before := make(kadm.Offsets)
	for partition, o := range read[c.Table.Kafka.Topic] {
		start, ok := starts.Lookup(c.Table.Kafka.Topic, partition)
		if ok && o.Err == nil && o.At > start.Offset {
			before.AddOffset(c.Table.Kafka.Topic, partition, o.At, -1)
		}
	}
	if len(before) == 0 {
		return nil
	}
	deleted, err := admin.DeleteRecords(ctx, before)
	if err == nil {
		err = deleted.Error()
	}
	return err
}
