package expr

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// floating formats a floating-point number. Java rounds half up, and not the number itself but its
// shortest decimal digits: 0.35 with one digit is 0.4.
func (d *directive) floating(f float64) string {
	s := ""
	switch {
	case math.IsNaN(f):
		s = "NaN"
	case math.IsInf(f, 0):
		plain := *d
		plain.flags = strings.NewReplacer("0", "", ",", "").Replace(d.flags)
		s = plain.signed(f < 0, "Infinity", d.width)
	default:
		number, exponent := d.magnitude(math.Abs(f))
		if d.width >= 0 {
			s = d.signed(math.Signbit(f), number, d.width-len(exponent))
		} else {
			s = d.signed(math.Signbit(f), number, -1)
		}
		if exponent != "" { // it stands before the closing parenthesis of a negative number
			closed := strings.HasSuffix(s, ")")
			if s = strings.TrimSuffix(s, ")") + exponent; closed {
				s += ")"
			}
		}
	}
	if d.upper {
		s = strings.ToUpper(s)
	}
	return d.justify(s)
}

// magnitude returns a number without its sign, and its exponent such as e+01 or "".
func (d *directive) magnitude(f float64) (number, exponent string) {
	precision := d.precision
	if precision < 0 {
		precision = 6
	}
	digits, point := shortestDigits(f)
	switch d.conversion {
	case 'f':
		return d.withPoint(fixed(digits, point, precision), precision), ""
	case 'e':
		return d.scientific(digits, point, precision, f == 0)
	}
	precision = max(precision, 1)
	if f == 0 {
		return fixed("", 1, precision-1), ""
	}
	digits, point = roundDigits(digits, point, precision)
	if point-1 < -4 || point-1 >= precision {
		return d.scientific(digits, point, precision-1, false)
	}
	return fixed(digits, point, precision-point), ""
}

func (d *directive) scientific(digits string, point, precision int, zero bool) (number, exponent string) {
	if zero {
		return d.withPoint(fixed("", 1, precision), precision), "e+00"
	}
	digits, point = roundDigits(digits, point, precision+1)
	return d.withPoint(fixed(digits, 1, precision), precision), fmt.Sprintf("e%+03d", point-1)
}

// withPoint ends a whole number with a point if the flag # asks for it.
func (d *directive) withPoint(number string, precision int) string {
	if precision == 0 && d.has("#") {
		return number + "."
	}
	return number
}

// shortestDigits returns the digits of a number that is not negative, without zeros around them,
// and the place of the decimal point in them: 0.015 is 15 with the point at -1. Those of 0 are
// empty.
func shortestDigits(f float64) (digits string, point int) {
	if f == 0 {
		return "", 1
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	n, _ := strconv.Atoi(exponent)
	return strings.ReplaceAll(mantissa, ".", ""), n + 1
}

// roundDigits rounds digits half up to at most n of them.
func roundDigits(digits string, point, n int) (string, int) {
	if n >= len(digits) {
		return digits, point
	}
	if n < 0 || digits[n] < '5' {
		return digits[:max(n, 0)], point
	}
	for n > 0 && digits[n-1] == '9' {
		n--
	}
	if n == 0 {
		return "1", point + 1
	}
	return digits[:n-1] + string(digits[n-1]+1), point
}

// fixed writes digits with so many of them after the decimal point.
func fixed(digits string, point, decimals int) string {
	digits, point = roundDigits(digits, point, point+decimals)
	whole := "0"
	if point > 0 {
		whole = digits[:min(point, len(digits))]
		if whole += strings.Repeat("0", point-len(whole)); digits == "" {
			whole = "0"
		}
	}
	if decimals <= 0 {
		return whole
	}
	fraction := ""
	if point < 0 {
		fraction = strings.Repeat("0", min(-point, decimals))
	}
	if point < len(digits) {
		fraction += digits[max(point, 0):]
	}
	if len(fraction) > decimals {
		fraction = fraction[:decimals]
	}
	return whole + "." + fraction + strings.Repeat("0", decimals-len(fraction))
}
