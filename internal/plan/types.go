package plan

import (
	"math"
	"slices"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

const (
	maxPrecision = 6             // the finest timestamp: microseconds
	maxLength    = math.MaxInt32 // of CHAR, VARCHAR, BINARY and VARBINARY; the length of STRING and BYTES in Flink
)

var plainTypes = map[string]column.Type{
	"BOOLEAN": column.Of(column.Boolean), "TINYINT": column.Of(column.TinyInt), "SMALLINT": column.Of(column.SmallInt), "INT": column.Of(column.Int),
	"BIGINT": column.Of(column.BigInt), "FLOAT": column.Of(column.Float), "DOUBLE": column.Of(column.Double),
	"STRING": column.Of(column.String), "BYTES": column.Of(column.Bytes), "DATE": column.Of(column.Date),
}

func typeNames() []string {
	all := []string{"DECIMAL", "CHAR", "VARCHAR", "BINARY", "VARBINARY", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ", "ARRAY", "MULTISET", "MAP", "ROW"}
	for name := range plainTypes {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// bindType converts a parsed type to a column type.
func bindType(t *sql.TypeName) (column.Type, error) {
	bound, err := bindTypeName(t)
	bound.NotNull = t.NotNull
	return bound, err
}

func bindTypeName(t *sql.TypeName) (column.Type, error) {
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
	case "REAL":
		return column.Type{}, sql.Errorf(t, "type REAL is not supported").WithHint("write FLOAT; Flink does not support REAL either")
	case "DECIMAL":
		precision, scale := param(0, 10), param(1, 0)
		if precision < 1 || precision > column.MaxPrecision || scale < 0 || scale > precision {
			return column.Type{}, sql.Errorf(t, "%s: a DECIMAL has 1 to %d digits, of which all may be after the point", t, column.MaxPrecision)
		}
		return column.OfDecimal(precision, scale), nil
	case "CHAR", "VARCHAR", "BINARY", "VARBINARY":
		kind := column.String
		if t.Name == "BINARY" || t.Name == "VARBINARY" {
			kind = column.Bytes
		}
		fixed := t.Name == "CHAR" || t.Name == "BINARY"
		length := param(0, map[bool]int{true: 1, false: maxLength}[fixed]) // VARCHAR is STRING, VARBINARY is BYTES
		if length < 1 || length > maxLength {
			return column.Type{}, sql.Errorf(t, "%s: the length is out of range", t).WithHint("write a length between 1 and %d", maxLength)
		}
		if !fixed && length == maxLength {
			return column.Of(kind), nil
		}
		return column.Type{Kind: kind, Length: length, Fixed: fixed}, nil
	case "TIME":
		if p := param(0, 0); p > 3 {
			return column.Type{}, sql.Errorf(t, "%s: TIME has at most 3 fractional digits", t)
		}
		return column.OfTime(column.Time, param(0, 0)), nil
	case "TIMESTAMP", "TIMESTAMP_LTZ":
		kind := column.Timestamp
		if t.Name == "TIMESTAMP_LTZ" {
			kind = column.TimestampLTZ
		}
		precision := param(0, 6)
		if precision > maxPrecision {
			return column.Type{}, sql.Errorf(t, "%s is not supported: at most %d fractional digits", t, maxPrecision).WithHint("write %s(%d)", t.Name, maxPrecision)
		}
		return column.OfTime(kind, precision), nil
	case "ARRAY", "MULTISET", "MAP":
		elem, err := bindType(t.Elem)
		if err != nil {
			return column.Type{}, err
		}
		switch t.Name {
		case "ARRAY":
			return column.Type{Kind: column.Array, Elem: &elem}, nil
		case "MULTISET":
			return column.OfMultiset(elem), nil
		}
		key, err := bindType(t.Key)
		return column.Type{Kind: column.Map, Key: &key, Elem: &elem}, err
	case "ROW":
		row := column.Type{Kind: column.Row}
		for _, f := range t.Fields {
			ft, err := bindType(f.Type)
			if err != nil {
				return column.Type{}, err
			}
			row.Fields = append(row.Fields, column.Field{Name: f.Name.Name, Type: ft})
		}
		return row, nil
	}
	return column.Type{}, sql.Errorf(t, "type %s is not supported", t).WithHint("%s", suggest.DidYouMean(t.Name, typeNames()))
}

func isMultiset(t column.Type) bool { return t.Kind == column.Multiset }

// checkKey refuses keys whose equal values can differ in the order of their parts.
func checkKey(where sql.Node, clause string, t column.Type) error {
	if !t.Has(isMultiset) {
		return nil
	}
	return sql.Errorf(where, "%s a %s is not supported", clause, t.Nullable(true)).WithHint("UNNEST it, and use its elements")
}

// assignable reports whether a value of one type may be written to a column of another without a
// CAST (the implicit casts of Flink's LogicalTypeCasts): to the same kind, to a wider number,
// between timestamps.
func assignable(from, to column.Type) bool {
	switch {
	case from.Kind == column.Null:
		return true
	case from.Numeric() && to.Numeric():
		return from.Kind <= to.Kind || from.Kind == column.Decimal && to.Kind >= column.Float || to.Kind == column.Decimal && from.Integer()
	case from.Kind != to.Kind:
		return from.Instant() && to.Instant() // a DATE needs a CAST
	case from.Kind == column.Array:
		return assignable(*from.Elem, *to.Elem)
	case from.Kind == column.Multiset: // values that were converted could be equal then
		return to.Holds(from)
	case from.Kind == column.Map:
		return assignable(*from.Key, *to.Key) && assignable(*from.Elem, *to.Elem)
	case from.Kind == column.Row:
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
