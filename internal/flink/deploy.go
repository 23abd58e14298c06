package flink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sql"
)

// Manager deploys pipelines on a cluster and keeps a record of them in Kafka.
type Manager struct {
	Cluster  *Cluster
	Env      Environment
	Progress func(format string, args ...any) // called at each step; may be nil
}

func (m *Manager) progress(format string, args ...any) {
	if m.Progress != nil {
		m.Progress(format, args...)
	}
}

// AlreadyDeployedError is returned if a name is already in use.
type AlreadyDeployedError struct {
	Name, JobID, State string
	Gone               bool // the job was not stopped, but the cluster has lost it
}

func (e *AlreadyDeployedError) Error() string {
	if e.Gone {
		return fmt.Sprintf("%s was deployed as job %s, which has failed or is unknown to the JobManager: weir flink recover %s resumes from its last checkpoint, weir flink cancel %[1]s gives it up",
			e.Name, e.JobID, e.Name)
	}
	return fmt.Sprintf("%s is already deployed as job %s (%s): use weir flink upgrade to replace it and keep its state, weir flink stop to stop it, or another --name",
		e.Name, e.JobID, strings.ToLower(e.State))
}

// Prepare reads a file for deployment and applies the broker's limits.
func (m *Manager) Prepare(ctx context.Context, text string, o Options) (*Script, error) {
	// The file may be the only place that names the brokers.
	if len(m.Env.Kafka.Brokers) == 0 {
		script, err := NewScript(text, m.Env, o)
		if err != nil {
			return nil, err
		}
		for _, t := range slices.Concat(script.Sources, script.Sinks) {
			m.Env.Kafka.Brokers = strings.Split(t.Options["properties.bootstrap.servers"], ",")
		}
	}
	limit, err := transactionCap(ctx, m.Env.Kafka)
	if err != nil {
		return nil, err
	}
	o.TransactionTimeout = limit
	script, err := NewScript(text, m.Env, o)
	if err != nil {
		return nil, err
	}
	return script, script.checkTimeouts(limit)
}

// transactionCap is the longest transaction timeout that the brokers allow.
func transactionCap(ctx context.Context, kafka broker.Config) (time.Duration, error) {
	client, err := broker.Connect(ctx, kafka)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	brokers, err := admin.ListBrokers(ctx)
	if err != nil {
		return 0, fmt.Errorf("list brokers: %w", err)
	}
	const key = "transaction.max.timeout.ms"
	shortest := 15 * time.Minute // Kafka's default, for brokers that do not report their limit
	configs, err := admin.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...)
	if err != nil {
		return 0, fmt.Errorf("describe the brokers' %s: %w", key, err)
	}
	for _, c := range configs {
		for _, entry := range c.Configs {
			if ms, err := strconv.ParseInt(entry.MaybeValue(), 10, 64); err == nil && entry.Key == key {
				shortest = min(shortest, time.Duration(ms)*time.Millisecond)
			}
		}
	}
	return shortest, nil
}

// timeoutOf returns the transaction timeout of a sink, or 0 if it has none.
func timeoutOf(t *Table) (time.Duration, error) {
	text, ok := t.Options["properties.transaction.timeout.ms"]
	if !ok || t.Options["sink.delivery-guarantee"] != "exactly-once" {
		return 0, nil
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms <= 0 {
		return 0, fmt.Errorf("table %s: invalid 'properties.transaction.timeout.ms' = '%s': expected a number of milliseconds", t.Name, text)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// checkTimeouts rejects sinks whose transactions the broker would not accept, or would abort before
// a checkpoint commits them.
func (s *Script) checkTimeouts(limit time.Duration) error {
	for i := range s.Sinks {
		timeout, err := timeoutOf(&s.Sinks[i])
		switch {
		case err != nil:
			return err
		case timeout == 0:
		case timeout > limit:
			return fmt.Errorf("table %s: 'properties.transaction.timeout.ms' = '%d' is above the brokers' transaction.max.timeout.ms of %d: lower it, or raise the brokers'",
				s.Sinks[i].Name, timeout.Milliseconds(), limit.Milliseconds())
		case timeout < 2*s.CheckpointInterval:
			return fmt.Errorf("table %s: its transactions time out after %s but are committed every %s at best, so results would be lost: set the timeout to at least twice the checkpoint interval (better: the longest outage to survive without loss)",
				s.Sinks[i].Name, timeout, s.CheckpointInterval)
		case timeout < s.CheckpointInterval+time.Minute:
			s.Warnings = append(s.Warnings, fmt.Sprintf("table %s: its transactions time out after %s; a longer outage loses results", s.Sinks[i].Name, timeout))
		}
	}
	return nil
}

// start is the common part of Deploy, Upgrade and Recover.
type start struct {
	script      *Script
	text        string
	options     Options
	restoreFrom string
	record      Deployment // from earlier deployments; Name is empty if there were none
	loss        []string
}

// Deploy starts a pipeline under an unused name, from a savepoint or without state.
func (m *Manager) Deploy(ctx context.Context, text string, o Options, fromSavepoint string) (Deployment, error) {
	script, err := m.Prepare(ctx, text, o)
	if err != nil {
		return Deployment{}, err
	}
	recorder, err := openRecorder(ctx, m.Env.Kafka, script.Name)
	if err != nil {
		return Deployment{}, err
	}
	defer recorder.close()
	old, err := FindDeployment(ctx, m.Env.Kafka, script.Name)
	var none *NotDeployedError
	if err != nil && !errors.As(err, &none) {
		return Deployment{}, err
	}
	if err := m.refuseTaken(ctx, script.Name, &old); err != nil {
		return Deployment{}, err
	}
	return m.launch(ctx, recorder, start{script: script, text: text, options: o, restoreFrom: fromSavepoint, record: old})
}

// refuseTaken rejects a name with a running or lost job.
func (m *Manager) refuseTaken(ctx context.Context, name string, old *Deployment) error {
	job, err := m.runningJob(ctx, name)
	if err != nil {
		return err
	}
	if job != nil {
		return &AlreadyDeployedError{Name: name, JobID: job.ID, State: job.State}
	}
	if old.State == stateRunning {
		known, err := m.Cluster.Job(ctx, old.JobID)
		if err == nil && known.State == "FINISHED" {
			return nil // a bounded job that has finished
		}
		return &AlreadyDeployedError{Name: name, JobID: old.JobID, Gone: true}
	}
	return nil
}

// runningJob returns the pipeline's unfinished job, or nil.
func (m *Manager) runningJob(ctx context.Context, name string) (*Job, error) {
	jobs, err := m.Cluster.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	for i := range jobs {
		if jobs[i].Name == name && !jobs[i].Ended() {
			return &jobs[i], nil
		}
	}
	return nil, nil
}

// States of a deployment, as recorded.
const (
	stateDeploying = "deploying"
	stateRunning   = "running"
	stateStopped   = "stopped"
	stateCancelled = "cancelled"
)

// launch submits the job and waits until it runs.
func (m *Manager) launch(ctx context.Context, recorder *recorder, s start) (d Deployment, err error) {
	script := s.script
	d, err = m.describe(ctx, &s)
	if err != nil {
		return d, err
	}
	m.progress("making the topics that are missing")
	if err := m.ensureTopics(ctx, script); err != nil {
		return d, err
	}
	m.progress("sending %d statements to the SQL Gateway", len(script.Statements)+1)
	session, err := m.open(ctx, script)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, session.Close(context.WithoutCancel(ctx))) }()
	if d.Plan, err = session.explain(ctx, script); err != nil {
		return d, err
	}
	if err := recorder.write(ctx, &d); err != nil {
		return d, err
	}
	if s.restoreFrom != "" {
		if _, err := session.Execute(ctx, "SET 'execution.state-recovery.path' = "+sql.QuoteString(s.restoreFrom)); err != nil {
			return d, err
		}
	}
	m.progress("submitting the job")
	result, err := session.Execute(ctx, script.Job)
	if err != nil {
		return d, errors.Join(err, m.recordFailure(ctx, recorder, &s, d))
	}
	d.JobID, d.State = result.JobID, stateRunning
	if err := m.awaitRunning(ctx, d.JobID); err != nil {
		m.giveUp(ctx, d.JobID)
		return d, errors.Join(err, m.recordFailure(ctx, recorder, &s, d))
	}
	if err := recorder.write(ctx, &d); err != nil {
		m.giveUp(ctx, d.JobID) // a concurrent deployment won: its job is the one to keep
		return d, fmt.Errorf("%w; job %s was cancelled again", err, d.JobID)
	}
	return d, nil
}

// giveUp cancels a job that must not continue. It ignores errors: the job may already have
// finished.
func (m *Manager) giveUp(ctx context.Context, id string) {
	_ = m.Cluster.Cancel(context.WithoutCancel(ctx), id)
}

// recordFailure records a failed start by restoring the previous deployment.
func (m *Manager) recordFailure(ctx context.Context, recorder *recorder, s *start, failed Deployment) error {
	d := s.record
	if d.Name == "" {
		d = failed
		d.State, d.JobID = stateCancelled, ""
	}
	if s.restoreFrom != "" && d.State == stateRunning {
		d.State, d.Savepoint = stateStopped, s.restoreFrom
	}
	return recorder.write(context.WithoutCancel(ctx), &d)
}

// describe creates the record of a deployment that is about to start.
func (m *Manager) describe(ctx context.Context, s *start) (Deployment, error) {
	script := s.script
	settings, err := m.Cluster.Settings(ctx)
	if err != nil {
		return Deployment{}, err
	}
	dir := cmp.Or(script.Settings["execution.checkpointing.dir"], script.Settings["state.checkpoints.dir"],
		settings["execution.checkpointing.dir"], settings["state.checkpoints.dir"])
	if dir == "" {
		return Deployment{}, errors.New("the cluster keeps checkpoints in the JobManager's memory, where they are lost with it: set execution.checkpointing.dir in its configuration, or --checkpoint-dir to a URL that all its processes can reach")
	}
	overview, err := m.Cluster.Overview(ctx)
	if err != nil {
		return Deployment{}, err
	}
	d := Deployment{
		Name: script.Name, State: stateDeploying, SQL: secret.Redact(s.text), Incomplete: Secret(s.text), Parallelism: s.options.Parallelism,
		Sources: make(map[string]string), Sinks: topicsOf(script.Sinks), RestoredFrom: s.restoreFrom, CheckpointDir: dir,
		CheckpointInterval: Millis(script.CheckpointInterval.Milliseconds()), Warnings: script.Warnings, FlinkVersion: overview.Version,
		PossibleLoss: slices.Concat(s.record.PossibleLoss, s.loss), PreviousJobs: s.record.PreviousJobs,
	}
	if s.record.JobID != "" {
		d.PreviousJobs = append([]string{s.record.JobID}, d.PreviousJobs[:min(9, len(d.PreviousJobs))]...)
	}
	if s.restoreFrom == "" {
		d.PossibleLoss = s.loss // starts over without state
	}
	for _, t := range script.Sources {
		d.Sources[t.Name] = t.Topic
	}
	for i := range script.Sinks {
		timeout, err := timeoutOf(&script.Sinks[i])
		if err != nil {
			return d, err
		}
		if ms := Millis(timeout.Milliseconds()); ms > 0 && (d.TransactionTimeout == 0 || ms < d.TransactionTimeout) {
			d.TransactionTimeout = ms
		}
	}
	return d, nil
}

func topicsOf(tables []Table) []string {
	var topics []string
	for _, t := range tables {
		if t.Topic != "" && !slices.Contains(topics, t.Topic) {
			topics = append(topics, t.Topic)
		}
	}
	return topics
}

// ensureTopics creates the topics the pipeline writes, as weir run does. The topics it reads must
// exist.
func (m *Manager) ensureTopics(ctx context.Context, script *Script) error {
	client, err := broker.Connect(ctx, m.Env.Kafka)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	listed, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	written := topicsOf(script.Sinks)
	width := 1
	for _, t := range script.Sources {
		for _, name := range plan.Topics(t.Topic) {
			if slices.Contains(written, name) {
				continue
			}
			topic, ok := listed[name]
			if !ok {
				return fmt.Errorf("table %s reads topic %s, which does not exist: create it, or start its producer", t.Name, name)
			}
			width = max(width, len(topic.Partitions))
		}
	}
	declared := make(map[string]broker.Topic)
	for _, t := range script.Sinks {
		if t.Topic == "" || listed.Has(t.Topic) {
			continue
		}
		topic := broker.Topic{Name: t.Topic, Partitions: int32(width)} //nolint:gosec // small number
		if t.Upsert {
			topic.CleanupPolicy = "compact"
		}
		declared[t.Topic] = topic
	}
	if err := broker.EnsureTopics(ctx, admin, slices.Collect(maps.Values(declared))); err != nil {
		return fmt.Errorf("create the pipeline's topics: %w", err)
	}
	return nil
}

// open opens a session with the script's settings, tables and views.
func (m *Manager) open(ctx context.Context, script *Script) (*Session, error) {
	session, err := m.Cluster.OpenSession(ctx, script.Name, script.Settings)
	if err != nil {
		return nil, err
	}
	for _, statement := range script.Statements {
		if _, err := session.Execute(ctx, statement); err != nil {
			return nil, errors.Join(err, session.Close(context.WithoutCancel(ctx)))
		}
	}
	return session, nil
}

// explain returns Flink's plan of the script's job.
func (s *Session) explain(ctx context.Context, script *Script) (string, error) {
	job := strings.TrimPrefix(script.Job, "EXECUTE ") // EXPLAIN STATEMENT SET BEGIN …
	result, err := s.Execute(ctx, "EXPLAIN "+job)
	if err != nil {
		return "", err
	}
	return secret.Redact(result.Text()), nil
}

// Explain returns Flink's plan of a script, without starting anything.
func (m *Manager) Explain(ctx context.Context, script *Script) (plan string, err error) {
	session, err := m.open(ctx, script)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, session.Close(context.WithoutCancel(ctx))) }()
	return session.explain(ctx, script)
}

// startLimit is the time from a job's submission until all its tasks must be running.
const startLimit = 2 * time.Minute

// awaitRunning waits until all tasks of a job are running or the job has finished. It returns the
// first exception as an error.
func (m *Manager) awaitRunning(ctx context.Context, id string) error {
	m.progress("waiting until the job's tasks run")
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		job, err := m.Cluster.Job(limited, id)
		if err != nil {
			return err
		}
		switch {
		case job.State == "FINISHED":
			return nil
		case job.State == "RUNNING" && !slices.ContainsFunc(job.Vertices, func(v Vertex) bool { return v.Status != "RUNNING" && v.Status != "FINISHED" }):
			return nil
		}
		exceptions, err := m.Cluster.Exceptions(limited, id)
		if err != nil {
			return err
		}
		if len(exceptions) > 0 && (job.Ended() || len(exceptions) > 2) {
			return fmt.Errorf("job %s failed to start: %s", id, exceptions[0].Problem)
		}
		if job.Ended() {
			return fmt.Errorf("job %s %s before it was running", id, strings.ToLower(job.State))
		}
		if err := pause(limited); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			reason := "its tasks wait for slots or for their state"
			if len(exceptions) > 0 {
				reason = exceptions[0].String()
			}
			return fmt.Errorf("job %s is not running after %s: %s", id, startLimit, reason)
		}
	}
}

// pause waits between requests to the JobManager.
func pause(ctx context.Context) error { return retry.Sleep(ctx, 200*time.Millisecond) }
