package source

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir/reading"
)

// FileConfig says which file and what its columns mean. Empty column names are guessed from the file.
type FileConfig struct {
	Path   string // CSV with a header row, or NDJSON; either may be gzip
	Format string // csv or ndjson; default by the file's name, else by its first byte
	Name   string // of the source; default "file:" and the base name

	DeviceColumn string
	DeviceName   string // for files without a device column; default the base name without extensions
	TSColumn     string
	TSFormat     string         // auto, unix, unix-ms, unix-us, unix-ns, rfc3339, or a Go time layout; default auto
	Location     *time.Location // of times without a zone; default UTC
	ValueColumns []string       // one reading each, in this order; default all whose first value is a number or boolean
	SensorColumn string         // for rows of one reading: it names what the one value column holds
	UnitColumn   string
	SeqColumn    string            // default: seq counts each device's readings in file order
	BootColumn   string            // default: the base name without extensions
	Units        map[string]string // of value columns, by name
}

// File is a file of readings. Close it after use.
type File struct {
	cfg  FileConfig
	file *os.File
	head string // hex SHA-256 of the first bytes of the content
	size int64
	boot string // of rows without one

	read    *counter // bytes of the file that were read
	rows    rowReader
	columns columns
	clock   timestamps

	row   int64            // rows taken, header not counted
	next  map[string]int64 // device → its next seq
	ready []Item           // made of the last row, not given yet
	given int              // of ready
	names map[string]string
	ended error // io.EOF or what cut the file short
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

// row is one line of the file, cut into cells in the order of the header.
type row struct {
	line  int64
	raw   []byte   // without the line end; valid until the next row
	cells []string // valid until the next row
	err   error    // why it could not be cut
}

// rowReader cuts a file into rows. names are the columns; they may grow with NDJSON's keys.
type rowReader interface {
	names() []string
	next(r *row) error // io.EOF at the end
}

// headBytes is how much of the content identifies a file.
const headBytes = 64 << 10

// OpenFile opens a file and decides what its columns mean. The error names the file, and for a column that is
// not there the columns that are.
func OpenFile(cfg FileConfig) (*File, error) {
	if cfg.Path == "-" {
		return nil, errors.New("standard input can't be replayed after a crash: write it to a file first")
	}
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	base := filepath.Base(cfg.Path)
	stem, _, _ := strings.Cut(base, ".")
	if cfg.Name == "" {
		cfg.Name = "file:" + base
	}
	if cfg.DeviceName == "" {
		cfg.DeviceName = stem
	}
	f := &File{cfg: cfg, boot: stem}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

// open reads the file from its start.
func (f *File) open() error {
	file, err := os.Open(f.cfg.Path)
	if err != nil {
		return fmt.Errorf("open readings: %w", err)
	}
	if err := f.start(file); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", f.cfg.Path, err), file.Close())
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
	f.file, f.size, f.read = file, info.Size(), &counter{r: file}
	content, err := plain(f.read)
	if err != nil {
		return err
	}
	head, err := content.Peek(headBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	sum := sha256.Sum256(head)
	f.head = hex.EncodeToString(sum[:8])
	first := bytes.TrimLeft(head, " \t\r\n\ufeff")
	if len(first) == 0 {
		return errors.New("the file is empty")
	}
	if f.rows, err = newRows(f.cfg, content, first[0]); err != nil {
		return err
	}
	f.row, f.ready, f.given, f.ended = 0, nil, 0, nil
	f.next, f.names = make(map[string]int64), make(map[string]string)
	f.columns = columns{}
	return f.decide()
}

// decide reads the first row to learn what the columns mean; the row is then given like any other.
func (f *File) decide() error {
	var r row
	err := f.rows.next(&r)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if f.columns, err = decideColumns(f.cfg, f.rows.names(), r.cells); err != nil {
		return err
	}
	sample := ""
	if i := f.columns.ts; i >= 0 && i < len(r.cells) {
		sample = r.cells[i]
	}
	if f.clock, err = newTimestamps(f.cfg.TSFormat, f.cfg.Location, sample); err != nil {
		return err
	}
	if r.cells != nil || r.err != nil {
		f.take(&r)
	}
	return nil
}

func newRows(cfg FileConfig, content *bufio.Reader, first byte) (rowReader, error) {
	format := cfg.Format
	if format == "" {
		name := strings.TrimSuffix(strings.ToLower(cfg.Path), ".gz")
		switch {
		case strings.HasSuffix(name, ".ndjson"), strings.HasSuffix(name, ".jsonl"), strings.HasSuffix(name, ".json"), first == '{':
			format = "ndjson"
		default:
			format = "csv"
		}
	}
	switch format {
	case "csv":
		return newCSV(content)
	case "ndjson":
		return newNDJSON(content), nil
	default:
		return nil, fmt.Errorf("unknown format %q: choose csv or ndjson", format)
	}
}

// plain returns the content, decompressed where it is gzip.
func plain(r io.Reader) (*bufio.Reader, error) {
	b := bufio.NewReaderSize(r, headBytes)
	magic, err := b.Peek(2)
	if err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return b, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("read gzip: %w", err)
	}
	return bufio.NewReaderSize(z, 2*headBytes), nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Name implements the producer's Source.
func (f *File) Name() string { return f.cfg.Name }

// Columns tells a person what the columns were taken for.
func (f *File) Columns() string { return f.columns.describe(f.cfg, f.rows.names()) }

// Progress implements the producer's Source: in bytes of the file.
func (f *File) Progress() (done, total int64) { return f.read.load(), f.size }

// filePosition is where a file stands: rows taken and, of the last one, items given.
type filePosition struct {
	Row      int64    `json:"row"`
	Given    int      `json:"given,omitempty"`
	Settings settings `json:"settings"`
}

func (f *File) settings() settings {
	return settings{
		"the file's beginning (SHA-256)": f.head,
		"device column":                  f.columns.name(f.rows, f.columns.device),
		"value columns":                  f.columns.valueNames(f.rows),
	}
}

// Position implements the producer's Source.
func (f *File) Position() []byte {
	p := filePosition{Row: f.row, Settings: f.settings()}
	if f.given < len(f.ready) {
		p.Given = f.given
		p.Row--
	}
	raw, err := json.Marshal(p)
	if err != nil { // numbers and strings always marshal
		panic(err)
	}
	return raw
}

// Seek implements the producer's Source. It reads the file again up to the position, since sequence
// numbers count what came before.
func (f *File) Seek(position []byte) error {
	var p filePosition
	if err := json.Unmarshal(position, &p); err != nil {
		return fmt.Errorf("%w: %w", ErrPosition, err)
	}
	if what := p.Settings.changed(f.settings()); what != "" {
		return fmt.Errorf("%w: %s: another --name sends the file as a new source", ErrPosition, what)
	}
	if err := f.file.Close(); err != nil {
		return err
	}
	if err := f.open(); err != nil {
		return err
	}
	if p.Row == 0 && p.Given == 0 {
		return nil
	}
	target := p.Row
	if p.Given > 0 {
		target++
	}
	for f.row < target {
		if !f.more() {
			return fmt.Errorf("%w: %s has %d rows, and %d were sent: another --name sends the file as a new source",
				ErrPosition, f.cfg.Path, f.row, target)
		}
	}
	f.given = len(f.ready)
	if p.Given > 0 {
		f.given = min(p.Given, len(f.ready))
	}
	return nil
}

// Next implements the producer's Source. A row that is no reading is an item with Err and Raw.
func (f *File) Next(dst []Item) (n int, err error) {
	for n < len(dst) {
		if f.given == len(f.ready) && !f.more() {
			if n > 0 {
				return n, nil
			}
			return 0, f.ended
		}
		taken := copy(dst[n:], f.ready[f.given:])
		n += taken
		f.given += taken
	}
	return n, nil
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
			f.ended = fmt.Errorf("%s: read stopped behind row %d: %w", f.cfg.Path, f.row, err)
		}
		return false
	}
	f.take(&r)
	return true
}

// take makes items of a row.
func (f *File) take(r *row) {
	f.row++
	f.ready, f.given = f.ready[:0], 0
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
	f.readings(r, bad)
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

// readings makes the readings of a row, and calls bad for what is none.
func (f *File) readings(r *row, bad func(column string, err error)) {
	c := &f.columns
	cell := func(i int) string {
		if i < 0 || i >= len(r.cells) {
			return ""
		}
		return r.cells[i]
	}
	names := f.rows.names()
	base := reading.Reading{DeviceID: f.cfg.DeviceName, Boot: f.boot}
	if c.device >= 0 {
		base.DeviceID = f.keep(cell(c.device))
	}
	if c.boot >= 0 {
		base.Boot = f.keep(cell(c.boot))
	}
	if c.unit >= 0 {
		base.Unit = f.keep(cell(c.unit))
	}
	var err error
	if base.TS, err = f.clock.parse(cell(c.ts)); err != nil {
		bad(names[c.ts], err)
		return
	}
	for _, v := range c.values {
		text := cell(v)
		if text == "" {
			continue
		}
		it := Item{Reading: base}
		if it.Value, err = parseValue(text); err != nil {
			bad(names[v], err)
			continue
		}
		if c.sensor >= 0 {
			it.Sensor = f.keep(cell(c.sensor))
		} else {
			it.Sensor = names[v]
		}
		if unit, ok := f.cfg.Units[names[v]]; ok {
			it.Unit = unit
		}
		if c.seq >= 0 {
			if it.Seq, err = parseSeq(cell(c.seq)); err != nil {
				bad(names[c.seq], err)
				continue
			}
		} else {
			it.Seq = f.next[it.DeviceID]
		}
		if err := it.Validate(); err != nil {
			bad("", err)
			continue
		}
		if c.seq < 0 {
			f.next[it.DeviceID]++
		}
		f.ready = append(f.ready, it)
	}
}
