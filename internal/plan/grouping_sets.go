package plan

import (
	"slices"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// maxSets limits the number of grouping sets that CUBE and products of sets expand to.
const maxSets = 64

// bindSets binds GROUPING SETS, ROLLUP or CUBE. Each of its sets is combined with the preceding
// elements of GROUP BY.
func (g *grouping) bindSets(e *sql.Grouping) error {
	elements := make([][]int, len(e.Sets))
	for i, set := range e.Sets {
		for _, x := range set {
			n, err := g.key(x)
			if err != nil {
				return err
			}
			place := position(g.keys, n)
			if place < 0 {
				place = len(g.keys)
				g.keys = append(g.keys, n)
			}
			elements[i] = append(elements[i], place)
		}
	}
	before := g.sets
	if before == nil {
		inSets := slices.Concat(elements...)
		var always []int
		for i := range g.keys {
			if !slices.Contains(inSets, i) {
				always = append(always, i)
			}
		}
		before = [][]int{always}
	}
	g.sets = nil
	for _, b := range before {
		for _, set := range expand(e.Kind, elements) {
			g.sets = append(g.sets, slices.Concat(b, set))
		}
	}
	if len(g.sets) > maxSets {
		return sql.Errorf(e, "GROUP BY of more than %d sets is not supported", maxSets)
	}
	return nil
}

// expand returns the sets of the elements: the elements for GROUPING SETS, their prefixes for
// ROLLUP, and their subsets for CUBE.
func expand(kind string, elements [][]int) [][]int {
	var sets [][]int
	switch kind {
	case "ROLLUP":
		for n := len(elements); n >= 0; n-- {
			sets = append(sets, slices.Concat(elements[:n]...))
		}
	case "CUBE":
		for choice := range 1 << min(len(elements), 16) {
			var set []int
			for i, e := range elements {
				if choice&(1<<i) == 0 {
					set = append(set, e...)
				}
			}
			sets = append(sets, set)
		}
	default:
		sets = elements
	}
	return sets
}

// grouped binds GROUPING(a, b): a bit mask of the keys that the row is not grouped by. The last key
// has the lowest bit.
func (g *grouping) grouped(c *sql.Call) (expr.Node, error) {
	if g.sets == nil {
		return nil, sql.Errorf(c, "%s without GROUPING SETS, ROLLUP or CUBE", strings.ToUpper(c.Name))
	}
	var keys []int
	for _, a := range c.Args {
		n, err := g.binder.plain().bind(a)
		if err != nil {
			return nil, err
		}
		n = expr.Fold(n)
		place := position(g.keys, n)
		if place < 0 {
			return nil, sql.Errorf(a, "%s requires expressions of GROUP BY", strings.ToUpper(c.Name))
		}
		keys = append(keys, place)
	}
	if len(keys) == 0 {
		return nil, sql.Errorf(c, "%s requires expressions of GROUP BY", strings.ToUpper(c.Name))
	}
	g.groupings = append(g.groupings, keys)
	return &expr.Col{Index: groupingColumns + len(g.groupings) - 1, Name: "GROUPING", T: notNull(column.BigInt)}, nil
}

// aggregateSets aggregates by each set and unites the results. Keys outside a row's set are NULL.
func (g *grouping) aggregateSets(in *Relation) (*Relation, error) {
	if g.window != nil {
		return nil, sql.Errorf(g.window, "GROUPING SETS with %s in GROUP BY are not supported", strings.ToUpper(g.window.Name)).
			WithHint("Flink doesn't treat this as a window either; write FROM TABLE(%s(TABLE …, DESCRIPTOR(…), …)) GROUP BY window_start, window_end, …", strings.ToUpper(g.window.Name))
	}
	var all []*Relation
	for _, set := range g.sets {
		keys := slices.Clone(set)
		slices.Sort(keys)
		keys = slices.Compact(keys)
		rows := in
		if len(keys) == 0 {
			rows, keys = g.keyedByConstant(in)
		}
		r, err := g.aggregate(rows, keys)
		if err != nil {
			return nil, err
		}
		all = append(all, g.padded(r, keys))
	}
	cols := slices.Clone(all[0].Cols)
	for _, r := range all {
		for i, c := range r.Cols {
			cols[i].Type = cols[i].Type.Nullable(!cols[i].Type.NotNull || !c.Type.NotNull)
		}
	}
	u := g.planner.relation(&Union{}, cols, all...)
	u.Multiset, u.Scattered = u.Updating, u.Updating // rows of two sets can be equal
	return u, nil
}

// keyedByConstant adds a constant column, and returns its position as the keys of the empty set:
// unlike an aggregation without GROUP BY, the set has no row while there are no rows to aggregate.
func (g *grouping) keyedByConstant(in *Relation) (*Relation, []int) {
	n := len(in.Cols)
	all := g.planner.project(in, append(names(in.Cols), "all"), append(in.first(n), &expr.Const{Value: true, T: notNull(column.Boolean)}))
	return all, []int{n}
}

// padded extends the rows of one set to the columns of all sets: the keys, the aggregates and the
// results of GROUPING.
func (g *grouping) padded(r *Relation, keys []int) *Relation {
	var exprs []expr.Node
	var names []string
	for i, k := range g.keys {
		names = append(names, k.String())
		if at := slices.Index(keys, i); at >= 0 {
			exprs = append(exprs, r.col(at))
		} else {
			exprs = append(exprs, &expr.Const{T: k.Type().Nullable(true)})
		}
	}
	for i := range g.aggs {
		c := r.col(len(keys) + i)
		exprs, names = append(exprs, c), append(names, c.Name)
	}
	for _, arguments := range g.groupings {
		bits := int64(0)
		for _, k := range arguments {
			bits <<= 1
			if !slices.Contains(keys, k) {
				bits |= 1
			}
		}
		exprs, names = append(exprs, &expr.Const{Value: bits, T: notNull(column.BigInt)}), append(names, "GROUPING")
	}
	return g.planner.project(r, names, exprs)
}
