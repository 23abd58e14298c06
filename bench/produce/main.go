// Command produce compares Weir's transactional producer with kafka-producer-perf-test, on one real
// broker, in alternating runs: the same payload bytes, compression, acks, transaction length and
// topic.
//
// It prints the results of each run, the ratio of the medians, and CPU seconds per million
// readings; then consume-process-produce in records per second. Absolute numbers depend on the
// machine, so only the ratios matter.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/bench/binary"
	"weir.example/weir/bench/command"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/source"
	"weir.example/weir/internal/source/fleet"
	"weir.example/weir/internal/stack"
)

func main() {
	records := flag.Int("records", 1_500_000, "readings in each run")
	rounds := flag.Int("rounds", 3, "runs of each side")
	length := flag.Duration("transaction", 100*time.Millisecond, "length of a transaction")
	flag.Parse()
	if err := run(context.Background(), *records, *rounds, *length); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	dir     string
	weir    string // binary
	broker  string // host:port
	payload string // file with one reading per line
	records int
	length  time.Duration
	size    int64 // mean bytes of a reading
}

func run(ctx context.Context, records, rounds int, length time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{dir: dir, payload: filepath.Join(dir, "readings.ndjson"), records: records, length: length}
	if b.weir, err = binary.Build(ctx, dir); err != nil {
		return err
	}
	if err := b.writePayload(); err != nil {
		return err
	}
	kafka, err := stack.StartKafka(ctx, stack.Options{Heap: "1g"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kafka.Close()) }()
	b.broker = kafka.Brokers()[0]
	fmt.Printf("%d readings of %d bytes a run, transactions of %s, Kafka %s, one broker, 4 partitions\n", records, b.size, length, stack.KafkaVersion)
	for _, codec := range []string{"none", "lz4"} {
		if err := b.compare(ctx, codec, rounds); err != nil {
			return err
		}
	}
	return b.consume(ctx)
}

// fleet generates the readings of both sides; prefix makes them about 200 bytes.
func (b *bench) fleet() fleet.Config {
	return fleet.Config{
		Seed: 42, Devices: devices, Prefix: prefix, Count: int64(b.records), Start: start, Spikes: 0.001, Noise: 1, Drift: 1,
	}
}

const (
	devices = 1000
	prefix  = "building-7/floor-3/room-12/cabinet-4/rack-2/gateway-17/port-9/dev-"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// writePayload writes weir's readings to a file, from which perf-test draws.
func (b *bench) writePayload() error {
	f, err := os.Create(b.payload)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	devices, err := fleet.New(b.fleet())
	if err != nil {
		return err
	}
	items := make([]source.Item, 1024)
	var line []byte
	var bytes int64
	for {
		n, err := devices.Next(items)
		for i := range items[:n] {
			line = items[i].AppendJSON(line[:0])
			bytes += int64(len(line))
			if _, err := w.Write(append(line, '\n')); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	b.size = bytes / int64(b.records)
	return errors.Join(w.Flush(), f.Close())
}

// figures are the results of one run.
type figures struct {
	perSecond float64
	cpu       float64 // seconds per million readings
	peakMB    int64
}

func (f figures) String() string {
	return fmt.Sprintf("%9.0f readings/s  %5.2f CPU s/M  %4d MB peak", f.perSecond, f.cpu, f.peakMB)
}

func (b *bench) compare(ctx context.Context, codec string, rounds int) error {
	fmt.Printf("\nproduce, compression %s\n", codec)
	var ours, theirs []figures
	for round := range rounds + 1 {
		perf, err := b.perfTest(ctx, codec, round)
		if err != nil {
			return fmt.Errorf("kafka-producer-perf-test: %w", err)
		}
		weir, err := b.produce(ctx, codec)
		if err != nil {
			return fmt.Errorf("weir produce: %w", err)
		}
		if round == 0 {
			continue // warm-up
		}
		fmt.Printf("  perf-test %s\n  weir      %s\n", perf, weir)
		ours, theirs = append(ours, weir), append(theirs, perf)
	}
	fmt.Printf("  ratio weir / perf-test: %.2f readings/s, %.2f CPU\n",
		command.Median(ours, func(f figures) float64 { return f.perSecond })/command.Median(theirs, func(f figures) float64 { return f.perSecond }),
		command.Median(ours, func(f figures) float64 { return f.cpu })/command.Median(theirs, func(f figures) float64 { return f.cpu }))
	return nil
}

// drop deletes a topic if it exists, and waits until it is gone.
func drop(ctx context.Context, admin *kadm.Client, topic string) error {
	for {
		topics, err := admin.ListTopics(ctx, topic)
		if err == nil && topics[topic].Err != nil {
			return nil
		}
		_, _ = admin.DeleteTopic(ctx, topic) // fails while an earlier attempt is in progress
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// topic recreates the topics, so that every run writes to an empty log, from the source's start.
func (b *bench) topic(ctx context.Context) error {
	client, err := broker.Connect(ctx, broker.Config{Brokers: []string{b.broker}})
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for _, topic := range []string{"sensor_data_tx", "weir.progress"} {
		if err := drop(ctx, admin, topic); err != nil {
			return err
		}
	}
	return broker.EnsureTopics(ctx, admin, broker.DefaultTopics())
}

var perfLine = regexp.MustCompile(`([0-9.]+) records/sec`)

func (b *bench) perfTest(ctx context.Context, codec string, round int) (figures, error) {
	if err := b.topic(ctx); err != nil {
		return figures{}, err
	}
	cmd, err := stack.JavaTool(ctx, "512m", "org.apache.kafka.tools.ProducerPerformance",
		"--bootstrap-server", b.broker, "--topic", "sensor_data_tx", "--num-records", strconv.Itoa(b.records),
		"--payload-file", b.payload, "--throughput", "-1",
		"--transactional-id", fmt.Sprintf("perf-%s-%d", codec, round), "--transaction-duration-ms", strconv.FormatInt(b.length.Milliseconds(), 10),
		"--command-property", "acks=all", "linger.ms=5", "batch.size=262144", "buffer.memory=134217728", "compression.type="+codec)
	if err != nil {
		return figures{}, err
	}
	out, err := cmd.Output()
	if err != nil {
		return figures{}, fmt.Errorf("%w: %s", err, out)
	}
	rates := perfLine.FindAllSubmatch(out, -1) // the last line is for the whole run
	if len(rates) == 0 {
		return figures{}, fmt.Errorf("no results in %q", out)
	}
	perSecond, err := strconv.ParseFloat(string(rates[len(rates)-1][1]), 64)
	return b.figures(cmd, perSecond), err
}

var sentLine = regexp.MustCompile(`"sending_seconds":([0-9.e-]+)`)

func (b *bench) produce(ctx context.Context, codec string) (figures, error) {
	if err := b.topic(ctx); err != nil {
		return figures{}, err
	}
	cmd := exec.CommandContext(ctx, b.weir, "produce", "--brokers", b.broker, "--compression", codec, //nolint:gosec // arguments built above
		"--count", strconv.Itoa(b.records), "--devices", strconv.Itoa(devices), "--device-prefix", prefix, "--start", start.Format(time.RFC3339),
		"--commit-interval", b.length.String(), "-o", "json")
	cmd.Stderr = io.Discard
	out, err := cmd.Output()
	if err != nil {
		return figures{}, fmt.Errorf("%w: %s", err, out)
	}
	seconds := sentLine.FindSubmatch(out)
	if seconds == nil {
		return figures{}, fmt.Errorf("no results in %q", out)
	}
	took, err := strconv.ParseFloat(string(seconds[1]), 64)
	return b.figures(cmd, float64(b.records)/took), err
}

// figures adds the process's resource usage, startup and shutdown included.
func (b *bench) figures(cmd *exec.Cmd, perSecond float64) figures {
	state := cmd.ProcessState
	f := figures{
		perSecond: perSecond,
		cpu:       (state.UserTime() + state.SystemTime()).Seconds() / float64(b.records) * 1e6,
	}
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		f.peakMB = usage.Maxrss / 1024
	}
	return f
}

// consume measures the consumer over the last run's readings.
func (b *bench) consume(ctx context.Context) error {
	fmt.Printf("\nconsume, process, produce (statistics of each sensor of each device)\n")
	for round := range 3 {
		cmd := exec.CommandContext(ctx, b.weir, "consume", "--brokers", b.broker, "--until-end", "--instance", "bench", "--state-dir", "none") //nolint:gosec // arguments built above
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("weir consume: %w: %s", err, out)
		}
		fmt.Printf("  weir      %s (startup, restore and shutdown included)\n", b.figures(cmd, float64(b.records)/time.Since(began).Seconds()))
		if round < 2 {
			if err := b.forget(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget makes the consumer start from scratch.
func (b *bench) forget(ctx context.Context) error {
	client, err := broker.Connect(ctx, broker.Config{Brokers: []string{b.broker}})
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for {
		_, err := admin.DeleteGroup(ctx, "weir-device-stats")
		if err == nil {
			break
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	for _, topic := range []string{"device_stats", "device-stats.plan", "device-stats.stage1.changelog"} {
		if err := drop(ctx, admin, topic); err != nil {
			return err
		}
	}
	return broker.EnsureTopics(ctx, admin, broker.DefaultTopics())
}
