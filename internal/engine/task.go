package engine

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// taskID identifies a task of the pipeline.
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
	current   time.Time            // when the state was last known to equal the changelog
	touched   bool                 // in this transaction
	changes   []*kgo.Record        // of this transaction, to the changelog
	last      map[string]time.Time // when an input last had a record
	counts    taskCounts           // in this transaction
	measured  time.Time            // when the memory of the state was last measured
}

func (s *session) newTask(ctx context.Context, id taskID) *task {
	t := &task{partition: id.partition, last: make(map[string]time.Time)}
	for _, stage := range s.cfg.Program.Stages {
		if stage.Name == id.stage {
			t.stage = stage
		}
	}
	t.store = s.p.openStore(ctx, t.stage, id.partition)
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

// commit applies the changes of a committed transaction to the state.
func (t *task) commit() error {
	if !t.touched {
		return nil
	}
	t.touched = false
	changes := t.changes
	t.changes = nil
	t.op.Committed()
	return commitStore(t.store, changes)
}

// commitStore applies the changes of a committed transaction to a store. changes are its records in
// the changelog, with the offsets that the broker assigned.
func commitStore(store *state.Store, changes []*kgo.Record) error {
	at := store.Offset()
	if n := len(changes); n > 0 {
		at = changes[n-1].Offset + 1
	}
	return store.Commit(at)
}

// abort discards the changes of an aborted transaction.
func (t *task) abort() {
	t.touched, t.changes = false, nil
	t.counts.reset()
	t.store.Abort()
	if t.op != nil {
		t.op.Rollback()
	}
}

// taskCounts count what a task has done in the open transaction. any is set by the first of it.
type taskCounts struct {
	any                        bool
	outputs, late, deadLetters int64
	inputs                     map[string]inputProgress // by topic
}

// inputProgress is how far a task has read a topic.
type inputProgress struct {
	records   int64
	next, end int64 // offsets
	last      time.Time
}

func (c *taskCounts) reset() { *c = taskCounts{inputs: c.inputs}; clear(c.inputs) }

// read counts records of a topic that a task has processed.
func (c *taskCounts) read(topic string, records, next, end int64, last time.Time) {
	c.any = true
	if c.inputs == nil {
		c.inputs = make(map[string]inputProgress)
	}
	c.inputs[topic] = inputProgress{c.inputs[topic].records + records, next, max(next, end), last}
}

// outputCount is how much of a transaction's output is attributed to tasks.
type outputCount struct{ outputs, late, deadLetters int }

// attribute counts what was added to the output since the last call as the task's.
func (c *outputCount) attribute(out *operator.Output, t *task) {
	now := outputCount{len(out.Records), len(out.Late), len(out.DeadLetters)}
	d := &t.counts
	d.outputs += int64(now.outputs - c.outputs)
	d.late += int64(now.late - c.late)
	d.deadLetters += int64(now.deadLetters - c.deadLetters)
	d.any = d.any || now != *c
	*c = now
}

// newSeed returns the seed of a task's random values.
func newSeed() (seed [32]byte) {
	_, _ = rand.Read(seed[:]) // never fails
	return seed
}
