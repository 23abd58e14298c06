// Package topics creates and deletes the topics of benchmarks on one broker.
package topics

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
)

// Create creates topics that never expire records: event times are in the past.
func Create(ctx context.Context, at broker.Config, partitions int32, topics ...string) error {
	client, err := broker.Connect(ctx, at)
	if err != nil {
		return err
	}
	defer client.Close()
	forever := "-1"
	made, err := kadm.NewClient(client).CreateTopics(ctx, partitions, 1, map[string]*string{"retention.ms": &forever}, topics...)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	return nil
}

// DeleteOthers deletes every topic except one and Kafka's own: results, changelogs and any other
// topics of a run.
func DeleteOthers(ctx context.Context, at broker.Config, keep string) error {
	client, err := broker.Connect(ctx, at)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	all, err := admin.ListTopics(ctx) // without the internal ones
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	var old []string
	for _, topic := range all.Names() {
		if topic != keep && !strings.HasPrefix(topic, "_") {
			old = append(old, topic)
		}
	}
	if len(old) == 0 {
		return nil
	}
	if _, err := admin.DeleteTopics(ctx, old...); err != nil {
		return fmt.Errorf("delete topics: %w", err)
	}
	return nil
}
