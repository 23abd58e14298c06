package expr

import (
	"fmt"
	"math/big"
	"strings"
)

// A DECIMAL(p, s) is held as its unscaled value: 1.50 as DECIMAL(3, 2) is 150. Results that don't
// fit 38 digits are NULL, as in Flink.

var powers = func() []*big.Int {
	all := make([]*big.Int, 2*MaxPrecision+2)
	all[0] = big.NewInt(1)
	for i := 1; i < len(all); i++ {
		all[i] = new(big.Int).Mul(all[i-1], big.NewInt(10))
	}
	return all
}()

func power10(n int) *big.Int {
	if n < len(powers) {
		return powers[n]
	}
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// decimalResult is the type of an operation on decimals (FlinkTypeSystem, LogicalTypeMerging).
func decimalResult(op string, a, b Type) Type {
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
	if n.T.Integer() { // a remainder that is smaller than its integer divisor
		exact := *n
		exact.T = n.T.asDecimal()
		c := decimalArithmetic(&exact, args, op)
		return &Compiled{Type: n.T, I: func(b *Batch, row int) (int64, bool) {
			v, ok := c.A(b, row)
			if !ok {
				return 0, false
			}
			return v.(*big.Int).Int64(), true
		}}
	}
	a, b := n.Args[0].Type(), n.Args[1].Type()
	x, y := args[0], args[1]
	return &Compiled{Type: n.T, A: func(batch *Batch, row int) (any, bool) {
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
			batch.fail("%w", err)
		}
		return v, v != nil
	}}
}

// decimalCompute returns nil (as any) where the result has too many digits.
func decimalCompute(op string, l, r *big.Int, ls, rs int, t Type) (any, error) {
	scale := max(ls, rs)
	switch op {
	case "+", "-", "%":
		l, r = rescale(l, ls, scale), rescale(r, rs, scale)
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
		// One digit more than wanted, so that rounding sees it.
		scale = t.Scale + 1
		v.Quo(new(big.Int).Mul(l, power10(max(0, scale+rs-ls))), r)
	}
	return fit(rescale(v, scale, t.Scale), t), nil
}

// rescale changes the digits behind the point, rounding half away from zero.
func rescale(v *big.Int, from, to int) *big.Int {
	switch {
	case to == from:
		return v
	case to > from:
		return new(big.Int).Mul(v, power10(to-from))
	}
	unit := power10(from - to)
	half := new(big.Int).Rsh(unit, 1)
	r := new(big.Int)
	if v.Sign() < 0 {
		r.Sub(v, half)
	} else {
		r.Add(v, half)
	}
	return r.Quo(r, unit)
}

// fit returns nil for what has more digits than the type.
func fit(v *big.Int, t Type) any {
	if new(big.Int).Abs(v).Cmp(power10(t.Precision)) >= 0 {
		return nil
	}
	return v
}

func decimalText(v *big.Int, scale int) string {
	s := new(big.Int).Abs(v).String()
	if len(s) <= scale {
		s = strings.Repeat("0", scale-len(s)+1) + s
	}
	if scale > 0 {
		s = s[:len(s)-scale] + "." + s[len(s)-scale:]
	}
	if v.Sign() < 0 {
		return "-" + s
	}
	return s
}

// ParseDecimal reads a number into a decimal type, rounding half up. It is nil where the number has
// too many digits.
func ParseDecimal(s string, t Type) (any, error) {
	digits, exponent := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		digits = s[:i]
		if _, err := fmt.Sscanf(s[i+1:], "%d", &exponent); err != nil || exponent > 1000 || exponent < -1000 {
			return nil, fmt.Errorf("%q is not a number", s)
		}
	}
	scale := 0
	if i := strings.IndexByte(digits, '.'); i >= 0 {
		scale = len(digits) - i - 1
		digits = digits[:i] + digits[i+1:]
	}
	digits = strings.TrimPrefix(digits, "+")
	if digits == "" || strings.Trim(strings.TrimPrefix(digits, "-"), "0123456789") != "" || digits == "-" || len(digits) > 1000 {
		return nil, fmt.Errorf("%q is not a number", s)
	}
	v, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return nil, fmt.Errorf("%q is not a number", s)
	}
	scale -= exponent
	if scale < 0 {
		v.Mul(v, power10(-scale))
		scale = 0
	}
	return fit(rescale(v, scale, t.Scale), t), nil
}

func decimalFloat(v *big.Int, scale int) float64 {
	f, _ := new(big.Rat).SetFrac(v, power10(scale)).Float64()
	return f
}
