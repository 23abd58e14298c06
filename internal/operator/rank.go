package operator

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sort"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// rank keeps the first rows of each partition by an order. A state entry holds the rows of a
// partition, best first, under the window's end if there is a window.
type rank struct {
	base
	op        *plan.Rank
	clock     clock
	in        *plan.Relation
	newest    bool // the later of two equal rows wins: deduplication that keeps the last row
	scratch   *column.Batch
	out       rowBatch
	watermark int64
	fired     int64
	touched   touched[[]byte] // without windows: the entry before the transaction
	ordered   []bool          // by column of the input: the order depends on it
	key       []byte
	value     []byte
	one       []byte
	kept      [][]byte
	expiry    *expiry  // of the partitions, without windows
	lineage   *lineage // of rows, by the end of their window; without windows those of the transaction
}

func newRank(b base, op *plan.Rank) (node, error) {
	if op.First {
		return newFirstRow(b, op), nil
	}
	in := b.rel.Inputs[0]
	if in.Updating {
		return newUpdatedRank(b, op), nil
	}
	k := &rank{base: b, op: op, clock: clock{zone: op.Zone}, in: in, out: rowBatch{Batch: batch(b.rel)}, lineage: b.task.newLineage()}
	k.newest = !op.Limited && op.Limit == 1 && len(op.Order) == 1 && op.Order[0].Desc && in.Cols[op.Order[0].Column].Rowtime
	if b.rel.Updating {
		k.out.kinds = []rowKind{}
	}
	k.scratch = batch(in)
	k.ordered = make([]bool, len(in.Cols))
	for _, by := range op.Order {
		k.ordered[by.Column] = true
	}
	if op.End < 0 {
		k.expiry = newExpiry(&k.base, k.rel.TTL[0], stampsOf, groups, k)
	}
	k.rollback()
	return k, nil
}

// drop implements expiring.
func (k *rank) drop(key []byte) { k.task.store.Delete(k.rel.State+groups, 0, key) }

// eachKey implements expiring.
func (k *rank) eachKey(from []byte, fn func(key []byte) bool) {
	eachEntry(k.task.store, k.rel.State+groups, from, fn)
}

func (k *rank) rollback() {
	k.watermark, k.fired = minWatermark, minWatermark
	k.touched.clear()
	k.lineage.clear()
}

func rankEntries(op *plan.Rank) []movedEntry {
	all := []movedEntry{keyedEntry(groups, 0, op.Partition, nil), keyedEntry(stampsOf, 0, op.Partition, nil)}
	if op.First {
		all = append(all, waitingEntry(1, numbers, 0))
	}
	return all
}

// entryRows appends the rows of an entry to all, each of which is prefixed with its length and
// followed by its lane unless that is 0.
func entryRows(all [][]byte, value []byte) ([][]byte, error) {
	in := &reader{b: value}
	for len(in.b) > 0 && in.err == nil {
		all = append(all, in.bytes())
	}
	return all, in.err
}

func (k *rank) push(_ int, r *rowBatch) {
	store := k.task.store
	row := *r.Batch
	row.Cols = slices.Clone(r.Cols)
	for i := range row.Cols {
		if k.scratch.Cols[i] == nil {
			row.Cols[i] = nil
		}
	}
	for i := range r.N {
		bucket := int64(0)
		if k.op.End >= 0 {
			bucket = r.Cols[k.op.End].I[i]
			if watermark := r.watermark(i, k.watermark); k.clock.late(bucket, watermark) {
				if !r.hasMore(i) {
					k.task.late(r, i, k.in, errLate(bucket, watermark, k.clock))
				}
				continue
			}
		}
		k.key = appendKey(k.key[:0], r.Batch, k.op.Partition, i)
		at := k.expiry.at(r, i)
		if k.expiry.expired(k.key, at) {
			k.restart()
		}
		old, _ := store.Get(k.rel.State+groups, bucket, k.key)
		kept, err := entryRows(k.kept[:0], old)
		if err != nil {
			k.task.fail(errState)
			return
		}
		place := k.place(kept, &row, i, r.lane(i))
		if place >= int(k.op.Limit) {
			continue
		}
		if k.op.End < 0 && !k.touched.has(k.key) {
			k.touched.add(k.key, slices.Clone(old))
		}
		one := appendRow(k.one[:0], &row, i)
		if from := r.lane(i); from != 0 && k.op.Arrival == plan.NoArrival { // rows keep the order in which they are read, whatever their lanes
			one = binary.AppendVarint(one, int64(from))
		}
		if k.lineage != nil {
			k.lineage.add(r.context(i), bucket, one)
		}
		k.one = one
		kept = slices.Insert(kept, place, one)
		k.kept = kept
		kept = kept[:min(len(kept), int(k.op.Limit))]
		k.value = k.value[:0]
		for _, one := range kept {
			k.value = appendBytes(k.value, one)
		}
		store.Put(k.rel.State+groups, bucket, k.key, k.value)
		k.expiry.touch(k.key, at)
	}
}

// restart drops the partition of k.key, which has expired: its next row is the first one. What it
// became in this transaction is emitted.
func (k *rank) restart() {
	if k.touched.has(k.key) {
		k.finish(string(k.key))
		k.touched.before[string(k.key)] = nil
	}
	k.expiry.drop(k.key)
	if !k.touched.has(k.key) {
		k.touched.add(k.key, nil)
	}
}

// place returns the position of a row among the kept ones, which are in order. Among equal rows,
// the lower lane comes first, and within a lane the earlier row; if the newest row wins, the order
// is reversed.
func (k *rank) place(kept [][]byte, row *column.Batch, i int, from lane) int {
	switch k.op.Arrival {
	case plan.OldestFirst:
		return len(kept)
	case plan.NewestFirst:
		return 0
	}
	return sort.Search(len(kept), func(n int) bool {
		clearBatch(k.scratch)
		in := &reader{b: kept[n], alias: true} // until the next one is read
		for c, to := range k.scratch.Cols {
			switch {
			case to == nil:
			case k.ordered[c]:
				in.value(to)
			default:
				in.skip(to.Type)
			}
		}
		of := int64(0)
		if len(in.b) > 0 {
			of = in.varint()
		}
		if in.err != nil {
			k.task.fail(errState)
			return false
		}
		c := k.compare(row, i, k.scratch, 0)
		if c == 0 {
			c = cmp.Compare(from, lane(of))
			if k.newest {
				c = cmp.Compare(-1, c) // a row is newer than earlier ones of its lane
			}
		}
		return c < 0
	})
}

func (k *rank) compare(a *column.Batch, i int, b *column.Batch, j int) int {
	for _, key := range k.op.Order {
		x, y := a.Cols[key.Column], b.Cols[key.Column]
		if x.Null[i] || y.Null[j] {
			if x.Null[i] == y.Null[j] {
				continue
			}
			if x.Null[i] == key.NullsLast {
				return 1
			}
			return -1
		}
		c := 0
		switch x.Type.Class() {
		case column.Ints:
			c = int(min(max(x.I[i]-y.I[j], -1), 1))
			if x.I[i] < y.I[j] {
				c = -1
			} else if x.I[i] > y.I[j] {
				c = 1
			}
		default:
			c = column.CompareBoxed(x.Value(i), y.Value(j))
		}
		if key.Desc {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

func (k *rank) advance(_ int, watermark int64, idle bool) {
	k.expiry.advance(watermark)
	if k.op.End >= 0 {
		if k.task.restoring {
			k.fired = max(k.fired, watermark)
		}
		k.fire(watermark)
		k.watermark = max(k.watermark, watermark)
	}
	k.forwardWatermark(watermark, idle)
}

// fire emits the windows whose end a watermark has passed.
func (k *rank) fire(watermark int64) {
	if watermark <= k.fired {
		return
	}
	k.fired = watermark
	for _, end := range k.task.store.Windows(k.rel.State + groups) {
		if !k.clock.passed(end, watermark) {
			break
		}
		k.task.store.Scan(k.rel.State+groups, end, func(_, value []byte) bool {
			kept, err := entryRows(nil, value)
			if err != nil {
				k.task.fail(errState)
				return false
			}
			for n, one := range kept {
				k.row(kindInsert, one, n, end)
			}
			return true
		})
		k.task.clear(k.rel.State+groups, end)
		k.lineage.drop(end)
	}
	k.deliver()
}

// row appends a kept row of the window that ends at end to the output. number counts from 0.
func (k *rank) row(what rowKind, one []byte, number int, end int64) {
	if int64(number+1) < k.op.From {
		return
	}
	clearBatch(k.scratch)
	in := &reader{b: one}
	in.row(k.scratch)
	if in.err != nil {
		k.task.fail(errState)
		return
	}
	last := len(k.out.Cols) - 1
	for c, to := range k.out.Cols {
		switch {
		case to == nil:
		case c == last:
			to.AddInt(int64(number + 1))
		default:
			to.AddFrom(k.scratch.Cols[c], 0)
		}
	}
	k.out.N++
	if k.out.kinds != nil {
		k.out.kinds = append(k.out.kinds, what)
	}
	if k.lineage != nil {
		k.out.records = append(k.out.records, k.lineage.caused(end, one))
	}
}

func (k *rank) deliver() {
	k.emit(&k.out)
	k.out.clear()
}

// finish emits the changes of a partition at each row number.
func (k *rank) finish(key string) {
	now, _ := k.task.store.Get(k.rel.State+groups, 0, []byte(key))
	before, err1 := entryRows(nil, k.touched.before[key])
	after, err2 := entryRows(nil, now)
	if err1 != nil || err2 != nil {
		k.task.fail(errState)
		return
	}
	for n, one := range after {
		switch {
		case n >= len(before):
			k.row(kindInsert, one, n, 0)
		case !bytes.Equal(before[n], one):
			k.row(kindUpdateBefore, before[n], n, 0)
			k.row(kindUpdateAfter, one, n, 0)
		}
	}
}

// finishTransaction emits, without windows, the changes of the transaction.
func (k *rank) finishTransaction() {
	for _, key := range k.touched.order {
		k.finish(key)
	}
	k.deliver()
	k.touched.clear()
	k.lineage.drop(0)
}
