package operator

import (
	"bytes"
	"encoding/binary"
	"slices"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// materialize passes the last of each key's rows that are not retracted, see plan.Materialize.
// Changes are emitted at the end of the transaction, once per key.
type materialize struct {
	base
	op      *plan.Materialize
	in      *column.Batch
	out     rowBatch
	next    uint64          // number of the next row
	saved   uint64          // next as in the state
	touched touched[[]byte] // the last row of a key before the transaction; nil without one
	lineage *lineage        // of the transaction
	key     []byte
	expiry  *expiry // of the keys
}

// State entries of materialize.
const (
	keptRows = 0 // by key and row: its count and the number of the last insertion
	lastRow  = 1 // by key
	nextRow  = 2 // the number of the next row
)

func newMaterialize(b base, op *plan.Materialize) (node, error) {
	m := &materialize{base: b, op: op, in: batch(b.rel.Inputs[0]), out: rowBatch{Batch: batch(b.rel), kinds: []rowKind{}}, lineage: b.task.newLineage()}
	m.expiry = newExpiry(&m.base, m.rel.TTL[0], stampsOf, lastRow, m)
	m.rollback()
	return m, nil
}

func (m *materialize) advance(_ int, watermark int64, idle bool) {
	m.expiry.advance(watermark)
	m.forwardWatermark(watermark, idle)
}

// drop implements expiring.
func (m *materialize) drop(key []byte) {
	m.task.store.Delete(m.rel.State+lastRow, 0, key)
	deleteKeys(m.task.store, m.rel.State+keptRows, key)
}

// eachKey implements expiring.
func (m *materialize) eachKey(from []byte, fn func(key []byte) bool) {
	eachEntry(m.task.store, m.rel.State+lastRow, from, fn)
}

func materializeEntries(op *plan.Materialize) []movedEntry {
	return []movedEntry{keyedEntry(keptRows, 0, op.Keys, nil), keyedEntry(lastRow, 0, op.Keys, nil), keyedEntry(stampsOf, 0, op.Keys, nil)}
}

func (m *materialize) rollback() {
	m.touched.clear()
	m.lineage.clear()
	m.next = 0
	if v, ok := m.task.store.Get(m.rel.State+nextRow, 0, nextKey); ok {
		m.next = binary.BigEndian.Uint64(v)
	}
	m.saved = m.next
}

func (m *materialize) push(_ int, r *rowBatch) {
	store := m.task.store
	row := masked(r.Batch, m.in)
	for i := range r.N {
		m.key = appendKey(m.key[:0], r.Batch, m.op.Keys, i)
		key := slices.Clone(m.key)
		m.key = appendRow(m.key, &row, i)
		at := m.expiry.at(r, i)
		if m.expiry.expired(key, at) {
			m.restart(key)
		}
		last, _ := store.Get(m.rel.State+lastRow, 0, key)
		last = bytes.Clone(last)
		if !m.touched.has(key) {
			m.touched.add(key, last)
		}
		if m.lineage != nil {
			m.lineage.add(r.context(i), 0, key)
		}
		if r.kind(i).retracts() {
			m.remove(key, m.key[len(key):], last)
		} else {
			m.insert(key, m.key[len(key):])
		}
		m.expiry.touch(key, at)
	}
}

// entry decodes the count of a row and the number of its last insertion.
func (m *materialize) entry(value []byte) (count, number uint64) {
	in := &reader{b: value}
	count, number = in.uvarint(), in.uvarint()
	if in.err != nil {
		m.task.fail(errState)
	}
	return count, number
}

func (m *materialize) insert(key, row []byte) {
	store := m.task.store
	count := uint64(0)
	if v, ok := store.Get(m.rel.State+keptRows, 0, m.key); ok {
		count, _ = m.entry(v)
	}
	store.Put(m.rel.State+keptRows, 0, m.key, binary.AppendUvarint(binary.AppendUvarint(nil, count+1), m.next))
	store.Put(m.rel.State+lastRow, 0, key, row)
	m.next++
}

// remove removes a row. If it was the key's last one, the one before it is that now.
func (m *materialize) remove(key, row, last []byte) {
	store := m.task.store
	v, ok := store.Get(m.rel.State+keptRows, 0, m.key)
	if !ok {
		return // it was set aside when it was inserted
	}
	count, number := m.entry(v)
	if count > 1 {
		store.Put(m.rel.State+keptRows, 0, m.key, binary.AppendUvarint(binary.AppendUvarint(nil, count-1), number))
		return
	}
	store.Delete(m.rel.State+keptRows, 0, m.key)
	if !bytes.Equal(row, last) {
		return
	}
	var newest []byte
	var highest uint64
	store.ScanPrefix(m.rel.State+keptRows, 0, key, func(k, value []byte) bool {
		if _, number := m.entry(value); newest == nil || number >= highest {
			highest, newest = number, append([]byte{}, k[len(key):]...)
		}
		return true
	})
	if newest == nil {
		store.Delete(m.rel.State+lastRow, 0, key)
		return
	}
	store.Put(m.rel.State+lastRow, 0, key, newest)
}

// restart drops the rows of a key, which have expired. What the key became in this transaction is
// emitted.
func (m *materialize) restart(key []byte) {
	if m.touched.has(key) {
		m.finish(string(key))
		m.touched.before[string(key)] = nil
	}
	m.expiry.drop(key)
}

// finish emits the change of a key.
func (m *materialize) finish(key string) {
	before := m.touched.before[key]
	after, ok := m.task.store.Get(m.rel.State+lastRow, 0, []byte(key))
	after = bytes.Clone(after)
	switch {
	case !ok && before == nil, ok && before != nil && bytes.Equal(before, after):
	case !ok:
		m.row(kindDelete, key, before)
	case before == nil:
		m.row(kindInsert, key, after)
	default:
		m.row(kindUpdateBefore, key, before)
		m.row(kindUpdateAfter, key, after)
	}
}

func (m *materialize) finishTransaction() {
	store := m.task.store
	for _, key := range m.touched.order {
		m.finish(key)
	}
	m.emit(&m.out)
	m.out.clear()
	m.touched.clear()
	m.lineage.clear()
	if m.next != m.saved {
		store.Put(m.rel.State+nextRow, 0, nextKey, binary.BigEndian.AppendUint64(nil, m.next))
		m.saved = m.next
	}
}

func (m *materialize) row(what rowKind, key string, row []byte) {
	in := &reader{b: row}
	for i, c := range m.in.Cols {
		switch to := m.out.Cols[i]; {
		case c == nil:
		case to == nil: // a key that is not written
			c.Truncate(0)
			in.value(c)
		default:
			in.value(to)
		}
	}
	if in.err != nil {
		m.task.fail(errState)
		return
	}
	m.out.N++
	m.out.kinds = append(m.out.kinds, what)
	if m.lineage != nil {
		m.out.records = append(m.out.records, m.lineage.caused(0, []byte(key)))
	}
	if m.out.N >= batchRows && what != kindUpdateBefore {
		m.emit(&m.out)
		m.out.clear()
	}
}
