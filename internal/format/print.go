package format

import (
	"fmt"
	"math/big"
	"strconv"
	"unicode"
	"unicode/utf8"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

// Print is the format of rows that the connector print prints. No table can choose it.
const Print = "print"

// printEncoder writes a row as Flink's Row.toString does, without its kind: [pump-1, 2.5, null].
// Characters that control a terminal are escaped.
type printEncoder struct{ fields []Field }

func (e printEncoder) Encode(dst []byte, cols []*column.Column, row int) ([]byte, error) {
	dst = append(dst, '[')
	for i, c := range cols {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendPrinted(dst, c.Value(row), e.fields[i].Type)
	}
	return append(dst, ']'), nil
}

// appendPrinted appends a value as the toString method of its Java class writes it.
func appendPrinted(dst []byte, v any, t column.Type) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int64:
		return appendPrintedInt(dst, v, t)
	case float64:
		return appendJavaFloat(dst, v, t)
	case *big.Int:
		return appendDecimal(dst, v, t.Scale, false)
	case string:
		if t.Kind == column.Bytes {
			return appendList(dst, len(v), func(dst []byte, i int) []byte { return strconv.AppendInt(dst, int64(int8(v[i])), 10) }) //nolint:gosec // Java's bytes have a sign
		}
		return appendSafe(dst, v)
	case []any:
		if t.Kind == column.Row {
			return appendList(append(dst, "+I"...), len(v), func(dst []byte, i int) []byte { return appendPrinted(dst, v[i], t.Fields[i].Type) })
		}
		return appendList(dst, len(v), func(dst []byte, i int) []byte { return appendPrinted(dst, v[i], *t.Elem) })
	case *column.Dict:
		dst = append(dst, '{')
		for i, k := range v.Keys {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = append(appendPrinted(dst, k, *t.Key), '=')
			dst = appendPrinted(dst, v.Values[i], *t.Elem)
		}
		return append(dst, '}')
	}
	return fmt.Append(dst, v)
}

func appendList(dst []byte, n int, each func(dst []byte, i int) []byte) []byte {
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = each(dst, i)
	}
	return append(dst, ']')
}

func appendPrintedInt(dst []byte, v int64, t column.Type) []byte {
	switch t.Kind {
	case column.Date:
		return append(dst, moment.FormatDate(v)...)
	case column.Time:
		return moment.AppendLocalTime(dst, v*moment.Millisecond)
	case column.Timestamp:
		return moment.AppendLocalDateTime(dst, v)
	case column.TimestampLTZ: // Java's Instant always has seconds
		dst = moment.AppendLocalDateTime(dst, v)
		if v%moment.Minute == 0 {
			dst = append(dst, ":00"...)
		}
		return append(dst, 'Z')
	case column.IntervalMonth:
		return appendPeriod(dst, v)
	case column.IntervalDay:
		return appendDuration(dst, v)
	}
	return strconv.AppendInt(dst, v, 10)
}

// appendPeriod writes months as Period.toString does.
func appendPeriod(dst []byte, months int64) []byte {
	if months == 0 {
		return append(dst, "P0D"...)
	}
	dst = append(dst, 'P')
	if years := months / 12; years != 0 {
		dst = fmt.Appendf(dst, "%dY", years)
	}
	if rest := months % 12; rest != 0 {
		dst = fmt.Appendf(dst, "%dM", rest)
	}
	return dst
}

// appendDuration writes microseconds as Duration.toString does.
func appendDuration(dst []byte, us int64) []byte {
	if us == 0 {
		return append(dst, "PT0S"...)
	}
	dst = append(dst, "PT"...)
	if hours := us / moment.Hour; hours != 0 {
		dst = fmt.Appendf(dst, "%dH", hours)
	}
	if minutes := us / moment.Minute % 60; minutes != 0 {
		dst = fmt.Appendf(dst, "%dM", minutes)
	}
	rest := us % moment.Minute
	if rest == 0 {
		return dst
	}
	if rest < 0 {
		dst, rest = append(dst, '-'), -rest
	}
	dst = strconv.AppendInt(dst, rest/moment.Second, 10)
	if fraction := rest % moment.Second; fraction != 0 {
		dst = fmt.Appendf(dst, ".%06d", fraction)
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return append(dst, 'S')
}

// appendSafe appends text that may come from a device. It must not control the terminal, nor look
// like several rows.
func appendSafe(dst []byte, s string) []byte {
	for _, r := range s {
		if unicode.In(r, unicode.Cc, unicode.Bidi_Control) {
			dst = fmt.Appendf(dst, `\u%04x`, r)
			continue
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}
