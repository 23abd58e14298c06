package expr

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"weir.example/weir/internal/column"
)

func init() {
	register(
		&Function{Name: "AND", Min: 2, Max: 2, NullArgs: true, bind: bindLogic("AND"), compile: compileLogic(0)},
		&Function{Name: "OR", Min: 2, Max: 2, NullArgs: true, bind: bindLogic("OR"), compile: compileLogic(1)},
		&Function{Name: "NOT", Min: 1, Max: 1, bind: bindLogic("NOT"), compile: compileNot},
		&Function{Name: "CASE", Min: 2, Max: -1, NullArgs: true, bind: bindCase, compile: compileCase},
		&Function{Name: "COALESCE", Min: 1, Max: -1, NullArgs: true, bind: bindCoalesce, compile: compileCoalesce},
		&Function{Name: "NULLIF", Min: 2, Max: 2, NullArgs: true, bind: bindNullIf, eval: evalNullIf},
		&Function{Name: "IN", Min: 2, Max: -1, NullArgs: true, bind: bindIn, compile: compileIn},
	)
	register(functions["COALESCE"].alias("IFNULL").with(func(f *Function) { f.Min, f.Max = 2, 2 }))
	for name, test := range map[string]func(s string) bool{"IS_ALPHA": isAlpha, "IS_DIGIT": isDigit, "IS_DECIMAL": isDecimal} {
		register(&Function{Name: name, Min: 1, Max: 1, NullArgs: true, bind: bindIsText(name), eval: func(n *Call, a []any) (any, error) {
			s, text := a[0].(string)
			if !text {
				t := n.Args[0].Type()
				return a[0] != nil && (name == "IS_DIGIT" && t.Integer() || name == "IS_DECIMAL" && t.Numeric()), nil
			}
			return s != "" && test(s), nil
		}})
	}
	register(&Function{Name: "IF", Min: 3, Max: 3, NullArgs: true, bind: bindCase, compile: compileCase})
	for what, test := range map[string]func(v int64, ok bool) bool{
		"IS TRUE": func(v int64, ok bool) bool { return ok && v != 0 }, "IS NOT TRUE": func(v int64, ok bool) bool { return !ok || v == 0 },
		"IS FALSE": func(v int64, ok bool) bool { return ok && v == 0 }, "IS NOT FALSE": func(v int64, ok bool) bool { return !ok || v != 0 },
	} {
		register(&Function{Name: what, Min: 1, Max: 1, NullArgs: true, bind: bindIsTruth(what), compile: compileIsTruth(test)})
	}
	register(
		&Function{Name: "IS NULL", Min: 1, Max: 1, NullArgs: true, bind: bindIsNull, compile: compileIsNull(true)},
		&Function{Name: "IS NOT NULL", Min: 1, Max: 1, NullArgs: true, bind: bindIsNull, compile: compileIsNull(false)},
	)
}

func bindLogic(op string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		bound := make([]Node, len(args))
		for i, a := range args {
			if a.Type().Kind == column.Null {
				a = &Const{nil, column.Of(column.Boolean)}
			}
			if a.Type().Kind != column.Boolean {
				return nil, column.Type{}, fmt.Errorf("%s expects conditions, got %s", op, a.Type().Nullable(true))
			}
			bound[i] = a
		}
		return bound, column.Of(column.Boolean).Nullable(!allNotNull(bound)), nil
	}
}

// compileLogic returns AND (decides is 0) or OR (decides is 1) in three-valued logic. The right
// operand is evaluated only if needed.
func compileLogic(decides int64) func(n *Call, args []*Compiled) (*Compiled, error) {
	return func(n *Call, args []*Compiled) (*Compiled, error) {
		x, y := args[0].I, args[1].I
		return &Compiled{Type: n.T, I: func(b *column.Batch, row int) (int64, bool) {
			l, lok := x(b, row)
			if lok && l == decides {
				return decides, true
			}
			r, rok := y(b, row)
			if rok && r == decides {
				return decides, true
			}
			return 1 - decides, lok && rok
		}}, nil
	}
}

func compileNot(n *Call, args []*Compiled) (*Compiled, error) {
	x := args[0].I
	return &Compiled{Type: n.T, I: func(b *column.Batch, row int) (int64, bool) {
		v, ok := x(b, row)
		return 1 - v, ok
	}}, nil
}

// bindCase binds condition, value, condition, value, …, else.
func bindCase(args []Node) ([]Node, column.Type, error) {
	values := make([]Node, 0, len(args)/2+1)
	if len(args)%2 == 0 {
		args = append(args, &Const{nil, column.Type{}})
	}
	for i := 0; i+1 < len(args); i += 2 {
		if k := args[i].Type().Kind; k != column.Boolean && k != column.Null {
			return nil, column.Type{}, fmt.Errorf("WHEN expects a condition, got %s", args[i].Type().Nullable(true))
		}
		values = append(values, args[i+1])
	}
	values, err := alike("CASE", oneFloat(append(values, args[len(args)-1])))
	if err != nil {
		return nil, column.Type{}, fmt.Errorf("the values of CASE have no type in common: %w", err)
	}
	bound := make([]Node, len(args))
	for i := 0; i+1 < len(args); i += 2 {
		bound[i], bound[i+1] = castTo(args[i], column.Of(column.Boolean)), values[i/2]
	}
	bound[len(args)-1] = values[len(values)-1]
	return bound, bound[1].Type().Nullable(!allNotNull(values)), nil
}

// oneFloat converts FLOAT and DOUBLE values to whichever of the two types occurs first, as Flink
// does in CASE.
func oneFloat(values []Node) []Node {
	first := slices.IndexFunc(values, func(n Node) bool { return n.Type().Kind == column.Float || n.Type().Kind == column.Double })
	if first < 0 || values[first].Type().Kind == column.Double {
		return values
	}
	for i, v := range values {
		if v.Type().Kind == column.Double {
			values[i] = castTo(v, column.Of(column.Float))
		}
	}
	return values
}

func compileCase(n *Call, args []*Compiled) (*Compiled, error) {
	// choose returns the value of the branch taken for a row.
	choose := func(b *column.Batch, row int) *Compiled {
		for i := 0; i+1 < len(args); i += 2 {
			if args[i].True(b, row) {
				return args[i+1]
			}
		}
		return args[len(args)-1]
	}
	return chosen(n.T, choose), nil
}

// chosen evaluates the expression returned by choose; nil is NULL.
func chosen(t column.Type, choose func(b *column.Batch, row int) *Compiled) *Compiled {
	c := &Compiled{Type: t}
	switch t.Class() {
	case column.Ints:
		c.I = func(b *column.Batch, row int) (int64, bool) {
			if v := choose(b, row); v != nil {
				return v.I(b, row)
			}
			return 0, false
		}
	case column.Floats:
		c.F = func(b *column.Batch, row int) (float64, bool) {
			if v := choose(b, row); v != nil {
				return v.F(b, row)
			}
			return 0, false
		}
	case column.Texts:
		c.S = func(b *column.Batch, row int) (string, bool) {
			if v := choose(b, row); v != nil {
				return v.S(b, row)
			}
			return "", false
		}
	case column.Boxes:
		c.A = func(b *column.Batch, row int) (any, bool) {
			if v := choose(b, row); v != nil {
				return v.A(b, row)
			}
			return nil, false
		}
	}
	return c
}

func bindCoalesce(args []Node) ([]Node, column.Type, error) {
	bound, err := alike("COALESCE", args)
	if err != nil {
		return nil, column.Type{}, err
	}
	nullable := true
	for _, a := range bound {
		if a.Type().NotNull {
			nullable = false
		}
	}
	return bound, bound[0].Type().Nullable(nullable), nil
}

func compileCoalesce(n *Call, args []*Compiled) (*Compiled, error) {
	return chosen(n.T, func(b *column.Batch, row int) *Compiled {
		for _, a := range args[:len(args)-1] {
			if !isNull(a, b, row) {
				return a
			}
		}
		return args[len(args)-1]
	}), nil
}

func isNull(c *Compiled, b *column.Batch, row int) bool {
	var ok bool
	switch {
	case c.I != nil:
		_, ok = c.I(b, row)
	case c.F != nil:
		_, ok = c.F(b, row)
	case c.S != nil:
		_, ok = c.S(b, row)
	default:
		_, ok = c.A(b, row)
	}
	return !ok
}

func bindNullIf(args []Node) ([]Node, column.Type, error) {
	t := args[0].Type()
	bound, err := compared("NULLIF", args)
	if err != nil {
		return nil, column.Type{}, err
	}
	return []Node{args[0], bound[0], bound[1]}, t.Nullable(true), nil
}

func evalNullIf(_ *Call, args []any) (any, error) {
	if args[1] != nil && args[2] != nil && column.EqualBoxed(args[1], args[2]) {
		return nil, nil
	}
	return args[0], nil
}

func bindIn(args []Node) ([]Node, column.Type, error) {
	bound, err := compared("IN", args)
	if err != nil {
		return nil, column.Type{}, err
	}
	return bound, column.Of(column.Boolean).Nullable(!allNotNull(bound)), nil
}

// compileIn compiles x IN (a, b, …). Without a match, the result is NULL if any element is NULL.
func compileIn(n *Call, args []*Compiled) (*Compiled, error) {
	set, hasNull, constant := make(map[any]bool), false, true
	for _, a := range n.Args[1:] {
		k, ok := a.(*Const)
		if !ok || k.T.Class() == column.Boxes {
			constant = false
			break
		}
		if k.Value == nil {
			hasNull = true
		} else {
			set[k.Value] = true
		}
	}
	x := args[0]
	if constant {
		return inSet(n.T, x, set, hasNull), nil
	}
	return &Compiled{Type: n.T, I: func(b *column.Batch, row int) (int64, bool) {
		v := x.Box(b, row)
		if v == nil {
			return 0, false
		}
		known := true
		for _, a := range args[1:] {
			o := a.Box(b, row)
			if o == nil {
				known = false
			} else if column.EqualBoxed(v, o) {
				return 1, true
			}
		}
		return 0, known
	}}, nil
}

func inSet(t column.Type, x *Compiled, set map[any]bool, hasNull bool) *Compiled {
	answer := func(in bool) (int64, bool) { return boolInt(in), in || !hasNull }
	c := &Compiled{Type: t}
	if x.S != nil {
		texts := make(map[string]bool)
		for v := range set {
			texts[v.(string)] = true
		}
		c.I = func(b *column.Batch, row int) (int64, bool) {
			v, ok := x.S(b, row)
			if !ok {
				return 0, false
			}
			return answer(texts[v])
		}
		return c
	}
	c.I = func(b *column.Batch, row int) (int64, bool) {
		v := x.Box(b, row)
		if v == nil {
			return 0, false
		}
		return answer(set[v])
	}
	return c
}

func bindIsNull(args []Node) ([]Node, column.Type, error) {
	return args, column.Of(column.Boolean).Nullable(false), nil
}

func compileIsNull(wanted bool) func(n *Call, args []*Compiled) (*Compiled, error) {
	return func(n *Call, args []*Compiled) (*Compiled, error) {
		x := args[0]
		return &Compiled{Type: n.T, I: func(b *column.Batch, row int) (int64, bool) {
			return boolInt(isNull(x, b, row) == wanted), true
		}}, nil
	}
}

func bindIsTruth(what string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		if args[0].Type().Kind != column.Boolean && args[0].Type().Kind != column.Null {
			return nil, column.Type{}, errors.New(what + " expects a condition")
		}
		return args, column.Of(column.Boolean).Nullable(false), nil
	}
}

func compileIsTruth(test func(v int64, ok bool) bool) func(n *Call, args []*Compiled) (*Compiled, error) {
	return func(n *Call, args []*Compiled) (*Compiled, error) {
		x := args[0].I
		return &Compiled{Type: n.T, I: func(b *column.Batch, row int) (int64, bool) {
			return boolInt(test(x(b, row))), true
		}}, nil
	}
}

func bindIsText(name string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		if t := args[0].Type(); t.Kind != column.String && !t.Numeric() && t.Kind != column.Null {
			return nil, column.Type{}, fmt.Errorf("%s expects a string or a number, got %s", name, t.Nullable(true))
		}
		return args, column.Of(column.Boolean).Nullable(false), nil
	}
}

func isAlpha(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsLetter(r) }) < 0
}

func isDigit(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsDigit(r) }) < 0
}

func isDecimal(s string) bool {
	_, ok := parseDouble(s, 64)
	return ok
}
