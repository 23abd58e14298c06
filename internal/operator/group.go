package operator

import (
	"bytes"
	"slices"

	"weir.example/weir/internal/plan"
)

// group groups rows without windows: each change of a group replaces its row. What a transaction
// changed comes out at its end, once for each group.
type group struct {
	base
	grouper
	op      *plan.Aggregate
	updated bool              // the rows that are grouped are
	touched map[string][]byte // accumulators before the transaction; nil for a group that is new
	order   []string
	origins *origins // of the transaction
}

func newGroup(b base, op *plan.Aggregate) *group {
	g := &group{base: b, grouper: newGrouper(b, op), op: op, origins: b.task.origins(), updated: b.rel.Inputs[0].Updating}
	if b.rel.Updating {
		g.out.kinds = []kind{}
	}
	g.reset()
	return g
}

func (g *group) reset() {
	g.touched, g.order = make(map[string][]byte), nil
	g.origins.clear()
}

func (g *group) push(_ int, r *rows) {
	store, entry := g.task.store, g.rel.State
	for i := range r.N {
		g.key = appendKey(g.key[:0], r.Batch, g.keys, i)
		old, known := store.Get(entry+groups, 0, g.key)
		if known && len(g.accs) == 0 && !g.updated {
			continue // DISTINCT: the row has come before
		}
		if _, seen := g.touched[string(g.key)]; !seen {
			k := string(g.key)
			g.order = append(g.order, k)
			g.touched[k] = nil
			if known {
				g.touched[k] = slices.Clone(old)
			}
		}
		if g.updated {
			g.change(r, i, old)
			g.caused(r, i)
			continue
		}
		g.value = g.add(g.value[:0], old, r.Batch, i, func(agg int) bool {
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

func (g *group) caused(r *rows, i int) {
	if g.origins != nil {
		g.origins.add(r.context(i), 0, g.key)
	}
}

func (g *group) flush() {
	for _, k := range g.order {
		before := g.touched[k]
		after, ok := g.task.store.Get(g.rel.State+groups, 0, []byte(k))
		after = slices.Clone(after)
		wasThere := before != nil
		if g.updated {
			before, after = withoutCount(before), withoutCount(after)
		}
		switch {
		case !ok && wasThere:
			g.result(remove, k, before)
		case !ok || wasThere && bytes.Equal(before, after):
		case !wasThere:
			g.result(insert, k, after)
		default:
			g.result(updateBefore, k, before)
			g.result(updateAfter, k, after)
		}
	}
	g.deliver()
	clear(g.touched)
	g.order = g.order[:0]
	g.origins.clear()
}

func (g *group) result(what kind, key string, value []byte) {
	if err := g.row([]byte(key), value); err != nil {
		g.task.fail(errState)
		return
	}
	if g.out.kinds != nil {
		g.out.kinds = append(g.out.kinds, what)
	}
	if g.origins != nil {
		g.out.from = append(g.out.from, g.origins.caused(0, []byte(key)))
	}
	if g.out.N >= batchRows && what != updateBefore {
		g.deliver()
	}
}

func (g *group) deliver() {
	g.emit(&g.out)
	g.out.clear()
}
