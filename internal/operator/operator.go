// Package operator runs one stage of a plan on one partition: it passes rows through the operators
// of the stage. It does no I/O and has no clock: equal records in equal order, with equal times of
// the transactions and equal answers of lookups, give equal results, and a task restored from its
// changelog continues as if nothing had happened.
//
//	operator.go          row batches, the node interface, the watermark merger
//	operators.go         which operator runs which relation of a plan
//	task.go              Task: a stage on one partition; transactions, watermarks of its inputs
//	dropped.go           counts of rows and values dropped by options
//	arena.go             memory of the records that a transaction writes
//	codec.go             binary encoding of rows and values, for state and repartition topics
//	scan.go              records of a table -> rows
//	placement.go         check that rows are in the partition of their key
//	move.go              moving state when partition counts change
//	shuffle.go           rows and watermarks through a repartition topic
//	project.go           filter, projection, union
//	unnest.go            one row for each element of an array or map
//	normalize.go         upserts of a table -> changes of its rows
//	window.go            assignment of rows to windows; wall clock of windows
//	accumulate.go        aggregate functions
//	collect.go           aggregate functions whose results grow with their rows
//	retract.go           aggregate functions that can retract a row
//	aggregator.go        keys and accumulators of a group, common to all aggregations
//	window_aggregate.go  aggregation in windows
//	proctime.go          the clock of windows over PROCTIME()
//	session_window.go    aggregation in session windows
//	session_distinct.go  DISTINCT aggregates in session windows
//	group_aggregate.go   aggregation without windows: groups whose row is updated
//	over.go              OVER aggregates
//	lag.go               LAG
//	time_buffer.go       rows that wait for the watermark
//	reached.go           watermarks that don't go back when a task is restored
//	progress.go          watermarks held back while rows are due
//	expiry.go            state that is dropped when it has not changed for a time
//	touched.go           what a transaction has changed
//	first_row.go         deduplication that keeps the first row
//	rank.go              deduplication that keeps the last row, and Top-N
//	updated_rank.go      Top-N over rows that are updated
//	temporal_sort.go     rows in the order of their time
//	limit.go             the first rows that arrive
//	temporal_join.go     temporal join
//	join.go              what joins of two inputs have in common: their rows in the state
//	lookup_join.go       joins with tables of databases; what answers their lookups
//	values_join.go       joins with constant rows
//	window_join.go       joins of equal windows
//	interval_join.go     joins of rows with close times
//	regular_join.go      joins of all rows of both inputs
//	materialize.go       order of a key's changes before they are written
//	insert.go            rows -> records of a table
//	lengths.go           declared lengths of strings and bytes in an INSERT
//	lineage.go           which traced records contributed to a computed row
//	variance_exact.go    VAR_* and STDDEV_* of integers and decimals
//	variance_floats.go   VAR_* and STDDEV_* of floats over updating rows
//	ledger.go            for tests: accounting of rows into and out of windows
package operator

import (
	"context"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// rowKind is the kind of change that a row describes, as Flink's RowKind.
type rowKind byte

const (
	kindInsert       rowKind = iota // +I
	kindUpdateBefore                // -U
	kindUpdateAfter                 // +U
	kindDelete                      // -D
)

func (k rowKind) String() string { return [...]string{"+I", "-U", "+U", "-D"}[k] }

// retracts reports whether the row was emitted before and no longer holds.
func (k rowKind) retracts() bool { return k == kindUpdateBefore || k == kindDelete }

// minWatermark is the watermark before the first row, maxWatermark the one after the last.
const (
	minWatermark int64 = math.MinInt64
	maxWatermark int64 = math.MaxInt64
)

// rowWatermark is the watermark of a row's own partition before that row, in microseconds. It
// decides whether the row is late, and nothing else: after a shuffle, other partitions may be far
// behind it. Windows fire by the watermark of their operator, a plain int64 passed to advance,
// which is never ahead of the rowWatermark of any later row, except where inputs were idle.
type rowWatermark int64

// lane identifies the partition of the table that a row comes from. Rows of one lane keep the order
// of that partition regardless of how partitions are polled. Rows of different lanes arrive in any
// order, which no result may depend on.
type lane int64

// rowBatch is a batch of rows with the metadata of each.
type rowBatch struct {
	*column.Batch
	kinds      []rowKind      // nil: all are kindInsert
	records    []*kgo.Record  // the record that each row came from, or one with the context of its lineage; nil if there is none
	watermarks []rowWatermark // the watermark before each row; nil: the operator's
	times      []int64        // the watermark after each row, by which state expires; nil: unknown
	lanes      []lane         // nil: all rows are of lane 0
	more       []bool         // whether the same row follows with a later window of HOP or CUMULATE; nil: none
}

// clear removes all rows and keeps the memory for reuse.
func (r *rowBatch) clear() {
	clearBatch(r.Batch)
	clear(r.records) // lets the garbage collector free the records
	r.kinds, r.records, r.watermarks, r.times = r.kinds[:0], r.records[:0], r.watermarks[:0], r.times[:0]
	r.lanes, r.more = r.lanes[:0], r.more[:0]
}

func (r *rowBatch) kind(i int) rowKind {
	if r.kinds == nil {
		return kindInsert
	}
	return r.kinds[i]
}

func (r *rowBatch) record(i int) *kgo.Record {
	if r.records == nil {
		return nil
	}
	return r.records[i]
}

// context returns the Context of the record that a row came from, nil if it is not traced.
func (r *rowBatch) context(i int) context.Context {
	if in := r.record(i); in != nil {
		return in.Context
	}
	return nil
}

// watermark returns the watermark before a row: its own, or the operator's if that is ahead, as it
// is after an idle input has resumed.
func (r *rowBatch) watermark(i int, current int64) rowWatermark {
	if r.watermarks == nil {
		return rowWatermark(current)
	}
	return max(rowWatermark(current), r.watermarks[i])
}

func (r *rowBatch) lane(i int) lane {
	if r.lanes == nil {
		return 0
	}
	return r.lanes[i]
}

// hasMore reports whether the row follows once more with a later window.
func (r *rowBatch) hasMore(i int) bool { return r.more != nil && r.more[i] }

// node is one operator of a task.
type node interface {
	// connect adds an operator that receives the rows and watermarks of this one, as its input in.
	connect(to node, in int)
	// push processes rows from input in. The caller reuses the batch afterwards.
	push(in int, r *rowBatch)
	// advance announces that no row before the watermark will follow from input in. idle means that
	// the input has had no row for so long that others need not wait for it.
	advance(in int, watermark int64, idle bool)
	// finishTransaction is called once at the end of a transaction's rows, before its output is
	// committed; held-back rows are emitted here.
	finishTransaction()
	// rollback discards in-memory state that is not in the store; called after an abort or a
	// restore.
	rollback()
	// stats returns the operator's output counters.
	stats() *opStats
}

// opStats counts what an operator has emitted downstream: the rows since the last read, and its
// watermark.
type opStats struct {
	relation  int
	rows      int64
	watermark int64
	idle      bool
}

func (t *opStats) reset() { *t = opStats{relation: t.relation, watermark: minWatermark} }

// base implements the common parts of all operators.
type base struct {
	task     *Task
	rel      *plan.Relation
	outs     []edge
	counters opStats
}

type edge struct {
	to node
	in int
}

func (b *base) push(_ int, r *rowBatch)                   { b.emit(r) }
func (b *base) advance(_ int, watermark int64, idle bool) { b.forwardWatermark(watermark, idle) }
func (b *base) finishTransaction()                        {}
func (b *base) rollback()                                 {}
func (b *base) stats() *opStats                           { return &b.counters }
func (b *base) connect(to node, in int)                   { b.outs = append(b.outs, edge{to, in}) }

func newBase(t *Task, r *plan.Relation) base {
	b := base{task: t, rel: r, counters: opStats{relation: r.ID}}
	b.counters.reset()
	return b
}

func (b *base) emit(r *rowBatch) {
	if r.N == 0 {
		return
	}
	b.counters.rows += int64(r.N)
	for _, e := range b.outs {
		e.to.push(e.in, r)
	}
}

// forwardWatermark forwards a watermark to the downstream operators. See progress for those that
// may still have rows to emit for it.
func (b *base) forwardWatermark(watermark int64, idle bool) {
	b.counters.watermark, b.counters.idle = watermark, idle
	for _, e := range b.outs {
		e.to.advance(e.in, watermark, idle)
	}
}

// batch returns a batch with the columns of a relation that are needed; the others are nil.
func batch(r *plan.Relation) *column.Batch {
	b := &column.Batch{Cols: make([]*column.Column, len(r.Cols))}
	for i, c := range r.Cols {
		if r.Needed[i] {
			b.Cols[i] = r.Part(i).NewColumn(c.Type)
		}
	}
	return b
}

// clearBatch empties a batch, some columns of which may be nil.
func clearBatch(b *column.Batch) {
	b.N, b.Err = 0, nil
	for _, c := range b.Cols {
		if c != nil {
			c.Truncate(0)
		}
	}
}

// copyRow appends a row of another batch with the same columns.
func copyRow(to, from *column.Batch, row int) {
	for i, c := range to.Cols {
		if c != nil {
			c.AddFrom(from.Cols[i], row)
		}
	}
	to.N++
}

// watermarkMerger merges the watermarks of several inputs: the result is the minimum over the
// inputs that are not idle.
type watermarkMerger struct {
	inputs []int64 // watermark of each
	idle   []bool
}

func newWatermarkMerger(inputs int) *watermarkMerger {
	p := &watermarkMerger{inputs: make([]int64, inputs), idle: make([]bool, inputs)}
	p.reset()
	return p
}

func (p *watermarkMerger) reset() {
	for i := range p.inputs {
		p.inputs[i], p.idle[i] = minWatermark, false
	}
}

// advance records the watermark of an input and returns the merged one. An input that has ended
// doesn't hold others back. While all inputs are idle, the merged watermark is the maximum that any
// of them reached.
func (p *watermarkMerger) advance(in int, watermark int64, idle bool) (all int64, allIdle bool) {
	p.inputs[in], p.idle[in] = max(p.inputs[in], watermark), idle
	all, allIdle = maxWatermark, true
	for i, m := range p.inputs {
		if !p.idle[i] || m == maxWatermark {
			all = min(all, m)
			allIdle = allIdle && m == maxWatermark && p.idle[i]
		}
	}
	if allIdle {
		all = minWatermark
		for _, m := range p.inputs {
			all = max(all, m)
		}
		return all, true
	}
	return all, false
}
