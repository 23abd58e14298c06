package format

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

// csvSyntax is how values are separated and quoted. A character that is not in use is 0.
type csvSyntax struct {
	separator byte
	quote     byte
	escape    byte
	elements  string  // between the elements of an array
	null      *string // nil: there is no text for NULL
}

func csvSyntaxOf(o Options) csvSyntax {
	s := csvSyntax{separator: ',', quote: '"', elements: ";"}
	if v, ok := o["field-delimiter"]; ok {
		s.separator, _ = csvDelimiter(v)
	}
	if v, ok := o["quote-character"]; ok {
		s.quote = v[0]
	}
	if o.bool("disable-quote-character") {
		s.quote = 0
	}
	if v, ok := o["escape-character"]; ok {
		s.escape = v[0]
	}
	if v, ok := o["array-element-delimiter"]; ok {
		s.elements = v
	}
	if v, ok := o["null-literal"]; ok {
		s.null = &v
	}
	return s
}

// csvDelimiter returns the character of a delimiter, which may be escaped as in Java: \t, \u0001.
func csvDelimiter(v string) (byte, error) {
	r, rest := rune(0), ""
	if len(v) == 1 {
		r = rune(v[0])
	} else {
		var err error
		if r, _, rest, err = strconv.UnquoteChar(v, 0); err != nil {
			rest = v
		}
	}
	if rest != "" || r == 0 || r >= utf8.RuneSelf || r == '\r' || r == '\n' {
		return 0, fmt.Errorf("'%s' is not one ASCII character, such as ; or \\t", v)
	}
	return byte(r), nil
}

func oneCharacter(v string) error {
	if len(v) != 1 || v[0] == 0 || v[0] >= utf8.RuneSelf || v[0] == '\r' || v[0] == '\n' {
		return fmt.Errorf("'%s' is not one ASCII character", v)
	}
	return nil
}

var csvOptions = map[string]func(string) error{
	"field-delimiter": func(v string) error { _, err := csvDelimiter(v); return err }, "quote-character": oneCharacter, "disable-quote-character": boolean,
	"escape-character": oneCharacter, "allow-comments": boolean, "ignore-parse-errors": boolean, "null-literal": anything,
	"array-element-delimiter": func(v string) error {
		if v == "" {
			return errors.New("it is empty")
		}
		return nil
	},
	"write-bigdecimal-in-scientific-notation": boolean,
}

func checkCSV(fields []Field, o Options) error {
	if _, ok := o["quote-character"]; ok && o.bool("disable-quote-character") {
		return errors.New("csv.quote-character and csv.disable-quote-character can't both be set")
	}
	s := csvSyntaxOf(o)
	if s.separator == s.quote || s.separator == s.escape || s.quote != 0 && s.quote == s.escape {
		return errors.New("csv.field-delimiter, csv.quote-character and csv.escape-character must differ")
	}
	for _, f := range fields {
		parts := []column.Type{f.Type}
		switch f.Type.Kind {
		case column.Array:
			parts[0] = *f.Type.Elem
		case column.Row:
			parts = parts[:0]
			for i := range f.Type.Fields {
				parts = append(parts, csvElement(f.Type, i))
			}
		}
		for _, t := range parts {
			if t.Interval() || t.Class() == column.Boxes && t.Kind != column.Decimal {
				return fmt.Errorf("csv does not support %s %s", f.Name, f.Type)
			}
			if t.Kind == column.Time && t.Precision > 3 {
				return fmt.Errorf("csv does not support %s %s: it has TIME(0) to TIME(3)", f.Name, f.Type)
			}
		}
	}
	return nil
}

// csvDecoder decodes a line as Flink does with Jackson: the values are those of the columns, in
// their order. It is not safe for concurrent use.
type csvDecoder struct {
	csvSyntax
	fields   []Field
	comments bool // allow-comments
	tolerance

	values []string // of the line
	sql    jsonDecoder
}

func newCSVDecoder(fields []Field, o Options) *csvDecoder {
	return &csvDecoder{csvSyntax: csvSyntaxOf(o), fields: fields, comments: o.bool("allow-comments"), tolerance: toleranceOf(o)}
}

// Decode implements Decoder.
func (d *csvDecoder) Decode(data []byte, cols []*column.Column) error {
	if err := d.split(data); err != nil {
		return d.reject(err)
	}
	for i, c := range cols {
		if c == nil {
			continue
		}
		err := d.field(i, c)
		if err != nil {
			err = d.rejectField(d.fields, cols, i, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errCSVEmpty = errors.New("the csv is empty")

// split splits the line of a record into values. Flink ignores further lines; here, they are an
// error, since their rows would be lost.
func (d *csvDecoder) split(data []byte) error {
	d.values = d.values[:0]
	rest := bytes.TrimPrefix(data, byteOrderMark)
	for d.comments && len(rest) > 0 && rest[0] == '#' {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			end = len(rest) - 1
		}
		rest = rest[end+1:]
	}
	if len(rest) == 0 {
		return errCSVEmpty
	}
	if !utf8.Valid(rest) {
		return errors.New("the csv is not UTF-8")
	}
	for more := true; more; {
		var value string
		var err error
		if value, rest, more, err = d.next(rest); err != nil {
			return fmt.Errorf("value %d: %w", len(d.values)+1, err)
		}
		if len(d.values) == len(d.fields) {
			if !more && strings.TrimSpace(value) == "" { // a separator at the end is allowed
				break
			}
			return fmt.Errorf("the csv has more values than the %d columns", len(d.fields))
		}
		d.values = append(d.values, value)
	}
	if len(bytes.TrimLeft(rest, "\r\n")) > 0 {
		return errors.New("the csv has a second line: a record is one row")
	}
	if len(d.values) < len(d.fields) && !d.ignore {
		return fmt.Errorf("the csv has %d values, expected %d", len(d.values), len(d.fields))
	}
	return nil
}

// next returns the next value, what follows, and whether a separator comes between.
func (d *csvDecoder) next(line []byte) (value string, rest []byte, more bool, err error) {
	if len(line) > 0 && d.quote != 0 && line[0] == d.quote {
		return d.quoted(line[1:])
	}
	var escaped []byte
	from := 0
	for i := 0; ; i++ {
		end := i == len(line)
		switch {
		case end || line[i] == d.separator || line[i] == '\r' || line[i] == '\n':
			value = view(line[from:i])
			if escaped != nil {
				value = view(append(escaped, line[from:i]...))
			}
			if end {
				return value, nil, false, nil
			}
			if line[i] == d.separator {
				return value, line[i+1:], true, nil
			}
			return value, line[i:], false, nil
		case d.escape != 0 && line[i] == d.escape:
			if i+1 == len(line) {
				return "", nil, false, errCSVEscape
			}
			escaped = append(append(escaped, line[from:i]...), csvUnescape(line[i+1]))
			i++
			from = i + 1
		}
	}
}

var (
	errCSVEscape = errors.New("the escape character is the last one")
	errCSVQuote  = errors.New("there is no closing quote")
)

// quoted returns the value that precedes the closing quote, as next does. White space may follow
// the quote.
func (d *csvDecoder) quoted(line []byte) (value string, rest []byte, more bool, err error) {
	var changed []byte
	from, i := 0, 0
	for ; ; i++ {
		if i == len(line) {
			return "", nil, false, errCSVQuote
		}
		switch {
		case line[i] == d.quote:
			if i+1 == len(line) || line[i+1] != d.quote {
				value = view(line[from:i])
				if changed != nil {
					value = view(append(changed, line[from:i]...))
				}
				return d.after(value, line[i+1:])
			}
			changed = append(changed, line[from:i+1]...)
			i++
			from = i + 1
		case d.escape != 0 && line[i] == d.escape:
			if i+1 == len(line) {
				return "", nil, false, errCSVEscape
			}
			changed = append(append(changed, line[from:i]...), csvUnescape(line[i+1]))
			i++
			from = i + 1
		}
	}
}

// after skips what may follow a closing quote.
func (d *csvDecoder) after(value string, line []byte) (string, []byte, bool, error) {
	for i, c := range line {
		switch {
		case c == d.separator:
			return value, line[i+1:], true, nil
		case c == '\r' || c == '\n':
			return value, line[i:], false, nil
		case c > ' ':
			return "", nil, false, fmt.Errorf("%q follows a closing quote, expected %q or the end", c, d.separator)
		}
	}
	return value, nil, false, nil
}

// csvUnescape returns the character that an escaped one stands for.
func csvUnescape(c byte) byte {
	switch c {
	case '0':
		return 0
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// field appends the value of a field to its column.
func (d *csvDecoder) field(i int, c *column.Column) error {
	if i >= len(d.values) { // with ignore-parse-errors
		c.AddNull()
		return nil
	}
	return d.value(d.values[i], c)
}

// value appends the value of a text to a column. On error it appends nothing.
func (d *csvDecoder) value(s string, c *column.Column) error {
	t := c.Type
	if d.null != nil && s == *d.null && t.Kind != column.Array && t.Kind != column.Row { // there, an element is NULL
		c.AddNull()
		return nil
	}
	switch t.Kind {
	case column.String:
		c.AddText(s)
	case column.Boolean: // as Boolean.parseBoolean: anything else is false
		if strings.EqualFold(strings.TrimSpace(s), "true") {
			c.AddInt(1)
		} else {
			c.AddInt(0)
		}
	case column.Float, column.Double:
		f, ok := javaFloat(strings.TrimSpace(s), t)
		if !ok {
			return csvWanted(s, t)
		}
		c.AddFloat(f)
	case column.TinyInt, column.SmallInt, column.Int, column.BigInt:
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if limit, ok := intRange[t.Kind]; err != nil || ok && (n > limit || n < -limit-1) {
			return csvWanted(s, t)
		}
		c.AddInt(n)
	case column.Date, column.Time, column.Timestamp, column.TimestampLTZ:
		n, ok := d.moment(s, t)
		if !ok {
			return csvWanted(s, t)
		}
		c.AddInt(n)
	case column.Decimal:
		n, err := column.ParseDecimal(s, t)
		if err != nil || n == nil {
			return csvWanted(s, t)
		}
		c.Add(n)
	case column.Bytes:
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return fmt.Errorf("%w in base64", csvWanted(s, t))
		}
		c.Add(string(raw))
	default:
		nested, err := d.nested(s, t)
		if err != nil {
			return err
		}
		c.Add(nested)
	}
	return nil
}

// nested returns an array or a row.
func (d *csvDecoder) nested(s string, t column.Type) (any, error) {
	var parts []string
	if strings.TrimSpace(s) != "" {
		parts = strings.Split(s, d.elements)
	}
	all := make([]any, len(parts))
	if t.Kind == column.Row {
		switch {
		case len(parts) == 0: // as Flink
			return nil, nil
		case len(parts) != len(t.Fields):
			return nil, fmt.Errorf("%w with %d values, not %d", csvWanted(s, t), len(t.Fields), len(parts))
		}
	}
	for i, part := range parts {
		one := column.Column{Type: csvElement(t, i)}
		if err := d.value(part, &one); err != nil {
			if !d.ignore {
				return nil, fmt.Errorf("element %d: %w", i, err)
			}
			d.dropped.Values++
			continue
		}
		all[i] = one.Value(0)
	}
	return all, nil
}

// moment parses a date, a time or a timestamp in the SQL standard. A month or a day of a date may
// have one digit.
func (d *csvDecoder) moment(s string, t column.Type) (n int64, ok bool) {
	var err error
	switch t.Kind {
	case column.Date:
		if len(s) < 8 || !digits(s[:4]) || strings.Trim(s, "-0123456789") != "" {
			return 0, false
		}
		n, err = moment.ParseDate(s)
	case column.Time:
		if !timeShaped(s) || strings.HasSuffix(s, "Z") {
			return 0, false
		}
		n, err = moment.ParseTime(s)
		n = moment.Truncate(n*moment.Millisecond, t.Precision) / moment.Millisecond
	default:
		n, err = d.sql.moment(strings.TrimSpace(s), t)
	}
	return n, err == nil
}

// csvElement returns the type of an element of an array or a row.
func csvElement(t column.Type, i int) column.Type {
	if t.Kind == column.Array {
		return *t.Elem
	}
	return t.Fields[i].Type
}

func csvWanted(s string, t column.Type) error {
	return wanted([]byte(strconv.Quote(s)), t)
}
