package expr

import (
	"math/big"

	"weir.example/weir/internal/column"
)

// adjust limits a decimal to 38 digits, reducing the scale to six if necessary
// (FlinkTypeSystem).
func adjust(precision, scale int) column.Type {
	if precision <= column.MaxPrecision {
		return column.OfDecimal(precision, scale)
	}
	return column.OfDecimal(column.MaxPrecision, max(column.MaxPrecision-(precision-scale), min(scale, 6)))
}

// decimalResult returns the type of an operation on decimals (FlinkTypeSystem, LogicalTypeMerging).
func decimalResult(op string, a, b column.Type) column.Type {
	whole := max(a.Precision-a.Scale, b.Precision-b.Scale)
	scale := max(a.Scale, b.Scale)
	switch op {
	case "*":
		return adjust(a.Precision+b.Precision+1, a.Scale+b.Scale)
	case "/":
		scale = max(6, a.Scale+b.Precision+1)
		return adjust(a.Precision-a.Scale+b.Scale+scale, scale)
	case "%":
		return adjust(min(a.Precision-a.Scale, b.Precision-b.Scale)+scale, scale)
	}
	return adjust(whole+scale+1, scale)
}

func decimalArithmetic(n *Call, args []*Compiled, op string) *Compiled {
	if n.T.Integer() { // a remainder is smaller than its integer divisor
		exact := *n
		exact.T = n.T.AsDecimal()
		c := decimalArithmetic(&exact, args, op)
		return &Compiled{Type: n.T, I: func(b *column.Batch, row int) (int64, bool) {
			v, ok := c.A(b, row)
			if !ok {
				return 0, false
			}
			return v.(*big.Int).Int64(), true
		}}
	}
	a, b := n.Args[0].Type(), n.Args[1].Type()
	x, y := args[0], args[1]
	return &Compiled{Type: n.T, A: func(batch *column.Batch, row int) (any, bool) {
		l, ok := x.A(batch, row)
		if !ok {
			return nil, false
		}
		r, ok := y.A(batch, row)
		if !ok {
			return nil, false
		}
		v, err := decimalCompute(op, l.(*big.Int), r.(*big.Int), a.Scale, b.Scale, n.T)
		if err != nil {
			batch.Fail("%w", err)
		}
		return v, v != nil
	}}
}

// decimalCompute returns nil if the result has too many digits.
func decimalCompute(op string, l, r *big.Int, ls, rs int, t column.Type) (any, error) {
	scale := max(ls, rs)
	switch op {
	case "+", "-", "%":
		l, r = column.Rescale(l, ls, scale), column.Rescale(r, rs, scale)
	}
	v := new(big.Int)
	switch op {
	case "+":
		v.Add(l, r)
	case "-":
		v.Sub(l, r)
	case "*":
		v.Mul(l, r)
		scale = ls + rs
	case "%":
		if r.Sign() == 0 {
			return nil, errDivisionByZero
		}
		v.Rem(l, r)
	case "/":
		if r.Sign() == 0 {
			return nil, errDivisionByZero
		}
		// One digit more than the result has, for rounding.
		scale = t.Scale + 1
		v.Quo(new(big.Int).Mul(l, column.Power10(max(0, scale+rs-ls))), r)
	}
	return column.FitDecimal(column.Rescale(v, scale, t.Scale), t), nil
}
