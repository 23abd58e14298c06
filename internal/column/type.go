// Package column defines SQL types and stores values in columns.
//
//	type.go     types, and the common type of two types
//	batch.go    columns and batches of values, maps, comparison
//	decimal.go  DECIMAL(p, s) as unscaled big integers
package column

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is a type without its parameters.
type Kind uint8

// Kinds, in the order of Flink's type roots.
const (
	Null Kind = iota // type of the literal NULL
	Boolean
	TinyInt
	SmallInt
	Int
	BigInt
	Float
	Double
	Decimal
	String // CHAR, VARCHAR, STRING
	Bytes  // BINARY, VARBINARY, BYTES
	Date
	Time
	Timestamp     // without time zone
	TimestampLTZ  // with local time zone: an instant
	IntervalDay   // day to second
	IntervalMonth // year to month
	Array
	Multiset // values with their numbers: stored as a Map of them
	Map
	Row
	Symbol // keyword passed as an argument, such as a time unit
)

// Type is a type with its parameters. The zero value is the type of NULL.
type Type struct {
	Kind      Kind
	NotNull   bool
	Precision int   // of Decimal; fractional-second digits of Time, Timestamp and TimestampLTZ
	Scale     int   // of Decimal
	Elem      *Type // of Array and Map; of Multiset, that of the numbers
	Key       *Type // of Map; of Multiset, that of the values
	Fields    []Field
	Length    int  // of CHAR(n), VARCHAR(n), BINARY(n), VARBINARY(n); 0 if unlimited
	Fixed     bool // CHAR(n) and BINARY(n)
}

// Field is a field of a Row.
type Field struct {
	Name string
	Type Type
}

// Class selects the vector of a Column that stores values of a type.
type Class uint8

// Classes, by the values they store.
const (
	Ints   Class = iota // Boolean as 0 and 1, integers, days, milliseconds of a day, microseconds since 1970, interval in microseconds or months
	Floats              // Float and Double
	Texts               // String and Bytes
	Boxes               // *big.Int unscaled, []any, *Dict
)

// Class returns the vector that stores values of the type.
func (t Type) Class() Class {
	switch t.Kind {
	case Float, Double:
		return Floats
	case String, Bytes, Symbol:
		return Texts
	case Decimal, Array, Multiset, Map, Row:
		return Boxes
	}
	return Ints
}

var kindNames = map[Kind]string{
	Null: "NULL", Boolean: "BOOLEAN", TinyInt: "TINYINT", SmallInt: "SMALLINT", Int: "INT", BigInt: "BIGINT", Float: "FLOAT",
	Double: "DOUBLE", Decimal: "DECIMAL", String: "STRING", Bytes: "BYTES", Date: "DATE", Time: "TIME", Timestamp: "TIMESTAMP",
	TimestampLTZ: "TIMESTAMP_LTZ", IntervalDay: "INTERVAL DAY TO SECOND", IntervalMonth: "INTERVAL YEAR TO MONTH", Symbol: "SYMBOL",
}

// String returns the type in SQL syntax.
func (t Type) String() string {
	var s string
	switch t.Kind {
	case Decimal:
		s = fmt.Sprintf("DECIMAL(%d, %d)", t.Precision, t.Scale)
	case Time, Timestamp, TimestampLTZ:
		s = fmt.Sprintf("%s(%d)", kindNames[t.Kind], t.Precision)
	case String, Bytes:
		s = kindNames[t.Kind]
		if t.Length > 0 {
			name := map[bool]map[Kind]string{true: {String: "CHAR", Bytes: "BINARY"}, false: {String: "VARCHAR", Bytes: "VARBINARY"}}[t.Fixed][t.Kind]
			s = fmt.Sprintf("%s(%d)", name, t.Length)
		}
	case Array:
		s = "ARRAY<" + t.Elem.String() + ">"
	case Multiset:
		s = "MULTISET<" + t.Key.String() + ">"
	case Map:
		s = "MAP<" + t.Key.String() + ", " + t.Elem.String() + ">"
	case Row:
		fields := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			fields[i] = f.Name + " " + f.Type.String()
		}
		s = "ROW<" + strings.Join(fields, ", ") + ">"
	default:
		s = kindNames[t.Kind]
	}
	if t.NotNull {
		s += " NOT NULL"
	}
	return s
}

// Of returns a nullable type of a kind without parameters.
func Of(k Kind) Type { return Type{Kind: k} }

// OfTime returns a nullable Time, Timestamp or TimestampLTZ.
func OfTime(k Kind, precision int) Type { return Type{Kind: k, Precision: precision} }

// OfDecimal returns a nullable Decimal.
func OfDecimal(precision, scale int) Type {
	return Type{Kind: Decimal, Precision: precision, Scale: scale}
}

// OfMultiset returns a nullable Multiset of values of a type. The numbers can be NULL only in
// records of others.
func OfMultiset(value Type) Type {
	number := Of(Int)
	return Type{Kind: Multiset, Key: &value, Elem: &number}
}

// Nullable returns t as a nullable or NOT NULL type.
func (t Type) Nullable(yes bool) Type {
	t.NotNull = !yes
	return t
}

// Same reports whether two types are equal, ignoring nullability.
func (t Type) Same(o Type) bool {
	if t.Kind != o.Kind || t.Precision != o.Precision || t.Scale != o.Scale || t.Length != o.Length || t.Fixed != o.Fixed || len(t.Fields) != len(o.Fields) {
		return false
	}
	for _, pair := range [][2]*Type{{t.Elem, o.Elem}, {t.Key, o.Key}} {
		if (pair[0] == nil) != (pair[1] == nil) || pair[0] != nil && !pair[0].Same(*pair[1]) {
			return false
		}
	}
	for i, f := range t.Fields {
		if f.Name != o.Fields[i].Name || !f.Type.Same(o.Fields[i].Type) {
			return false
		}
	}
	return true
}

// Holds reports whether every value of o is a value of t without conversion: o is the same type, or
// a shorter string or bytes type (Flink's LogicalTypeCasts.supportsAvoidingCast).
func (t Type) Holds(o Type) bool {
	switch {
	case t.Kind != o.Kind:
		return false
	case t.Kind == String || t.Kind == Bytes:
		return t.Length == 0 || t.Fixed == o.Fixed && t.Length == o.Length || !t.Fixed && o.Length > 0 && o.Length <= t.Length
	case t.Kind == Array:
		return t.Elem.Holds(*o.Elem)
	case t.Pairs():
		return t.Key.Holds(*o.Key) && t.Elem.Holds(*o.Elem)
	case t.Kind == Row && len(t.Fields) == len(o.Fields):
		for i, f := range t.Fields {
			if !f.Type.Holds(o.Fields[i].Type) {
				return false
			}
		}
		return true
	}
	return t.Same(o)
}

// Integer reports whether the type is one of TINYINT to BIGINT.
func (t Type) Integer() bool { return t.Kind >= TinyInt && t.Kind <= BigInt }

// Exact reports whether the type is an integer or a decimal.
func (t Type) Exact() bool { return t.Integer() || t.Kind == Decimal }

// Numeric reports whether the type is a number.
func (t Type) Numeric() bool { return t.Kind >= TinyInt && t.Kind <= Decimal }

// Temporal reports whether the type is a date, time or timestamp.
func (t Type) Temporal() bool { return t.Kind >= Date && t.Kind <= TimestampLTZ }

// Instant reports whether the type is a timestamp, with or without time zone.
func (t Type) Instant() bool { return t.Kind == Timestamp || t.Kind == TimestampLTZ }

// Interval reports whether the type is an interval.
func (t Type) Interval() bool { return t.Kind == IntervalDay || t.Kind == IntervalMonth }

// Nested reports whether the type is made of others: ARRAY, MULTISET, MAP or ROW.
func (t Type) Nested() bool { return t.Kind >= Array && t.Kind <= Row }

// Pairs reports whether the values of the type are Dicts: those of MAP, and of MULTISET.
func (t Type) Pairs() bool { return t.Kind == Map || t.Kind == Multiset }

// Has reports whether a condition holds for the type or one that it is made of.
func (t Type) Has(is func(Type) bool) bool {
	if is(t) || t.Elem != nil && t.Elem.Has(is) || t.Key != nil && t.Key.Has(is) {
		return true
	}
	return slices.ContainsFunc(t.Fields, func(f Field) bool { return f.Type.Has(is) })
}

// integerDigits is the precision of the smallest decimal that holds every value of an integer type.
var integerDigits = map[Kind]int{TinyInt: 3, SmallInt: 5, Int: 10, BigInt: 19}

// AsDecimal returns the smallest decimal type that holds every value of an exact numeric type.
func (t Type) AsDecimal() Type {
	if t.Kind == Decimal {
		return t
	}
	return Type{Kind: Decimal, Precision: integerDigits[t.Kind], NotNull: t.NotNull}
}

// Common returns the type to which values of both types are converted, as Flink's leastRestrictive
// does (LogicalTypeMerging).
func Common(a, b Type) (Type, bool) {
	notNull := a.NotNull && b.NotNull
	c, ok := common(a, b)
	c.NotNull = notNull
	return c, ok
}

func common(a, b Type) (Type, bool) {
	switch {
	case a.Kind == Null:
		return b, true
	case b.Kind == Null:
		return a, true
	case a.Numeric() && b.Numeric():
		return commonNumber(a, b), true
	case a.Kind == b.Kind && (a.Kind == String || a.Kind == Bytes):
		if a.Length == b.Length && a.Fixed == b.Fixed {
			return a, true
		}
		return Of(a.Kind), true
	case a.Kind == Multiset && b.Kind == Multiset: // values that were converted could be equal then
		if b.Holds(a) {
			a = b
		}
		return a, a.Holds(b)
	case a.Kind == b.Kind && a.Nested():
		return commonNested(a, b)
	case a.Kind == b.Kind:
		a.Precision = max(a.Precision, b.Precision)
		return a, true
	case a.Instant() && b.Instant():
		return OfTime(a.Kind, max(a.Precision, b.Precision)), true // kind of the first, as in Flink
	case a.Kind == Date && b.Instant():
		return b, true
	case b.Kind == Date && a.Instant():
		return a, true
	}
	return Type{}, false
}

func commonNumber(a, b Type) Type {
	switch {
	case a.Integer() && b.Integer():
		return Of(max(a.Kind, b.Kind))
	case a.Kind == Double || b.Kind == Double:
		return Of(Double)
	case a.Kind == Float || b.Kind == Float:
		if a.Kind == Decimal || b.Kind == Decimal {
			return Of(Double)
		}
		return Of(Float)
	}
	// Integer digits take precedence, so that the values of both types fit; fractional digits are
	// rounded.
	x, y := a.AsDecimal(), b.AsDecimal()
	whole := max(x.Precision-x.Scale, y.Precision-y.Scale)
	scale := min(max(x.Scale, y.Scale), MaxPrecision-whole)
	return OfDecimal(whole+scale, scale)
}

func commonNested(a, b Type) (Type, bool) {
	result := a
	for _, e := range []struct{ x, y, into **Type }{{&a.Elem, &b.Elem, &result.Elem}, {&a.Key, &b.Key, &result.Key}} {
		if *e.x != nil && *e.y != nil {
			c, ok := Common(**e.x, **e.y)
			if !ok {
				return Type{}, false
			}
			*e.into = &c
		}
	}
	if len(a.Fields) != len(b.Fields) {
		return Type{}, false
	}
	result.Fields = make([]Field, len(a.Fields))
	for i := range a.Fields {
		c, ok := Common(a.Fields[i].Type, b.Fields[i].Type)
		if !ok {
			return Type{}, false
		}
		result.Fields[i] = Field{a.Fields[i].Name, c}
	}
	return result, true
}

// MaxPrecision is the maximum precision of a DECIMAL.
const MaxPrecision = 38

// Wrap truncates v to the width of an integer type, like a narrowing conversion in Java.
func Wrap(v int64, k Kind) int64 {
	switch k {
	case TinyInt:
		return int64(int8(v))
	case SmallInt:
		return int64(int16(v))
	case Int:
		return int64(int32(v))
	}
	return v
}

// MaxYear bounds dates, timestamps and intervals, so that their microseconds fit in 64 bits even
// when negated or rounded up.
const (
	MaxYear   = 290_000
	maxDays   = MaxYear * 365
	maxMicros = maxDays * 86_400_000_000
	maxMonths = MaxYear * 12
)

// Fits reports whether a date in days, a timestamp in microseconds or an interval in microseconds
// or months is within the supported 290,000 years. It is true for other kinds.
func Fits(v int64, k Kind) bool {
	var limit int64
	switch k {
	case Date:
		limit = maxDays
	case Timestamp, TimestampLTZ, IntervalDay:
		limit = maxMicros
	case IntervalMonth:
		limit = maxMonths
	default:
		return true
	}
	return v >= -limit && v <= limit
}
