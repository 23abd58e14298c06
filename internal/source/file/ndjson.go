package file

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxKeys bounds the distinct keys in a file, since columns are kept in memory.
const maxKeys = 10_000

// objects converts JSON objects to cells. The columns are the top-level keys, in order of first
// appearance.
type objects struct {
	keys  []string
	index map[string]int
	cells []string
	set   []bool // by column: the object has the key
}

func newObjects(keys []string) *objects {
	o := &objects{index: make(map[string]int)}
	for _, key := range keys {
		o.column(key)
	}
	return o
}

func (o *objects) names() []string { return o.keys }

// column returns the index of a key's column, and adds the column if it is new.
func (o *objects) column(key string) int {
	i, ok := o.index[key]
	if !ok {
		i = len(o.keys)
		o.index[key] = i
		o.keys = append(o.keys, key)
	}
	for len(o.cells) <= i {
		o.cells, o.set = append(o.cells, ""), append(o.set, false)
	}
	return i
}

// cut decodes an object into cells. Strings lose their quotes, numbers and booleans keep their
// text, null and missing keys become empty, and nested values become JSON.
func (o *objects) cut(object []byte) ([]string, error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("is not a JSON object")
	}
	clear(o.cells)
	clear(o.set)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		name, _ := key.(string)
		var value any
		if err := dec.Decode(&value); err != nil {
			return nil, notJSON(err)
		}
		if _, known := o.index[name]; !known && len(o.keys) >= maxKeys {
			return nil, fmt.Errorf("has the key %q, which exceeds the maximum of %d keys per file: each key is a column", shorten(name), maxKeys)
		}
		i := o.column(name)
		if o.set[i] {
			return nil, fmt.Errorf("has the key %q twice", shorten(name))
		}
		o.cells[i], o.set[i] = cellOf(value), true
	}
	if _, err := dec.Token(); err != nil {
		return nil, notJSON(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("unexpected data after the JSON object")
	}
	return o.cells, nil
}

func notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("is not JSON: unexpected end")
	}
	return fmt.Errorf("is not JSON: %w", err)
}

func cellOf(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	default:
		raw, err := json.Marshal(v)
		if err != nil { // decoded JSON always marshals
			panic(err)
		}
		return string(raw)
	}
}

// ndjsonRows reads one JSON object per line.
type ndjsonRows struct {
	*objects
	lines *lines
}

func (n *ndjsonRows) next(r *row) error {
	for {
		line, tooLong, err := n.lines.next()
		if err != nil {
			return err
		}
		r.line, r.raw, r.cells, r.err = n.lines.line, withoutEnd(line), nil, nil
		if tooLong {
			r.err = errTooLong
			return nil
		}
		if len(bytes.TrimSpace(r.raw)) == 0 {
			continue
		}
		r.cells, r.err = n.cut(r.raw)
		return nil
	}
}

// newJSON chooses how JSON is read: an array, objects over several lines, or one object per line.
// The last is preferred because it can continue after an invalid row.
func newJSON(content *bufio.Reader, keys []string) rowReader {
	o := newObjects(keys)
	head, _ := content.Peek(headBytes)
	head = bytes.TrimLeft(head, " \t\r\n")
	if bytes.HasPrefix(head, []byte("[")) {
		return &jsonRows{objects: o, content: content, line: 1, array: true}
	}
	if !bytes.HasPrefix(head, []byte("{")) {
		return &ndjsonRows{objects: o, lines: newLines(content)}
	}
	line := head
	if end := bytes.IndexAny(head, "\r\n"); end >= 0 {
		line = head[:end]
	}
	var first json.RawMessage
	if !json.Valid(line) && json.NewDecoder(bytes.NewReader(head)).Decode(&first) == nil && bytes.ContainsAny(first, "\r\n") {
		return &jsonRows{objects: o, content: content, line: 1}
	}
	return &ndjsonRows{objects: o, lines: newLines(content)}
}

// jsonRows reads the elements of a JSON array, or a sequence of objects over any number of lines.
type jsonRows struct {
	*objects
	content *bufio.Reader
	line    int64 // of the next byte
	array   bool
	begun   bool // the opening bracket was read
	ended   bool
	buf     []byte
	cr      bool // the last byte was a CR
}

func (j *jsonRows) next(r *row) error {
	c, err := j.skipSpace()
	if err == nil && j.array {
		c, err = j.separator(c)
	}
	if err != nil {
		return err
	}
	r.line, r.cells, r.err = j.line, nil, nil
	tooLong, err := j.value(c)
	if err != nil {
		return err
	}
	r.raw = j.buf
	if tooLong {
		r.err = errTooLong
		return nil
	}
	r.cells, r.err = j.cut(j.buf)
	return nil
}

// separator reads the separator before an array element, of which c is the first byte, and returns
// the element's first byte.
func (j *jsonRows) separator(c byte) (byte, error) {
	switch {
	case j.ended:
		return 0, fmt.Errorf("line %d: unexpected data after the JSON array", j.line)
	case !j.begun:
		j.begun = true // newJSON has checked the bracket
		return j.inArray()
	case c == ']':
		return j.atEnd()
	case c == ',':
		return j.inArray()
	}
	return 0, fmt.Errorf("line %d: expected a comma or the end of the JSON array, got %q", j.line, c)
}

// inArray returns the first byte of the next element, or io.EOF at the end of the array.
func (j *jsonRows) inArray() (byte, error) {
	c, err := j.skipSpace()
	if err == nil && c == ']' {
		return j.atEnd()
	}
	return c, err
}

// truncated returns the error of an array that ends early, or err.
func (j *jsonRows) truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("line %d: unexpected end of the JSON array", j.line)
	}
	return err
}

// atEnd checks that nothing follows the array.
func (j *jsonRows) atEnd() (byte, error) {
	j.ended = true
	if _, err := j.skipSpace(); err != nil {
		return 0, err // io.EOF is expected
	}
	return 0, fmt.Errorf("line %d: unexpected data after the JSON array", j.line)
}

func (j *jsonRows) skipSpace() (byte, error) {
	for {
		c, err := j.read()
		if err != nil {
			if errors.Is(err, io.EOF) && j.array && j.begun && !j.ended {
				return 0, j.truncated(err)
			}
			return 0, err
		}
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c, nil
		}
	}
}

func (j *jsonRows) read() (byte, error) {
	c, err := j.content.ReadByte()
	if err != nil {
		return 0, err
	}
	if c == '\r' || c == '\n' && !j.cr {
		j.line++
	}
	j.cr = c == '\r'
	return c, nil
}

// value reads a value, of which c is the first byte. It finds the end by brackets and quotes, so
// that a syntax error inside affects this value only.
func (j *jsonRows) value(c byte) (tooLong bool, err error) {
	j.buf = append(j.buf[:0], c)
	depth, quoted, escaped := 0, false, false
	for {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth <= 0 && !quoted && (c == '}' || c == ']') {
			return tooLong, nil
		}
		if c, err = j.read(); err != nil {
			if !j.array && errors.Is(err, io.EOF) {
				return tooLong, nil // cut reports the error
			}
			return tooLong, j.truncated(err)
		}
		if depth == 0 && !quoted && (c == ',' || c == ']' || c == '\n') { // the end of a bare value
			if c == '\n' {
				j.line--
			}
			return tooLong, j.content.UnreadByte()
		}
		if len(j.buf) < maxLine {
			j.buf = append(j.buf, c)
		} else {
			tooLong = true
		}
	}
}
