package operator

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// first passes the first row of each key in the order of time: deduplication whose rows are never
// updated. A row waits until the watermark has passed its time, since until then an earlier one can
// still come. An entry of a key says that its row is out.
type first struct {
	base
	op     *plan.Rank
	queue  queue
	in     *column.Batch // a waiting row
	out    rows
	direct bool // rows come from one table of this stage, in its order, so that the watermark before each may fire
	now    int64
	key    []byte
}

func newFirst(b base, op *plan.Rank) *first {
	in := b.rel.Inputs[0]
	f := &first{base: b, op: op, in: batch(in), out: rows{Batch: batch(b.rel), marks: []rowMark{}}, direct: direct(in), queue: newQueue(b.task, b.rel.State+1, b.rel.State+numbers)}
	f.reset()
	return f
}

func (f *first) reset() {
	f.now = unknown
	f.out.clear()
	f.queue.reset()
}

func (f *first) push(_ int, r *rows) {
	row := masked(r.Batch, f.in)
	for i := range r.N {
		mark := r.mark(i, f.now)
		if f.direct {
			f.fire(int64(mark))
		}
		f.key = appendKey(f.key[:0], r.Batch, f.op.Partition, i)
		_, out := f.task.store.Get(f.rel.State+groups, 0, f.key)
		if out && f.direct {
			continue // late or not, it isn't the first
		}
		at := r.Cols[f.op.Order[0].Column].I[i]
		if at < int64(mark) { // at the watermark itself it may still be the first, as in Flink
			f.task.late(r, i, f.rel.Inputs[0], errTooLate(at, int64(mark)))
			continue
		}
		if out { // whether a late row finds it so depends on which partition was read first
			continue
		}
		f.queue.put(r.context(i), at, r.lane(i), appendRow(nil, &row, i))
	}
}

func (f *first) advance(_ int, watermark int64, idle bool) {
	if f.task.restoring {
		f.now = max(f.now, watermark)
	}
	f.fire(watermark)
	f.pass(watermark, idle)
}

// fire passes the rows whose time a watermark has passed, with the watermark before it.
func (f *first) fire(watermark int64) {
	if watermark <= f.now {
		return
	}
	before := f.now
	f.now = watermark
	f.queue.release(watermark, func(_ int64, row []byte, origin *kgo.Record) {
		clearBatch(f.in)
		in := &reader{b: row}
		if in.row(f.in); in.err != nil {
			f.task.fail(errState)
			return
		}
		f.key = appendKey(f.key[:0], f.in, f.op.Partition, 0)
		if _, out := f.task.store.Get(f.rel.State+groups, 0, f.key); !out {
			f.task.store.Put(f.rel.State+groups, 0, f.key, []byte{1})
			f.add(before, origin)
		}
	})
	f.deliver()
}

// add appends the row of f.in to the output; its number, the last column, is 1.
func (f *first) add(mark int64, origin *kgo.Record) {
	last := len(f.out.Cols) - 1
	for c, to := range f.out.Cols {
		switch {
		case to == nil:
		case c == last:
			to.AddInt(1)
		default:
			to.AddFrom(f.in.Cols[c], 0)
		}
	}
	f.out.N++
	f.out.marks = append(f.out.marks, rowMark(mark))
	if f.queue.origins != nil {
		f.out.from = append(f.out.from, origin)
	}
	if f.out.N == batchRows {
		f.deliver()
	}
}

func (f *first) deliver() {
	f.emit(&f.out)
	f.out.clear()
}

func (f *first) flush() { f.queue.flush() }
