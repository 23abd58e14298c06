package format

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"weir.example/weir/internal/column"
)

// csvEncoder encodes rows as lines without an end, identically to Flink's csv format.
type csvEncoder struct {
	csvSyntax
	fields []Field
	plain  bool // decimals, unless write-bigdecimal-in-scientific-notation is set

	text []byte // of one value
}

func newCSVEncoder(fields []Field, o Options) *csvEncoder {
	return &csvEncoder{csvSyntax: csvSyntaxOf(o), fields: fields, plain: !o.bool("write-bigdecimal-in-scientific-notation")}
}

// Encode implements Encoder.
func (e *csvEncoder) Encode(dst []byte, cols []*column.Column, row int) ([]byte, error) {
	from := len(dst)
	for i, c := range cols {
		if i > 0 {
			dst = append(dst, e.separator)
		}
		var err error
		if dst, err = e.value(dst, c, row); err != nil {
			return dst[:from], fmt.Errorf("field %s: %w", e.fields[i].Name, err)
		}
	}
	return dst, nil
}

// value appends a value, in quotes if Jackson would.
func (e *csvEncoder) value(dst []byte, c *column.Column, row int) ([]byte, error) {
	if c.Null[row] {
		return e.appendNull(dst), nil
	}
	text := false
	switch c.Type.Kind {
	case column.Array, column.Row:
		var err error
		if e.text, err = e.nested(e.text[:0], c.Value(row), c.Type); err != nil {
			return dst, err
		}
		text = true
	default:
		e.text, text = e.scalar(e.text[:0], c, row)
	}
	if !text {
		return append(dst, e.text...), nil
	}
	return e.appendText(dst, e.text)
}

func (e *csvEncoder) appendNull(dst []byte) []byte {
	if e.null != nil {
		return append(dst, *e.null...)
	}
	return dst
}

// scalar appends a value, and reports whether it is a text, which may need quotes.
func (e *csvEncoder) scalar(dst []byte, c *column.Column, row int) (out []byte, text bool) {
	switch c.Type.Kind {
	case column.String:
		return append(dst, c.S[row]...), true
	case column.Boolean:
		return strconv.AppendBool(dst, c.I[row] != 0), false
	case column.Date, column.Time, column.Timestamp, column.TimestampLTZ:
		return appendMoment(dst, c.I[row], c.Type, ' '), true
	case column.Float, column.Double:
		return appendJavaFloat(dst, c.F[row], c.Type), false
	case column.Decimal:
		v := c.Value(row).(*big.Int) //nolint:forcetypeassert // by the column's type
		if e.plain {
			return appendDecimal(dst, v, c.Type.Scale, true), false
		}
		return appendStripped(dst, v, c.Type.Scale), false
	case column.Bytes:
		return base64.StdEncoding.AppendEncode(dst, []byte(c.Value(row).(string))), true //nolint:forcetypeassert // by the column's type
	}
	return strconv.AppendInt(dst, c.I[row], 10), false // the integers
}

// appendStripped formats a decimal like BigDecimal.stripTrailingZeros().toString().
func appendStripped(dst []byte, v *big.Int, scale int) []byte {
	if v.Sign() == 0 {
		return append(dst, '0')
	}
	ten, rest := big.NewInt(10), new(big.Int)
	for {
		quotient, _ := new(big.Int).QuoRem(v, ten, rest)
		if rest.Sign() != 0 {
			break
		}
		v = quotient
		scale--
	}
	if scale >= 0 {
		return appendDecimal(dst, v, scale, false)
	}
	from := len(dst)
	dst = v.Append(dst, 10)
	if v.Sign() < 0 {
		from++
	}
	exponent := len(dst) - from - 1 - scale
	if len(dst) > from+1 {
		dst = slices.Insert(dst, from+1, '.')
	}
	return strconv.AppendInt(append(dst, "E+"...), int64(exponent), 10)
}

// nested appends the elements of an array or a row. An element with the delimiter between elements
// is an error, where Flink writes what is then read as two of them.
func (e *csvEncoder) nested(dst []byte, v any, t column.Type) ([]byte, error) {
	for i, value := range v.([]any) { //nolint:forcetypeassert // by the column's type
		if i > 0 {
			dst = append(dst, e.elements...)
		}
		if value == nil {
			dst = e.appendNull(dst)
			continue
		}
		one := column.Column{Type: csvElement(t, i)}
		one.Add(value)
		from := len(dst)
		dst, _ = e.scalar(dst, &one, 0)
		if strings.Contains(view(dst[from:]), e.elements) {
			return dst, fmt.Errorf("element %d, %q, contains %q, which separates elements: set csv.array-element-delimiter", i, dst[from:], e.elements)
		}
	}
	return dst, nil
}

// maxUnquoted is the length of texts in UTF-16 that Jackson writes without quotes, if no character
// needs them.
const maxUnquoted = 24

var errCSVQuotes = errors.New("the text can't be read again without quotes: remove csv.disable-quote-character")

// appendText appends a text. Like Jackson, which looks no closer, it adds quotes to long texts and
// to those with a backslash or a character up to the separator or the quote, such as a space.
func (e *csvEncoder) appendText(dst, text []byte) ([]byte, error) {
	if e.quote == 0 {
		for _, c := range text {
			if c == e.separator || c == '\r' || c == '\n' || e.escape != 0 && c == e.escape {
				return dst, errCSVQuotes
			}
		}
		return append(dst, text...), nil
	}
	quotes := len(text) > maxUnquoted && utf16Length(text) > maxUnquoted
	for _, c := range text {
		if c <= max(e.separator, e.quote) || c == '\\' || e.escape != 0 && c == e.escape {
			quotes = true
			break
		}
	}
	if !quotes {
		return append(dst, text...), nil
	}
	dst = append(dst, e.quote)
	for _, c := range text {
		if c == e.quote || e.escape != 0 && c == e.escape {
			dst = append(dst, c)
		}
		dst = append(dst, c)
	}
	return append(dst, e.quote), nil
}

func utf16Length(text []byte) (n int) {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		n += max(utf16.RuneLen(r), 1)
		text = text[size:]
	}
	return n
}
