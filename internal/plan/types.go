package plan

import (
	"math"
	"slices"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

const (
	maxPrecision = 6             // the finest timestamp: microseconds
	maxLength    = math.MaxInt32 // of CHAR, VARCHAR, BINARY and VARBINARY; the one that STRING and BYTES have in Flink
)

var plainTypes = map[string]expr.Type{
	"BOOLEAN": expr.Of(expr.Boolean), "TINYINT": expr.Of(expr.TinyInt), "SMALLINT": expr.Of(expr.SmallInt), "INT": expr.Of(expr.Int),
	"INTEGER": expr.Of(expr.Int), "BIGINT": expr.Of(expr.BigInt), "FLOAT": expr.Of(expr.Float), "DOUBLE": expr.Of(expr.Double),
	"DOUBLE PRECISION": expr.Of(expr.Double), "REAL": expr.Of(expr.Float), "STRING": expr.Of(expr.String), "BYTES": expr.Of(expr.Bytes), "DATE": expr.Of(expr.Date),
}

func typeNames() []string {
	all := []string{"DECIMAL", "CHAR", "VARCHAR", "BINARY", "VARBINARY", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ", "ARRAY", "MAP", "ROW"}
	for name := range plainTypes {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// bindType turns a type as written into one that expressions have.
func bindType(t *sql.TypeName) (expr.Type, error) {
	bound, err := bindTypeName(t)
	bound.NotNull = t.NotNull
	return bound, err
}

func bindTypeName(t *sql.TypeName) (expr.Type, error) {
	param := func(i, otherwise int) int {
		if i < len(t.Params) {
			return t.Params[i]
		}
		return otherwise
	}
	if plain, ok := plainTypes[t.Name]; ok {
		return plain, nil
	}
	switch t.Name {
	case "DECIMAL", "DEC", "NUMERIC":
		precision, scale := param(0, 10), param(1, 0)
		if precision < 1 || precision > expr.MaxPrecision || scale < 0 || scale > precision {
			return expr.Type{}, sql.Errorf(t, "%s: a DECIMAL has 1 to %d digits, and at most as many behind the point", t, expr.MaxPrecision)
		}
		return expr.OfDecimal(precision, scale), nil
	case "CHAR", "VARCHAR", "BINARY", "VARBINARY":
		kind := expr.String
		if t.Name == "BINARY" || t.Name == "VARBINARY" {
			kind = expr.Bytes
		}
		fixed := t.Name == "CHAR" || t.Name == "BINARY"
		length := param(0, map[bool]int{true: 1, false: maxLength}[fixed]) // VARCHAR is STRING, VARBINARY is BYTES
		if length < 1 || length > maxLength {
			return expr.Type{}, sql.Errorf(t, "%s: the length is out of range", t).WithHint("write a length between 1 and %d", maxLength)
		}
		if !fixed && length == maxLength {
			return expr.Of(kind), nil
		}
		return expr.Type{Kind: kind, Length: length, Fixed: fixed}, nil
	case "TIME":
		if p := param(0, 0); p > 3 {
			return expr.Type{}, sql.Errorf(t, "%s: TIME has at most 3 digits of a second", t)
		}
		return expr.OfTime(expr.Time, param(0, 0)), nil
	case "TIMESTAMP", "TIMESTAMP_LTZ", "TIMESTAMP WITH LOCAL TIME ZONE", "TIMESTAMP WITHOUT TIME ZONE":
		kind := expr.Timestamp
		if t.Name == "TIMESTAMP_LTZ" || t.Name == "TIMESTAMP WITH LOCAL TIME ZONE" {
			kind = expr.TimestampLTZ
		}
		precision := param(0, 6)
		if precision > maxPrecision {
			return expr.Type{}, sql.Errorf(t, "%s is not supported: at most %d digits of a second", t, maxPrecision).WithHint("write %s(%d)", t.Name, maxPrecision)
		}
		return expr.OfTime(kind, precision), nil
	case "ARRAY", "MAP":
		elem, err := bindType(t.Elem)
		if err != nil {
			return expr.Type{}, err
		}
		if t.Name == "ARRAY" {
			return expr.Type{Kind: expr.Array, Elem: &elem}, nil
		}
		key, err := bindType(t.Key)
		return expr.Type{Kind: expr.Map, Key: &key, Elem: &elem}, err
	case "ROW":
		row := expr.Type{Kind: expr.Row}
		for _, f := range t.Fields {
			ft, err := bindType(f.Type)
			if err != nil {
				return expr.Type{}, err
			}
			row.Fields = append(row.Fields, expr.Field{Name: f.Name.Name, Type: ft})
		}
		return row, nil
	}
	return expr.Type{}, sql.Errorf(t, "type %s is not supported", t).WithHint("%s", suggest.DidYouMean(t.Name, typeNames()))
}

// assignable reports whether a value of one type may be written to a column of another without a
// CAST (Flink's LogicalTypeCasts, implicit): to the same kind, to a wider number, between
// timestamps.
func assignable(from, to expr.Type) bool {
	switch {
	case from.Kind == expr.Null:
		return true
	case from.Numeric() && to.Numeric():
		return from.Kind <= to.Kind || from.Kind == expr.Decimal && to.Kind >= expr.Float || to.Kind == expr.Decimal && from.Integer()
	case from.Kind != to.Kind:
		return from.Instant() && to.Instant() // a DATE needs a CAST
	case from.Kind == expr.Array:
		return assignable(*from.Elem, *to.Elem)
	case from.Kind == expr.Map:
		return assignable(*from.Key, *to.Key) && assignable(*from.Elem, *to.Elem)
	case from.Kind == expr.Row:
		if len(from.Fields) != len(to.Fields) {
			return false
		}
		for i := range from.Fields {
			if !assignable(from.Fields[i].Type, to.Fields[i].Type) {
				return false
			}
		}
	}
	return true
}
