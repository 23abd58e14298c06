package operator

import (
	"encoding/binary"
	"math"
	"math/big"

	"weir.example/weir/internal/column"
)

// exactVariance is VAR_* and STDDEV_* of integers and decimals: the number of values, their sum and
// the sum of their squares. Integers are computed as in Flink, in the integer type, so that the
// variance of 5 and 6 is 0; decimals keep all digits to the end.
type exactVariance struct{ variance }

func (exactVariance) read(old *reader) (n int64, sum, squares *big.Int) {
	if len(old.b) == 0 {
		return 0, new(big.Int), new(big.Int)
	}
	n = old.varint()
	decimal := column.OfDecimal(column.MaxPrecision, 0)
	sum, _ = old.boxed(decimal).(*big.Int)
	squares, _ = old.boxed(decimal).(*big.Int)
	if sum == nil || squares == nil { // the reader has recorded the error
		return 0, new(big.Int), new(big.Int)
	}
	return n, sum, squares
}

func (exactVariance) write(dst []byte, n int64, sum, squares *big.Int) []byte {
	return appendBoxed(appendBoxed(binary.AppendVarint(dst, n), sum), squares)
}

func (v exactVariance) add(dst []byte, old *reader, c *column.Column, row int) []byte {
	n, sum, squares := v.read(old)
	if x := v.value(c, row); x != nil {
		n++
		sum.Add(sum, x)
		squares.Add(squares, new(big.Int).Mul(x, x))
	}
	return v.write(dst, n, sum, squares)
}

// value returns a value of the argument, nil if it is NULL.
func (exactVariance) value(c *column.Column, row int) *big.Int {
	switch {
	case c.Null[row]:
		return nil
	case c.Type.Class() == column.Ints:
		return big.NewInt(c.I[row])
	}
	return c.A[row].(*big.Int) //nolint:forcetypeassert // a decimal column
}

func (v exactVariance) skip(dst []byte, old *reader) []byte {
	n, sum, squares := v.read(old)
	return v.write(dst, n, sum, squares)
}

func (v exactVariance) merge(dst []byte, a, b *reader) []byte {
	n, sum, squares := v.read(a)
	m, more, others := v.read(b)
	return v.write(dst, n+m, sum.Add(sum, more), squares.Add(squares, others))
}

func (v exactVariance) result(in *reader, to *column.Column) {
	n, sum, squares := v.read(in)
	over := n
	if v.sample {
		over--
	}
	if over <= 0 {
		to.AddNull()
		return
	}
	square := new(big.Int).Mul(sum, sum)
	if to.Type.Class() == column.Ints {
		wrap := func(x *big.Int) int64 {
			return column.Wrap(int64(new(big.Int).And(x, lowest64).Uint64()), to.Type.Kind)
		} //nolint:gosec // keeps the lowest bits, as Java does
		x := (wrap(squares) - wrap(square)/n) / over
		if v.root {
			x = int64(math.Sqrt(float64(x)))
		}
		to.AddInt(column.Wrap(x, to.Type.Kind))
		return
	}
	// (squares - sum²/n) / over, adjusted for the scales of the squares and of the result.
	x := new(big.Rat).SetInt(squares)
	x.Sub(x, new(big.Rat).SetFrac(square, big.NewInt(n)))
	x.Quo(x, new(big.Rat).SetInt64(over))
	x.Quo(x, new(big.Rat).SetInt(power10(2*v.arg.Scale)))
	if v.root {
		f, _ := x.Float64()
		x.SetFloat64(math.Sqrt(f))
	}
	x.Mul(x, new(big.Rat).SetInt(power10(to.Type.Scale)))
	to.Add(roundHalfUp(x))
}

var lowest64 = new(big.Int).SetUint64(math.MaxUint64)

func power10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// roundHalfUp rounds a non-negative number.
func roundHalfUp(x *big.Rat) *big.Int {
	doubled := new(big.Int).Lsh(x.Num(), 1)
	return new(big.Int).Quo(doubled.Add(doubled, x.Denom()), new(big.Int).Lsh(x.Denom(), 1))
}
