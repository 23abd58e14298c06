package source

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
)

// csvRows reads CSV with a header row (RFC 4180).
type csvRows struct {
	header []string
	lines  *recorder
	csv    *csv.Reader
}

func newCSV(content *bufio.Reader) (*csvRows, error) {
	lines := &recorder{r: content}
	r := csv.NewReader(lines)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("read the header row: %w", err)
	}
	c := &csvRows{lines: lines, csv: r}
	for _, name := range header {
		c.header = append(c.header, strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
	}
	return c, nil
}

func (c *csvRows) names() []string { return c.header }

func (c *csvRows) next(r *row) error {
	from := c.csv.InputOffset()
	cells, err := c.csv.Read()
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	var parse *csv.ParseError
	if err != nil && !errors.As(err, &parse) {
		return err
	}
	r.raw = bytes.TrimRight(c.lines.between(from, c.csv.InputOffset()), "\r\n")
	r.cells, r.err = cells, nil
	if err != nil {
		r.cells, r.line = nil, int64(parse.StartLine)
		r.err = parse.Err
		if errors.Is(parse.Err, csv.ErrFieldCount) {
			r.err = fmt.Errorf("has %d cells, the header has %d", len(cells), len(c.header))
		}
		return nil
	}
	line, _ := c.csv.FieldPos(0)
	r.line = int64(line)
	return nil
}

// recorder keeps what was read lately, so that the bytes of a row can be told.
type recorder struct {
	r     io.Reader
	kept  []byte
	start int64 // offset of kept[0]
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.kept = append(r.kept, p[:n]...)
	return n, err
}

// between returns the bytes from one offset to another, and forgets those before.
func (r *recorder) between(from, to int64) []byte {
	out := r.kept[from-r.start : to-r.start]
	if from-r.start > 1<<20 {
		rest := append([]byte(nil), r.kept[to-r.start:]...)
		r.kept, r.start = rest, to
	}
	return out
}

// counter counts the bytes that were read. It may be asked while another goroutine reads.
type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (c *counter) load() int64 { return c.n.Load() }
