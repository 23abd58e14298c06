package engine

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

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
	touched   bool                 // in this transaction
	changes   []*kgo.Record        // of this transaction, to the changelog
	last      map[string]time.Time // when an input last had a record
	did       did                  // in this transaction
	measured  time.Time            // when the memory of the state was last looked at
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

// commit makes the transaction's changes the state.
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

// commitStore makes a committed transaction's changes the state. changes are its records of the
// changelog, with the offsets that the broker gave them.
func commitStore(store *state.Store, changes []*kgo.Record) error {
	at := store.Offset()
	if n := len(changes); n > 0 {
		at = changes[n-1].Offset + 1
	}
	return store.Commit(at)
}

// abort drops the transaction's changes.
func (t *task) abort() {
	t.touched, t.changes = false, nil
	t.did.reset()
	t.store.Abort()
	if t.op != nil {
		t.op.Reset()
	}
}

// did is what a task has done in the open transaction.
type did struct {
	some              bool
	out, late, letter int64
	inputs            map[string]reach // by topic
}

// reach is how far a task has read a topic.
type reach struct {
	records   int64
	next, end int64 // offsets
	last      time.Time
}

func (d *did) reset() { *d = did{inputs: d.inputs}; clear(d.inputs) }

// read notes that a task was given records of a topic.
func (d *did) read(topic string, records, next, end int64, last time.Time) {
	d.some = true
	if d.inputs == nil {
		d.inputs = make(map[string]reach)
	}
	d.inputs[topic] = reach{d.inputs[topic].records + records, next, max(next, end), last}
}

// outputCount is how much of a transaction's output is attributed to tasks.
type outputCount struct{ out, late, letter int }

// attribute counts what was added to the output since the last call as the task's.
func (c *outputCount) attribute(out *operator.Output, t *task) {
	now := outputCount{len(out.Records), len(out.Late), len(out.Letters)}
	d := &t.did
	d.out += int64(now.out - c.out)
	d.late += int64(now.late - c.late)
	d.letter += int64(now.letter - c.letter)
	d.some = d.some || now != *c
	*c = now
}
