package column

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// A DECIMAL(p, s) is stored as its unscaled value: 1.50 as DECIMAL(3, 2) is 150. As in Flink,
// results that don't fit in 38 digits are NULL.

var powers = func() []*big.Int {
	all := make([]*big.Int, 2*MaxPrecision+2)
	all[0] = big.NewInt(1)
	for i := 1; i < len(all); i++ {
		all[i] = new(big.Int).Mul(all[i-1], big.NewInt(10))
	}
	return all
}()

// Power10 returns 10 to the power of n. The caller must not modify the result.
func Power10(n int) *big.Int {
	if n < len(powers) {
		return powers[n]
	}
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// Rescale changes the scale of an unscaled value, rounding half away from zero.
func Rescale(v *big.Int, from, to int) *big.Int {
	switch {
	case to == from:
		return v
	case to > from:
		return new(big.Int).Mul(v, Power10(to-from))
	}
	unit := Power10(from - to)
	half := new(big.Int).Rsh(unit, 1)
	r := new(big.Int)
	if v.Sign() < 0 {
		r.Sub(v, half)
	} else {
		r.Add(v, half)
	}
	return r.Quo(r, unit)
}

// FitDecimal returns the unscaled value v, or nil if it has more digits than t.Precision.
func FitDecimal(v *big.Int, t Type) any {
	if v.CmpAbs(Power10(t.Precision)) >= 0 {
		return nil
	}
	return v
}

// DecimalText formats an unscaled value.
func DecimalText(v *big.Int, scale int) string {
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

// ParseDecimal parses a number into the unscaled value of a decimal type, rounding half away from
// zero. The result is nil if the number has too many digits.
func ParseDecimal(s string, t Type) (any, error) {
	digits, exponent := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		digits = s[:i]
		var err error
		if exponent, err = strconv.Atoi(s[i+1:]); err != nil || exponent > 1000 || exponent < -1000 {
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
		v.Mul(v, Power10(-scale))
		scale = 0
	}
	return FitDecimal(Rescale(v, scale, t.Scale), t), nil
}

// DecimalFloat returns the float64 nearest to an unscaled value.
func DecimalFloat(v *big.Int, scale int) float64 {
	f, _ := new(big.Rat).SetFrac(v, Power10(scale)).Float64()
	return f
}
