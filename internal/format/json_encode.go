package format

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

// jsonEncoder encodes rows as objects, identically to Flink's json format.
type jsonEncoder struct {
	fields  []Field
	names   []string // "name": preceding each value
	iso     bool
	plain   bool // encode.decimal-as-plain-number
	ignore  bool // encode.ignore-null-fields
	nullKey string
	literal string

	dropped Dropped
}

// Dropped implements Dropper.
func (e *jsonEncoder) Dropped() *Dropped { return &e.dropped }

func newJSONEncoder(fields []Field, o Options) *jsonEncoder {
	e := &jsonEncoder{
		fields: fields, iso: o["timestamp-format.standard"] == "ISO-8601", plain: o.bool("encode.decimal-as-plain-number"),
		ignore: o.bool("encode.ignore-null-fields"), nullKey: o["map-null-key.mode"], literal: o["map-null-key.literal"],
	}
	for _, f := range fields {
		e.names = append(e.names, string(append(appendText(nil, f.Name), ':')))
	}
	if e.literal == "" {
		e.literal = "null"
	}
	return e
}

// Encode implements Encoder.
func (e *jsonEncoder) Encode(dst []byte, cols []*column.Column, row int) ([]byte, error) {
	dst = append(dst, '{')
	first := true
	for i, c := range cols {
		null := c.Null[row]
		if null && e.ignore {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, e.names[i]...)
		if null {
			dst = append(dst, "null"...)
			continue
		}
		t := e.fields[i].Type
		switch c.Type.Class() {
		case column.Ints:
			dst = e.int(dst, c.I[row], t)
		case column.Floats:
			dst = appendFloat(dst, c.F[row], t)
		case column.Texts:
			dst = appendString(dst, c.S[row], t)
		case column.Boxes:
			var err error
			if dst, err = e.boxed(dst, c.Value(row), t); err != nil {
				return dst, fmt.Errorf("field %s: %w", e.fields[i].Name, err)
			}
		}
	}
	return append(dst, '}'), nil
}

func (e *jsonEncoder) int(dst []byte, v int64, t column.Type) []byte {
	switch t.Kind {
	case column.Boolean:
		return strconv.AppendBool(dst, v != 0)
	case column.Date, column.Time, column.Timestamp, column.TimestampLTZ:
		between := byte(' ')
		if e.iso {
			between = 'T'
		}
		return append(appendMoment(append(dst, '"'), v, t, between), '"')
	}
	return strconv.AppendInt(dst, v, 10)
}

// appendMoment formats a date, a time or a timestamp, with a byte between its date and its time.
func appendMoment(dst []byte, v int64, t column.Type, between byte) []byte {
	switch t.Kind {
	case column.Date:
		return append(dst, moment.FormatDate(v)...)
	case column.Time:
		stamp := moment.AppendTimestamp(nil, v*moment.Millisecond, between)
		return append(dst, stamp[11:]...)
	}
	dst = moment.AppendTimestamp(dst, v, between)
	if t.Kind == column.TimestampLTZ {
		dst = append(dst, 'Z')
	}
	return dst
}

// appendFloat formats a number like Java's Double.toString. Like Jackson, it writes values that
// JSON numbers can't represent as strings.
func appendFloat(dst []byte, f float64, t column.Type) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(appendJavaFloat(append(dst, '"'), f, t), '"')
	}
	return appendJavaFloat(dst, f, t)
}

// appendJavaFloat formats a number like Java's Float.toString or Double.toString.
func appendJavaFloat(dst []byte, f float64, t column.Type) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	from, bits := len(dst), floatBits(t)
	if a := math.Abs(f); a != 0 && (a < 1e-3 || a >= 1e7) {
		dst = strconv.AppendFloat(dst, f, 'E', -1, bits) // d.dddE±dd
		return javaExponent(dst, from)
	}
	dst = strconv.AppendFloat(dst, f, 'f', -1, bits)
	for _, c := range dst[from:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, '.', '0')
}

// javaExponent rewrites 1E+07 as 1.0E7.
func javaExponent(dst []byte, from int) []byte {
	var buffer [32]byte
	text := append(buffer[:0], dst[from:]...)
	dst = dst[:from]
	point := false
	for i, c := range text {
		if c == '.' {
			point = true
		}
		if c != 'E' {
			dst = append(dst, c)
			continue
		}
		if !point {
			dst = append(dst, '.', '0')
		}
		n, _ := strconv.Atoi(string(text[i+1:]))
		return strconv.AppendInt(append(dst, 'E'), int64(n), 10)
	}
	return dst
}

func appendString(dst []byte, s string, t column.Type) []byte {
	if t.Kind == column.Bytes {
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), []byte(s)), '"')
	}
	return appendText(dst, s)
}

const hexDigits = "0123456789ABCDEF"

// appendText appends s as a JSON string, escaped as Jackson does.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	raw := unsafe.Slice(unsafe.StringData(s), len(s)) // only read
	for i := 0; i < len(s); {
		if i+8 <= len(s) {
			n := special(binary.LittleEndian.Uint64(raw[i:]))
			if i += n; n == 8 {
				continue
			}
		}
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[from:i]...), "\uFFFD"...)
				from = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[from:i]...)
		if c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
		} else {
			dst = appendControl(dst, c)
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}

// appendControl appends the escape of a control character.
func appendControl(dst []byte, c byte) []byte {
	switch c {
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// appendDecimal formats a decimal like BigDecimal.toString, which uses an exponent if the first
// digit is more than six places after the point.
func appendDecimal(dst []byte, v *big.Int, scale int, plainNumber bool) []byte {
	digits := new(big.Int).Abs(v).String()
	if v.Sign() < 0 {
		dst = append(dst, '-')
	}
	exponent := len(digits) - 1 - scale
	if !plainNumber && exponent < -6 {
		dst = append(dst, digits[0])
		if len(digits) > 1 {
			dst = append(append(dst, '.'), digits[1:]...)
		}
		return strconv.AppendInt(append(dst, 'E'), int64(exponent), 10)
	}
	for len(digits) <= scale {
		digits = "0" + digits
	}
	dst = append(dst, digits[:len(digits)-scale]...)
	if scale > 0 {
		dst = append(append(dst, '.'), digits[len(digits)-scale:]...)
	}
	return dst
}

// boxed appends a boxed value.
func (e *jsonEncoder) boxed(dst []byte, v any, t column.Type) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int64:
		return e.int(dst, v, t), nil
	case float64:
		return appendFloat(dst, v, t), nil
	case string:
		return appendString(dst, v, t), nil
	case *big.Int:
		return appendDecimal(dst, v, t.Scale, e.plain), nil
	case []any:
		if t.Kind == column.Row {
			return e.row(dst, v, t)
		}
		dst = append(dst, '[')
		for i, x := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = e.boxed(dst, x, *t.Elem); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	case *column.Dict:
		return e.dict(dst, v, t)
	}
	return dst, fmt.Errorf("unexpected value of type %T", v)
}

func (e *jsonEncoder) row(dst []byte, v []any, t column.Type) ([]byte, error) {
	dst = append(dst, '{')
	first := true
	for i, f := range t.Fields {
		if v[i] == nil && e.ignore {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		var err error
		if dst, err = e.boxed(append(appendText(dst, f.Name), ':'), v[i], f.Type); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func (e *jsonEncoder) dict(dst []byte, m *column.Dict, t column.Type) ([]byte, error) {
	dst = append(dst, '{')
	first := true
	for i, k := range m.Keys {
		name, ok := k.(string)
		if !ok {
			switch e.nullKey {
			case "DROP":
				e.dropped.Entries++
				continue
			case "LITERAL":
				name = e.literal
			default:
				return dst, errors.New("a key of a map is NULL, which JSON does not support (json.map-null-key.mode)")
			}
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		var err error
		if dst, err = e.boxed(append(appendText(dst, name), ':'), m.Values[i], *t.Elem); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}
