package operator

import (
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// State entries of joins: the rows of each input.
const (
	leftRows  = 0
	rightRows = 1
)

// joiner has what the joins of two inputs have in common. Each of its state entries is a row of one
// input: its key starts with the values of the equal columns and ends with the row itself, and its
// value counts how often the row has arrived. Equal inputs thus leave equal states, whatever the
// order of their rows, and rows are never renumbered or rewritten.
type joiner struct {
	base
	on      *plan.JoinOn
	cond    *expr.Compiled
	sides   [2]*column.Batch // the row of each input that is being joined
	pair    column.Batch     // the columns of both, without copying
	out     rowBatch
	merger  *watermarkMerger
	merged  reached // watermark of both inputs
	idle    bool
	lineage *lineage // of the rows in the state
	key     []byte
	encoded []byte    // memory of row: the key of the row that is being joined
	value   []byte    // memory of save
	page    []joinRow // memory of each
	copies  []byte    // where each copies keys to; never written again, since columns may alias it
}

func newJoiner(b base, on *plan.JoinOn) joiner {
	j := joiner{base: b, on: on, merger: newWatermarkMerger(2), lineage: b.task.newLineage()}
	j.merged = newReached(&j.base)
	for i, in := range b.rel.Inputs {
		j.sides[i] = batch(in)
		j.pair.Cols = append(j.pair.Cols, j.sides[i].Cols...)
	}
	j.pair.N = 1
	j.out.Batch = batch(b.rel)
	if on.Cond != nil {
		j.cond = b.task.compile(on.Cond)
	}
	j.rollback()
	return j
}

// joinEntries describes the state of a join to a Mover.
func joinEntries(on *plan.JoinOn) []movedEntry {
	return []movedEntry{keyedEntry(leftRows, 0, on.Left, nil), keyedEntry(rightRows, 1, on.Right, nil)}
}

func (j *joiner) rollback() {
	j.merger.reset()
	j.merged.rollback(&j.base)
	j.idle = false
	j.lineage.clear()
}

// merge merges the watermark of an input into that of both.
func (j *joiner) merge(in int, watermark int64, idle bool) {
	all, allIdle := j.merger.advance(in, watermark, idle)
	j.merged.advance(all)
	j.idle = allIdle
}

// keys returns the equal columns of an input.
func (j *joiner) keys(in int) []int {
	if in == 0 {
		return j.on.Left
	}
	return j.on.Right
}

// entry returns the number of the entries with the rows of an input.
func (j *joiner) entry(in int) uint16 { return j.rel.State + leftRows + uint16(in) } //nolint:gosec // 0 or 1

// matchless reports whether a row of an input matches nothing because an equal column is NULL.
func (j *joiner) matchless(in int, rows *column.Batch, i int) bool {
	return slices.ContainsFunc(j.keys(in), func(c int) bool { return rows.Cols[c].Null[i] })
}

// joinRow is an entry of the state.
type joinRow struct {
	key    []byte // the values of the equal columns, what the join puts between, and the row
	prefix int    // bytes of key before the row
	equal  int    // bytes of key with the values of the equal columns
	count  uint64 // how often the row has arrived
	match  uint64 // matches so far, if the join counts them
}

// appendValue appends the value of an entry.
func (r *joinRow) appendValue(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, r.count)
	dst = binary.AppendUvarint(dst, uint64(r.equal))  //nolint:gosec // not negative
	dst = binary.AppendUvarint(dst, uint64(r.prefix)) //nolint:gosec // not negative
	if r.match > 0 {
		dst = binary.AppendUvarint(dst, r.match)
	}
	return dst
}

// decode sets a row from the value of its entry.
func (r *joinRow) decode(value []byte) bool {
	in := &reader{b: value}
	r.count = in.uvarint()
	r.equal, r.prefix = in.count(), in.count()
	r.match = 0
	if len(in.b) > 0 {
		r.match = in.uvarint()
	}
	return in.err == nil && r.equal <= r.prefix && r.prefix <= len(r.key)
}

// row returns the entry of an input's row, whose key is valid until the next call, and makes the
// row that of its side. between follows the values of the equal columns.
func (j *joiner) row(in int, r *rowBatch, i int, between []byte) joinRow {
	key := appendKey(j.encoded[:0], r.Batch, j.keys(in), i)
	one := joinRow{equal: len(key)}
	key = append(key, between...)
	one.prefix = len(key)
	side := j.sides[in]
	clearBatch(side)
	copyRow(side, r.Batch, i)
	one.key = appendRow(key, side, 0)
	j.encoded = one.key
	return one
}

// load completes a row with what the state has about it.
func (j *joiner) load(in int, window int64, row *joinRow) {
	if v, ok := j.task.store.Get(j.entry(in), window, row.key); ok && !row.decode(v) {
		j.task.fail(errState)
	}
}

// save puts a row into the state, or deletes it if its count is 0.
func (j *joiner) save(in int, window int64, row *joinRow) {
	if row.count == 0 {
		j.task.store.Delete(j.entry(in), window, row.key)
		return
	}
	j.value = row.appendValue(j.value[:0])
	j.task.store.Put(j.entry(in), window, row.key, j.value)
}

// pageRows is the number of rows that are copied from the state at a time: the state must not
// change during a scan, but other operators of the task change it when they receive a row.
const pageRows = 256

// each calls fn with the rows of an input whose keys start with prefix, in the order of their keys
// from a key on, until fn returns false.
func (j *joiner) each(in int, window int64, prefix, from []byte, fn func(row *joinRow) bool) {
	page, end := j.page, state.PrefixEnd(prefix)
	j.page = nil // fn may call each too
	defer func() {
		clear(page)
		j.page = page[:0]
	}()
	for {
		page = page[:0]
		j.task.store.ScanRange(j.entry(in), window, from, end, func(key, value []byte) bool {
			row := joinRow{key: j.copy(key)}
			if !row.decode(value) {
				j.task.fail(errState)
				return false
			}
			page = append(page, row)
			return len(page) < pageRows
		})
		for i := range page {
			if !fn(&page[i]) {
				return
			}
		}
		if len(page) < pageRows {
			return
		}
		from = slices.Concat(page[len(page)-1].key, []byte{0}) // the first key after it
	}
}

// copiesAtOnce is the memory that keys are copied to at a time: many of them in one allocation.
const copiesAtOnce = 16 << 10

// copy copies the key of an entry, which the state may overwrite.
func (j *joiner) copy(key []byte) []byte {
	if cap(j.copies)-len(j.copies) < len(key) {
		j.copies = make([]byte, 0, max(copiesAtOnce, len(key)))
	}
	from := len(j.copies)
	j.copies = append(j.copies, key...)
	return j.copies[from:len(j.copies):len(j.copies)]
}

// read makes a row that each has found that of its side.
func (j *joiner) read(in int, row *joinRow) {
	clearBatch(j.sides[in])
	r := &reader{b: row.key[row.prefix:], alias: true}
	r.row(j.sides[in])
	if r.err != nil {
		j.task.fail(errState)
	}
}

// matches reports whether the condition is true for the rows of both sides. A pair for which it
// can't be computed is set aside, unless it is retracted.
func (j *joiner) matches(what rowKind) bool {
	if j.cond == nil {
		return true
	}
	ok := j.cond.True(&j.pair, 0)
	if j.pair.Err != nil {
		j.task.reject(&rowBatch{Batch: &j.pair, kinds: []rowKind{what}}, 0, j.pairFields(), j.pair.Err)
		j.pair.Err = nil
		return false
	}
	return ok
}

// input returns the input that a column of the pair comes from.
func (j *joiner) input(i int) int {
	if i < len(j.sides[0].Cols) {
		return 0
	}
	return 1
}

// add appends the pair of rows to the output a number of times. An absent side is NULL.
func (j *joiner) add(what rowKind, present [2]bool, times uint64, origin *kgo.Record) {
	for range times {
		for i, to := range j.out.Cols {
			switch {
			case to == nil:
			case !present[j.input(i)]:
				to.AddNull()
			default:
				to.AddFrom(j.pair.Cols[i], 0)
			}
		}
		j.out.N++
		if j.rel.Updating {
			j.out.kinds = append(j.out.kinds, what)
		}
		if j.lineage != nil {
			j.out.records = append(j.out.records, origin)
		}
		if j.out.N >= batchRows {
			j.deliver()
		}
	}
}

func (j *joiner) deliver() {
	j.emit(&j.out)
	j.out.clear()
}

// caused returns a record that links to what caused a row of the state.
func (j *joiner) caused(window int64, row *joinRow) *kgo.Record {
	if j.lineage == nil {
		return nil
	}
	return j.lineage.caused(window, row.key)
}

// pairFields names the columns of both sides.
func (j *joiner) pairFields() []format.Field {
	return slices.Concat(fieldsOf(j.rel.Inputs[0]), fieldsOf(j.rel.Inputs[1]))
}
