package operator

import (
	"bytes"
	"slices"

	"weir.example/weir/internal/plan"
)

// groupAggregate groups rows without windows: each change of a group replaces its row. Changes are
// emitted at the end of the transaction, once per group.
type groupAggregate struct {
	base
	aggregator
	op      *plan.Aggregate
	updated bool            // the input is updating
	touched touched[[]byte] // accumulators before the transaction; nil for a new group
	lineage *lineage        // of the transaction
	expiry  *expiry         // of the groups
	shot    rowBatch        // the row of a snapshot
}

func newGroupAggregate(b base, op *plan.Aggregate) *groupAggregate {
	g := &groupAggregate{base: b, aggregator: newAggregator(b, op), op: op, lineage: b.task.newLineage(), updated: b.rel.Inputs[0].Updating, shot: rowBatch{Batch: batch(b.rel)}}
	if b.rel.Updating {
		g.out.kinds = []rowKind{}
	}
	g.expiry = newExpiry(&g.base, g.rel.TTL[0], stampsOf, groups, g)
	g.rollback()
	return g
}

func (g *groupAggregate) advance(_ int, watermark int64, idle bool) {
	g.expiry.advance(watermark)
	g.forwardWatermark(watermark, idle)
}

// drop implements expiring.
func (g *groupAggregate) drop(key []byte) {
	g.task.store.Delete(g.rel.State+groups, 0, key)
	for i, a := range g.aggs {
		if a.Distinct && g.sets[i].First == i {
			deleteKeys(g.task.store, g.rel.State+distincts, distinctPrefix(nil, i, key))
		}
	}
	g.clearElements(key)
}

// clearElements deletes the values that functions have collected of a group.
func (g *groupAggregate) clearElements(key []byte) {
	for i, c := range g.collectors {
		if c != nil {
			g.elements(key).clear(i)
		}
	}
}

// elements returns where the values that functions collect of a group are.
func (g *groupAggregate) elements(key []byte) valuePlace {
	return elementsOf(g.task.store, g.rel.State+distincts, 0, key)
}

// eachKey implements expiring.
func (g *groupAggregate) eachKey(from []byte, fn func(key []byte) bool) {
	eachEntry(g.task.store, g.rel.State+groups, from, fn)
}

func (g *groupAggregate) rollback() {
	g.touched.clear()
	g.lineage.clear()
}

func (g *groupAggregate) push(_ int, r *rowBatch) {
	store, entry := g.task.store, g.rel.State
	for i := range r.N {
		g.key = appendKey(g.key[:0], r.Batch, g.keys, i)
		at := g.expiry.at(r, i)
		if g.expiry.expired(g.key, at) {
			g.restart()
		}
		old, known := store.Get(entry+groups, 0, g.key)
		if known && len(g.accs) == 0 && !g.updated {
			g.expiry.touch(g.key, at)
			continue // DISTINCT: a duplicate
		}
		if !g.touched.has(g.key) {
			g.touched.add(g.key, g.snapshot(g.key, old, known))
		}
		if g.collecting && !g.updated && g.repeats(r, i, g.elements(g.key)) {
			continue
		}
		if g.updated {
			if g.change(r, i, old) {
				g.expiry.touch(g.key, at)
			} else {
				g.expiry.forget(g.key)
			}
			g.caused(r, i)
			continue
		}
		if g.collecting {
			g.where = g.elements(g.key)
		}
		g.value = g.accumulate(g.value[:0], old, r.Batch, i, r.lane(i), g.once(store, entry+distincts, 0, r.Batch, i))
		store.Put(entry+groups, 0, g.key, g.value)
		g.expiry.touch(g.key, at)
		g.caused(r, i)
	}
}

func (g *groupAggregate) caused(r *rowBatch, i int) {
	if g.lineage != nil {
		g.lineage.add(r.context(i), 0, g.key)
	}
}

// restart drops the group of g.key, which has expired: its next row is the first one. What it
// became in this transaction is emitted.
func (g *groupAggregate) restart() {
	if g.touched.has(g.key) {
		g.finish(string(g.key))
		g.touched.before[string(g.key)] = nil
	}
	g.expiry.drop(g.key)
	if !g.touched.has(g.key) {
		g.touched.add(g.key, nil)
	}
}

// finish emits the change of a group. While state expires, a change that leaves the row as it was
// is emitted too, like in Flink: what other operators keep of the row must not expire before the
// group does.
func (g *groupAggregate) finish(k string) {
	before := g.touched.before[k]
	after, ok := g.task.store.Get(g.rel.State+groups, 0, []byte(k))
	after = g.snapshot([]byte(k), after, ok)
	wasThere := before != nil
	if g.updated && !g.collecting {
		before, after = withoutCount(before), withoutCount(after)
	}
	switch {
	case !ok && wasThere:
		g.result(kindDelete, k, before)
	case !ok || wasThere && bytes.Equal(before, after) && (g.expiry == nil || !g.rel.Updating):
	case !wasThere:
		g.result(kindInsert, k, after)
	default:
		g.result(kindUpdateBefore, k, before)
		g.result(kindUpdateAfter, k, after)
	}
}

// snapshot returns what the row of a group is computed from: a copy of its accumulators or, since
// the values that functions collect are elsewhere and change, the row itself. It is nil for a group
// that doesn't exist.
func (g *groupAggregate) snapshot(key, value []byte, exists bool) []byte {
	if !exists || !g.collecting {
		return slices.Clone(value)
	}
	if g.updated {
		value = withoutCount(value)
	}
	clearBatch(g.shot.Batch)
	out := g.out
	g.out = g.shot
	g.from = append(g.from[:0], g.elements(key))
	err := g.row(key, slices.Clone(value))
	g.out = out
	if err != nil {
		g.task.fail(errState)
	}
	return appendRow([]byte{rowPresent}, g.shot.Batch, 0)
}

func (g *groupAggregate) finishTransaction() {
	for _, k := range g.touched.order {
		g.finish(k)
	}
	g.deliver()
	g.touched.clear()
	g.lineage.clear()
}

func (g *groupAggregate) result(what rowKind, key string, value []byte) {
	var err error
	if g.collecting {
		in := &reader{b: value}
		in.byte()
		in.row(g.out.Batch)
		err = in.err
	} else {
		err = g.row([]byte(key), value)
	}
	if err != nil {
		g.task.fail(errState)
		return
	}
	if g.out.kinds != nil {
		g.out.kinds = append(g.out.kinds, what)
	}
	if g.lineage != nil {
		g.out.records = append(g.out.records, g.lineage.caused(0, []byte(key)))
	}
	if g.out.N >= batchRows && what != kindUpdateBefore {
		g.deliver()
	}
}

func (g *groupAggregate) deliver() {
	g.emit(&g.out)
	g.out.clear()
}
