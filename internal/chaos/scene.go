package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// scene is one accident: a source, a stateful pipeline in separate processes, and the rows from
// which its output follows.
type scene struct {
	weir   Weir
	broker broker.Config
	client *kgo.Client
	admin  *kadm.Client
	rng    *rand.Rand
	log    *slog.Logger

	name  string // of the pipeline
	dir   string
	kind  Accident
	kill9 bool // processes are stopped with kill -9 instead of SIGTERM
	state bool // keep local copies of the state
	both  bool // two processes share the pipeline

	bounded bool // the sources are bounded

	runners map[string]*process // by instance
	ended   []*process          // processes that exited on their own
	stuck   string              // lag of the last run if it did not end
	refused string              // message of a process that refused to start or to continue

	rows  []row     // all rows of the source, except unread ones that the accident deleted
	clock time.Time // event time of the next row
}

const scenePartitions = 4

// interrupted is the exit code of a command that was stopped before it began its work.
const interrupted = 130

// Timeouts of an accident's processes, short so that resources of dead ones are released soon.
const (
	sceneSession = 6 * time.Second
	sceneTx      = 10 * time.Second
	sceneLimit   = 100 * time.Second // for steps that should take seconds; the embedded broker keeps dead members that were joining for a minute
	finalLimit   = 3 * time.Minute   // for the final run
)

func (s *scene) topic(suffix string) string { return s.name + "." + suffix }
func (s *scene) group() string              { return "weir-" + s.name }

// open connects to the broker and creates the source.
func (s *scene) open(ctx context.Context) error {
	s.runners = make(map[string]*process)
	s.clock = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return err
	}
	for _, bounded := range []bool{false, true} {
		if err := os.WriteFile(s.sqlFile(bounded), []byte(pipelineSQL(s.name, bounded)), 0o600); err != nil {
			return err
		}
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	return s.makeSource(ctx)
}

func (s *scene) connect(ctx context.Context) (err error) {
	s.client, err = broker.Connect(ctx, s.broker, kgo.RecordRetries(1000), kgo.UnknownTopicRetries(-1), kgo.ProducerLinger(0)) // send limits the time
	if err != nil {
		return err
	}
	s.admin = kadm.NewClient(s.client)
	return nil
}

func (s *scene) makeSource(ctx context.Context) error {
	return broker.EnsureTopics(ctx, s.admin, []broker.Topic{{Name: s.topic("in"), Partitions: scenePartitions}})
}

func (s *scene) close() {
	for _, p := range s.runners {
		p.kill()
	}
	s.client.Close()
}

// instances returns the names of the pipeline's processes.
func (s *scene) instances() []string {
	if s.both {
		return []string{"a", "b"}
	}
	return []string{"a"}
}

// args returns the arguments of weir run for a process of the pipeline.
func (s *scene) args(instance string, more ...string) []string {
	state := "none"
	if s.state {
		state = s.stateDir(instance)
	}
	return append([]string{
		"run", s.sqlFile(s.bounded), "--brokers", s.broker.Brokers[0], "--instance", instance, "--parallelism", "2", "--state-dir", state,
		"--session-timeout", sceneSession.String(), "--transaction-timeout", sceneTx.String(), "--commit-interval", "50ms", "--log-level", "info",
	}, more...)
}

func (s *scene) sqlFile(bounded bool) string {
	if bounded {
		return filepath.Join(s.dir, "bounded.sql")
	}
	return filepath.Join(s.dir, "pipeline.sql")
}

func (s *scene) stateDir(instance string) string { return filepath.Join(s.dir, "state-"+instance) }

// run starts a process of the pipeline.
func (s *scene) run(instance string, more ...string) (*process, error) {
	return s.weir.start(s.dir, instance, s.args(instance, more...)...)
}

// resume starts the processes of the pipeline that are not running.
func (s *scene) resume() error {
	for _, instance := range s.instances() {
		if s.runners[instance] != nil {
			continue
		}
		p, err := s.run(instance)
		if err != nil {
			return err
		}
		s.runners[instance] = p
	}
	return nil
}

// stop stops all processes of the pipeline, with kill -9 or SIGTERM.
func (s *scene) stop(ctx context.Context) error {
	for instance, p := range s.runners {
		delete(s.runners, instance)
		if !p.alive() {
			s.ended = append(s.ended, p)
			continue
		}
		if s.kill9 {
			p.kill()
			continue
		}
		code, err := p.stop(ctx, sceneLimit)
		switch {
		case err != nil:
			return fmt.Errorf("stop with SIGTERM: %w", err)
		case code != 0 && code != interrupted && code != -1: // -1: the signal arrived before its handler was installed
			s.ended = append(s.ended, p)
		}
	}
	return nil
}

// produce writes rows to the source, in order of event time within each partition.
func (s *scene) produce(ctx context.Context, n int) error {
	records := make([]*kgo.Record, n)
	batch := make([]row, n)
	for i := range n {
		s.clock = s.clock.Add(time.Duration(s.rng.IntN(40)) * time.Millisecond)
		if s.clock.Add(time.Millisecond).Equal(s.clock.Add(time.Millisecond).Truncate(rowWindow)) {
			// A row in a window's last millisecond closes it: another one would be late, in Flink
			// too.
			s.clock = s.clock.Add(time.Millisecond)
		}
		batch[i] = row{Key: "key-" + strconv.Itoa(s.rng.IntN(rowKeys)), Value: int64(s.rng.IntN(1000)), TS: s.clock}
		records[i] = s.record(batch[i])
	}
	return s.send(ctx, records, batch)
}

func (s *scene) record(r row) *kgo.Record {
	return &kgo.Record{
		Topic: s.topic("in"), Key: []byte(r.Key), Timestamp: time.Now(),
		Value: fmt.Appendf(nil, `{"k":%q,"v":%d,"ts":%q}`, r.Key, r.Value, r.TS.UTC().Format("2006-01-02T15:04:05.000Z")),
	}
}

func (s *scene) send(ctx context.Context, records []*kgo.Record, batch []row) error {
	ctx, cancel := context.WithTimeout(ctx, sceneLimit)
	defer cancel()
	if err := s.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("write to %s: %w", s.topic("in"), err)
	}
	for i, r := range records {
		batch[i].partition, batch[i].offset = r.Partition, r.Offset
	}
	s.rows = append(s.rows, batch...)
	return nil
}

// finishSource writes a row with the maximum time to each partition, so that all windows close.
func (s *scene) finishSource(ctx context.Context) error {
	detail, err := s.admin.ListTopics(ctx, s.topic("in"))
	if err != nil {
		return err
	}
	n := len(detail[s.topic("in")].Partitions)
	partition := kgo.StickyKeyPartitioner(nil).ForTopic("")
	var records []*kgo.Record
	var batch []row
	for missing := n; missing > 0; {
		for i := 0; missing > 0; i++ {
			r := row{Key: "end-" + strconv.Itoa(i), TS: endOfTime, Value: 1}
			record := s.record(r)
			p := int32(partition.Partition(record, n)) //nolint:gosec // small number
			if slices.ContainsFunc(batch, func(o row) bool { return o.partition == p }) {
				continue
			}
			r.partition = p
			records, batch, missing = append(records, record), append(batch, r), missing-1
		}
	}
	return s.send(ctx, records, batch)
}

// awaitProgress waits until the sum of the committed offsets of the source reaches offsets.
func (s *scene) awaitProgress(ctx context.Context, offsets int64) error {
	ctx, cancel := context.WithTimeout(ctx, sceneLimit)
	defer cancel()
	for {
		at, err := s.committed(ctx)
		if err != nil {
			return err
		}
		var sum int64
		for _, o := range at {
			sum += o
		}
		if sum >= offsets {
			return nil
		}
		for _, p := range s.runners {
			if !p.alive() {
				return fmt.Errorf("a process exited unexpectedly: %q", p.lastWords())
			}
		}
		if err := retry.Sleep(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("the pipeline has committed %d of %d offsets after %s", sum, offsets, sceneLimit)
		}
	}
}

// committed returns the group's offsets in the source, by partition.
func (s *scene) committed(ctx context.Context) (map[int32]int64, error) {
	all, err := s.admin.FetchOffsets(ctx, s.group())
	for try := 0; kerr.IsRetriable(err) && try < 100; try++ { // a new cluster has no coordinator yet
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
		all, err = s.admin.FetchOffsets(ctx, s.group())
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("fetch offsets of %s: %w", s.group(), err)
	}
	at := make(map[int32]int64)
	for p, o := range all[s.topic("in")] {
		if o.Err == nil && o.At >= 0 {
			at[p] = o.At
		}
	}
	return at, nil
}

// play runs the scene: load, the accident at a random moment, more load, and the end of the
// input.
func (s *scene) play(ctx context.Context) error {
	const chunk = 150
	chunks := 6 + s.rng.IntN(8)
	moment := 2 + s.rng.IntN(chunks-3)
	if err := s.resume(); err != nil {
		return err
	}
	for i := range chunks {
		if i == moment && !s.kind.last {
			// At a random position: the remaining rows are still unread.
			if err := s.awaitProgress(ctx, 1+s.rng.Int64N(int64(len(s.rows)))); err != nil {
				return err
			}
			if err := s.kind.do(ctx, s); err != nil {
				return fmt.Errorf("accident: %w", err)
			}
			if err := s.resume(); err != nil {
				return err
			}
		}
		if err := s.produce(ctx, chunk); err != nil {
			return err
		}
	}
	if err := s.finishSource(ctx); err != nil || !s.kind.last {
		return err
	}
	return s.kind.do(ctx, s)
}

// conclude stops the processes, runs the pipeline to the end of its input, and records whether it
// refused.
func (s *scene) conclude(ctx context.Context) error {
	if err := s.stop(ctx); err != nil {
		return err
	}
	for _, p := range s.ended {
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			s.refused = p.lastWords()
		}
	}
	more := append([]string{"--until-end", "-o", "json"}, s.kind.final...)
	if s.bounded {
		more = more[1:]
	}
	p, err := s.run("a", more...)
	if err != nil {
		return err
	}
	stuck := time.AfterFunc(finalLimit-5*time.Second, func() { s.stuck = s.lag(ctx) })
	code, err := p.wait(ctx, finalLimit)
	stuck.Stop()
	if err != nil {
		return fmt.Errorf("run to the end: %w; %s", err, s.stuck)
	}
	switch {
	case code != 0:
		s.refused = p.lastWords()
	case s.refused != "" && s.kind.final == nil && (!s.kind.copies || !s.state):
		return fmt.Errorf("one process exited with %q, but the next start continued without an error", s.refused)
	default:
		s.refused = ""
	}
	return nil
}

// lag describes what the pipeline has not read, to diagnose why it does not end.
func (s *scene) lag(ctx context.Context) string {
	lags, err := s.admin.Lag(ctx, s.group())
	if err != nil {
		return err.Error()
	}
	l := lags[s.group()]
	text := fmt.Sprintf("group %s with %d members", l.State, len(l.Members))
	for _, at := range l.Lag.Sorted() {
		text += fmt.Sprintf("; %s-%d at %d of %d to %d, member %t", at.Topic, at.Partition, at.Commit.At, at.Start.Offset, at.End.Offset, at.Member != nil)
	}
	return text
}

// openTransactions lists the partitions of the pipeline's topics that readers can't read to the
// end.
func (s *scene) openTransactions(ctx context.Context) ([]string, error) {
	topics := []string{s.topic("windows"), s.topic("totals"), s.topic("classes"), s.topic("late"), s.topic("dlq")}
	for _, table := range joinTables {
		topics = append(topics, s.topic(table))
	}
	stable, err := s.admin.ListCommittedOffsets(ctx, topics...)
	if err == nil {
		err = stable.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list stable offsets: %w", err)
	}
	high, err := s.admin.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = high.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list ends: %w", err)
	}
	var held []string
	high.Each(func(o kadm.ListedOffset) {
		if at, _ := stable.Lookup(o.Topic, o.Partition); at.Offset < o.Offset {
			held = append(held, fmt.Sprintf("%s-%d: readers wait at %d of %d", o.Topic, o.Partition, at.Offset, o.Offset))
		}
	})
	slices.Sort(held)
	return held, nil
}
