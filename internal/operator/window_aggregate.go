package operator

import (
	"slices"
	"sort"

	"weir.example/weir/internal/plan"
)

// windowAggregate groups rows in windows. Its state entries are accumulators, keyed by the end of a
// slice and the group's key. A window is assembled from its slices when the watermark passes its
// end. If rows arrive with their whole window, the slice is the window, and its start is part of
// the key.
//
// A row that is late for some windows of its slice but not for all is stored separately, under the
// end of the first window that includes it. Which windows these are depends only on the row's own
// watermark, never on what the operator has emitted.
//
// The watermark of windows over PROCTIME() is what is over by the clock of the task. No row is late
// for them, and those of the input only pass.
type windowAggregate struct {
	base
	aggregator
	op    *plan.Aggregate
	clock clock

	// size, slide and offset of the windows that are assembled from slices; size is 0 if rows
	// arrive with their whole window.
	size, slide, offset int64
	start, end          int // columns of the input
	watermark           int64
	passing             int64 // the input's watermark, of windows over PROCTIME()
	idle                bool
	fired               int64 // windows have been emitted up to this watermark
	kept                bool  // fired is in the state, because windows are due
	saved               int64 // fired as saved in the state
	merged              map[string][]byte
	places              map[string][]valuePlace // of the groups in merged, in order
	partial             []byte                  // a key in partialSlices
	lineage             *lineage                // of open slices
}

const (
	groups        = 0 // accumulators
	distincts     = 1 // values of DISTINCT
	partialSlices = 2 // accumulators of rows that are late for some windows of their slice, keyed by the end of their first window and the group's key
)

func newWindowAggregate(b base, op *plan.Aggregate) *windowAggregate {
	a := &windowAggregate{
		base: b, aggregator: newAggregator(b, op), op: op, clock: clock{zone: op.Window.Zone},
		start: op.Keys[op.Window.Start], end: op.Keys[op.Window.End], merged: make(map[string][]byte), places: make(map[string][]valuePlace), lineage: b.task.newLineage(),
	}
	if op.Window.Sliced {
		a.size, a.slide, a.offset = op.Window.Size.Microseconds(), op.Window.Slide.Microseconds(), op.Window.Offset.Microseconds()
	} else if op.Window.Kind == plan.Tumble {
		a.size, a.slide, a.offset = op.Window.Size.Microseconds(), op.Window.Size.Microseconds(), op.Window.Offset.Microseconds()
	}
	if op.Window.Proctime {
		a.clock.now = &b.task.clock
	}
	a.countRows(b.task, b.rel)
	a.rollback()
	return a
}

func (a *windowAggregate) rollback() {
	a.watermark, a.passing, a.idle, a.fired, a.saved = minWatermark, minWatermark, false, minWatermark, minWatermark
	if a.op.Window.Proctime {
		a.watermark = past(a.task.clock)
		a.fired = a.watermark
	}
	if v, ok := a.task.store.Get(watermarkEntry, 0, a.firedKey()); ok {
		a.fired = (&reader{b: v}).int64()
	}
	var v []byte
	if v, a.kept = a.task.store.Get(watermarkEntry, 0, a.progressKey()); a.kept {
		a.fired = (&reader{b: v}).int64()
		a.saved = a.fired
	}
	a.lineage.clear()
}

// progressKey is the entry that stores up to which watermark windows have been emitted while others
// are due in later transactions.
func (a *windowAggregate) progressKey() []byte {
	return appendInt([]byte("windows out of "), int64(a.rel.State))
}

// pending reports whether due windows have not been emitted yet.
func (a *windowAggregate) pending() bool { return a.watermark > a.fired }

// resume emits more of the due windows.
func (a *windowAggregate) resume() {
	if a.pending() {
		a.fire()
		a.forwardProgress()
	}
}

// finishTransaction stores the watermark up to which windows have been emitted while others are
// due, so that a restored task continues from there.
func (a *windowAggregate) finishTransaction() {
	store := a.task.store
	switch {
	case a.pending() && (!a.kept || a.saved != a.fired):
		store.Put(watermarkEntry, 0, a.progressKey(), appendInt(nil, a.fired))
		a.kept, a.saved = true, a.fired
	case !a.pending() && a.kept:
		store.Delete(watermarkEntry, 0, a.progressKey())
		a.kept = false
	}
}

// firedKey is an entry of older versions, in which the watermark of a single row could fire windows
// ahead of the inputs' watermark.
func (a *windowAggregate) firedKey() []byte {
	return appendInt([]byte(firedPrefix), int64(a.rel.State))
}

const firedPrefix = "fired by "

func (a *windowAggregate) push(_ int, r *rowBatch) {
	starts, ends := r.Cols[a.start], r.Cols[a.end]
	for i := range r.N {
		slice := ends.I[i]
		watermark := a.watermarkOf(r, i)
		a.expect(slice, watermark, r.hasMore(i))
		first := a.firstEnd(slice)
		from := first
		if a.clock.late(first, watermark) {
			var open bool
			if from, open = a.firstOpen(slice, int64(watermark)); !open {
				if !r.hasMore(i) {
					a.task.late(r, i, a.rel.Inputs[0], errLate(a.lastEnd(slice), watermark, a.clock))
				}
				continue
			}
		}
		a.key = appendKey(a.key[:0], r.Batch, a.keys, i)
		if a.size == 0 {
			a.key = appendInt(a.key, starts.I[i])
		}
		if a.repeats(r, i, a.elements(slice, a.key)) {
			continue
		}
		if a.collecting {
			a.where = a.elements(slice, a.key)
			if from != first {
				a.where = a.partElements(slice, a.key, from)
			}
		}
		if from == first {
			a.count(r, i, a.rel.State+groups, slice, a.key)
		} else {
			a.partial = append(ordered(a.partial[:0], from), a.key...)
			a.count(r, i, a.rel.State+partialSlices, slice, a.partial)
		}
		if a.lineage != nil {
			a.lineage.add(r.context(i), slice, a.key)
		}
	}
}

// watermarkOf returns the watermark that decides whether a row is late.
func (a *windowAggregate) watermarkOf(r *rowBatch, i int) rowWatermark {
	if a.op.Window.Proctime {
		return rowWatermark(a.watermark)
	}
	return r.watermark(i, a.watermark)
}

// count adds a row to an entry of a slice.
func (a *windowAggregate) count(r *rowBatch, i int, entry uint16, slice int64, key []byte) {
	store := a.task.store
	old, _ := store.Get(entry, slice, key)
	a.value = a.accumulate(a.value[:0], old, r.Batch, i, r.lane(i), a.once(store, a.rel.State+distincts, slice, r.Batch, i))
	store.Put(entry, slice, key, a.value)
}

// elements returns where the values that functions collect of a group are.
func (a *windowAggregate) elements(slice int64, key []byte) valuePlace {
	if !a.collecting {
		return valuePlace{}
	}
	return elementsOf(a.task.store, a.rel.State+distincts, slice, key, 0)
}

// partElements is elements for rows that are late for the windows before the one that ends at from.
func (a *windowAggregate) partElements(slice int64, key []byte, from int64) valuePlace {
	return elementsOf(a.task.store, a.rel.State+distincts, slice, key, append([]byte{1}, ordered(nil, from)...)...)
}

// whole reports whether a slice is a whole window.
func (a *windowAggregate) whole() bool { return a.size == 0 || a.op.Window.Kind == plan.Tumble }

// lastEnd returns the end of the last window that includes a slice.
func (a *windowAggregate) lastEnd(slice int64) int64 {
	switch {
	case a.whole():
		return slice
	case a.op.Window.Kind == plan.Cumulate:
		return floorTo(slice-1, a.size, a.offset) + a.size
	}
	return floorTo(slice-1, a.slide, a.offset) + a.size
}

// firstEnd returns the end of the first window that includes a slice.
func (a *windowAggregate) firstEnd(slice int64) int64 {
	if a.size == 0 || a.op.Window.Kind != plan.Hop {
		return slice
	}
	// The first window that ends at or after the end of the slice.
	end := floorTo(slice-a.size, a.slide, a.offset) + a.size
	if end < slice {
		end += a.slide
	}
	return end
}

// firstOpen returns the end of the first window of a slice that a watermark has not passed. open is
// false if it has passed all.
func (a *windowAggregate) firstOpen(slice, watermark int64) (end int64, open bool) {
	first, last := a.firstEnd(slice), a.lastEnd(slice)
	if a.clock.passed(last, watermark) {
		return 0, false
	}
	if first == last {
		return first, true
	}
	n := sort.Search(int((last-first)/a.slide), func(n int) bool { return !a.clock.passed(first+int64(n)*a.slide, watermark) })
	return first + int64(n)*a.slide, true
}

func (a *windowAggregate) advance(_ int, watermark int64, idle bool) {
	if a.op.Window.Proctime {
		if a.passing, a.idle = watermark, idle; watermark != maxWatermark {
			a.forwardWatermark(watermark, idle)
			return
		}
	}
	a.watermark, a.idle = max(a.watermark, watermark), idle
	switch {
	case !a.task.restoring:
		a.fire()
	case !a.kept:
		a.fired = max(a.fired, watermark)
	}
	a.forwardProgress()
}

// forwardProgress forwards the watermark up to which windows have been emitted: downstream
// operators must not treat rows of pending windows as late.
func (a *windowAggregate) forwardProgress() {
	if a.op.Window.Proctime {
		if a.passing != minWatermark && (a.passing != maxWatermark || !a.pending()) {
			a.forwardWatermark(a.passing, a.idle)
		}
		return
	}
	if a.pending() {
		a.forwardWatermark(a.fired, false)
		return
	}
	a.forwardWatermark(a.watermark, a.idle)
}

// tick implements clocked.
func (a *windowAggregate) tick() {
	a.watermark = max(a.watermark, past(a.task.clock))
	a.fire()
}

// overAt implements clocked.
func (a *windowAggregate) overAt(clock int64) bool {
	if _, some := a.task.store.FirstWindow(a.rel.State + groups); !some || a.pending() {
		return false
	}
	return !a.due(a.slices(), a.fired, past(clock), func(int64) bool { return false })
}

// slices returns the ends of the slices that have entries, in order.
func (a *windowAggregate) slices() []int64 {
	all := a.task.store.Windows(a.rel.State + groups)
	if a.whole() {
		return all
	}
	if some := a.task.store.Windows(a.rel.State + partialSlices); len(some) > 0 {
		all = slices.Concat(all, some)
		slices.Sort(all)
		all = slices.Compact(all)
	}
	return all
}

// fire emits the windows whose end the watermark has passed, up to the transaction's limit. The
// others stay due.
func (a *windowAggregate) fire() {
	if !a.pending() {
		return
	}
	all := a.slices()
	if len(all) == 0 || !a.clock.passed(a.firstEnd(all[0]), a.watermark) {
		a.fired = a.watermark
		return
	}
	out := a.fired
	complete := a.due(all, a.fired, a.watermark, func(end int64) bool {
		if a.task.full() && !a.clock.passed(end, out) { // windows of one watermark are emitted together
			return false
		}
		a.window(end, all)
		out = a.clock.last(end - millisecond)
		return true
	})
	if complete {
		out = a.watermark
	}
	a.fired = out
	a.deliver()
	for _, slice := range all {
		if a.clock.passed(a.lastEnd(slice), a.fired) {
			a.task.clear(a.rel.State+groups, slice)
			a.task.clear(a.rel.State+distincts, slice)
			a.task.clear(a.rel.State+partialSlices, slice)
			a.lineage.drop(slice)
		}
	}
}

// due calls fn with the ends of the windows between two watermarks that have slices, in order,
// until fn returns false. It reports whether it has reached all of them.
func (a *windowAggregate) due(all []int64, from, to int64, fn func(end int64) bool) bool {
	step := max(a.slide, 1)
	next := minWatermark
	for _, slice := range all {
		end, open := a.firstOpen(slice, from)
		if !open {
			continue
		}
		for end = max(end, next); end <= a.lastEnd(slice); end += step {
			if !a.clock.passed(end, to) {
				return true
			}
			if !fn(end) {
				return false
			}
			next = end + step
		}
	}
	return true
}

// window emits the groups of the window that ends at end, in the order of their keys.
func (a *windowAggregate) window(end int64, all []int64) {
	store, entry := a.task.store, a.rel.State+groups
	if a.whole() {
		store.Scan(entry, end, func(key, value []byte) bool {
			start := end - a.size
			a.from = append(a.from[:0], a.elements(end, key))
			if a.size == 0 {
				start = (&reader{b: key[len(key)-8:]}).int64()
				key = key[:len(key)-8]
			}
			a.result(start, end, key, value)
			return true
		})
		return
	}
	start := end - a.size
	if a.op.Window.Kind == plan.Cumulate {
		start = floorTo(end-1, a.size, a.offset)
	}
	clear(a.merged)
	clear(a.places)
	first, _ := slices.BinarySearch(all, start+1)
	for _, slice := range all[first:] {
		if slice > end {
			break
		}
		a.task.countFired()
		store.Scan(entry, slice, func(key, value []byte) bool {
			a.join(key, value)
			if a.collecting {
				a.places[string(key)] = append(a.places[string(key)], a.elements(slice, key))
			}
			return true
		})
		store.Scan(a.rel.State+partialSlices, slice, func(key, value []byte) bool {
			if unordered(key) > end {
				return false // late for this window
			}
			a.join(key[8:], value)
			if k := key[8:]; a.collecting {
				a.places[string(k)] = append(a.places[string(k)], a.partElements(slice, k, unordered(key)))
			}
			return true
		})
	}
	keys := make([]string, 0, len(a.merged))
	for k := range a.merged {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		a.from = a.places[k]
		a.result(start, end, []byte(k), a.merged[k])
	}
}

// join merges an entry into the window that is being assembled.
func (a *windowAggregate) join(key, value []byte) {
	a.task.countFired()
	if old, ok := a.merged[string(key)]; ok {
		a.merged[string(key)] = a.merge(nil, old, value)
	} else {
		a.merged[string(key)] = slices.Clone(value)
	}
}

// result appends the row of a group to the output.
func (a *windowAggregate) result(start, end int64, key, value []byte) {
	if err := a.aggregator.window(a.op.Window, a.clock, start, end, key, value); err != nil {
		a.task.fail(err)
		return
	}
	if a.lineage != nil {
		if a.size == 0 { // the slice is the window, and its start is part of the key
			a.key = appendInt(append(a.key[:0], key...), start)
			start, key = end-1, a.key
		}
		a.out.records = append(a.out.records, a.lineage.joined(start, end, key))
	}
	a.task.countFired()
	if a.out.N == batchRows {
		a.deliver()
	}
}

func (a *windowAggregate) deliver() {
	a.emit(&a.out)
	a.out.clear()
}

// clear deletes the entries of a window.
func (t *Task) clear(entry uint16, window int64) {
	keys, ends := t.keys[:0], t.ends[:0]
	t.store.Scan(entry, window, func(key, _ []byte) bool {
		keys = append(keys, key...)
		ends = append(ends, len(keys))
		return true
	})
	from := 0
	for _, to := range ends {
		t.store.Delete(entry, window, keys[from:to])
		from = to
	}
	t.keys, t.ends = keys, ends
}
