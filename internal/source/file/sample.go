package file

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// sample is the head of a file, from which its columns, decimal sign and times are inferred. It is
// the same in every run, so that a resumed run interprets the rows before its position in the same
// way.
type sample struct {
	head  []byte
	whole bool // the head is the whole file
	rows  []row
	names []string
	first error // error of the first row that could not be split
}

// takeSample reads the complete rows of the head.
func (f *File) takeSample(head []byte, whole bool) (*sample, error) {
	s := &sample{head: head, whole: whole}
	rows, err := f.newRows(bufio.NewReaderSize(bytes.NewReader(head), headBytes), nil)
	if err != nil {
		return nil, err
	}
	for {
		var r row
		if err := rows.next(&r); err != nil {
			if !errors.Is(err, io.EOF) && s.first == nil {
				s.first = err
			}
			break
		}
		r.raw, r.cells = nil, slices.Clone(r.cells)
		s.rows = append(s.rows, r)
		if r.err != nil && s.first == nil {
			s.first = &RowError{File: f.cfg.Path, Line: r.line, Err: r.err}
		}
	}
	if !whole && len(s.rows) > 0 { // the last row may be incomplete
		s.rows = s.rows[:len(s.rows)-1]
	}
	s.names = slices.Clone(rows.names())
	if err := f.checkHeader(s.names); err != nil {
		return nil, err
	}
	switch {
	case len(s.rows) == 0 && !whole:
		return nil, fmt.Errorf("no complete row in the first %d bytes", headBytes)
	case len(s.rows) == 0 && s.first == nil:
		return nil, f.noRows(s.names)
	case len(s.rows) == 0:
		return nil, s.first
	}
	return s, nil
}

// checkHeader returns an error for a column of CSV whose name could not be decoded.
func (f *File) checkHeader(names []string) error {
	if !f.decoded || f.isJSON() {
		return nil // a JSON object with such a key is a dead letter
	}
	for i, name := range names {
		if strings.Contains(name, "\ufffd") {
			return fmt.Errorf("the header of column %d: %w", i+1, errUndecodable)
		}
	}
	return nil
}

// noRows returns the error of a file without rows. A first line that does not name the columns is
// not a header but could be a row.
func (f *File) noRows(names []string) error {
	if len(names) > 0 {
		if _, err := decideColumns(&f.cfg, names); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w after the header", ErrNoRows)
}

// cells returns the cells of a column that are not empty.
func (s *sample) cells(column int) (all []placed) {
	for _, r := range s.rows {
		if column < len(r.cells) && r.cells[column] != "" {
			all = append(all, placed{text: r.cells[column], line: r.line, column: s.names[column]})
		}
	}
	return all
}

// decide infers the roles of the columns and the formats of their cells from the sample.
func (f *File) decide(s *sample) (err error) {
	names := s.names
	if len(names) == 0 {
		return s.first
	}
	if f.columns, err = decideColumns(&f.cfg, names); err != nil {
		return err
	}
	if f.clock, err = newTimestamps(&f.cfg, s.cells(f.columns.ts)); err != nil {
		return err
	}
	values := f.columns.values
	if values == nil {
		f.columns.learn(names, s.rows)
		values = f.columns.guessed()
		switch {
		case f.columns.sensor >= 0 && len(values) != 1:
			return fmt.Errorf("a sensor column requires exactly one value column, found %d: name it with --value-columns", len(values))
		case f.columns.sensor >= 0:
			f.columns.values = values
		case len(values) == 0 && s.whole && !f.anyBlank(s):
			return fmt.Errorf("no value column among %s: name them with --value-columns", listed(names))
		}
	}
	f.columns.seen = make([]bool, len(f.columns.values))
	if err := f.decideNumbers(s, values); err != nil {
		return err
	}
	return f.checkSample(s)
}

// anyBlank reports whether a column without a role is empty in the sample; its values may follow
// later.
func (f *File) anyBlank(s *sample) bool {
	for i, k := range f.columns.kinds {
		if k == unknown && !f.columns.roles[i] && s.names[i] != "" {
			return true
		}
	}
	return false
}

func (f *File) decideNumbers(s *sample, values []int) (err error) {
	if f.isJSON() && f.cfg.Decimal != "" {
		return errors.New("--decimal applies to CSV: numbers in JSON have a decimal point")
	}
	if f.numbers, err = newNumbers(f.cfg.Decimal); err != nil || f.isJSON() {
		return err
	}
	var cells []placed
	for _, v := range values {
		cells = append(cells, s.cells(v)...)
	}
	return f.numbers.guess(cells)
}

// checkSample returns an error if no row of the sample has a device and a time, since the columns
// were then inferred wrongly.
func (f *File) checkSample(s *sample) error {
	var first error
	for i := range s.rows {
		r := &s.rows[i]
		err := r.err
		var column string
		if err == nil {
			_, column, err = f.base(r)
		}
		if err == nil {
			return nil
		}
		if first == nil {
			first = &RowError{File: f.cfg.Path, Line: r.line, Column: column, Err: err}
		}
	}
	return fmt.Errorf("none of the first %d rows is a valid reading: %w", len(s.rows), first)
}

// withKeys adds the configured columns, which may not be in the sample.
func withKeys(names []string, cfg *Config) []string {
	all := slices.Clone(names)
	configured := append([]string{cfg.DeviceColumn, cfg.TSColumn, cfg.SensorColumn, cfg.UnitColumn, cfg.SeqColumn, cfg.BootColumn}, cfg.ValueColumns...)
	for name := range cfg.Units {
		configured = append(configured, name)
	}
	slices.Sort(configured[6+len(cfg.ValueColumns):])
	for _, name := range configured {
		if name != "" && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// delimiters are the delimiters of CSV that are tried, in order of preference.
const delimiters = ",;\t|"

// newDelimiter returns the configured delimiter. Without a setting, it chooses the delimiter that
// splits the most of the first rows into as many cells as the header.
func newDelimiter(setting string, head []byte) (byte, error) {
	switch {
	case setting == "tab" || setting == `\t`:
		return '\t', nil
	case len(setting) == 1 && setting[0] < 0x80 && !strings.ContainsAny(setting, "\"\r\n "):
		return setting[0], nil
	case setting != "":
		return 0, fmt.Errorf("unknown delimiter %q: choose one character, or tab", setting)
	}
	if line := firstLine(head); isSeparatorLine(line) {
		return line[4], nil
	}
	best, rows, cells := delimiters[0], 0, 0
	for _, d := range []byte(delimiters) {
		if n, width := fits(head, d); n > rows || n == rows && width > cells {
			best, rows, cells = d, n, width
		}
	}
	return best, nil
}

func firstLine(head []byte) string {
	end := bytes.IndexAny(head, "\r\n")
	if end < 0 {
		end = len(head)
	}
	return string(head[:end])
}

// fits counts the first rows that a delimiter splits into as many cells as the header, which must
// be more than one.
func fits(head []byte, delimiter byte) (rows, cells int) {
	const limit = 200
	c := &csvRows{lines: newLines(bufio.NewReaderSize(bytes.NewReader(head), headBytes)), delimiter: delimiter}
	var r row
	if c.next(&r) != nil || len(r.cells) < 2 {
		return 0, 0
	}
	cells = len(r.cells)
	rows = 1
	for range limit {
		if c.next(&r) != nil {
			break
		}
		if r.err == nil && len(r.cells) == cells {
			rows++
		}
	}
	return rows, cells
}
