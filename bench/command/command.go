// Package command is what the commands of the benchmarks share.
package command

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// Main runs a benchmark until it has ended or the process is told to stop, and exits with 1 if it
// fails.
func Main(run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// Progress prints what the benchmark is doing, with the time, to standard error.
func Progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// Median returns the median of a figure of runs: the larger one in the middle of an even number.
func Median[F any](runs []F, figure func(F) float64) float64 {
	all := make([]float64, len(runs))
	for i, run := range runs {
		all[i] = figure(run)
	}
	slices.Sort(all)
	return all[len(all)/2]
}
