package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

var errPartial = errors.New("its last row is not complete")

// readJSONLines calls fn with the object of each line. Columns that an object leaves out are NULL.
func readJSONLines(r io.Reader, columns []DatabaseColumn, fn func(fields map[string]any) error) error {
	in := bufio.NewReaderSize(r, 1<<16)
	for {
		line, err := in.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil
		case errors.Is(err, io.EOF):
			return errPartial
		case err != nil:
			return err
		}
		fields, err := parseObject(line)
		if err != nil {
			return err
		}
		for name := range fields {
			if !slices.ContainsFunc(columns, func(c DatabaseColumn) bool { return c.Field == name }) {
				return fmt.Errorf("a row has the field %s, which the table does not have", name)
			}
		}
		for _, c := range columns {
			if _, ok := fields[c.Field]; !ok {
				fields[c.Field] = nil
			}
		}
		if err := fn(fields); err != nil {
			return err
		}
	}
}

// parseObject parses a line that has one JSON object and nothing else.
func parseObject(line []byte) (fields map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) || fields == nil {
		return nil, fmt.Errorf("%.100q is not one object", line)
	}
	return fields, nil
}

// readCSV calls fn with the values of each line. A value without text and quotes is NULL.
func readCSV(r io.Reader, columns []DatabaseColumn, fn func(fields map[string]any) error) error {
	in := bufio.NewReaderSize(r, 1<<16)
	for {
		if _, err := in.Peek(1); errors.Is(err, io.EOF) {
			return nil
		}
		fields := make(map[string]any, len(columns))
		for i, c := range columns {
			text, quoted, end, err := readCSVValue(in)
			if err != nil {
				return err
			}
			if (end == '\n') != (i == len(columns)-1) {
				return fmt.Errorf("a row does not have %d values", len(columns))
			}
			fields[c.Field] = nil
			if text != "" || quoted {
				fields[c.Field] = c.Type.fromText(text)
			}
		}
		if err := fn(fields); err != nil {
			return err
		}
	}
}

// readCSVValue reads a value with the comma or the newline after it (RFC 4180).
func readCSVValue(in *bufio.Reader) (text string, quoted bool, end byte, err error) {
	var b []byte
	inside, closed := false, false
	for {
		c, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			err = errPartial
		}
		if err != nil {
			return "", false, 0, err
		}
		switch {
		case inside && c == '"':
			next, err := in.Peek(1)
			if err == nil && next[0] == '"' {
				_, _ = in.Discard(1)
				b = append(b, c)
				continue
			}
			inside, closed = false, true
		case inside:
			b = append(b, c)
		case c == ',' || c == '\n':
			return string(b), quoted, c, nil
		case c == '"' && len(b) == 0 && !closed:
			inside, quoted = true, true
		case closed || c == '"':
			return "", false, 0, fmt.Errorf("%q in a value beside its quotes", c)
		default:
			b = append(b, c)
		}
	}
}
