package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
	"weir.example/weir/internal/trace"
)

// session is one life of a worker's client: what it knows is dropped when it ends, and rebuilt from
// the broker.
type session struct {
	w      *worker
	p      *pipeline // w.p
	cfg    *Config   // w.p.cfg
	group  *kgo.GroupTransactSession
	ending broker.Ending
	admin  *kadm.Client
	stages map[string][]*plan.Stage // by topic that they read
	sinks  map[string]bool          // topics of the tables that are written
	tasks  map[taskID]*task

	limits  broker.Limits     // of the topics that it writes, when the session began
	ledgers map[int32]*ledger // of the positions topic, by partition
	details kadm.TopicDetails // of the pipeline's topics, when partitions last came

	mu       sync.Mutex
	assigned map[string]map[int32]bool
	fresh    map[taskID]bool // got a partition since the last look: what a task knows is old
	covered  map[topicPartition]*covered
	refused  error // by startOffsets
	settled  bool  // partitions are read since the last look
	healing  bool  // some covered partition is to be healed

	looked time.Time                // for deleted records
	behind map[topicPartition]int64 // at that time: the next offset of partitions whose log begins later

	held map[topicPartition]map[lookupID]bool // paused until these schemas are known

	warnedAhead time.Time // when rows from the future were logged last

	owing bool // windows are due that wait for other transactions

	rewound bool // by an abort, since the last look at which inputs have ended

	following *trace.Client // nil where no record is followed
	tx        *transaction
}

type taskID struct {
	stage     string
	partition int32
}

// task is one stage on one partition.
type task struct {
	op        *operator.Task
	stage     *plan.Stage
	partition int32
	store     *state.Store
	ledger    *ledger              // in the store; nil without state
	current   time.Time            // when it was last known to be whole
	stale     bool                 // the changelog ends with entries of a version without positions
	touched   bool                 // in this transaction
	changes   []*kgo.Record        // of this transaction, to the changelog
	last      map[string]time.Time // when an input last had a record
	did       did                  // in this transaction
	measured  time.Time            // when the memory of the state was last looked at
}

func (w *worker) session(ctx context.Context) error {
	s := &session{
		w: w, p: w.p, cfg: &w.p.cfg, stages: w.p.stageTopics(), sinks: w.p.sinkTopics(), tasks: make(map[taskID]*task),
		assigned: make(map[string]map[int32]bool), fresh: make(map[taskID]bool), held: make(map[topicPartition]map[lookupID]bool),
		ledgers: make(map[int32]*ledger), covered: make(map[topicPartition]*covered),
		tx: &transaction{release: func() {}},
	}
	s.cfg.Status.phase(s.w.instance, Starting, "")
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.close()
	w.connected = true
	for {
		if ctx.Err() != nil {
			return s.end(kgo.TryCommit)
		}
		wait := s.cfg.CommitInterval
		if s.tx.open {
			wait = max(time.Millisecond, wait-time.Since(s.tx.began))
		}
		if s.owing {
			wait = time.Millisecond
		}
		poll, cancel := context.WithTimeout(ctx, wait)
		fetches := s.group.PollRecords(poll, max(1, s.cfg.MaxRecords-s.tx.read))
		cancel()
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
		if err != nil {
			s.giveUp()
			return err
		}
		if s.tx.open && (time.Since(s.tx.began) >= s.cfg.CommitInterval || s.tx.read >= s.cfg.MaxRecords) {
			if err := s.end(kgo.TryCommit); err != nil {
				return err
			}
		}
		if s.tx.open || fetches.NumRecords() > 0 || !s.p.bounded() {
			continue
		}
		if s.finished(ctx) {
			return nil
		}
	}
}

// pollError returns what a poll failed with, but for its own time limit.
func (s *session) pollError(ctx context.Context, fetches kgo.Fetches) (failed error) {
	fetches.EachError(func(topic string, partition int32, err error) {
		switch {
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		case topic == "": // of the group, or of the client
			failed = s.groupError(ctx, err)
		default:
			failed = fmt.Errorf("read %s-%d: %w", topic, partition, err)
		}
	})
	return failed
}

func (s *session) connect(ctx context.Context) error {
	compression, err := broker.Compression(s.cfg.Compression)
	if err != nil {
		return err
	}
	base, err := s.cfg.Broker.Options()
	if err != nil {
		return err
	}
	topics := make([]string, 0, len(s.stages))
	balancer := kgo.CooperativeStickyBalancer()
	for topic := range s.stages {
		topics = append(topics, topic)
	}
	for _, stage := range s.cfg.Program.Stages {
		if len(stage.Topics()) > 1 {
			balancer = kgo.RangeBalancer() // equal partitions of all topics to one worker
		}
	}
	id := s.w.transactionalID()
	s.following = s.cfg.Broker.Tracer().Client(id, Group(s.cfg.Program))
	s.group, err = kgo.NewGroupTransactSession(append(base,
		kgo.WithContext(s.w.grace),
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(s.cfg.TransactionTimeout),
		kgo.ConsumerGroup(Group(s.cfg.Program)),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AdjustFetchOffsetsFn(s.startOffsets),
		kgo.SessionTimeout(s.cfg.SessionTimeout),
		kgo.HeartbeatInterval(s.cfg.SessionTimeout/5),
		kgo.Balancers(balancer),
		kgo.OnPartitionsAssigned(s.onAssigned),
		kgo.OnPartitionsRevoked(s.onRevoked),
		kgo.OnPartitionsLost(s.onRevoked),
		kgo.KeepControlRecords(), // so that the committed offset passes the markers, and lag can reach 0
		compression,
		kgo.RecordPartitioner(broker.GivenPartitions()),
		kgo.ProducerLinger(linger),
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 { return s.limits.Batch(topic) }), // asked at the first record of a partition
		kgo.MaxBufferedRecords(1<<20),
		kgo.FetchMaxWait(max(10*time.Millisecond, s.cfg.CommitInterval)), // the client takes no less
		kgo.MetadataMaxAge(s.cfg.metadataAge),
		kgo.MetadataMinAge(min(s.cfg.metadataAge, 5*time.Second)),
		broker.ClientLog(s.cfg.Logger),
		s.cfg.Broker.Observe("engine", s.cfg.Program.Name+"/"+s.w.instance),
		s.following.Option(),
		s.p.sent.Option(),
		s.ending.Option(),
	)...)
	if err != nil {
		return &fatalError{fmt.Errorf("open session: %w", err)} // of settings that no broker has seen
	}
	s.admin = kadm.NewClient(s.group.Client())
	// Taking the transactional id first ends what a dead life of this instance has left open.
	if _, _, err := s.group.Client().ProducerID(ctx); err != nil {
		s.group.Close()
		return fmt.Errorf("take transactional id %s: %w", id, err)
	}
	s.w.left = nil
	if s.limits, err = broker.FindLimits(ctx, s.admin, s.p.outTopics...); err != nil {
		s.group.Close()
		return err
	}
	return nil
}

func (w *worker) transactionalID() string { return w.p.transactionalID(w.instance) }

func (p *pipeline) transactionalID(instance string) string {
	return "weir-" + Group(p.cfg.Program) + "-" + instance
}

func (s *session) close() {
	s.tellOwing(false)
	s.tx.release()
	s.group.Close()
	for id, t := range s.tasks {
		s.cfg.Status.released(s.w.instance, id)
		s.closeStore(t)
	}
}

func (s *session) onAssigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	if len(added) == 0 {
		s.cfg.Status.joined(s.w.instance) // others have all partitions
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, partitions := range added {
		if s.assigned[topic] == nil {
			s.assigned[topic] = make(map[int32]bool)
		}
		for _, p := range partitions {
			s.assigned[topic][p] = true
			s.covered[topicPartition{topic, p}] = &covered{restored: make(chan struct{}), read: -1}
			for _, stage := range s.stages[topic] {
				s.fresh[taskID{stage.Name, p}] = true
			}
		}
	}
}

func (s *session) onRevoked(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, partitions := range gone {
		for _, p := range partitions {
			delete(s.assigned[topic], p)
			delete(s.covered, topicPartition{topic, p})
			for _, stage := range s.stages[topic] {
				s.fresh[taskID{stage.Name, p}] = true // to be closed, or to come again
			}
		}
	}
}

// takeCome returns the partitions of tasks that the client may not read yet, since their state is
// not restored.
func (s *session) takeCome(fresh map[taskID]bool) map[topicPartition]*covered {
	s.mu.Lock()
	defer s.mu.Unlock()
	come := make(map[topicPartition]*covered)
	for tp, c := range s.covered {
		for _, stage := range s.stages[tp.topic] {
			if _, ok := fresh[taskID{stage.Name, tp.partition}]; !ok {
				continue
			}
			select {
			case <-c.restored:
			default:
				come[tp] = c
			}
		}
	}
	return come
}

// takeFresh returns the tasks whose partitions have come or gone, and whether they are here now.
func (s *session) takeFresh() map[taskID]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fresh) == 0 {
		return nil
	}
	here := make(map[taskID]bool)
	for id := range s.fresh {
		here[id] = false
		for topic, stages := range s.stages {
			for _, stage := range stages {
				here[id] = here[id] || stage.Name == id.stage && s.assigned[topic][id.partition]
			}
		}
	}
	clear(s.fresh)
	return here
}

// process runs polled records through their tasks, inside a transaction.
func (s *session) process(ctx context.Context, fetches kgo.Fetches) error {
	if fresh := s.takeFresh(); fresh != nil {
		// A restore waits for open transactions on the changelog, so ours must not be one of them.
		// The records just polled are read again: an abort rewinds to the committed offsets.
		if s.tx.open {
			if err := s.end(kgo.TryAbort); err != nil {
				return err
			}
			return s.restore(ctx, fresh)
		}
		if err := s.restore(ctx, fresh); err != nil {
			return err
		}
	}
	if err := s.lookForGaps(ctx, fetches); err != nil {
		return err
	}
	if settled := s.takeSettled(); settled || s.rewound {
		if err := s.endEmpty(); err != nil {
			return err
		}
	}
	if err := s.beginHealing(); err != nil {
		return err
	}
	if held, err := s.holdUnknown(ctx, fetches); held || err != nil {
		return err
	}
	var failed error
	fetches.EachPartition(func(tp kgo.FetchTopicPartition) {
		if failed != nil || len(tp.Records) == 0 {
			return
		}
		failed = s.step(tp)
	})
	if failed != nil {
		return failed
	}
	return s.idle()
}

// step runs the records of one partition through the tasks that read it.
func (s *session) step(tp kgo.FetchTopicPartition) error {
	if err := s.begin(); err != nil {
		return err
	}
	newest := tp.Records[len(tp.Records)-1]
	last := newest.Offset
	at := topicPartition{tp.Topic, tp.Partition}
	if next, ok := s.nextOffset(at); ok && tp.Records[0].Offset < next {
		return fmt.Errorf("records of %s-%d from offset %d on, which the state covers up to %d: the topic was cut or created again", tp.Topic, tp.Partition, tp.Records[0].Offset, next)
	}
	if err := s.passGap(at, tp.Records[0].Offset, tp.LogStartOffset); err != nil {
		return err
	}
	if err := s.reached(at, last+1, tp.LastStableOffset); err != nil {
		return err
	}
	records := withoutControl(tp.Records)
	s.tx.spans = s.following.Process(records, s.cfg.Program.Name, s.tx.spans)
	s.tx.read += len(records)
	if s.p.isSource(tp.Topic) {
		if s.w.result.FirstRecord == 0 {
			s.w.result.FirstRecord = s.cfg.Now().UnixMilli()
		}
		s.tx.sourced += len(records)
		s.observe(records)
	}
	end, bounded := s.p.ends[tp.Topic][tp.Partition]
	read := int64(len(records))
	if bounded && len(records) > 0 && records[len(records)-1].Offset >= end {
		records = slices.DeleteFunc(records, func(r *kgo.Record) bool { return r.Offset >= end })
	}
	for _, stage := range s.stages[tp.Topic] {
		t := s.tasks[taskID{stage.Name, tp.Partition}]
		if t == nil {
			return fmt.Errorf("records of %s-%d, which is not assigned", tp.Topic, tp.Partition)
		}
		t.did.read(tp.Topic, read, last+1, tp.LastStableOffset, newest.Timestamp)
		if bounded && len(records) > 0 && t.op.Ended() {
			return &fatalError{fmt.Errorf("it has ended already, and there are new records in %s: give it another name (SET 'pipeline.name') to start without state, or leave out 'scan.bounded.mode'",
				tp.Topic)}
		}
		t.touched = t.touched || t.ledger != nil // its position
		if len(records) > 0 {
			t.touched = true
			t.last[tp.Topic] = s.cfg.Now()
			if err := t.op.Step(tp.Topic, records, s.tx.at, &s.tx.out); err != nil {
				return &fatalError{err}
			}
		}
		if bounded && last+1 >= end {
			t.touched = true
			if err := t.op.End(tp.Topic, &s.tx.out); err != nil {
				return &fatalError{err}
			}
		}
		s.send(t)
	}
	return nil
}

// withoutControl drops transaction markers, in place.
func withoutControl(records []*kgo.Record) []*kgo.Record {
	return slices.DeleteFunc(records, func(r *kgo.Record) bool { return r.Attrs.IsControl() })
}

// samples of a poll's records whose latency is measured: enough for percentiles, at no cost.
const samplesPerFetch = 4

func (s *session) observe(records []*kgo.Record) {
	step := max(1, len(records)/samplesPerFetch)
	for i := 0; i < len(records); i += step {
		s.tx.sample = append(s.tx.sample, records[i].Timestamp)
	}
}

// idle tells tasks of inputs that have had no record for their idle timeout.
func (s *session) idle() error {
	for _, t := range s.tasks {
		for _, in := range t.stage.Inputs {
			scan, ok := in.Op.(*plan.Scan)
			if !ok || scan.Table.IdleTimeout == 0 || t.op.IsIdle(scan.Table.Topic) || s.cfg.Now().Sub(t.last[scan.Table.Topic]) < scan.Table.IdleTimeout {
				continue
			}
			if err := s.begin(); err != nil {
				return err
			}
			t.touched = true
			if err := t.op.Idle(scan.Table.Topic, &s.tx.out); err != nil {
				return &fatalError{err}
			}
			s.send(t)
		}
	}
	return nil
}

// restore builds the tasks whose partitions have come, and lets go of those whose have gone.
func (s *session) restore(ctx context.Context, fresh map[taskID]bool) error {
	began := time.Now()
	s.cfg.Status.phase(s.w.instance, Restoring, "")
	come := s.takeCome(fresh)
	if err := s.checkTopics(ctx); err != nil {
		return err
	}
	for id, here := range fresh { // first, since another worker of this process may wait for a copy
		if t := s.tasks[id]; t != nil && !here {
			delete(s.tasks, id)
			s.cfg.Status.released(s.w.instance, id)
			s.closeStore(t)
		}
	}
	byStage := make(map[*plan.Stage][]*task)
	for id, here := range fresh {
		if !here {
			continue
		}
		t := s.tasks[id]
		if t == nil {
			t = s.newTask(id)
			s.tasks[id] = t
		}
		t.store.Abort()
		if s.cfg.Now().Sub(t.current) > s.p.maxAge(t.stage.Changelog) { // another worker may have had it meanwhile
			if err := t.store.Reset(); err != nil {
				return fmt.Errorf("rebuild the state of %s-%d: %w", id.stage, id.partition, err)
			}
			t.current = s.cfg.Now()
		}
		byStage[t.stage] = append(byStage[t.stage], t)
	}
	records := 0
	for stage, tasks := range byStage {
		n, err := s.restoreStage(ctx, stage, tasks)
		if err != nil {
			return err
		}
		records += n
	}
	if records > 0 {
		s.cfg.Logger.Info("state restored", "tasks", len(fresh), "records", records, "took", time.Since(began).Round(time.Millisecond))
	}
	for _, tasks := range byStage {
		for _, t := range tasks {
			s.cfg.Status.restored(s.w.instance, t)
		}
	}
	s.cfg.Status.phase(s.w.instance, Running, "")
	return s.recall(ctx, come)
}

func (s *session) newTask(id taskID) *task {
	t := &task{partition: id.partition, last: make(map[string]time.Time)}
	for _, stage := range s.cfg.Program.Stages {
		if stage.Name == id.stage {
			t.stage = stage
		}
	}
	t.store = s.p.openStore(t.stage, id.partition)
	if t.stage.Stateful {
		t.ledger = s.p.newLedger(t.stage, id.partition, t.store)
	}
	now := s.cfg.Now()
	t.current = now
	for _, topic := range t.stage.Topics() {
		t.last[topic] = now
	}
	return t
}

// restoreStage reads what the changelog has beyond the stores, and makes the tasks over them.
func (s *session) restoreStage(ctx context.Context, stage *plan.Stage, tasks []*task) (records int, err error) {
	if stage.Stateful {
		from := make(map[int32]int64, len(tasks))
		stores := make(map[int32]*state.Store, len(tasks))
		for _, t := range tasks {
			from[t.partition], stores[t.partition] = t.store.Offset(), t.store
			t.stale = false
		}
		stale := make(map[int32]bool, len(tasks)) // the last record is no position
		progress, err := s.restoreProgress(ctx, stage, tasks)
		if err != nil {
			return 0, err
		}
		ends, err := broker.ReadFrom(ctx, s.cfg.Broker, stage.Changelog, from, func(r *kgo.Record) error {
			records++
			progress(r.Partition)
			op, ok := state.EntryOf(r.Key)
			stale[r.Partition] = ok && op != positionEntry
			return stores[r.Partition].Restore(r.Key, r.Value)
		})
		if err != nil {
			return records, fmt.Errorf("restore state of %s: %w", stage.Name, err)
		}
		for partition, store := range stores {
			if err := store.Restored(max(ends[partition], store.Offset())); err != nil {
				return records, fmt.Errorf("restore state of %s: %w", stage.Name, err)
			}
		}
		for _, t := range tasks {
			t.stale = stale[t.partition]
			if err := s.p.checkWhole(ctx, s.admin, t.ledger); err != nil {
				return records, err
			}
		}
	}
	for _, t := range tasks {
		t.op, err = operator.New(operator.Config{
			Program: s.cfg.Program, Stage: stage, Partition: t.partition, Peers: s.p.tasksOf(stage),
			Partitions: func(topic string) int32 { return max(1, s.p.partitions[topic]) }, MaxBytes: s.limits.Record, Store: t.store, Schemas: s.p.schemas.formats,
			Traced: s.following != nil,
		})
		if err != nil {
			return records, &fatalError{err}
		}
		t.touched = false
	}
	return records, nil
}

// restoreProgress returns what is to be called with the partition of each record that a restore
// reads.
func (s *session) restoreProgress(ctx context.Context, stage *plan.Stage, tasks []*task) (func(partition int32), error) {
	ends, err := s.admin.ListEndOffsets(ctx, stage.Changelog)
	if err != nil {
		return nil, fmt.Errorf("find the end of %s: %w", stage.Changelog, err)
	}
	type progress struct {
		task     *task
		read, of int64
	}
	all := make(map[int32]*progress, len(tasks))
	for _, t := range tasks {
		end, _ := ends.Lookup(stage.Changelog, t.partition)
		p := &progress{task: t, of: max(0, end.Offset-t.store.Offset())}
		all[t.partition] = p
		s.cfg.Status.restoring(s.w.instance, t, 0, p.of)
	}
	const every = 4096 // records
	return func(partition int32) {
		p := all[partition]
		if p.read++; p.read%every == 0 {
			s.cfg.Status.restoring(s.w.instance, p.task, p.read, p.of)
		}
	}, nil
}

// endEmpty ends bounded inputs that have nothing to read any more, of which no record would tell:
// not to tasks that are new, and not to those that an abort has brought back to before their end
// while their positions are at it.
func (s *session) endEmpty() error {
	s.rewound = false
	if len(s.p.ends) == 0 {
		return nil
	}
	for id, t := range s.tasks {
		if t.op.Ended() {
			continue
		}
		for _, topic := range t.stage.Topics() {
			end, bounded := s.p.ends[topic][id.partition]
			if !bounded {
				// A topic may have fewer partitions than the stage has tasks.
				if _, source := s.p.ends[topic]; !source || id.partition < s.p.partitions[topic] {
					continue
				}
			}
			if next, settled := s.nextOffset(topicPartition{topic, id.partition}); bounded && (!settled || next < end) {
				continue
			}
			if err := s.begin(); err != nil {
				return err
			}
			t.touched = true
			if err := t.op.End(topic, &s.tx.out); err != nil {
				return &fatalError{err}
			}
			s.send(t)
		}
	}
	return nil
}

// finished reports whether nothing is left to do for a pipeline that ends: all tasks of this worker
// have ended. A worker without tasks waits until the group has committed all that there is.
func (s *session) finished(ctx context.Context) bool {
	for _, t := range s.tasks {
		if !t.op.Ended() || t.op.Pending() {
			return false
		}
	}
	if len(s.tasks) > 0 {
		return true
	}
	topics := make([]string, 0, len(s.stages))
	for topic := range s.stages {
		topics = append(topics, topic)
	}
	committed, err := s.admin.FetchOffsetsForTopics(ctx, Group(s.cfg.Program), topics...)
	if err != nil {
		return false // asked again at the next turn
	}
	ends, err := s.admin.ListEndOffsets(ctx, topics...)
	if err != nil || ends.Error() != nil {
		return false // likewise: a partition whose leader moves has no end, and is not done
	}
	done := true
	ends.Each(func(o kadm.ListedOffset) {
		end := o.Offset
		if bound, ok := s.p.ends[o.Topic][o.Partition]; ok {
			end = bound
		}
		at, ok := committed.Lookup(o.Topic, o.Partition)
		done = done && (end == 0 || ok && at.Err == nil && at.At >= end)
	})
	return done
}
