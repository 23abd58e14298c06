package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/broker"
	"weir/deadletter"
)

// RunLoop processes until ctx is done (it then commits what it has and returns nil), the input ends where
// the configuration asks for it, or a fatal error. After any other error it starts a new session: state and
// position come back from what is committed.
func RunLoop(ctx context.Context, cfg LoopConfig, p Processor) (Result, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	l := &loop{cfg: cfg, processor: p}
	if cfg.UntilEnd {
		if err := l.findEnd(ctx); err != nil {
			return l.result, err
		}
	}
	wait := broker.Backoff()
	for {
		l.result.Sessions++
		before := l.result.Transactions
		err := l.session(ctx)
		if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return l.result, nil
		}
		var unreachable *broker.UnreachableError
		if broker.Classify(err) == broker.Fatal || errors.As(err, &unreachable) && !l.connected {
			return l.result, err
		}
		if l.result.Transactions > before {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		cfg.Logger.Warn("start a new session", "err", err, "group", cfg.Group, "in", pause.Round(time.Millisecond))
		if broker.Sleep(ctx, pause) != nil {
			return l.result, nil
		}
	}
}

type loop struct {
	cfg       LoopConfig
	processor Processor
	result    Result
	connected bool            // a broker has answered once
	end       map[int32]int64 // with UntilEnd: offsets to reach, by partition not yet there
}

func (l *loop) findEnd(ctx context.Context) error {
	client, err := broker.Connect(ctx, l.cfg.Broker)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListCommittedOffsets(ctx, l.cfg.Topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("find the end of %s: %w", l.cfg.Topic, err)
	}
	l.end = make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) { l.end[o.Partition] = o.Offset })
	return nil
}

// reached reports whether the group has committed every partition up to the end that UntilEnd asks for.
func (l *loop) reached(ctx context.Context, admin *kadm.Client) (bool, error) {
	committed, err := admin.FetchOffsetsForTopics(ctx, l.cfg.Group, l.cfg.Topic)
	if err != nil {
		return false, err
	}
	for p, end := range l.end {
		if at, ok := committed.Lookup(l.cfg.Topic, p); end == 0 || ok && at.Err == nil && at.At >= end {
			delete(l.end, p)
		}
	}
	return len(l.end) == 0, nil
}

// loopSession is one life of a client: what it knows is dropped when it ends, and rebuilt from the broker.
type loopSession struct {
	*loop
	group *kgo.GroupTransactSession
	admin *kadm.Client
	tasks map[int32]*runningTask

	mu       sync.Mutex
	assigned map[int32]bool // partitions that came since the last look: what a task knows of them is old

	open   bool // in a transaction
	began  time.Time
	read   int
	out    Output
	sample []time.Time // timestamps of some of the records
}

type runningTask struct {
	Task
	touched bool // in this transaction
}

func (l *loop) session(ctx context.Context) (err error) {
	s := &loopSession{loop: l, tasks: make(map[int32]*runningTask), assigned: make(map[int32]bool)}
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.group.Close()
	l.connected = true
	idle := l.cfg.Now()
	for {
		if ctx.Err() != nil {
			return s.end(context.WithoutCancel(ctx), kgo.TryCommit)
		}
		wait := l.cfg.CommitInterval
		if s.open {
			wait = max(time.Millisecond, wait-time.Since(s.began))
		}
		poll, cancel := context.WithTimeout(ctx, wait)
		fetches := s.group.PollRecords(poll, max(1, l.cfg.MaxRecords-s.read))
		cancel()
		if err := pollError(fetches); err != nil {
			s.abandon()
			return err
		}
		if err := s.process(ctx, fetches); err != nil {
			s.abandon()
			return err
		}
		if fetches.NumRecords() > 0 {
			idle = l.cfg.Now()
		}
		due := s.open && (time.Since(s.began) >= l.cfg.CommitInterval || s.read >= l.cfg.MaxRecords)
		if due {
			if err := s.end(ctx, kgo.TryCommit); err != nil {
				return err
			}
		}
		if s.open || fetches.NumRecords() > 0 {
			continue
		}
		if l.cfg.UntilEnd {
			if done, err := l.reached(ctx, s.admin); err == nil && done {
				return nil
			}
		}
		if l.cfg.IdleTimeout > 0 && l.cfg.Now().Sub(idle) >= l.cfg.IdleTimeout {
			return nil
		}
	}
}

// pollError returns what a poll failed with, but for its own time limit.
func pollError(fetches kgo.Fetches) (failed error) {
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			failed = fmt.Errorf("read %s-%d: %w", topic, partition, err)
		}
	})
	return failed
}

func (s *loopSession) connect(ctx context.Context) error {
	codec, err := broker.Codec(s.cfg.Compression)
	if err != nil {
		return err
	}
	base, err := s.cfg.Broker.Options()
	if err != nil {
		return err
	}
	probe, err := broker.Connect(ctx, s.cfg.Broker)
	if err != nil {
		return err
	}
	err = errors.Join(broker.RequireTransactionV2(ctx, probe), s.checkTopics(ctx, kadm.NewClient(probe)))
	probe.Close()
	if err != nil {
		return err
	}
	s.group, err = kgo.NewGroupTransactSession(append(base,
		kgo.TransactionalID(s.cfg.transactionalID()),
		kgo.TransactionTimeout(s.cfg.TransactionTimeout),
		kgo.ConsumerGroup(s.cfg.Group),
		kgo.ConsumeTopics(s.cfg.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(s.cfg.SessionTimeout),
		kgo.HeartbeatInterval(s.cfg.SessionTimeout/5),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.OnPartitionsAssigned(s.onAssigned),
		kgo.KeepControlRecords(), // so that the committed offset passes the markers, and lag can reach 0
		kgo.ProducerBatchCompression(codec),
		kgo.RecordPartitioner(broker.GivenPartitions()),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.FetchMaxWait(s.cfg.CommitInterval),
		broker.ClientLog(s.cfg.Logger),
	)...)
	if err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	s.admin = kadm.NewClient(s.group.Client())
	// Taking the transactional id first ends what a dead life of this instance has left open.
	if _, _, err := s.group.Client().ProducerID(ctx); err != nil {
		s.group.Close()
		return fmt.Errorf("take transactional id %s: %w", s.cfg.transactionalID(), err)
	}
	return nil
}

func (c *LoopConfig) transactionalID() string { return "weir-" + c.Group + "-" + c.Instance }

// checkTopics says what is missing before the first record: the state must lie in the partition of its input.
func (s *loopSession) checkTopics(ctx context.Context, admin *kadm.Client) error {
	topics, err := admin.ListTopics(ctx, s.cfg.Topic, s.cfg.Changelog, s.cfg.DLQ)
	if err != nil {
		return fmt.Errorf("look at topics: %w", err)
	}
	for _, name := range []string{s.cfg.Topic, s.cfg.Changelog, s.cfg.DLQ} {
		t := topics[name]
		if errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("%w: no topic %s: make it with weir topics apply", kerr.InvalidTopicException, name)
		}
		if t.Err != nil {
			return fmt.Errorf("look at topic %s: %w", name, t.Err)
		}
	}
	in, state := len(topics[s.cfg.Topic].Partitions), len(topics[s.cfg.Changelog].Partitions)
	if in != state {
		return fmt.Errorf("%w: topic %s has %d partitions and %s has %d: they must be equal, since a device's state lies in its partition",
			kerr.InvalidTopicException, s.cfg.Topic, in, s.cfg.Changelog, state)
	}
	return nil
}

func (s *loopSession) onAssigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range added[s.cfg.Topic] {
		s.assigned[p] = true
	}
}

func (s *loopSession) takeAssigned() []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var fresh []int32
	for p := range s.assigned {
		fresh = append(fresh, p)
	}
	clear(s.assigned)
	return fresh
}

// process runs the polled records through their tasks, inside a transaction.
func (s *loopSession) process(ctx context.Context, fetches kgo.Fetches) error {
	if fresh := s.takeAssigned(); len(fresh) > 0 {
		// A restore waits for open transactions on the changelog, so ours must not be one of them. The
		// records just polled are read again: an abort rewinds to the committed offsets.
		if s.open {
			if err := s.end(ctx, kgo.TryAbort); err != nil {
				return err
			}
			return s.restore(ctx, fresh)
		}
		if err := s.restore(ctx, fresh); err != nil {
			return err
		}
	}
	if fetches.NumRecords() == 0 {
		return nil
	}
	if !s.open {
		if err := s.group.Begin(); err != nil {
			return fmt.Errorf("begin transaction: %w", err)
		}
		s.open, s.began = true, time.Now()
	}
	var failed error
	fetches.EachPartition(func(tp kgo.FetchTopicPartition) {
		if failed != nil || len(tp.Records) == 0 {
			return
		}
		task := s.tasks[tp.Partition]
		if task == nil {
			failed = fmt.Errorf("records of partition %d, which is not assigned", tp.Partition)
			return
		}
		records := withoutControl(tp.Records)
		if len(records) == 0 {
			return
		}
		task.touched = true
		failed = task.Step(records, &s.out)
		s.read += len(records)
		s.observe(records)
	})
	return failed
}

// withoutControl drops transaction markers, in place.
func withoutControl(records []*kgo.Record) []*kgo.Record {
	return slices.DeleteFunc(records, func(r *kgo.Record) bool { return r.Attrs.IsControl() })
}

// samples of a poll's records whose latency is told: enough for percentiles, and no cost.
const samplesPerFetch = 4

func (s *loopSession) observe(records []*kgo.Record) {
	step := max(1, len(records)/samplesPerFetch)
	for i := 0; i < len(records); i += step {
		s.sample = append(s.sample, records[i].Timestamp)
	}
}

// restore builds the tasks of newly assigned partitions from the changelog.
func (s *loopSession) restore(ctx context.Context, partitions []int32) error {
	started := time.Now()
	tasks := make(map[int32]*runningTask, len(partitions))
	for _, p := range partitions {
		tasks[p] = &runningTask{Task: s.processor.NewTask(p)}
	}
	records := 0
	err := broker.ReadAll(ctx, s.cfg.Broker, s.cfg.Changelog, partitions, func(r *kgo.Record) error {
		records++
		return tasks[r.Partition].Restore(r)
	})
	if err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	for p, t := range tasks {
		s.tasks[p] = t
	}
	s.cfg.Logger.Info("state restored", "topic", s.cfg.Changelog, "partitions", len(partitions), "records", records,
		"took", time.Since(started).Round(time.Millisecond))
	return nil
}

// abandon ends a session whose transaction can't be finished: the next one's ProducerID aborts it.
func (s *loopSession) abandon() {
	if s.open {
		s.result.Aborted++
	}
}

// end commits or aborts the open transaction. After an error its outcome is unknown, and the session is over.
func (s *loopSession) end(ctx context.Context, try kgo.TransactionEndTry) error {
	if !s.open {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.TransactionTimeout)
	defer cancel()
	var written error
	letters := 0
	if try == kgo.TryCommit {
		letters, written = s.write(ctx)
		if written != nil {
			try = kgo.TryAbort
		}
	}
	committed, err := s.group.End(ctx, try)
	s.open = false
	records, outputs := s.read, len(s.out.records)
	s.read = 0
	s.out.reset()
	sample := s.sample
	s.sample = s.sample[:0]
	if err != nil {
		return errors.Join(fmt.Errorf("end transaction: %w", err), written)
	}
	if written != nil && broker.Classify(written) == broker.Fatal {
		return written
	}
	if !committed {
		s.result.Aborted++
		for _, t := range s.tasks {
			t.Abort()
			t.touched = false
		}
		if written != nil {
			return written
		}
		return nil
	}
	for _, t := range s.tasks {
		if t.touched {
			t.Commit()
			t.touched = false
		}
	}
	s.result.Transactions++
	s.result.Records += int64(records)
	s.result.DeadLetters += int64(letters)
	s.cfg.OnCommit(Commit{Records: records, Outputs: outputs, DeadLetters: letters, Took: time.Since(s.began), Latencies: s.latencies(sample)})
	return nil
}

func (s *loopSession) latencies(stamps []time.Time) []time.Duration {
	now := s.cfg.Now()
	all := make([]time.Duration, len(stamps))
	for i, t := range stamps {
		all[i] = now.Sub(t)
	}
	return all
}

// write produces the transaction's outputs and dead letters and waits until the broker has them all.
func (s *loopSession) write(ctx context.Context) (letters int, err error) {
	for _, t := range s.tasks {
		if t.touched {
			if err := t.Flush(&s.out); err != nil {
				return 0, err
			}
		}
	}
	client := s.group.Client()
	promise := kgo.AbortingFirstErrPromise(client)
	now := s.cfg.Now()
	for _, l := range s.out.letters {
		r := deadletter.Record(s.cfg.DLQ, l.in, l.reason, now, deadletter.MaxBytes)
		r.Partition = l.in.Partition
		client.Produce(ctx, r, promise.Promise())
	}
	for _, r := range s.out.records {
		client.Produce(ctx, r, promise.Promise())
	}
	if err := client.Flush(ctx); err != nil {
		return 0, fmt.Errorf("flush: %w", err)
	}
	if err := promise.Err(); err != nil {
		return 0, fmt.Errorf("write outputs: %w", err)
	}
	return len(s.out.letters), nil
}

// LoopConfig says what a loop reads and how it commits.
type LoopConfig struct {
	Broker broker.Config

	Topic     string // input
	Changelog string // compacted topic of the state, as many partitions as Topic
	DLQ       string // dead-letter topic
	Group     string // consumer group; processes of one group share the partitions

	// Instance makes the transactional id of this process: stable over its restarts, different from every
	// other live process of the group.
	Instance string

	CommitInterval     time.Duration // default 100 ms
	MaxRecords         int           // in one transaction; default 50,000
	TransactionTimeout time.Duration // after which the broker aborts for a dead process; default 15 s
	SessionTimeout     time.Duration // after which the group gives a dead process's partitions away; default 10 s
	Compression        string        // none, gzip, snappy, lz4, zstd; default lz4
	UntilEnd           bool          // stop when the input is processed up to where it ended at the start
	IdleTimeout        time.Duration // stop after so long without a record; default never

	Logger   *slog.Logger
	OnCommit func(Commit) // called after each commit; must be quick
	Now      func() time.Time
}

func (c *LoopConfig) setDefaults() {
	if c.CommitInterval == 0 {
		c.CommitInterval = 100 * time.Millisecond
	}
	if c.MaxRecords == 0 {
		c.MaxRecords = 50_000
	}
	if c.TransactionTimeout == 0 {
		c.TransactionTimeout = 15 * time.Second
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 10 * time.Second
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
}

// Validate reports the first setting that can't work.
func (c *LoopConfig) Validate() error {
	for name, value := range map[string]string{
		"topic": c.Topic, "changelog": c.Changelog, "dead-letter topic": c.DLQ, "group": c.Group, "instance": c.Instance,
	} {
		if value == "" {
			return fmt.Errorf("no %s is set", name)
		}
	}
	if c.CommitInterval < 0 || c.CommitInterval >= c.TransactionTimeout && c.TransactionTimeout > 0 {
		return errors.New("the commit interval must be shorter than the transaction timeout")
	}
	return c.Broker.Validate()
}
