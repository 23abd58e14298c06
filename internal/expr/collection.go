package expr

import (
	"errors"
	"fmt"

	"weir.example/weir/internal/column"
)

func init() {
	register(
		&Function{Name: "ROW", Min: 1, Max: -1, NullArgs: true, bind: bindRow, eval: func(_ *Call, a []any) (any, error) { return a, nil }},
		&Function{Name: "ARRAY", Min: 0, Max: -1, NullArgs: true, bind: bindArray, eval: func(_ *Call, a []any) (any, error) { return a, nil }},
		&Function{Name: "MAP", Min: 0, Max: -1, NullArgs: true, bind: bindMap, eval: evalMap},
		&Function{Name: "FIELD", Min: 2, Max: 2, bind: bindField, compile: compileField},
		&Function{Name: "ITEM", Min: 2, Max: 2, bind: bindItem, eval: evalItem},
		&Function{Name: "CARDINALITY", Min: 1, Max: 1, bind: bindCardinality, eval: evalCardinality},
		&Function{Name: "ELEMENT", Min: 1, Max: 1, bind: bindElement, eval: evalElement},
		&Function{Name: "MAP_KEYS", Min: 1, Max: 1, bind: bindMapPart("MAP_KEYS", keysType), eval: func(_ *Call, a []any) (any, error) { return a[0].(*column.Dict).Keys, nil }},
		&Function{Name: "MAP_VALUES", Min: 1, Max: 1, bind: bindMapPart("MAP_VALUES", valuesType), eval: func(_ *Call, a []any) (any, error) { return a[0].(*column.Dict).Values, nil }},
		&Function{Name: "MAP_ENTRIES", Min: 1, Max: 1, bind: bindMapPart("MAP_ENTRIES", entryType), eval: evalMapEntries},
		&Function{Name: "MAP_FROM_ARRAYS", Min: 2, Max: 2, bind: bindMapFromArrays, eval: evalMapFromArrays},
		&Function{Name: "MAP_UNION", Min: 1, Max: -1, bind: bindMapUnion, eval: evalMapUnion},
	)
}

func bindRow(args []Node) ([]Node, column.Type, error) {
	t := column.Type{Kind: column.Row, NotNull: true}
	for i, a := range args {
		t.Fields = append(t.Fields, column.Field{Name: fmt.Sprintf("EXPR$%d", i), Type: a.Type()})
	}
	return args, t, nil
}

func bindArray(args []Node) ([]Node, column.Type, error) {
	if len(args) == 0 {
		return nil, column.Type{}, errors.New("ARRAY[] has no type: give it an element")
	}
	bound, err := alike("ARRAY", args)
	if err != nil {
		return nil, column.Type{}, err
	}
	elem := bound[0].Type().Nullable(!allNotNull(bound))
	return bound, column.Type{Kind: column.Array, NotNull: true, Elem: &elem}, nil
}

func bindMap(args []Node) ([]Node, column.Type, error) {
	if len(args) == 0 {
		return nil, column.Type{}, errors.New("MAP[] has no type: give it a pair")
	}
	var keys, values []Node
	for i := 0; i < len(args); i += 2 {
		keys, values = append(keys, args[i]), append(values, args[i+1])
	}
	keys, err := alike("MAP", keys)
	if err != nil {
		return nil, column.Type{}, err
	}
	values, err = alike("MAP", oneFloat(values))
	if err != nil {
		return nil, column.Type{}, err
	}
	bound := make([]Node, len(args))
	for i := range keys {
		bound[2*i], bound[2*i+1] = keys[i], values[i]
	}
	k, v := keys[0].Type(), values[0].Type().Nullable(!allNotNull(values))
	return bound, column.Type{Kind: column.Map, NotNull: true, Key: &k, Elem: &v}, nil
}

func evalMap(_ *Call, a []any) (any, error) {
	d := &column.Dict{}
	for i := 0; i < len(a); i += 2 {
		d.Set(a[i], a[i+1])
	}
	return d, nil
}

func bindField(args []Node) ([]Node, column.Type, error) {
	t := args[0].Type()
	k, _ := args[1].(*Const)
	if k == nil || k.T.Kind != column.String || k.Value == nil {
		return nil, column.Type{}, errors.New("FIELD expects the name of a field")
	}
	name := k.Value.(string)
	if t.Kind != column.Row {
		return nil, column.Type{}, fmt.Errorf("%s has no field %s: it is %s", args[0], name, t.Nullable(true))
	}
	for _, f := range t.Fields {
		if f.Name == name {
			return args, f.Type.Nullable(!t.NotNull || !f.Type.NotNull), nil
		}
	}
	return nil, column.Type{}, fmt.Errorf("%s has no field %s: it is %s", args[0], name, t.Nullable(true))
}

func bindItem(args []Node) ([]Node, column.Type, error) {
	t := args[0].Type()
	switch t.Kind {
	case column.Array:
		i, err := coerce("[]", 1, 'i', args[1])
		if err != nil {
			return nil, column.Type{}, err
		}
		if k, ok := Fold(i).(*Const); ok && k.Value != nil && k.Value.(int64) < 1 {
			return nil, column.Type{}, fmt.Errorf("array indexes start at 1, got [%d]", k.Value)
		}
		return []Node{args[0], i}, t.Elem.Nullable(true), nil
	case column.Map:
		c, ok := column.Common(*t.Key, args[1].Type())
		if !ok {
			return nil, column.Type{}, fmt.Errorf("the keys of %s are %s, not %s", args[0], t.Key, args[1].Type())
		}
		c.NotNull = t.Key.NotNull
		m := castTo(args[0], column.Type{Kind: column.Map, Key: &c, Elem: t.Elem, NotNull: t.NotNull})
		return []Node{m, castTo(args[1], c)}, t.Elem.Nullable(true), nil
	}
	if t.Kind == column.Multiset {
		return nil, column.Type{}, fmt.Errorf("[] can't be applied to %s: UNNEST it; Flink does not support it either", t.Nullable(true))
	}
	return nil, column.Type{}, fmt.Errorf("[] expects an array or a map, got %s", t.Nullable(true))
}

func evalItem(_ *Call, a []any) (any, error) {
	switch x := a[0].(type) {
	case []any:
		i := a[1].(int64)
		if i < 1 || i > int64(len(x)) {
			return nil, nil
		}
		return x[i-1], nil
	case *column.Dict:
		return x.Get(a[1]), nil
	}
	return nil, nil
}

func bindCardinality(args []Node) ([]Node, column.Type, error) {
	t := args[0].Type()
	if t.Kind == column.Multiset {
		return nil, column.Type{}, fmt.Errorf("CARDINALITY can't be applied to %s: COUNT has the number of values; Flink does not support it either", t.Nullable(true))
	}
	if t.Kind != column.Array && t.Kind != column.Map {
		return nil, column.Type{}, fmt.Errorf("CARDINALITY expects an array or a map, got %s", t.Nullable(true))
	}
	return args, column.Of(column.Int).Nullable(!t.NotNull), nil
}

func evalCardinality(_ *Call, a []any) (any, error) {
	if d, ok := a[0].(*column.Dict); ok {
		return int64(len(d.Keys)), nil
	}
	return int64(len(a[0].([]any))), nil
}

func bindElement(args []Node) ([]Node, column.Type, error) {
	if t := args[0].Type(); t.Kind == column.Multiset {
		return nil, column.Type{}, fmt.Errorf("ELEMENT can't be applied to %s: UNNEST it; Flink does not support it either", t.Nullable(true))
	}
	a, err := coerce("ELEMENT", 0, 'a', args[0])
	if err != nil {
		return nil, column.Type{}, err
	}
	return []Node{a}, a.Type().Elem.Nullable(true), nil
}

func evalElement(_ *Call, a []any) (any, error) {
	switch x := a[0].([]any); len(x) {
	case 0:
		return nil, nil
	case 1:
		return x[0], nil
	}
	return nil, errors.New("the array has more than one element")
}

func keysType(m column.Type) column.Type   { return *m.Key }
func valuesType(m column.Type) column.Type { return *m.Elem }

func entryType(m column.Type) column.Type {
	return column.Type{Kind: column.Row, NotNull: true, Fields: []column.Field{{Name: "key", Type: *m.Key}, {Name: "value", Type: *m.Elem}}}
}

// bindMapPart binds functions that turn a map into an array.
func bindMapPart(name string, elem func(column.Type) column.Type) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		t := args[0].Type()
		if t.Kind != column.Map {
			return nil, column.Type{}, fmt.Errorf("%s expects a map, got %s", name, t.Nullable(true))
		}
		e := elem(t)
		return args, column.Type{Kind: column.Array, Elem: &e, NotNull: t.NotNull}, nil
	}
}

func evalMapEntries(_ *Call, a []any) (any, error) {
	d := a[0].(*column.Dict)
	entries := make([]any, len(d.Keys))
	for i := range d.Keys {
		entries[i] = []any{d.Keys[i], d.Values[i]}
	}
	return entries, nil
}

func bindMapFromArrays(args []Node) ([]Node, column.Type, error) {
	for i := range args {
		if _, err := coerce("MAP_FROM_ARRAYS", i, 'a', args[i]); err != nil {
			return nil, column.Type{}, err
		}
	}
	return args, column.Type{Kind: column.Map, Key: args[0].Type().Elem, Elem: args[1].Type().Elem, NotNull: allNotNull(args)}, nil
}

func evalMapFromArrays(_ *Call, a []any) (any, error) {
	keys, values := a[0].([]any), a[1].([]any)
	if len(keys) != len(values) {
		return nil, fmt.Errorf("the arrays have %d and %d elements", len(keys), len(values))
	}
	return &column.Dict{Keys: keys, Values: values}, nil // duplicate keys are kept, as in Flink
}

func bindMapUnion(args []Node) ([]Node, column.Type, error) {
	bound, err := alike("MAP_UNION", args)
	if err != nil {
		return nil, column.Type{}, err
	}
	t := bound[0].Type()
	if t.Kind != column.Map {
		return nil, column.Type{}, fmt.Errorf("MAP_UNION expects maps, got %s", t.Nullable(true))
	}
	return bound, t.Nullable(!allNotNull(bound)), nil
}

func evalMapUnion(_ *Call, a []any) (any, error) {
	d := &column.Dict{}
	for _, m := range a {
		for i, k := range m.(*column.Dict).Keys {
			d.Set(k, m.(*column.Dict).Values[i])
		}
	}
	return d, nil
}
