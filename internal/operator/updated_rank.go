package operator

import (
	"encoding/binary"
	"math"
	"math/big"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// updatedRank passes the first rows of each partition of rows that are updated. Any row may move up
// when others are retracted, so it keeps all of them, one entry each: the key of an entry is that
// of the partition, then the values that the rows are ordered by, in an encoding that sorts like
// them, then the row. Its value counts equal rows. Rows that are equal in the order are thus ranked
// by their encoding, whatever the order in which they arrive.
type updatedRank struct {
	base
	op      *plan.Rank
	in      *column.Batch
	out     rowBatch
	touched touched[[]string] // the rows that a partition passed before the transaction
	lineage *lineage          // of the transaction
	expiry  *expiry           // of the partitions
	parts   []*column.Column  // a partition's values, of which only the length is used
	key     []byte
}

func newUpdatedRank(b base, op *plan.Rank) node {
	k := &updatedRank{base: b, op: op, in: batch(b.rel.Inputs[0]), out: rowBatch{Batch: batch(b.rel), kinds: []rowKind{}}, lineage: b.task.newLineage()}
	for _, c := range op.Partition {
		k.parts = append(k.parts, newColumn(b.rel.Inputs[0], c))
	}
	k.expiry = newExpiry(&k.base, k.rel.TTL[0], stampsOf, groups, k)
	k.rollback()
	return k
}

func (k *updatedRank) advance(_ int, watermark int64, idle bool) {
	k.expiry.advance(watermark)
	k.forwardWatermark(watermark, idle)
}

// drop implements expiring.
func (k *updatedRank) drop(key []byte) { deleteKeys(k.task.store, k.rel.State+groups, key) }

// eachKey implements expiring.
func (k *updatedRank) eachKey(from []byte, fn func(key []byte) bool) {
	eachPrefix(k.task, k.rel.State+groups, k.parts, from, fn)
}

func (k *updatedRank) rollback() {
	k.touched.clear()
	k.lineage.clear()
}

func (k *updatedRank) push(_ int, r *rowBatch) {
	store := k.task.store
	row := masked(r.Batch, k.in)
	for i := range r.N {
		k.key = appendKey(k.key[:0], r.Batch, k.op.Partition, i)
		at, partition := k.expiry.at(r, i), len(k.key)
		if k.expiry.expired(k.key, at) {
			k.restart()
		}
		if !k.touched.has(k.key) {
			k.touched.add(k.key, k.first(k.key))
		}
		for _, by := range k.op.Order {
			k.key = appendSorted(k.key, r.Cols[by.Column], i, by.Desc, by.NullsLast)
		}
		start := len(k.key)
		k.key = appendRow(k.key, &row, i)
		count := uint64(0)
		if v, ok := store.Get(k.rel.State+groups, 0, k.key); ok {
			count = (&reader{b: v}).uvarint()
		}
		switch {
		case !r.kind(i).retracts():
			count++
		case count == 0:
			continue // it was set aside when it was inserted
		default:
			count--
		}
		if k.lineage != nil {
			k.lineage.add(r.context(i), 0, k.key[start:])
		}
		k.expiry.touch(k.key[:partition], at)
		if count == 0 {
			store.Delete(k.rel.State+groups, 0, k.key)
			continue
		}
		value := binary.AppendUvarint(nil, count)
		store.Put(k.rel.State+groups, 0, k.key, binary.AppendUvarint(value, uint64(start))) //nolint:gosec // not negative
	}
}

// first returns the rows of a partition that pass, in order.
func (k *updatedRank) first(partition []byte) []string {
	var rows []string
	k.task.store.ScanPrefix(k.rel.State+groups, 0, partition, func(key, value []byte) bool {
		in := &reader{b: value}
		count, start := in.uvarint(), in.count()
		if in.err != nil || start > len(key) {
			k.task.fail(errState)
			return false
		}
		for ; count > 0 && int64(len(rows)) < k.op.Limit; count-- {
			rows = append(rows, string(key[start:]))
		}
		return int64(len(rows)) < k.op.Limit
	})
	return rows
}

// restart drops the partition of k.key, which has expired. What it became in this transaction is
// emitted.
func (k *updatedRank) restart() {
	if k.touched.has(k.key) {
		k.finish(string(k.key))
		k.touched.before[string(k.key)] = nil
	}
	k.expiry.drop(k.key)
}

// finish emits the changes of what a partition passes, retractions first. A row without its number
// that only changes its place is no change.
func (k *updatedRank) finish(partition string) {
	before, after := k.touched.before[partition], k.first([]byte(partition))
	if k.rel.Needed[len(k.rel.Cols)-1] {
		k.numbered(before, after, kindDelete)
		k.numbered(after, before, kindInsert)
		return
	}
	k.unnumbered(before, after, kindDelete)
	k.unnumbered(after, before, kindInsert)
}

func (k *updatedRank) finishTransaction() {
	for _, partition := range k.touched.order {
		k.finish(partition)
	}
	k.emit(&k.out)
	k.out.clear()
	k.touched.clear()
	k.lineage.clear()
}

// passed returns the rows with the numbers that pass, from the first on.
func (k *updatedRank) passed(rows []string) []string {
	return rows[min(len(rows), int(k.op.From-1)):]
}

// numbered emits the rows that have another number, or none, in the other list.
func (k *updatedRank) numbered(rows, others []string, what rowKind) {
	for n := int(k.op.From - 1); n < len(rows); n++ {
		if n >= len(others) || rows[n] != others[n] {
			k.row(what, rows[n], n+1)
		}
	}
}

// unnumbered emits the rows that are not in the other list.
func (k *updatedRank) unnumbered(rows, others []string, what rowKind) {
	left := make(map[string]int)
	for _, row := range k.passed(others) {
		left[row]++
	}
	for _, row := range k.passed(rows) {
		if left[row]--; left[row] < 0 {
			k.row(what, row, 0)
		}
	}
}

func (k *updatedRank) row(what rowKind, row string, number int) {
	clearBatch(k.in)
	in := &reader{b: []byte(row)}
	in.row(k.in)
	if in.err != nil {
		k.task.fail(errState)
		return
	}
	last := len(k.out.Cols) - 1
	for c, to := range k.out.Cols {
		switch {
		case to == nil:
		case c == last:
			to.AddInt(int64(number))
		default:
			to.AddFrom(k.in.Cols[c], 0)
		}
	}
	k.out.N++
	k.out.kinds = append(k.out.kinds, what)
	if k.lineage != nil {
		k.out.records = append(k.out.records, k.lineage.caused(0, []byte(row)))
	}
	if k.out.N >= batchRows {
		k.emit(&k.out)
		k.out.clear()
	}
}

// appendSorted appends a value as bytes that sort like ORDER BY: with a mark for NULL, and inverted
// if the order is descending.
func appendSorted(dst []byte, c *column.Column, row int, desc, nullsLast bool) []byte {
	if c.Null[row] {
		if nullsLast {
			return append(dst, 2)
		}
		return append(dst, 0)
	}
	dst = append(dst, 1)
	start := len(dst)
	switch c.Type.Class() {
	case column.Ints:
		dst = ordered(dst, c.I[row])
	case column.Floats:
		dst = appendSortedFloat(dst, c.F[row])
	case column.Texts:
		dst = appendSortedText(dst, c.S[row])
	default:
		dst = appendSortedDecimal(dst, c.A[row].(*big.Int)) //nolint:forcetypeassert // the planner orders no other boxed values
	}
	if desc {
		for i := start; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst
}

// appendSortedFloat appends a float: -0 equals 0, and NaN is the largest, as in Java.
func appendSortedFloat(dst []byte, f float64) []byte {
	switch {
	case f == 0:
		f = 0
	case f != f:
		f = math.NaN()
	}
	bits := math.Float64bits(f)
	if bits>>63 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return binary.BigEndian.AppendUint64(dst, bits)
}

// appendSortedText appends a text and an end that sorts before all continuations.
func appendSortedText(dst []byte, text string) []byte {
	for i := range len(text) {
		if dst = append(dst, text[i]); text[i] == 0 {
			dst = append(dst, 0xff)
		}
	}
	return append(dst, 0, 0)
}

// appendSortedDecimal appends the unscaled value of a decimal: its sign and length, and its
// magnitude, inverted if it is negative.
func appendSortedDecimal(dst []byte, v *big.Int) []byte {
	magnitude := v.Bytes()
	length := byte(len(magnitude)) //nolint:gosec // at most 38 digits
	if v.Sign() >= 0 {
		return append(append(dst, 0x80|length), magnitude...)
	}
	dst = append(dst, 0x7f-length)
	for _, b := range magnitude {
		dst = append(dst, ^b)
	}
	return dst
}
