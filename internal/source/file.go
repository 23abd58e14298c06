package source

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"weir.example/weir/reading"
)

// FileConfig says which file and what its columns mean. Empty column names are guessed from the
// file.
type FileConfig struct {
	Path   string // CSV with a header row, NDJSON or a JSON array; each may be gzip, and UTF-16 with a byte order mark
	Format string // csv, ndjson or json; default by the file's name, else by its first byte
	Name   string // of the source; default "file:" and the base name

	Delimiter string // of CSV: one character, or tab; default the one that fits the first rows
	Decimal   string // sign of CSV: . or , (the other one may then part thousands); default what the numbers show

	DeviceColumn string
	DeviceName   string // of a file of one device; no column is taken for the device then
	TSColumn     string
	TSFormat     string         // auto, unix, unix-ms, unix-us, unix-ns, rfc3339, or a Go time layout; default auto
	Location     *time.Location // of times without a zone; default UTC
	Years        [2]int         // first and last year of event times, others are refused; default 1990 to 2100
	ValueColumns []string       // one reading each, in this order; default each cell of a column of numbers or booleans
	SensorColumn string         // for rows of one reading: it names what the one value column holds
	UnitColumn   string
	SeqColumn    string            // default: seq counts each device's readings in file order
	BootColumn   string            // default: the base name without extensions
	Units        map[string]string // of value columns, by name
}

// File is a file of readings. Close it after use.
type File struct {
	given FileConfig // as it was asked for
	cfg   FileConfig // with what the header adds
	file  *os.File
	head  string // hex SHA-256 of the first bytes of the content
	size  int64
	boot  string // of rows without one

	read      *counter // bytes of the file that were read
	format    string   // csv or json
	delimiter byte
	rows      rowReader
	columns   columns
	clock     timestamps
	numbers   numbers

	row    int64            // rows taken, header not counted
	next   map[string]int64 // device → its next seq
	ready  []Item           // made of the last row
	passed int              // of ready, given already
	digest *xxhash.Digest   // of all items that were given
	names  map[string]string
	unused []Unused // by column
	empty  int64    // rows without a value
	ended  error    // io.EOF or what cut the file short
}

// RowError says which row is no reading, and why.
type RowError struct {
	File   string
	Line   int64 // 1 is the first line of the file
	Column string
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

// row is one row of the file, cut into cells in the order of the header.
type row struct {
	line  int64    // its first one
	raw   []byte   // without the line end; valid until the next row
	cells []string // valid until the next row
	err   error    // why it could not be cut
}

// rowReader cuts a file into rows. names are the columns; they may grow with the keys of JSON.
type rowReader interface {
	names() []string
	next(r *row) error // io.EOF at the end
}

// OpenFile opens a file and decides, by a sample of its first rows, what its columns mean. The
// error names the file, and for a column that is not there, or may be one of several, the columns
// that are.
func OpenFile(cfg FileConfig) (*File, error) {
	if cfg.Path == "-" {
		return nil, errors.New("standard input can't be replayed after a crash: write it to a file first")
	}
	if cfg.DeviceColumn != "" && cfg.DeviceName != "" {
		return nil, errors.New("--device-column names a column, and --device the one device of a file: choose one")
	}
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	base := filepath.Base(cfg.Path)
	stem, _, _ := strings.Cut(base, ".")
	if cfg.Name == "" {
		cfg.Name = "file:" + base
	}
	f := &File{given: cfg, boot: stem}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

// open reads the file from its start.
func (f *File) open() error {
	file, err := os.Open(f.given.Path)
	if err != nil {
		return fmt.Errorf("open readings: %w", err)
	}
	if err := f.start(file); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", f.given.Path, err), file.Close())
	}
	return nil
}

func (f *File) start(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return errors.New("is a folder, not a file of readings")
	}
	f.cfg = f.given
	f.file, f.size, f.read = file, info.Size(), &counter{r: file}
	content, err := text(f.read)
	if err != nil {
		return err
	}
	head, err := content.Peek(headBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	whole := err != nil
	sum := sha256.Sum256(head)
	f.head = hex.EncodeToString(sum[:8])
	first := bytes.TrimLeft(head, " \t\r\n")
	if len(first) == 0 {
		return errors.New("the file is empty")
	}
	if err := f.setFormat(first[0], head); err != nil {
		return err
	}
	s, err := f.takeSample(bytes.Clone(head), whole)
	if err != nil {
		return err
	}
	f.row, f.ready, f.passed, f.ended, f.unused, f.empty = 0, nil, 0, nil, nil, 0
	f.next, f.names, f.digest = make(map[string]int64), make(map[string]string), xxhash.New()
	if f.isJSON() && !whole { // named keys may come later
		s.names = withKeys(s.names, &f.cfg)
	}
	if f.rows, err = f.newRows(content, s.names); err != nil {
		return err
	}
	return f.decide(s)
}

func (f *File) isJSON() bool { return f.format == "json" }

// setFormat decides how the content is cut into rows.
func (f *File) setFormat(first byte, head []byte) (err error) {
	name := strings.TrimSuffix(strings.ToLower(f.cfg.Path), ".gz")
	switch format := f.cfg.Format; {
	case format == "ndjson", format == "json", format == "" && (first == '{' || first == '[' ||
		strings.HasSuffix(name, ".ndjson") || strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, ".json")):
		f.format = "json"
		if f.cfg.Delimiter != "" {
			return errors.New("--delimiter is for CSV, and the file is JSON")
		}
	case format == "csv", format == "":
		f.format = "csv"
		f.delimiter, err = newDelimiter(f.cfg.Delimiter, head)
	default:
		return fmt.Errorf("unknown format %q: choose csv, ndjson or json", format)
	}
	return err
}

func (f *File) newRows(content *bufio.Reader, keys []string) (rowReader, error) {
	if f.isJSON() {
		return newJSON(content, keys), nil
	}
	return newCSV(newLines(content), f.delimiter)
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Name implements the producer's Source.
func (f *File) Name() string { return f.given.Name }

// Progress implements the producer's Source: in bytes of the file.
func (f *File) Progress() (done, total int64) { return f.read.load(), f.size }

// Next implements the producer's Source. A row that is no reading is an item with Err and Raw.
func (f *File) Next(dst []Item) (n int, err error) {
	for n < len(dst) {
		if f.passed == len(f.ready) && !f.more() {
			if n > 0 {
				return n, nil
			}
			return 0, f.ended
		}
		taken := copy(dst[n:], f.ready[f.passed:])
		f.pass(taken)
		n += taken
	}
	return n, nil
}

// pass counts items of the last row as given.
func (f *File) pass(n int) {
	var buf [512]byte
	for i := range f.ready[f.passed : f.passed+n] {
		_, _ = f.digest.Write(f.ready[f.passed+i].identity(buf[:0])) // it never fails
	}
	f.passed += n
}

// identity is what makes an item the one that was sent: all but the unit.
func (it *Item) identity(b []byte) []byte {
	if it.Err != nil {
		return append(append(b, it.Raw...), 1)
	}
	for _, text := range []string{it.DeviceID, it.Boot, it.Sensor} {
		b = append(append(b, text...), 0)
	}
	b = strconv.AppendInt(b, it.TS, 36)
	b = strconv.AppendInt(append(b, 0), it.Seq, 36)
	return reading.AppendFloat(append(b, 0), it.Value)
}

// more makes the items of the next row, and reports whether there was one.
func (f *File) more() bool {
	if f.ended != nil {
		return false
	}
	var r row
	if err := f.rows.next(&r); err != nil {
		f.ended = err
		if !errors.Is(err, io.EOF) {
			f.ended = fmt.Errorf("%s: read stopped after row %d: %w", f.cfg.Path, f.row, err)
		}
		return false
	}
	f.take(&r)
	return true
}

// take makes items of a row.
func (f *File) take(r *row) {
	f.row++
	f.ready, f.passed = f.ready[:0], 0
	bad := func(column string, err error) {
		f.ready = append(f.ready, Item{
			Raw: bytes.Clone(r.raw),
			Err: &RowError{File: f.cfg.Path, Line: r.line, Column: column, Err: err},
		})
	}
	if r.err != nil {
		bad("", r.err)
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

// keep returns the one copy of a text that the file keeps: cells are valid for one row only.
func (f *File) keep(text string) string {
	if known, ok := f.names[text]; ok {
		return known
	}
	const most = 100_000
	if len(f.names) >= most {
		clear(f.names)
	}
	text = strings.Clone(text)
	f.names[text] = text
	return text
}

// cell returns a cell of a row, "" where there is none.
func (r *row) cell(i int) string {
	if i < 0 || i >= len(r.cells) {
		return ""
	}
	return r.cells[i]
}

// base is what all readings of a row have in common. The error comes with the column that has it.
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

// name returns the name of a column, "" where there is none.
func (f *File) name(i int) string {
	names := f.rows.names()
	if i < 0 || i >= len(names) {
		return ""
	}
	return names[i]
}

// namedValues makes the readings of the columns that are named, and counts the cells of others as
// unused.
func (f *File) namedValues(r *row, base *reading.Reading, bad func(column string, err error)) {
	c := &f.columns
	for i, text := range r.cells {
		if text != "" && (i >= len(c.roles) || !c.roles[i]) && !isOneOf(c.values, i) {
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

func isOneOf(few []int, i int) bool {
	for _, v := range few {
		if v == i {
			return true
		}
	}
	return false
}

// eachValue makes a reading of each cell that is a value. What a column is the sample has shown;
// one that has shown nothing is of values from its first number on.
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

// value makes the reading of one cell, or calls bad.
func (f *File) value(r *row, base *reading.Reading, column int, sensor, text string, bad func(column string, err error)) {
	it := Item{Reading: *base}
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
