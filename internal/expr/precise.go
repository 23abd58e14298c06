package expr

import "math"

// Java computes LN, EXP, POWER, SIN and related functions to within about half a unit in the last
// place. Go's versions are sometimes off by one or more units, and by several for large exponents.
// The functions here compute with twice the digits and round once.

// double is a number of about 106 bits: the unevaluated sum of hi and lo.
type double struct{ hi, lo float64 }

func sumOf(a, b float64) double {
	s := a + b
	v := s - a
	return double{s, (a - (s - v)) + (b - v)}
}

// quickSum is like sumOf, for |a| >= |b|.
func quickSum(a, b float64) double {
	s := a + b
	return double{s, b - (s - a)}
}

func (a double) add(b double) double {
	s := sumOf(a.hi, b.hi)
	return quickSum(s.hi, s.lo+a.lo+b.lo)
}

func (a double) mul(b double) double {
	p := a.hi * b.hi
	return quickSum(p, math.FMA(a.hi, b.hi, -p)+a.hi*b.lo+a.lo*b.hi)
}

func (a double) div(b double) double {
	q := a.hi / b.hi
	r := a.add(b.mul(double{-q, 0}))
	return quickSum(q, r.hi/b.hi)
}

func (a double) scale(f float64) double { return a.mul(double{f, 0}) }

func (a double) value() float64 { return a.hi + a.lo }

var (
	ln2    = double{6.931471805599452862e-01, 2.319046813846299558e-17}
	ln10   = double{2.302585092994045901e+00, -2.170756223382249351e-16}
	halfPi = double{1.570796326794896558e+00, 6.123233995736766036e-17}
)

// halfPiRest is π/2 minus halfPi.
const halfPiRest = -1.4973849048591833e-33

// logOf returns the natural logarithm of a positive finite number m·2^e as e·ln 2 +
// 2·artanh((m-1)/(m+1)).
func logOf(x float64) double {
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, e = 2*m, e-1
	}
	s := double{m - 1, 0}.div(sumOf(m, 1))
	square := s.mul(s)
	var sum double
	for n := 41; n >= 1; n -= 2 { // |s| < 0.172
		sum = double{1, 0}.div(double{float64(n), 0}).add(sum.mul(square))
	}
	return ln2.scale(float64(e)).add(s.mul(sum).scale(2))
}

// expOf returns e to the power of x, or math.Exp of it if that is 0 or infinite.
func expOf(x double) float64 {
	k := math.Round(x.hi / math.Ln2)
	if math.Abs(k) > 1100 || math.IsNaN(k) {
		return math.Exp(x.hi)
	}
	const halvings = 6
	r := x.add(ln2.scale(-k)).scale(1.0 / (1 << halvings)) // |r| < 0.0055
	sum := double{1, 0}
	for n := 11; n >= 1; n-- {
		sum = double{1, 0}.add(r.mul(sum).div(double{float64(n), 0}))
	}
	for range halvings {
		sum = sum.mul(sum)
	}
	return math.Ldexp(sum.value(), int(k))
}

// special reports whether x is 0, infinite or NaN, which package math handles exactly.
func special(x float64) bool { return x == 0 || math.IsNaN(x) || math.IsInf(x, 0) }

func preciseLog(x float64) float64 {
	if special(x) || x < 0 || x == 1 {
		return math.Log(x)
	}
	return logOf(x).value()
}

func preciseLog10(x float64) float64 {
	if special(x) || x < 0 || x == 1 {
		return math.Log10(x)
	}
	return logOf(x).div(ln10).value()
}

func preciseExp(x float64) float64 {
	if special(x) {
		return math.Exp(x)
	}
	return expOf(double{x, 0})
}

func precisePow(x, y float64) float64 {
	if special(x) || special(y) || x < 0 && y != math.Trunc(y) || math.Abs(x) == 1 {
		if math.Abs(x) == 1 && math.IsInf(y, 0) || x == 1 && math.IsNaN(y) {
			return math.NaN() // as in Java
		}
		return math.Pow(x, y)
	}
	if y == math.Trunc(y) && math.Abs(y) <= 2 {
		return math.Pow(x, y) // exact
	}
	v := expOf(logOf(math.Abs(x)).scale(y))
	if x < 0 && math.Mod(y, 2) != 0 {
		return -v
	}
	return v
}

// largeAngle is the bound above which angles are left to package math, which reduces them modulo π
// with as many digits as needed.
const largeAngle = 1e5

// circle returns the sine and cosine of a small angle.
func circle(x float64) (sin, cos double) {
	k := math.Round(x / halfPi.hi)
	r := sumOf(x, -k*halfPi.hi)
	p := k * halfPi.hi
	r = r.add(double{-math.FMA(k, halfPi.hi, -p), 0})
	r = r.add(double{-k * halfPi.lo, -math.FMA(k, halfPi.lo, -(k * halfPi.lo))})
	r = r.add(double{-k * halfPiRest, 0})
	square := r.mul(r).scale(-1)
	s, c := double{1, 0}, double{1, 0}
	for n := 26; n >= 2; n -= 2 {
		c = double{1, 0}.add(c.mul(square).div(double{float64(n * (n - 1)), 0}))
		s = double{1, 0}.add(s.mul(square).div(double{float64(n * (n + 1)), 0}))
	}
	s = s.mul(r)
	switch int64(k) & 3 {
	case 1:
		return c, s.scale(-1)
	case 2:
		return s.scale(-1), c.scale(-1)
	case 3:
		return c.scale(-1), s
	}
	return s, c
}

// onCircle returns a function of an angle; otherwise handles angles that are special, too large or
// too close to 0.
func onCircle(f func(sin, cos double) double, otherwise func(float64) float64) func(float64) float64 {
	return func(x float64) float64 {
		if special(x) || math.Abs(x) > largeAngle || math.Abs(x) < 1e-9 {
			return otherwise(x)
		}
		sin, cos := circle(x)
		return f(sin, cos).value()
	}
}

var (
	preciseSin = onCircle(func(sin, _ double) double { return sin }, math.Sin)
	preciseCos = onCircle(func(_, cos double) double { return cos }, math.Cos)
	preciseTan = onCircle(func(sin, cos double) double { return sin.div(cos) }, math.Tan)
)
