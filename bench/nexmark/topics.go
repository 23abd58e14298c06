package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

func (b *bench) config() broker.Config {
	return broker.Config{Brokers: []string{b.brokers}, ClientID: "weir-bench"}
}

// create creates a topic that never expires records: event times are in the past.
func (b *bench) create(ctx context.Context, topic string) error {
	client, err := broker.Connect(ctx, b.config())
	if err != nil {
		return err
	}
	defer client.Close()
	forever := "-1"
	made, err := kadm.NewClient(client).CreateTopics(ctx, partitions, 1, map[string]*string{"retention.ms": &forever}, topic)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return nil
}

// forget deletes every topic except the events.
func (b *bench) forget(ctx context.Context) error {
	client, err := broker.Connect(ctx, b.config())
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopics(ctx) // without the internal ones
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	var old []string
	for _, topic := range topics.Names() {
		if topic != source && !strings.HasPrefix(topic, "_") {
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

// fill writes the events, to one partition after the other.
func (b *bench) fill(ctx context.Context) error {
	if err := b.create(ctx, source); err != nil {
		return err
	}
	client, err := broker.Connect(ctx, b.config(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(source), kgo.MaxBufferedRecords(50_000),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer client.Close()
	progress("write %d events with seed %d", b.rows, b.seed)
	g := newGenerator(b.seed)
	var failed kgo.FirstErrPromise
	var size int64
	for i := range b.rows {
		value := g.event(make([]byte, 0, 512))
		size += int64(len(value))
		client.Produce(ctx, &kgo.Record{Partition: int32(i % partitions), Value: value}, failed.Promise()) //nolint:gosec // few partitions
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	b.bytes = float64(size) / float64(b.rows)
	if err := failed.Err(); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}
