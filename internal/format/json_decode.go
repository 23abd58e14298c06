package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf8"
	"unsafe"

	"weir.example/weir/internal/column"
)

// maxDepth is the maximum nesting depth of a document, as in Jackson.
const maxDepth = 1000

var errJSONDepth = fmt.Errorf("JSON is nested deeper than %d", maxDepth)

func checkJSON(fields []Field, o Options) error {
	if o.bool("fail-on-missing-field") && o.bool("ignore-parse-errors") {
		return errors.New("json.fail-on-missing-field and json.ignore-parse-errors can't both be true")
	}
	for _, f := range fields {
		if f.Type.Has(func(t column.Type) bool { return t.Pairs() && t.Key.Kind != column.String }) {
			return fmt.Errorf("JSON does not support %s %s: the keys of its objects are strings", f.Name, f.Type)
		}
		if f.Type.Has(column.Type.Interval) {
			return fmt.Errorf("JSON does not support %s %s", f.Name, f.Type)
		}
	}
	return nil
}

// jsonDecoder decodes objects into columns. It is not safe for concurrent use.
type jsonDecoder struct {
	fields  []Field
	root    *jsonObject
	missing bool // fail-on-missing-field
	iso     bool
	tolerance

	data  []byte
	at    int
	depth int
}

func newJSONDecoder(fields []Field, o Options) *jsonDecoder {
	d := &jsonDecoder{
		fields: fields, missing: o.bool("fail-on-missing-field"), tolerance: toleranceOf(o),
		iso: o["timestamp-format.standard"] == "ISO-8601",
	}
	d.root = newJSONObject(columnFields(fields))
	return d
}

// Decode implements Decoder.
func (d *jsonDecoder) Decode(data []byte, cols []*column.Column) error {
	if err := d.scan(data, cols); err != nil {
		return d.reject(err)
	}
	for i, c := range cols {
		if c == nil {
			continue
		}
		err := d.field(d.root, i, c)
		if err != nil {
			err = d.rejectField(d.fields, cols, i, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// byteOrderMark is written at the start of UTF-8 text by some programs.
var byteOrderMark = []byte("\xef\xbb\xbf")

// scan validates a document and locates the fields of its columns.
func (d *jsonDecoder) scan(data []byte, cols []*column.Column) error {
	d.start(data)
	if d.at == len(data) || data[d.at] != '{' {
		return d.unexpected("an object")
	}
	if err := d.locate(d.root, cols); err != nil {
		return err
	}
	return d.end()
}

// start moves to the first byte of a document.
func (d *jsonDecoder) start(data []byte) {
	d.data, d.at, d.depth = data, 0, 0
	d.space()
	if bytes.HasPrefix(data, byteOrderMark) {
		d.at = len(byteOrderMark)
		d.space()
	}
}

// end checks that nothing follows the document. With ignore-parse-errors, trailing data is ignored,
// as Flink always does.
func (d *jsonDecoder) end() error {
	d.space()
	if d.at == len(d.data) {
		return nil
	}
	if d.ignore {
		d.dropped.Records++
		return nil
	}
	return d.unexpected("the end")
}

// Split implements Splitter: each object of an array is a row.
func (d *jsonDecoder) Split(data []byte) (rows [][]byte, ok bool, err error) {
	if len(data) > 0 && data[0] == '{' {
		return nil, false, nil
	}
	d.start(data)
	if d.at == len(data) || data[d.at] != '[' {
		return nil, false, nil
	}
	rows, err = d.elements()
	if err != nil && d.ignore {
		d.dropped.Records++
		err = nil
	}
	return rows, true, err
}

// elements scans an array of objects up to the end of the document. If there is an error, it also
// returns the objects before it.
func (d *jsonDecoder) elements() (rows [][]byte, err error) {
	d.at++
	d.space()
	if d.at < len(d.data) && d.data[d.at] == ']' {
		d.at++
		return nil, d.end()
	}
	for {
		if d.at == len(d.data) || d.data[d.at] != '{' {
			return rows, d.unexpected("an object")
		}
		from := d.at
		if err := d.skip(); err != nil {
			return rows, err
		}
		rows = append(rows, d.data[from:d.at:d.at])
		d.space()
		switch {
		case d.at < len(d.data) && d.data[d.at] == ',':
			d.at++
			d.space()
		case d.at < len(d.data) && d.data[d.at] == ']':
			d.at++
			return rows, d.end()
		default:
			return rows, d.unexpected("a comma or ]")
		}
	}
}

// name scans the name of a field. The result may alias the document.
func (d *jsonDecoder) name() ([]byte, error) {
	if d.at == len(d.data) || d.data[d.at] != '"' {
		return nil, d.unexpected("the name of a field in quotes")
	}
	from := d.at
	escaped, err := d.text()
	if err != nil {
		return nil, err
	}
	raw := d.data[from+1 : d.at-1]
	if !escaped {
		return raw, nil
	}
	return unescape(nil, raw), nil
}

func (d *jsonDecoder) unexpected(wanted string) error {
	if d.at >= len(d.data) {
		return fmt.Errorf("invalid JSON: found the end at byte %d, expected %s", d.at, wanted)
	}
	r, _ := utf8.DecodeRune(d.data[d.at:])
	return fmt.Errorf("invalid JSON: found %q at byte %d, expected %s", r, d.at, wanted)
}

// space skips white space. Most documents have none, so the check is small enough to be inlined.
func (d *jsonDecoder) space() {
	if d.at < len(d.data) && d.data[d.at] <= ' ' {
		d.spaces()
	}
}

func (d *jsonDecoder) spaces() {
	for d.at < len(d.data) {
		switch d.data[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// skip skips one value.
func (d *jsonDecoder) skip() error {
	if d.at == len(d.data) {
		return d.unexpected("a value")
	}
	switch c := d.data[d.at]; {
	case c == '"':
		_, err := d.text()
		return err
	case c == '{' || c == '[':
		return d.nested(c)
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	case c == 't':
		return d.word("true")
	case c == 'f':
		return d.word("false")
	case c == 'n':
		return d.word("null")
	}
	return d.unexpected("a value")
}

func (d *jsonDecoder) word(w string) error {
	if len(d.data)-d.at < len(w) || string(d.data[d.at:d.at+len(w)]) != w {
		return d.unexpected("a value")
	}
	d.at += len(w)
	return nil
}

// plain marks the ASCII bytes that need no escape in a string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// special returns the number of plain bytes that precede the first other one among eight bytes, of
// which the first is in the lowest bits.
//
// Subtracting each(0x20) borrows in every byte below 0x20, which sets its highest bit. XOR with a
// character turns that character into 0, in which subtracting each(1) borrows. A borrow can affect
// bytes after the first one found, but never an earlier one.
func special(x uint64) int {
	quote, slash := x^each('"'), x^each('\\')
	found := (x | (x - each(0x20)) | (quote-each(1))&^quote | (slash-each(1))&^slash) & each(0x80)
	return bits.TrailingZeros64(found) / 8
}

// each returns a word of eight copies of a byte.
func each(c byte) uint64 { return uint64(c) * 0x0101_0101_0101_0101 }

// text skips a string and reports whether it has escapes.
func (d *jsonDecoder) text() (escaped bool, err error) {
	data, at := d.data, d.at+1
	for {
		for at+8 <= len(data) {
			n := special(binary.LittleEndian.Uint64(data[at:]))
			at += n
			if n < 8 {
				break
			}
		}
		for at < len(data) && plain[data[at]] {
			at++
		}
		d.at = at
		if at == len(data) {
			return false, d.unexpected(`the closing "`)
		}
		switch c := data[at]; {
		case c == '"':
			d.at++
			return escaped, nil
		case c == '\\':
			escaped = true
			n := escapeLength(data[at:])
			if n == 0 {
				return false, d.unexpected("an escape such as \\n or \\u00e9")
			}
			at += n
		case c < 0x20:
			at++ // an unescaped control character: invalid JSON, but Flink accepts it
		default:
			r, n := utf8.DecodeRune(data[at:])
			if r == utf8.RuneError && n == 1 {
				return false, fmt.Errorf("invalid JSON: byte %d is not UTF-8", at)
			}
			at += n
		}
	}
}

// escapeLength returns the length of the escape at the start of b, or 0 if it is invalid.
func escapeLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) >= 6 && hex4(b[2:6]) >= 0 {
			return 6
		}
	}
	return 0
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}

func (d *jsonDecoder) digits() bool {
	from := d.at
	for d.at < len(d.data) && d.data[d.at] >= '0' && d.data[d.at] <= '9' {
		d.at++
	}
	return d.at > from
}

func (d *jsonDecoder) number() error {
	if d.data[d.at] == '-' {
		d.at++
	}
	first := d.at
	if !d.digits() {
		return d.unexpected("a digit")
	}
	if d.data[first] == '0' && d.at > first+1 {
		d.at = first + 1
		return d.unexpected("no digit after a leading 0")
	}
	if d.at < len(d.data) && d.data[d.at] == '.' {
		d.at++
		if !d.digits() {
			return d.unexpected("a digit")
		}
	}
	if d.at < len(d.data) && d.data[d.at]|0x20 == 'e' {
		d.at++
		if d.at < len(d.data) && (d.data[d.at] == '+' || d.data[d.at] == '-') {
			d.at++
		}
		if !d.digits() {
			return d.unexpected("a digit")
		}
	}
	return nil
}

// nested skips an object or array.
func (d *jsonDecoder) nested(open byte) error {
	if d.depth++; d.depth > maxDepth {
		return errJSONDepth
	}
	defer func() { d.depth-- }()
	closing := open + 2 // ] and } are two after [ and {
	d.at++
	d.space()
	if d.at < len(d.data) && d.data[d.at] == closing {
		d.at++
		return nil
	}
	for {
		if open == '{' {
			if d.at == len(d.data) || d.data[d.at] != '"' {
				return d.unexpected("the name of a field in quotes")
			}
			if _, err := d.text(); err != nil {
				return err
			}
			d.space()
			if d.at == len(d.data) || d.data[d.at] != ':' {
				return d.unexpected("a colon")
			}
			d.at++
			d.space()
		}
		if err := d.skip(); err != nil {
			return err
		}
		d.space()
		switch {
		case d.at < len(d.data) && d.data[d.at] == ',':
			d.at++
			d.space()
		case d.at < len(d.data) && d.data[d.at] == closing:
			d.at++
			return nil
		default:
			return d.unexpected("a comma or " + string(closing))
		}
	}
}

// unescape appends raw with its escapes decoded. An unpaired surrogate becomes the replacement
// character.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		i += 2
		switch raw[i-1] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(raw[i : i+4])
			i += 4
			if r >= 0xd800 && r < 0xdc00 && i+6 <= len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
				if low := hex4(raw[i+2 : i+6]); low >= 0xdc00 && low < 0xe000 {
					r = 0x10000 + (r-0xd800)<<10 + (low - 0xdc00)
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, raw[i-1])
		}
	}
	return dst
}

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
