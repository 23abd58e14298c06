package expr

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

func init() {
	register(
		&Function{Name: "CAST", Min: 1, Max: 1, compile: compileCast, bind: func(args []Node) ([]Node, column.Type, error) { return args, args[0].Type(), nil }},
		&Function{Name: "TRY_CAST", Min: 1, Max: 1, compile: compileCast, bind: func(args []Node) ([]Node, column.Type, error) { return args, args[0].Type(), nil }},
	)
}

// Cast returns CAST(n AS t), or TRY_CAST if try is set.
func Cast(n Node, t column.Type, try bool, zone Zone) (Node, error) {
	from := n.Type()
	if from.Kind == column.Multiset && t.Kind == column.Multiset && !from.Same(t) {
		return nil, fmt.Errorf("%s can't be cast to %s: write COLLECT(CAST(… AS %s)), so that values that become equal are counted together", from.Nullable(true), t.Nullable(true), t.Key.Nullable(true))
	}
	if !castable(from, t) {
		return nil, fmt.Errorf("%s can't be cast to %s", from.Nullable(true), t.Nullable(true))
	}
	if from.Same(t) { // as in Flink, where a VARCHAR(3) that was read with more characters keeps them
		return n, nil
	}
	name := "CAST"
	if try {
		name = "TRY_CAST"
	}
	return &Call{F: functions[name], Args: []Node{n}, T: t.Nullable(try || !from.NotNull), Zone: zone}, nil
}

func castable(from, to column.Type) bool {
	switch {
	case from.Kind == column.Null || from.Kind == to.Kind && from.Class() != column.Boxes:
		return true
	case from.Kind == column.Decimal && (to.Numeric() || to.Kind == column.String || to.Kind == column.Boolean):
		return true
	case from.Kind == column.Boolean && to.Kind == column.Decimal:
		return to.Precision > to.Scale
	case from.Numeric() || from.Kind == column.Boolean:
		return to.Numeric() || to.Kind == column.String || to.Kind == column.Boolean
	case from.Kind == column.String:
		return to.Kind <= column.TimestampLTZ
	case from.Kind == column.Bytes:
		return to.Kind == column.String
	case from.Kind == column.Date:
		return to.Kind == column.String || to.Instant()
	case from.Kind == column.Time:
		return to.Kind == column.String || to.Instant()
	case from.Instant():
		return to.Kind == column.String || to.Temporal()
	case from.Interval():
		return to.Kind == column.String
	case from.Kind == column.Array:
		return to.Kind == column.String || to.Kind == column.Array && castable(*from.Elem, *to.Elem)
	case from.Kind == column.Multiset:
		return to.Kind == column.String || to.Same(from)
	case from.Kind == column.Map:
		return to.Kind == column.String || to.Kind == column.Map && castable(*from.Key, *to.Key) && castable(*from.Elem, *to.Elem)
	case from.Kind == column.Row:
		if to.Kind == column.String {
			return true
		}
		if to.Kind != column.Row || len(from.Fields) != len(to.Fields) {
			return false
		}
		for i := range from.Fields {
			if !castable(from.Fields[i].Type, to.Fields[i].Type) {
				return false
			}
		}
		return true
	}
	return false
}

func compileCast(n *Call, args []*Compiled) (*Compiled, error) {
	x := args[0]
	from, to := x.Type, n.T
	try := n.F.Name == "TRY_CAST"
	c := &Compiled{Type: to}
	switch { // fast paths that can't fail
	case from.Integer() && to.Integer() && to.Kind >= from.Kind:
		c.I = x.I
		return c, nil
	case from.Integer() && (to.Kind == column.Double || to.Kind == column.Float):
		single := to.Kind == column.Float
		c.F = func(b *column.Batch, row int) (float64, bool) {
			v, ok := x.I(b, row)
			if single {
				return float64(float32(v)), ok
			}
			return float64(v), ok
		}
		return c, nil
	case from.Kind == column.Float && to.Kind == column.Double, from.Kind == column.Double && to.Kind == column.Double:
		c.F = x.F
		return c, nil
	case from.Instant() && from.Kind == to.Kind && to.Precision >= from.Precision:
		c.I = x.I
		return c, nil
	case to.Class() == column.Texts && to.Holds(from):
		c.S = x.S
		return c, nil
	}
	if text := textOfRounded(n, args[0]); text != nil {
		return text, nil
	}
	zone := n.Zone
	return fromBoxed(to, func(b *column.Batch, row int) any {
		v := x.Box(b, row)
		if v == nil {
			return nil
		}
		r, err := castBoxed(v, from, to, zone)
		if err != nil {
			if !try {
				b.Fail("CAST of %s to %s: %w", Format(v, from), to.Nullable(true), err)
			}
			return nil
		}
		return r
	}), nil
}

var errRange = errors.New("the value is out of range")

// castBoxed converts a non-NULL value.
func castBoxed(v any, from, to column.Type, zone Zone) (any, error) {
	switch to.Kind {
	case column.String:
		return cut(castText(v, from, zone), to), nil
	case column.Bytes:
		s, _ := v.(string)
		return cutBytes(s, to), nil
	case column.Boolean:
		return castBoolean(v)
	case column.TinyInt, column.SmallInt, column.Int, column.BigInt:
		return castInteger(v, from, to)
	case column.Float, column.Double:
		return castFloat(v, from, to)
	case column.Decimal:
		return castDecimal(v, from, to)
	case column.Date, column.Time, column.Timestamp, column.TimestampLTZ:
		return castMoment(v, from, to, zone)
	case column.Array:
		in := v.([]any)
		out := make([]any, len(in))
		for i, e := range in {
			if e == nil {
				continue
			}
			c, err := castBoxed(e, *from.Elem, *to.Elem, zone)
			if err != nil {
				return nil, err
			}
			out[i] = c
		}
		return out, nil
	case column.Row:
		in := v.([]any)
		out := make([]any, len(in))
		for i, e := range in {
			if e == nil {
				continue
			}
			c, err := castBoxed(e, from.Fields[i].Type, to.Fields[i].Type, zone)
			if err != nil {
				return nil, err
			}
			out[i] = c
		}
		return out, nil
	case column.Map:
		in := v.(*column.Dict)
		out := &column.Dict{Keys: make([]any, len(in.Keys)), Values: make([]any, len(in.Keys))}
		for i := range in.Keys {
			for _, side := range []struct {
				in, out  []any
				from, to column.Type
			}{{in.Keys, out.Keys, *from.Key, *to.Key}, {in.Values, out.Values, *from.Elem, *to.Elem}} {
				if side.in[i] == nil {
					continue
				}
				c, err := castBoxed(side.in[i], side.from, side.to, zone)
				if err != nil {
					return nil, err
				}
				side.out[i] = c
			}
		}
		return out, nil
	}
	return v, nil
}

// cut truncates or pads a string to the length of CHAR(n) and VARCHAR(n).
func cut(s string, t column.Type) string {
	if t.Length == 0 {
		return s
	}
	n := utf8.RuneCountInString(s)
	if n > t.Length {
		return string([]rune(s)[:t.Length])
	}
	if t.Fixed {
		return s + strings.Repeat(" ", t.Length-n)
	}
	return s
}

// cutBytes is the equivalent of cut for BINARY(n) and VARBINARY(n).
func cutBytes(s string, t column.Type) string {
	switch {
	case t.Length == 0:
		return s
	case len(s) > t.Length:
		return s[:t.Length]
	case t.Fixed:
		return s + strings.Repeat("\x00", t.Length-len(s))
	}
	return s
}

func castText(v any, t column.Type, zone Zone) string {
	switch v := v.(type) {
	case nil: // in an array, a map or a row
		return "NULL"
	case string:
		return v
	case bool:
		return strings.ToUpper(strconv.FormatBool(v))
	case float64:
		if t.Kind == column.Float {
			return javaFloat(v)
		}
		return javaDouble(v)
	case *big.Int:
		return column.DecimalText(v, t.Scale)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = "NULL"
			if e != nil {
				et := t.Elem
				if t.Kind == column.Row {
					et = &t.Fields[i].Type
				}
				parts[i] = castText(e, *et, zone)
			}
		}
		if t.Kind == column.Row {
			return "(" + strings.Join(parts, ", ") + ")"
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case *column.Dict:
		parts := make([]string, len(v.Keys))
		for i := range v.Keys {
			value := "NULL"
			if v.Values[i] != nil {
				value = castText(v.Values[i], *t.Elem, zone)
			}
			parts[i] = castText(v.Keys[i], *t.Key, zone) + "=" + value
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case int64:
		switch t.Kind {
		case column.Date:
			return moment.FormatDate(v)
		case column.Time:
			return formatClock(v*1000, t.Precision)
		case column.Timestamp:
			return formatPrecision(v, t.Precision)
		case column.TimestampLTZ:
			return formatPrecision(toLocal(v, zone), t.Precision)
		case column.IntervalDay:
			return formatIntervalDay(v)
		case column.IntervalMonth:
			return fmt.Sprintf("%s%d-%02d", minus(v), abs(v)/12, abs(v)%12)
		}
		return strconv.FormatInt(v, 10)
	}
	return fmt.Sprint(v)
}

func minus(v int64) string {
	if v < 0 {
		return "-"
	}
	return "+"
}

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}

func castBoolean(v any) (any, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case int64:
		return v != 0, nil
	case float64:
		return v != 0, nil
	case *big.Int:
		return v.Sign() != 0, nil
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "true", "t", "yes", "y", "1":
			return true, nil
		case "false", "f", "no", "n", "0":
			return false, nil
		}
	}
	return nil, errors.New("it is neither true nor false")
}

var integerLimits = map[column.Kind][2]int64{
	column.TinyInt: {math.MinInt8, math.MaxInt8}, column.SmallInt: {math.MinInt16, math.MaxInt16}, column.Int: {math.MinInt32, math.MaxInt32}, column.BigInt: {math.MinInt64, math.MaxInt64},
}

// castInteger truncates numbers silently, as Java does; a string must be in range.
func castInteger(v any, from, to column.Type) (any, error) {
	switch v := v.(type) {
	case bool:
		return column.UnboxInt(v), nil
	case int64:
		if from.Kind == column.IntervalDay {
			v /= moment.Millisecond
		}
		return column.Wrap(v, to.Kind), nil
	case float64:
		limits := integerLimits[column.BigInt]
		if to.Kind != column.BigInt {
			limits = integerLimits[column.Int] // as in Java, a double is converted to int first and then narrowed
		}
		switch {
		case math.IsNaN(v):
			return int64(0), nil
		case v <= float64(limits[0]):
			return column.Wrap(limits[0], to.Kind), nil
		case v >= float64(limits[1]):
			return column.Wrap(limits[1], to.Kind), nil
		}
		return column.Wrap(int64(v), to.Kind), nil
	case *big.Int:
		return column.Wrap(new(big.Int).Quo(v, column.Power10(from.Scale)).Int64(), to.Kind), nil // Int64 keeps the lowest 64 bits, like BigDecimal.longValue
	case string:
		if strings.ContainsAny(v, "eE") {
			return nil, fmt.Errorf("%q is not a whole number", v)
		}
		d, err := column.ParseDecimal(strings.TrimSpace(v), column.OfDecimal(column.MaxPrecision, 10))
		if err != nil {
			return nil, err
		}
		if d == nil {
			return nil, errRange
		}
		n := new(big.Int).Quo(d.(*big.Int), column.Power10(10))
		limits := integerLimits[to.Kind]
		if !n.IsInt64() || n.Int64() < limits[0] || n.Int64() > limits[1] {
			return nil, errRange
		}
		return n.Int64(), nil
	}
	return nil, errRange
}

func castFloat(v any, from, to column.Type) (any, error) {
	var f float64
	switch v := v.(type) {
	case bool:
		f = float64(column.UnboxInt(v))
	case int64:
		f = float64(v)
	case float64:
		f = v
	case *big.Int:
		f = column.DecimalFloat(v, from.Scale)
	case string:
		var ok bool
		if f, ok = parseDouble(v, map[bool]int{true: 32, false: 64}[to.Kind == column.Float]); !ok {
			return nil, fmt.Errorf("%q is not a number", v)
		}
	}
	if to.Kind == column.Float {
		f = float64(float32(f))
	}
	return f, nil
}

// parseDouble parses a number of so many bits as Java's Double.parseDouble does: with a suffix such
// as 5d, in hexadecimal such as 0x1p3, and with NaN and Infinity in this spelling only.
func parseDouble(s string, bits int) (float64, bool) {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	switch unsigned := strings.TrimLeft(s, "+-"); {
	case len(s)-len(unsigned) > 1:
		return 0, false
	case unsigned == "NaN":
		return math.NaN(), true
	case unsigned == "Infinity":
		return math.Inf(map[bool]int{true: -1, false: 1}[s[0] == '-']), true
	}
	if strings.ContainsAny(s, "_iInN") {
		return 0, false
	}
	if strings.HasSuffix(s, "d") || strings.HasSuffix(s, "D") || strings.HasSuffix(s, "f") || strings.HasSuffix(s, "F") {
		s = s[:len(s)-1]
	}
	f, err := strconv.ParseFloat(s, bits)
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

func castDecimal(v any, from, to column.Type) (any, error) {
	var r any
	var err error
	switch v := v.(type) {
	case bool:
		r = column.FitDecimal(column.Rescale(big.NewInt(column.UnboxInt(v)), 0, to.Scale), to)
	case int64:
		r = column.FitDecimal(column.Rescale(big.NewInt(v), 0, to.Scale), to)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, errRange
		}
		r, err = column.ParseDecimal(strconv.FormatFloat(v, 'g', -1, 64), to)
	case *big.Int:
		r = column.FitDecimal(column.Rescale(v, from.Scale, to.Scale), to)
	case string:
		if r, err = column.ParseDecimal(strings.TrimSpace(v), to); err == nil && r == nil {
			err = errRange
		}
	}
	return r, err // nil if a number is out of range: NULL, as in Flink
}

// javaDouble formats a double like Java's Double.toString.
func javaDouble(f float64) string { return javaNumber(f, 64) }

func javaFloat(f float64) string { return javaNumber(f, 32) }

func javaNumber(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	a := math.Abs(f)
	if a != 0 && (a < 1e-3 || a >= 1e7) {
		s := strconv.FormatFloat(f, 'E', -1, bits)
		mantissa, exponent, _ := strings.Cut(s, "E")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		n, _ := strconv.Atoi(exponent)
		return mantissa + "E" + strconv.Itoa(n)
	}
	s := strconv.FormatFloat(f, 'f', -1, bits)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// hexText returns s in upper-case hexadecimal.
func hexText(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) }
