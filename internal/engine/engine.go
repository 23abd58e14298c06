// Package engine runs processing over Kafka exactly once: what it reads, what it writes, its state,
// its dead letters and its offsets are one transaction (KIP-98, KIP-447).
//
//	engine.go       Config and Run: the workers of one process
//	pipeline.go     what they share: topics, ends, which stages read what
//	worker.go       one consumer of the group: sessions and retries
//	session.go      one life of its client: connect, poll, close
//	assignment.go   the partitions that the group assigns to it and revokes
//	restore.go      the tasks of assigned partitions, with their state
//	process.go      polled records, run through the tasks
//	task.go         one stage on one partition, and what it did in a transaction
//	transaction.go  what is read and sent between a begin and an end
//	commit.go       the end of a transaction: commit or abort, and what follows from it
//	bounded.go      the end of bounded inputs, and idle ones
//	schemas.go      the schemas of records, looked up before tasks see them; of results,
//	                registered
//	status.go       what all of them do, for whoever asks while they run; metrics.go the same for
//	                Prometheus
//	topics.go       the topics of a pipeline, made and checked
//	manifest.go     what the state of a pipeline is made of, and whether new SQL fits it
//	begin.go        where a pipeline first reads its sources, decided once
//	identity.go     which topics they were, and what follows where they are others now
//	adopt.go        groups that have no position yet: an older version, or other SQL before the
//	                first commit
//	position.go     how far a state covers what it was made of: ledgers.go writes it, resume.go
//	                reads on from there
//	repartition.go  what follows where topics got partitions; move.go takes state to the
//	                partitions of its keys
//	refusal.go      errors of state and cluster that do not fit, and what accepts them
//	end.go          when what there was at the start is processed
//	offsets.go      lists of offsets: of topics, and of the group
//	slot.go         transactional ids that are stable for each process of a group
//	settings.go     settings of the topics that hold state, checked and corrected
//	limits.go       how large a record each topic takes
//	localcopy.go    local copies of the state: opened, closed, given up
//	skipped.go      records that were deleted before they were read
//	reset.go        everything that a pipeline remembers, deleted
//	due.go          windows that one transaction could not hold
//	ahead.go        rows from the future, logged
//	explain.go      errors of groups and transactional ids, with their causes
package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/registry"
)

// Config says where a pipeline runs and how it commits.
type Config struct {
	Broker  broker.Config
	Program *plan.Program

	// Instances make the transactional ids of this process, one for each of its workers: stable
	// over restarts, different from every other live worker of the pipeline.
	Instances []string

	CommitInterval     time.Duration // default 100 ms
	MaxRecords         int           // in one transaction of a worker; default 50,000
	TransactionTimeout time.Duration // after which the broker aborts for a dead process; default 15 s
	StopTimeout        time.Duration // for what is open when ctx is done, and until readers see what an ended run has written; default 20 s
	SessionTimeout     time.Duration // after which the group gives a dead process's partitions away; default 10 s
	Compression        string        // default lz4
	StateDir           string        // of the local copies of the state; "" keeps it in memory only
	CacheBytes         int64         // memory for the state of one task in front of its copy; default 64 MiB
	AcceptLoss         []Gap         // records that may be missing
	FromChangelog      bool          // the plan is lost: make it again over the state that is there
	Repartition        bool          // take topics with other numbers of partitions, and move state to where its keys are now
	UntilEnd           bool          // stop when what the sources had at the start is processed; windows stay open, a later run goes on

	gapInterval time.Duration // between two looks for deleted records; default 10 s
	moveBytes   int           // that a transaction of --repartition writes, about; default 4 MiB
	onMoved     func()        // after each of them

	Logger   *slog.Logger
	OnCommit func(Commit)      // called after each commit, by each worker; must be quick and may be called concurrently
	Status   *Status           // kept up to date while it runs; default one that nobody reads
	Metrics  *Metrics          // default none
	Schemas  *registry.Metrics // of the clients of schema registries; default none
	Now      func() time.Time

	metadataAge time.Duration // after which the client sees new partitions; default 5 minutes, as Kafka's
}

func (c *Config) setDefaults() {
	if c.CommitInterval == 0 {
		c.CommitInterval = 100 * time.Millisecond
	}
	if c.MaxRecords == 0 {
		c.MaxRecords = 50_000
	}
	if c.TransactionTimeout == 0 {
		c.TransactionTimeout = 15 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = broker.DefaultStopTimeout
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 10 * time.Second
	}
	if c.gapInterval == 0 {
		c.gapInterval = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnCommit == nil {
		c.OnCommit = func(Commit) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.metadataAge == 0 {
		c.metadataAge = 5 * time.Minute
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 64 << 20
	}
	if c.Status == nil {
		c.Status = NewStatus(c.Program)
	}
}

// Commit is what one committed transaction did.
type Commit struct {
	Records     int // read
	Outputs     int // rows that were written to the tables of the INSERTs; those on their way between stages are none
	DeadLetters int
	Causes      map[string]int // of the dead letters
	Dropped     operator.Dropped
	Late        int
	Ahead       int             // rows that did not move the watermark: see plan.Settings.MaxAhead
	Took        time.Duration   // from its first record to the answer of the broker
	Latencies   []time.Duration // from a record's timestamp to the commit, for a sample of the records
}

// Result sums up a run.
type Result struct {
	Records      int64 `json:"records"`
	Outputs      int64 `json:"outputs"`
	DeadLetters  int64 `json:"dead_letters"`
	Late         int64 `json:"late"`
	Ahead        int64 `json:"ahead,omitempty"` // rows too far in the future to move the watermark
	Skipped      int64 `json:"skipped"`         // offsets of sources that were gone before they were read
	Transactions int64 `json:"transactions"`

	// Dropped is what options such as json.ignore-parse-errors left out.
	Dropped operator.Dropped `json:"dropped,omitempty"`

	Aborted     int64 `json:"aborted"`
	Sessions    int64 `json:"sessions"`                  // 1 more than the number of restarts
	FirstRecord int64 `json:"first_record_ms,omitempty"` // when it read its first record, in milliseconds since 1970
}

// Group is the consumer group of a pipeline.
func Group(p *plan.Program) string { return "weir-" + p.Name }

// Run runs a pipeline until ctx is done (it then commits what it has and returns nil), all its
// inputs are bounded and have ended, what UntilEnd asks for is processed, or a fatal error. After
// any other error a worker starts a new session: state and position come back from what is
// committed.
//
// Run leaves no transaction open: it returns a *broker.LeftOpenError where one may be, since the
// broker did not answer within StopTimeout. At the end of a bounded run, and of one UntilEnd,
// readers see all that it has written.
func Run(ctx context.Context, cfg Config) (Result, error) {
	cfg.setDefaults()
	if len(cfg.Instances) == 0 {
		return Result{}, errors.New("no instance is set")
	}
	if cfg.CommitInterval < 0 || cfg.CommitInterval >= cfg.TransactionTimeout {
		return Result{}, errors.New("the commit interval must be shorter than the transaction timeout")
	}
	cfg.Metrics.add(cfg.Status)
	cfg.Logger = cfg.Logger.With("pipeline", cfg.Program.Name)
	p := &pipeline{cfg: cfg, healed: make(map[topicPartition]bool)}
	results := make([]Result, len(cfg.Instances))
	for {
		if err := p.prepare(ctx); err != nil {
			if ctx.Err() != nil {
				break // it was stopped before it began
			}
			return sum(cfg.Status, results), err
		}
		err := p.work(ctx, results)
		var grown *grownError
		if !errors.As(err, &grown) {
			return sum(cfg.Status, results), err
		}
		cfg.Logger.Info("take up the new partitions", "topic", grown.topic, "had", grown.was, "has", grown.now)
	}
	return sum(cfg.Status, results), nil
}

// work runs the workers until they are done, or one of them fails.
func (p *pipeline) work(ctx context.Context, results []Result) error {
	defer func() { p.schemas.close() }()
	stop := ctx
	workers, ctx := errgroup.WithContext(ctx)
	grace, cancel := broker.Finishing(ctx, p.cfg.StopTimeout) // after a stop, a failure or the end
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
	for i, instance := range p.cfg.Instances {
		w := p.newWorker(grace, instance, &results[i])
		workers.Go(func() error { return w.run(ctx) })
	}
	err := workers.Wait()
	if done := sum(p.cfg.Status, results); err == nil && done.Transactions+done.Aborted > 0 {
		err = p.settle(grace, stop.Err() != nil)
	}
	return err
}

func sum(status *Status, results []Result) (all Result) {
	for _, r := range results {
		all.merge(r)
	}
	all.Skipped = status.allSkipped()
	return all
}

// settle waits until the last transactions show: to readers where the run has come to its end, to
// their coordinators where it was stopped, since readers may then wait for transactions of others
// as well.
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

// add counts a committed transaction.
func (r *Result) add(c Commit) {
	r.Transactions++
	r.Records += int64(c.Records)
	r.Outputs += int64(c.Outputs)
	r.DeadLetters += int64(c.DeadLetters)
	r.Late += int64(c.Late)
	r.Ahead += int64(c.Ahead)
	r.drop(c.Dropped)
}

func (r *Result) drop(more operator.Dropped) {
	if r.Dropped == nil && len(more) > 0 {
		r.Dropped = make(operator.Dropped)
	}
	r.Dropped.Add(more)
}

// merge adds what another worker did.
func (r *Result) merge(o Result) {
	r.Records += o.Records
	r.Outputs += o.Outputs
	r.DeadLetters += o.DeadLetters
	r.Late += o.Late
	r.Ahead += o.Ahead
	r.drop(o.Dropped)
	r.Transactions += o.Transactions
	r.Aborted += o.Aborted
	r.Sessions += o.Sessions
	if o.FirstRecord != 0 && (r.FirstRecord == 0 || o.FirstRecord < r.FirstRecord) {
		r.FirstRecord = o.FirstRecord
	}
}
