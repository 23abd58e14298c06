package expr

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

// generator generates random types, values and expressions.
type generator struct {
	*rand.Rand
	types []column.Type // of the columns
	zone  Zone
}

func newGenerator(seed uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), zone: time.UTC}
	if g.IntN(2) == 0 {
		g.zone = berlin
	}
	g.types = []column.Type{
		column.Of(column.Boolean), column.Of(column.TinyInt), column.Of(column.SmallInt), column.Of(column.Int), column.Of(column.BigInt), column.Of(column.Float), column.Of(column.Double), column.OfDecimal(10, 2), column.OfDecimal(38, 10), column.Of(column.String), column.Of(column.String), column.Of(column.Bytes),
		column.Of(column.Date), column.OfTime(column.Time, 0), column.OfTime(column.Timestamp, 3), column.OfTime(column.TimestampLTZ, 3), column.Of(column.IntervalDay), column.Of(column.IntervalMonth),
		{Kind: column.Array, Elem: &column.Type{Kind: column.Int}}, {Kind: column.Array, Elem: &column.Type{Kind: column.String}}, {Kind: column.Map, Key: &column.Type{Kind: column.String}, Elem: &column.Type{Kind: column.Int}}, column.OfMultiset(column.Of(column.String)),
		{Kind: column.Row, Fields: []column.Field{{Name: "a", Type: column.Of(column.Int)}, {Name: "b", Type: column.Of(column.String)}}},
	}
	return g
}

var berlin = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}()

var texts = []string{
	"", "a", "abc", "ABC def", "ñ😀", "\xff\xfe", "%a_", "a(b", "[a-z]+", "12", "-1.5", "1e400", "true", "2026-03-29", "2026-03-29 02:30:00", "12:00:00",
	"yyyy-MM-dd HH:mm:ss", "MMM''a h", "'", "Europe/Berlin", "GMT+25", "{\"a\":[1,null,{\"b\":\"x\"}]}", "[]", "null", "UTF-16", "http://u@h:1/p?q=1#r", "=", ",",
}

var integers = []int64{0, 1, -1, 2, 3, 7, 10, -10, 38, 127, 255, 1000, 1 << 20, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64}

var doubles = []float64{0, 1, -1, 0.5, 1.005, -2.5, 1e7, 1e-7, 1e300, -1e300, 5e-324, math.Inf(1), math.Inf(-1), math.NaN()}

// value returns a random value of a type, sometimes NULL.
func (g *generator) value(t column.Type) any {
	if g.IntN(8) == 0 && !t.NotNull {
		return nil
	}
	switch t.Kind {
	case column.Boolean:
		return g.IntN(2) == 0
	case column.Float:
		return float64(float32(doubles[g.IntN(len(doubles))]))
	case column.Double:
		return doubles[g.IntN(len(doubles))]
	case column.Decimal:
		v := new(big.Int).Rem(new(big.Int).Mul(big.NewInt(integers[g.IntN(len(integers))]), big.NewInt(g.Int64())), column.Power10(t.Precision))
		return v
	case column.String, column.Bytes:
		return texts[g.IntN(len(texts))]
	case column.Date:
		return g.Int64N(80000) - 20000
	case column.Time:
		return g.Int64N(86400000)
	case column.Timestamp, column.TimestampLTZ:
		return moment.Truncate(g.Int64N(4e15)-1e15, t.Precision)
	case column.IntervalDay:
		return g.Int64N(1e13) - 5e12
	case column.IntervalMonth:
		return g.Int64N(1000) - 500
	case column.Array:
		return g.values(*t.Elem, g.IntN(4))
	case column.Row:
		row := make([]any, len(t.Fields))
		for i, f := range t.Fields {
			row[i] = g.value(f.Type)
		}
		return row
	case column.Map, column.Multiset:
		d := &column.Dict{}
		for range g.IntN(3) {
			d.Set(texts[g.IntN(len(texts))], g.value(*t.Elem))
		}
		return d
	}
	return column.Wrap(integers[g.IntN(len(integers))], t.Kind)
}

func (g *generator) values(t column.Type, n int) []any {
	all := make([]any, n)
	for i := range all {
		all[i] = g.value(t)
	}
	return all
}

// leaf returns a column or a constant.
func (g *generator) leaf() Node {
	i := g.IntN(len(g.types))
	t := g.types[i]
	switch g.IntN(12) {
	case 0:
		return &Const{}
	case 1, 2, 3, 4:
		return &Const{g.value(t), t}
	}
	return &Col{Index: i, Name: fmt.Sprintf("c%d", i), T: t}
}

var symbols = []string{"YEAR", "MONTH", "WEEK", "DAY", "HOUR", "SECOND", "MILLISECOND", "EPOCH", "CENTURY", "BOTH", "LEADING", "x"}

// call returns a call of a function, or nil if the function doesn't accept the arguments.
func (g *generator) call(name string, arg func() Node) Node {
	f := functions[name]
	n := f.Min
	most := f.Max
	if most < 0 {
		most = f.Min + 3
	}
	n += g.IntN(most - n + 1)
	if name == "MAP" {
		n = 2 * (n/2 + 1)
	}
	args := make([]Node, n)
	for i := range args {
		args[i] = arg()
		if g.IntN(6) == 0 {
			args[i] = &Const{symbols[g.IntN(len(symbols))], column.Type{Kind: column.Symbol, NotNull: true}}
		}
	}
	if strings.HasPrefix(name, "JSON_") && n == 2 && g.IntN(4) > 0 {
		args[1] = &Const{[]string{"$", "$.a[0]", "lax $.a[*]", "$.a[2].b", "strict $.*", "$.x"}[g.IntN(6)], column.Of(column.String)}
	}
	if name == "FIELD" {
		args[1] = &Const{"b", column.Of(column.String)}
	}
	if name == "CAST" || name == "TRY_CAST" {
		cast, err := Cast(args[0], g.types[g.IntN(len(g.types))], name == "TRY_CAST", g.zone)
		if err != nil {
			return nil
		}
		return cast
	}
	bound, err := Bind(name, g.zone, args...)
	if err != nil {
		return nil
	}
	return bound
}

// callFor retries until the arguments fit.
func (g *generator) callFor(name string, arg func() Node) Node {
	for range 200 {
		if n := g.call(name, arg); n != nil {
			return n
		}
	}
	return nil
}

func (g *generator) expression(depth int) Node {
	names := allNames()
	for {
		arg := g.leaf
		if depth > 1 && g.IntN(2) == 0 {
			arg = func() Node {
				if g.IntN(2) == 0 {
					return g.leaf()
				}
				return g.expression(depth - 1)
			}
		}
		if n := g.call(names[g.IntN(len(names))], arg); n != nil {
			return n
		}
	}
}

func (g *generator) batch(rows int) *column.Batch {
	b := column.NewBatch(g.types)
	for range rows {
		row := make([]any, len(g.types))
		for i, t := range g.types {
			row[i] = g.value(t)
		}
		b.AddRow(row)
	}
	return b
}

// same compares values, treating NaN as equal to itself.
func same(a, b any) bool {
	if a == nil || b == nil {
		return a == b
	}
	return fmt.Sprintf("%v", showAny(a)) == fmt.Sprintf("%v", showAny(b))
}

func showAny(v any) any {
	switch v := v.(type) {
	case *column.Dict:
		return fmt.Sprintf("map %v %v", showAny(v.Keys), showAny(v.Values))
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = fmt.Sprint(showAny(e))
		}
		return parts
	case *big.Int:
		return v.String()
	}
	return v
}

// withConstants replaces columns by the values of a row: all of them, or a random selection.
func (g *generator) withConstants(n Node, b *column.Batch, row int, all bool) Node {
	return Replace(n, func(n Node) Node {
		if c, ok := n.(*Col); ok && (all || g.IntN(2) == 0) {
			return &Const{b.Cols[c.Index].Value(row), c.T}
		}
		return n
	})
}

// TestFoldIsCompiled checks that folding an expression on constants gives the same result as
// evaluating it on columns. Rows with an error are skipped.
func TestFoldIsCompiled(t *testing.T) {
	for seed := range uint64(3000) {
		g := newGenerator(seed)
		n := g.expression(3)
		b := g.batch(4)
		compiled, err := Compile(n)
		if err != nil {
			t.Fatalf("seed %d: compile %s: %v", seed, n, err)
		}
		for row := range b.N {
			b.Err = nil
			want := compiled.Box(b, row)
			if b.Err != nil {
				continue
			}
			folded := Fold(g.withConstants(n, b, row, seed%2 == 0))
			c, err := Compile(folded)
			if err != nil {
				t.Fatalf("seed %d: compile %s: %v", seed, folded, err)
			}
			if got := c.Box(b, row); b.Err != nil || !same(got, want) {
				t.Fatalf("seed %d, row %d: %s\ncompiled %v\nfolded %s = %v (%v)", seed, row, n, want, folded, got, b.Err)
			}
			if !folded.Type().Same(n.Type()) {
				t.Fatalf("seed %d: %s is %s, and folded %s", seed, n, n.Type(), folded.Type())
			}
		}
	}
}

// TestNoFunctionPanics calls every function with random arguments that it accepts and checks the
// types of the results.
func TestNoFunctionPanics(t *testing.T) {
	for _, name := range allNames() {
		bound := 0
		for seed := uint64(0); seed < 60 || bound == 0 && seed < 1000; seed++ { // few arguments suit some
			g := newGenerator(seed)
			n := g.callFor(name, g.leaf)
			if n == nil {
				continue
			}
			bound++
			b := g.batch(20)
			compute(t, seed, n, b)
		}
		if bound == 0 {
			t.Errorf("no arguments found that %s takes", name)
		}
	}
}

func allNames() []string {
	names := Names()
	for name := range functions {
		if strings.Contains(name, " ") || name[0] < 'A' || name[0] > 'Z' {
			names = append(names, name)
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return functions[name].Volatile }) // their values aren't functions of their arguments
	slices.Sort(names)
	return names
}

func compute(t *testing.T, seed uint64, n Node, b *column.Batch) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("seed %d: %s panics: %v", seed, n, p)
		}
	}()
	c, err := Compile(n)
	if err != nil {
		t.Errorf("seed %d: compile %s: %v", seed, n, err)
		return
	}
	into := &column.Column{Type: n.Type()}
	for row := range b.N {
		b.Err = nil
		v := c.Box(b, row)
		if b.Err != nil && v != nil {
			t.Errorf("seed %d: %s has a value and an error: %v, %v", seed, n, v, b.Err)
		}
		if err := isOf(v, n.Type()); err != nil {
			t.Errorf("seed %d, row %d: %s: %v", seed, row, n, err)
			return
		}
		c.Into(into, b, row)
		if got := into.Value(row); !same(got, v) {
			t.Errorf("seed %d: %s: Box gives %v, Into %v", seed, n, v, got)
		}
	}
}

// isOf checks that a boxed value belongs to a type.
func isOf(v any, t column.Type) error {
	if v == nil {
		return nil
	}
	wrong := fmt.Errorf("%v (%T) is no %s", v, v, t)
	switch v := v.(type) {
	case bool:
		if t.Kind != column.Boolean {
			return wrong
		}
	case int64:
		if t.Class() != column.Ints || t.Kind == column.Boolean || v != column.Wrap(v, t.Kind) {
			return wrong
		}
	case float64:
		if t.Class() != column.Floats || t.Kind == column.Float && v == v && v != float64(float32(v)) {
			return wrong
		}
	case string:
		if t.Class() != column.Texts {
			return wrong
		}
	case *big.Int:
		if t.Kind != column.Decimal || column.FitDecimal(v, t) == nil {
			return wrong
		}
	case []any:
		if t.Kind != column.Array && t.Kind != column.Row {
			return wrong
		}
		for i, e := range v {
			et := t.Elem
			if t.Kind == column.Row {
				et = &t.Fields[i].Type
			}
			if err := isOf(e, *et); err != nil {
				return err
			}
		}
	case *column.Dict:
		if !t.Pairs() {
			return wrong
		}
	}
	return nil
}
