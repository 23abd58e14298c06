// Package engine runs pipelines over Kafka exactly once: the records that it reads, the rows and
// dead letters that it writes, its state and its offsets are part of one transaction (KIP-98,
// KIP-447).
//
//	engine.go       Run: the workers of one process
//	config.go       Config
//	result.go       what transactions and runs sum up to
//	pipeline.go     what the workers share: topics, ends, which stages read which topic
//	worker.go       one consumer of the group: its sessions
//	session.go      one life of its client: connect, poll, close
//	assignment.go   the partitions that the group assigns to a session and revokes
//	restore.go      the tasks of assigned partitions, with their state
//	process.go      polled records, run through the tasks
//	task.go         one stage on one partition, and what it did in a transaction
//	transaction.go  what is read and sent between a begin and an end
//	commit.go       the end of a transaction: commit or abort, and what follows from it
//	bounded.go      the end of bounded inputs; idle inputs
//	schemas.go      schemas: looked up before tasks see records, registered before results are
//	                written
//	lookups.go      lookups in databases: a transaction that gets no answer is aborted, and waits
//	status.go       what the workers do, for readers outside; metrics.go the same for Prometheus
//	topics.go       the topics of a pipeline, created and checked; match.go: those of patterns
//	manifest.go     what the state of a pipeline consists of, and whether new SQL fits it
//	continue.go     what a changed plan keeps of it, and under which names
//	against.go      the same, reported before a start
//	startup.go      where a pipeline first reads its sources, decided once
//	identity.go     which topics they were, and what follows if they are others now
//	adopt.go        groups without positions: an older version, or other SQL before the first
//	                commit
//	position.go     which input a state covers: ledgers.go writes it, resume.go continues from it
//	repartition.go  topics that got partitions; move.go moves state to the partitions of its keys
//	refusal.go      errors of state and cluster that do not match, and the flags that accept them
//	end.go          UntilEnd: when everything that the sources had at the start is processed
//	generated.go    the ends of tables that are generated while the pipeline runs
//	offsets.go      lists of offsets: of topics, and of the group
//	slot.go         transactional ids that are stable for each process of a group
//	settings.go     settings of the topics that hold state, checked and corrected
//	limits.go       the largest record that each topic accepts
//	attempts.go     records on which the process has died
//	pace.go         how many records a transaction reads
//	localcopy.go    local copies of the state: opened, closed, given up
//	hanging.go      names transactions that hang on the pipeline's topics
//	skipped.go      records that were deleted before they were read
//	reset.go        deletes everything that a pipeline remembers
//	polls.go        how many records are fetched and polled at a time
//	due.go          windows that do not fit into one transaction, or close without a record
//	expire.go       state that expires without rows
//	ahead.go        logs rows from the future
//	explain.go      errors of groups and transactional ids, with their causes
package engine

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

// Group returns the consumer group of a pipeline.
func Group(p *plan.Program) string { return "weir-" + p.Name }

// Run runs a pipeline until ctx is done (it then commits what it has and returns nil), all of its
// inputs are bounded and have ended, UntilEnd is satisfied, or an error is permanent. After any
// other error a worker starts a new session, which restores state and positions from what is
// committed.
//
// Run leaves no transaction open: it returns a *broker.LeftOpenError if one may be, because the
// broker did not answer within StopTimeout. When a bounded run or one with UntilEnd returns nil,
// readers see all rows that it has written. All goroutines that Run started have ended when it
// returns.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	cfg = cfg.withDefaults()
	cfg.Metrics.add(cfg.Status)
	cfg.Logger = cfg.Logger.With("pipeline", cfg.Program.Name)
	p := newPipeline(cfg)
	defer p.closeSchemas()
	defer p.closeLookups()
	results := make([]Result, len(cfg.Instances))
	watching, unwatch := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { watchHanging(watching, &cfg, cfg.Program) }) // prepare may wait for them as well
	defer watch.Wait()
	defer unwatch()
	for {
		if err := p.prepare(ctx); err != nil {
			if ctx.Err() != nil {
				break // stopped before it began
			}
			return sum(cfg.Status, results), err
		}
		err := p.work(ctx, results)
		var grown *grownError
		var matched *matchedError
		switch {
		case errors.As(err, &grown):
			cfg.Logger.Info("topic has new partitions: preparing the pipeline again", "topic", grown.topic, "had", grown.was, "has", grown.now)
		case errors.As(err, &matched):
			cfg.Logger.Info("new topics match a pattern: preparing the pipeline again", "pattern", matched.pattern, "topics", matched.topics)
		default:
			return sum(cfg.Status, results), err
		}
	}
	return sum(cfg.Status, results), nil
}

// work runs the workers until all are done or one of them fails.
func (p *pipeline) work(ctx context.Context, results []Result) error {
	stop := ctx
	workers, ctx := errgroup.WithContext(ctx)
	work, cancel := broker.Finishing(ctx, p.cfg.StopTimeout) // after a stop, a failure or the end
	defer cancel()
	if p.cfg.UntilEnd {
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		var watching sync.WaitGroup
		watching.Go(func() { p.stopAtEnd(ctx, end) })
		defer func() {
			end()
			watching.Wait()
		}()
	}
	var running sync.WaitGroup
	for i, instance := range p.cfg.Instances {
		w := p.newWorker(work, instance, &results[i])
		running.Add(1)
		workers.Go(func() error {
			defer running.Done()
			return w.run(ctx)
		})
	}
	if len(p.compiled.Patterns()) > 0 {
		discovering, done := context.WithCancel(ctx)
		workers.Go(func() error { return p.discover(discovering) })
		running.Wait()
		done()
	}
	err := workers.Wait()
	if done := sum(p.cfg.Status, results); err == nil && done.Transactions+done.Aborted > 0 {
		err = p.settle(work, stop.Err() != nil)
	}
	return err
}

// settle waits until the outcome of the last transactions is visible: to readers if the run has
// come to its end, and only to the coordinators if it was stopped, because readers may then have to
// wait for transactions of others as well.
func (p *pipeline) settle(ctx context.Context, stopped bool) error {
	if !stopped {
		return p.sent.AwaitVisible(ctx, p.cfg.Broker)
	}
	ids := make([]string, len(p.cfg.Instances))
	for i, instance := range p.cfg.Instances {
		ids[i] = p.transactionalID(instance)
	}
	return broker.AwaitEnded(ctx, p.cfg.Broker, ids...)
}
