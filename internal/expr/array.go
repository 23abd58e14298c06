package expr

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/column"
)

func init() {
	register(
		&Function{Name: "ARRAY_CONTAINS", Min: 2, Max: 2, NullArgs: true, bind: bindNeedle("ARRAY_CONTAINS", false), eval: evalContains},
		&Function{Name: "ARRAY_POSITION", Min: 2, Max: 2, bind: bindPosition, eval: evalPosition},
		&Function{Name: "ARRAY_REMOVE", Min: 2, Max: 2, NullArgs: true, bind: bindNeedle("ARRAY_REMOVE", true), eval: evalRemove},
		&Function{Name: "ARRAY_APPEND", Min: 2, Max: 2, NullArgs: true, bind: bindAdd("ARRAY_APPEND"), eval: evalAppend},
		&Function{Name: "ARRAY_PREPEND", Min: 2, Max: 2, NullArgs: true, bind: bindAdd("ARRAY_PREPEND"), eval: evalPrepend},
		&Function{Name: "ARRAY_CONCAT", Min: 1, Max: -1, bind: bindArrays("ARRAY_CONCAT"), eval: evalArrayConcat},
		&Function{Name: "ARRAY_UNION", Min: 2, Max: 2, bind: bindArrays("ARRAY_UNION"), eval: evalUnion},
		&Function{Name: "ARRAY_EXCEPT", Min: 2, Max: 2, bind: bindArrays("ARRAY_EXCEPT"), eval: evalFilter(false)},
		&Function{Name: "ARRAY_INTERSECT", Min: 2, Max: 2, bind: bindArrays("ARRAY_INTERSECT"), eval: evalFilter(true)},
		&Function{Name: "ARRAY_DISTINCT", Min: 1, Max: 1, bind: bindArrays("ARRAY_DISTINCT"), eval: func(_ *Call, a []any) (any, error) { return distinct(a[0].([]any)), nil }},
		&Function{Name: "ARRAY_REVERSE", Min: 1, Max: 1, bind: bindArrays("ARRAY_REVERSE"), eval: evalArrayReverse},
		&Function{Name: "ARRAY_MAX", Min: 1, Max: 1, bind: bindArrayExtreme("ARRAY_MAX"), eval: evalArrayExtreme(1)},
		&Function{Name: "ARRAY_MIN", Min: 1, Max: 1, bind: bindArrayExtreme("ARRAY_MIN"), eval: evalArrayExtreme(-1)},
		&Function{Name: "ARRAY_SLICE", Min: 2, Max: 3, bind: bindArrayWith("ARRAY_SLICE", 'i'), eval: evalSlice},
		&Function{Name: "ARRAY_SORT", Min: 1, Max: 3, bind: bindArrayWith("ARRAY_SORT", 'b'), eval: evalSort},
		simple("ARRAY_JOIN", "ass?", column.Of(column.String), evalArrayJoin).with(func(f *Function) { f.bind = bindArrayJoin(f.bind) }),
	)
}

// withElement converts an array and a value to a common element type.
func withElement(function string, args []Node) (array, value Node, elem column.Type, err error) {
	array, err = coerce(function, 0, 'a', args[0])
	if err != nil {
		return nil, nil, column.Type{}, err
	}
	t := array.Type()
	elem, ok := column.Common(*t.Elem, args[1].Type())
	if !ok {
		return nil, nil, column.Type{}, fmt.Errorf("argument 2 of %s must be %s, not %s", function, t.Elem.Nullable(true), args[1].Type().Nullable(true))
	}
	kept := elem.Nullable(!t.Elem.NotNull)
	return castTo(array, column.Type{Kind: column.Array, Elem: &kept, NotNull: t.NotNull}), castTo(args[1], elem), elem, nil
}

// bindNeedle binds an array and a value to search for in it; NULL is a valid value.
func bindNeedle(name string, array bool) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		a, v, _, err := withElement(name, args)
		if err != nil {
			return nil, column.Type{}, err
		}
		if array {
			return []Node{a, v}, a.Type(), nil
		}
		return []Node{a, v}, column.Of(column.Boolean).Nullable(!a.Type().NotNull), nil
	}
}

func bindPosition(args []Node) ([]Node, column.Type, error) {
	a, v, _, err := withElement("ARRAY_POSITION", args)
	if err != nil {
		return nil, column.Type{}, err
	}
	return []Node{a, v}, column.Of(column.Int).Nullable(!allNotNull([]Node{a, v})), nil
}

// index returns the index of the first element equal to v, or -1.
func index(array []any, v any) int {
	return slices.IndexFunc(array, func(e any) bool { return e == nil && v == nil || e != nil && v != nil && column.EqualBoxed(e, v) })
}

func evalContains(_ *Call, a []any) (any, error) {
	if a[0] == nil {
		return nil, nil
	}
	return index(a[0].([]any), a[1]) >= 0, nil
}

func evalPosition(_ *Call, a []any) (any, error) { return int64(index(a[0].([]any), a[1])) + 1, nil }

func evalRemove(_ *Call, a []any) (any, error) {
	if a[0] == nil {
		return nil, nil
	}
	kept := []any{}
	for _, e := range a[0].([]any) {
		if index([]any{e}, a[1]) < 0 {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

func bindAdd(name string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		a, v, elem, err := withElement(name, args)
		if err != nil {
			return nil, column.Type{}, err
		}
		return []Node{a, v}, column.Type{Kind: column.Array, Elem: &elem, NotNull: a.Type().NotNull}, nil
	}
}

func evalAppend(_ *Call, a []any) (any, error) {
	if a[0] == nil {
		return nil, nil
	}
	return slices.Concat(a[0].([]any), a[1:2]), nil
}

func evalPrepend(_ *Call, a []any) (any, error) {
	if a[0] == nil {
		return nil, nil
	}
	return slices.Concat(a[1:2], a[0].([]any)), nil
}

// bindArrays converts arrays to a common type, which is also the type of the result.
func bindArrays(name string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		for i, a := range args {
			if _, err := coerce(name, i, 'a', a); err != nil {
				return nil, column.Type{}, err
			}
		}
		bound, err := alike(name, args)
		if err != nil {
			return nil, column.Type{}, err
		}
		t := bound[0].Type()
		for _, b := range bound[1:] { // an element can be NULL if it can be in any of the arrays
			t, _ = column.Common(t, b.Type())
		}
		return bound, t.Nullable(!allNotNull(bound)), nil
	}
}

func evalArrayConcat(_ *Call, a []any) (any, error) {
	all := []any{}
	for _, array := range a {
		all = append(all, array.([]any)...)
	}
	return all, nil
}

func distinct(array []any) []any {
	kept := []any{}
	for _, e := range array {
		if index(kept, e) < 0 {
			kept = append(kept, e)
		}
	}
	return kept
}

func evalUnion(n *Call, a []any) (any, error) {
	all, err := evalArrayConcat(n, a)
	return distinct(all.([]any)), err
}

// evalFilter keeps the elements that are in the second array, or those that aren't.
func evalFilter(in bool) func(n *Call, a []any) (any, error) {
	return func(_ *Call, a []any) (any, error) {
		kept := []any{}
		for _, e := range distinct(a[0].([]any)) {
			if (index(a[1].([]any), e) >= 0) == in {
				kept = append(kept, e)
			}
		}
		return kept, nil
	}
}

func evalArrayReverse(_ *Call, a []any) (any, error) {
	turned := slices.Clone(a[0].([]any))
	slices.Reverse(turned)
	return turned, nil
}

// ordered reports whether values of a type can be ordered.
func ordered(t column.Type) bool {
	return (t.Class() != column.Boxes || t.Kind == column.Decimal) && t.Kind != column.Boolean
}

func bindArrayExtreme(name string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		a, err := coerce(name, 0, 'a', args[0])
		if err != nil {
			return nil, column.Type{}, err
		}
		if elem := *a.Type().Elem; !ordered(elem) {
			return nil, column.Type{}, fmt.Errorf("%s can't compare %s", name, elem.Nullable(true))
		}
		return []Node{a}, a.Type().Elem.Nullable(true), nil
	}
}

func evalArrayExtreme(direction int) func(n *Call, a []any) (any, error) {
	return func(_ *Call, a []any) (any, error) {
		var best any
		for _, e := range a[0].([]any) {
			if e != nil && (best == nil || sign(column.CompareBoxed(e, best)) == direction) {
				best = e
			}
		}
		return best, nil
	}
}

// bindArrayWith binds an array followed by arguments that all have the same kind.
func bindArrayWith(name string, letter byte) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		bound := make([]Node, len(args))
		for i, a := range args {
			l := letter
			if i == 0 {
				l = 'a'
			}
			c, err := coerce(name, i, l, a)
			if err != nil {
				return nil, column.Type{}, err
			}
			bound[i] = c
		}
		t := bound[0].Type()
		if letter == 'b' && !ordered(*t.Elem) {
			return nil, column.Type{}, fmt.Errorf("%s can't compare %s", name, t.Elem.Nullable(true))
		}
		return bound, t.Nullable(!allNotNull(bound)), nil
	}
}

// evalSlice uses 1-based offsets. Negative offsets count from the end; 0 is the first element.
func evalSlice(_ *Call, a []any) (any, error) {
	array := a[0].([]any)
	size := int64(len(array))
	place := func(i int64) int64 {
		switch {
		case i < 0:
			return i + size + 1
		case i == 0:
			return 1
		}
		return i
	}
	from, to := place(a[1].(int64)), size
	if len(a) > 2 {
		to = place(a[2].(int64))
	}
	from, to = max(from, 1), min(to, size)
	if from > to {
		return []any{}, nil
	}
	return array[from-1 : to], nil
}

// evalSort puts NULL first in ascending order and last in descending order, unless the third
// argument overrides this.
func evalSort(_ *Call, a []any) (any, error) {
	up := len(a) < 2 || a[1].(bool)
	nullsFirst := up
	if len(a) > 2 {
		nullsFirst = a[2].(bool)
	}
	sorted := slices.Clone(a[0].([]any))
	slices.SortStableFunc(sorted, func(x, y any) int {
		c := column.CompareBoxed(x, y) // NULL is smallest
		if x == nil || y == nil {
			if !nullsFirst {
				c = -c
			}
		} else if !up {
			c = -c
		}
		return c
	})
	return sorted, nil
}

func bindArrayJoin(bind func(args []Node) ([]Node, column.Type, error)) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		bound, t, err := bind(args)
		if err == nil && bound[0].Type().Elem.Kind != column.String {
			err = errors.New("ARRAY_JOIN expects an array of strings, got " + bound[0].Type().Nullable(true).String())
		}
		return bound, t, err
	}
}

// evalArrayJoin omits NULL, or replaces it by the third argument.
func evalArrayJoin(_ *Call, a []any) (any, error) {
	var parts []string
	for _, e := range a[0].([]any) {
		switch {
		case e != nil:
			parts = append(parts, e.(string))
		case len(a) > 2:
			parts = append(parts, a[2].(string))
		}
	}
	return strings.Join(parts, a[1].(string)), nil
}
