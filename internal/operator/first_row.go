package operator

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// firstRow passes the first row of each key by time: deduplication whose result is never updated. A
// row waits until the watermark has passed its time, since an earlier row may still arrive until
// then. In the order of arrival, none waits. A state entry for a key means that its row has been
// emitted.
type firstRow struct {
	base
	op     *plan.Rank
	buffer timeBuffer
	in     *column.Batch // a waiting row
	out    rowBatch
	direct bool // rows come from one table of this stage in order, so the watermark before each row may fire
	now    int64
	key    []byte
	expiry *expiry // of the keys whose row has been emitted, by the time of the row
}

func newFirstRow(b base, op *plan.Rank) *firstRow {
	in := b.rel.Inputs[0]
	f := &firstRow{base: b, op: op, in: batch(in), out: rowBatch{Batch: batch(b.rel), watermarks: []rowWatermark{}}, direct: direct(in), buffer: newTimeBuffer(b.task, b.rel.State+1, b.rel.State+numbers)}
	f.expiry = newExpiry(&f.base, f.rel.TTL[0], stampsOf, groups, f)
	f.rollback()
	return f
}

// drop implements expiring.
func (f *firstRow) drop(key []byte) { f.task.store.Delete(f.rel.State+groups, 0, key) }

// eachKey implements expiring.
func (f *firstRow) eachKey(from []byte, fn func(key []byte) bool) {
	eachEntry(f.task.store, f.rel.State+groups, from, fn)
}

// emitted reports whether a row of the key f.key has been emitted and not expired at a later row's
// time.
func (f *firstRow) emitted(at int64) bool {
	_, out := f.task.store.Get(f.rel.State+groups, 0, f.key)
	return out && !f.expiry.expired(f.key, at)
}

func (f *firstRow) rollback() {
	f.now = minWatermark
	f.out.clear()
	f.buffer.rollback()
}

func (f *firstRow) push(_ int, r *rowBatch) {
	if f.op.Arrival != plan.NoArrival {
		f.pass(r)
		return
	}
	row := masked(r.Batch, f.in)
	for i := range r.N {
		watermark := r.watermark(i, f.now)
		if f.direct {
			f.fire(int64(watermark))
		}
		f.key = appendKey(f.key[:0], r.Batch, f.op.Partition, i)
		at := r.Cols[f.op.Order[0].Column].I[i]
		out := f.emitted(at)
		if out && f.direct {
			continue // late or not, it isn't the first
		}
		if at < int64(watermark) { // at the watermark itself it may still be the first, as in Flink
			f.task.late(r, i, f.rel.Inputs[0], errTooLate(at, int64(watermark)))
			continue
		}
		if out { // checked after lateness: otherwise the result would depend on which partition was read first
			continue
		}
		f.buffer.put(r.context(i), at, r.lane(i), appendRow(nil, &row, i))
	}
}

// pass emits the rows that arrive first.
func (f *firstRow) pass(r *rowBatch) {
	f.out.watermarks = nil // as note leaves it without those of rows
	for i := range r.N {
		f.key = appendKey(f.key[:0], r.Batch, f.op.Partition, i)
		at := f.expiry.at(r, i)
		if f.emitted(at) {
			continue
		}
		f.task.store.Put(f.rel.State+groups, 0, f.key, []byte{1})
		f.expiry.touch(f.key, at)
		f.row(r.Batch, i)
		f.out.note(r, i)
	}
	f.deliver()
}

func (f *firstRow) advance(_ int, watermark int64, idle bool) {
	if f.task.restoring {
		f.now = max(f.now, watermark)
	}
	f.fire(watermark)
	f.expiry.advance(watermark)
	f.forwardWatermark(watermark, idle)
}

// fire emits the rows whose time a watermark has passed, with the previous watermark.
func (f *firstRow) fire(watermark int64) {
	if watermark <= f.now {
		return
	}
	before := f.now
	f.now = watermark
	f.buffer.release(watermark, func(at int64, row []byte, origin *kgo.Record) {
		clearBatch(f.in)
		in := &reader{b: row}
		if in.row(f.in); in.err != nil {
			f.task.fail(errState)
			return
		}
		f.key = appendKey(f.key[:0], f.in, f.op.Partition, 0)
		if !f.emitted(at) {
			f.task.store.Put(f.rel.State+groups, 0, f.key, []byte{1})
			f.expiry.touch(f.key, at)
			f.add(before, origin)
		}
	})
	f.deliver()
}

// row appends the columns of a row to the output; the last one, its row number, is 1.
func (f *firstRow) row(from *column.Batch, i int) {
	last := len(f.out.Cols) - 1
	for c, to := range f.out.Cols {
		switch {
		case to == nil:
		case c == last:
			to.AddInt(1)
		default:
			to.AddFrom(from.Cols[c], i)
		}
	}
	f.out.N++
}

// add appends the row of f.in to the output.
func (f *firstRow) add(watermark int64, origin *kgo.Record) {
	f.row(f.in, 0)
	f.out.watermarks = append(f.out.watermarks, rowWatermark(watermark))
	if f.buffer.lineage != nil {
		f.out.records = append(f.out.records, origin)
	}
	if f.out.N == batchRows {
		f.deliver()
	}
}

func (f *firstRow) deliver() {
	f.emit(&f.out)
	f.out.clear()
}

func (f *firstRow) finishTransaction() { f.buffer.finishTransaction() }
