package operator

import (
	"encoding/binary"
	"errors"
	"fmt"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// aggregator is shared by all aggregations: it encodes keys, holds the accumulators and builds
// output rows.
type aggregator struct {
	keys   []int // columns of the input, without those of the window
	places []int // their columns in the output
	aggs   []plan.Agg
	accs   []accumulator
	// collectors has those of accs that collect values; nil for the others. collecting says that
	// there are some, where is the place of the group that a row is added to, and from those that
	// a result consists of.
	collectors []*collector
	collecting bool
	where      valuePlace
	from       []valuePlace
	sets       []plan.DistinctSet                     // of each function
	first      int                                    // column of the first aggregate in the output
	reject     func(r *rowBatch, i int, reason error) // sets a row of the input aside
	spare      []*column.Column                       // replaces output columns that are not read
	out        rowBatch

	counted *column.Column // with a ledger: number of rows of the emitted group
	emitted func(rows int64)

	key, value, distinct []byte
	in, other            reader // reused: a new one would escape to the heap for each row
}

// read resets a reused reader.
func read(r *reader, b []byte) *reader {
	*r = reader{b: b}
	return r
}

// newAggregate creates the operator of an aggregation.
func newAggregate(b base, op *plan.Aggregate) (node, error) {
	switch {
	case op.Window == nil:
		return newGroupAggregate(b, op), nil
	case op.Window.Kind == plan.Session && op.Window.Sliced:
		return newSessionWindow(b, op), nil
	}
	return newWindowAggregate(b, op), nil
}

func aggregateEntries(op *plan.Aggregate) []movedEntry {
	var keys []int
	for i, k := range op.Keys {
		if !ofWindow(op, i) {
			keys = append(keys, k)
		}
	}
	all := []movedEntry{keyedEntry(groups, 0, keys, nil)}
	switch {
	case op.Window == nil:
		return append(all, keyedEntry(distincts, 0, keys, skipDistinct), keyedEntry(stampsOf, 0, keys, nil))
	case op.Window.Kind == plan.Session && op.Window.Sliced:
		return append(all, keyedEntry(parts, 0, keys, nil), keyedEntry(timers, 0, keys, nil), keyedEntry(sets, 0, keys, skipDistinct))
	}
	return append(all, keyedEntry(distincts, 0, keys, skipDistinct), keyedEntry(partialSlices, 0, keys, func(r *reader) { r.int64() }))
}

// skipDistinct skips what precedes the group's key in an entry of distinctKey.
func skipDistinct(r *reader) {
	r.byte()
	r.count()
}

func newAggregator(b base, op *plan.Aggregate) aggregator {
	g := aggregator{aggs: op.Aggs, sets: op.DistinctSets(b.rel), first: len(op.Keys), out: rowBatch{Batch: batch(b.rel)}}
	task, fields := b.task, fieldsOf(b.rel.Inputs[0])
	g.reject = func(r *rowBatch, i int, reason error) { task.reject(r, i, fields, reason) }
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
		c := collects(a, b.rel.Inputs[0])
		g.collectors, g.collecting = append(g.collectors, c), g.collecting || c != nil
		switch {
		case c != nil:
			g.accs = append(g.accs, c)
		case b.rel.Inputs[0].Updating:
			g.accs = append(g.accs, newRetractor(a, t))
		default:
			g.accs = append(g.accs, newAccumulator(a, t))
		}
	}
	for i := range b.rel.Cols {
		g.spare = append(g.spare, newColumn(b.rel, i))
	}
	return g
}

// ofWindow reports whether a key of an aggregate is a column of its window.
func ofWindow(op *plan.Aggregate, key int) bool {
	w := op.Window
	return w != nil && (key == w.Start || key == w.End || key == w.Time)
}

// accumulate appends to dst the accumulators of old with a row added, which is of lane from. isNew
// reports, for a DISTINCT aggregate, whether the row's value is new to the group.
func (g *aggregator) accumulate(dst, old []byte, b *column.Batch, row int, from lane, isNew func(agg int) bool) []byte {
	in := read(&g.in, old)
	for i, acc := range g.accs {
		if c, counts := g.argument(i, b, row, isNew); counts {
			if k := g.collectors[i]; k != nil {
				k.put(g.where, i, b, row, from, k.read(&reader{b: in.b}))
			}
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

// argument returns the argument column of a function, or nil if it has none, and whether the row
// counts. A FILTER may exclude the row; so may DISTINCT, for which once reports whether the row is
// the only one with its value.
func (g *aggregator) argument(agg int, b *column.Batch, row int, once func(agg int) bool) (c *column.Column, counts bool) {
	a := &g.aggs[agg]
	if a.Arg >= 0 {
		c = b.Cols[a.Arg]
	}
	if !g.passes(agg, b, row) {
		return c, false
	}
	if k := g.collectors[agg]; k != nil {
		return c, k.counts(b, row) && (!a.Distinct || once(agg))
	}
	return c, !a.Distinct || !c.Null[row] && once(agg)
}

// passes reports whether a row passes the FILTER of a function.
func (g *aggregator) passes(agg int, b *column.Batch, row int) bool {
	if g.aggs[agg].Filter < 0 {
		return true
	}
	c := b.Cols[g.aggs[agg].Filter]
	return !c.Null[row] && c.I[row] != 0
}

func (g *aggregator) merge(dst, a, b []byte) []byte {
	x, y := read(&g.in, a), read(&g.other, b)
	for _, acc := range g.accs {
		dst = acc.merge(dst, x, y)
	}
	if len(g.accs) == 0 {
		dst = append(dst, 1)
	}
	return dst
}

// col returns an output column or its replacement.
func (g *aggregator) col(i int) *column.Column {
	if c := g.out.Cols[i]; c != nil {
		return c
	}
	c := g.spare[i]
	c.Truncate(0)
	return c
}

// row appends a row with the key and the aggregates to the output. The caller fills the window
// columns.
func (g *aggregator) row(key, value []byte) error {
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
		if k := g.collectors[i]; k != nil {
			k.read(in)
			if err := k.collected(g.from, i, g.col(g.first+i)); err != nil {
				return errors.Join(err, in.err)
			}
			continue
		}
		acc.result(in, g.col(g.first+i))
	}
	g.out.N++
	return errors.Join(err, in.err)
}

// distinctPrefix appends what the state keys of a group's DISTINCT values start with.
func distinctPrefix(dst []byte, agg int, key []byte) []byte {
	return appendBytes(append(dst, byte(agg)), key) //nolint:gosec // few aggregates
}

// distinctKey returns the state key of a DISTINCT value in the current group.
func (g *aggregator) distinctKey(b *column.Batch, row, agg int) []byte {
	g.distinct = distinctPrefix(g.distinct[:0], agg, g.key)
	g.distinct = appendValue(g.distinct, b.Cols[g.aggs[agg].Arg], row)
	return g.distinct
}

// once returns, for accumulate, whether a row's value is new to a DISTINCT function of the current
// group. An entry of the values has a bit for each function that shares them.
func (g *aggregator) once(store *state.Store, entry uint16, window int64, b *column.Batch, row int) func(agg int) bool {
	return func(agg int) bool {
		set := g.sets[agg]
		k := g.distinctKey(b, row, set.First)
		v, _ := store.Get(entry, window, k)
		seen, _ := binary.Uvarint(v)
		bit := uint64(1) << set.Bit
		if seen&bit != 0 {
			return false
		}
		store.Put(entry, window, k, binary.AppendUvarint(nil, seen|bit))
		return true
	}
}

var errState = errors.New("the pipeline's state has a format unknown to this version of Weir")

// window appends the row of a group and its window to the output.
func (g *aggregator) window(w *plan.GroupWindow, c clock, start, end int64, key, value []byte) error {
	g.col(w.Start).AddInt(start)
	g.col(w.End).AddInt(end)
	if w.Time >= 0 {
		g.col(w.Time).AddInt(c.windowTime(end))
	}
	return g.row(key, value)
}

// repeats sets a row aside whose key a JSON_OBJECTAGG of its group has already, or whose key is
// NULL: an object has each key once. Flink's job fails.
func (g *aggregator) repeats(r *rowBatch, i int, e valuePlace) bool {
	if !g.collecting {
		return false
	}
	for agg, c := range g.collectors {
		if c == nil || c.by != byKey {
			continue
		}
		if !g.passes(agg, r.Batch, i) {
			continue
		}
		keys := r.Cols[c.agg.Arg]
		switch {
		case keys.Null[i]:
			g.reject(r, i, errors.New("JSON_OBJECTAGG: the key is NULL"))
		case c.has(e, agg, r.Batch, i):
			g.reject(r, i, fmt.Errorf("JSON_OBJECTAGG: the group has the key %q already", keys.S[i]))
		default:
			continue
		}
		return true
	}
	return false
}
