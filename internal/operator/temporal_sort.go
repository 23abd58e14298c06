package operator

import (
	"bytes"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// temporalSort emits rows in the order of their time, and of further columns, once the watermark
// has passed them. An entry of its state is a waiting row, under the second of its time. The key
// sorts like the rows: the columns, then the row's lane, since the order in which lanes are read
// must not matter, and a number. A row is deleted when it is emitted, so that the state itself says
// which rows are due.
type temporalSort struct {
	base
	op     *plan.TemporalSort
	buffer timeBuffer // numbers the rows, and links them to their records
	in     *column.Batch
	out    rowBatch
	now    int64
	idle   bool
	done   progress
	key    []byte
}

func newTemporalSort(b base, op *plan.TemporalSort) (node, error) {
	s := &temporalSort{base: b, op: op, in: batch(b.rel.Inputs[0]), out: rowBatch{Batch: batch(b.rel)}, buffer: newTimeBuffer(b.task, b.rel.State, b.rel.State+numbers)}
	s.rollback()
	return s, nil
}

func temporalSortEntries(*plan.TemporalSort) []movedEntry {
	return []movedEntry{keyedEntry(0, 0, nil, nil)}
}

func (s *temporalSort) rollback() {
	s.now, s.idle = minWatermark, false
	s.done.rollback(&s.base)
	s.out.clear()
	s.buffer.rollback()
}

func (s *temporalSort) push(_ int, r *rowBatch) {
	row := masked(r.Batch, s.in)
	for i := range r.N {
		at := r.Cols[s.op.Order[0].Column].I[i]
		if watermark := r.watermark(i, s.now); at <= int64(watermark) {
			if !r.hasMore(i) {
				s.task.late(r, i, s.rel.Inputs[0], errTooLate(at, int64(watermark)))
			}
			continue
		}
		s.key = ordered(s.key[:0], at)
		for _, by := range s.op.Order[1:] {
			s.key = appendSorted(s.key, r.Cols[by.Column], i, by.Desc, by.NullsLast)
		}
		s.buffer.add(r.context(i), at, s.key, r.lane(i), appendRow(nil, &row, i))
	}
}

func (s *temporalSort) advance(_ int, watermark int64, idle bool) {
	s.now, s.idle = max(s.now, watermark), idle
	if !s.task.restoring {
		s.fire()
	}
	s.done.forward(&s.base, s.pending(), s.now, s.idle)
}

// pending reports whether the watermark has passed the first waiting row.
func (s *temporalSort) pending() (due bool) {
	bucket, ok := s.task.store.FirstWindow(s.buffer.rows)
	if !ok || bucket > s.now {
		return false
	}
	s.task.store.Scan(s.buffer.rows, bucket, func(key, _ []byte) bool {
		due = unordered(key) <= s.now
		return false
	})
	return due
}

func (s *temporalSort) resume() {
	if s.pending() {
		s.fire()
		s.done.forward(&s.base, s.pending(), s.now, s.idle)
	}
}

// fire emits the rows that are due, up to the transaction's limit. It copies a page of them at a
// time: the state must not change during a scan.
func (s *temporalSort) fire() {
	type entry struct{ key, row []byte }
	page := make([]entry, 0, 8)
	for !s.task.full() {
		bucket, ok := s.task.store.FirstWindow(s.buffer.rows)
		if !ok || bucket > s.now {
			break
		}
		page = page[:0]
		s.task.store.Scan(s.buffer.rows, bucket, func(key, value []byte) bool {
			if unordered(key) > s.now {
				return false
			}
			page = append(page, entry{bytes.Clone(key), bytes.Clone(value)})
			return len(page) < pageRows
		})
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			s.row(e.key, e.row)
			s.task.store.Delete(s.buffer.rows, bucket, e.key)
			s.task.countFired()
		}
	}
	s.deliver()
}

// row appends a waiting row to the output.
func (s *temporalSort) row(key, row []byte) {
	clearBatch(s.in)
	in := &reader{b: row}
	if in.row(s.in); in.err != nil {
		s.task.fail(errState)
		return
	}
	copyRow(s.out.Batch, s.in, 0)
	if s.buffer.lineage != nil {
		s.out.records = append(s.out.records, s.buffer.origin(unordered(key), key))
	}
	if s.out.N >= batchRows {
		s.deliver()
	}
}

func (s *temporalSort) deliver() {
	s.emit(&s.out)
	s.out.clear()
}

func (s *temporalSort) finishTransaction() {
	s.buffer.finishTransaction()
	s.done.finishTransaction(&s.base, s.pending())
}
