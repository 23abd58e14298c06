package operator

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// watermarks is the number of the state's entries in which inputs keep theirs.
const watermarks uint16 = 1

// Output is what a transaction writes. Records have topic and partition, and stay as they are until
// the transaction has ended.
type Output struct {
	Records []*kgo.Record
	Letters []Letter // rows that can't be processed
	Late    []Letter // rows that came after their window was closed
	Ahead   int      // rows too far in the future to move the watermark: see plan.Settings.MaxAhead
	Dropped Dropped  // what options say is to be left out
}

// Letter is a record set aside, and why. The record of a row that was computed is made up: its
// value is the row as JSON.
type Letter struct {
	Record *kgo.Record
	Reason error
}

func (o *Output) emit(r *kgo.Record) { o.Records = append(o.Records, r) }

// Sent empties Records: the caller has taken them.
func (o *Output) Sent() {
	clear(o.Records)
	o.Records = o.Records[:0]
}

// Reset empties the output for the next transaction.
func (o *Output) Reset() {
	o.Sent()
	clear(o.Letters)
	clear(o.Late)
	o.Letters, o.Late, o.Ahead = o.Letters[:0], o.Late[:0], 0
	clear(o.Dropped)
}

// Config of a task.
type Config struct {
	Program    *plan.Program
	Stage      *plan.Stage
	Partition  int32
	Peers      int32                    // tasks of the stage: how many partitions its inputs have
	Partitions func(topic string) int32 // how many partitions a topic has
	MaxBytes   func(topic string) int   // how large a record may be; nil is any
	Store      *state.Store             // restored
	Schemas    *format.Schemas          // of registries; nil where no table has one
	Traced     bool                     // records may have a Context, which what is made of them gets (see origins)
	MaxFired   int                      // rows and slices of windows that a transaction emits, about; default 100,000
	Ledger     *Ledger                  // of tests: what windows take in and give out; nil elsewhere
}

// Task runs one stage on one partition. One goroutine calls it.
//
// A transaction is any number of calls of Step, End and Idle, and then Flush; what it writes is in
// Output and in the store's changes. After the commit the caller commits the store, calls Committed
// and goes on; after an abort it aborts the store and calls Reset.
type Task struct {
	program   *plan.Program
	stage     *plan.Stage
	partition int32
	peers     int32
	sizes     func(topic string) int32
	maxBytes  func(topic string) int
	store     *state.Store
	schemas   *format.Schemas
	traced    bool
	now       time.Time // of the transaction
	maxFired  int
	fired     int // of maxFired, in this transaction
	ledger    *Ledger

	nodes   []node // inputs first
	sources map[string][]source
	out     *Output
	err     error

	// restoring is set while operators hear the watermark that the state has: nothing is due then.
	restoring bool
	arena     arena
	keys      []byte // of the entries that clear deletes, one behind the other
	ends      []int
	lettered  map[*kgo.Record]bool // records of this step that are letters
}

// New makes a task over a store that is restored.
func New(c Config) (*Task, error) {
	t := &Task{
		program: c.Program, stage: c.Stage, partition: c.Partition, peers: c.Peers, sizes: c.Partitions, maxBytes: c.MaxBytes, store: c.Store, schemas: c.Schemas, traced: c.Traced, maxFired: cmp.Or(c.MaxFired, defaultMaxFired), ledger: c.Ledger,
		sources: make(map[string][]source), out: &Output{}, lettered: make(map[*kgo.Record]bool),
	}
	made := make(map[*plan.Relation]node)
	for _, r := range c.Stage.Relations {
		n, err := t.build(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Describe(), err)
		}
		made[r] = n
		t.nodes = append(t.nodes, n)
		if s, ok := n.(source); ok {
			t.sources[r.Topic()] = append(t.sources[r.Topic()], s)
			continue
		}
		for i, in := range r.Inputs {
			to, err := t.placed(n, r, i)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.Describe(), err)
			}
			made[in].(interface{ connect(node, int) }).connect(to, i)
		}
	}
	for _, out := range c.Stage.Outputs {
		if op, ok := out.Op.(*plan.Exchange); ok {
			s := newSender(newBase(t, out), op)
			made[out.Inputs[0]].(interface{ connect(node, int) }).connect(s, 0)
			t.nodes = append(t.nodes, s)
		}
	}
	t.announce()
	return t, t.err
}

// announce tells all operators the watermarks that the state has.
func (t *Task) announce() {
	t.restoring = true
	for _, n := range t.nodes {
		if s, ok := n.(source); ok {
			s.announce()
		}
	}
	t.restoring = false
}

// Step processes records of one input topic in offset order. now is the transaction's time, the
// same in all its steps. The error is one of the pipeline's own topics or state, which nothing
// mends.
func (t *Task) Step(topic string, records []*kgo.Record, now time.Time, out *Output) error {
	t.out, t.now = out, now
	clear(t.lettered)
	for _, s := range t.sources[topic] {
		s.records(records)
	}
	return t.err
}

// End says that an input topic has no more records, now and ever.
func (t *Task) End(topic string, out *Output) error {
	t.out = out
	for _, s := range t.sources[topic] {
		if sc, ok := s.(*scan); ok && !sc.ended() {
			sc.end()
		}
	}
	return t.err
}

// Marks are the watermarks that the task's tables have, by their names in the state.
func (t *Task) Marks() map[string]int64 {
	marks := make(map[string]int64)
	for _, n := range t.nodes {
		if s, ok := n.(*scan); ok && s.watermark != unknown {
			marks[string(s.stateKey())] = s.watermark
		}
	}
	return marks
}

// Advance brings tables to watermarks that other tasks of the stage have reached, and reports
// whether that is news to any: rows before them are late from now on. What is due by them comes
// out.
func (t *Task) Advance(marks map[string]int64, out *Output) (moved bool, err error) {
	t.out = out
	for _, n := range t.nodes {
		s, ok := n.(*scan)
		if !ok {
			continue
		}
		if to, known := marks[string(s.stateKey())]; known && to > s.watermark {
			moved, s.watermark = true, to
			s.pass(to, false)
		}
	}
	return moved, t.err
}

// Idle says that an input topic has had no record for longer than its idle timeout: others need not
// wait for it.
func (t *Task) Idle(topic string, out *Output) error {
	t.out = out
	for _, s := range t.sources[topic] {
		if sc, ok := s.(*scan); ok && !sc.idle && sc.marker != nil {
			sc.setIdle()
		}
	}
	return t.err
}

// IsIdle reports whether an input topic has been told to be idle, or has no watermark that anybody
// could wait for.
func (t *Task) IsIdle(topic string) bool {
	for _, s := range t.sources[topic] {
		if sc, ok := s.(*scan); ok && !sc.idle && sc.marker != nil && !sc.ended() {
			return false
		}
	}
	return true
}

// defaultMaxFired keeps a transaction that windows come out in below a second or so.
const defaultMaxFired = 100_000

// emitter is an operator that may have more to emit than one transaction should hold.
type emitter interface {
	pending() bool
	resume()
}

// full reports whether the transaction has emitted what it should hold at most. A window that has
// begun is emitted whole.
func (t *Task) full() bool { return t.fired >= t.maxFired }

func (t *Task) spend(n int) { t.fired += n }

// Pending reports whether windows are due that other transactions must emit, by Resume: one leap of
// the watermark can close any number of windows. What is out is in the state, so that a restored
// task goes on from there.
func (t *Task) Pending() bool {
	return slices.ContainsFunc(t.nodes, func(n node) bool {
		e, ok := n.(emitter)
		return ok && e.pending()
	})
}

// Resume emits windows that are due. It is for a transaction of its own: one that is full emits
// none.
func (t *Task) Resume(out *Output) error {
	t.out = out
	for _, n := range t.nodes {
		if e, ok := n.(emitter); ok {
			e.resume()
		}
	}
	return t.err
}

// Ended reports whether all inputs have ended, so that nothing will ever come out of the task again
// but what is pending.
func (t *Task) Ended() bool {
	for _, all := range t.sources {
		for _, s := range all {
			if !s.ended() {
				return false
			}
		}
	}
	return true
}

// Watermark is how far an input topic is in event time: the least of the tables that are read from
// it. It is not known before the first row with a time, without WATERMARK FOR, and at the end. Idle
// says that others do not wait for it.
func (t *Task) Watermark(topic string) (at time.Time, known, idle bool) {
	least := forever
	idle = len(t.sources[topic]) > 0
	for _, s := range t.sources[topic] {
		mark, isIdle := s.progress()
		least, idle = min(least, mark), idle && isIdle
	}
	if least == unknown || least == forever {
		return time.Time{}, false, idle
	}
	return time.UnixMicro(least).UTC(), true, idle
}

// Flow is what has come out of an operator.
type Flow struct {
	Relation  int        // its number in the plan
	Rows      int64      // since they were last asked for, or records, of one that writes
	Watermark *time.Time // nil where it has told none, or the one at the end
	Idle      bool       // others do not wait for it
}

// Flows calls yield with what has come out of each operator since the last call, or since an abort.
func (t *Task) Flows(yield func(Flow)) {
	for _, n := range t.nodes {
		s := n.says()
		f := Flow{Relation: s.relation, Rows: s.rows, Idle: s.idle}
		if s.watermark != unknown && s.watermark != forever {
			at := time.UnixMicro(s.watermark).UTC()
			f.Watermark = &at
		}
		s.rows = 0
		yield(f)
	}
}

// Flush ends the rows of a transaction.
func (t *Task) Flush(out *Output) error {
	t.out = out
	for _, n := range t.nodes {
		n.flush()
	}
	t.fired = 0
	return t.err
}

// Committed says that the transaction is committed, and that nobody uses its records any more.
func (t *Task) Committed() { t.arena.reuse() }

// Reset brings the operators back to what the store says, after an abort.
func (t *Task) Reset() {
	t.err, t.arena, t.fired = nil, arena{}, 0
	for _, n := range t.nodes {
		n.reset()
		n.says().forget()
	}
	t.announce()
}

func (t *Task) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *Task) partitions(topic string) int32 { return t.sizes(topic) }

// letter sets a record aside, once: one from which several rows come, or which several tables or
// INSERTs read, is one letter, for the first reason.
func (t *Task) letter(r *kgo.Record, reason error) {
	if r.Offset >= 0 {
		if t.lettered[r] {
			return
		}
		t.lettered[r] = true
	}
	t.out.Letters = append(t.out.Letters, Letter{r, reason})
}

// reject sets a row aside that can't be computed. columns name the row's values.
func (t *Task) reject(r *rows, i int, columns []format.Field, reason error) {
	t.rejectFor(t.stage.Inputs[0].Topic(), r, i, columns, reason)
}

// rejectFor sets a row aside that can't be computed or written: its record, or where it was
// computed of several a letter to the topic that it was meant for. One that is taken back is none:
// when it came it was rejected, too.
func (t *Task) rejectFor(topic string, r *rows, i int, columns []format.Field, reason error) {
	if k := r.kind(i); k == updateBefore || k == remove {
		return
	}
	t.letter(t.origin(topic, r, i, columns), deadletter.Because(deadletter.Computation, reason))
}

// late sets a row aside that came after its window was closed.
func (t *Task) late(r *rows, i int, rel *plan.Relation, reason error) {
	t.out.Late = append(t.out.Late, Letter{t.origin(t.stage.Inputs[0].Topic(), r, i, fieldsOf(rel)), reason})
}

// fieldsOf are the columns of a relation, to name the values of its rows.
func fieldsOf(rel *plan.Relation) []format.Field {
	fields := make([]format.Field, len(rel.Cols))
	for i, c := range rel.Cols {
		fields[i] = format.Field{Name: c.Name, Type: c.Type}
	}
	return fields
}

// origin is the record of a row, or one that is made up from its values.
func (t *Task) origin(topic string, r *rows, i int, columns []format.Field) *kgo.Record {
	if in := r.record(i); in != nil && in.Topic != "" {
		return in
	}
	made := &kgo.Record{Topic: topic, Partition: t.partition, Offset: -1}
	var fields []format.Field
	var cols []*column.Column
	for c, col := range r.Cols {
		if col == nil {
			continue
		}
		field := format.Field{Name: fmt.Sprintf("column%d", c+1), Type: col.Type}
		if c < len(columns) {
			field = columns[c]
		}
		if format.Check("json", []format.Field{field}, nil) != nil { // what JSON has not is told as text
			text := &column.Column{Type: column.Of(column.String)}
			for row := range r.N {
				text.Add(expr.Format(col.Value(row), col.Type))
			}
			field.Type, col = text.Type, text
		}
		fields, cols = append(fields, field), append(cols, col)
	}
	e, err := format.NewEncoder("json", fields, format.Options{"map-null-key.mode": "LITERAL"}, nil)
	if err == nil {
		made.Value, err = e.Encode(nil, cols, i)
	}
	if err != nil {
		t.fail(fmt.Errorf("write a row that is set aside: %w", err))
	}
	return made
}
