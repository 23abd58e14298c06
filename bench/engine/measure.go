package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
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
	first := ran.began
	if said.FirstRecord != 0 {
		first = time.UnixMilli(said.FirstRecord)
	}
	f := figures{
		Side: side, Workload: workload,
		CPU:       ran.cpu.Seconds() / float64(b.rows) * 1e6,
		BrokerCPU: (after - before).Seconds() / float64(b.rows) * 1e6,
		PerSecond: float64(b.rows) / commits.last.Sub(first).Seconds(),
		WithStart: float64(b.rows) / commits.last.Sub(ran.began).Seconds(),
		PeakMB:    float64(ran.peakKB) / 1024,
	}
	if side != "raw" {
		f.First = commits.first.Sub(ran.began).Seconds()
	}
	return f, errors.Join(b.forget(ctx), os.RemoveAll(j.Dir))
}

// runSide runs a side until it has processed its input.
func (b *bench) runSide(ctx context.Context, side string, j job) (process, times, error) {
	if side == "flink" {
		return b.runFlink(ctx, j)
	}
	cmd, err := b.command(ctx, side, j)
	if err != nil {
		return process{}, times{}, err
	}
	ran, err := watch(cmd)
	if err != nil {
		return ran, times{}, err
	}
	said, err := parseTimes(ran.out)
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

// process has the resource usage and output of a child process.
type process struct {
	began  time.Time
	cpu    time.Duration // user and system
	peakKB int64         // resident
	out    []byte        // standard output
}

// watch runs a command to completion and measures it.
func watch(cmd *exec.Cmd) (process, error) {
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	p := process{began: time.Now()}
	if err := cmd.Start(); err != nil {
		return p, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// Maxrss is no use: a child shares this process's memory until its exec, and inherits its peak.
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				return p, fmt.Errorf("%w: %s", err, tail(log.Bytes()))
			}
			p.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			p.out = out.Bytes()
			return p, nil
		case <-ticker.C:
			p.peakKB = max(p.peakKB, usage.PeakKB(cmd.Process.Pid))
		}
	}
}

// tail returns the end of a process's output, where errors usually are.
func tail(out []byte) string {
	const n = 20
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
