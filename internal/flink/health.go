package flink

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Exception is a failure of a job.
type Exception struct {
	At   Millis `json:"at"`
	Task string `json:"task,omitempty"`
	Problem
}

// Exceptions returns the failures of a job, newest first.
func (c *Cluster) Exceptions(ctx context.Context, id string) ([]Exception, error) {
	var answer struct {
		History struct {
			Entries []struct {
				At    Millis `json:"timestamp"`
				Task  string `json:"taskName"`
				Trace string `json:"stacktrace"`
			} `json:"entries"`
		} `json:"exceptionHistory"`
	}
	if err := c.jobs.get(ctx, "/jobs/"+id+"/exceptions?maxExceptions=20", &answer); err != nil {
		return nil, err
	}
	var all []Exception
	for _, e := range answer.History.Entries {
		all = append(all, Exception{At: e.At, Task: e.Task, Problem: translate(e.Trace)})
	}
	return all, nil
}

// metric returns a metric of a job; ok is false if it does not exist.
func (c *Cluster) metric(ctx context.Context, id, name string) (value float64, ok bool, err error) {
	var answer []struct{ ID, Value string }
	if err := c.jobs.get(ctx, "/jobs/"+id+"/metrics?get="+url.QueryEscape(name), &answer); err != nil {
		return 0, false, err
	}
	for _, m := range answer {
		if v, err := strconv.ParseFloat(m.Value, 64); err == nil && m.ID == name {
			return v, true, nil
		}
	}
	return 0, false, nil
}

// Restarts returns how often the JobManager has restarted the job.
func (c *Cluster) Restarts(ctx context.Context, id string) (int64, error) {
	n, _, err := c.metric(ctx, id, "numRestarts")
	return int64(n), err
}

// Flow is the throughput of a chain of operators, summed over its subtasks.
type Flow struct {
	In      int64   `json:"records_in"`
	Out     int64   `json:"records_out"`
	Lag     int64   `json:"lag"`          // records that a source has yet to read; -1 if not a source or not reported
	Late    int64   `json:"late"`         // rows dropped because their window had closed
	Sent    int64   `json:"records_sent"` // records that a sink has sent to Kafka
	Commits int64   `json:"committed"`    // transactions that a sink has committed
	Failed  int64   `json:"commits_failed"`
	Busy    float64 `json:"busy"`         // fraction of time, of the busiest subtask
	Pressed float64 `json:"backpressure"` // fraction of time that the most backpressured subtask waits for downstream
}

// number is a Flink metric value. Flink encodes values that JSON lacks as strings; NaN becomes 0.
type number float64

func (n *number) UnmarshalJSON(text []byte) error {
	v, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	*n = number(v)
	return nil
}

// Flow reads the metrics of a chain of operators.
func (c *Cluster) Flow(ctx context.Context, id string, v Vertex) (Flow, error) {
	base := "/jobs/" + id + "/vertices/" + v.ID + "/subtasks/metrics"
	var names []struct{ ID string }
	if err := c.jobs.get(ctx, base, &names); err != nil {
		return Flow{}, err
	}
	// Operator metrics are prefixed with the operator's name. Records sent by a sink are counted by
	// its writer only: for the chain they are internal.
	wanted := []string{"numRecordsIn", "numRecordsOut", "busyTimeMsPerSecond", "backPressuredTimeMsPerSecond"}
	for _, n := range names {
		for _, suffix := range []string{".pendingRecords", ".numLateRecordsDropped", ".numRecordsSend", ".successfulCommittables", ".failedCommittables", ".alreadyCommittedCommittables"} {
			if strings.HasSuffix(n.ID, suffix) && !slices.Contains(wanted, n.ID) {
				wanted = append(wanted, n.ID)
			}
		}
		if strings.HasPrefix(n.ID, "Source__") && strings.HasSuffix(n.ID, ".numRecordsIn") {
			wanted = append(wanted, n.ID)
		}
	}
	var values []struct {
		ID  string
		Sum number
		Max number
	}
	if err := c.jobs.get(ctx, base+"?get="+url.QueryEscape(strings.Join(wanted, ","))+"&agg=sum,max", &values); err != nil {
		return Flow{}, err
	}
	f := Flow{Lag: -1}
	for _, m := range values {
		switch n := int64(m.Sum); {
		case m.ID == "numRecordsIn":
			f.In = max(f.In, n)
		case m.ID == "numRecordsOut":
			f.Out = max(f.Out, n)
		case m.ID == "busyTimeMsPerSecond":
			f.Busy = float64(m.Max) / 1000
		case m.ID == "backPressuredTimeMsPerSecond":
			f.Pressed = float64(m.Max) / 1000
		case strings.HasSuffix(m.ID, ".pendingRecords"):
			f.Lag = max(f.Lag, 0) + n
		case strings.HasSuffix(m.ID, ".numLateRecordsDropped"):
			f.Late += n
		case strings.HasSuffix(m.ID, ".numRecordsSend"):
			f.Sent += n
		case strings.HasSuffix(m.ID, ".successfulCommittables"):
			f.Commits += n
		case strings.HasSuffix(m.ID, ".failedCommittables"):
			f.Failed += n
		case strings.HasSuffix(m.ID, ".numRecordsIn"):
			f.In = max(f.In, n)
		}
	}
	return f, nil
}

// Logs calls fn with the log of each process that serves one.
func (c *Cluster) Logs(ctx context.Context, fn func(process, log string)) error {
	var managers struct {
		TaskManagers []struct {
			ID string `json:"id"`
		} `json:"taskmanagers"`
	}
	if err := c.jobs.get(ctx, "/taskmanagers", &managers); err != nil {
		return err
	}
	read := func(process, path string) {
		var text string
		// A cluster may keep its logs elsewhere; then none are available here.
		if err := c.jobs.get(ctx, path, &text); err == nil {
			fn(process, text)
		}
	}
	read("JobManager", "/jobmanager/log")
	for _, m := range managers.TaskManagers {
		read(fmt.Sprintf("TaskManager %s", m.ID), "/taskmanagers/"+url.PathEscape(m.ID)+"/log")
	}
	return ctx.Err()
}
