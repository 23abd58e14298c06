package flink

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// Status is the current status of a pipeline.
type Status struct {
	Name         string       `json:"name"`
	State        string       `json:"state"` // of the job, in lower case; StateLost if it should be running and is not; or of the record
	JobID        string       `json:"job_id,omitempty"`
	Since        time.Time    `json:"since"`
	Restarts     int64        `json:"restarts"`
	Checkpoints  *Checkpoints `json:"checkpoints,omitempty"`
	Operators    []Operator   `json:"operators,omitempty"`
	RecordsIn    int64        `json:"records_in"`
	RecordsOut   int64        `json:"records_out"`
	Late         int64        `json:"late"`
	Lag          int64        `json:"lag"` // -1 if no source reports it
	Exceptions   []Exception  `json:"exceptions,omitempty"`
	PossibleLoss []string     `json:"possible_loss,omitempty"`
	Deployment   *Deployment  `json:"deployment,omitempty"`
}

// Listed is an entry of List.
type Listed struct {
	Name     string    `json:"name"`
	State    string    `json:"state"`
	JobID    string    `json:"job_id,omitempty"`
	Since    time.Time `json:"since"`
	Deployed bool      `json:"deployed"` // by Weir
}

// List returns the deployments by name, followed by the cluster's other running jobs.
func (m *Manager) List(ctx context.Context) ([]Listed, error) {
	deployments, err := Deployments(ctx, m.Env.Kafka)
	if err != nil {
		return nil, err
	}
	jobs, err := m.Cluster.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	all := []Listed{}
	for _, d := range deployments {
		l := Listed{Name: d.Name, State: d.State, JobID: d.JobID, Since: d.At, Deployed: true}
		at := slices.IndexFunc(jobs, func(j Job) bool { return j.ID == d.JobID || j.Name == d.Name && !j.Ended() })
		should := d.Deployed()
		switch {
		case at >= 0 && (should || !jobs[at].Ended()):
			l.State, l.JobID, l.Since = strings.ToLower(jobs[at].State), jobs[at].ID, jobs[at].Start.Time()
		case should:
			l.State = StateLost
		}
		all = append(all, l)
	}
	for _, j := range jobs {
		if !j.Ended() && !slices.ContainsFunc(all, func(l Listed) bool { return l.JobID == j.ID }) {
			all = append(all, Listed{Name: j.Name, State: strings.ToLower(j.State), JobID: j.ID, Since: j.Start.Time()})
		}
	}
	return all, nil
}

// Operator is a chain of operators with its throughput.
type Operator struct {
	Name        string `json:"name"`
	Parallelism int    `json:"parallelism"`
	State       string `json:"state"`
	Flow
}

// StateLost is the state of a pipeline that should run and does not.
const StateLost = "lost"

// Status returns the status of a pipeline. The error is a *NotDeployedError if the name is unknown.
func (m *Manager) Status(ctx context.Context, name string) (*Status, error) {
	d, job, err := m.find(ctx, name)
	if err != nil {
		return nil, err
	}
	s := &Status{Name: name, State: d.State, JobID: d.JobID, Since: d.At, Lag: -1, PossibleLoss: d.PossibleLoss}
	if d.State != "" {
		s.Deployment = &d
	}
	if job == nil && d.JobID != "" { // it may have ended
		known, err := m.Cluster.Job(ctx, d.JobID)
		var gone *ResponseError
		switch {
		case err == nil:
			job = &known.Job
		case !errors.As(err, &gone):
			return nil, err
		}
	}
	if job == nil {
		if d.Deployed() {
			s.State = StateLost
		}
		return s, nil
	}
	s.JobID = job.ID
	if !job.Ended() || d.State == stateRunning {
		s.State, s.Since = strings.ToLower(job.State), job.Start.Time()
	}
	return s, m.addJob(ctx, s, job, &d)
}

// addJob adds what the JobManager reports about a job.
func (m *Manager) addJob(ctx context.Context, s *Status, job *Job, d *Deployment) error {
	detail, err := m.Cluster.Job(ctx, job.ID)
	if err != nil {
		return err
	}
	checkpoints, err := m.Cluster.Checkpoints(ctx, job.ID)
	if err != nil {
		return err
	}
	s.Checkpoints = &checkpoints
	if s.Restarts, err = m.Cluster.Restarts(ctx, job.ID); err != nil {
		return err
	}
	for _, v := range detail.Vertices {
		flow, err := m.Cluster.Flow(ctx, job.ID, v)
		if err != nil {
			return err
		}
		s.Operators = append(s.Operators, Operator{Name: v.Name, Parallelism: v.Parallelism, State: strings.ToLower(v.Status), Flow: flow})
		s.Late += flow.Late
		if flow.Lag >= 0 {
			s.Lag = max(s.Lag, 0) + flow.Lag
		}
		if strings.HasPrefix(v.Name, "Source:") {
			s.RecordsIn += flow.In
		}
		if strings.Contains(v.Name, ": Writer") || strings.Contains(v.Name, ": Committer") {
			s.RecordsOut += flow.Sent
		}
	}
	if s.Exceptions, err = m.Cluster.Exceptions(ctx, job.ID); err != nil {
		return err
	}
	loss, err := m.possibleLoss(ctx, &checkpoints, d, job.Start.Time())
	s.PossibleLoss = append(s.PossibleLoss, loss...)
	return err
}
