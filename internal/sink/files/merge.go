package files

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// lineMerger puts files of rows as text together. It reads each row, so a damaged file is not
// copied.
type lineMerger struct {
	*compact
	lines func() rowChecker // of one version of the table
	known rowChecker
	first part // whose rows known is from
}

// rowChecker follows the rows of files, of which each ends with a line feed.
type rowChecker interface {
	// add checks the bytes of a line, with its line feed, and reports whether a row is complete.
	add(line []byte) (complete bool, err error)
}

// mergeError is the difference of two versions of a table.
type mergeError struct{ error }

func (m *lineMerger) check(context.Context, []part) error { return nil }

func (m *lineMerger) merge(ctx context.Context, w *bufio.Writer, parts []part) (rows int64, err error) {
	if m.known == nil {
		m.known, m.first = m.lines(), parts[0]
	}
	for _, p := range parts {
		n, err := m.copyRows(ctx, w, p)
		var versions *mergeError
		switch {
		case errors.As(err, &versions):
			return 0, m.unmergeable(m.first, p, versions)
		case err != nil:
			return 0, fmt.Errorf("%s, after %d rows: %w", m.from.fileName(p.name), n, err)
		}
		rows += n
	}
	return rows, nil
}

// unmergeable refuses files of two versions of a table.
func (c *compact) unmergeable(a, b part, why error) error {
	return fmt.Errorf("the files %s and %s have two versions of table %s that can't be in one file: %w; copy the files of one version, with %s, to a directory of their own, and compact this",
		c.from.fileName(a.name), c.from.fileName(b.name), c.Table, why, hidden)
}

var errNotComplete = errors.New("its last row is not complete: it was damaged since the sink wrote it; restore it, or remove it from a copy of the directory and compact that")

func (m *lineMerger) copyRows(ctx context.Context, w *bufio.Writer, p part) (rows int64, err error) {
	f, err := os.Open(m.from.fileName(p.name))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<18)
	complete := true
	for {
		line, err := in.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0 && complete:
			return rows, nil
		case errors.Is(err, io.EOF):
			return rows, errNotComplete
		case err != nil:
			return rows, err
		case ctx.Err() != nil:
			return rows, ctx.Err()
		}
		if complete, err = m.known.add(line); err != nil {
			return rows, err
		}
		if complete {
			rows++
		}
		if _, err := w.Write(line); err != nil {
			return rows, err
		}
		m.progress(int64(len(line)))
	}
}

// jsonLines is the kinds of the fields that objects have had. Fields can be missing.
type jsonLines map[string]string

func newJSONLines() rowChecker { return jsonLines{} }

func (j jsonLines) add(line []byte) (bool, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return false, fmt.Errorf("%.100q is not a JSON object: %w", line, err)
	}
	for name, value := range fields {
		kind := jsonKind(value)
		switch was := j[name]; {
		case kind == "", was == kind:
		case was == "", was == "NaN" && kind == "number", was == "NaN" && kind == "string":
			j[name] = kind
		case kind == "NaN" && (was == "number" || was == "string"):
		default:
			return false, &mergeError{fmt.Errorf("the field %s is a %s in one and a %s in the other", name, was, kind)}
		}
	}
	return true, nil
}

// jsonKind returns the kind of a value, "" for null, and "NaN" for the strings that stand for
// numbers which JSON does not have.
func jsonKind(value json.RawMessage) string {
	switch value[0] {
	case 'n':
		return ""
	case '"':
		switch string(value) {
		case `"NaN"`, `"Infinity"`, `"-Infinity"`:
			return "NaN"
		}
		return "string"
	case 't', 'f':
		return "boolean"
	case '{':
		return "object"
	case '[':
		return "array"
	}
	return "number"
}

// csvLines counts the values of rows, which have no names. A value in quotes can have line feeds.
type csvLines struct {
	values int // of each row
	quoted bool
	commas int // of the row so far
}

func newCSVLines() rowChecker { return &csvLines{} }

func (c *csvLines) add(line []byte) (bool, error) {
	for _, b := range line {
		switch {
		case b == '"': // a pair of them in quotes ends and begins again
			c.quoted = !c.quoted
		case b == ',' && !c.quoted:
			c.commas++
		}
	}
	if c.quoted {
		return false, nil
	}
	n := c.commas + 1
	c.commas = 0
	if c.values == 0 {
		c.values = n
	}
	if n != c.values {
		return false, &mergeError{fmt.Errorf("the rows of one have %d values, and those of the other %d", c.values, n)}
	}
	if len(bytes.TrimSpace(line)) == 0 && c.values == 1 {
		return false, errors.New("it has an empty line")
	}
	return true, nil
}
