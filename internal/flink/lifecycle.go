package flink

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// NotRunningError is returned if a pipeline has no running job.
type NotRunningError struct{ Name, State string }

func (e *NotRunningError) Error() string {
	return fmt.Sprintf("%s has no running job (it is %s)", e.Name, e.State)
}

// find returns a pipeline's record and its running job, or nil. A job that was not deployed by Weir
// gets a record with only its name.
func (m *Manager) find(ctx context.Context, name string) (Deployment, *Job, error) {
	d, err := FindDeployment(ctx, m.Env.Kafka, name)
	var none *NotDeployedError
	if err != nil && !errors.As(err, &none) {
		return d, nil, err
	}
	job, jobErr := m.runningJob(ctx, name)
	if jobErr != nil {
		return d, nil, jobErr
	}
	if job == nil && err != nil {
		return d, nil, err
	}
	d.Name = name
	return d, job, nil
}

func (m *Manager) findRunning(ctx context.Context, name string) (Deployment, *Job, error) {
	d, job, err := m.find(ctx, name)
	if err == nil && job == nil {
		err = &NotRunningError{name, d.State}
	}
	return d, job, err
}

// Savepoint writes a savepoint of a running pipeline and returns its path.
func (m *Manager) Savepoint(ctx context.Context, name, folder string) (string, error) {
	_, job, err := m.findRunning(ctx, name)
	if err != nil {
		return "", err
	}
	m.progress("writing a savepoint of %s", name)
	return m.Cluster.Savepoint(ctx, job.ID, folder)
}

// Stop stops a pipeline with a savepoint and returns the savepoint's path. All its output is
// committed.
func (m *Manager) Stop(ctx context.Context, name, folder string, drain bool) (string, error) {
	d, job, err := m.findRunning(ctx, name)
	if err != nil {
		return "", err
	}
	recorder, err := openRecorder(ctx, m.Env.Kafka, name)
	if err != nil {
		return "", err
	}
	defer recorder.close()
	return m.stop(ctx, recorder, &d, job.ID, folder, drain)
}

func (m *Manager) stop(ctx context.Context, recorder *recorder, d *Deployment, id, folder string, drain bool) (string, error) {
	m.progress("stopping %s with a savepoint", d.Name)
	path, err := m.Cluster.Stop(ctx, id, folder, drain)
	if err != nil {
		return "", fmt.Errorf("stop %s: %w; the job is still running", d.Name, err)
	}
	d.State, d.Savepoint, d.JobID = stateStopped, path, id
	if err := recorder.write(ctx, d); err != nil {
		return path, fmt.Errorf("the job is stopped with savepoint %s: %w", path, err)
	}
	return path, nil
}

// Cancel cancels a pipeline without a savepoint, or abandons one whose job is lost.
func (m *Manager) Cancel(ctx context.Context, name string) (Deployment, error) {
	d, job, err := m.find(ctx, name)
	if err != nil {
		return d, err
	}
	if job == nil && !d.Deployed() {
		return d, &NotRunningError{name, d.State}
	}
	recorder, err := openRecorder(ctx, m.Env.Kafka, name)
	if err != nil {
		return d, err
	}
	defer recorder.close()
	if job != nil {
		d.JobID = job.ID
		m.progress("cancelling %s", name)
		if err := m.Cluster.Cancel(ctx, job.ID); err != nil {
			return d, fmt.Errorf("cancel %s: %w", name, err)
		}
		if err := m.awaitEnd(ctx, job.ID); err != nil {
			return d, err
		}
	}
	d.State = stateCancelled
	return d, recorder.write(ctx, &d)
}

func (m *Manager) awaitEnd(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		job, err := m.Cluster.Job(ctx, id)
		if err != nil {
			return err
		}
		if job.Ended() {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("job %s is still %s: %w", id, strings.ToLower(job.State), err)
		}
	}
}

// Upgrade replaces a pipeline's SQL and keeps its state. The plans are compared before anything
// changes: a *ChangedError lists incompatible changes. If the new job fails to start from the
// savepoint, the old SQL is restarted from it.
func (m *Manager) Upgrade(ctx context.Context, text string, o Options) (Deployment, error) {
	script, err := m.Prepare(ctx, text, o)
	if err != nil {
		return Deployment{}, err
	}
	old, job, err := m.findRunning(ctx, script.Name)
	if err != nil {
		return old, err
	}
	if old.Plan == "" {
		return old, fmt.Errorf("%s was not deployed by weir, so its plan is unknown: stop it manually and use weir flink deploy --from-savepoint", script.Name)
	}
	if o.Parallelism == 0 && old.Parallelism > 0 {
		o.Parallelism = old.Parallelism
		script.Settings["parallelism.default"] = strconv.Itoa(o.Parallelism)
	}
	m.progress("comparing the plans")
	plan, err := m.Explain(ctx, script)
	if err != nil {
		return old, err
	}
	notes, err := ComparePlans(old.Plan, plan)
	if err != nil {
		return old, err
	}
	script.Warnings = append(script.Warnings, notes...)
	for _, t := range script.Sources { // the state has offsets of the old topic, which would still be read
		if topic := old.Sources[t.Name]; topic != "" && topic != t.Topic {
			return old, &ChangedError{fmt.Sprintf("  changed: table %s reads topic %s\n       to: topic %s\n", t.Name, topic, t.Topic)}
		}
	}
	if err := m.ensureTopics(ctx, script); err != nil { // before the old job is stopped
		return old, err
	}
	recorder, err := openRecorder(ctx, m.Env.Kafka, script.Name)
	if err != nil {
		return old, err
	}
	defer recorder.close()
	savepoint, err := m.stop(ctx, recorder, &old, job.ID, "", false)
	if err != nil {
		return old, err
	}
	d, err := m.launch(ctx, recorder, start{script: script, text: text, options: o, restoreFrom: savepoint, record: old})
	if err != nil {
		return d, m.rollBack(ctx, recorder, &old, savepoint, err)
	}
	return d, nil
}

// rollBack restarts the old SQL after a failed upgrade.
func (m *Manager) rollBack(ctx context.Context, recorder *recorder, old *Deployment, savepoint string, cause error) error {
	ctx = context.WithoutCancel(ctx)
	byHand := fmt.Sprintf("restart the old SQL with weir flink deploy FILE --from-savepoint %s", savepoint)
	if old.Incomplete {
		return fmt.Errorf("%w; %s is stopped: %s", cause, old.Name, byHand)
	}
	m.progress("the new SQL does not start; going back to the old one")
	o := Options{Name: old.Name, Parallelism: old.Parallelism}
	script, err := m.Prepare(ctx, old.SQL, o)
	if err == nil {
		_, err = m.launch(ctx, recorder, start{script: script, text: old.SQL, options: o, restoreFrom: savepoint, record: *old})
	}
	if err != nil {
		return fmt.Errorf("%w; the old SQL does not restart either: %w; %s", cause, err, byHand)
	}
	return fmt.Errorf("%w; the old SQL was restarted from the savepoint", cause)
}

// Recover restarts a pipeline whose job is lost from its last checkpoint. text is the file; it may
// be empty if the record is complete. from is the checkpoint, needed if its directory can't be
// listed from this machine.
func (m *Manager) Recover(ctx context.Context, name, text, from string, o Options) (Deployment, error) {
	old, err := FindDeployment(ctx, m.Env.Kafka, name)
	if err != nil {
		return old, err
	}
	if job, err := m.runningJob(ctx, name); err != nil || job != nil {
		if err == nil {
			err = fmt.Errorf("%s is running as job %s (%s): there is nothing to recover", name, job.ID, strings.ToLower(job.State))
		}
		return old, err
	}
	if text == "" {
		if old.Incomplete {
			return old, fmt.Errorf("the record of %s does not contain the secrets of its file: name the file as well", name)
		}
		text = old.SQL
	}
	o.Name = name
	if o.Parallelism == 0 {
		o.Parallelism = old.Parallelism
	}
	found := checkpointPlace{path: from}
	if from == "" {
		if found, err = lastCheckpoint(&old); err != nil {
			return old, err
		}
	}
	script, err := m.Prepare(ctx, text, o)
	if err != nil {
		return old, err
	}
	recorder, err := openRecorder(ctx, m.Env.Kafka, name)
	if err != nil {
		return old, err
	}
	defer recorder.close()
	var loss []string
	timeout := time.Duration(old.TransactionTimeout) * time.Millisecond
	if away := time.Since(found.at); !found.at.IsZero() && timeout > 0 && away > timeout {
		loss = append(loss, fmt.Sprintf("recovered at %s from a checkpoint that was %s old, but the sinks' transactions time out after %s: uncommitted results are lost",
			time.Now().UTC().Format(time.RFC3339), away.Round(time.Second), timeout))
	}
	m.progress("going on from %s", found.path)
	return m.launch(ctx, recorder, start{script: script, text: text, options: o, restoreFrom: found.path, record: old, loss: loss})
}

// checkpointPlace is the path of a checkpoint and the time it completed.
type checkpointPlace struct {
	path string
	at   time.Time
}

// lastCheckpoint finds the state that a lost job can resume from: the savepoint that it was stopped
// with, or the newest complete checkpoint in its directory.
func lastCheckpoint(d *Deployment) (checkpointPlace, error) {
	if d.State == stateStopped && d.Savepoint != "" {
		return checkpointPlace{path: d.Savepoint}, nil // everything before it is committed, however old it is
	}
	u, err := url.Parse(d.CheckpointDir)
	if err != nil || u.Scheme != "" && u.Scheme != "file" || u.Path == "" {
		return checkpointPlace{}, fmt.Errorf("weir can't list the checkpoints of %s in %s: name the newest chk-N directory with --from", d.Name, d.CheckpointDir)
	}
	jobs := append([]string{d.JobID}, d.PreviousJobs...)
	for _, id := range jobs {
		if id == "" {
			continue
		}
		found, err := newestIn(filepath.Join(u.Path, id))
		if err != nil || found.path != "" {
			return found, err
		}
	}
	if d.RestoredFrom != "" { // no checkpoint of its own yet
		return checkpointPlace{path: d.RestoredFrom}, nil
	}
	return checkpointPlace{}, fmt.Errorf("%s has no complete checkpoint in %s: run weir flink cancel %[1]s and deploy it again; it then reads its topics from scan.startup.mode", d.Name, filepath.Join(u.Path, d.JobID))
}

// newestIn returns the checkpoint with the highest number in a job's folder; its path is empty if
// there is none.
func newestIn(dir string) (checkpointPlace, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return checkpointPlace{}, fmt.Errorf("list checkpoints: %w", err)
	}
	var newest checkpointPlace
	highest := -1
	for _, entry := range entries {
		number, ok := strings.CutPrefix(entry.Name(), "chk-")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n <= highest {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, entry.Name(), "_metadata")) // written last
		if err != nil {
			continue
		}
		highest, newest = n, checkpointPlace{path: "file://" + filepath.Join(dir, entry.Name()), at: info.ModTime()}
	}
	return newest, nil
}
