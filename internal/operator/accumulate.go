package operator

import (
	"encoding/binary"
	"math"
	"math/big"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// accumulator is one aggregate function. Its state is a byte string; the states of all aggregates
// of a group are concatenated, so that memory and changelog have the same form.
type accumulator interface {
	// add appends to dst the state with the value of a row added, and advances old past the old
	// state. The old state is empty for the first row of a group.
	add(dst []byte, old *reader, c *column.Column, row int) []byte
	// skip appends the unchanged state, for a row that does not count.
	skip(dst []byte, old *reader) []byte
	// merge appends the merged state; a is the state of the earlier rows.
	merge(dst []byte, a, b *reader) []byte
	// result appends the function's value to a column.
	result(in *reader, to *column.Column)
}

// newAccumulator returns the accumulator of an aggregate over a column of type arg.
func newAccumulator(a plan.Agg, arg column.Type) accumulator {
	switch a.Name {
	case "COUNT":
		return counter{all: a.Arg < 0}
	case "SUM", "AVG":
		average := a.Name == "AVG"
		switch arg.Class() {
		case column.Floats:
			return floatSum{average}
		case column.Boxes:
			return decimalSum{average, arg, a.Type}
		}
		return intSum{average, arg.Kind}
	case "MIN":
		return extreme{arg, -1}
	case "MAX":
		return extreme{arg, 1}
	case "FIRST_VALUE":
		return edgeValue{arg, true}
	case "LAST_VALUE":
		return edgeValue{arg, false}
	}
	v := variance{arg: arg, of: a.Type, sample: a.Name[len(a.Name)-4:] == "SAMP", root: a.Name[:3] == "STD"}
	if arg.Exact() {
		return exactVariance{v}
	}
	return v
}

// counter is COUNT: a varint.
type counter struct{ all bool }

func (c counter) add(dst []byte, old *reader, col *column.Column, row int) []byte {
	n := c.read(old)
	if c.all || !col.Null[row] {
		n++
	}
	return binary.AppendVarint(dst, n)
}

func (counter) read(old *reader) int64 {
	if len(old.b) == 0 {
		return 0
	}
	return old.varint()
}

func (c counter) skip(dst []byte, old *reader) []byte { return binary.AppendVarint(dst, c.read(old)) }

func (c counter) merge(dst []byte, a, b *reader) []byte {
	return binary.AppendVarint(dst, c.read(a)+c.read(b))
}

func (c counter) result(in *reader, to *column.Column) { to.AddInt(c.read(in)) }

// intSum is SUM and AVG of integers: the number of values, and their sum as a varint. Overflow
// wraps around, as in Java.
type intSum struct {
	average bool
	kind    column.Kind
}

func (s intSum) read(old *reader) (n, sum int64) {
	if len(old.b) == 0 {
		return 0, 0
	}
	return old.varint(), old.varint()
}

func (s intSum) write(dst []byte, n, sum int64) []byte {
	return binary.AppendVarint(binary.AppendVarint(dst, n), sum)
}

func (s intSum) add(dst []byte, old *reader, c *column.Column, row int) []byte {
	n, sum := s.read(old)
	if !c.Null[row] {
		n, sum = n+1, sum+c.I[row]
	}
	return s.write(dst, n, sum)
}

func (s intSum) skip(dst []byte, old *reader) []byte {
	n, sum := s.read(old)
	return s.write(dst, n, sum)
}

func (s intSum) merge(dst []byte, a, b *reader) []byte {
	n, sum := s.read(a)
	m, more := s.read(b)
	return s.write(dst, n+m, sum+more)
}

func (s intSum) result(in *reader, to *column.Column) {
	n, sum := s.read(in)
	if n == 0 {
		to.AddNull()
		return
	}
	if s.average {
		sum /= n
	}
	switch s.kind {
	case column.TinyInt:
		sum = int64(int8(sum)) //nolint:gosec // wraps as in Java
	case column.SmallInt:
		sum = int64(int16(sum)) //nolint:gosec // see above
	case column.Int:
		sum = int64(int32(sum)) //nolint:gosec // see above
	}
	to.AddInt(sum)
}

// floatSum is SUM and AVG of floats: the number of values, and their sum.
type floatSum struct{ average bool }

func (floatSum) read(old *reader) (n int64, sum float64) {
	if len(old.b) == 0 {
		return 0, 0
	}
	return old.varint(), old.float()
}

func (floatSum) write(dst []byte, n int64, sum float64) []byte {
	return appendFloat(binary.AppendVarint(dst, n), sum)
}

func (s floatSum) add(dst []byte, old *reader, c *column.Column, row int) []byte {
	n, sum := s.read(old)
	if !c.Null[row] {
		n, sum = n+1, sum+c.F[row]
	}
	return s.write(dst, n, sum)
}

func (s floatSum) skip(dst []byte, old *reader) []byte {
	n, sum := s.read(old)
	return s.write(dst, n, sum)
}

func (s floatSum) merge(dst []byte, a, b *reader) []byte {
	n, sum := s.read(a)
	m, more := s.read(b)
	return s.write(dst, n+m, sum+more)
}

func (s floatSum) result(in *reader, to *column.Column) {
	n, sum := s.read(in)
	if n == 0 {
		to.AddNull()
		return
	}
	if s.average {
		sum /= float64(n)
	}
	if to.Type.Kind == column.Float {
		sum = float64(float32(sum))
	}
	to.AddFloat(sum)
}

// decimalSum is SUM and AVG of decimals: the number of values, and their unscaled sum.
type decimalSum struct {
	average bool
	arg, to column.Type
}

func (s decimalSum) read(old *reader) (n int64, sum *big.Int) {
	if len(old.b) == 0 {
		return 0, new(big.Int)
	}
	n = old.varint()
	sum, _ = old.boxed(s.arg).(*big.Int)
	if sum == nil {
		sum = new(big.Int)
	}
	return n, sum
}

func (s decimalSum) write(dst []byte, n int64, sum *big.Int) []byte {
	return appendBoxed(binary.AppendVarint(dst, n), sum)
}

func (s decimalSum) add(dst []byte, old *reader, c *column.Column, row int) []byte {
	n, sum := s.read(old)
	if !c.Null[row] {
		n++
		sum.Add(sum, c.A[row].(*big.Int)) //nolint:forcetypeassert // a decimal column
	}
	return s.write(dst, n, sum)
}

func (s decimalSum) skip(dst []byte, old *reader) []byte {
	n, sum := s.read(old)
	return s.write(dst, n, sum)
}

func (s decimalSum) merge(dst []byte, a, b *reader) []byte {
	n, sum := s.read(a)
	m, more := s.read(b)
	return s.write(dst, n+m, sum.Add(sum, more))
}

func (s decimalSum) result(in *reader, to *column.Column) {
	n, sum := s.read(in)
	if n == 0 {
		to.AddNull()
		return
	}
	if s.average {
		sum.Mul(sum, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(s.to.Scale-s.arg.Scale)), nil))
		half, rest := new(big.Int).QuoRem(sum, big.NewInt(n), new(big.Int))
		if rest.Abs(rest).Lsh(rest, 1).Cmp(big.NewInt(n)) >= 0 { // half up
			half.Add(half, big.NewInt(int64(sum.Sign())))
		}
		sum = half
	}
	if len(new(big.Int).Abs(sum).String()) > s.to.Precision {
		to.AddNull() // overflow, as in Flink
		return
	}
	to.Add(sum)
}

// extreme is MIN and MAX: the value, NULL before the first.
type extreme struct {
	arg  column.Type
	sign int
}

func (e extreme) read(old *reader) any {
	if len(old.b) == 0 {
		return nil
	}
	return old.boxed(e.arg)
}

func (e extreme) better(a, b any) bool {
	if f, ok := b.(float64); ok && math.IsNaN(f) {
		return a != nil && e.sign < 0 // NaN is the largest
	}
	return e.sign*column.CompareBoxed(a, b) > 0
}

func (e extreme) add(dst []byte, old *reader, c *column.Column, row int) []byte {
	before := old.b
	if len(before) > 0 && before[0] == 1 && !c.Null[row] { // numbers without boxing
		switch c.Type.Class() {
		case column.Floats:
			old.byte()
			v, x := old.float(), c.F[row]
			if e.sign > 0 && x > v || e.sign < 0 && x < v || x != x && e.sign > 0 || v != v && e.sign < 0 {
				v = x
			}
			return appendFloat(append(dst, 1), v)
		case column.Ints:
			old.byte()
			v, x := old.varint(), c.I[row]
			if e.sign > 0 && x > v || e.sign < 0 && x < v {
				v = x
			}
			return binary.AppendVarint(append(dst, 1), v)
		}
	}
	v := e.read(old)
	if x := c.Scalar(row); x != nil && (v == nil || e.better(x, v)) {
		v = x
	}
	return appendBoxed(dst, v)
}

func (e extreme) skip(dst []byte, old *reader) []byte { return appendBoxed(dst, e.read(old)) }

func (e extreme) merge(dst []byte, a, b *reader) []byte {
	v, x := e.read(a), e.read(b)
	if v == nil || x != nil && e.better(x, v) {
		v = x
	}
	return appendBoxed(dst, v)
}

func (e extreme) result(in *reader, to *column.Column) { to.Add(e.read(in)) }

// edgeValue is FIRST_VALUE and LAST_VALUE in order of arrival, ignoring NULLs.
type edgeValue struct {
	arg   column.Type
	first bool
}

func (e edgeValue) read(old *reader) any {
	if len(old.b) == 0 {
		return nil
	}
	return old.boxed(e.arg)
}

func (e edgeValue) add(dst []byte, old *reader, c *column.Column, row int) []byte {
	v := e.read(old)
	if x := c.Scalar(row); x != nil && (v == nil || !e.first) {
		v = x
	}
	return appendBoxed(dst, v)
}

func (e edgeValue) skip(dst []byte, old *reader) []byte { return appendBoxed(dst, e.read(old)) }

func (e edgeValue) merge(dst []byte, a, b *reader) []byte {
	v, x := e.read(a), e.read(b)
	if v == nil || x != nil && !e.first {
		v = x
	}
	return appendBoxed(dst, v)
}

func (e edgeValue) result(in *reader, to *column.Column) { to.Add(e.read(in)) }

// variance is VAR_* and STDDEV_* of FLOAT and DOUBLE: the number of values, their mean, and the sum
// of squared deviations from it (Welford), which unlike a sum of squares stays accurate if values
// are large and close together.
type variance struct {
	arg, of      column.Type
	sample, root bool
}

func (variance) read(old *reader) (n int64, mean, m2 float64) {
	if len(old.b) == 0 {
		return 0, 0, 0
	}
	return old.varint(), old.float(), old.float()
}

func (variance) write(dst []byte, n int64, mean, m2 float64) []byte {
	return appendFloat(appendFloat(binary.AppendVarint(dst, n), mean), m2)
}

func (v variance) add(dst []byte, old *reader, c *column.Column, row int) []byte {
	n, mean, m2 := v.read(old)
	if !c.Null[row] {
		x := c.F[row]
		n++
		d := x - mean
		mean += d / float64(n)
		m2 += d * (x - mean)
	}
	return v.write(dst, n, mean, m2)
}

func (v variance) skip(dst []byte, old *reader) []byte {
	n, mean, m2 := v.read(old)
	return v.write(dst, n, mean, m2)
}

func (v variance) merge(dst []byte, a, b *reader) []byte {
	n, mean, m2 := v.read(a)
	k, other, o2 := v.read(b)
	if k > 0 {
		d := other - mean
		total := float64(n + k)
		mean += d * float64(k) / total
		m2 += o2 + d*d*float64(n)*float64(k)/total
		n += k
	}
	return v.write(dst, n, mean, m2)
}

func (v variance) result(in *reader, to *column.Column) {
	n, _, m2 := v.read(in)
	over := n
	if v.sample {
		over--
	}
	if over <= 0 {
		to.AddNull()
		return
	}
	x := m2 / float64(over)
	if v.root {
		x = math.Sqrt(x)
	}
	to.AddFloat(x)
}
