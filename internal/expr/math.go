package expr

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"slices"

	"weir.example/weir/internal/column"
)

func init() {
	for name, f := range map[string]func(float64) float64{
		"SQRT": math.Sqrt, "EXP": preciseExp, "LN": preciseLog, "LOG10": preciseLog10, "LOG2": func(v float64) float64 { return preciseLog(v) / math.Ln2 }, "SIN": preciseSin, "COS": preciseCos, "TAN": preciseTan,
		"ASIN": math.Asin, "ACOS": math.Acos, "ATAN": math.Atan, "SINH": math.Sinh, "COSH": math.Cosh, "TANH": math.Tanh,
		"COT":     func(v float64) float64 { return 1 / preciseTan(v) },
		"DEGREES": func(v float64) float64 { return v * (180 / math.Pi) }, "RADIANS": func(v float64) float64 { return v * (math.Pi / 180) },
	} {
		fn := simple(name, "d", column.Of(column.Double), nil)
		fn.compile = floatFunction(f)
		register(fn)
	}
	register(
		simple("POWER", "dd", column.Of(column.Double), func(_ *Call, a []any) (any, error) { return precisePow(a[0].(float64), a[1].(float64)), nil }),
		simple("ATAN2", "dd", column.Of(column.Double), func(_ *Call, a []any) (any, error) { return math.Atan2(a[0].(float64), a[1].(float64)), nil }),
		simple("LOG", "dd?", column.Of(column.Double), evalLog),
		simple("PI", "", column.Of(column.Double), func(*Call, []any) (any, error) { return math.Pi, nil }),
		simple("E", "", column.Of(column.Double), func(*Call, []any) (any, error) { return math.E, nil }),
		&Function{Name: "ABS", Min: 1, Max: 1, bind: bindSameNumber("ABS"), eval: evalAbs},
		&Function{Name: "SIGN", Min: 1, Max: 1, bind: bindSameNumber("SIGN"), eval: evalSign},
		&Function{Name: "FLOOR", Min: 1, Max: 1, bind: bindWhole("FLOOR"), eval: evalWhole(math.Floor, -1)},
		&Function{Name: "CEIL", Min: 1, Max: 1, bind: bindWhole("CEIL"), eval: evalWhole(math.Ceil, 1)},
		&Function{Name: "ROUND", Min: 1, Max: 2, bind: bindRoundTo("ROUND"), eval: evalRoundTo(true)},
		&Function{Name: "TRUNCATE", Min: 1, Max: 2, bind: bindRoundTo("TRUNCATE"), eval: evalRoundTo(false)},
		&Function{Name: "GREATEST", Min: 1, Max: -1, bind: bindExtreme("GREATEST"), eval: evalExtreme(1)},
		&Function{Name: "LEAST", Min: 1, Max: -1, bind: bindExtreme("LEAST"), eval: evalExtreme(-1)},
	)
	register(functions["CEIL"].alias("CEILING"))
}

func floatFunction(f func(float64) float64) func(n *Call, args []*Compiled) (*Compiled, error) {
	return func(n *Call, args []*Compiled) (*Compiled, error) {
		x := args[0].F
		return &Compiled{Type: n.T, F: func(b *column.Batch, row int) (float64, bool) {
			v, ok := x(b, row)
			if !ok {
				return 0, false
			}
			return f(v), true
		}}, nil
	}
}

// evalLog returns ln(x), or the logarithm of the second argument to the base of the first.
func evalLog(_ *Call, a []any) (any, error) {
	if len(a) == 1 {
		return preciseLog(a[0].(float64)), nil
	}
	return preciseLog(a[1].(float64)) / preciseLog(a[0].(float64)), nil
}

func bindSameNumber(name string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		n, err := coerce(name, 0, 'n', args[0])
		if err != nil {
			return nil, column.Type{}, err
		}
		return []Node{n}, n.Type(), nil
	}
}

func evalAbs(n *Call, a []any) (any, error) {
	switch v := a[0].(type) {
	case int64:
		return column.Wrap(abs(v), n.T.Kind), nil
	case float64:
		return math.Abs(v), nil
	}
	return new(big.Int).Abs(a[0].(*big.Int)), nil
}

func evalSign(n *Call, a []any) (any, error) {
	switch v := a[0].(type) {
	case int64:
		return int64(cmp.Compare(v, 0)), nil
	case float64:
		if math.IsNaN(v) {
			return v, nil
		}
		return float64(cmp.Compare(v, 0)), nil
	}
	return column.Rescale(big.NewInt(int64(a[0].(*big.Int).Sign())), 0, n.T.Scale), nil
}

func bindWhole(name string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		n, err := coerce(name, 0, 'n', args[0])
		if err != nil {
			return nil, column.Type{}, err
		}
		t := n.Type()
		if t.Kind == column.Decimal {
			t = column.OfDecimal(t.Precision, 0).Nullable(!t.NotNull)
		}
		return []Node{n}, t, nil
	}
}

func evalWhole(f func(float64) float64, direction int64) func(n *Call, a []any) (any, error) {
	return func(n *Call, a []any) (any, error) {
		switch v := a[0].(type) {
		case float64:
			return f(v), nil
		case *big.Int:
			unit := column.Power10(n.Args[0].Type().Scale)
			q, r := new(big.Int).QuoRem(v, unit, new(big.Int))
			if int64(r.Sign()) == direction {
				q.Add(q, big.NewInt(direction))
			}
			return column.FitDecimal(q, n.T), nil
		}
		return a[0], nil
	}
}

func bindRoundTo(name string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		x, err := coerce(name, 0, 'n', args[0])
		if err != nil {
			return nil, column.Type{}, err
		}
		bound := []Node{x}
		digits, given := int64(0), true
		if len(args) > 1 {
			d, err := coerce(name, 1, 'i', args[1])
			if err != nil {
				return nil, column.Type{}, err
			}
			bound = append(bound, d)
			k, ok := Fold(d).(*Const)
			if given = ok && k.Value != nil; given {
				digits = k.Value.(int64)
			}
		}
		t := x.Type()
		switch {
		case t.Kind == column.Decimal && !given: // the number of digits varies by row, so all of them are kept
			t = column.OfDecimal(min(column.MaxPrecision, 1+t.Precision), t.Scale)
		case t.Kind == column.Decimal && int(digits) < t.Scale:
			keep := max(0, int(digits))
			t = column.OfDecimal(min(column.MaxPrecision, 1+t.Precision-t.Scale+keep), keep)
		}
		return bound, t.Nullable(!allNotNull(bound)), nil
	}
}

func evalRoundTo(round bool) func(n *Call, a []any) (any, error) {
	return func(n *Call, a []any) (any, error) {
		digits := 0
		if len(a) > 1 {
			digits = int(max(-40, min(40, a[1].(int64))))
		}
		switch v := a[0].(type) {
		case int64:
			if digits >= 0 {
				return v, nil
			}
			return column.Wrap(cutDigits(big.NewInt(v), 0, digits, round).Int64(), n.T.Kind), nil
		case float64:
			// Rounds the shortest decimal representation, like Java's BigDecimal.valueOf.
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return v, nil
			}
			d, err := column.ParseDecimal(fmt.Sprintf("%v", v), column.OfDecimal(400, 340))
			if err != nil || d == nil {
				return v, err
			}
			f := column.DecimalFloat(cutDigits(d.(*big.Int), 340, digits, round), 340)
			if n.T.Kind == column.Float {
				f = float64(float32(f))
			}
			return f, nil
		}
		scale := n.Args[0].Type().Scale
		return column.FitDecimal(column.Rescale(cutDigits(a[0].(*big.Int), scale, digits, round), scale, n.T.Scale), n.T), nil
	}
}

// textOfRounded compiles the cast to text of a DECIMAL rounded to a per-row number of digits. As in
// Flink, the text has that many digits. It returns nil for other casts.
func textOfRounded(n *Call, value *Compiled) *Compiled {
	c, ok := n.Args[0].(*Call)
	if !ok || n.T.Kind != column.String || len(c.Args) < 2 || c.T.Kind != column.Decimal || c.F.Name != "ROUND" && c.F.Name != "TRUNCATE" {
		return nil
	}
	if _, given := Fold(c.Args[1]).(*Const); given {
		return nil
	}
	digits := MustCompile(c.Args[1])
	scale := c.T.Scale
	return &Compiled{Type: n.T, S: func(b *column.Batch, row int) (string, bool) {
		v, ok := value.A(b, row)
		if !ok {
			return "", false
		}
		d, _ := digits.I(b, row)
		keep := int(max(0, min(d, int64(scale))))
		return cut(column.DecimalText(column.Rescale(v.(*big.Int), scale, keep), keep), n.T), true
	}}
}

// cutDigits keeps the given number of fractional digits and sets the others to zero.
func cutDigits(v *big.Int, scale, digits int, round bool) *big.Int {
	if digits >= scale {
		return v
	}
	unit := column.Power10(scale - digits)
	if round {
		r := column.Rescale(v, scale-digits, 0)
		return r.Mul(r, unit)
	}
	q := new(big.Int).Quo(v, unit)
	return q.Mul(q, unit)
}

func bindExtreme(name string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		if slices.ContainsFunc(args, func(n Node) bool { return n.Type().Kind == column.Float }) && !slices.ContainsFunc(args, func(n Node) bool { return n.Type().Kind == column.Double }) {
			args = slices.Clone(args)
			for i, a := range args { // as in Flink, where decimals are FLOAT here
				if a.Type().Kind == column.Decimal {
					args[i] = castTo(a, column.Of(column.Float).Nullable(!a.Type().NotNull))
				}
			}
		}
		bound, err := alike(name, args)
		if err != nil {
			return nil, column.Type{}, err
		}
		if t := bound[0].Type(); t.Has(column.Type.Pairs) {
			return nil, column.Type{}, fmt.Errorf("%s can't be applied to %s", name, t.Nullable(true))
		}
		return bound, bound[0].Type().Nullable(!allNotNull(bound)), nil
	}
}

func evalExtreme(direction int) func(n *Call, a []any) (any, error) {
	return func(_ *Call, a []any) (any, error) {
		best := a[0]
		for _, v := range a[1:] {
			if sign(column.CompareBoxed(v, best)) == direction {
				best = v
			}
		}
		return best, nil
	}
}
