package operator

import (
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/plan"
)

// filter passes the rows for which a condition is true.
type filter struct {
	base
	cond   *expr.Compiled
	marked bool // cond reads the watermark of its row
	out    rowBatch
}

func newFilter(b base, op *plan.Filter) (node, error) {
	return &filter{base: b, cond: b.task.compile(op.Cond), marked: expr.Watermarked(op.Cond), out: rowBatch{Batch: batch(b.rel)}}, nil
}

func (f *filter) push(_ int, r *rowBatch) {
	f.out.clear()
	for i := range r.N {
		if f.marked {
			f.task.moment.Watermark = int64(r.watermark(i, minWatermark))
		}
		ok := f.cond.True(r.Batch, i)
		if r.Err != nil {
			f.task.reject(r, i, fieldsOf(f.rel.Inputs[0]), r.Err)
			r.Err = nil
			continue
		}
		if ok {
			f.out.add(r, i)
		}
	}
	f.emit(&f.out)
}

// add copies a row with its metadata.
func (r *rowBatch) add(from *rowBatch, i int) {
	copyRow(r.Batch, from.Batch, i)
	r.note(from, i)
}

// note copies the metadata of a row. A slice that is nil for one row of a batch is nil for all.
func (r *rowBatch) note(from *rowBatch, i int) {
	r.kinds, r.records, r.watermarks = with(r.kinds, from.kinds, i), with(r.records, from.records, i), with(r.watermarks, from.watermarks, i)
	r.times, r.lanes, r.more = with(r.times, from.times, i), with(r.lanes, from.lanes, i), with(r.more, from.more, i)
}

// know replaces the metadata of all rows with that of another batch, whose columns this one
// replaces.
func (r *rowBatch) know(from *rowBatch) {
	r.N, r.kinds, r.records, r.watermarks, r.times = from.N, from.kinds, from.records, from.watermarks, from.times
	r.lanes, r.more = from.lanes, from.more
}

func with[T any](to, from []T, i int) []T {
	if from == nil {
		return nil
	}
	return append(to, from[i])
}

// project computes columns. Columns that are passed through are shared with the input.
type project struct {
	base
	plain    []int // column of the input, or -1
	computed []*expr.Compiled
	own      *column.Batch
	out      rowBatch
	bad      []bool
	marked   bool // an expression reads the watermark of its row
}

func newProject(b base, op *plan.Project) (node, error) {
	p := &project{base: b, own: batch(b.rel), computed: make([]*expr.Compiled, len(op.Exprs)), plain: make([]int, len(op.Exprs))}
	for i, e := range op.Exprs {
		p.plain[i] = -1
		if c, ok := e.(*expr.Col); ok {
			p.plain[i] = c.Index
		} else if b.rel.Needed[i] {
			p.computed[i], p.marked = b.task.compile(e), p.marked || expr.Watermarked(e)
		}
	}
	p.out.Batch = &column.Batch{Cols: make([]*column.Column, len(op.Exprs))}
	return p, nil
}

func (p *project) push(_ int, r *rowBatch) {
	clearBatch(p.own)
	failed := false
	p.bad = p.bad[:0]
	for range r.N {
		p.bad = append(p.bad, false)
	}
	for i, c := range p.own.Cols {
		switch {
		case c == nil:
		case p.plain[i] >= 0:
			p.out.Cols[i] = r.Cols[p.plain[i]]
		default:
			p.out.Cols[i] = c
			for row := range r.N {
				if p.marked {
					p.task.moment.Watermark = int64(r.watermark(row, minWatermark))
				}
				p.computed[i].Into(c, r.Batch, row)
				if r.Err != nil {
					if !p.bad[row] {
						p.task.reject(r, row, fieldsOf(p.rel.Inputs[0]), r.Err)
					}
					p.bad[row], failed, r.Err = true, true, nil
				}
			}
		}
	}
	p.out.know(r)
	if !failed {
		p.emit(&p.out)
		return
	}
	good := rowBatch{Batch: batch(p.rel)}
	for row := range r.N {
		if !p.bad[row] {
			good.add(&p.out, row)
		}
	}
	p.emit(&good)
}

// union passes the rows of all inputs. Each row keeps its own watermark, and each input has its own
// lanes.
type union struct {
	base
	merger *watermarkMerger
	merged reached
	lanes  []lane
}

func newUnion(b base, op *plan.Union) (node, error) {
	u := &union{base: b, merger: newWatermarkMerger(len(b.rel.Inputs)), merged: reached{key: []byte(op.StateKey(b.rel)), always: b.rel.OfPattern()}}
	u.rollback()
	return u, nil
}

func (u *union) advance(in int, watermark int64, idle bool) {
	all, allIdle := u.merger.advance(in, watermark, idle)
	u.forwardWatermark(u.merged.advance(all), allIdle)
}

func (u *union) finishTransaction() { u.merged.finishTransaction(&u.base, u.merger) }

func (u *union) push(in int, r *rowBatch) {
	inputs := len(u.merger.inputs)
	if inputs == 1 {
		u.emit(r)
		return
	}
	out := *r
	u.lanes = u.lanes[:0]
	for i := range r.N {
		u.lanes = append(u.lanes, r.lane(i)*lane(inputs)+lane(in))
	}
	out.lanes = u.lanes
	u.emit(&out)
}

func (u *union) rollback() {
	u.merger.reset()
	u.merged.rollback(&u.base)
}
