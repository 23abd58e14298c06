package audit

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ValueType is how the values of a column are compared.
type ValueType struct {
	Kind   ValueKind
	Elem   *ValueType       // of an array, or of the values of a map
	Fields []DatabaseColumn // of a row
}

// ValueKind is a kind of values.
type ValueKind string

// Kinds of values.
const (
	BooleanValue   ValueKind = "boolean"
	NumberValue    ValueKind = "number" // exact
	FloatValue     ValueKind = "float"  // 32 bits
	DoubleValue    ValueKind = "double"
	TextValue      ValueKind = "text"
	BytesValue     ValueKind = "bytes"
	DateValue      ValueKind = "date"
	TimeValue      ValueKind = "time"
	TimestampValue ValueKind = "timestamp"
	InstantValue   ValueKind = "instant"
	ArrayValue     ValueKind = "array"
	RowValue       ValueKind = "row"
	MapValue       ValueKind = "map" // with keys that are text
	JSONValue      ValueKind = "json"
)

// side is where a value was read: both write JSON, but differently.
type side bool

const (
	ofTopic    side = false
	ofDatabase side = true
)

const null = "null"

// canonical returns a text that is equal for equal values.
func (t ValueType) canonical(v any, from side) (string, error) {
	if v == nil {
		return null, nil
	}
	switch t.Kind {
	case BooleanValue:
		if b, ok := v.(bool); ok {
			return strconv.FormatBool(b), nil
		}
	case NumberValue:
		return canonicalNumber(v)
	case FloatValue, DoubleValue:
		return canonicalFloat(v, t.Kind)
	case ArrayValue:
		return t.canonicalArray(v, from)
	case RowValue, MapValue:
		return t.canonicalObject(v, from)
	case JSONValue:
		return canonicalJSON(v)
	default:
		if s, ok := v.(string); ok {
			text, err := t.canonicalText(s, from)
			return "'" + text, err // the text null is not NULL
		}
	}
	return "", fmt.Errorf("%v is no %s", v, t.Kind)
}

func canonicalNumber(v any) (string, error) {
	n, ok := v.(json.Number)
	if !ok {
		return "", fmt.Errorf("%v is no number", v)
	}
	r, ok := new(big.Rat).SetString(n.String())
	if !ok {
		return "", fmt.Errorf("%s is no number", n)
	}
	return r.RatString(), nil
}

func canonicalFloat(v any, kind ValueKind) (string, error) {
	text := ""
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string: // NaN, Infinity, -Infinity
		text = v
	default:
		return "", fmt.Errorf("%v is no number", v)
	}
	bits := 64
	if kind == FloatValue {
		bits = 32
	}
	f, err := strconv.ParseFloat(text, bits)
	if err != nil {
		return "", err
	}
	return strconv.FormatFloat(f, 'g', -1, bits), nil
}

func (t ValueType) canonicalArray(v any, from side) (string, error) {
	values, ok := v.([]any)
	if !ok {
		return "", fmt.Errorf("%v is no array", v)
	}
	var b strings.Builder
	b.WriteByte('[')
	for _, e := range values {
		text, err := t.Elem.canonical(e, from)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%d:%s,", len(text), text)
	}
	return b.String() + "]", nil
}

// canonicalObject returns the text of a row or a map. Fields that a row leaves out are NULL.
func (t ValueType) canonicalObject(v any, from side) (string, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return "", fmt.Errorf("%v is no object", v)
	}
	fields := t.Fields
	for key := range object {
		if t.Kind == RowValue && !slices.ContainsFunc(fields, func(f DatabaseColumn) bool { return f.Field == key }) {
			return "", fmt.Errorf("the row does not have the field %s", key)
		}
	}
	if t.Kind == MapValue {
		for _, key := range slices.Sorted(maps.Keys(object)) {
			fields = append(fields, DatabaseColumn{Field: key, Type: *t.Elem})
		}
	}
	var b strings.Builder
	b.WriteByte('{')
	for _, f := range fields {
		text, err := f.Type.canonical(object[f.Field], from)
		if err != nil {
			return "", fmt.Errorf("%s: %w", f.Field, err)
		}
		fmt.Fprintf(&b, "%q:%d:%s,", f.Field, len(text), text)
	}
	return b.String() + "}", nil
}

func canonicalJSON(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return null, nil
	case json.Number:
		return canonicalNumber(v)
	case map[string]any:
		var b strings.Builder
		for _, key := range slices.Sorted(maps.Keys(v)) {
			text, err := canonicalJSON(v[key])
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "%q:%s,", key, text)
		}
		return "{" + b.String() + "}", nil
	case []any:
		var b strings.Builder
		for _, e := range v {
			text, err := canonicalJSON(e)
			if err != nil {
				return "", err
			}
			b.WriteString(text + ",")
		}
		return "[" + b.String() + "]", nil
	}
	return fmt.Sprintf("%T %[1]v", v), nil
}

func (t ValueType) canonicalText(s string, from side) (string, error) {
	switch t.Kind {
	case BytesValue:
		if from == ofDatabase {
			return strings.TrimPrefix(s, `\x`), nil
		}
		raw, err := base64.StdEncoding.DecodeString(s)
		return hex.EncodeToString(raw), err
	case TimeValue:
		return trimFraction(s), nil
	case TimestampValue, InstantValue:
		return canonicalTime(s)
	}
	return s, nil
}

// trimFraction removes zeros at the end of a fraction of seconds.
func trimFraction(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// canonicalTime returns the microseconds of a timestamp. Years that Go does not parse remain text.
func canonicalTime(s string) (string, error) {
	text := strings.Replace(s, " ", "T", 1)
	for _, layout := range []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999"} {
		if at, err := time.Parse(layout, text); err == nil {
			return strconv.FormatInt(at.UnixMicro(), 10), nil
		}
	}
	return trimFraction(strings.TrimSuffix(strings.TrimSuffix(text, "Z"), "+00:00")), nil
}
