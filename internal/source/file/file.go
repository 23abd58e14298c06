// Package file reads CSV and JSON files as a replayable source of readings.
//
//	file.go       Config, File: open a file, determine its format, return its items
//	content.go    decompression, character encodings, rejection of binary files
//	lines.go      lines with look-ahead
//	csv.go        CSV rows as cells
//	ndjson.go     JSON objects as cells: one per line, over several lines, or an array
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

// Config names a file and the roles of its columns. Columns that are not named are inferred.
type Config struct {
	Path     string   // CSV with a header row, NDJSON or a JSON array; optionally gzip
	Root     *os.Root // directory of the file, in which Path's base name is opened; links must not leave it. Default none
	Digest   bool     // compute File.Sum
	Encoding string   // auto, utf-8, utf-16le, utf-16be, latin1 or windows-1252; default auto: UTF-16 with a byte order mark, or else UTF-8
	Format   string   // csv, ndjson or json; default inferred from the file's first byte and its name
	Name     string   // of the source; default "file:" and the base name

	Delimiter string // of CSV: one character, or tab; default inferred from the first rows
	Decimal   string // decimal sign of CSV: . or , (the other may then separate thousands); default inferred from the numbers

	DeviceColumn string
	DeviceName   string // of a file with a single device and no device column
	TSColumn     string
	TSFormat     string         // auto, unix, unix-ms, unix-us, unix-ns, rfc3339, or a Go time layout; default auto
	Location     *time.Location // of times without an offset; default UTC
	Years        [2]int         // first and last year of valid event times; default 1990 to 2100
	ValueColumns []string       // one reading per column, in this order; default all columns of numbers or booleans
	SensorColumn string         // for files with one reading per row: the sensor of the value column
	UnitColumn   string
	SeqColumn    string            // default: the readings of a device are numbered in file order
	BootColumn   string            // default: Boot for all rows
	Boot         string            // default: source.Boot of Name
	EarlierBoot  string            // of a file whose position has no boot id; default: the base name up to its first dot
	Units        map[string]string // of value columns, by column name
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "file:" + filepath.Base(c.Path)
	}
	if c.Boot == "" {
		c.Boot = source.Boot(c.Name)
	}
	if c.EarlierBoot == "" {
		c.EarlierBoot, _, _ = strings.Cut(filepath.Base(c.Path), ".")
	}
	if c.Location == nil {
		c.Location = time.UTC
	}
	return c
}

// Validate returns an error for the first setting that is invalid whatever the file contains.
func (c Config) Validate() error {
	switch {
	case c.Path == "":
		return errors.New("no path of a file")
	case c.Path == "-":
		return errors.New("standard input cannot be replayed after a crash: write it to a file first")
	case c.DeviceColumn != "" && c.DeviceName != "":
		return errors.New("--device-column names a column, --device the file's only device: choose one")
	case c.Encoding != "" && c.Encoding != "auto" && c.Encoding != "utf-8" && encodings[c.Encoding] == nil:
		return fmt.Errorf("unknown encoding %q: choose auto, utf-8, utf-16le, utf-16be, latin1 or windows-1252", c.Encoding)
	}
	return nil
}

// ErrNoRows is the error of a file that is empty or has only a header, with the columns that it
// needs.
var ErrNoRows = errors.New("there are no rows")

// File is a file of readings. The caller must close it.
type File struct {
	requested Config // as passed to Open
	cfg       Config // completed from the header
	file      *os.File
	head      string // hex SHA-256 of the first bytes of the content
	size      int64
	boot      string // of rows without a boot id

	read      *counter // bytes of the file read so far
	decoded   bool     // from an encoding other than UTF-8
	format    string   // csv or json
	delimiter byte
	rows      rowReader
	columns   columns
	clock     timestamps
	numbers   numbers

	row    int64            // rows read, without the header
	next   map[string]int64 // next sequence number by device
	ready  []source.Item    // items of the last row
	passed int              // number of ready items already returned
	digest *xxhash.Digest   // of all items returned
	names  map[string]string
	unused []Unused // by column
	empty  int64    // rows without a value
	ended  error    // io.EOF or the error that ended the file
}

// Open opens a file and infers the roles of its columns from a sample of its first rows. The error
// names the file and, for a missing or ambiguous column, the columns that the file has.
func Open(cfg Config) (*File, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	f := &File{requested: cfg, boot: cfg.Boot}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

// open reads the file from its start.
func (f *File) open() error {
	var file *os.File
	var err error
	if root := f.requested.Root; root != nil {
		file, err = root.Open(filepath.Base(f.requested.Path))
	} else {
		file, err = os.Open(f.requested.Path)
	}
	if err != nil {
		return fmt.Errorf("open readings: %w", err)
	}
	if err := f.start(file); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", f.requested.Path, err), file.Close())
	}
	return nil
}

func (f *File) start(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return errors.New("is a directory, not a file of readings")
	}
	f.cfg = f.requested
	f.file, f.size, f.read = file, info.Size(), newCounter(file, f.cfg.Digest)
	content, decoded, err := text(f.read, f.cfg.Encoding)
	if err != nil {
		return err
	}
	f.decoded = decoded
	head, err := content.Peek(headBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	whole := err != nil
	sum := sha256.Sum256(head)
	f.head = hex.EncodeToString(sum[:8])
	first := bytes.TrimLeft(head, " \t\r\n")
	if len(first) == 0 {
		return fmt.Errorf("the file is empty: %w", ErrNoRows)
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
	if f.isJSON() && !whole { // configured keys may appear later
		s.names = withKeys(s.names, &f.cfg)
	}
	if f.rows, err = f.newRows(content, s.names); err != nil {
		return err
	}
	return f.decide(s)
}

func (f *File) isJSON() bool { return f.format == "json" }

// setFormat determines how the content is split into rows.
func (f *File) setFormat(first byte, head []byte) (err error) {
	name := strings.TrimSuffix(strings.ToLower(f.cfg.Path), ".gz")
	switch format := f.cfg.Format; {
	case format == "ndjson", format == "json", format == "" && (first == '{' || first == '[' ||
		strings.HasSuffix(name, ".ndjson") || strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, ".json")):
		f.format = "json"
		if f.cfg.Delimiter != "" {
			return errors.New("--delimiter applies to CSV, the file is JSON")
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

// AtEnd reports whether Next has returned the last item of the file.
func (f *File) AtEnd() bool {
	for f.passed == len(f.ready) {
		if !f.more() {
			return errors.Is(f.ended, io.EOF)
		}
	}
	return false
}

// Sum reads the rest of the file and returns the SHA-256 of all its bytes, as they were read. It
// needs Config.Digest.
func (f *File) Sum() ([sha256.Size]byte, error) {
	_, err := io.Copy(io.Discard, f.read)
	return [sha256.Size]byte(f.read.sum.Sum(nil)), err
}

// Stat describes the file that is open, which its path may no longer name.
func (f *File) Stat() (os.FileInfo, error) { return f.file.Stat() }

// Numbered reports whether Weir numbers the readings of a boot id that a column has: files with the
// same boot id then have equal numbers.
func (f *File) Numbered() bool { return f.columns.boot >= 0 && f.columns.seq < 0 }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Path returns the path under which the file was opened.
func (f *File) Path() string { return f.requested.Path }

// Name implements the producer's Source.
func (f *File) Name() string { return f.requested.Name }

// Progress implements the producer's Source. Its unit is bytes of the file.
func (f *File) Progress() (done, total int64) { return f.read.load(), f.size }

// Next implements the producer's Source. A row that is not a valid reading becomes an item with Err
// and Raw.
func (f *File) Next(dst []source.Item) (n int, err error) {
	for n < len(dst) {
		if f.passed == len(f.ready) && !f.more() {
			if n > 0 {
				return n, nil
			}
			return 0, f.ended
		}
		copied := copy(dst[n:], f.ready[f.passed:])
		f.pass(copied)
		n += copied
	}
	return n, nil
}

// pass records that n more items of the last row were returned.
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
