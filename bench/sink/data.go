package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/bench/command"
	"weir.example/weir/bench/topics"
	"weir.example/weir/internal/broker"
)

// seed of the rows.
const seed = 20

// repeats is how often each key occurs, on average.
const repeats = 10

// data is what a run has written, if it is right.
type data struct {
	csv     string // file with the rows
	sum     int64  // of the column n, of all rows
	keys    int    // different ones
	lastSum int64  // of the column n, of the last row of each key
}

// row returns row i.
func row(random *rand.Rand, i, keys int) (key int, device string, value float64, at string) {
	key = random.IntN(keys)
	return key, fmt.Sprintf("device-%07d", key), float64(random.IntN(10_000)) / 100, time.UnixMilli(1_772_366_400_000 + int64(i)).UTC().Format("2006-01-02 15:04:05.000")
}

func (b *bench) config() broker.Config {
	return broker.Config{Brokers: []string{b.brokers}, ClientID: "weir-bench"}
}

// fill writes the rows to the topic, those of a key to one partition, and to the file.
func (b *bench) fill(ctx context.Context) (err error) {
	command.Progress("write %d rows with seed %d", b.rows, seed)
	if err := topics.Create(ctx, b.config(), partitions, source); err != nil {
		return err
	}
	client, err := broker.Connect(ctx, b.config(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(source), kgo.MaxBufferedRecords(50_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer client.Close()
	b.data.csv = filepath.Join(b.dir, "rows.csv")
	f, err := os.Create(b.data.csv)
	if err != nil {
		return err
	}
	csv := bufio.NewWriterSize(f, 1<<20)
	defer func() { err = errors.Join(err, csv.Flush(), f.Close()) }()
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a benchmark
	last := make(map[int]int64)
	var failed kgo.FirstErrPromise
	for i := range b.rows {
		key, device, value, at := row(random, i, b.rows/repeats)
		fmt.Fprintf(csv, "%s,temperature,%g,%d,%s\n", device, value, i, at)
		text := fmt.Appendf(make([]byte, 0, 128), `{"k":"%s","sensor":"temperature","v":%g,"n":%d,"ts":"%s"}`, device, value, i, at)
		client.Produce(ctx, &kgo.Record{Partition: int32(key % partitions), Value: text}, failed.Promise()) //nolint:gosec // few partitions
		b.data.sum += int64(i)
		last[key] = int64(i)
	}
	b.data.keys = len(last)
	for _, n := range last {
		b.data.lastSum += n
	}
	return errors.Join(client.Flush(ctx), failed.Err())
}
