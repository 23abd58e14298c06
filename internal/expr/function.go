package expr

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/column"
)

// Zone is the time zone of a session (table.local-time-zone).
type Zone = *time.Location

// Function is a scalar function or operator.
type Function struct {
	Name     string
	Min, Max int  // number of arguments; Max -1 is unlimited
	NullArgs bool // accepts NULL arguments; otherwise a NULL argument makes the result NULL
	Volatile bool // must not be folded

	// bind converts arguments to the types accepted by the function, and returns the result type.
	bind func(args []Node) ([]Node, column.Type, error)

	// Exactly one of the two is set: compile returns closures, eval computes boxed values.
	compile func(n *Call, args []*Compiled) (*Compiled, error)
	eval    func(n *Call, args []any) (any, error)

	prepare func(n *Call) error // prepares constant arguments once
}

var functions = make(map[string]*Function)

// operators are functions that have their own SQL syntax.
var operators = []string{"AND", "ARRAY", "CASE", "FIELD", "IN", "ITEM", "LIKE", "MAP", "NEGATE", "NOT", "OR"}

// Callable reports whether a function can be called by this name, which is in upper case.
func Callable(name string) bool {
	return functions[name] != nil && !slices.Contains(operators, name)
}

// Names returns the names of all callable functions, sorted.
func Names() []string {
	var all []string
	for name := range functions {
		if name[0] >= 'A' && name[0] <= 'Z' && !strings.Contains(name, " ") && Callable(name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

func register(fs ...*Function) {
	for _, f := range fs {
		functions[f.Name] = f
	}
}

// Bind binds a function call. The error states which arguments the function accepts.
func Bind(name string, zone Zone, args ...Node) (Node, error) {
	f, ok := functions[name]
	if !ok {
		return nil, fmt.Errorf("unknown function %s", name)
	}
	if len(args) < f.Min || f.Max >= 0 && len(args) > f.Max {
		return nil, fmt.Errorf("%s takes %s, got %d", name, f.arity(), len(args))
	}
	for i, a := range args {
		if k, ok := a.(*Const); ok && k.Value == nil && k.T.Kind == column.Null && !f.takesNull(i) {
			return nil, fmt.Errorf("%s can't take NULL, which has no type: write CAST(NULL AS …)", f.Name)
		}
	}
	bound, t, err := f.bind(args)
	if err != nil {
		return nil, err
	}
	for i, a := range bound { // casts added by bind use the session's time zone
		if cast, ok := a.(*Call); ok && cast.Zone == nil && cast.F == functions["CAST"] {
			bound[i] = CastTo(cast.Args[0], cast.T, zone)
		}
	}
	c := &Call{F: f, Args: bound, T: t, Zone: zone}
	if f.prepare != nil {
		if err := f.prepare(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// takesNull reports whether argument i can be an untyped NULL. Flink has two kinds of functions, of
// which only the newer one accepts it.
func (f *Function) takesNull(i int) bool {
	switch f.Name {
	case "NULLIF", "PRINTF":
		return i > 0
	case "TYPEOF", "=", "<>", "<", "<=", ">", ">=", "IN", "CASE", "COALESCE", "IFNULL", "ARRAY", "MAP", "ELT", "SPLIT", "BTRIM", "UNHEX", "STARTSWITH",
		"ENDSWITH", "JSON_STRING", "JSON_QUOTE", "JSON_UNQUOTE", "TO_TIMESTAMP_LTZ", "URL_ENCODE", "URL_DECODE", "REGEXP_EXTRACT_ALL", "REGEXP_COUNT",
		"REGEXP_INSTR", "REGEXP_SUBSTR", "IS NULL", "IS NOT NULL", "IS DISTINCT FROM", "IS NOT DISTINCT FROM":
		return true
	}
	return strings.HasPrefix(f.Name, "ARRAY_")
}

func (f *Function) arity() string {
	plural := func(n int) string {
		if n == 1 {
			return "1 argument"
		}
		return fmt.Sprintf("%d arguments", n)
	}
	switch {
	case f.Max < 0:
		return "at least " + plural(f.Min)
	case f.Min == f.Max:
		return plural(f.Min)
	}
	return fmt.Sprintf("%d to %s", f.Min, plural(f.Max))
}

// allNotNull reports whether no argument can be NULL.
func allNotNull(args []Node) bool {
	for _, a := range args {
		if !a.Type().NotNull {
			return false
		}
	}
	return true
}

// castTo is CastTo for the arguments of Bind, which fills in the time zone.
func castTo(n Node, t column.Type) Node { return CastTo(n, t, nil) }

// CastTo converts an expression to a type, unless it already has that type. zone is the session's
// time zone, by which TIMESTAMP and TIMESTAMP_LTZ are converted to each other.
func CastTo(n Node, t column.Type, zone Zone) Node {
	from := n.Type()
	if t.Holds(from) {
		return n
	}
	if c, ok := n.(*Const); ok && c.Value == nil {
		return &Const{nil, t.Nullable(true)}
	}
	return &Call{F: functions["CAST"], Args: []Node{n}, T: t.Nullable(!from.NotNull), Zone: zone}
}

// params is a signature with one letter for each parameter. ? follows optional parameters; *
// follows the last one if it can be repeated.
//
//	s string   y string or bytes        i integer (as BIGINT)   d double
//	b boolean  n any number             t timestamp or date     D date
//	T timestamp (any kind)              u symbol                x anything
//	a array
type params string

var paramNames = map[byte]string{
	's': "a string", 'y': "bytes", 'i': "an integer", 'd': "a number", 'b': "a boolean", 'n': "a number",
	't': "a date or timestamp", 'D': "a date", 'T': "a timestamp", 'u': "a unit", 'x': "a value", 'a': "an array",
}

func (p params) letters() (letters []byte, required int, rest bool) {
	required = -1
	for i := range len(p) {
		switch p[i] {
		case '?':
			if required < 0 {
				required = len(letters) - 1
			}
		case '*':
			rest = true
		default:
			letters = append(letters, p[i])
		}
	}
	if required < 0 {
		required = len(letters)
	}
	return letters, required, rest
}

// coerce converts an argument to the type of its parameter.
func coerce(function string, i int, letter byte, n Node) (Node, error) {
	t := n.Type()
	wrong := fmt.Errorf("argument %d of %s must be %s, not %s", i+1, function, paramNames[letter], t.Nullable(true))
	if t.Kind == column.Null {
		t = column.Of(map[byte]column.Kind{'s': column.String, 'y': column.Bytes, 'i': column.BigInt, 'd': column.Double, 'n': column.Int, 'b': column.Boolean, 't': column.Timestamp, 'D': column.Date, 'T': column.Timestamp}[letter])
		n = &Const{nil, t}
	}
	switch letter {
	case 's':
		if t.Kind != column.String {
			return nil, wrong
		}
	case 'y':
		if t.Kind != column.Bytes && t.Kind != column.String {
			return nil, wrong
		}
	case 'i':
		if !t.Integer() {
			return nil, wrong
		}
		return castTo(n, column.Of(column.BigInt)), nil
	case 'd':
		if !t.Numeric() {
			return nil, wrong
		}
		return castTo(n, column.Of(column.Double)), nil
	case 'n':
		if !t.Numeric() {
			return nil, wrong
		}
	case 'b':
		if t.Kind != column.Boolean {
			return nil, wrong
		}
	case 't':
		if t.Kind != column.Date && !t.Instant() {
			return nil, wrong
		}
	case 'D':
		if t.Kind != column.Date {
			return nil, wrong
		}
	case 'T':
		if !t.Instant() {
			return nil, wrong
		}
	case 'u':
		if t.Kind != column.Symbol {
			return nil, wrong
		}
	case 'a':
		if t.Kind != column.Array {
			return nil, wrong
		}
	}
	return n, nil
}

// simple defines a function with a fixed signature that computes boxed values.
func simple(name string, p params, result column.Type, eval func(n *Call, args []any) (any, error)) *Function {
	letters, required, rest := p.letters()
	f := &Function{Name: name, Min: required, Max: len(letters), eval: eval}
	if rest {
		f.Max = -1
	}
	f.bind = func(args []Node) ([]Node, column.Type, error) {
		bound := make([]Node, len(args))
		for i, a := range args {
			c, err := coerce(name, i, letters[min(i, len(letters)-1)], a)
			if err != nil {
				return nil, column.Type{}, err
			}
			bound[i] = c
		}
		return bound, result.Nullable(!allNotNull(bound)), nil
	}
	return f
}

// maybe is like simple, for a function whose result can be NULL even if its arguments aren't.
func maybe(name string, p params, result column.Type, eval func(n *Call, args []any) (any, error)) *Function {
	f := simple(name, p, result, eval)
	bind := f.bind
	f.bind = func(args []Node) ([]Node, column.Type, error) {
		bound, t, err := bind(args)
		return bound, t.Nullable(true), err
	}
	return f
}

// with modifies a function in a registration.
func (f *Function) with(change func(*Function)) *Function {
	change(f)
	return f
}

// alias returns the same function under another name.
func (f *Function) alias(name string) *Function {
	copied := *f
	copied.Name = name
	return &copied
}
