package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/lookup"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/retry"
)

// pipeline is the state that the workers of a process share.
type pipeline struct {
	cfg  Config // with the plan as it is run, see planned
	sent broker.Written

	compiled  *plan.Program       // before its patterns were matched with topics; otherwise planned
	planned   *plan.Program       // as it was compiled, with names and numbers by position
	running   *manifest           // of the last start, nil if there is none
	continued *plan.Continuation  // of the running plan; nil if its SQL can't be planned as it was
	renamed   bool                // the plan has other names and numbers than planned
	former    map[string][]string // see manifestStage.Former; by stage

	partitions    map[string]int32         // of all topics that it reads and writes
	outTopics     []string                 // that it writes
	ids           map[string]kadm.TopicID  // of the topics in partitions
	repartitioned map[string]bool          // topics whose other number of partitions is accepted
	moving        []movedStage             // stages whose state is to be moved before anything is read
	startups      map[string]*startup      // where sources are first read, by topic
	adopted       bool                     // a version without positions started it: see manifest.Adopted
	tombstones    map[string]time.Duration // how long changelogs keep them
	schemas       *schemas
	lookups       *lookup.Tables // nil if it has no lookup joins
	ends          ends           // of bounded sources
	until         ends           // with UntilEnd, what is to be processed
	due           atomic.Int32   // number of sessions with windows that are due
	copies        copies         // local copies of the state, of this process
	attempts      *attempts      // records at which processes may have died

	mu     sync.Mutex
	healed map[topicPartition]bool // assigned to a worker of this process, and the group's offset equals the position in the state
	ended  map[taskID]bool         // bounded tasks that have emitted everything
}

func newPipeline(cfg Config) *pipeline {
	return &pipeline{cfg: cfg, compiled: cfg.Program, planned: cfg.Program, healed: make(map[topicPartition]bool), attempts: newAttempts(&cfg)}
}

// prepare creates the topics that the pipeline writes, checks those that it reads, and finds where
// bounded inputs end. It retries errors that may pass, for example while brokers learn of topics
// that another process has just created.
func (p *pipeline) prepare(ctx context.Context) error {
	wait := retry.Backoff()
	for began := time.Now(); ; {
		err := p.prepareOnce(ctx)
		if err == nil || time.Since(began) >= p.patience(err) {
			return err
		}
		p.cfg.Logger.Info("preparing the pipeline failed, retrying", "err", err)
		if retry.Sleep(ctx, wait.NextBackOff()) != nil {
			return err
		}
	}
}

// coordinatorTime is how long a busy cluster may take to create __consumer_offsets, which happens
// when the first group looks up its coordinator.
const coordinatorTime = 30 * time.Second

// patience is how long prepareOnce is retried after an error.
func (p *pipeline) patience(err error) time.Duration {
	var missing *NoTopicError
	var others *runningError
	var moving *moveError
	switch {
	case errors.As(err, new(*broker.UnreachableError)): // no broker answers: the address may be wrong
		return 0
	case errors.As(err, &others):
		return p.cfg.SessionTimeout + leaveTime // a killed process remains a member until then
	case errors.As(err, &missing):
		return 2 * time.Second // not all brokers know a new topic immediately
	case broker.IsPassing(err), errors.As(err, &moving), errors.Is(err, errPlanChanged):
		return max(p.cfg.TransactionTimeout, coordinatorTime)
	}
	return 0
}

func (p *pipeline) prepareOnce(ctx context.Context) error {
	client, err := broker.Connect(ctx, p.cfg.Broker)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := broker.RequireTransactionV2(ctx, client); err != nil {
		return err
	}
	admin := kadm.NewClient(client)
	if err := p.bind(ctx, admin); err != nil {
		return err
	}
	if err := p.prepareTopics(ctx, admin); err != nil {
		return err
	}
	if err := p.checkManifest(ctx, admin); err != nil {
		return err
	}
	if err := p.prepareSchemas(ctx); err != nil {
		return err
	}
	if err := p.prepareLookups(ctx); err != nil {
		return err
	}
	if len(p.moving) > 0 {
		if err := p.moveState(ctx, admin); err != nil {
			return interrupted(err)
		}
	}
	p.ends = make(ends)
	p.mu.Lock()
	p.ended = make(map[taskID]bool)
	p.mu.Unlock()
	for _, t := range p.sources() {
		if !t.Bounded || p.ends[t.Kafka.Topic] != nil {
			continue
		}
		found, err := committedEnds(ctx, admin, t.Kafka.Topic)
		if err != nil {
			return err
		}
		p.ends[t.Kafka.Topic] = found[t.Kafka.Topic]
		if t.Generator != nil {
			for partition := range p.ends[t.Kafka.Topic] {
				p.ends[t.Kafka.Topic][partition] = unknownEnd
			}
		}
	}
	if p.cfg.UntilEnd {
		if p.until, err = p.untilEnds(ctx, admin); err != nil {
			return err
		}
	}
	return nil
}

// admin connects an admin client, which the caller closes.
func (p *pipeline) admin(ctx context.Context) (*kadm.Client, error) {
	client, err := broker.Connect(ctx, p.cfg.Broker)
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(client), nil
}

// sources returns the tables that the pipeline reads.
func (p *pipeline) sources() []*plan.Table { return sourcesOf(p.cfg.Program) }

func sourcesOf(p *plan.Program) (all []*plan.Table) {
	for _, s := range p.Stages {
		for _, in := range s.Inputs {
			if scan, ok := in.Op.(*plan.Scan); ok {
				all = append(all, scan.Table)
			}
		}
	}
	return all
}

// isSource reports whether a topic is read by a table, and not internal to the pipeline.
func (p *pipeline) isSource(topic string) bool {
	return slices.ContainsFunc(p.sources(), func(t *plan.Table) bool { return t.Kafka.Topic == topic })
}

// bounded reports whether all sources are bounded.
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
	for _, s := range p.cfg.Program.Stages {
		for _, topic := range s.Topics() {
			all[topic] = append(all[topic], s)
		}
	}
	return all
}

// sinkTopics returns the topics of the tables that the pipeline writes.
func (p *pipeline) sinkTopics() map[string]bool {
	all := make(map[string]bool)
	for _, sink := range p.cfg.Program.Sinks {
		all[sink.Op.(*plan.Insert).Table.Kafka.Topic] = true //nolint:forcetypeassert // a sink is an INSERT
	}
	return all
}

// tasksOf returns the number of a stage's tasks.
func (p *pipeline) tasksOf(s *plan.Stage) int32 {
	var n int32
	for _, topic := range s.Topics() {
		n = max(n, p.partitions[topic])
	}
	return n
}

func (p *pipeline) stateDir(s *plan.Stage, partition int32) string {
	if p.cfg.StateDir == "" {
		return ""
	}
	return filepath.Join(p.cfg.StateDir, p.cfg.Program.Name, s.Name, fmt.Sprint(partition))
}
