package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/bench/command"
	"weir.example/weir/bench/topics"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

func (b *bench) connect(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	return broker.Connect(ctx, b.config(), opts...)
}

func (b *bench) config() broker.Config {
	return broker.Config{Brokers: []string{b.brokers}, ClientID: "weir-bench"}
}

// create creates topics.
func (b *bench) create(ctx context.Context, names ...string) error {
	return topics.Create(ctx, b.config(), partitions, names...)
}

// forget deletes every topic except the readings'.
func (b *bench) forget(ctx context.Context) error {
	return topics.DeleteOthers(ctx, b.config(), b.source)
}

// firstGroup makes Kafka create its offsets topic, which it does for the first group, so that no
// side is charged for it.
func (b *bench) firstGroup(ctx context.Context) error {
	client, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	var offsets kadm.Offsets
	offsets.AddOffset(b.source, 0, 0, -1)
	if err := kadm.NewClient(client).CommitAllOffsets(ctx, "first", offsets); err != nil {
		return fmt.Errorf("commit the offsets of a group: %w", err)
	}
	return nil
}

// fill writes the readings, in transactions of 100,000.
func (b *bench) fill(ctx context.Context) error {
	if err := b.create(ctx, b.source); err != nil {
		return err
	}
	compression, err := broker.Compression(b.compression)
	if err != nil {
		return err
	}
	client, err := b.connect(ctx, kgo.TransactionalID("weir-bench-fill"), kgo.DefaultProduceTopic(b.source),
		compression, kgo.MaxBufferedRecords(50_000))
	if err != nil {
		return err
	}
	defer client.Close()
	command.Progress("write %d readings as %s", b.rows, b.format)
	const length = 100_000
	for from := int64(0); from < b.rows; from += length {
		if err := b.fillTransaction(ctx, client, from, min(from+length, b.rows)); err != nil {
			return fmt.Errorf("write readings: %w", err)
		}
	}
	return nil
}

func (b *bench) fillTransaction(ctx context.Context, client *kgo.Client, from, to int64) error {
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	var failed kgo.FirstErrPromise
	for i := from; i < to; i++ {
		d := &b.want.fleet[i%devices]
		value, err := b.encode(make([]byte, 0, 224), d, i, start.Add(time.Duration(i)*step))
		if err != nil {
			return err
		}
		b.written += int64(len(value))
		client.Produce(ctx, &kgo.Record{Key: []byte(d.id), Value: value}, failed.Promise())
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Err(); err != nil {
		return err
	}
	return broker.Commit(ctx, client)
}

// read calls fn with each committed record of a topic, markers included, up to the end of the log
// at the time of the call. fn must not retain the record or its bytes.
func read(ctx context.Context, brokers, topic string, fn func(*kgo.Record) error) error {
	client, err := broker.Connect(ctx, broker.Config{Brokers: []string{brokers}, ClientID: "weir-bench"},
		kgo.KeepControlRecords(), kgo.FetchMaxPartitionBytes(4<<20))
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := stableEnds(ctx, kadm.NewClient(client), topic)
	if err != nil {
		return err
	}
	from := make(map[int32]kgo.Offset)
	for p, end := range ends {
		if end > 0 {
			from[p] = kgo.NewOffset().AtStart()
		}
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	for open := len(from); open > 0; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		var failed error
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			end := ends[f.Partition]
			for _, r := range f.Records {
				if failed != nil || r.Offset >= end {
					return
				}
				failed = fn(r)
				if r.Offset == end-1 {
					open--
				}
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

// stableEnds returns the end of each partition's log, once no transaction is open before it: a
// producer's commit returns before the markers are in the log.
func stableEnds(ctx context.Context, admin *kadm.Client, topic string) (map[int32]int64, error) {
	for {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("list end offsets of %s: %w", topic, err)
		}
		stable, err := admin.ListCommittedOffsets(ctx, topic)
		if err == nil {
			err = stable.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("list last stable offsets of %s: %w", topic, err)
		}
		offsets, behind := make(map[int32]int64), false
		ends.Each(func(end kadm.ListedOffset) {
			at, _ := stable.Lookup(topic, end.Partition)
			behind = behind || at.Offset < end.Offset
			offsets[end.Partition] = end.Offset
		})
		if !behind {
			return offsets, nil
		}
		if err := retry.Sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("wait for open transactions on %s: %w", topic, err)
		}
	}
}
