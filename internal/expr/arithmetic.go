package expr

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"

	"weir.example/weir/internal/column"
)

var errDivisionByZero = errors.New("division by zero")

func init() {
	for _, op := range []string{"+", "-", "*", "/", "%"} {
		register(&Function{Name: op, Min: 2, Max: 2, bind: bindArithmetic(op), compile: compileArithmetic})
	}
	register((&Function{Min: 2, Max: 2, bind: bindArithmetic("%"), compile: compileArithmetic}).alias("MOD"))
	register(&Function{Name: "NEGATE", Min: 1, Max: 1, bind: bindNegate, compile: compileNegate})
	for _, op := range []string{"=", "<>", "<", "<=", ">", ">="} {
		register(&Function{Name: op, Min: 2, Max: 2, bind: bindComparison(op), compile: compileComparison})
	}
	register(
		&Function{Name: "IS DISTINCT FROM", Min: 2, Max: 2, NullArgs: true, bind: bindDistinct, eval: evalDistinct(true)},
		&Function{Name: "IS NOT DISTINCT FROM", Min: 2, Max: 2, NullArgs: true, bind: bindDistinct, eval: evalDistinct(false)},
	)
}

func bindArithmetic(op string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		a, b := args[0].Type(), args[1].Type()
		if a.Kind == column.Null {
			a = b.Nullable(true)
			args = []Node{&Const{nil, a}, args[1]}
		}
		if b.Kind == column.Null {
			b = a.Nullable(true)
			args = []Node{args[0], &Const{nil, b}}
		}
		nullable := !a.NotNull || !b.NotNull
		if a.Numeric() && b.Numeric() {
			return bindNumbers(op, args, a, b, nullable)
		}
		if t, ok := momentArithmetic(op, a, b); ok {
			return args, t.Nullable(nullable), nil
		}
		return nil, column.Type{}, fmt.Errorf("%s can't be applied to %s and %s", op, a.Nullable(true), b.Nullable(true))
	}
}

func bindNumbers(op string, args []Node, a, b column.Type, nullable bool) ([]Node, column.Type, error) {
	if a.Exact() && b.Exact() && (a.Kind == column.Decimal || b.Kind == column.Decimal) {
		t := decimalResult(op, a.AsDecimal(), b.AsDecimal())
		if op == "%" && a.Scale == 0 && b.Scale == 0 {
			t = b // SQL 2003: the remainder has the divisor's type
		}
		return []Node{castTo(args[0], a.AsDecimal()), castTo(args[1], b.AsDecimal())}, t.Nullable(nullable), nil
	}
	wide, _ := column.Common(a, b)
	wide = wide.Nullable(true)
	t := wide
	switch {
	case op == "%" && (!a.Exact() || !b.Exact()):
		return nil, column.Type{}, fmt.Errorf("%% expects integers or decimals, got %s and %s", a.Nullable(true), b.Nullable(true))
	case op == "%":
		t = column.Of(b.Kind) // as in Flink: the remainder has the divisor's type
		return []Node{castTo(args[0], wide), castTo(args[1], wide)}, t.Nullable(nullable), nil
	case !a.Exact() && !b.Exact():
		t = column.Of(a.Kind) // as in Flink: the first of FLOAT and DOUBLE
	}
	return []Node{castTo(args[0], t), castTo(args[1], t)}, t.Nullable(nullable), nil
}

// momentArithmetic returns the result type of adding or subtracting dates, timestamps and
// intervals.
func momentArithmetic(op string, a, b column.Type) (column.Type, bool) {
	switch {
	case (op == "+" || op == "-") && a.Temporal() && b.Interval():
		if a.Kind == column.Date && b.Kind == column.IntervalDay {
			return column.Of(column.Date), true
		}
		return a, true
	case op == "+" && a.Interval() && b.Temporal():
		return b, true
	case (op == "+" || op == "-") && a.Interval() && a.Kind == b.Kind:
		return a, true
	case op == "*" && a.Interval() && b.Integer():
		return a, true
	case op == "*" && a.Integer() && b.Interval():
		return b, true
	}
	return column.Type{}, false
}

func compileArithmetic(n *Call, args []*Compiled) (*Compiled, error) {
	op := n.F.Name
	if op == "MOD" {
		op = "%"
	}
	c := &Compiled{Type: n.T}
	x, y := args[0], args[1]
	switch {
	case n.Args[0].Type().Temporal() || n.Args[1].Type().Temporal():
		return compileMoment(n, args)
	case n.T.Interval():
		c.I = compileInterval(op, x.I, y.I, n.T.Kind)
	case x.F != nil:
		c.F = floatArithmetic(op, x.F, y.F, n.T.Kind == column.Float)
	case x.A != nil && y.A != nil:
		return decimalArithmetic(n, args, op), nil
	case x.I != nil && y.I != nil:
		c.I = intArithmetic(op, x.I, y.I, n.T)
	default:
		return nil, fmt.Errorf("%s can't be applied to %s and %s", op, n.Args[0].Type(), n.Args[1].Type())
	}
	return c, nil
}

type intFunc = func(b *column.Batch, row int) (int64, bool)

type floatFunc = func(b *column.Batch, row int) (float64, bool)

func intArithmetic(op string, x, y intFunc, t column.Type) intFunc {
	k := t.Kind
	both := func(b *column.Batch, row int) (int64, int64, bool) {
		l, ok := x(b, row)
		if !ok {
			return 0, 0, false
		}
		r, ok := y(b, row)
		return l, r, ok
	}
	switch op {
	case "+":
		return func(b *column.Batch, row int) (int64, bool) {
			l, r, ok := both(b, row)
			return column.Wrap(l+r, k), ok
		}
	case "-":
		return func(b *column.Batch, row int) (int64, bool) {
			l, r, ok := both(b, row)
			return column.Wrap(l-r, k), ok
		}
	case "*":
		return func(b *column.Batch, row int) (int64, bool) {
			l, r, ok := both(b, row)
			return column.Wrap(l*r, k), ok
		}
	}
	divide := op == "/"
	return func(b *column.Batch, row int) (int64, bool) {
		l, r, ok := both(b, row)
		if !ok {
			return 0, false
		}
		if r == 0 {
			b.Fail("%w: %d %s 0", errDivisionByZero, l, op)
			return 0, false
		}
		switch {
		case r == -1 && divide:
			return column.Wrap(-l, k), true
		case divide:
			return column.Wrap(l/r, k), true
		case r == -1:
			return 0, true
		}
		return l % r, true
	}
}

func floatArithmetic(op string, x, y floatFunc, single bool) floatFunc {
	var f func(l, r float64) float64
	switch op {
	case "+":
		f = func(l, r float64) float64 { return l + r }
	case "-":
		f = func(l, r float64) float64 { return l - r }
	case "*":
		f = func(l, r float64) float64 { return l * r }
	case "/":
		f = func(l, r float64) float64 { return l / r }
	}
	return func(b *column.Batch, row int) (float64, bool) {
		l, ok := x(b, row)
		if !ok {
			return 0, false
		}
		r, ok := y(b, row)
		if !ok {
			return 0, false
		}
		v := f(l, r)
		if single {
			v = float64(float32(v))
		}
		return v, true
	}
}

func bindNegate(args []Node) ([]Node, column.Type, error) {
	t := args[0].Type()
	if !t.Numeric() && !t.Interval() {
		return nil, column.Type{}, fmt.Errorf("- can't be applied to %s", t.Nullable(true))
	}
	return args, t, nil
}

func compileNegate(n *Call, args []*Compiled) (*Compiled, error) {
	x := args[0]
	c := &Compiled{Type: n.T}
	switch {
	case x.I != nil:
		c.I = func(b *column.Batch, row int) (int64, bool) {
			v, ok := x.I(b, row)
			return column.Wrap(-v, n.T.Kind), ok
		}
	case x.F != nil:
		c.F = func(b *column.Batch, row int) (float64, bool) {
			v, ok := x.F(b, row)
			return -v, ok
		}
	default:
		c.A = func(b *column.Batch, row int) (any, bool) {
			v, ok := x.A(b, row)
			if !ok {
				return nil, false
			}
			return new(big.Int).Neg(v.(*big.Int)), true
		}
	}
	return c, nil
}

func bindComparison(op string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		args = momentsOfText(args)
		if op != "=" && op != "<>" {
			args = onWallClock(args)
		}
		bound, err := compared(op, args)
		if err != nil {
			return nil, column.Type{}, err
		}
		t := bound[0].Type()
		if op != "=" && op != "<>" && t.Nested() {
			return nil, column.Type{}, fmt.Errorf("%s can't be applied to %s", op, t.Nullable(true))
		}
		if (args[0].Type().Kind == column.Date) != (args[1].Type().Kind == column.Date) && t.Instant() {
			return nil, column.Type{}, fmt.Errorf("%s can't be applied to DATE and %s: write a CAST", op, t.Nullable(true))
		}
		return bound, column.Of(column.Boolean).Nullable(!allNotNull(bound)), nil
	}
}

// momentsOfText casts strings compared with dates and times.
func momentsOfText(args []Node) []Node {
	for i, a := range args {
		if t := args[1-i].Type(); a.Type().Kind == column.String && t.Temporal() {
			args = slices.Clone(args)
			args[i] = castTo(a, t)
		}
	}
	return args
}

// onWallClock casts TIMESTAMP_LTZ to TIMESTAMP if both are among the arguments. Flink orders the
// two types by wall clock time in the session's time zone, by which the later of two instants may
// be the smaller one, but considers them equal only if they are the same instant.
func onWallClock(args []Node) []Node { return oneKind(args, column.TimestampLTZ, column.Timestamp) }

// asInstants casts TIMESTAMP to TIMESTAMP_LTZ if both are among the arguments.
func asInstants(args []Node) []Node { return oneKind(args, column.Timestamp, column.TimestampLTZ) }

// oneKind casts arguments of kind from to kind to if both are among them.
func oneKind(args []Node, from, to column.Kind) []Node {
	if !slices.ContainsFunc(args, func(a Node) bool { return a.Type().Kind == to }) {
		return args
	}
	args = slices.Clone(args)
	for i, a := range args {
		if t := a.Type(); t.Kind == from {
			args[i] = castTo(a, column.OfTime(to, t.Precision).Nullable(!t.NotNull))
		}
	}
	return args
}

func isMultiset(t column.Type) bool { return t.Kind == column.Multiset }

// compared converts the operands of a comparison to one type. Decimals keep all their digits, even
// if no DECIMAL is that wide.
func compared(what string, args []Node) ([]Node, error) {
	bound, err := alike(what, asInstants(args))
	if err == nil && bound[0].Type().Has(isMultiset) {
		return nil, fmt.Errorf("%s can't be applied to %s", what, bound[0].Type().Nullable(true))
	}
	if err != nil || bound[0].Type().Kind != column.Decimal {
		return bound, err
	}
	t := bound[0].Type()
	whole := t.Precision - t.Scale
	for _, a := range args {
		if d := a.Type(); d.Exact() {
			d = d.AsDecimal()
			whole, t.Scale = max(whole, d.Precision-d.Scale), max(t.Scale, d.Scale)
		}
	}
	t.Precision = whole + t.Scale
	for i, a := range args {
		bound[i] = castTo(a, t)
	}
	return bound, nil
}

// alike converts expressions to their common type.
func alike(what string, args []Node) ([]Node, error) {
	t := args[0].Type()
	for _, a := range args[1:] {
		c, ok := column.Common(t, a.Type())
		if !ok {
			hint := ""
			if x, y := t.Kind, a.Type().Kind; x == column.String || y == column.String {
				hint = ": Flink converts nothing between them, write a CAST, or a literal such as TIMESTAMP '2026-01-01 00:00:00'"
			}
			return nil, fmt.Errorf("%s can't be applied to %s and %s%s", what, t.Nullable(true), a.Type().Nullable(true), hint)
		}
		t = c
	}
	bound := make([]Node, len(args))
	for i, a := range args {
		bound[i] = castTo(a, t)
		if from := bound[i].Type(); !from.Same(t) { // a VARCHAR(3) among longer strings: the result must not have its type
			bound[i] = &Call{F: functions["CAST"], Args: []Node{a}, T: t.Nullable(!from.NotNull)}
		}
	}
	return bound, nil
}

// holds maps each operator to its result for a comparison that is negative, 0 or positive.
var holds = map[string][3]bool{
	"=": {false, true, false}, "<>": {true, false, true}, "<": {true, false, false},
	"<=": {true, true, false}, ">": {false, false, true}, ">=": {false, true, true},
}

func compileComparison(n *Call, args []*Compiled) (*Compiled, error) {
	wanted := holds[n.F.Name]
	x, y := args[0], args[1]
	c := &Compiled{Type: n.T}
	switch {
	case x.I != nil:
		c.I = func(b *column.Batch, row int) (int64, bool) {
			l, ok := x.I(b, row)
			if !ok {
				return 0, false
			}
			r, ok := y.I(b, row)
			return boolInt(wanted[cmp.Compare(l, r)+1]), ok
		}
	case x.F != nil:
		op := n.F.Name
		c.I = func(b *column.Batch, row int) (int64, bool) {
			l, ok := x.F(b, row)
			if !ok {
				return 0, false
			}
			r, ok := y.F(b, row)
			if math.IsNaN(l) || math.IsNaN(r) { // like Java's operators
				return boolInt(op == "<>"), ok
			}
			return boolInt(wanted[cmp.Compare(l, r)+1]), ok
		}
	case x.S != nil:
		c.I = func(b *column.Batch, row int) (int64, bool) {
			l, ok := x.S(b, row)
			if !ok {
				return 0, false
			}
			r, ok := y.S(b, row)
			return boolInt(wanted[cmp.Compare(l, r)+1]), ok
		}
	default:
		equality := n.F.Name == "=" || n.F.Name == "<>"
		c.I = func(b *column.Batch, row int) (int64, bool) {
			l, ok := x.A(b, row)
			if !ok {
				return 0, false
			}
			r, ok := y.A(b, row)
			if !ok {
				return 0, false
			}
			if equality {
				return boolInt(column.EqualBoxed(l, r) == wanted[1]), true
			}
			return boolInt(wanted[sign(column.CompareBoxed(l, r))+1]), true
		}
	}
	return c, nil
}

func sign(v int) int { return cmp.Compare(v, 0) }

func bindDistinct(args []Node) ([]Node, column.Type, error) {
	bound, err := compared("IS DISTINCT FROM", args)
	return bound, column.Of(column.Boolean).Nullable(false), err
}

func evalDistinct(distinct bool) func(n *Call, args []any) (any, error) {
	return func(_ *Call, args []any) (any, error) {
		same := args[0] == nil && args[1] == nil || args[0] != nil && args[1] != nil && column.EqualBoxed(args[0], args[1])
		return same != distinct, nil
	}
}
