// Command restore measures the time from a pipeline's start to its first commit after a crash (kill
// -9), with and without a local copy of its state, for states of different sizes, on one real
// broker.
//
// The pipeline has a state entry per device. The readings of all devices fill the state; then a few
// readings per second cause commits until the local copy is flushed. After the crash, the benchmark
// waits until the group has expelled the dead process, which takes the session timeout whatever the
// state's size, and then starts the process and the clock. With the copy, the time should stay
// nearly constant as the state grows; without it, the whole changelog is read.
//
//	main.go   flags, the sequence of measurements, the report
//	trial.go  one pipeline: its topics, its process, its commits
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
	"text/tabwriter"
	"time"

	"weir.example/weir/bench/binary"
	"weir.example/weir/bench/command"
	"weir.example/weir/internal/stack"
)

func main() {
	sizes := flag.String("keys", "100000,1000000", "sizes of the state in entries, ascending")
	rounds := flag.Int("rounds", 3, "crashes per result")
	flag.Parse()
	keys, err := parseSizes(*sizes)
	if err != nil || *rounds < 1 {
		fmt.Fprintln(os.Stderr, "bench:", errors.Join(err, errors.New("expected sizes such as 100000,1000000 and at least one round")))
		os.Exit(2)
	}
	command.Main(func(ctx context.Context) error { return run(ctx, keys, *rounds) })
}

func parseSizes(text string) ([]int, error) {
	var sizes []int
	for _, part := range strings.Split(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("size %q", part)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// figures are the medians for one size of the state.
type figures struct {
	keys          int
	with, without time.Duration // from the process's start to its first commit
}

func run(ctx context.Context, sizes []int, rounds int) (err error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	weir, err := binary.Build(ctx, dir)
	if err != nil {
		return err
	}
	command.Progress("start Kafka %s", stack.KafkaVersion)
	kafka, err := stack.StartKafka(ctx, stack.Options{Heap: "1g"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kafka.Close()) }()
	var all []figures
	for _, keys := range sizes {
		t := &trial{keys: keys, name: fmt.Sprintf("restore%d", keys), weir: weir, dir: filepath.Join(dir, strconv.Itoa(keys)), brokers: kafka.Brokers()}
		f, err := t.run(ctx, rounds)
		if err != nil {
			return fmt.Errorf("state of %d keys: %w", keys, err)
		}
		all = append(all, f)
	}
	return report(all)
}

func report(all []figures) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "keys\twith local copy\twithout\t")
	for _, f := range all {
		fmt.Fprintf(w, "%d\t%s\t%s\t\n", f.keys, f.with.Round(time.Millisecond), f.without.Round(time.Millisecond))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if first, last := all[0], all[len(all)-1]; last.keys > first.keys {
		fmt.Printf("\n%gx the keys: %.2fx the time with the local copy, %.2fx without\n",
			float64(last.keys)/float64(first.keys), last.with.Seconds()/first.with.Seconds(), last.without.Seconds()/first.without.Seconds())
	}
	return nil
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
