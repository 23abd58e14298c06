package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/bench/usage"
	"weir.example/weir/internal/flink"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/stack"
)

const (
	flinkHeap       = 704             // MiB of the TaskManager's tasks
	flinkCheckpoint = 5 * time.Second // a usual setting; results are committed at checkpoints
)

// startFlink starts a cluster with one TaskManager before anything is timed: a run starts with the
// deployment of its job.
func (b *bench) startFlink(ctx context.Context) (err error) {
	progress("start Flink %s", stack.FlinkVersion)
	b.flink, err = stack.StartFlink(ctx, stack.FlinkOptions{Slots: b.parallelism, Memory: flinkHeap})
	return err
}

// runFlink deploys a bounded job with weir flink deploy and waits until it has finished. CPU and
// memory are those of JobManager and TaskManager; the SQL Gateway is left out.
func (b *bench) runFlink(ctx context.Context, j job) (p process, said times, err error) {
	file := filepath.Join(j.Dir, "pipeline.sql")
	if err := writeSQL(file, j); err != nil {
		return p, said, err
	}
	pids := []int{b.flink.PID(stack.JobManager), b.flink.PID(stack.TaskManager(0))}
	before, err := usage.CPU(pids...)
	if err != nil {
		return p, said, err
	}
	p.began = time.Now()
	cmd := exec.CommandContext(ctx, b.weir, "flink", "deploy", file, "--brokers", j.Brokers, "--gateway", b.flink.GatewayURL(), "--jobmanager", b.flink.RestURL(), //nolint:gosec // arguments built here
		"--parallelism", strconv.Itoa(b.parallelism), "--checkpoint-interval", flinkCheckpoint.String(), "-o", "json")
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &log, j.Dir
	if err := cmd.Run(); err != nil {
		return p, said, fmt.Errorf("deploy: %w: %s", err, tail(log.Bytes()))
	}
	var d flink.Deployment
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		return p, said, fmt.Errorf("deploy: %w", err)
	}
	cluster := flink.NewCluster(flink.Config{JobManager: b.flink.RestURL()})
	for {
		p.peakKB = max(p.peakKB, usage.ResidentKB(pids...))
		state, err := cluster.Job(ctx, d.JobID)
		if err != nil {
			return p, said, err
		}
		if said.FirstRecord == 0 && len(state.Vertices) > 0 {
			said.FirstRecord = int64(state.Vertices[0].Start)
		}
		if state.Ended() {
			if state.State != "FINISHED" {
				return p, said, fmt.Errorf("the job is %s", strings.ToLower(state.State))
			}
			break
		}
		if err := retry.Sleep(ctx, 50*time.Millisecond); err != nil {
			return p, said, err
		}
	}
	after, err := usage.CPU(pids...)
	p.cpu = after - before
	return p, said, err
}
