package operator

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/plan"
)

// temporalJoin joins each row of its left input with the version of its right input that was valid
// at the row's time. Left rows wait in a time buffer until the watermark of both inputs has passed
// them, since an earlier version may still arrive until then. The versions entry of a key holds its
// known versions ordered by time; versions that no row can refer to any more are dropped.
type temporalJoin struct {
	base
	op      *plan.TemporalJoin
	cond    *expr.Compiled
	left    *column.Batch
	right   *column.Batch
	out     rowBatch
	merger  *watermarkMerger
	merged  reached
	buffer  timeBuffer // left rows
	waiting bool       // late rows wait for the next watermark or the end of the transaction
	key     []byte
	origin  *kgo.Record // of the left row that is being matched
}

const (
	waitingRows = 0
	versions    = 1
	numbers     = 2
)

func newTemporalJoin(b base, op *plan.TemporalJoin) (node, error) {
	j := &temporalJoin{base: b, op: op, left: batch(b.rel.Inputs[0]), right: batch(b.rel.Inputs[1]), merger: newWatermarkMerger(2)}
	j.merged = newReached(&j.base)
	j.out.Batch = &column.Batch{Cols: make([]*column.Column, len(b.rel.Cols))}
	for i := range b.rel.Cols {
		j.out.Cols[i] = newColumn(b.rel, i) // the condition may need columns that are not needed downstream
	}
	j.buffer = newTimeBuffer(b.task, b.rel.State+waitingRows, b.rel.State+numbers)
	if op.Cond != nil {
		j.cond = b.task.compile(op.Cond)
	}
	j.rollback()
	return j, nil
}

func temporalJoinEntries(op *plan.TemporalJoin) []movedEntry {
	return []movedEntry{waitingEntry(waitingRows, numbers, 0), keyedEntry(versions, 1, op.Right, nil)}
}

func (j *temporalJoin) rollback() {
	j.merger.reset()
	j.merged.rollback(&j.base)
	j.waiting = false
	j.buffer.rollback()
}

// ordered appends a time as bytes that sort in time order.
func ordered(dst []byte, us int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(us)^1<<63) //nolint:gosec // flips the sign bit to make bytes sort like numbers
}

func unordered(b []byte) int64 {
	return int64(binary.BigEndian.Uint64(b) ^ 1<<63) //nolint:gosec // inverse of ordered
}

func (j *temporalJoin) push(in int, r *rowBatch) {
	if in == 0 {
		j.wait(r)
		return
	}
	for i := range r.N {
		j.version(r, i)
	}
}

// wait buffers left rows until the watermark passes their time.
func (j *temporalJoin) wait(r *rowBatch) {
	row := masked(r.Batch, j.left)
	for i := range r.N {
		at := r.Cols[j.op.LeftTime].I[i]
		j.buffer.put(r.context(i), at, r.lane(i), appendRow(nil, &row, i))
		j.waiting = j.waiting || at <= j.merged.now
	}
}

// masked returns a batch without the columns that are nil in like.
func masked(b, like *column.Batch) column.Batch {
	m := *b
	m.Cols = slices.Clone(b.Cols)
	for i, c := range like.Cols {
		if c == nil {
			m.Cols[i] = nil
		}
	}
	return m
}

// oneVersion is a row as of a time; a deletion has no row.
type oneVersion struct {
	at  int64
	row []byte // nil: deleted
}

func decodeVersions(b []byte) ([]oneVersion, error) {
	in := &reader{b: b}
	var all []oneVersion
	for len(in.b) > 0 && in.err == nil {
		v := oneVersion{at: in.int64()}
		if in.byte() == 1 {
			v.row = in.bytes()
		}
		all = append(all, v)
	}
	return all, in.err
}

// version adds one row of the right input.
func (j *temporalJoin) version(r *rowBatch, i int) {
	store := j.task.store
	row := masked(r.Batch, j.right)
	j.key = appendKey(j.key[:0], r.Batch, j.op.Right, i)
	old, _ := store.Get(j.rel.State+versions, 0, j.key)
	all, err := decodeVersions(slices.Clone(old))
	if err != nil {
		j.task.fail(errState)
		return
	}
	v := oneVersion{at: r.Cols[j.op.RightTime].I[i]}
	if !r.kind(i).retracts() {
		v.row = appendRow([]byte{}, &row, i)
	}
	place, same := slices.BinarySearchFunc(all, v, func(a, b oneVersion) int { return cmp.Compare(a.at, b.at) })
	if same {
		all[place] = v
	} else {
		all = slices.Insert(all, place, v)
	}

	// Of the versions before the watermark, only the last one can match a waiting or later row.
	first := 0
	for first+1 < len(all) && all[first+1].at <= j.merged.now {
		first++
	}
	var value []byte
	for _, v := range all[first:] {
		value = appendInt(value, v.at)
		if v.row == nil {
			value = append(value, 0)
			continue
		}
		value = appendBytes(append(value, 1), v.row)
	}
	store.Put(j.rel.State+versions, 0, j.key, value)
}

func (j *temporalJoin) advance(in int, watermark int64, idle bool) {
	all, allIdle := j.merger.advance(in, watermark, idle)
	if all > j.merged.now || j.waiting {
		j.merged.advance(all)
		if !j.task.restoring {
			j.release()
		}
	}
	j.forwardWatermark(j.merged.now, allIdle)
}

// release joins the rows whose time the watermark has passed.
func (j *temporalJoin) release() {
	j.waiting = false
	j.buffer.release(j.merged.now, func(at int64, row []byte, origin *kgo.Record) {
		j.origin = origin
		j.match(row, at)
	})
	j.deliver()
}

// match emits a left row with the version of its time.
func (j *temporalJoin) match(left []byte, at int64) {
	clearBatch(j.left)
	in := &reader{b: left}
	in.row(j.left)
	j.key = appendKey(j.key[:0], j.left, j.op.Left, 0)
	found, _ := j.task.store.Get(j.rel.State+versions, 0, j.key)
	all, err := decodeVersions(found)
	if in.err != nil || err != nil {
		j.task.fail(errState)
		return
	}
	for _, k := range j.op.Left {
		if j.left.Cols[k].Null[0] {
			all = nil // NULL matches nothing
		}
	}
	var row []byte
	for _, v := range all {
		if v.at <= at {
			row = v.row
		}
	}
	if row != nil && !j.add(row) {
		row = nil
		j.dropLast()
	}
	if row == nil && j.op.Outer {
		j.add(nil)
	}
	if j.out.N >= batchRows {
		j.deliver()
	}
}

// add appends the left row with a version, or with NULLs, and reports whether the join condition is
// true.
func (j *temporalJoin) add(version []byte) bool {
	clearBatch(j.right)
	if version != nil {
		(&reader{b: version}).row(j.right)
	}
	n := len(j.left.Cols)
	for i, to := range j.out.Cols {
		from := (*column.Column)(nil)
		switch {
		case i < n:
			from = j.left.Cols[i]
		case version != nil:
			from = j.right.Cols[i-n]
		}
		if from == nil {
			to.AddNull()
			continue
		}
		to.AddFrom(from, 0)
	}
	j.out.N++
	if j.buffer.lineage != nil {
		j.out.records = append(j.out.records, j.origin)
	}
	if version == nil || j.cond == nil {
		return true
	}
	ok := j.cond.True(j.out.Batch, j.out.N-1)
	if j.out.Err != nil {
		j.task.reject(&j.out, j.out.N-1, fieldsOf(j.rel), j.out.Err)
		j.out.Err = nil
	}
	return ok
}

func (j *temporalJoin) dropLast() {
	j.out.N--
	for _, c := range j.out.Cols {
		c.Truncate(j.out.N)
	}
	if j.buffer.lineage != nil {
		j.out.records = j.out.records[:j.out.N]
	}
}

func (j *temporalJoin) deliver() {
	j.emit(&j.out)
	j.out.clear()
}

func (j *temporalJoin) finishTransaction() {
	if j.waiting {
		j.release()
	}
	j.buffer.finishTransaction()
	j.merged.finishTransaction(&j.base, j.merger)
}
