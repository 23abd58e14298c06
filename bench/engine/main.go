// Command engine compares Weir's SQL engine with Kafka Streams, Flink and a plain reader, on one
// real broker, in alternating runs: the same topic of readings (JSON, or another -format), the same
// two workloads, both exactly once into Kafka.
//
//	filter  readings with a value above 25, about half of them, all fields
//	tumble  count, lowest, highest and mean value of each device in windows of 10 seconds of event
//	        time
//
// The sides are raw (a process that only reads the topic read_committed: the ceiling), weir,
// streams and flink, which runs the same file as weir on a cluster that is already up. With
// -before, an earlier revision of this repository is an additional side, which shows the cost of
// later changes. Each run is checked: the result topic, read committed, contains every expected row
// exactly once and nothing else. Then it measures the latency from a reading's production to its
// committed result, at a steady rate. Results are medians; absolute numbers depend on the machine,
// so only the ratios matter.
//
//	main.go     flags, the sequence of measurements
//	readings.go the readings, and the expected results of the workloads
//	format.go   readings in formats other than JSON
//	topics.go   filling, reading and dropping topics
//	sides.go    each side as a child process
//	flink.go    Flink, which is a cluster
//	measure.go  CPU, memory and duration of a run
//	check.go    compares the result topic with the expected results
//	latency.go  latency at a steady rate
//	report.go   tables, goals and the JSON file
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weir.example/weir/bench/binary"
	"weir.example/weir/bench/command"
	"weir.example/weir/bench/flinkjob"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/stack"
)

const (
	devices    = 1000
	partitions = 4
	window     = 10 * time.Second
	lateness   = 2 * time.Second // of the watermark, in SQL and in Kafka Streams
	commit     = 100 * time.Millisecond
	runLimit   = 15 * time.Minute // of one child process
)

var sideNames = []string{"raw", "weir", "before", "streams", "flink"}

type settings struct {
	rows           int64
	rounds         int
	sides          []string
	parallelism    int    // workers of weir, and threads of Kafka Streams
	format         string // of the readings
	compression    string // of the readings' topic
	latency        time.Duration
	latencyRate    int
	latencyWindow  time.Duration
	latencyStreams bool
	before         string // git revision
	json           string
}

func main() {
	// The raw side is this program, run as a child process.
	if len(os.Args) == 4 && os.Args[1] == "raw" {
		if err := raw(context.Background(), os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "raw:", err)
			os.Exit(1)
		}
		return
	}
	var s settings
	var sides string
	var seconds int
	flag.Int64Var(&s.rows, "rows", 2_000_000, "readings in the topic")
	flag.IntVar(&s.rounds, "rounds", 3, "runs of each side")
	flag.StringVar(&sides, "sides", "raw,weir,streams", "sides to run: raw, weir, streams, flink")
	flag.IntVar(&s.parallelism, "parallelism", 2, "workers of weir, threads of Kafka Streams, slots of Flink")
	flag.StringVar(&s.format, "format", "json", "of the readings: "+strings.Join(produce.Formats, ", ")+"; Kafka Streams and Flink read json only")
	flag.StringVar(&s.compression, "compression", "none", "of the readings' topic: none, gzip, snappy, lz4 or zstd")
	flag.IntVar(&seconds, "latency-seconds", 20, "duration of the latency measurement of each workload; 0 skips it")
	flag.IntVar(&s.latencyRate, "latency-rate", 10_000, "readings offered a second while latency is measured")
	flag.DurationVar(&s.latencyWindow, "latency-window", time.Second, "windows while latency is measured, in whole seconds")
	flag.BoolVar(&s.latencyStreams, "latency-streams", false, "measure the latency of Kafka Streams too")
	flag.StringVar(&s.before, "before", "", "git revision whose weir is measured too, as the side \"before\"")
	flag.StringVar(&s.json, "json", "", "file for the results")
	flag.Parse()
	s.sides, s.latency = strings.Split(sides, ","), time.Duration(seconds)*time.Second
	if s.before != "" && !s.has("before") {
		s.sides = append(s.sides, "before")
	}
	if err := s.validate(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	command.Main(func(ctx context.Context) error { return run(ctx, s) })
}

func (s *settings) validate() error {
	for _, side := range s.sides {
		if !slices.Contains(sideNames, side) {
			return fmt.Errorf("unknown side %q: choose from %s", side, strings.Join(sideNames, ", "))
		}
	}
	switch {
	case s.has("before") && s.before == "":
		return errors.New("side before needs a git revision: -before REVISION")
	case !slices.Contains(produce.Formats, s.format):
		return fmt.Errorf("unknown format %q: choose from %s", s.format, strings.Join(produce.Formats, ", "))
	case s.format != "json" && (s.has("streams") || s.has("flink")):
		return errors.New("only json is read by Kafka Streams and Flink here: -sides raw,weir")
	case s.rows < 100_000 || s.rounds < 1:
		return errors.New("expected at least 100000 rows and one round")
	case s.parallelism < 1 || s.parallelism > partitions:
		return fmt.Errorf("expected a parallelism of 1 to %d", partitions)
	case s.latency < 0 || s.latencyRate < devices:
		return fmt.Errorf("expected a latency time of 0 or more, and a rate of at least %d", devices)
	case s.latencyWindow < time.Second || s.latencyWindow > window || s.latencyWindow%time.Second != 0:
		return fmt.Errorf("expected latency windows of whole seconds, up to %s", window)
	}
	return nil
}

func (s *settings) has(side string) bool { return slices.Contains(s.sides, side) }

type bench struct {
	settings
	dir       string
	self      string // this program, for the raw side
	weir      string // binary
	old       string // binary of the "before" side
	flink     *flinkjob.Cluster
	classes   string // folder, of the Kafka Streams side
	brokers   string // host:port
	brokerPID int
	source    string // topic with the readings
	want      *expectation
	runs      int              // so far; makes names unique
	registry  string           // URL; "" for json
	encoding  produce.Encoding // nil for json
	written   int64            // bytes of the readings
}

func run(ctx context.Context, s settings) (err error) {
	b := &bench{settings: s, source: "bench_readings"}
	if b.dir, err = os.MkdirTemp("", "weir-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := b.build(ctx); err != nil {
		return err
	}
	command.Progress("start Kafka %s", stack.KafkaVersion)
	kafka, err := stack.StartKafka(ctx, stack.Options{Heap: "1g"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kafka.Close()) }()
	b.brokers, b.brokerPID = kafka.Brokers()[0], kafka.PID(0)
	if b.has("flink") {
		if err := b.startFlink(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.flink.Close()) }()
	}
	if b.want, err = expect(s.rows); err != nil {
		return err
	}
	closing, err := b.startRegistry(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closing()) }()
	r := &report{Kafka: stack.KafkaVersion, Rows: s.rows, Compression: s.compression}
	if r.Runs, err = b.throughput(ctx); err != nil {
		return err
	}
	r.Bytes = float64(b.written) / float64(s.rows)
	if s.latency > 0 {
		if r.Latencies, err = b.latencies(ctx); err != nil {
			return err
		}
	}
	r.conclude()
	if s.json != "" {
		if err := r.writeJSON(s.json); err != nil {
			return err
		}
	}
	return r.print(os.Stdout)
}

// build builds the programs of the selected sides.
func (b *bench) build(ctx context.Context) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.has("weir") || b.has("flink") { // weir deploys what Flink runs
		if b.weir, err = binary.Build(ctx, b.dir); err != nil {
			return err
		}
	}
	if b.has("before") {
		if b.old, err = binary.BuildRevision(ctx, b.dir, b.before); err != nil {
			return err
		}
	}
	if b.has("streams") {
		command.Progress("build the Kafka Streams program")
		b.classes = filepath.Join(b.dir, "classes")
		return compileStreams(ctx, b.dir, b.classes)
	}
	return nil
}

// throughput fills the topic and runs the sides in turn, so that other load on the machine affects
// all of them.
func (b *bench) throughput(ctx context.Context) ([]figures, error) {
	if err := b.fill(ctx); err != nil {
		return nil, err
	}
	if err := b.firstGroup(ctx); err != nil {
		return nil, err
	}
	var all []figures
	for round := 1; round <= b.rounds; round++ {
		for _, side := range b.sides {
			for _, workload := range workloads(side) {
				f, err := b.measure(ctx, side, workload)
				if err != nil {
					return nil, fmt.Errorf("%s %s: %w", side, workload, err)
				}
				f.Round = round
				command.Progress("round %d  %s", round, f)
				all = append(all, f)
			}
		}
	}
	return all, nil
}

// workloads returns the workloads of a side. For a plain reader, all are the same.
func workloads(side string) []string {
	if side == "raw" {
		return []string{"read"}
	}
	return []string{"filter", "tumble"}
}
