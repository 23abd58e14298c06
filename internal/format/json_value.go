package format

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"weir.example/weir/internal/column"
)

// value appends a value, which must be well-formed, to a column. On error it appends nothing.
func (d *jsonDecoder) value(v []byte, c *column.Column) error {
	if v[0] == 'n' {
		c.AddNull()
		return nil
	}
	switch c.Type.Class() {
	case column.Texts:
		if c.Type.Kind == column.String {
			c.AddText(d.string(v))
			return nil
		}
	case column.Floats:
		f, err := d.float(v, c.Type)
		if err == nil {
			c.AddFloat(f)
		}
		return err
	case column.Ints:
		i, err := d.int(v, c.Type)
		if err == nil {
			c.AddInt(i)
		}
		return err
	}
	boxed, err := d.boxed(v, c.Type)
	if err == nil {
		c.Add(boxed)
	}
	return err
}

// string returns the text of a string, or the JSON of any other value.
func (d *jsonDecoder) string(v []byte) string {
	switch v[0] {
	case '"':
	case '{', '[':
		return string(compact(nil, v))
	default:
		return view(v)
	}
	raw := v[1 : len(v)-1]
	if bytes.IndexByte(raw, '\\') >= 0 {
		return view(unescape(nil, raw))
	}
	return view(raw)
}

// compact appends well-formed JSON without white space and with control characters escaped, as
// Jackson writes it.
func compact(dst, v []byte) []byte {
	quoted := false
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch {
		case !quoted && c <= ' ':
			continue
		case c == '\\': // only within quotes: the next byte isn't the closing one
			dst = append(dst, c)
			i++
			c = v[i]
		case c == '"':
			quoted = !quoted
		case c < ' ':
			dst = appendControl(dst, c)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func wanted(v []byte, t column.Type) error {
	shown := string(v)
	if len(shown) > 60 {
		shown = shown[:57] + "…"
	}
	return fmt.Errorf("found %s, expected %s", shown, t.Nullable(true))
}

func (d *jsonDecoder) float(v []byte, t column.Type) (float64, error) {
	if v[0] == '"' {
		f, ok := javaFloat(strings.TrimSpace(d.string(v)), t)
		if !ok {
			return 0, wanted(v, t)
		}
		return f, nil
	}
	f, err := strconv.ParseFloat(view(v), floatBits(t))
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, wanted(v, t)
	}
	return f, nil
}

func floatBits(t column.Type) int {
	if t.Kind == column.Float {
		return 32
	}
	return 64
}

// javaFloat parses text as Java's parseFloat or parseDouble do, without Go's own notations.
func javaFloat(s string, t column.Type) (float64, bool) {
	switch s {
	case "Infinity", "+Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	case "NaN":
		return math.NaN(), true
	}
	if strings.ContainsAny(s, "xX_pPiInN") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, floatBits(t))
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

// intRange maps integer types to their maximum.
var intRange = map[column.Kind]int64{column.TinyInt: math.MaxInt8, column.SmallInt: math.MaxInt16, column.Int: math.MaxInt32}

func (d *jsonDecoder) int(v []byte, t column.Type) (int64, error) {
	switch t.Kind {
	case column.Boolean:
		switch s := view(v); {
		case s == "true":
			return 1, nil
		case s == "false":
			return 0, nil
		case v[0] == '"':
			if strings.EqualFold(strings.TrimSpace(d.string(v)), "true") { // like Boolean.parseBoolean: anything else is false
				return 1, nil
			}
			return 0, nil
		case v[0] != '{' && v[0] != '[':
			return 0, nil // a number, which Flink reads as false
		}
		return 0, wanted(v, t)
	case column.Timestamp, column.TimestampLTZ, column.Date, column.Time:
		if v[0] != '"' {
			return 0, wanted(v, t)
		}
		return d.moment(d.string(v), t)
	}
	s := view(v)
	if v[0] == '"' {
		s = strings.TrimSpace(d.string(v))
	}
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		if wide := t.Kind == column.Int || t.Kind == column.BigInt; wide && v[0] != '"' && strings.ContainsAny(s, ".eE") {
			return d.truncated(v, t)
		}
		return 0, wanted(v, t)
	}
	if limit, ok := intRange[t.Kind]; ok && (i > limit || i < -limit-1) {
		return 0, wanted(v, t)
	}
	return i, nil
}

// truncated converts a number with a fraction or exponent to INT or BIGINT, discarding the fraction
// (Jackson's getIntValue and getLongValue, which convert 2^63 to the maximum BIGINT). Flink parses
// TINYINT and SMALLINT from text, which must be an integer.
func (d *jsonDecoder) truncated(v []byte, t column.Type) (int64, error) {
	f, err := strconv.ParseFloat(view(v), 64)
	limit := float64(math.MaxInt64)
	if l, ok := intRange[t.Kind]; ok {
		limit = float64(l)
	}
	if err != nil || f > limit || f < -limit-1 {
		return 0, wanted(v, t)
	}
	if f >= math.MaxInt64 { // 2^63, which overflows int64
		return math.MaxInt64, nil
	}
	return int64(f), nil
}

// boxed parses a value and returns it boxed.
func (d *jsonDecoder) boxed(v []byte, t column.Type) (any, error) {
	if v[0] == 'n' {
		return nil, nil
	}
	switch t.Kind {
	case column.Bytes:
		if v[0] != '"' {
			return nil, wanted(v, t)
		}
		raw, err := base64.StdEncoding.DecodeString(d.string(v))
		if err != nil {
			return nil, fmt.Errorf("%w in base64", wanted(v, t))
		}
		return string(raw), nil
	case column.Decimal:
		s := view(v)
		if v[0] == '"' {
			s = strings.TrimSpace(d.string(v))
		}
		n, err := column.ParseDecimal(s, t)
		if err != nil || n == nil {
			return nil, wanted(v, t)
		}
		return n, nil
	case column.Array:
		return d.array(v, t)
	case column.Row, column.Map, column.Multiset:
		return d.object(v, t)
	}
	c := column.Column{Type: t}
	if err := d.value(v, &c); err != nil {
		return nil, err
	}
	return c.Value(0), nil
}

// parts calls fn for each element of an array or object, which must be well-formed.
func parts(v []byte, fn func(name, value []byte) error) error {
	s := &jsonDecoder{data: v, at: 1}
	object := v[0] == '{'
	for {
		s.space()
		if v[s.at] == ']' || v[s.at] == '}' {
			return nil
		}
		if v[s.at] == ',' {
			s.at++
			s.space()
		}
		var name []byte
		if object {
			var err error
			if name, err = s.name(); err != nil {
				return err
			}
			s.space()
			s.at++ // the colon
			s.space()
		}
		from := s.at
		if err := s.skip(); err != nil {
			return err
		}
		if err := fn(name, v[from:s.at]); err != nil {
			return err
		}
	}
}

// element parses a value within another. With ignore-parse-errors, an element that can't be parsed
// becomes NULL without affecting its siblings.
func (d *jsonDecoder) element(v []byte, t column.Type) (any, error) {
	e, err := d.boxed(v, t)
	if err != nil && d.ignore {
		d.dropped.Values++
		return nil, nil
	}
	return e, err
}

func (d *jsonDecoder) array(v []byte, t column.Type) (any, error) {
	if v[0] != '[' {
		return nil, wanted(v, t)
	}
	all := []any{}
	err := parts(v, func(_, value []byte) error {
		e, err := d.element(value, *t.Elem)
		if err != nil {
			return fmt.Errorf("element %d: %w", len(all), err)
		}
		all = append(all, e)
		return nil
	})
	return all, err
}

func (d *jsonDecoder) object(v []byte, t column.Type) (any, error) {
	if v[0] != '{' {
		return nil, wanted(v, t)
	}
	if t.Pairs() {
		m := &pairs{}
		return &m.Dict, parts(v, func(name, value []byte) error {
			e, err := d.element(value, *t.Elem)
			if err != nil {
				return fmt.Errorf("key %s: %w", name, err)
			}
			m.add(string(name), e)
			return nil
		})
	}
	row := make([]any, len(t.Fields))
	seen := make([]bool, len(t.Fields))
	err := parts(v, func(name, value []byte) error {
		for i, f := range t.Fields {
			if f.Name != string(name) {
				continue
			}
			e, err := d.element(value, f.Type)
			if err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
			row[i], seen[i] = e, true
		}
		return nil
	})
	if err == nil && d.missing {
		for i, f := range t.Fields {
			if !seen[i] {
				return nil, fmt.Errorf("%s is missing", f.Name)
			}
		}
	}
	return row, err
}
