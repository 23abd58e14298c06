package operator

import (
	"encoding/binary"
	"math/big"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// retractor is an aggregate function that can retract the value of a row.
type retractor interface {
	accumulator
	// retract appends to dst the state with the value of a row removed, and advances old past the
	// old state.
	retract(dst []byte, old *reader, c *column.Column, row int) []byte
}

// newRetractor returns the accumulator of an aggregate over updating rows. The plan rejects
// functions that can't retract, and collectors have the values of MIN and MAX.
func newRetractor(a plan.Agg, arg column.Type) accumulator {
	acc := newAccumulator(a, arg)
	if v, ok := acc.(variance); ok {
		return floatVariance{v}
	}
	return acc
}

func (c counter) retract(dst []byte, old *reader, col *column.Column, row int) []byte {
	n := c.read(old)
	if c.all || !col.Null[row] {
		n--
	}
	return binary.AppendVarint(dst, n)
}

func (s intSum) retract(dst []byte, old *reader, c *column.Column, row int) []byte {
	n, sum := s.read(old)
	if !c.Null[row] {
		n, sum = n-1, sum-c.I[row]
	}
	return s.write(dst, n, sum)
}

func (s floatSum) retract(dst []byte, old *reader, c *column.Column, row int) []byte {
	n, sum := s.read(old)
	if !c.Null[row] {
		n, sum = n-1, sum-c.F[row]
	}
	return s.write(dst, n, sum)
}

func (s decimalSum) retract(dst []byte, old *reader, c *column.Column, row int) []byte {
	n, sum := s.read(old)
	if !c.Null[row] {
		n--
		sum.Sub(sum, c.A[row].(*big.Int)) //nolint:forcetypeassert // a decimal column
	}
	return s.write(dst, n, sum)
}

func (v exactVariance) retract(dst []byte, old *reader, c *column.Column, row int) []byte {
	n, sum, squares := v.read(old)
	if x := v.value(c, row); x != nil {
		n--
		sum.Sub(sum, x)
		squares.Sub(squares, new(big.Int).Mul(x, x))
	}
	return v.write(dst, n, sum, squares)
}

// retract appends to dst the accumulators of old without a row. gone reports, for a DISTINCT
// aggregate, whether the group has no more rows with the row's value.
func (g *aggregator) retract(dst, old []byte, b *column.Batch, row int, gone func(agg int) bool) []byte {
	in := read(&g.in, old)
	for i, acc := range g.accs {
		if c, counts := g.argument(i, b, row, gone); counts {
			if k := g.collectors[i]; k != nil {
				k.take(g.where, i, b, row)
			}
			dst = acc.(retractor).retract(dst, in, c, row) //nolint:forcetypeassert // guaranteed by the plan
		} else {
			dst = acc.skip(dst, in)
		}
	}
	return dst
}

// change adds a row to its group, or retracts it, and reports whether the group still exists. The
// value of a group of updating rows starts with its number of rows; a group without rows is
// deleted.
func (g *groupAggregate) change(r *rowBatch, i int, old []byte) bool {
	store, entry := g.task.store, g.rel.State
	back := r.kind(i).retracts()
	in := &reader{b: old}
	n := int64(0)
	if len(old) > 0 {
		n = in.varint()
	}
	if back && n == 0 {
		return false // a row that was never added, or whose group has expired
	}
	rest := append([]byte(nil), in.b...)
	if g.collecting {
		g.where = g.elements(g.key)
	}
	// distinct counts a value of a DISTINCT aggregate and reports whether it is new or gone.
	distinct := func(step int64) func(agg int) bool {
		return func(agg int) bool {
			k := g.distinctKey(r.Batch, i, agg)
			v, _ := store.Get(entry+distincts, 0, k)
			before := counter{}.read(&reader{b: v})
			if before+step == 0 {
				store.Delete(entry+distincts, 0, k)
			} else {
				store.Put(entry+distincts, 0, k, binary.AppendVarint(nil, before+step))
			}
			return before == 0 || before+step == 0
		}
	}
	if back {
		g.value = g.retract(binary.AppendVarint(g.value[:0], n-1), rest, r.Batch, i, distinct(-1))
		if n == 1 {
			store.Delete(entry+groups, 0, g.key)
			g.clearElements(g.key)
			return false
		}
	} else {
		g.value = g.accumulate(binary.AppendVarint(g.value[:0], n+1), rest, r.Batch, i, r.lane(i), distinct(1))
	}
	store.Put(entry+groups, 0, g.key, g.value)
	return true
}

// withoutCount returns the value of a group without its number of rows.
func withoutCount(value []byte) []byte {
	in := &reader{b: value}
	if len(value) > 0 {
		in.varint()
	}
	return in.b
}
