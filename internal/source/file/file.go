// Package file reads CSV and JSON files as a replayable source of readings.
//
//	file.go       Config, File: open a file, decide its format, return its items
//	content.go    decompression, character encodings, rejection of binary files
//	lines.go      lines with look-ahead
//	csv.go        CSV rows as cells
//	ndjson.go     JSON objects as cells: one a line, over several lines, or an array
//	sample.go     the first rows: columns, delimiter, decimal sign and times are inferred here
//	columns.go    the role of each column
//	number.go     numbers and their decimal sign
//	timestamp.go  event times
//	items.go      readings and row errors from the cells of a row
//	position.go   the position of a run, and resuming from it
//	unused.go     columns and cells that are not sent
//	preview.go    dry run
package file

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

	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

// Config says which file and what its columns mean. Empty column names are guessed from the
// file.
type Config struct {
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
	given Config // as it was asked for
	cfg   Config // with what the header adds
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
	ready  []source.Item    // made of the last row
	passed int              // of ready, given already
	digest *xxhash.Digest   // of all items that were given
	names  map[string]string
	unused []Unused // by column
	empty  int64    // rows without a value
	ended  error    // io.EOF or what cut the file short
}

// Open opens a file and decides, by a sample of its first rows, what its columns mean. The
// error names the file, and for a column that is not there, or may be one of several, the columns
// that are.
func Open(cfg Config) (*File, error) {
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
func (f *File) Next(dst []source.Item) (n int, err error) {
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
		_, _ = f.digest.Write(identity(buf[:0], &f.ready[f.passed+i])) // it never fails
	}
	f.passed += n
}

// identity appends the fields that identify an item: all but the unit.
func identity(b []byte, it *source.Item) []byte {
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
