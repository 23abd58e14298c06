package operator

import (
	"encoding/binary"
	"math"
	"math/big"

	"weir.example/weir/internal/column"
)

// floatVariance is VAR_* and STDDEV_* of floats over updating rows. A mean that follows the values,
// as variance has it, would keep the rounding errors of values that are long retracted: one outlier
// could leave a deviation that no row explains. So the sums are exact.
type floatVariance struct{ variance }

// moments are the number of values, their sum and the sum of their squares. odd counts the values
// that are infinite or NaN, which the sums lack: with any of them, the variance is NaN.
type moments struct {
	n, odd       int64
	sum, squares dyadic
}

// dyadic is the number i × 2^exp, as is each float and each sum of floats.
type dyadic struct {
	i   *big.Int
	exp int
}

func (floatVariance) read(old *reader) moments {
	m := moments{sum: dyadic{new(big.Int), 0}, squares: dyadic{new(big.Int), 0}}
	if len(old.b) == 0 {
		return m
	}
	m.n, m.odd = old.varint(), old.varint()
	for _, d := range []*dyadic{&m.sum, &m.squares} {
		d.exp = int(old.varint())
		if i, ok := old.boxed(column.OfDecimal(column.MaxPrecision, 0)).(*big.Int); ok { // otherwise the reader has recorded the error
			d.i = i
		}
	}
	return m
}

func (floatVariance) write(dst []byte, m moments) []byte {
	dst = binary.AppendVarint(binary.AppendVarint(dst, m.n), m.odd)
	for _, d := range []dyadic{m.sum, m.squares} {
		dst = appendBoxed(binary.AppendVarint(dst, int64(d.exp)), d.i)
	}
	return dst
}

// count adds or, with a sign of -1, removes a value.
func (v floatVariance) count(dst []byte, old *reader, c *column.Column, row int, sign int64) []byte {
	m := v.read(old)
	if c.Null[row] {
		return v.write(dst, m)
	}
	m.n += sign
	if x := c.F[row]; math.IsInf(x, 0) || math.IsNaN(x) {
		m.odd += sign
	} else {
		d := dyadicOf(x)
		m.sum = m.sum.add(d, sign)
		m.squares = m.squares.add(dyadic{new(big.Int).Mul(d.i, d.i), 2 * d.exp}, sign)
	}
	return v.write(dst, m)
}

func (v floatVariance) add(dst []byte, old *reader, c *column.Column, row int) []byte {
	return v.count(dst, old, c, row, 1)
}

func (v floatVariance) retract(dst []byte, old *reader, c *column.Column, row int) []byte {
	return v.count(dst, old, c, row, -1)
}

func (v floatVariance) skip(dst []byte, old *reader) []byte { return v.write(dst, v.read(old)) }

func (v floatVariance) merge(dst []byte, a, b *reader) []byte {
	m, other := v.read(a), v.read(b)
	m.n, m.odd, m.sum, m.squares = m.n+other.n, m.odd+other.odd, m.sum.add(other.sum, 1), m.squares.add(other.squares, 1)
	return v.write(dst, m)
}

func (v floatVariance) result(in *reader, to *column.Column) {
	m := v.read(in)
	over := m.n
	if v.sample {
		over--
	}
	switch {
	case over <= 0:
		to.AddNull()
		return
	case m.odd != 0:
		to.AddFloat(math.NaN())
		return
	}
	// (squares - sum²/n) / over
	sum := m.sum.rat()
	x := new(big.Rat).Mul(sum, sum)
	x.Quo(x, new(big.Rat).SetInt64(m.n))
	x.Sub(m.squares.rat(), x)
	x.Quo(x, new(big.Rat).SetInt64(over))
	f := new(big.Float).SetPrec(256).SetRat(x) // whose root can be a float64 although it is too large for one
	if v.root {
		f.Sqrt(f)
	}
	result, _ := f.Float64()
	to.AddFloat(result)
}

// dyadicOf returns a finite float.
func dyadicOf(f float64) dyadic {
	fraction, exp := math.Frexp(f)
	return dyadic{big.NewInt(int64(fraction * (1 << 53))), exp - 53}.short()
}

// add returns the sum with another number, or their difference with a sign of -1.
func (d dyadic) add(other dyadic, sign int64) dyadic {
	exp := min(d.exp, other.exp)
	sum := new(big.Int).Lsh(other.i, uint(other.exp-exp)) //nolint:gosec // not negative
	if sign < 0 {
		sum.Neg(sum)
	}
	return dyadic{sum.Add(sum, new(big.Int).Lsh(d.i, uint(d.exp-exp))), exp}.short() //nolint:gosec // not negative
}

// short returns the same number with the smallest integer.
func (d dyadic) short() dyadic {
	if d.i.Sign() == 0 {
		return dyadic{d.i, 0}
	}
	zeros := d.i.TrailingZeroBits()
	return dyadic{d.i.Rsh(d.i, zeros), d.exp + int(zeros)} //nolint:gosec // at most some thousand bits
}

func (d dyadic) rat() *big.Rat {
	if d.exp >= 0 {
		return new(big.Rat).SetInt(new(big.Int).Lsh(d.i, uint(d.exp)))
	}
	return new(big.Rat).SetFrac(d.i, new(big.Int).Lsh(big.NewInt(1), uint(-d.exp)))
}
