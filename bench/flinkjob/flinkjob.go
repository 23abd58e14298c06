// Package flinkjob runs the benchmarks' pipelines on Flink.
package flinkjob

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
	heap       = 704             // MiB of the TaskManager's tasks
	checkpoint = 5 * time.Second // a usual setting; results are committed at checkpoints
)

// Cluster is a Flink cluster with one TaskManager, which stores state in RocksDB.
type Cluster struct {
	*stack.Flink
	weir  string
	slots int
}

// Start starts a cluster before anything is timed. weir is the binary that deploys jobs, and dir
// the folder of the cluster's files; "" is one of its own.
func Start(ctx context.Context, weir string, slots int, dir string) (*Cluster, error) {
	f, err := stack.StartFlink(ctx, stack.FlinkOptions{Slots: slots, Memory: heap, Dir: dir})
	return &Cluster{f, weir, slots}, err
}

// Usage is what a finished job has used.
type Usage struct {
	Job    string // id
	Began  time.Time
	First  time.Time // its first task
	Ended  time.Time
	CPU    time.Duration // of JobManager and TaskManager; the SQL Gateway is left out
	PeakKB int64         // of the same, together
}

// Run deploys a bounded pipeline with weir flink deploy and waits until it has finished. It calls
// watch every 100 ms meanwhile.
func (c *Cluster) Run(ctx context.Context, file, brokers string, watch func() error) (u Usage, err error) {
	pids := []int{c.PID(stack.JobManager), c.PID(stack.TaskManager(0))}
	before, err := usage.CPU(pids...)
	if err != nil {
		return u, err
	}
	u.Began = time.Now()
	if u.Job, err = c.deploy(ctx, file, brokers); err != nil {
		return u, err
	}
	cluster := flink.NewCluster(flink.Config{JobManager: c.RestURL()})
	for {
		u.PeakKB = max(u.PeakKB, usage.ResidentKB(pids...))
		if err := watch(); err != nil {
			return u, err
		}
		state, err := cluster.Job(ctx, u.Job)
		if err != nil {
			return u, err
		}
		if len(state.Vertices) > 0 {
			u.First = time.UnixMilli(int64(state.Vertices[0].Start))
		}
		if state.Ended() {
			if state.State != "FINISHED" {
				return u, fmt.Errorf("the job is %s", strings.ToLower(state.State))
			}
			break
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return u, err
		}
	}
	u.Ended = time.Now()
	after, err := usage.CPU(pids...)
	u.CPU = after - before
	return u, err
}

func (c *Cluster) deploy(ctx context.Context, file, brokers string) (job string, err error) {
	cmd := exec.CommandContext(ctx, c.weir, "flink", "deploy", file, "--brokers", brokers, "--gateway", c.GatewayURL(), "--jobmanager", c.RestURL(), //nolint:gosec // arguments built here
		"--parallelism", strconv.Itoa(c.slots), "--checkpoint-interval", checkpoint.String(), "-o", "json")
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &log, filepath.Dir(file)
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("deploy: %w: %s", err, log.Bytes())
	}
	var d flink.Deployment
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		return "", fmt.Errorf("deploy: %w", err)
	}
	return d.JobID, nil
}

// LastCheckpoint returns the size in bytes of a job's last completed checkpoint, 0 if it has none.
func (c *Cluster) LastCheckpoint(ctx context.Context, job string) (int64, error) {
	all, err := flink.NewCluster(flink.Config{JobManager: c.RestURL()}).Checkpoints(ctx, job)
	if err != nil || all.Latest.Completed == nil {
		return 0, err
	}
	return all.Latest.Completed.Size, nil
}
