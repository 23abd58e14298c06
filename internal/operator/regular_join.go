package operator

import (
	"encoding/binary"

	"weir.example/weir/internal/plan"
)

// regularJoin joins all rows of both inputs, which it keeps. A row meets its matches when the later
// of them arrives. Rows of an outer, semi or anti join depend on whether a row has matches at all,
// so the state counts these.
//
// If rows may be retracted, the join emits the net changes of each transaction: rows that are
// emitted and retracted within it cancel out, whatever their order.
type regularJoin struct {
	joiner
	changes map[string]int64 // by the row that is emitted: insertions minus retractions
	order   []string         // of the first change to each row

	expiries [2]*expiry // of the rows of each input
	reached  [2]int64   // the latest time of a row of each input; known only if rows expire by it
	saved    [2]int64   // reached as in the state
}

// maxChanges is the number of changed rows that a transaction collects before it emits them.
const maxChanges = 1 << 16

func newRegularJoin(b base, op *plan.RegularJoin) (node, error) {
	j := &regularJoin{joiner: newJoiner(b, &op.JoinOn), changes: make(map[string]int64)}
	for in := range j.expiries {
		j.expiries[in] = newExpiry(&j.base, j.rel.TTL[in], joinStamps[in], leftRows+uint16(in), joinedRows{j, in}) //nolint:gosec // 0 or 1
	}
	j.rollback()
	return j, nil
}

func regularJoinEntries(op *plan.RegularJoin) []movedEntry {
	return append(joinEntries(&op.JoinOn), keyedEntry(joinStamps[0], 0, op.Left, nil), keyedEntry(joinStamps[1], 1, op.Right, nil))
}

// joinStamps are the numbers of the entries of the expiry of each input's rows.
var joinStamps = [2]uint16{2, stampsOf}

// joinedRows are the rows of an input of a regular join, each of which expires.
type joinedRows struct {
	join *regularJoin
	in   int
}

func (r joinedRows) drop(key []byte) { r.join.task.store.Delete(r.join.entry(r.in), 0, key) }

func (r joinedRows) eachKey(from []byte, fn func(key []byte) bool) {
	eachEntry(r.join.task.store, r.join.entry(r.in), from, fn)
}

// at returns the time of a row of an input: the earlier of the times that both inputs have reached.
func (j *regularJoin) at(in int, r *rowBatch, i int) int64 {
	x := j.expiries[in]
	if x == nil { // the rows of this input are kept forever
		x = j.expiries[1-in]
	}
	if x == nil || !x.eventTime {
		return x.at(r, i)
	}
	if r.times != nil && r.times[i] != maxWatermark {
		j.reached[in] = max(j.reached[in], r.times[i])
	}
	at := j.reached[in]
	if !j.merger.idle[1-in] && j.merger.inputs[1-in] != maxWatermark {
		at = min(at, j.reached[1-in])
	}
	at = max(at, x.now)
	for _, x := range j.expiries {
		x.date(at)
	}
	return at
}

// reachedTimes is the key of the entry with the times that the inputs have reached.
func (j *regularJoin) reachedTimes() []byte {
	return binary.BigEndian.AppendUint16([]byte("times reached by the inputs of "), j.rel.State)
}

// saveReached puts the times that the inputs have reached into the state.
func (j *regularJoin) saveReached() {
	if j.reached != j.saved {
		j.task.store.Put(watermarkEntry, 0, j.reachedTimes(), appendInt(appendInt(nil, j.reached[0]), j.reached[1]))
		j.saved = j.reached
	}
}

func (j *regularJoin) rollback() {
	j.joiner.rollback()
	clear(j.changes)
	j.order = j.order[:0]
	j.reached = [2]int64{noTime, noTime}
	if v, ok := j.task.store.Get(watermarkEntry, 0, j.reachedTimes()); ok {
		in := &reader{b: v}
		j.reached = [2]int64{in.int64(), in.int64()}
	}
	j.saved = j.reached
}

func (j *regularJoin) push(in int, r *rowBatch) {
	for i := range r.N {
		j.change(in, r, i)
	}
	if !j.rel.Updating {
		j.deliver()
	}
}

// counts reports whether the state counts the matches of an input's rows.
func (j *regularJoin) counts(in int) bool {
	return j.on.Kind.Keeps(in) || j.on.Kind.LeftOnly() && in == 0
}

// change processes a row that is inserted or retracted.
func (j *regularJoin) change(in int, r *rowBatch, i int) {
	none := j.matchless(in, r.Batch, i)
	if none && !j.on.Kind.Keeps(in) {
		return
	}
	what := kindInsert
	if r.kind(i).retracts() {
		what = kindDelete
	}
	row, at := j.row(in, r, i, nil), j.at(in, r, i)
	if j.expiries[in].expired(row.key, at) {
		j.expiries[in].drop(row.key)
	}
	j.load(in, 0, &row)
	if what == kindDelete && row.count == 0 && j.expiries[in] == nil {
		return // it was set aside when it was inserted
	}
	if j.lineage != nil {
		j.lineage.add(r.context(i), 0, row.key)
	}
	row.match = 0
	if !none {
		row.match = j.meet(in, &row, what, at)
	}
	only := [2]bool{in == 0, in == 1}
	switch {
	case j.on.Kind.LeftOnly() && in == 1:
	case j.on.Kind == plan.SemiJoin && row.match > 0, j.on.Kind.Keeps(in) && row.match == 0:
		j.result(what, only, 1, &row)
	}
	switch {
	case what == kindInsert:
		row.count++
	case row.count == 0: // it has expired; its pairs are retracted nevertheless, like in Flink
		return
	default:
		row.count--
	}
	if !j.counts(in) {
		row.match = 0
	}
	j.keep(in, &row, at)
}

// keep saves a row of an input, which has changed.
func (j *regularJoin) keep(in int, row *joinRow, at int64) {
	j.save(in, 0, row)
	if row.count == 0 {
		j.expiries[in].forget(row.key)
	} else {
		j.expiries[in].touch(row.key, at)
	}
}

// meet joins a row with the rows of the other input and returns how many match.
func (j *regularJoin) meet(in int, row *joinRow, what rowKind, at int64) (matches uint64) {
	other := 1 - in
	prefix := row.key[:row.equal]
	j.each(other, 0, prefix, prefix, func(o *joinRow) bool {
		if j.expiries[other].expired(o.key, at) {
			j.expiries[other].drop(o.key)
			return true
		}
		j.read(other, o)
		if !j.matches(what) {
			return true
		}
		matches += o.count
		if !j.on.Kind.LeftOnly() {
			j.result(what, [2]bool{true, true}, o.count, row)
		}
		if j.counts(other) {
			j.counted(other, o, what, at)
		}
		return true
	})
	return matches
}

// counted updates the number of matches of a row. Its first match and the end of its last one
// change what is emitted for it alone.
func (j *regularJoin) counted(in int, o *joinRow, what rowKind, at int64) {
	changed := false
	if what == kindInsert {
		changed = o.match == 0
		o.match++
	} else if o.match > 0 {
		o.match--
		changed = o.match == 0
	}
	j.keep(in, o, at)
	if !changed {
		return
	}
	if j.on.Kind != plan.SemiJoin { // the row alone is emitted while it has no match
		what = inverse(what)
	}
	j.result(what, [2]bool{in == 0, in == 1}, o.count, o)
}

func inverse(what rowKind) rowKind {
	if what == kindInsert {
		return kindDelete
	}
	return kindInsert
}

// result emits a pair of rows, or collects the change.
func (j *regularJoin) result(what rowKind, present [2]bool, times uint64, cause *joinRow) {
	if !j.rel.Updating {
		j.add(what, present, times, j.caused(0, cause))
		return
	}
	j.key = j.key[:0]
	for i, to := range j.out.Cols {
		if to == nil {
			continue
		}
		if !present[j.input(i)] {
			j.key = append(j.key, 0) // NULL
			continue
		}
		j.key = appendValue(j.key, j.pair.Cols[i], 0)
	}
	n, known := j.changes[string(j.key)]
	if !known {
		j.order = append(j.order, string(j.key))
	}
	if what == kindInsert {
		n += int64(times) //nolint:gosec // far fewer rows
	} else {
		n -= int64(times) //nolint:gosec // far fewer rows
	}
	j.changes[string(j.key)] = n
	if len(j.changes) >= maxChanges {
		j.flush()
	}
}

// flush emits the collected changes, retractions first: an inserted row may replace a retracted one
// with the same key.
func (j *regularJoin) flush() {
	for _, what := range []rowKind{kindDelete, kindInsert} {
		for _, row := range j.order {
			n := j.changes[row]
			if what == kindDelete {
				n = -n
			}
			for ; n > 0; n-- {
				j.emitRow(what, row)
			}
		}
	}
	clear(j.changes)
	clear(j.order)
	j.order = j.order[:0]
	j.deliver()
}

func (j *regularJoin) emitRow(what rowKind, row string) {
	in := &reader{b: []byte(row)}
	in.row(j.out.Batch)
	if in.err != nil {
		j.task.fail(errState)
		return
	}
	j.out.kinds = append(j.out.kinds, what)
	if j.lineage != nil {
		j.out.records = append(j.out.records, nil)
	}
	if j.out.N >= batchRows {
		j.deliver()
	}
}

func (j *regularJoin) advance(in int, watermark int64, idle bool) {
	j.merge(in, watermark, idle)
	for _, x := range j.expiries {
		x.advance(j.merged.now)
	}
	j.forwardWatermark(j.merged.now, j.idle)
}

func (j *regularJoin) finishTransaction() {
	if j.rel.Updating {
		j.flush()
	}
	j.lineage.clear()
	j.saveReached()
}
