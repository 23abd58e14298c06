package dryrun

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// task is one task, its position in its inputs, and its committed changelog.
type task struct {
	*operator.Task
	stage     *plan.Stage
	partition int32
	store     *state.Store
	changelog []kgo.Record
	at        map[string]int       // next offset by topic
	last      map[string]time.Time // time of a topic's last record
}

// restore rebuilds a task from its changelog.
func (s *Simulation) restore(t *task) error {
	t.store = state.Memory()
	for _, r := range t.changelog {
		if err := t.store.Restore(r.Key, r.Value); err != nil {
			return err
		}
	}
	if err := t.store.Restored(int64(len(t.changelog))); err != nil {
		return err
	}
	restored, err := operator.New(operator.Config{
		Program: s.program, Stage: t.stage, Partition: t.partition, Peers: s.options.Partitions,
		Partitions: s.size, Store: t.store, Ledger: s.ledger, MaxFired: s.options.MaxFired, Lookups: &s.lookups,
	})
	t.Task = restored
	return err
}

// transaction runs work as one transaction of a task and commits it. With crash, work first runs
// once and is aborted; every other time, the task is also rebuilt from its changelog.
func (s *Simulation) transaction(t *task, crash bool, work func(*operator.Output) error) error {
	if s.stopped != nil {
		if err := s.stopped(); err != nil {
			return err
		}
	}
	run := func() (*operator.Output, error) {
		out := &operator.Output{}
		if err := work(out); err != nil {
			return out, err
		}
		return out, t.FinishTransaction(out)
	}
	if crash {
		if _, err := run(); err != nil {
			return err
		}
		if err := s.crash(t); err != nil {
			return err
		}
	}
	out, err := run()
	if err != nil {
		return err
	}
	return s.commit(t, out)
}

// crash aborts the open transaction of a task and, every other time, rebuilds the task.
func (s *Simulation) crash(t *task) error {
	t.store.Abort()
	t.Rollback()
	s.ledger.Abort()
	if s.crashes++; s.crashes%2 != 0 {
		return nil
	}
	return s.restore(t)
}

// commit commits the state changes of a transaction and appends its records to their topics.
func (s *Simulation) commit(t *task, out *operator.Output) error {
	t.store.Changes(func(key, value []byte) {
		t.changelog = append(t.changelog, kgo.Record{Key: bytes.Clone(key), Value: bytes.Clone(value)})
	})
	if err := t.store.Commit(int64(len(t.changelog))); err != nil {
		return err
	}
	s.ledger.Commit()
	s.dropped.Add(out.Dropped)
	for _, r := range out.Records {
		s.write(r.Topic, r)
	}
	for _, rejected := range []struct { // the topics may be the same
		topic   string
		letters []operator.DeadLetter
	}{{s.program.Settings.DeadLetterTopic, out.DeadLetters}, {s.program.Settings.LateTopic, out.Late}} {
		for _, l := range rejected.letters {
			s.write(rejected.topic, &kgo.Record{
				Key: l.Record.Key, Value: l.Record.Value,
				Headers: []kgo.RecordHeader{{Key: "reason", Value: []byte(l.Reason.Error())}},
			})
		}
	}
	t.Committed()
	return nil
}

// write appends a copy of a record whose key and value are owned by a task.
func (s *Simulation) write(topic string, r *kgo.Record) {
	copied := *r
	copied.Topic, copied.Key, copied.Value = topic, bytes.Clone(r.Key), bytes.Clone(r.Value)
	if copied.Timestamp.IsZero() {
		copied.Timestamp = s.clock
	}
	s.add(&copied)
}
