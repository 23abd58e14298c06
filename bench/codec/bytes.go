package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/reading"
)

var compressions = []string{"none", "lz4", "zstd"}

// writeBytes prints the size of a reading in the log: key, value and Kafka's overhead, in batches
// as a producer writes them.
func writeBytes(ctx context.Context, readings []reading.Reading) (err error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := embedded.Open(embedded.Config{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	client, err := broker.Connect(ctx, broker.Config{Brokers: []string{b.Addr()}})
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 4, 1, nil, "bytes"); err != nil {
		return err
	}
	sides, err := codecs()
	if err != nil {
		return err
	}
	fmt.Println("\n| bytes per reading | none | lz4 | zstd |")
	fmt.Println("|---|---|---|---|")
	for _, s := range sides[:4] {
		fmt.Printf("| %s |", s.name)
		for _, compression := range compressions {
			n, err := written(ctx, b.Addr(), compression, &s, readings)
			if err != nil {
				return fmt.Errorf("%s with %s: %w", s.name, compression, err)
			}
			fmt.Printf(" %.1f |", float64(n)/float64(len(readings)))
		}
		fmt.Println()
	}
	return nil
}

// wire adds up the bytes of batches as they are sent.
type wire struct{ bytes atomic.Int64 }

// OnProduceBatchWritten implements kgo.HookProduceBatchWritten.
func (w *wire) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	w.bytes.Add(int64(m.CompressedBytes))
}

func written(ctx context.Context, addr, name string, c *codec, readings []reading.Reading) (int64, error) {
	compression, err := broker.Compression(name)
	if err != nil {
		return 0, err
	}
	w := &wire{}
	client, err := broker.Connect(ctx, broker.Config{Brokers: []string{addr}}, compression, kgo.WithHooks(w),
		kgo.DefaultProduceTopic("bytes"), kgo.ProducerLinger(100*time.Millisecond), kgo.MaxBufferedRecords(len(readings)+1))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	promise := kgo.AbortingFirstErrPromise(client)
	for i := range readings {
		value, err := c.encode(nil, &readings[i])
		if err != nil {
			return 0, err
		}
		client.Produce(ctx, &kgo.Record{Key: []byte(readings[i].DeviceID), Value: value}, promise.Promise())
	}
	if err := client.Flush(ctx); err != nil {
		return 0, err
	}
	return w.bytes.Load(), promise.Err()
}
