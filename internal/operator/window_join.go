package operator

import (
	"cmp"
	"slices"

	"weir.example/weir/internal/plan"
)

// windowJoin joins the rows of equal windows of both inputs once the watermark has passed the end
// of the window. Its entries are the rows, under the end of their window. A window is emitted as a
// whole and then deleted, so that the state itself says which windows are still due.
type windowJoin struct {
	joiner
	op    *plan.WindowJoin
	clock clock
	done  progress
}

func newWindowJoin(b base, op *plan.WindowJoin) (node, error) {
	j := &windowJoin{joiner: newJoiner(b, &op.JoinOn), op: op, clock: clock{zone: op.Window.Zone}}
	j.done.rollback(&j.base)
	return j, nil
}

func (j *windowJoin) rollback() {
	j.joiner.rollback()
	j.done.rollback(&j.base)
}

func (j *windowJoin) finishTransaction() {
	j.merged.finishTransaction(&j.base, j.merger)
	j.done.finishTransaction(&j.base, j.pending())
}

func windowJoinEntries(op *plan.WindowJoin) []movedEntry { return joinEntries(&op.JoinOn) }

func (j *windowJoin) push(in int, r *rowBatch) {
	for i := range r.N {
		end := r.Cols[j.op.Ends[in]].I[i]
		if watermark := r.watermark(i, j.merged.now); j.clock.late(end, watermark) {
			if !r.hasMore(i) {
				j.task.late(r, i, j.rel.Inputs[in], errLate(end, watermark, j.clock))
			}
			continue
		}
		if j.matchless(in, r.Batch, i) && !j.on.Kind.Keeps(in) {
			continue
		}
		row := j.row(in, r, i, nil)
		j.load(in, end, &row)
		row.count++
		j.save(in, end, &row)
		if j.lineage != nil {
			j.lineage.add(r.context(i), end, row.key)
		}
	}
}

func (j *windowJoin) advance(in int, watermark int64, idle bool) {
	j.merge(in, watermark, idle)
	if !j.task.restoring {
		j.fire()
	}
	j.done.forward(&j.base, j.pending(), j.merged.now, j.idle)
}

// due returns the first window that the watermark has passed.
func (j *windowJoin) due() (end int64, ok bool) {
	for in := range 2 {
		if first, some := j.task.store.FirstWindow(j.entry(in)); some && j.clock.passed(first, j.merged.now) && (!ok || first < end) {
			end, ok = first, true
		}
	}
	return end, ok
}

func (j *windowJoin) pending() bool {
	_, ok := j.due()
	return ok
}

func (j *windowJoin) resume() {
	if j.pending() {
		j.fire()
		j.done.forward(&j.base, j.pending(), j.merged.now, j.idle)
	}
}

// fire emits the windows that are due, up to the transaction's limit.
func (j *windowJoin) fire() {
	ends := slices.Concat(j.task.store.Windows(j.entry(0)), j.task.store.Windows(j.entry(1)))
	slices.Sort(ends)
	for _, end := range slices.Compact(ends) {
		if !j.clock.passed(end, j.merged.now) || j.task.full() {
			break
		}
		j.window(end)
		j.task.clear(j.entry(0), end)
		j.task.clear(j.entry(1), end)
		j.lineage.drop(end)
	}
	j.deliver()
}

// window emits the rows of the window that ends at end.
func (j *windowJoin) window(end int64) {
	if j.on.Kind != plan.RightJoin {
		j.side(0, end, true)
	}
	if j.on.Kind.Keeps(1) {
		j.side(1, end, j.on.Kind == plan.RightJoin)
	}
}

// side joins each row of an input with the rows of the other. pairs is false if the pairs were
// emitted before, and only rows without a match are missing.
func (j *windowJoin) side(in int, end int64, pairs bool) {
	pairs = pairs && !j.on.Kind.LeftOnly()
	j.each(in, end, nil, nil, func(row *joinRow) bool {
		j.task.countFired()
		j.read(in, row)
		matched := false
		if !j.matchless(in, j.sides[in], 0) {
			j.each(1-in, end, row.key[:row.equal], row.key[:row.equal], func(other *joinRow) bool {
				j.read(1-in, other)
				if !j.matches(kindInsert) {
					return true
				}
				matched = true
				if pairs {
					j.task.countFired()
					j.add(kindInsert, [2]bool{true, true}, row.count*other.count, cmp.Or(j.caused(end, row), j.caused(end, other)))
				}
				return pairs
			})
		}
		if j.on.Kind == plan.SemiJoin && matched || j.on.Kind.Keeps(in) && !matched {
			j.add(kindInsert, [2]bool{in == 0, in == 1}, row.count, j.caused(end, row))
		}
		return true
	})
}
