package flink

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"weir.example/weir/internal/retry"
)

// Millis is a time in milliseconds since the Unix epoch; 0 or less means no time.
type Millis int64

// Time converts to a time.Time, which is zero for no time.
func (m Millis) Time() time.Time {
	if m <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// Job is a job as listed by the JobManager.
type Job struct {
	ID    string `json:"jid"`
	Name  string `json:"name"`
	State string `json:"state"` // CREATED, RUNNING, RESTARTING, FAILING, FINISHED, CANCELED, FAILED, …
	Start Millis `json:"start-time"`
	End   Millis `json:"end-time"`
}

// Ended reports whether a job is in a terminal state.
func (j *Job) Ended() bool {
	return slices.Contains([]string{"FINISHED", "CANCELED", "FAILED"}, j.State)
}

// Jobs returns the jobs known to the JobManager, newest first.
func (c *Cluster) Jobs(ctx context.Context) ([]Job, error) {
	var answer struct {
		Jobs []Job `json:"jobs"`
	}
	if err := c.jobs.get(ctx, "/jobs/overview", &answer); err != nil {
		return nil, err
	}
	slices.SortFunc(answer.Jobs, func(a, b Job) int { return cmp.Compare(b.Start, a.Start) })
	return answer.Jobs, nil
}

// JobDetail is a job with its chains of operators.
type JobDetail struct {
	Job
	Vertices []Vertex `json:"vertices"`
}

// Vertex is a chain of operators.
type Vertex struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Parallelism int    `json:"parallelism"`
	Status      string `json:"status"`
	Start       Millis `json:"start-time"`
}

// Job returns a job.
func (c *Cluster) Job(ctx context.Context, id string) (JobDetail, error) {
	var job JobDetail
	err := c.jobs.get(ctx, "/jobs/"+id, &job)
	return job, err
}

// Checkpoint is a checkpoint or savepoint of a job.
type Checkpoint struct {
	ID        int64  `json:"id"`
	Status    string `json:"status"` // COMPLETED, IN_PROGRESS, FAILED
	Savepoint bool   `json:"is_savepoint"`
	Triggered Millis `json:"trigger_timestamp"`
	Acked     Millis `json:"latest_ack_timestamp"`
	Size      int64  `json:"state_size"`          // total bytes of state
	Written   int64  `json:"checkpointed_size"`   // bytes written by this checkpoint
	Duration  int64  `json:"end_to_end_duration"` // milliseconds
	Path      string `json:"external_path"`
	Failure   string `json:"failure_message"`
}

// Checkpoints lists the checkpoints of a job.
type Checkpoints struct {
	Counts struct {
		Completed  int64 `json:"completed"`
		Failed     int64 `json:"failed"`
		InProgress int64 `json:"in_progress"`
		Restored   int64 `json:"restored"`
	} `json:"counts"`
	Latest struct {
		Completed *Checkpoint `json:"completed"`
		Savepoint *Checkpoint `json:"savepoint"`
		Failed    *Checkpoint `json:"failed"`
		Restored  *struct {
			ID        int64  `json:"id"`
			At        Millis `json:"restore_timestamp"`
			Savepoint bool   `json:"is_savepoint"`
			Path      string `json:"external_path"`
		} `json:"restored"`
	} `json:"latest"`
	History []Checkpoint `json:"history"` // newest first
}

// Checkpoints returns the checkpoints of a job.
func (c *Cluster) Checkpoints(ctx context.Context, id string) (Checkpoints, error) {
	var checkpoints Checkpoints
	err := c.jobs.get(ctx, "/jobs/"+id+"/checkpoints", &checkpoints)
	return checkpoints, err
}

// Settings are the JobManager's settings.
func (c *Cluster) Settings(ctx context.Context) (map[string]string, error) {
	var answer []struct{ Key, Value string }
	if err := c.jobs.get(ctx, "/jobmanager/config", &answer); err != nil {
		return nil, err
	}
	settings := make(map[string]string)
	for _, s := range answer {
		settings[s.Key] = s.Value
	}
	return settings, nil
}

// Overview is the size of the cluster.
type Overview struct {
	TaskManagers int    `json:"taskmanagers"`
	Slots        int    `json:"slots-total"`
	FreeSlots    int    `json:"slots-available"`
	Version      string `json:"flink-version"`
}

// Overview returns the cluster's total and free slots.
func (c *Cluster) Overview(ctx context.Context) (Overview, error) {
	var o Overview
	err := c.jobs.get(ctx, "/overview", &o)
	return o, err
}

// GatewayVersion returns the Flink version of the SQL Gateway.
func (c *Cluster) GatewayVersion(ctx context.Context) (string, error) {
	var info struct {
		Version string `json:"version"`
	}
	err := c.gateway.get(ctx, "/info", &info)
	return info.Version, err
}

// Cancel cancels a job without a savepoint. Open transactions of its sinks stay open until they
// time out.
func (c *Cluster) Cancel(ctx context.Context, id string) error {
	return c.jobs.call(ctx, http.MethodPatch, "/jobs/"+id+"?mode=cancel", nil, nil)
}

// Savepoint writes a savepoint to folder, or to the cluster's default if folder is "", and returns
// the savepoint's path.
func (c *Cluster) Savepoint(ctx context.Context, id, folder string) (string, error) {
	return c.savepoint(ctx, id, "/savepoints", map[string]any{"cancel-job": false, "target-directory": orNil(folder)})
}

// Stop stops a job with a savepoint and returns the savepoint's path. With drain, it first closes
// all windows: their results are final, and the savepoint must not be used to resume the pipeline.
func (c *Cluster) Stop(ctx context.Context, id, folder string, drain bool) (string, error) {
	return c.savepoint(ctx, id, "/stop", map[string]any{"drain": drain, "targetDirectory": orNil(folder)})
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (c *Cluster) savepoint(ctx context.Context, id, action string, in any) (string, error) {
	var trigger struct {
		ID string `json:"request-id"`
	}
	if err := c.jobs.call(ctx, http.MethodPost, "/jobs/"+id+action, in, &trigger); err != nil {
		return "", fmt.Errorf("trigger a savepoint: %w", err)
	}
	for {
		var answer struct {
			Status struct {
				ID string `json:"id"`
			} `json:"status"`
			Operation struct {
				Location string `json:"location"`
				Failure  *struct {
					Trace string `json:"stack-trace"`
				} `json:"failure-cause"`
			} `json:"operation"`
		}
		if err := c.jobs.get(ctx, "/jobs/"+id+"/savepoints/"+url.PathEscape(trigger.ID), &answer); err != nil {
			return "", err
		}
		if answer.Status.ID == "COMPLETED" {
			if failure := answer.Operation.Failure; failure != nil {
				return "", fmt.Errorf("savepoint failed: %s", translate(failure.Trace))
			}
			return answer.Operation.Location, nil
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return "", err
		}
	}
}
