package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"weir.example/weir/bench/usage"
)

// figures are the results of one run.
type figures struct {
	Side      string  `json:"side"`
	Workload  string  `json:"workload"`
	Round     int     `json:"round,omitempty"`                     // 0 for a median
	CPU       float64 `json:"cpu_seconds_per_million_rows"`        // user and system, the whole process
	BrokerCPU float64 `json:"broker_cpu_seconds_per_million_rows"` // of the broker during the run
	PerSecond float64 `json:"rows_per_second"`                     // from the first row to the last commit
	WithStart float64 `json:"rows_per_second_with_start"`          // from the start of the process to the last commit
	PeakMB    float64 `json:"peak_mb"`
	First     float64 `json:"first_result_seconds"` // from the start of the command to the first commit; 0 for raw
}

func (f figures) String() string {
	return fmt.Sprintf("%-8s %-7s %6.2f CPU s/M (broker %5.2f) %9.0f rows/s %9.0f with start %5.0f MB, first result after %.2f s", f.Side, f.Workload, f.CPU, f.BrokerCPU, f.PerSecond, f.WithStart, f.PeakMB, f.First)
}

// measure runs a side once, checks its results and removes its topics.
func (b *bench) measure(ctx context.Context, side, workload string) (figures, error) {
	j, err := b.job(side, workload)
	if err != nil {
		return figures{}, err
	}
	j.Source, j.Rows = b.source, b.rows
	if side != "raw" {
		if err := b.create(ctx, j.Sink); err != nil {
			return figures{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	before, err := usage.CPU(b.brokerPID)
	if err != nil {
		return figures{}, err
	}
	ran, said, err := b.runSide(ctx, side, j)
	if err != nil {
		return figures{}, err
	}
	after, err := usage.CPU(b.brokerPID)
	if err != nil {
		return figures{}, err
	}
	commits, err := b.settle(ctx, side, j, said)
	if err != nil {
		return figures{}, err
	}
	first := ran.Began
	if said.FirstRecord != 0 {
		first = time.UnixMilli(said.FirstRecord)
	}
	f := figures{
		Side: side, Workload: workload,
		CPU:       ran.CPU.Seconds() / float64(b.rows) * 1e6,
		BrokerCPU: (after - before).Seconds() / float64(b.rows) * 1e6,
		PerSecond: float64(b.rows) / commits.last.Sub(first).Seconds(),
		WithStart: float64(b.rows) / commits.last.Sub(ran.Began).Seconds(),
		PeakMB:    float64(ran.PeakKB) / 1024,
	}
	if side != "raw" {
		f.First = commits.first.Sub(ran.Began).Seconds()
	}
	return f, errors.Join(b.forget(ctx), os.RemoveAll(j.Dir))
}

// runSide runs a side until it has processed its input.
func (b *bench) runSide(ctx context.Context, side string, j job) (usage.Process, times, error) {
	if side == "flink" {
		return b.runFlink(ctx, j)
	}
	cmd, err := b.command(ctx, side, j)
	if err != nil {
		return usage.Process{}, times{}, err
	}
	ran, err := usage.Watch(cmd)
	if err != nil {
		return ran, times{}, err
	}
	said, err := parseTimes(ran.Out)
	if side == "weir" {
		err = nil // without first_record_ms, weir's time starts with its process
	}
	return ran, said, err
}

// span has the times of a side's first and last commit.
type span struct{ first, last time.Time }

// settle checks the results, and returns the times of the side's first and last commit, from the
// timestamps of the transaction markers.
func (b *bench) settle(ctx context.Context, side string, j job, said times) (span, error) {
	if (side == "raw" || side == "streams") && said.Rows != b.rows {
		return span{}, fmt.Errorf("%d rows read, expected %d", said.Rows, b.rows)
	}
	if side == "raw" {
		return span{last: time.UnixMilli(said.Committed)}, nil
	}
	return b.check(ctx, side, j)
}
