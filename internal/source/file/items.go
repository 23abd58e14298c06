package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

// RowError is the error of a row that is not a valid reading.
type RowError struct {
	File   string
	Line   int64  // from 1
	Column string // "" if the whole row is invalid
	Err    error
}

// Error returns "FILE:LINE: column COLUMN: reason".
func (e *RowError) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("%s:%d: column %s: %v", e.File, e.Line, e.Column, e.Err)
}

// Unwrap returns the reason.
func (e *RowError) Unwrap() error { return e.Err }

var errUndecodable = errors.New("a character is invalid in the file's encoding")

// row is a row of the file, split into cells in the order of the header.
type row struct {
	line  int64    // its first line
	raw   []byte   // without the line end; valid until the next row
	cells []string // valid until the next row
	err   error    // why it could not be split
}

// rowReader splits a file into rows. names returns the columns, which may grow with the keys of
// JSON.
type rowReader interface {
	names() []string
	next(r *row) error // io.EOF at the end
}

// more reads the next row and its items. It returns false at the end of the file.
func (f *File) more() bool {
	if f.ended != nil {
		return false
	}
	var r row
	if err := f.rows.next(&r); err != nil {
		f.ended = err
		if !errors.Is(err, io.EOF) {
			f.ended = fmt.Errorf("%s: reading stopped after row %d: %w", f.cfg.Path, f.row, err)
		}
		return false
	}
	f.take(&r)
	return true
}

// take converts a row to items.
func (f *File) take(r *row) {
	f.row++
	f.ready, f.passed = f.ready[:0], 0
	bad := func(column string, err error) {
		f.ready = append(f.ready, source.Item{
			Raw: bytes.Clone(r.raw),
			Err: &RowError{File: f.cfg.Path, Line: r.line, Column: column, Err: err},
		})
	}
	if r.err != nil {
		bad("", r.err)
		return
	}
	if f.decoded && bytes.Contains(r.raw, []byte("\ufffd")) {
		bad("", errUndecodable)
		return
	}
	base, column, err := f.base(r)
	if err != nil {
		bad(column, err)
		return
	}
	if f.columns.values != nil {
		f.namedValues(r, &base, bad)
	} else {
		f.eachValue(r, &base, bad)
	}
	if len(f.ready) == 0 {
		f.empty++
	}
}

// keep returns an interned copy of a text, since cells are valid for one row only.
func (f *File) keep(text string) string {
	if known, ok := f.names[text]; ok {
		return known
	}
	const limit = 100_000
	if len(f.names) >= limit {
		clear(f.names)
	}
	text = strings.Clone(text)
	f.names[text] = text
	return text
}

// cell returns a cell of a row, "" if there is none.
func (r *row) cell(i int) string {
	if i < 0 || i >= len(r.cells) {
		return ""
	}
	return r.cells[i]
}

// base returns the fields that all readings of a row share. On an error it also returns the column.
func (f *File) base(r *row) (base reading.Reading, column string, err error) {
	c := &f.columns
	base = reading.Reading{DeviceID: f.cfg.DeviceName, Boot: f.boot}
	if c.device >= 0 {
		base.DeviceID = f.keep(r.cell(c.device))
		if strings.TrimSpace(base.DeviceID) == "" {
			return base, f.name(c.device), errors.New("the device id is missing")
		}
		if f.isJSON() && (base.DeviceID[0] == '{' || base.DeviceID[0] == '[') {
			return base, f.name(c.device), errors.New("the device id is a JSON object or array: expected text or a number")
		}
	}
	if c.boot >= 0 {
		base.Boot = f.keep(r.cell(c.boot))
	}
	if c.unit >= 0 {
		base.Unit = f.keep(r.cell(c.unit))
	}
	if base.TS, err = f.clock.parse(r.cell(c.ts)); err != nil {
		return base, f.name(c.ts), err
	}
	return base, "", nil
}

// name returns the name of a column, "" if there is none.
func (f *File) name(i int) string {
	names := f.rows.names()
	if i < 0 || i >= len(names) {
		return ""
	}
	return names[i]
}

// namedValues adds the readings of the configured value columns, and counts the cells of other
// columns as unused.
func (f *File) namedValues(r *row, base *reading.Reading, bad func(column string, err error)) {
	c := &f.columns
	for i, text := range r.cells {
		if text != "" && (i >= len(c.roles) || !c.roles[i]) && !slices.Contains(c.values, i) {
			f.skip(i, text)
		}
	}
	for i, v := range c.values {
		text := r.cell(v)
		if text == "" {
			continue
		}
		c.seen[i] = true
		sensor := f.name(v)
		if c.sensor >= 0 {
			sensor = f.keep(r.cell(c.sensor))
		}
		f.value(r, base, v, sensor, text, bad)
	}
}

// eachValue adds a reading for each cell of an inferred value column. A column that was empty in
// the sample becomes a value column at its first number.
func (f *File) eachValue(r *row, base *reading.Reading, bad func(column string, err error)) {
	c := &f.columns
	for i, text := range r.cells {
		if text == "" || i < len(c.roles) && c.roles[i] {
			continue
		}
		for i >= len(c.kinds) {
			c.kinds = append(c.kinds, unknown)
		}
		name := f.name(i)
		if c.kinds[i] == unknown && name != "" && looksNumeric(text) {
			c.kinds[i] = number
		}
		if c.kinds[i] != number {
			f.skip(i, text)
			continue
		}
		f.value(r, base, i, name, text, bad)
	}
}

// value adds the reading of a cell, or calls bad.
func (f *File) value(r *row, base *reading.Reading, column int, sensor, text string, bad func(column string, err error)) {
	it := source.Item{Reading: *base}
	it.Sensor = sensor
	var err error
	if it.Value, err = f.numbers.parse(text); err != nil {
		bad(f.name(column), err)
		return
	}
	if unit, ok := f.cfg.Units[f.name(column)]; ok {
		it.Unit = unit
	}
	seq := f.columns.seq
	if seq >= 0 {
		if it.Seq, err = parseSeq(r.cell(seq)); err != nil {
			bad(f.name(seq), err)
			return
		}
	} else {
		it.Seq = f.next[it.DeviceID]
	}
	if err := it.Validate(); err != nil {
		bad("", err)
		return
	}
	if seq < 0 {
		f.next[it.DeviceID]++
	}
	f.ready = append(f.ready, it)
}
