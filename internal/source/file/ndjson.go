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

// maxKeys is how many different keys the objects of a file may have: the columns are kept in
// memory.
const maxKeys = 10_000

// objects turns JSON objects into cells. Its columns are the top-level keys, in the order in which
// they first come.
type objects struct {
	keys  []string
	index map[string]int
	cells []string
	set   []bool // by column: the object has it
}

func newObjects(keys []string) *objects {
	o := &objects{index: make(map[string]int)}
	for _, key := range keys {
		o.column(key)
	}
	return o
}

func (o *objects) names() []string { return o.keys }

// column returns the place of a key, a new one where it was not seen before.
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

// cut decodes an object into cells. Texts lose their quotes, numbers and booleans are as written,
// null and missing keys are empty, and nested values are their JSON.
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
			return nil, fmt.Errorf("has the key %q, and the file has %d other ones already: keys are columns", shorten(name), maxKeys)
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
		return nil, errors.New("something follows the JSON object")
	}
	return o.cells, nil
}

func notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("is not JSON: it ends too early")
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
		if err != nil { // it was decoded from JSON
			panic(err)
		}
		return string(raw)
	}
}

// ndjsonRows reads a JSON object a line.
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

// newJSON chooses how JSON is read: an array, objects over several lines, or an object a line. The
// last one finds the next row after a broken one, so it is taken wherever it can be.
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

// jsonRows reads the elements of a JSON array, or objects that follow each other over any number of
// lines.
type jsonRows struct {
	*objects
	content *bufio.Reader
	line    int64 // of what is read next
	array   bool
	begun   bool // the array's bracket is read
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

// separator reads what stands before an element of an array, c first, and returns the element's
// first byte.
func (j *jsonRows) separator(c byte) (byte, error) {
	switch {
	case j.ended:
		return 0, fmt.Errorf("line %d: something follows the JSON array", j.line)
	case !j.begun:
		j.begun = true // newJSON has seen the bracket
		return j.inArray()
	case c == ']':
		return j.atEnd()
	case c == ',':
		return j.inArray()
	}
	return 0, fmt.Errorf("line %d: expected a comma or the end of the JSON array, got %q", j.line, c)
}

// inArray returns the first byte of the next element; the array may end instead.
func (j *jsonRows) inArray() (byte, error) {
	c, err := j.skipSpace()
	if err == nil && c == ']' {
		return j.atEnd()
	}
	return c, err
}

func (j *jsonRows) early(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("line %d: the JSON array ends too early", j.line)
	}
	return err
}

// atEnd checks that nothing follows the array.
func (j *jsonRows) atEnd() (byte, error) {
	j.ended = true
	if _, err := j.skipSpace(); err != nil {
		return 0, err // io.EOF, as it should be
	}
	return 0, fmt.Errorf("line %d: something follows the JSON array", j.line)
}

func (j *jsonRows) skipSpace() (byte, error) {
	for {
		c, err := j.read()
		if err != nil {
			if errors.Is(err, io.EOF) && j.array && j.begun && !j.ended {
				return 0, j.early(err)
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

// value reads a value, of which c is the first byte, by its brackets and quotes: what is wrong
// within them harms this value only.
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
				return tooLong, nil // cut finds what is missing
			}
			return tooLong, j.early(err)
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
