package operator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// over computes functions over each row and the preceding rows, in time order. Rows wait until the
// watermark has passed their time, since an earlier row may still arrive until then. In the order
// of arrival, none waits, except that a RANGE of time includes all rows of the transaction. The
// state entry of a key is its history; for a bounded frame, the arguments of its rows are stored as
// well, and the functions are computed from them for each row.
type over struct {
	base
	aggregator // of the functions
	op         *plan.Over
	buffer     timeBuffer
	in         *column.Batch // a waiting row
	frame      *column.Batch // the arguments of an earlier row
	out        rowBatch
	direct     bool // rows come from one table of this stage in order, so the watermark before each row may fire
	now        int64
	width      int // columns of the input
	same       []waitingRow
	held       *heldWatermark // of the transaction whose rows are in same, in the order of arrival
	name       []byte         // buffer for the name of an entry
}

// waitingRow is a row whose time the watermark has passed, with its key.
type waitingRow struct {
	row, key  []byte
	origin    *kgo.Record
	watermark int64 // to emit it with
	lane      lane
}

// heldWatermark is a watermark that must not overtake the rows before it.
type heldWatermark struct {
	at   int64
	idle bool
}

// history is the entry of a key: the time of its last row, which rows of its frame are stored, and
// the accumulators of an unbounded frame.
type history struct {
	last       int64
	head, tail int64 // numbers of the first stored row and of the next one
	value      []byte
}

const (
	histories = 1
	frameRows = 3 // rows of frames, or values of DISTINCT
)

func newOver(b base, op *plan.Over) (node, error) {
	in := b.rel.Inputs[0]
	o := &over{base: b, op: op, in: batch(in), frame: &column.Batch{Cols: make([]*column.Column, len(in.Cols))}, out: rowBatch{Batch: batch(b.rel), watermarks: []rowWatermark{}}, width: len(in.Cols), direct: direct(in), buffer: newTimeBuffer(b.task, b.rel.State, b.rel.State+numbers)}
	o.aggs = op.Aggs
	for _, a := range op.Aggs {
		t := column.Type{}
		if a.Arg >= 0 {
			t = in.Cols[a.Arg].Type
			o.frame.Cols[a.Arg] = newColumn(in, a.Arg)
		}
		for _, c := range a.Others {
			o.frame.Cols[c] = newColumn(in, c)
		}
		if a.Filter >= 0 {
			o.frame.Cols[a.Filter] = newColumn(in, a.Filter)
		}
		k := collects(a, in)
		o.collectors, o.collecting = append(o.collectors, k), o.collecting || k != nil
		switch {
		case k != nil:
			o.accs = append(o.accs, k)
		case a.Name == "LAG":
			o.accs = append(o.accs, lag{t, a.Back, a.Default})
		default:
			o.accs = append(o.accs, newAccumulator(a, t))
		}
	}
	o.rollback()
	return o, nil
}

func overEntries(op *plan.Over) []movedEntry {
	skip := skipDistinct
	if !op.Frame.Unbounded {
		skip = func(r *reader) { r.count() }
	}
	return []movedEntry{waitingEntry(0, numbers, 0), keyedEntry(histories, 0, op.Partition, nil), keyedEntry(frameRows, 0, op.Partition, skip)}
}

// direct reports whether rows come from one table without a shuffle. After a shuffle or a union, a
// row's watermark is that of its own partition and table, and others may still have earlier rows.
func direct(r *plan.Relation) bool {
	if _, exchange := r.Op.(*plan.Exchange); exchange || len(r.Inputs) > 1 {
		return false
	}
	for _, in := range r.Inputs {
		if !direct(in) {
			return false
		}
	}
	return true
}

func (o *over) rollback() {
	o.now, o.same, o.held = minWatermark, nil, nil
	o.out.clear()
	o.buffer.rollback()
}

func (o *over) push(_ int, r *rowBatch) {
	if o.op.Arrival {
		o.arrive(r)
		return
	}
	row := masked(r.Batch, o.in)
	for i := range r.N {
		watermark := r.watermark(i, o.now)
		if o.direct {
			o.fire(int64(watermark))
		}
		at := r.Cols[o.op.Time].I[i]
		if done, late := o.late(r, i, at, watermark); late {
			o.task.late(r, i, o.rel.Inputs[0], errTooLate(at, done))
			continue
		}
		o.buffer.put(r.context(i), at, r.lane(i), appendRow(nil, &row, i))
	}
}

// arrive adds rows in the order of arrival, and emits them unless others of the transaction belong
// to their frames.
func (o *over) arrive(r *rowBatch) {
	row := masked(r.Batch, o.in)
	for i := range r.N {
		clearBatch(o.in)
		copyRow(o.in, &row, i)
		key := appendKey(nil, o.in, o.op.Partition, 0)
		at := o.task.now.UnixMicro()
		if h, known := o.history(key); known {
			at = max(at, h.last) // the clock may have gone back
		}
		o.remember(key, at)
		w := waitingRow{key: key, origin: r.record(i), watermark: int64(r.watermark(i, o.now)), lane: r.lane(i)}
		if o.peers() {
			w.row = appendRow(nil, o.in, 0)
			o.same = append(o.same, w)
			continue
		}
		o.result(&w)
	}
	o.deliver()
}

// peers reports whether, in the order of arrival, a frame includes all rows of the transaction.
func (o *over) peers() bool { return o.op.Arrival && !o.op.Frame.Rows && !o.op.Frame.Unbounded }

// late reports whether a row is late, and up to which time rows have been computed. An unbounded
// frame compares the row with its watermark, as in Flink, and a bounded one with the last row of
// its key. If rows come from several partitions, a bounded frame uses the watermark as well: which
// rows of other partitions have been computed depends on which partition was read first.
func (o *over) late(r *rowBatch, i int, at int64, watermark rowWatermark) (done int64, late bool) {
	if o.op.Frame.Unbounded || !o.direct {
		return int64(watermark), at <= int64(watermark)
	}
	o.key = appendKey(o.key[:0], r.Batch, o.op.Partition, i)
	h, known := o.history(o.key)
	return h.last, known && at <= h.last
}

func errTooLate(at, done int64) error {
	text := func(us int64) string { return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000Z") }
	return fmt.Errorf("the row's time is %s, and rows up to %s have been computed", text(at), text(done))
}

func (o *over) advance(_ int, watermark int64, idle bool) {
	if o.task.restoring || o.op.Arrival {
		o.now = max(o.now, watermark)
	}
	if len(o.same) > 0 && o.op.Arrival {
		o.held = &heldWatermark{watermark, idle}
		return
	}
	o.fire(watermark)
	o.forwardWatermark(watermark, idle)
}

// fire computes the rows whose time a watermark has passed. They are emitted with the previous
// watermark.
func (o *over) fire(watermark int64) {
	if watermark <= o.now {
		return
	}
	before := o.now
	o.now = watermark
	last := minWatermark
	o.buffer.release(watermark, func(at int64, row []byte, origin *kgo.Record) {
		if at != last || o.op.Frame.Rows {
			o.compute()
		}
		last = at
		clearBatch(o.in)
		in := read(&o.aggregator.in, row)
		in.row(o.in)
		if in.err != nil {
			o.task.fail(errState)
			return
		}
		key := appendKey(nil, o.in, o.op.Partition, 0)
		o.remember(key, at)
		o.same = append(o.same, waitingRow{row: row, key: key, origin: origin, watermark: before})
	})
	o.compute()
	o.deliver()
}

// remember adds the row of o.in to the history of its key.
func (o *over) remember(key []byte, at int64) {
	h, _ := o.history(key)
	h.last = at
	if o.op.Frame.Unbounded {
		o.key = append(o.key[:0], key...)
		if o.collecting {
			o.where = o.elements(key)
		}
		h.value = o.accumulate(nil, h.value, o.in, 0, 0, func(agg int) bool {
			k := o.distinctKey(o.in, 0, agg)
			_, seen := o.task.store.Get(o.rel.State+frameRows, 0, k)
			if !seen {
				o.task.store.Put(o.rel.State+frameRows, 0, k, []byte{1})
			}
			return !seen
		})
	} else {
		args := masked(o.in, o.frame)
		o.task.store.Put(o.rel.State+frameRows, 0, o.rowName(key, h.tail), appendRow(appendInt(nil, at), &args, 0))
		h.tail++
		o.dropExpired(key, &h, at)
	}
	o.save(key, h)
}

// dropExpired deletes the rows that are outside the frames of all later rows.
func (o *over) dropExpired(key []byte, h *history, at int64) {
	for ; h.head < h.tail-1; h.head++ {
		name := o.rowName(key, h.head)
		if o.op.Frame.Rows {
			if h.tail-1-h.head <= o.op.Frame.Preceding {
				return
			}
		} else if row, _ := o.task.store.Get(o.rel.State+frameRows, 0, name); (&reader{b: row}).int64() >= at-o.op.Frame.Preceding {
			return
		}
		o.task.store.Delete(o.rel.State+frameRows, 0, name)
	}
}

// elements returns where the values that functions collect of a key are, if the frame is unbounded.
func (o *over) elements(key []byte) valuePlace {
	return elementsOf(o.task.store, o.rel.State+frameRows, 0, key)
}

func (o *over) rowName(key []byte, seq int64) []byte {
	o.name = appendBytes(o.name[:0], key)
	o.name = binary.BigEndian.AppendUint64(o.name, uint64(seq)) //nolint:gosec // not negative
	return o.name
}

func (o *over) history(key []byte) (h history, known bool) {
	v, known := o.task.store.Get(o.rel.State+histories, 0, key)
	if !known {
		return history{}, false
	}
	in := reader{b: v}
	h = history{last: in.int64(), head: in.varint(), tail: in.varint()}
	if in.err != nil {
		o.task.fail(errState)
	}
	h.value = append(h.value, in.b...)
	return h, true
}

func (o *over) save(key []byte, h history) {
	v := binary.AppendVarint(binary.AppendVarint(appendInt(nil, h.last), h.head), h.tail)
	o.task.store.Put(o.rel.State+histories, 0, key, append(v, h.value...))
}

// compute emits the rows of one time, which are already in the histories of their keys.
func (o *over) compute() {
	for i := range o.same {
		clearBatch(o.in)
		read(&o.aggregator.in, o.same[i].row).row(o.in)
		o.result(&o.same[i])
	}
	clear(o.same)
	o.same = o.same[:0]
}

// result appends the row of o.in to the output, with the functions of its key's history.
func (o *over) result(w *waitingRow) {
	for c, to := range o.out.Cols[:o.width] {
		if to != nil {
			to.AddFrom(o.in.Cols[c], 0)
		}
	}
	h, _ := o.history(w.key)
	if o.collecting {
		o.from = append(o.from[:0], o.elements(w.key))
	}
	if !o.op.Frame.Unbounded {
		h.value = o.fold(w.key, h)
	}
	in := read(&o.aggregator.in, h.value)
	for i, acc := range o.accs {
		if k := o.collectors[i]; k != nil {
			k.read(in)
			if err := k.collected(o.from, i, o.column(i)); err != nil {
				o.task.fail(errState)
			}
			continue
		}
		acc.result(in, o.column(i))
	}
	if in.err != nil {
		o.task.fail(errState)
	}
	o.emitted(w)
}

func (o *over) emitted(w *waitingRow) {
	o.out.N++
	if o.op.Arrival || o.buffer.lineage != nil {
		o.out.records = append(o.out.records, w.origin)
	}
	o.out.watermarks = append(o.out.watermarks, rowWatermark(w.watermark))
	if o.op.Arrival {
		o.out.lanes = append(o.out.lanes, w.lane)
	}
	if o.out.N == batchRows {
		o.deliver()
	}
}

// column returns the output column of a function.
func (o *over) column(i int) *column.Column {
	if c := o.out.Cols[o.width+i]; c != nil {
		return c
	}
	return newColumn(o.rel, o.width+i) // not read downstream
}

// keptRow reads the stored arguments of an earlier row.
func (o *over) keptRow(key []byte, seq int64) error {
	v, ok := o.task.store.Get(o.rel.State+frameRows, 0, o.rowName(key, seq))
	in := &reader{b: v}
	in.int64()
	clearBatch(o.frame)
	in.row(o.frame)
	if !ok {
		return errors.Join(errState, in.err)
	}
	return in.err
}

// fold accumulates the rows of a key's frame.
func (o *over) fold(key []byte, h history) []byte {
	o.key = append(o.key[:0], key...)
	if o.collecting { // the values of a frame are not kept
		o.where = elementsOf(state.Memory(), 0, 0, nil)
		o.from = append(o.from[:0], o.where)
	}
	var value, old []byte
	seen := make(map[string]bool)
	for seq := h.head; seq < h.tail; seq++ {
		if err := o.keptRow(key, seq); err != nil {
			o.task.fail(errState)
			return value
		}
		value, old = o.accumulate(old[:0], value, o.frame, 0, 0, func(agg int) bool {
			k := string(o.distinctKey(o.frame, 0, agg))
			isNew := !seen[k]
			seen[k] = true
			return isNew
		}), value
	}
	return value
}

func (o *over) deliver() {
	o.emit(&o.out)
	o.out.clear()
}

func (o *over) finishTransaction() {
	o.buffer.finishTransaction()
	if !o.op.Arrival {
		return
	}
	o.compute()
	o.deliver()
	if held := o.held; held != nil {
		o.held = nil
		o.forwardWatermark(held.at, held.idle)
	}
}
