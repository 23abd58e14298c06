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
}

func newGroupAggregate(b base, op *plan.Aggregate) *groupAggregate {
	g := &groupAggregate{base: b, aggregator: newAggregator(b, op), op: op, lineage: b.task.newLineage(), updated: b.rel.Inputs[0].Updating}
	if b.rel.Updating {
		g.out.kinds = []rowKind{}
	}
	g.rollback()
	return g
}

func (g *groupAggregate) rollback() {
	g.touched.clear()
	g.lineage.clear()
}

func (g *groupAggregate) push(_ int, r *rowBatch) {
	store, entry := g.task.store, g.rel.State
	for i := range r.N {
		g.key = appendKey(g.key[:0], r.Batch, g.keys, i)
		old, known := store.Get(entry+groups, 0, g.key)
		if known && len(g.accs) == 0 && !g.updated {
			continue // DISTINCT: a duplicate
		}
		if !g.touched.has(g.key) {
			g.touched.add(g.key, slices.Clone(old))
		}
		if g.updated {
			g.change(r, i, old)
			g.caused(r, i)
			continue
		}
		g.value = g.accumulate(g.value[:0], old, r.Batch, i, func(agg int) bool {
			k := g.distinctKey(r.Batch, i, agg)
			if _, seen := store.Get(entry+distincts, 0, k); seen {
				return false
			}
			store.Put(entry+distincts, 0, k, []byte{1})
			return true
		})
		store.Put(entry+groups, 0, g.key, g.value)
		g.caused(r, i)
	}
}

func (g *groupAggregate) caused(r *rowBatch, i int) {
	if g.lineage != nil {
		g.lineage.add(r.context(i), 0, g.key)
	}
}

func (g *groupAggregate) finishTransaction() {
	for _, k := range g.touched.order {
		before := g.touched.before[k]
		after, ok := g.task.store.Get(g.rel.State+groups, 0, []byte(k))
		after = slices.Clone(after)
		wasThere := before != nil
		if g.updated {
			before, after = withoutCount(before), withoutCount(after)
		}
		switch {
		case !ok && wasThere:
			g.result(kindDelete, k, before)
		case !ok || wasThere && bytes.Equal(before, after):
		case !wasThere:
			g.result(kindInsert, k, after)
		default:
			g.result(kindUpdateBefore, k, before)
			g.result(kindUpdateAfter, k, after)
		}
	}
	g.deliver()
	g.touched.clear()
	g.lineage.clear()
}

func (g *groupAggregate) result(what rowKind, key string, value []byte) {
	if err := g.row([]byte(key), value); err != nil {
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
