// Command wait measures how long other clients of the embedded broker wait while it compacts,
// applies retention, or answers reads of a backfill: kfake handles all requests one after another.
//
// Two clients measure: one asks for the supported versions, one produces single records to a topic
// of its own, each with a pause of a millisecond in between.
//
// With -read-mbs, the process runs in a control group that limits its memory and the speed at which
// it reads, and each load starts with nothing in the page cache.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"weir.example/weir/bench/cgroup"
	"weir.example/weir/internal/broker/embedded"
)

const (
	partitions = 4
	valueBytes = 1000
	pause      = time.Millisecond // between two requests of a client that measures
	calm       = 3 * time.Second  // length of the measurement without load
)

func main() {
	dir := flag.String("dir", os.TempDir(), "directory for the records")
	profile := flag.String("profile", "edge", "profile of the broker; its cap on stored bytes is lifted")
	size := flag.Int("mb", 100, "megabytes (2^20 bytes) of the topic that is compacted, read and deleted")
	keys := flag.Int("keys", 10_000, "keys of the compacted topic")
	memoryMB := flag.Int("memory-mb", 512, "with -read-mbs, memory limit of the process, clients included")
	readMBs := flag.Int("read-mbs", 0, "megabytes (10^6 bytes) that the disk reads per second, such as 40 for an SD card; 0 for no limits")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, config{*dir, *profile, *size << 20, *keys, *memoryMB, *readMBs})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type config struct {
	dir      string
	profile  string
	bytes    int
	keys     int
	memoryMB int
	readMBs  int // MB/s; 0: neither the disk nor the memory is limited
}

// bench is a broker with its clients.
type bench struct {
	broker *embedded.Broker
	client *kgo.Client
	admin  *kadm.Client
	out    *tabwriter.Writer
}

func run(ctx context.Context, cfg config) (err error) {
	dir, err := os.MkdirTemp(cfg.dir, "weir-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	broker, err := embedded.Open(embedded.Config{
		Dir: dir, Profile: cfg.profile, StoredBytes: -1, MaintainEvery: -1,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Close()) }()
	b := &bench{broker: broker, out: tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)}
	if b.client, err = kgo.NewClient(kgo.SeedBrokers(broker.Addr()), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(16<<10)); err != nil {
		return err
	}
	defer b.client.Close()
	b.admin = kadm.NewClient(b.client)
	if err := b.prepare(ctx, cfg.bytes, cfg.keys); err != nil {
		return err
	}
	if cfg.readMBs > 0 {
		group, err := cgroup.New(dir, cfg.memoryMB, cfg.readMBs)
		if err != nil {
			return fmt.Errorf("create a control group: %w", err)
		}
		defer func() { err = errors.Join(err, group.Leave(), group.Remove()) }()
		if err := cgroup.Enter(group.Procs()); err != nil {
			return fmt.Errorf("enter the control group: %w", err)
		}
	}
	fmt.Fprintln(b.out, "while\tfor\tversions p99\tmax\tproduce p99\tmax\t")
	for _, load := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"nothing", func(context.Context) error { time.Sleep(calm); return nil }},
		{"backfill", b.backfill},
		{"compaction", b.broker.Maintain},
		{"retention", func(ctx context.Context) error {
			short := "1"
			if _, err := b.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "retention.bytes", Value: &short}}, "log"); err != nil {
				return err
			}
			return b.broker.Maintain(ctx)
		}},
	} {
		if cfg.readMBs > 0 {
			if err := cgroup.Evict(dir); err != nil {
				return err
			}
		}
		if err := b.measure(ctx, load.name, load.run); err != nil {
			return fmt.Errorf("%s: %w", load.name, err)
		}
	}
	return b.out.Flush()
}

// prepare creates the topics and fills those that are loaded.
func (b *bench) prepare(ctx context.Context, size, keys int) error {
	compact, forever := "compact", "-1"
	for topic, configs := range map[string]map[string]*string{
		"state": {"cleanup.policy": &compact}, "log": {"retention.ms": &forever}, "other": nil,
	} {
		if _, err := b.admin.CreateTopic(ctx, partitions, 1, configs, topic); err != nil {
			return err
		}
	}
	value := make([]byte, valueBytes)
	if _, err := rand.NewChaCha8([32]byte{}).Read(value); err != nil {
		return err
	}
	var failed kgo.FirstErrPromise
	for i := range size / valueBytes {
		for _, topic := range []string{"state", "log"} {
			b.client.Produce(ctx, &kgo.Record{Topic: topic, Key: strconv.AppendInt(nil, int64(i%keys), 10), Value: value}, failed.Promise())
		}
	}
	if err := b.client.Flush(ctx); err != nil {
		return err
	}
	return failed.Err()
}

// backfill reads the log from its beginning, as fast as the broker allows.
func (b *bench) backfill(ctx context.Context) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(b.broker.Addr()), kgo.ConsumeTopics("log"), kgo.FetchMaxBytes(1<<29), kgo.FetchMaxPartitionBytes(1<<29),
		kgo.BrokerMaxReadBytes(1<<30))
	if err != nil {
		return err
	}
	defer c.Close()
	ends, err := b.admin.ListEndOffsets(ctx, "log")
	if err != nil {
		return err
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	for left > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		left -= int64(fetches.NumRecords())
	}
	return nil
}

// measure reports how long the requests of two other clients take while load runs.
func (b *bench) measure(ctx context.Context, name string, load func(context.Context) error) error {
	var versions, produce []time.Duration
	requests, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	ready := make(chan struct{}, 2)
	group.Go(func() error {
		return b.repeat(ctx, requests, ready, &versions, func(ctx context.Context, c *kgo.Client) error {
			_, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, c)
			return err
		})
	})
	group.Go(func() error {
		return b.repeat(ctx, requests, ready, &produce, func(ctx context.Context, c *kgo.Client) error {
			return c.ProduceSync(ctx, &kgo.Record{Topic: "other", Value: []byte("reading")}).FirstErr()
		})
	})
	<-ready
	<-ready
	began := time.Now()
	err := load(ctx)
	took := time.Since(began)
	stop()
	if err := errors.Join(err, group.Wait()); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%s\t%s\t%s\t%s\t%s\t%s\t\n", name, took.Round(time.Millisecond),
		quantile(versions, .99), quantile(versions, 1), quantile(produce, .99), quantile(produce, 1))
	return nil
}

// repeat sends requests until stop is done, and appends how long each took.
func (b *bench) repeat(ctx, stop context.Context, ready chan<- struct{}, took *[]time.Duration, request func(context.Context, *kgo.Client) error) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(b.broker.Addr()), kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := request(ctx, c); err != nil { // connects
		return err
	}
	ready <- struct{}{}
	for stop.Err() == nil {
		began := time.Now()
		if err := request(ctx, c); err != nil {
			return err
		}
		*took = append(*took, time.Since(began))
		time.Sleep(pause)
	}
	return nil
}

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[int(q*float64(len(all)-1))].Round(100 * time.Microsecond)
}
