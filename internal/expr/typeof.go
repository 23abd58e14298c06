package expr

import (
	"errors"
	"fmt"
	"strings"

	"weir.example/weir/internal/column"
)

func init() {
	register(&Function{Name: "TYPEOF", Min: 1, Max: 2, NullArgs: true, bind: bindTypeOf, eval: evalTypeOf})
}

func bindTypeOf(args []Node) ([]Node, column.Type, error) {
	t := column.Type{Kind: column.String}
	if len(args) == 2 {
		if k, ok := args[1].(*Const); !ok || k.T.Kind != column.Boolean || k.Value == nil {
			return nil, t, errors.New("the second argument of TYPEOF must be TRUE or FALSE")
		}
	}
	known := true
	switch n := args[0].(type) {
	case *Call:
		known = n.F.Name == "CAST" || n.F.Name == "TRY_CAST" || n.F.Name == "UUID"
	case *Const:
		known = n.Value == nil
	case *Col:
		known = !n.Cast
	}
	if !known && lengthUnknown(args[0].Type()) {
		return nil, t, errors.New("TYPEOF of a computed string is not supported, because its length is not known here")
	}
	return args, t, nil
}

// lengthUnknown reports whether a type has strings or bytes, whose lengths Weir does not derive for
// expressions.
func lengthUnknown(t column.Type) bool {
	if t.Kind == column.String || t.Kind == column.Bytes {
		return true
	}
	for _, part := range []*column.Type{t.Key, t.Elem} {
		if part != nil && lengthUnknown(*part) {
			return true
		}
	}
	for _, f := range t.Fields {
		if lengthUnknown(f.Type) {
			return true
		}
	}
	return false
}

func evalTypeOf(n *Call, args []any) (any, error) {
	t := n.Args[0].Type()
	return typeText(t, len(args) == 2 && args[1] == true), nil
}

// typeText returns a type as Flink's summary of it or, with serial, in the form that it stores.
func typeText(t column.Type, serial bool) string {
	var s string
	switch t.Kind {
	case column.Array:
		s = "ARRAY<" + typeText(*t.Elem, serial) + ">"
	case column.Multiset:
		s = "MULTISET<" + typeText(*t.Key, serial) + ">"
	case column.Map:
		s = "MAP<" + typeText(*t.Key, serial) + ", " + typeText(*t.Elem, serial) + ">"
	case column.Row:
		fields := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			fields[i] = "`" + f.Name + "` " + typeText(f.Type, serial)
		}
		s = "ROW<" + strings.Join(fields, ", ") + ">"
	case column.IntervalDay:
		s = "INTERVAL SECOND(3)"
	case column.IntervalMonth:
		s = "INTERVAL MONTH"
	default:
		s = t.Nullable(true).String()
		if serial && t.Length == 0 {
			switch t.Kind {
			case column.String:
				s = "VARCHAR(2147483647)"
			case column.Bytes:
				s = "VARBINARY(2147483647)"
			}
		}
		if serial && t.Kind == column.TimestampLTZ {
			s = fmt.Sprintf("TIMESTAMP(%d) WITH LOCAL TIME ZONE", t.Precision)
		}
	}
	if t.NotNull {
		s += " NOT NULL"
	}
	return s
}
