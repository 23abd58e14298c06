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

func (b *bench) flinkDir() string { return filepath.Join(b.dir, "flink") }

// startFlink starts a cluster with one TaskManager, which stores state in RocksDB.
func (b *bench) startFlink(ctx context.Context) (err error) {
	progress("start Flink %s", stack.FlinkVersion)
	b.flink, err = stack.StartFlink(ctx, stack.FlinkOptions{Slots: b.parallelism, Memory: flinkHeap, Dir: b.flinkDir()})
	return err
}

// runFlink deploys the bounded pipeline and waits until it has finished. Its time starts with its
// first task. CPU and memory are those of JobManager and TaskManager; disk is the largest size of
// RocksDB's files, log that of the last checkpoint.
func (t *trial) runFlink(ctx context.Context) (f figures, err error) {
	id := "flink_" + t.workload
	f = figures{side: "flink", workload: t.workload, keys: t.keys, rows: t.rows()}
	file, err := t.writeSQL(id, true)
	if err != nil {
		return f, err
	}
	if err := t.createTopics(ctx, id); err != nil {
		return f, err
	}
	pids := []int{t.flink.PID(stack.JobManager), t.flink.PID(stack.TaskManager(0))}
	before, err := usage.CPU(pids...)
	if err != nil {
		return f, err
	}
	job, err := t.deploy(ctx, file)
	if err != nil {
		return f, err
	}
	if err := t.await(ctx, job, pids, &f); err != nil {
		return f, err
	}
	after, err := usage.CPU(pids...)
	if err != nil {
		return f, err
	}
	f.cpu = after - before
	return f, t.check(ctx, id)
}

func (t *trial) deploy(ctx context.Context, file string) (job string, err error) {
	cmd := exec.CommandContext(ctx, t.weir, "flink", "deploy", file, "--brokers", t.server.addr, "--gateway", t.flink.GatewayURL(), "--jobmanager", t.flink.RestURL(), //nolint:gosec // arguments built here
		"--parallelism", strconv.Itoa(t.parallelism), "--checkpoint-interval", flinkCheckpoint.String(), "-o", "json")
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &log, t.dir
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("deploy: %w: %s", err, log.Bytes())
	}
	var d flink.Deployment
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		return "", fmt.Errorf("deploy: %w", err)
	}
	return d.JobID, nil
}

// await waits until a job has finished, and measures it.
func (t *trial) await(ctx context.Context, job string, pids []int, f *figures) error {
	cluster := flink.NewCluster(flink.Config{JobManager: t.flink.RestURL()})
	for {
		f.peakKB = max(f.peakKB, usage.ResidentKB(pids...))
		disk, err := bytesIn(filepath.Join(t.flinkDir(), "tmp"))
		if err != nil {
			return err
		}
		f.disk = max(f.disk, disk)
		state, err := cluster.Job(ctx, job)
		if err != nil {
			return err
		}
		if state.Ended() {
			if state.State != "FINISHED" {
				return fmt.Errorf("the job is %s", strings.ToLower(state.State))
			}
			f.took = time.Since(time.UnixMilli(int64(state.Vertices[0].Start)))
			break
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	all, err := cluster.Checkpoints(ctx, job)
	if err == nil && all.Latest.Completed != nil {
		f.log = all.Latest.Completed.Size
	}
	return err
}
