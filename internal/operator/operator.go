// Package operator computes what a plan says: the rows of one partition through the relations of
// one stage. It does no I/O and has no clock: the same records in the same order give the same
// results, and a task that is restored from its changelog goes on as if nothing had happened.
//
//	operator.go        rows, operators, how they are connected
//	task.go            Task: a stage on one partition; transactions, watermarks of its inputs
//	dropped.go         what options leave out, counted
//	arena.go           the memory of what a transaction writes
//	codec.go           rows and values as bytes, for state and repartition topics
//	scan.go            records of a table to rows
//	placement.go       whether rows lie in the partition of their key
//	move.go            where state belongs when topics have other partitions
//	exchange.go        rows and watermarks through a repartition topic
//	project.go         filter, projection, union
//	unnest.go          rows to one for each element of an array
//	window.go          rows to windows
//	accumulate.go      aggregate functions
//	aggregate.go       groups in windows
//	lag.go             LAG
//	session.go         groups in sessions
//	group.go           groups without windows: rows that are updated
//	queue.go           rows that wait for the watermark
//	retract.go         groups of rows that are updated themselves
//	first.go           deduplication that keeps the first row
//	rank.go            deduplication and Top-N
//	over.go            aggregates of the rows before
//	join.go            lookup of versions
//	insert.go          rows to records of a table
//	lengths.go         texts and bytes of a declared length, as an INSERT treats them
//	origins.go         which traced records a computed row came from
//	variance_exact.go  VAR_* and STDDEV_* of integers and decimals
//	ledger.go          for tests: rows that windows take in and give out
package operator

import (
	"context"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/plan"
)

// kind is what a row does to those before it.
type kind byte

const (
	insert kind = iota
	updateBefore
	updateAfter
	remove
)

// unknown and forever are the watermarks before the first row and after the last.
const (
	unknown int64 = math.MinInt64
	forever int64 = math.MaxInt64
)

// rowMark is the watermark that a row's own partition had before it, in microseconds. It says what
// the row is late for, and nothing else: behind an exchange other partitions may be far behind it.
// Windows fire by the watermark of their operator, an int64 that advance brings, which is never
// ahead of the rowMark of a row that is still to come, but for inputs that were idle.
type rowMark int64

// lane is where a row comes from: rows of one lane come in the order of one partition of one table,
// whatever is polled when. Rows of several lanes come in any order, so that no result may depend on
// it.
type lane int64

// rows is a batch with what operators know of each row.
type rows struct {
	*column.Batch
	kinds []kind        // nil: all are inserts
	from  []*kgo.Record // the record that each came from; nil where they were computed from several, or see origins
	marks []rowMark     // the watermark before each row; nil: that of the operator's input
	lanes []lane        // where each row comes from; nil: all from lane 0
	more  []bool        // whether a later window of the same row of HOP or CUMULATE follows as a row of its own; nil: none
}

// clear takes all rows out; what is made later reuses their room.
func (r *rows) clear() {
	clearBatch(r.Batch)
	clear(r.from) // records may go
	r.kinds, r.from, r.marks, r.lanes, r.more = r.kinds[:0], r.from[:0], r.marks[:0], r.lanes[:0], r.more[:0]
}

func (r *rows) kind(i int) kind {
	if r.kinds == nil {
		return insert
	}
	return r.kinds[i]
}

func (r *rows) record(i int) *kgo.Record {
	if r.from == nil {
		return nil
	}
	return r.from[i]
}

// context is the Context of the record that a row came from; nil where that is not traced.
func (r *rows) context(i int) context.Context {
	if in := r.record(i); in != nil {
		return in.Context
	}
	return nil
}

// mark is the watermark before a row: its own, or that of the operator where this is ahead, after
// an idle input has come back.
func (r *rows) mark(i int, current int64) rowMark {
	if r.marks == nil {
		return rowMark(current)
	}
	return max(rowMark(current), r.marks[i])
}

func (r *rows) lane(i int) lane {
	if r.lanes == nil {
		return 0
	}
	return r.lanes[i]
}

// again reports whether a row comes once more, with a later window.
func (r *rows) again(i int) bool { return r.more != nil && r.more[i] }

// node is one operator of a task.
type node interface {
	// push takes rows from input in. They are the caller's again when it returns.
	push(in int, r *rows)
	// advance says that no row before the watermark will come from input in. idle says that the
	// input has had none for so long that others need not wait for it.
	advance(in int, watermark int64, idle bool)
	// flush ends the transaction's rows: what was held back comes out.
	flush()
	// reset forgets what memory holds beside the state, after an abort or a restore.
	reset()
	// says is what has come out of it.
	says() *told
}

// told is what an operator has told those before it: rows since it was last asked, and its
// watermark.
type told struct {
	relation  int
	rows      int64
	watermark int64
	idle      bool
}

func (t *told) forget() { *t = told{relation: t.relation, watermark: unknown} }

// base is what operators have in common.
type base struct {
	task *Task
	rel  *plan.Relation
	outs []edge
	said told
}

type edge struct {
	to node
	in int
}

func (b *base) push(_ int, r *rows)                       { b.emit(r) }
func (b *base) advance(_ int, watermark int64, idle bool) { b.pass(watermark, idle) }
func (b *base) flush()                                    {}
func (b *base) reset()                                    {}
func (b *base) says() *told                               { return &b.said }
func (b *base) connect(to node, in int)                   { b.outs = append(b.outs, edge{to, in}) }

func newBase(t *Task, r *plan.Relation) base {
	b := base{task: t, rel: r, said: told{relation: r.ID}}
	b.said.forget()
	return b
}

func (b *base) emit(r *rows) {
	if r.N == 0 {
		return
	}
	b.said.rows += int64(r.N)
	for _, e := range b.outs {
		e.to.push(e.in, r)
	}
}

func (b *base) pass(watermark int64, idle bool) {
	b.said.watermark, b.said.idle = watermark, idle
	for _, e := range b.outs {
		e.to.advance(e.in, watermark, idle)
	}
}

// batch makes the columns of a relation that somebody reads; the others are nil.
func batch(r *plan.Relation) *column.Batch {
	b := &column.Batch{Cols: make([]*column.Column, len(r.Cols))}
	for i, c := range r.Cols {
		if r.Needed[i] {
			b.Cols[i] = &column.Column{Type: c.Type}
		}
	}
	return b
}

// clearBatch empties a batch that has columns left out.
func clearBatch(b *column.Batch) {
	b.N, b.Err = 0, nil
	for _, c := range b.Cols {
		if c != nil {
			c.Truncate(0)
		}
	}
}

// copyRow appends a row of another batch of the same columns.
func copyRow(to, from *column.Batch, row int) {
	for i, c := range to.Cols {
		if c != nil {
			c.AddFrom(from.Cols[i], row)
		}
	}
	to.N++
}

// progress is the watermark over several inputs: the least of those that are not idle.
type progress struct {
	marks []int64
	idle  []bool
}

func newProgress(inputs int) *progress {
	p := &progress{marks: make([]int64, inputs), idle: make([]bool, inputs)}
	p.reset()
	return p
}

func (p *progress) reset() {
	for i := range p.marks {
		p.marks[i], p.idle[i] = unknown, false
	}
}

// advance notes what an input says and returns the watermark of all. An input that has ended
// doesn't hold others back, and while all are idle the watermark stays.
func (p *progress) advance(in int, watermark int64, idle bool) (all int64, allIdle bool) {
	p.marks[in], p.idle[in] = max(p.marks[in], watermark), idle
	all, allIdle = forever, true
	for i, m := range p.marks {
		if !p.idle[i] || m == forever {
			all = min(all, m)
			allIdle = allIdle && m == forever && p.idle[i]
		}
	}
	if allIdle {
		all = unknown
		for _, m := range p.marks {
			all = max(all, m)
		}
		return all, true
	}
	return all, false
}

// build makes the operator of a relation.
func (t *Task) build(r *plan.Relation) (node, error) {
	b := newBase(t, r)
	switch op := r.Op.(type) {
	case *plan.Scan:
		return newScan(b, op)
	case *plan.Filter:
		return &filter{base: b, cond: expr.MustCompile(op.Cond), out: rows{Batch: batch(r)}}, nil
	case *plan.Project:
		return newProject(b, op), nil
	case *plan.Window:
		return newWindow(b, op), nil
	case *plan.Aggregate:
		switch {
		case op.Window == nil:
			return newGroup(b, op), nil
		case op.Window.Kind == plan.Session && op.Window.Sliced:
			return newSession(b, op), nil
		}
		return newAggregate(b, op), nil
	case *plan.Rank:
		if op.First {
			return newFirst(b, op), nil
		}
		return newRank(b, op), nil
	case *plan.Over:
		return newOver(b, op), nil
	case *plan.TemporalJoin:
		return newJoin(b, op), nil
	case *plan.Unnest:
		return newUnnest(b, op), nil
	case *plan.Union:
		return &union{base: b, progress: newProgress(len(r.Inputs))}, nil
	case *plan.Exchange:
		return newReceiver(b, op), nil
	case *plan.Insert:
		return newWriter(b, op)
	}
	return nil, fmt.Errorf("no operator for %T", r.Op)
}
