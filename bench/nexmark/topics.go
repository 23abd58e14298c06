package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/bench/command"
	"weir.example/weir/bench/topics"
	"weir.example/weir/internal/broker"
)

func (b *bench) config() broker.Config {
	return broker.Config{Brokers: []string{b.brokers}, ClientID: "weir-bench"}
}

// create creates a topic.
func (b *bench) create(ctx context.Context, topic string) error {
	return topics.Create(ctx, b.config(), partitions, topic)
}

// forget deletes every topic except the events.
func (b *bench) forget(ctx context.Context) error {
	return topics.DeleteOthers(ctx, b.config(), source)
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
	command.Progress("write %d events with seed %d", b.rows, b.seed)
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
