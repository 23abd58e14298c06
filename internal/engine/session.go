package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/lookup"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/transact"
)

// linger is how long the client waits for a batch to fill before it sends it. The end of a
// transaction doesn't wait for it.
const linger = 5 * time.Millisecond

// session is one life of a worker's client. Its knowledge is discarded when it ends, and the next
// session rebuilds it from the broker.
type session struct {
	w      *worker
	p      *pipeline // w.p
	cfg    *Config   // w.p.cfg
	group  *transact.Group
	stages map[string][]*plan.Stage // by topic that they read
	tasks  map[taskID]*task

	limits  broker.Limits     // of the topics that it writes, as of the session's start
	ledgers map[int32]*ledger // of the positions topic, by partition
	details kadm.TopicDetails // of the pipeline's topics, as of the last restore

	mu        sync.Mutex
	changed   map[taskID]bool         // tasks whose partitions were assigned or revoked since takeChanges
	interrupt context.CancelCauseFunc // interrupts the restore; nil without one
	assigned  map[topicPartition]*assignment
	refused   error // by startOffsets
	resumed   bool  // partitions were resumed since takeResumed
	healing   bool  // some assignment is to be healed

	gapsChecked time.Time                // last check for deleted records
	stuck       map[topicPartition]int64 // at that time: the next offset of partitions whose log starts later

	held map[topicPartition]map[lookupID]bool // paused partitions, and the schemas that they wait for

	aheadWarned time.Time // last warning about rows from the future

	due bool // windows are due that did not fit into a transaction

	rolledBack bool // by an abort, since endEmpty
	generated  int  // number of generated tables whose end was known then

	lookups    *lookup.Worker              // nil if the pipeline has no lookup joins
	unanswered *backoff.ExponentialBackOff // pauses after lookups without an answer; a commit resets them

	tx      *transaction // set by connect
	polls   polls
	commits commits
}

// session runs one session: until ctx is done, the pipeline is done, or an error occurs.
func (w *worker) session(ctx context.Context) error {
	s := &session{
		w: w, p: w.p, cfg: &w.p.cfg, stages: w.p.stageTopics(), tasks: make(map[taskID]*task),
		changed: make(map[taskID]bool), held: make(map[topicPartition]map[lookupID]bool),
		ledgers: make(map[int32]*ledger), assigned: make(map[topicPartition]*assignment),
		polls: newPolls(&w.p.cfg), commits: newCommits(&w.p.cfg), unanswered: retry.Backoff(),
	}
	if w.p.lookups != nil {
		s.lookups = w.p.lookups.Worker()
		defer s.lookups.Close()
	}
	s.cfg.Status.phase(s.w.instance, Starting, "")
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.close()
	for {
		if ctx.Err() != nil {
			err := s.end(kgo.TryCommit)
			if noAnswer(err) {
				return nil // it is aborted
			}
			return err
		}
		wait := s.cfg.CommitInterval
		if s.tx.open {
			wait = max(time.Millisecond, s.commits.interval(s.tx.read)-time.Since(s.tx.began))
		}
		if s.due {
			wait = time.Millisecond
		}
		poll, cancel := context.WithTimeout(ctx, wait)
		fetches := s.group.Poll(poll, s.pollLimit())
		cancel()
		began, before := time.Now(), s.bytes()
		err := s.refusal()
		if err == nil {
			err = s.pollError(ctx, fetches)
		}
		if err == nil {
			err = s.process(ctx, fetches)
		}
		if err == nil {
			err = s.emitDue()
		}
		if err == nil {
			s.polls.adapt(fetches.NumRecords(), time.Since(began), s.bytes()-before)
			if s.full() {
				err = s.end(kgo.TryCommit)
			}
		}
		if noAnswer(err) {
			err = s.awaitDatabase(ctx, err)
		}
		if err != nil {
			s.giveUp()
			return err
		}
		if s.tx.open || fetches.NumRecords() > 0 || !s.p.bounded() {
			continue
		}
		if s.finished() {
			return nil
		}
	}
}

// pollLimit returns how many records to poll.
func (s *session) pollLimit() int {
	limit := min(s.polls.records, s.w.pace.limit-s.tx.read)
	if suspect := s.p.attempts.limit(); suspect > 0 {
		limit = min(limit, suspect)
	}
	return max(1, limit)
}

// pollError returns the error of a poll, other than that its time was up.
func (s *session) pollError(ctx context.Context, fetches kgo.Fetches) (failed error) {
	fetches.EachError(func(topic string, partition int32, err error) {
		switch {
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		case topic == "": // of the group, or of the client
			failed = s.groupError(ctx, err)
		case errors.Is(err, kgo.ErrMaxDecompress):
			failed = &fatalError{fmt.Errorf("read %s-%d: a batch has too many records, or one of the pipeline's own is larger than --max-decompressed allows: %w", topic, partition, err)}
		default:
			failed = fmt.Errorf("read %s-%d: %w", topic, partition, err)
		}
	})
	return failed
}

// connect opens the client, and acquires the transactional id.
func (s *session) connect(ctx context.Context) error {
	compression, err := broker.Compression(s.cfg.Compression)
	if err != nil {
		return err
	}
	topics := make([]string, 0, len(s.stages))
	balancer := kgo.CooperativeStickyBalancer()
	for topic := range s.stages {
		topics = append(topics, topic)
	}
	for _, stage := range s.cfg.Program.Stages {
		if len(stage.Topics()) > 1 || len(s.cfg.Program.Matches) > 0 { // a stage may have more topics in the next process
			balancer = kgo.RangeBalancer() // assigns equal partitions of all topics to one worker
		}
	}
	id := s.w.transactionalID()
	tracer := s.cfg.Broker.Tracer().Client(id, Group(s.cfg.Program))
	s.group, err = s.w.sessions.OpenGroup(ctx, transact.GroupConfig{
		TransactionalID: id, Group: Group(s.cfg.Program), Topics: topics, Writes: s.p.outTopics,
		TransactionTimeout: s.cfg.TransactionTimeout, SessionTimeout: s.cfg.SessionTimeout,
		OnAssigned: s.onAssigned, OnRevoked: s.onRevoked,
	},
		kgo.AdjustFetchOffsetsFn(s.startOffsets),
		kgo.Balancers(balancer),
		compression,
		kgo.RecordPartitioner(broker.GivenPartitions()),
		kgo.ProducerLinger(linger),
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 { return s.limits.Batch(topic) }), // called at the first record of a partition
		kgo.MaxBufferedRecords(1<<20),
		kgo.FetchMaxWait(max(10*time.Millisecond, s.cfg.CommitInterval)), // the client accepts no less
		kgo.FetchMaxBytes(s.cfg.fetchBytes()),
		kgo.FetchMaxPartitionBytes(s.cfg.partitionBytes()),
		kgo.MetadataMaxAge(s.cfg.metadataAge),
		kgo.MetadataMinAge(min(s.cfg.metadataAge, 5*time.Second)),
		s.cfg.Broker.Observe("engine", s.cfg.Program.Name+"/"+s.w.instance),
		tracer.Option(),
		s.p.sent.Option(),
	)
	if err != nil {
		return err
	}
	s.tx = &transaction{p: s.p, group: s.group, tables: s.p.sinkTopics(), tracer: tracer, release: func() {}, attempted: make(map[topicPartition]bool)}
	if s.limits, err = broker.FindLimits(ctx, s.group.Admin, s.p.outTopics...); err != nil {
		s.group.Close()
		return err
	}
	return nil
}

func (w *worker) transactionalID() string { return w.p.transactionalID(w.instance) }

// transactionalID is unique to a pipeline and an instance: no name of a pipeline contains a slash.
func (p *pipeline) transactionalID(instance string) string {
	return "weir-" + Group(p.cfg.Program) + "/" + instance
}

func (s *session) close() {
	s.setDue(false)
	s.tx.release()
	s.p.attempts.survived(s.tx.attempted)
	s.group.Close()
	for id, t := range s.tasks {
		s.cfg.Status.released(s.w.instance, id)
		s.closeStore(t)
	}
}
