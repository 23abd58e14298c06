package operator

import (
	"cmp"
	"crypto/sha256"
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

// watermarkEntry is the state entry that stores the watermarks of inputs.
const watermarkEntry uint16 = 1

// Output collects the writes of a transaction. Records have topic and partition set and are not
// modified until the transaction has ended.
type Output struct {
	Records     []*kgo.Record
	DeadLetters []DeadLetter // records and rows that can't be processed
	Late        []DeadLetter // rows that arrived after their window had closed
	Ahead       int          // rows too far in the future to advance the watermark: see plan.Settings.MaxAhead
	Expired     int          // keys of the state that have expired and are deleted
	Dropped     Dropped      // what formats and INSERTs have dropped because of options
}

// DeadLetter is a record that was set aside, with the reason. The record of a computed row is
// synthetic; its value is the row as JSON.
type DeadLetter struct {
	Record *kgo.Record
	Reason error
}

func (o *Output) emit(r *kgo.Record) { o.Records = append(o.Records, r) }

// Sent empties Records after the caller has sent them.
func (o *Output) Sent() {
	clear(o.Records)
	o.Records = o.Records[:0]
}

// Reset empties the output for the next transaction.
func (o *Output) Reset() {
	o.Sent()
	clear(o.DeadLetters)
	clear(o.Late)
	o.DeadLetters, o.Late, o.Ahead, o.Expired = o.DeadLetters[:0], o.Late[:0], 0, 0
	clear(o.Dropped)
}

// Config of a task.
type Config struct {
	Program    *plan.Program
	Stage      *plan.Stage
	Partition  int32
	Peers      int32                    // number of tasks of the stage: the partition count of its inputs
	Partitions func(topic string) int32 // number of partitions of a topic
	MaxBytes   func(topic string) int   // maximum size of a record; nil is no limit
	Store      *state.Store             // already restored
	Schemas    *format.Schemas          // of schema registries; nil if no table uses one
	Traced     bool                     // records may carry a Context, which is passed on to results: see lineage
	Lookups    Lookups                  // nil if no stage has a lookup join
	MaxFired   int                      // approximate limit of window rows and slices that one transaction emits; default 100,000
	Ledger     *Ledger                  // in tests, accounts for rows in windows; otherwise nil
	// Seed makes the random values of this task differ from those of all others, also of itself
	// before a restart. Tests leave it at zero, so that they can be repeated.
	Seed [32]byte
}

// Task runs one stage on one partition. It must be used by one goroutine at a time.
//
// A transaction consists of any number of calls of Step, End, Idle, Resume, Advance, Tick and
// Expire, all with the transaction's time, followed by FinishTransaction. Its writes are in Output
// and in the changes of the store. After a commit the caller commits the store and calls Committed;
// after an abort it aborts the store and calls Rollback.
type Task struct {
	program    *plan.Program
	stage      *plan.Stage
	partition  int32
	peers      int32
	sizes      func(topic string) int32
	maxBytes   func(topic string) int
	store      *state.Store
	schemas    *format.Schemas
	traced     bool
	lookups    Lookups
	now        time.Time // of the transaction
	begun      bool      // the transaction has had a call
	moment     expr.Transaction
	clocked    []clocked
	clock      int64 // of windows over PROCTIME(), in microseconds; never goes back
	savedClock int64 // of it, what the state has
	seed       [32]byte
	count      uint64 // transactions begun, for the seeds of their random values
	maxFired   int
	fired      int // of maxFired, in this transaction
	ledger     *Ledger

	nodes   []node // inputs first
	sources map[string][]source
	out     *Output
	err     error

	// restoring is set while watermarks from the state are replayed: nothing fires then.
	restoring    bool
	arena        arena
	keys         []byte // of the entries that clear deletes, concatenated
	ends         []int
	deadLettered map[*kgo.Record]bool // records of this step that are already dead letters

	expiries  []*expiry
	untracked []*expiry // of operators that keep their state forever
}

// New creates a task over a restored store.
func New(c Config) (*Task, error) {
	t := &Task{
		program: c.Program, stage: c.Stage, partition: c.Partition, peers: c.Peers, sizes: c.Partitions, maxBytes: c.MaxBytes, store: c.Store, schemas: c.Schemas, traced: c.Traced, lookups: c.Lookups, maxFired: cmp.Or(c.MaxFired, defaultMaxFired), ledger: c.Ledger, seed: c.Seed,
		sources: make(map[string][]source), out: &Output{}, deadLettered: make(map[*kgo.Record]bool),
	}
	t.restoreClock()
	built := make(map[*plan.Relation]node)
	for _, r := range c.Stage.Relations {
		n, err := t.build(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Describe(), err)
		}
		built[r] = n
		t.nodes = append(t.nodes, n)
		if c, ok := n.(*windowAggregate); ok && c.op.Window.Proctime {
			t.clocked = append(t.clocked, c)
		}
		if s, ok := n.(source); ok {
			t.sources[r.Topic()] = append(t.sources[r.Topic()], s)
			continue
		}
		for i, in := range r.Inputs {
			to, err := t.placed(n, r, i)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.Describe(), err)
			}
			built[in].connect(to, i)
		}
	}
	for _, out := range c.Stage.Outputs {
		if op, ok := out.Op.(*plan.Exchange); ok {
			s := newShuffleWriter(newBase(t, out), op)
			built[out.Inputs[0]].connect(s, 0)
			t.nodes = append(t.nodes, s)
		}
	}
	t.replayWatermarks()
	return t, t.err
}

// replayWatermarks passes the watermarks stored in the state through all operators.
func (t *Task) replayWatermarks() {
	t.restoring = true
	for _, n := range t.nodes {
		if s, ok := n.(source); ok {
			s.replayWatermark()
		}
	}
	t.restoring = false
}

// begin starts the transaction, unless it has begun. Its time is fixed from then on, and all random
// values follow from a seed that no other transaction has.
func (t *Task) begin(now time.Time, out *Output) {
	t.out = out
	if t.begun {
		return
	}
	t.begun, t.now = true, now
	t.beginMoment(now)
	t.setClock(now.UnixMicro())
}

// beginMoment fixes what the volatile functions of the transaction return.
func (t *Task) beginMoment(now time.Time) {
	if len(t.program.Volatile) == 0 {
		return
	}
	t.count++
	h := sha256.New()
	h.Write(t.seed[:])
	fmt.Fprintf(h, "%s/%d/%d/%d", t.stage.Name, t.partition, now.UnixNano(), t.count)
	t.moment.Begin(now, [32]byte(h.Sum(nil)))
}

// compile compiles an expression whose volatile functions read the task's transaction.
func (t *Task) compile(e expr.Node) *expr.Compiled { return expr.MustCompile(expr.In(e, &t.moment)) }

// Step processes records of one input topic in offset order. now is the transaction's time. An
// error is a *LookupError, after which the transaction must be aborted, or it concerns the
// pipeline's own topics or state and is permanent. The same holds for the other methods.
func (t *Task) Step(topic string, records []*kgo.Record, now time.Time, out *Output) error {
	t.begin(now, out)
	clear(t.deadLettered)
	for _, s := range t.sources[topic] {
		s.consume(records)
	}
	return t.err
}

// End announces that an input topic will never have more records.
func (t *Task) End(topic string, now time.Time, out *Output) error {
	t.begin(now, out)
	for _, s := range t.sources[topic] {
		if sc, ok := s.(*scan); ok && !sc.ended() {
			sc.end()
		}
	}
	return t.err
}

// Watermarks returns the watermarks of the task's tables and its clock, by their keys in the state.
func (t *Task) Watermarks() map[string]int64 {
	watermarks := make(map[string]int64)
	for _, n := range t.nodes {
		if s, ok := n.(*scan); ok && s.watermark != minWatermark {
			watermarks[string(s.stateKey())] = s.watermark
		}
	}
	if t.clock != minWatermark {
		watermarks[string(clockKey)] = t.clock
	}
	return watermarks
}

// Advance raises the watermarks of tables to those that other tasks of the stage have reached, and
// emits what becomes due: rows before these watermarks are late from now on. moved reports whether
// any watermark or the clock has changed.
func (t *Task) Advance(watermarks map[string]int64, now time.Time, out *Output) (moved bool, err error) {
	t.begin(now, out)
	if to, known := watermarks[string(clockKey)]; known {
		t.setClock(to)
	}
	moved = t.clock != t.savedClock
	for _, n := range t.nodes {
		s, ok := n.(*scan)
		if !ok {
			continue
		}
		if to, known := watermarks[string(s.stateKey())]; known && to > s.watermark {
			moved, s.watermark = true, to
			s.forwardWatermark(to, false)
		}
	}
	return moved, t.err
}

// Idle announces that an input topic has had no record for longer than its idle timeout, so that
// others need not wait for it.
func (t *Task) Idle(topic string, now time.Time, out *Output) error {
	t.begin(now, out)
	for _, s := range t.sources[topic] {
		if sc, ok := s.(*scan); ok && !sc.idle && sc.watermarkExpr != nil {
			sc.setIdle()
		}
	}
	return t.err
}

// IsIdle reports whether an input topic is already idle, or has no watermark to wait for.
func (t *Task) IsIdle(topic string) bool {
	for _, s := range t.sources[topic] {
		if sc, ok := s.(*scan); ok && !sc.idle && sc.watermarkExpr != nil && !sc.ended() {
			return false
		}
	}
	return true
}

// defaultMaxFired keeps a transaction that emits windows below about a second.
const defaultMaxFired = 100_000

// emitter is an operator that may have more to emit than fits into one transaction.
type emitter interface {
	pending() bool
	resume()
}

// full reports whether the transaction has reached its limit. A window is always emitted as a
// whole.
func (t *Task) full() bool { return t.fired >= t.maxFired }

func (t *Task) countFired() { t.fired++ }

// Pending reports whether windows are due that further transactions must emit with Resume: one jump
// of the watermark can close any number of windows. The state records which of them have been
// emitted, so that a restored task continues from there.
func (t *Task) Pending() bool {
	return slices.ContainsFunc(t.nodes, func(n node) bool {
		e, ok := n.(emitter)
		return ok && e.pending()
	})
}

// Resume emits windows that are due. Call it in a transaction of its own: one that has reached its
// limit emits nothing.
func (t *Task) Resume(now time.Time, out *Output) error {
	t.begin(now, out)
	for _, n := range t.nodes {
		if e, ok := n.(emitter); ok {
			e.resume()
		}
	}
	return t.err
}

// Ended reports whether all inputs have ended, so that only pending windows can still be emitted.
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

// Watermark returns the event time of an input topic: the minimum over the tables that read it. It
// is unknown before the first row with a time, without WATERMARK FOR, and after the end. idle means
// that others do not wait for the topic.
func (t *Task) Watermark(topic string) (at time.Time, known, idle bool) {
	least := maxWatermark
	idle = len(t.sources[topic]) > 0
	for _, s := range t.sources[topic] {
		watermark, isIdle := s.currentWatermark()
		least, idle = min(least, watermark), idle && isIdle
	}
	if least == minWatermark || least == maxWatermark {
		return time.Time{}, false, idle
	}
	return time.UnixMicro(least).UTC(), true, idle
}

// Flow describes the output of an operator.
type Flow struct {
	Relation  int        // ID of the relation in the plan
	Rows      int64      // since the last call of Flows; records for an INSERT
	Watermark *time.Time // nil before the first watermark and after the end
	Idle      bool       // others do not wait for this operator
}

// Flows calls yield with the output of each operator since the last call or abort.
func (t *Task) Flows(yield func(Flow)) {
	for _, n := range t.nodes {
		s := n.stats()
		f := Flow{Relation: s.relation, Rows: s.rows, Idle: s.idle}
		if s.watermark != minWatermark && s.watermark != maxWatermark {
			at := time.UnixMicro(s.watermark).UTC()
			f.Watermark = &at
		}
		s.rows = 0
		yield(f)
	}
}

// FinishTransaction ends the rows of a transaction and emits those that operators held back.
func (t *Task) FinishTransaction(out *Output) error {
	t.out = out
	for _, n := range t.nodes {
		n.finishTransaction()
	}
	for _, x := range t.expiries {
		x.sweep()
	}
	for _, x := range t.untracked {
		x.untrack()
	}
	t.saveClock()
	t.fired, t.begun = 0, false
	return t.err
}

// Bytes returns the approximate memory of what the transaction has written so far, without its
// changes to the store.
func (t *Task) Bytes() int64 { return t.arena.used }

// Committed releases the memory of the transaction's records, which must no longer be used.
func (t *Task) Committed() { t.arena.reuse() }

// Rollback resets the operators to the state in the store after an abort.
func (t *Task) Rollback() {
	t.err, t.arena, t.fired, t.begun = nil, arena{}, 0, false
	t.restoreClock()
	for _, n := range t.nodes {
		n.rollback()
		n.stats().reset()
	}
	for _, x := range t.expiries {
		x.rollback()
	}
	t.replayWatermarks()
}

func (t *Task) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *Task) partitions(topic string) int32 { return t.sizes(topic) }

// deadLetter sets a record aside. A record that yields several rows, or that is read by several
// tables or INSERTs, becomes one dead letter, with the first reason.
func (t *Task) deadLetter(r *kgo.Record, reason error) {
	if r.Offset >= 0 {
		if t.deadLettered[r] {
			return
		}
		t.deadLettered[r] = true
	}
	t.out.DeadLetters = append(t.out.DeadLetters, DeadLetter{r, reason})
}

// reject sets aside a row that can't be computed. columns names the row's values.
func (t *Task) reject(r *rowBatch, i int, columns []format.Field, reason error) {
	t.rejectFor(t.stage.Inputs[0].Topic(), r, i, columns, reason)
}

// rejectFor sets aside a row that can't be computed or written: its record or, for a row computed
// from several records, a synthetic one for the given topic. A retraction is not set aside: the row
// that it retracts was rejected too.
func (t *Task) rejectFor(topic string, r *rowBatch, i int, columns []format.Field, reason error) {
	if r.kind(i).retracts() {
		return
	}
	t.deadLetter(t.sourceRecord(topic, r, i, columns), deadletter.Because(deadletter.Computation, reason))
}

// late sets aside a row that arrived after its window had closed.
func (t *Task) late(r *rowBatch, i int, rel *plan.Relation, reason error) {
	t.out.Late = append(t.out.Late, DeadLetter{t.sourceRecord(t.stage.Inputs[0].Topic(), r, i, fieldsOf(rel)), reason})
}

// fieldsOf returns the columns of a relation as fields, to name the values of its rows.
func fieldsOf(rel *plan.Relation) []format.Field {
	fields := make([]format.Field, len(rel.Cols))
	for i, c := range rel.Cols {
		fields[i] = format.Field{Name: c.Name, Type: c.Type}
	}
	return fields
}

// sourceRecord returns the record of a row, or a synthetic one with the row's values.
func (t *Task) sourceRecord(topic string, r *rowBatch, i int, columns []format.Field) *kgo.Record {
	if in := r.record(i); in != nil && in.Topic != "" {
		return in
	}
	synthetic := &kgo.Record{Topic: topic, Partition: t.partition, Offset: -1}
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
		if format.Check("json", []format.Field{field}, nil) != nil { // types without a JSON form become text
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
		synthetic.Value, err = e.Encode(nil, cols, i)
	}
	if err != nil {
		t.fail(fmt.Errorf("encode row of a dead letter: %w", err))
	}
	return synthetic
}
