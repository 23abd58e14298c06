package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"weir.example/weir/internal/syncbuf"
)

// side is a way to run weir up.
type side struct {
	name  string
	args  []string
	watch func(ctx context.Context, at addresses) error // until ctx is done; nil: no watcher
}

// addresses has the addresses of a running weir.
type addresses struct{ console, admin string }

// figures are the results of one run.
type figures struct {
	PerSecond float64 // throughput: the mean of readings produced and readings processed, which compete for the processors
	CPU       float64 // seconds per million readings: producer, broker, consumer and everything that watches inside the process
	P50, P99  float64 // milliseconds, from a reading to its committed result
	PeakMB    float64
}

func (f figures) String() string {
	return fmt.Sprintf("%8.0f readings/s  %.2f CPU s/M  p50 %.0f ms  p99 %.0f ms  peak %.0f MB", f.PerSecond, f.CPU, f.P50, f.P99, f.PeakMB)
}

// run runs weir up, and its watcher, for the length of a run.
func (s *side) run(ctx context.Context, weir, dir string, set settings) (f figures, err error) {
	data := filepath.Join(dir, "data")
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	args := append([]string{
		"up", "--data-dir", data, "--listen", "127.0.0.1:0", "--registry-listen", "none", "--devices", strconv.Itoa(set.devices),
		"--for", set.length.String(), "-o", "json", "--console-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
	}, s.args...) // the last occurrence of a flag wins
	cmd := exec.CommandContext(ctx, weir, args...) //nolint:gosec // arguments built here
	var out bytes.Buffer
	said := &syncbuf.Buffer{} // human-readable output of weir up
	cmd.Stdout, cmd.Stderr = &out, said
	if err := cmd.Start(); err != nil {
		return f, err
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan error, 1)
	go func() { watched <- s.watched(watching, said) }()
	err = cmd.Wait()
	stop()
	if err := errors.Join(err, <-watched); err != nil {
		return f, fmt.Errorf("%w: %s", err, said)
	}
	var sum struct {
		Seconds  float64 `json:"seconds"`
		Produced float64 `json:"produced"`
		Consumed float64 `json:"consumed"`
		P50      float64 `json:"latency_p50_ms"`
		P99      float64 `json:"latency_p99_ms"`
	}
	if err := json.Unmarshal(out.Bytes(), &sum); err != nil {
		return f, fmt.Errorf("the summary of weir up: %w: %s", err, out.Bytes())
	}
	if sum.Consumed == 0 {
		return f, errors.New("nothing was processed")
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	through := (sum.Produced + sum.Consumed) / 2
	return figures{through / sum.Seconds, cpu.Seconds() / through * 1e6, sum.P50, sum.P99, float64(usage.Maxrss) / 1024}, nil
}

// watched waits for the addresses, then watches.
func (s *side) watched(ctx context.Context, said *syncbuf.Buffer) error {
	if s.watch == nil {
		return nil
	}
	for {
		if at, ok := addressesIn(said.String()); ok {
			return s.watch(ctx, at)
		}
		select {
		case <-ctx.Done():
			return errors.New("weir up printed no console address")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

var (
	consoleLine = regexp.MustCompile(`(http://127\.0\.0\.1:\d+)\s+the console`)
	adminLine   = regexp.MustCompile(`(http://127\.0\.0\.1:\d+)/metrics`)
)

// addressesIn finds the addresses that weir up prints.
func addressesIn(text string) (at addresses, ok bool) {
	console, admin := consoleLine.FindStringSubmatch(text), adminLine.FindStringSubmatch(text)
	if console == nil || admin == nil {
		return at, false
	}
	return addresses{console[1], admin[1]}, true
}
