package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"weir/broker"
	"weir/plan"
)

// Config says where a pipeline runs and how it commits.
type Config struct {
	Broker  broker.Config
	Program *plan.Program

	// Instances make the transactional ids of this process, one for each of its workers: stable over restarts, different
	// from every other live worker of the pipeline.
	Instances []string

	CommitInterval     time.Duration // default 100 ms
	MaxRecords         int           // in one transaction of a worker; default 50,000
	TransactionTimeout time.Duration // after which the broker aborts for a dead process; default 15 s
	SessionTimeout     time.Duration // after which the group gives a dead process's partitions away; default 10 s
	Compression        string        // default lz4
	StateDir           string        // of the local copies of the state; "" keeps it in memory only
	CacheBytes         int64         // memory for the state of one task in front of its copy; default 64 MiB

	Logger   *slog.Logger
	OnCommit func(Commit) // called after each commit, by each worker; must be quick and may be called concurrently
	Now      func() time.Time
}

func (c *Config) setDefaults() {
	loop := LoopConfig{CommitInterval: c.CommitInterval, MaxRecords: c.MaxRecords, TransactionTimeout: c.TransactionTimeout, SessionTimeout: c.SessionTimeout,
		Logger: c.Logger, OnCommit: c.OnCommit, Now: c.Now}
	loop.setDefaults()
	c.CommitInterval, c.MaxRecords, c.TransactionTimeout, c.SessionTimeout = loop.CommitInterval, loop.MaxRecords, loop.TransactionTimeout, loop.SessionTimeout
	c.Logger, c.OnCommit, c.Now = loop.Logger, loop.OnCommit, loop.Now
	if c.CacheBytes == 0 {
		c.CacheBytes = 64 << 20
	}
}

// Group is the consumer group of a pipeline.
func Group(p *plan.Program) string { return "weir-" + p.Name }

// Run runs a pipeline until ctx is done (it then commits what it has and returns nil), all its inputs are bounded
// and have ended, or a fatal error. After any other error a worker starts a new session: state and position come back
// from what is committed.
func Run(ctx context.Context, cfg Config) (Result, error) {
	cfg.setDefaults()
	if len(cfg.Instances) == 0 {
		return Result{}, errors.New("no instance is set")
	}
	if cfg.CommitInterval < 0 || cfg.CommitInterval >= cfg.TransactionTimeout {
		return Result{}, errors.New("the commit interval must be shorter than the transaction timeout")
	}
	p := &pipeline{Config: cfg}
	if err := p.prepare(ctx); err != nil {
		return Result{}, err
	}
	workers, ctx := errgroup.WithContext(ctx)
	results := make([]Result, len(cfg.Instances))
	for i, instance := range cfg.Instances {
		w := &worker{pipeline: p, instance: instance, result: &results[i]}
		workers.Go(func() error { return w.run(ctx) })
	}
	err := workers.Wait()
	var sum Result
	for _, r := range results {
		sum.Records += r.Records
		sum.Outputs += r.Outputs
		sum.DeadLetters += r.DeadLetters
		sum.Late += r.Late
		sum.Transactions += r.Transactions
		sum.Aborted += r.Aborted
		sum.Sessions += r.Sessions
	}
	return sum, err
}

// pipeline is what the workers of a process share.
type pipeline struct {
	Config
	partitions map[string]int32 // of all topics that it reads or writes
	ids        map[string]kadm.TopicID
	ends       map[string]map[int32]int64 // of bounded sources: the offsets at which they end
}

// prepare makes the topics that the pipeline needs, checks those that must be there, and finds where bounded inputs end.
func (p *pipeline) prepare(ctx context.Context) error {
	client, err := broker.Connect(ctx, p.Broker)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := broker.RequireTransactionV2(ctx, client); err != nil {
		return err
	}
	admin := kadm.NewClient(client)
	if err := p.prepareTopics(ctx, admin); err != nil {
		return err
	}
	if err := p.checkManifest(ctx); err != nil {
		return err
	}
	p.ends = make(map[string]map[int32]int64)
	for _, t := range p.sources() {
		if !t.Bounded || p.ends[t.Topic] != nil {
			continue
		}
		ends, err := admin.ListCommittedOffsets(ctx, t.Topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return fmt.Errorf("find the end of %s: %w", t.Topic, err)
		}
		p.ends[t.Topic] = make(map[int32]int64)
		ends.Each(func(o kadm.ListedOffset) { p.ends[t.Topic][o.Partition] = o.Offset })
	}
	return nil
}

// sources are the tables that the pipeline reads.
func (p *pipeline) sources() []*plan.Table {
	var all []*plan.Table
	for _, s := range p.Program.Stages {
		for _, in := range s.Inputs {
			if scan, ok := in.Op.(*plan.Scan); ok {
				all = append(all, scan.Table)
			}
		}
	}
	return all
}

// isSource reports whether a topic is one of tables, and not the pipeline's own.
func (p *pipeline) isSource(topic string) bool {
	return slices.ContainsFunc(p.sources(), func(t *plan.Table) bool { return t.Topic == topic })
}

// bounded reports whether all sources end.
func (p *pipeline) bounded() bool {
	for _, t := range p.sources() {
		if !t.Bounded {
			return false
		}
	}
	return true
}

// stageTopics maps each topic that is read to the stages that read it.
func (p *pipeline) stageTopics() map[string][]*plan.Stage {
	all := make(map[string][]*plan.Stage)
	for _, s := range p.Program.Stages {
		for _, topic := range s.Topics() {
			all[topic] = append(all[topic], s)
		}
	}
	return all
}

// tasksOf is how many tasks a stage has.
func (p *pipeline) tasksOf(s *plan.Stage) int32 {
	var n int32
	for _, topic := range s.Topics() {
		n = max(n, p.partitions[topic])
	}
	return n
}

func (p *pipeline) stateDir(s *plan.Stage, partition int32) string {
	if p.StateDir == "" {
		return ""
	}
	return filepath.Join(p.StateDir, p.Program.Name, s.Name, fmt.Sprint(partition))
}

// worker is one consumer of the group, with transactions of its own.
type worker struct {
	*pipeline
	instance  string
	result    *Result
	connected bool
}

func (w *worker) run(ctx context.Context) error {
	wait := broker.Backoff()
	for {
		w.result.Sessions++
		before := w.result.Transactions
		err := w.session(ctx)
		if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		var unreachable *broker.UnreachableError
		var broken *fatalError
		if broker.Classify(err) == broker.Fatal || errors.As(err, &broken) || errors.As(err, &unreachable) && !w.connected {
			return err
		}
		if w.result.Transactions > before {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		w.Logger.Warn("start a new session", "err", err, "pipeline", w.Program.Name, "instance", w.instance, "in", pause.Round(time.Millisecond))
		if broker.Sleep(ctx, pause) != nil {
			return nil
		}
	}
}

// fatalError is one that no new session mends: state or repartition topics that are not the pipeline's.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

// startOffsets sets where partitions begin that have no committed offset, by the tables' scan.startup.mode.
func (p *pipeline) startOffsets(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for _, t := range p.sources() {
		for partition, o := range offsets[t.Topic] {
			if o.EpochOffset().Offset >= 0 {
				continue
			}
			switch {
			case t.Startup.Latest:
				offsets[t.Topic][partition] = kgo.NewOffset().AtEnd()
			case t.Startup.Timestamp > 0:
				offsets[t.Topic][partition] = kgo.NewOffset().AfterMilli(t.Startup.Timestamp)
			}
		}
	}
	return offsets, nil
}
