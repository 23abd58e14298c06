package operator

import (
	"errors"
	"slices"
	"sort"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// grouper is what all kinds of groups have in common: keys as bytes, accumulators, and rows of
// both.
type grouper struct {
	keys   []int // columns of the input, without those of the window
	places []int // where they go in the output
	aggs   []plan.Agg
	accs   []accumulator
	first  int              // place of the first aggregate in the output
	spare  []*column.Column // stands in for output columns that nobody reads
	out    rows

	counted *column.Column // with a ledger: the rows of the group that is given out, for emitted
	emitted func(rows int64)

	key, value, distinct []byte
	in, other            reader // kept: accumulators are behind an interface, so that a new one would be allocated for each row
}

// read makes a reader ready that is kept.
func read(r *reader, b []byte) *reader {
	*r = reader{b: b}
	return r
}

func newGrouper(b base, op *plan.Aggregate) grouper {
	g := grouper{aggs: op.Aggs, first: len(op.Keys), out: rows{Batch: batch(b.rel)}}
	for i, k := range op.Keys {
		if !ofWindow(op, i) {
			g.keys, g.places = append(g.keys, k), append(g.places, i)
		}
	}
	in := b.rel.Inputs[0].Cols
	for _, a := range op.Aggs {
		t := column.Type{}
		if a.Arg >= 0 {
			t = in[a.Arg].Type
		}
		if b.rel.Inputs[0].Updating {
			g.accs = append(g.accs, newRetractor(a, t))
		} else {
			g.accs = append(g.accs, newAccumulator(a, t))
		}
	}
	for i := range b.rel.Cols {
		g.spare = append(g.spare, newColumn(b.rel, i))
	}
	return g
}

// ofWindow reports whether a key of an aggregate belongs to its window.
func ofWindow(op *plan.Aggregate, key int) bool {
	w := op.Window
	return w != nil && (key == w.Start || key == w.End || key == w.Time)
}

// add appends to dst the accumulators of old with a row added. fresh tells for a DISTINCT whether
// its value is new to the group.
func (g *grouper) add(dst, old []byte, b *column.Batch, row int, fresh func(agg int) bool) []byte {
	in := read(&g.in, old)
	for i, acc := range g.accs {
		if c, counts := g.argument(i, b, row, fresh); counts {
			dst = acc.add(dst, in, c, row)
		} else {
			dst = acc.skip(dst, in)
		}
	}
	if len(g.accs) == 0 {
		dst = append(dst, 1)
	}
	return dst
}

// argument is the column that a function looks at, nil where it looks at none, and whether it looks
// at this row: by its FILTER, and by its DISTINCT, of which once tells whether it is the only row
// of its value.
func (g *grouper) argument(agg int, b *column.Batch, row int, once func(agg int) bool) (c *column.Column, counts bool) {
	a := &g.aggs[agg]
	if a.Arg >= 0 {
		c = b.Cols[a.Arg]
	}
	if a.Filter >= 0 && (b.Cols[a.Filter].Null[row] || b.Cols[a.Filter].I[row] == 0) {
		return c, false
	}
	return c, !a.Distinct || !c.Null[row] && once(agg)
}

func (g *grouper) merge(dst, a, b []byte) []byte {
	x, y := read(&g.in, a), read(&g.other, b)
	for _, acc := range g.accs {
		dst = acc.merge(dst, x, y)
	}
	if len(g.accs) == 0 {
		dst = append(dst, 1)
	}
	return dst
}

// col is an output column, or what stands in for it.
func (g *grouper) col(i int) *column.Column {
	if c := g.out.Cols[i]; c != nil {
		return c
	}
	c := g.spare[i]
	c.Truncate(0)
	return c
}

// row adds a row with key and aggregates to the output; columns of the window are the caller's.
func (g *grouper) row(key, value []byte) error {
	in := read(&g.in, key)
	for _, place := range g.places {
		in.value(g.col(place))
	}
	err := in.err
	in = read(&g.in, value)
	for i, acc := range g.accs {
		if g.emitted != nil && i == len(g.accs)-1 {
			g.counted.Truncate(0)
			acc.result(in, g.counted)
			g.emitted(g.counted.I[0])
			break
		}
		acc.result(in, g.col(g.first+i))
	}
	g.out.N++
	return errors.Join(err, in.err)
}

// distinctKey names a value of a DISTINCT in a group.
func (g *grouper) distinctKey(b *column.Batch, row, agg int) []byte {
	g.distinct = appendBytes(append(g.distinct[:0], byte(agg)), g.key)
	g.distinct = appendValue(g.distinct, b.Cols[g.aggs[agg].Arg], row)
	return g.distinct
}

var errState = errors.New("the state of the pipeline is not what this version keeps")

// aggregate groups rows in windows. Its entries are accumulators by the end of a slice and the
// group's key; a window is put together from its slices when the watermark passes its end. Where
// rows come with their whole window, the slice is the window, and its start belongs to the key.
//
// A row that is late for some windows of its slice and not for all is kept apart, under the end of
// the first window that it is in. Which windows these are is decided by the row's own watermark,
// and never by what the operator has emitted.
type aggregate struct {
	base
	grouper
	op    *plan.Aggregate
	clock clock
	// size, slide and offset are those of the windows, where slices are put together; else size is
	// 0.
	size, slide, offset int64
	start, end          int // columns of the input
	watermark           int64
	idle                bool
	fired               int64 // windows are out up to this watermark
	kept                bool  // the state has fired, since windows are due
	saved               int64 // what it has
	merged              map[string][]byte
	partial             []byte   // a key in apart
	origins             *origins // of open slices
}

const (
	groups    = 0 // entries of accumulators
	distincts = 1 // entries of the values of DISTINCT
	apart     = 2 // entries of accumulators of rows that are late for windows of their slice: the end of their first window, and the key
)

func newAggregate(b base, op *plan.Aggregate) *aggregate {
	a := &aggregate{
		base: b, grouper: newGrouper(b, op), op: op, clock: clock{op.Window.Zone},
		start: op.Keys[op.Window.Start], end: op.Keys[op.Window.End], merged: make(map[string][]byte), origins: b.task.origins(),
	}
	if op.Window.Sliced {
		a.size, a.slide, a.offset = op.Window.Size.Microseconds(), op.Window.Slide.Microseconds(), op.Window.Offset.Microseconds()
	} else if op.Window.Kind == plan.Tumble {
		a.size, a.slide, a.offset = op.Window.Size.Microseconds(), op.Window.Size.Microseconds(), op.Window.Offset.Microseconds()
	}
	a.countRows(b.task, b.rel)
	a.reset()
	return a
}

func (a *aggregate) reset() {
	a.watermark, a.idle, a.fired, a.saved = unknown, false, unknown, unknown
	if v, ok := a.task.store.Get(watermarks, 0, a.firedKey()); ok {
		a.fired = (&reader{b: v}).int64()
	}
	var v []byte
	if v, a.kept = a.task.store.Get(watermarks, 0, a.progressKey()); a.kept {
		a.fired = (&reader{b: v}).int64()
		a.saved = a.fired
	}
	a.origins.clear()
}

// progressKey is the entry that says up to which watermark windows are out, while others are due
// that other transactions emit.
func (a *aggregate) progressKey() []byte {
	return appendInt([]byte("windows out of "), int64(a.rel.State))
}

// pending reports whether windows are due that have not come out yet.
func (a *aggregate) pending() bool { return a.watermark > a.fired }

// resume emits more of them.
func (a *aggregate) resume() {
	if a.pending() {
		a.fire()
		a.tell()
	}
}

// flush keeps how far the windows are out where some are due, so that a restored task goes on from
// there.
func (a *aggregate) flush() {
	store := a.task.store
	switch {
	case a.pending() && (!a.kept || a.saved != a.fired):
		store.Put(watermarks, 0, a.progressKey(), appendInt(nil, a.fired))
		a.kept, a.saved = true, a.fired
	case !a.pending() && a.kept:
		store.Delete(watermarks, 0, a.progressKey())
		a.kept = false
	}
}

// firedKey is the entry of a version in which the watermark of a row emitted windows before that of
// the inputs did.
func (a *aggregate) firedKey() []byte { return appendInt([]byte(firedPrefix), int64(a.rel.State)) }

const firedPrefix = "fired by "

func (a *aggregate) push(_ int, r *rows) {
	starts, ends := r.Cols[a.start], r.Cols[a.end]
	for i := range r.N {
		slice := ends.I[i]
		mark := r.mark(i, a.watermark)
		a.expect(slice, mark, r.again(i))
		first := a.firstEnd(slice)
		from := first
		if a.clock.late(first, mark) {
			var open bool
			if from, open = a.firstOpen(slice, int64(mark)); !open {
				if !r.again(i) {
					a.task.late(r, i, a.rel.Inputs[0], errLate(a.lastEnd(slice), mark, a.clock))
				}
				continue
			}
		}
		a.key = appendKey(a.key[:0], r.Batch, a.keys, i)
		if a.size == 0 {
			a.key = appendInt(a.key, starts.I[i])
		}
		if from == first {
			a.count(r, i, a.rel.State+groups, slice, a.key)
		} else {
			a.partial = append(ordered(a.partial[:0], from), a.key...)
			a.count(r, i, a.rel.State+apart, slice, a.partial)
		}
		if a.origins != nil {
			a.origins.add(r.context(i), slice, a.key)
		}
	}
}

// count adds a row to an entry of a slice.
func (a *aggregate) count(r *rows, i int, entry uint16, slice int64, key []byte) {
	store := a.task.store
	old, _ := store.Get(entry, slice, key)
	a.value = a.add(a.value[:0], old, r.Batch, i, func(agg int) bool {
		k := a.distinctKey(r.Batch, i, agg)
		if _, seen := store.Get(a.rel.State+distincts, slice, k); seen {
			return false
		}
		store.Put(a.rel.State+distincts, slice, k, []byte{1})
		return true
	})
	store.Put(entry, slice, key, a.value)
}

// whole reports whether a slice is all of a window.
func (a *aggregate) whole() bool { return a.size == 0 || a.op.Window.Kind == plan.Tumble }

// lastEnd is the end of the last window that a slice is in.
func (a *aggregate) lastEnd(slice int64) int64 {
	switch {
	case a.whole():
		return slice
	case a.op.Window.Kind == plan.Cumulate:
		return floorTo(slice-1, a.size, a.offset) + a.size
	}
	return floorTo(slice-1, a.slide, a.offset) + a.size
}

// firstEnd is the end of the first window that a slice is in.
func (a *aggregate) firstEnd(slice int64) int64 {
	if a.size == 0 || a.op.Window.Kind != plan.Hop {
		return slice
	}
	// The first window that is not over before the slice ends.
	end := floorTo(slice-a.size, a.slide, a.offset) + a.size
	if end < slice {
		end += a.slide
	}
	return end
}

// firstOpen is the end of the first window of a slice that a watermark has not passed. open is
// false where it has passed all.
func (a *aggregate) firstOpen(slice, watermark int64) (end int64, open bool) {
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

func (a *aggregate) advance(_ int, watermark int64, idle bool) {
	a.watermark, a.idle = max(a.watermark, watermark), idle
	switch {
	case !a.task.restoring:
		a.fire()
	case !a.kept:
		a.fired = max(a.fired, watermark)
	}
	a.tell()
}

// tell passes on how far the windows are out: rows of those that are due may not be late for what
// comes after.
func (a *aggregate) tell() {
	if a.pending() {
		a.pass(a.fired, false)
		return
	}
	a.pass(a.watermark, a.idle)
}

// slices are the ends of those that have entries.
func (a *aggregate) slices() []int64 {
	all := a.task.store.Windows(a.rel.State + groups)
	if a.whole() {
		return all
	}
	if some := a.task.store.Windows(a.rel.State + apart); len(some) > 0 {
		all = slices.Concat(all, some)
		slices.Sort(all)
		all = slices.Compact(all)
	}
	return all
}

// fire emits the windows whose end the watermark has passed, as many as the transaction has room
// for. The others stay due.
func (a *aggregate) fire() {
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
		if a.task.full() && !a.clock.passed(end, out) { // windows of one watermark come out together
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
			a.task.clear(a.rel.State+apart, slice)
			a.origins.drop(slice)
		}
	}
}

// due calls fn with the ends of windows between two watermarks that have slices, the earliest
// first, until it returns false. It reports whether it has called it with all.
func (a *aggregate) due(all []int64, from, to int64, fn func(end int64) bool) bool {
	step := max(a.slide, 1)
	next := unknown
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
func (a *aggregate) window(end int64, all []int64) {
	store, entry := a.task.store, a.rel.State+groups
	if a.whole() {
		store.Scan(entry, end, func(key, value []byte) bool {
			start := end - a.size
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
	first, _ := slices.BinarySearch(all, start+1)
	for _, slice := range all[first:] {
		if slice > end {
			break
		}
		a.task.spend(1)
		store.Scan(entry, slice, func(key, value []byte) bool {
			a.join(key, value)
			return true
		})
		store.Scan(a.rel.State+apart, slice, func(key, value []byte) bool {
			if unordered(key) > end {
				return false // late for this window
			}
			a.join(key[8:], value)
			return true
		})
	}
	keys := make([]string, 0, len(a.merged))
	for k := range a.merged {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		a.result(start, end, []byte(k), a.merged[k])
	}
}

// join merges an entry into the window that is put together.
func (a *aggregate) join(key, value []byte) {
	a.task.spend(1)
	if old, ok := a.merged[string(key)]; ok {
		a.merged[string(key)] = a.merge(nil, old, value)
	} else {
		a.merged[string(key)] = slices.Clone(value)
	}
}

// result adds the row of a group to the output.
func (a *aggregate) result(start, end int64, key, value []byte) {
	if err := a.grouper.window(a.op.Window, a.clock, start, end, key, value); err != nil {
		a.task.fail(err)
		return
	}
	if a.origins != nil {
		if a.size == 0 { // the slice is the window, and its start belongs to the key
			a.key = appendInt(append(a.key[:0], key...), start)
			start, key = end-1, a.key
		}
		a.out.from = append(a.out.from, a.origins.joined(start, end, key))
	}
	a.task.spend(1)
	if a.out.N == batchRows {
		a.deliver()
	}
}

func (a *aggregate) deliver() {
	a.emit(&a.out)
	a.out.clear()
}

// window adds the row of a group and its window to the output.
func (g *grouper) window(w *plan.GroupWindow, c clock, start, end int64, key, value []byte) error {
	g.col(w.Start).AddInt(start)
	g.col(w.End).AddInt(end)
	if w.Time >= 0 {
		g.col(w.Time).AddInt(c.instant(end - millisecond))
	}
	return g.row(key, value)
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
