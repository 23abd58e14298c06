package operator

import (
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
}

// maxChanges is the number of changed rows that a transaction collects before it emits them.
const maxChanges = 1 << 16

func newRegularJoin(b base, op *plan.RegularJoin) (node, error) {
	return &regularJoin{joiner: newJoiner(b, &op.JoinOn), changes: make(map[string]int64)}, nil
}

func regularJoinEntries(op *plan.RegularJoin) []movedEntry { return joinEntries(&op.JoinOn) }

func (j *regularJoin) rollback() {
	j.joiner.rollback()
	clear(j.changes)
	j.order = j.order[:0]
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
	row := j.row(in, r, i, nil)
	j.load(in, 0, &row)
	if what == kindDelete && row.count == 0 {
		return // it was set aside when it was inserted
	}
	if j.lineage != nil {
		j.lineage.add(r.context(i), 0, row.key)
	}
	j.read(in, &row)
	row.match = 0
	if !none {
		row.match = j.meet(in, &row, what)
	}
	only := [2]bool{in == 0, in == 1}
	switch {
	case j.on.Kind.LeftOnly() && in == 1:
	case j.on.Kind == plan.SemiJoin && row.match > 0, j.on.Kind.Keeps(in) && row.match == 0:
		j.result(what, only, 1, &row)
	}
	if what == kindInsert {
		row.count++
	} else {
		row.count--
	}
	if !j.counts(in) {
		row.match = 0
	}
	j.save(in, 0, &row)
}

// meet joins a row with the rows of the other input and returns how many match.
func (j *regularJoin) meet(in int, row *joinRow, what rowKind) (matches uint64) {
	other := 1 - in
	prefix := row.key[:row.equal]
	j.each(other, 0, prefix, prefix, func(o *joinRow) bool {
		j.read(other, o)
		if !j.matches(what) {
			return true
		}
		matches += o.count
		if !j.on.Kind.LeftOnly() {
			j.result(what, [2]bool{true, true}, o.count, row)
		}
		if j.counts(other) {
			j.counted(other, o, what)
		}
		return true
	})
	return matches
}

// counted updates the number of matches of a row. Its first match and the end of its last one
// change what is emitted for it alone.
func (j *regularJoin) counted(in int, o *joinRow, what rowKind) {
	changed := false
	if what == kindInsert {
		changed = o.match == 0
		o.match++
	} else if o.match > 0 {
		o.match--
		changed = o.match == 0
	}
	j.save(in, 0, o)
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
	j.forwardWatermark(j.now, j.idle)
}

func (j *regularJoin) finishTransaction() {
	if j.rel.Updating {
		j.flush()
	}
	j.lineage.clear()
}
