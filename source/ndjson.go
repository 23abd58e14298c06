package source

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxLine is the longest NDJSON line; the rest of a longer one is skipped.
const maxLine = 1 << 20

// ndjsonRows reads a JSON object a line. Its columns are the top-level keys, in the order in which they first come.
type ndjsonRows struct {
	content *bufio.Reader
	line    int64
	keys    []string
	index   map[string]int
	buf     []byte
	cells   []string
}

func newNDJSON(content *bufio.Reader) *ndjsonRows {
	return &ndjsonRows{content: content, index: make(map[string]int)}
}

func (n *ndjsonRows) names() []string { return n.keys }

func (n *ndjsonRows) next(r *row) error {
	for {
		line, tooLong, err := n.readLine()
		if err != nil {
			return err
		}
		n.line++
		r.line, r.raw, r.err = n.line, line, nil
		if tooLong {
			r.cells, r.err = nil, fmt.Errorf("the line is longer than %d bytes", maxLine)
			return nil
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		r.cells, r.err = n.cut(line)
		return nil
	}
}

// readLine returns a line without its end. Of one that is too long it returns the beginning.
func (n *ndjsonRows) readLine() (line []byte, tooLong bool, err error) {
	n.buf = n.buf[:0]
	for {
		part, err := n.content.ReadSlice('\n')
		if room := maxLine - len(n.buf); len(part) > room+1 {
			part, tooLong = part[:room], true
		}
		if !tooLong || len(n.buf) < maxLine {
			n.buf = append(n.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(n.buf) == 0:
			return nil, false, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, false, err
		}
		return bytes.TrimRight(n.buf, "\r\n"), tooLong, nil
	}
}

// cut decodes an object into cells. Texts lose their quotes, numbers and booleans are as written, null and
// missing keys are empty, and nested values are their JSON.
func (n *ndjsonRows) cut(line []byte) ([]string, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("is not a JSON object")
	}
	clear(n.cells)
	n.cells = n.cells[:0]
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
		n.put(name, value)
	}
	if _, err := dec.Token(); err != nil {
		return nil, notJSON(err)
	}
	if dec.More() {
		return nil, errors.New("something follows the JSON object")
	}
	return n.cells, nil
}

func notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("is not JSON: it ends too early")
	}
	return fmt.Errorf("is not JSON: %w", err)
}

func (n *ndjsonRows) put(name string, value any) {
	i, ok := n.index[name]
	if !ok {
		i = len(n.keys)
		n.index[name] = i
		n.keys = append(n.keys, name)
	}
	for len(n.cells) <= i {
		n.cells = append(n.cells, "")
	}
	switch v := value.(type) {
	case nil:
		n.cells[i] = ""
	case string:
		n.cells[i] = v
	case json.Number:
		n.cells[i] = v.String()
	case bool:
		n.cells[i] = strconv.FormatBool(v)
	default:
		raw, err := json.Marshal(v)
		if err != nil { // it was decoded from JSON
			panic(err)
		}
		n.cells[i] = string(raw)
	}
}
