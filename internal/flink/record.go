package flink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/saved"
)

// RecordTopic stores the deployments in a compacted topic keyed by name: a JobManager without
// ZooKeeper forgets its jobs when it exits.
const RecordTopic = "weir.flink"

// Deployment is a deployed pipeline.
type Deployment struct {
	Name        string    `json:"name"`
	State       string    `json:"state"` // deploying, running, stopped, cancelled
	JobID       string    `json:"job_id,omitempty"`
	At          time.Time `json:"at"`          // of the last change
	SQL         string    `json:"sql"`         // the file, with its secrets redacted
	Incomplete  bool      `json:"incomplete"`  // SQL lacks secrets: a recovery needs the file
	Plan        string    `json:"plan"`        // Flink's plan of the job
	Parallelism int       `json:"parallelism"` // 0: as in the file, or the cluster's default

	Sources            map[string]string `json:"sources"`                    // table → topic
	Sinks              []string          `json:"sinks"`                      // topics
	RestoredFrom       string            `json:"restored_from,omitempty"`    // savepoint or checkpoint
	Savepoint          string            `json:"savepoint,omitempty"`        // written when it was stopped
	CheckpointDir      string            `json:"checkpoint_dir,omitempty"`   // URL
	CheckpointInterval Millis            `json:"checkpoint_interval_ms"`     // a duration
	TransactionTimeout Millis            `json:"transaction_timeout_ms"`     // a duration; the shortest of the sinks'
	PossibleLoss       []string          `json:"possible_loss,omitempty"`    // possible permanent losses since it last started without state
	Warnings           []string          `json:"warnings,omitempty"`         // of the deployment
	FlinkVersion       string            `json:"flink_version,omitempty"`    // that produced the plan
	PreviousJobs       []string          `json:"previous_job_ids,omitempty"` // of the same name, newest first
}

// Deployed reports whether the pipeline should be running: it was neither stopped nor cancelled.
func (d *Deployment) Deployed() bool { return d.State == stateRunning || d.State == stateDeploying }

// NotDeployedError is returned if no pipeline with that name is deployed.
type NotDeployedError struct {
	Name  string
	Known []string
}

func (e *NotDeployedError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("pipeline %q is not deployed: there are no deployments", e.Name)
	}
	return fmt.Sprintf("pipeline %q is not deployed: deployed are %s", e.Name, strings.Join(e.Known, ", "))
}

// Deployments reads the records of all deployments, sorted by name.
func Deployments(ctx context.Context, kafka broker.Config) ([]Deployment, error) {
	byName := make(map[string]Deployment)
	unreadable := make(saved.Unreadable)
	add := func(r *kgo.Record) {
		delete(unreadable, string(r.Key))
		if r.Value == nil {
			delete(byName, string(r.Key))
			return
		}
		d, err := decodeDeployment(r)
		if err != nil {
			unreadable[string(r.Key)] = err
			return
		}
		byName[d.Name] = d
	}
	err := within(ctx, kafka, "the records in topic "+RecordTopic, func(ctx context.Context) error {
		return broker.ReadAll(ctx, kafka, RecordTopic, nil, func(r *kgo.Record) error {
			add(r)
			return nil
		})
	})
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil, fmt.Errorf("read deployments: %w", err)
	}
	if err := unreadable.Err(); err != nil {
		return nil, fmt.Errorf("read deployments: %w", err)
	}
	all := make([]Deployment, 0, len(byName))
	for _, d := range byName {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Deployment) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func decodeDeployment(r *kgo.Record) (d Deployment, err error) {
	err = saved.Decode(r.Value, &d, "name", "state", "at")
	if err == nil && d.Name != string(r.Key) {
		err = fmt.Errorf("it is that of %q", d.Name)
	}
	if err != nil {
		return d, fmt.Errorf("the record of %s in %s at offset %d is damaged, or Weir has not written it: %w. "+
			"Write a record without a value and with the key %q there, and deploy the pipeline again if it runs", r.Key, r.Topic, r.Offset, err, r.Key)
	}
	return d, nil
}

// FindDeployment reads the record of a name. The error is a *NotDeployedError if there is none.
func FindDeployment(ctx context.Context, kafka broker.Config, name string) (Deployment, error) {
	all, err := Deployments(ctx, kafka)
	if err != nil {
		return Deployment{}, err
	}
	missing := &NotDeployedError{Name: name}
	for _, d := range all {
		if d.Name == name {
			return d, nil
		}
		missing.Known = append(missing.Known, d.Name)
	}
	return Deployment{}, missing
}

// recorder writes the record of one name. Its transactional id fences concurrent changes of the
// same deployment: the later one wins, and the earlier one fails at its next write.
type recorder struct {
	kafka  broker.Config
	client *kgo.Client
	cancel context.CancelFunc // of the client
	name   string
}

// recordTimeout is the transaction timeout of a recorder.
const recordTimeout = 30 * time.Second

// recordLimit bounds each wait for the broker. A reader also waits for a transaction that a killed
// process has left open, until the broker aborts it.
const recordLimit = 2 * recordTimeout

// withLimit is a variable for tests, which don't wait that long.
var withLimit = func(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, recordLimit)
}

func openRecorder(ctx context.Context, kafka broker.Config, name string) (*recorder, error) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &recorder{kafka: kafka, cancel: cancel, name: name}
	var err error
	r.client, err = broker.Connect(ctx, kafka, kgo.WithContext(work), kgo.TransactionalID(r.id()), kgo.DefaultProduceTopic(RecordTopic),
		kgo.TransactionTimeout(recordTimeout))
	if err != nil {
		cancel()
		return nil, err
	}
	err = within(ctx, kafka, "topic "+RecordTopic, func(ctx context.Context) error {
		return broker.EnsureTopics(ctx, kadm.NewClient(r.client), []broker.Topic{{Name: RecordTopic, Partitions: 1, CleanupPolicy: "compact"}})
	})
	if err == nil { // fence now, not at the first write: the records of others are read after this
		err = within(ctx, kafka, "transactional id "+r.id(), func(ctx context.Context) error {
			_, err := broker.Acquire(ctx, r.client, slog.New(slog.DiscardHandler), RecordTopic)
			return err
		})
	}
	if err != nil {
		r.close()
		return nil, fmt.Errorf("prepare the record of %s: %w", name, err)
	}
	return r, nil
}

// close does not wait for a broker that does not answer.
func (r *recorder) close() {
	r.cancel()
	r.client.Close()
}

// within calls fn, which waits for an answer of the broker, and bounds it by recordLimit. The error
// then names what it waited for.
func within(ctx context.Context, kafka broker.Config, what string, fn func(ctx context.Context) error) error {
	limited, cancel := withLimit(ctx)
	defer cancel()
	err := fn(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("no answer from Kafka at %s within %s, waiting for %s; check that all brokers run, and that none of their partitions is offline: %w",
			strings.Join(kafka.Brokers, ","), recordLimit, what, err)
	}
	return err
}

// errOvertaken is returned after a concurrent change of the same deployment.
var errOvertaken = errors.New("another weir changed this deployment at the same time")

// write commits the record of a deployment, even if ctx is cancelled. If the transaction may be
// left open, the error is a *broker.LeftOpenError.
func (r *recorder) write(ctx context.Context, d *Deployment) error {
	d.At = time.Now().UTC()
	value, err := json.Marshal(d)
	if err != nil {
		return err
	}
	ctx, cancel := broker.Finishing(ctx, broker.DefaultStopTimeout)
	defer cancel()
	if err := r.client.BeginTransaction(); err != nil {
		return r.failed(err)
	}
	var begun broker.Begun
	err = within(ctx, r.kafka, "transactional id "+r.id(), func(ctx context.Context) (err error) {
		begun, err = broker.BegunBy(ctx, r.client)
		return err
	})
	if err != nil {
		return r.failed(err)
	}
	written := within(ctx, r.kafka, "the write to topic "+RecordTopic, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, r.cancel)() // ctx alone does not interrupt a request in flight
		return r.client.ProduceSync(ctx, &kgo.Record{Key: []byte(r.name), Value: value}).FirstErr()
	})
	if written == nil {
		written = within(ctx, r.kafka, "the commit of transaction "+r.id(), func(ctx context.Context) error { return broker.Commit(ctx, r.client) })
	}
	failed := r.failed(written)
	if failed != nil && !errors.Is(failed, errOvertaken) {
		ctx, cancel := withLimit(ctx)
		defer cancel()
		return errors.Join(failed, broker.EndOpen(ctx, r.kafka, begun, written))
	}
	return failed
}

func (r *recorder) id() string { return "weir-flink-record-" + r.name }

func (r *recorder) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch), errors.Is(err, kerr.InvalidProducerIDMapping):
		return fmt.Errorf("%w: %w", errOvertaken, err)
	default:
		return fmt.Errorf("write the record of %s: %w", r.name, err)
	}
}
