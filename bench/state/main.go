// Command state measures stateful pipelines whose state is larger than their cache, on an embedded
// broker with 4 partitions: a regular join, a group aggregation and a Top-N, with a million keys or
// more. For smaller states it also runs the same SQL on Flink with RocksDB, on the same rows.
//
// Two topics feed the pipelines: readings, two for each key, a whole pass over the keys apart, and
// devices, one for each key. The keys come in a scattered order, the worst case for a cache.
//
//	group  COUNT, MIN, MAX and SUM of each key's readings
//	top    the two highest readings of each key
//	join   readings with devices
//
// The first run of a pipeline processes all rows and is checked: the result topic, read committed,
// has every expected row and no other. It yields throughput, CPU time, peak memory and the bytes
// of the local copy and the changelog. Flink follows. At last, the pipeline is killed (-9) under a
// trickle of rows, and restarted with the local copy and without it; the restore time is the time
// from the start of the process to its first commit. The changelog is not compacted, so a restore
// without the copy reads every change. Absolute figures depend on the machine; only the ratios
// matter.
//
//	main.go    flags, the sequence of measurements
//	broker.go  the broker's process, topics and their sizes
//	input.go   rows and expected results
//	weir.go    runs of weir, crashes and restores
//	flink.go   runs on Flink
//	check.go   compares the result topic with the expected results
//	report.go  tables and ratios
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"weir.example/weir/bench/binary"
	"weir.example/weir/bench/command"
	"weir.example/weir/bench/flinkjob"
)

var workloads = []string{"group", "top", "join"}

type settings struct {
	dir         string
	keys        []int
	workloads   []string
	cacheMB     int
	parallelism int
	flinkKeys   int
	restore     bool
	pprof       string
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == serveCommand {
		serve(os.Args[2])
		return
	}
	var s settings
	var keys, names string
	flag.StringVar(&s.dir, "dir", os.TempDir(), "directory for topics and state: about 0.7 GB per million keys and workload")
	flag.StringVar(&keys, "keys", "100000,1000000", "numbers of keys, ascending")
	flag.StringVar(&names, "workloads", strings.Join(workloads, ","), "pipelines to measure")
	flag.IntVar(&s.cacheMB, "state-cache", 16, "memory in MiB for caching each task's state")
	flag.IntVar(&s.parallelism, "parallelism", 2, "workers of weir, slots of Flink")
	flag.IntVar(&s.flinkKeys, "flink-keys", 1_000_000, "run Flink too for up to this many keys; 0 for never")
	flag.BoolVar(&s.restore, "restore", true, "measure restores after kill -9")
	flag.StringVar(&s.pprof, "pprof", "", "host:port where weir serves /debug/pprof while it runs")
	flag.Parse()
	s.workloads = strings.Split(names, ",")
	var err error
	if s.keys, err = parseKeys(keys); err == nil {
		err = s.validate()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	command.Main(func(ctx context.Context) error { return run(ctx, s) })
}

func parseKeys(text string) (all []int, err error) {
	for _, part := range strings.Split(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 || n > maxKeys {
			return nil, fmt.Errorf("number of keys %q: expected 1 to %d", part, maxKeys)
		}
		all = append(all, n)
	}
	return all, nil
}

func (s *settings) validate() error {
	for _, name := range s.workloads {
		if !slices.Contains(workloads, name) {
			return fmt.Errorf("unknown workload %q: choose from %s", name, strings.Join(workloads, ", "))
		}
	}
	switch {
	case s.cacheMB < 1:
		return errors.New("expected a state cache of at least 1 MiB")
	case s.parallelism < 1 || s.parallelism > partitions:
		return fmt.Errorf("expected a parallelism of 1 to %d", partitions)
	}
	return nil
}

type bench struct {
	settings
	weir  string // binary
	dir   string // temporary
	flink *flinkjob.Cluster
}

func run(ctx context.Context, s settings) (err error) {
	b := &bench{settings: s}
	if b.dir, err = os.MkdirTemp(s.dir, "weir-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.weir, err = binary.Build(ctx, b.dir); err != nil {
		return err
	}
	if slices.Min(s.keys) <= s.flinkKeys {
		if err := b.startFlink(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.flink.Close()) }()
	}
	var all []figures
	for _, keys := range s.keys {
		for _, workload := range s.workloads {
			more, err := b.measure(ctx, keys, workload)
			if err != nil {
				return fmt.Errorf("%s with %d keys: %w", workload, keys, err)
			}
			all = append(all, more...)
		}
	}
	return report(os.Stdout, all)
}

// measure runs a workload on a broker of its own, whose files are removed afterwards.
func (b *bench) measure(ctx context.Context, keys int, workload string) (all []figures, err error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("%s%d", workload, keys))
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // a temporary folder
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t, err := b.newTrial(ctx, dir, keys, workload)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.fill(ctx); err != nil {
		return nil, err
	}
	f, err := t.runWeir(ctx)
	if err != nil {
		return nil, fmt.Errorf("weir: %w", err)
	}
	command.Progress("%s", f)
	all = append(all, f)
	if b.flink != nil && keys <= b.flinkKeys {
		if f, err = t.runFlink(ctx); err != nil {
			return nil, fmt.Errorf("flink: %w", err)
		}
		command.Progress("%s", f)
		all = append(all, f)
	}
	if b.restore { // last, because it adds readings
		if err := t.crash(ctx, &all[0]); err != nil {
			return nil, fmt.Errorf("weir: %w", err)
		}
	}
	return all, nil
}
