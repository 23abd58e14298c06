package operator

import (
	"bytes"

	"weir.example/weir/internal/plan"
)

// normalize turns upserts into changes of rows: the normalizedRows entry of a key holds its last
// row, which an update retracts and a tombstone deletes. An upsert that changes no column that is
// read, and the tombstone of an unknown key, have no effect.
type normalize struct {
	base
	op    *plan.Normalize
	key   []byte
	value []byte
	out   rowBatch

	expiry *expiry // of the rows
}

const normalizedRows = 0

func newNormalize(b base, op *plan.Normalize) (node, error) {
	n := &normalize{base: b, op: op, out: rowBatch{Batch: batch(b.rel), kinds: []rowKind{}}}
	n.expiry = newExpiry(&n.base, n.rel.TTL[0], stampsOf, normalizedRows, n)
	return n, nil
}

func (n *normalize) advance(_ int, watermark int64, idle bool) {
	n.expiry.advance(watermark)
	n.forwardWatermark(watermark, idle)
}

// drop implements expiring.
func (n *normalize) drop(key []byte) { n.task.store.Delete(n.rel.State+normalizedRows, 0, key) }

// eachKey implements expiring.
func (n *normalize) eachKey(from []byte, fn func(key []byte) bool) {
	eachEntry(n.task.store, n.rel.State+normalizedRows, from, fn)
}

func normalizeEntries(op *plan.Normalize) []movedEntry {
	return []movedEntry{keyedEntry(normalizedRows, 0, op.Table.PrimaryKey, nil), keyedEntry(stampsOf, 0, op.Table.PrimaryKey, nil)}
}

func (n *normalize) push(_ int, r *rowBatch) {
	n.out.clear()
	read := *r
	row := masked(r.Batch, n.out.Batch)
	read.Batch = &row
	for i := range r.N {
		n.key = appendKey(n.key[:0], r.Batch, n.op.Table.PrimaryKey, i)
		n.upsert(&read, i)
	}
	n.emit(&n.out)
}

// upsert emits the changes of a row. While state expires, a row that is equal to the stored one is
// emitted too, like in Flink: what other operators keep of it must not expire before the row does.
func (n *normalize) upsert(r *rowBatch, i int) {
	store, entry := n.task.store, n.rel.State+normalizedRows
	at := n.expiry.at(r, i)
	if n.expiry.expired(n.key, at) {
		n.expiry.drop(n.key)
	}
	old, known := store.Get(entry, 0, n.key)
	if r.kind(i) == kindDelete {
		if known {
			n.retract(kindDelete, old, r, i)
			store.Delete(entry, 0, n.key)
			n.expiry.forget(n.key)
		}
		return
	}
	n.value = appendRow(append(n.value[:0], rowPresent), r.Batch, i)
	if known && bytes.Equal(old, n.value) && n.expiry == nil {
		return
	}
	kind := kindInsert
	if known {
		n.retract(kindUpdateBefore, old, r, i)
		kind = kindUpdateAfter
	}
	store.Put(entry, 0, n.key, n.value)
	n.expiry.touch(n.key, at)
	n.out.add(r, i)
	n.out.kinds[n.out.N-1] = kind
}

// rowPresent precedes the columns of a stored row, of which there may be none.
const rowPresent byte = 1

// retract emits a stored row, with the metadata of the upsert that replaces it.
func (n *normalize) retract(kind rowKind, old []byte, r *rowBatch, i int) {
	in := &reader{b: old}
	in.byte()
	in.row(n.out.Batch)
	if in.err != nil {
		n.task.fail(errState)
	}
	n.out.note(r, i)
	n.out.kinds[n.out.N-1] = kind
}
