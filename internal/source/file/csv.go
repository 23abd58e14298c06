package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxQuoted bounds the bytes of a row with line ends in quoted cells.
const maxQuoted = 64 << 10

// csvRows reads CSV with a header row (RFC 4180, any delimiter). A quote inside an unquoted cell is
// an ordinary character, and spaces around unquoted cells are dropped.
type csvRows struct {
	header    []string
	lines     *lines
	delimiter byte
	record    []byte // a row of several lines
	cells     []string
}

func newCSV(content *lines, delimiter byte) (*csvRows, error) {
	c := &csvRows{lines: content, delimiter: delimiter}
	var r row
	err := c.next(&r)
	if r.err == nil && isSeparatorLine(string(r.raw)) {
		err = c.next(&r)
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the file is empty")
	}
	if err = errors.Join(err, r.err); err != nil {
		return nil, fmt.Errorf("read the header row: %w", err)
	}
	for i, name := range r.cells {
		name = strings.Clone(name)
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("column %d of the header is not UTF-8: convert the file, for example with iconv -f WINDOWS-1252 -t UTF-8", i+1)
		}
		for j, before := range c.header {
			if name != "" && name == before {
				return nil, fmt.Errorf("%s is the header of columns %d and %d: rename one of them", name, j+1, i+1)
			}
		}
		c.header = append(c.header, name)
	}
	for len(c.header) > 1 && c.header[len(c.header)-1] == "" {
		c.header = c.header[:len(c.header)-1] // trailing delimiters
	}
	return c, nil
}

// isSeparatorLine reports whether a line is Excel's declaration of the delimiter.
func isSeparatorLine(line string) bool { return len(line) == 5 && strings.EqualFold(line[:4], "sep=") }

func (c *csvRows) names() []string { return c.header }

func (c *csvRows) next(r *row) error {
	for {
		line, tooLong, err := c.lines.next()
		if err != nil {
			return err
		}
		r.line, r.raw, r.cells, r.err = c.lines.line, withoutEnd(line), nil, nil
		if tooLong {
			r.err = errTooLong
			return nil
		}
		if len(bytes.TrimSpace(r.raw)) == 0 {
			continue
		}
		if r.raw, r.err = c.join(line); r.err == nil {
			r.cells, r.err = c.cells, c.checkCells()
		}
		return nil
	}
}

// checkCells compares the row with the header. Extra empty cells at the end are dropped, since some
// programs end each row with a delimiter.
func (c *csvRows) checkCells() error {
	if c.header == nil {
		return nil
	}
	n := len(c.cells)
	for n > len(c.header) && c.cells[n-1] == "" {
		n--
	}
	hint := ""
	if n > len(c.header) {
		hint = fmt.Sprintf(": a cell with a %q needs quotes", c.delimiter)
	}
	if n != len(c.header) {
		return fmt.Errorf("has %d cells, the header has %d%s", n, len(c.header), hint)
	}
	c.cells = c.cells[:n]
	return nil
}

var (
	errQuoteOpen  = errors.New("unclosed quote")
	errAfterQuote = errors.New("unexpected data after a closing quote")
)

// join splits the row that begins with line into cells. If a quoted cell contains line ends, the
// following lines are part of the row; if its quote is never closed, they are separate rows.
func (c *csvRows) join(line []byte) (raw []byte, err error) {
	raw = withoutEnd(line)
	if err = c.cut(raw); !errors.Is(err, errQuoteOpen) {
		return raw, err
	}
	c.record = append(c.record[:0], line...)
	first := len(raw)
	var following [][]byte
	for {
		more, tooLong, lineErr := c.lines.next()
		if lineErr == nil && !tooLong {
			following = append(following, bytes.Clone(more))
			c.record = append(c.record, more...)
			if raw = withoutEnd(c.record); len(raw) <= maxQuoted {
				if bytes.IndexByte(more, '"') < 0 {
					continue
				}
				if err = c.cut(raw); err == nil {
					return raw, nil
				}
				if errors.Is(err, errQuoteOpen) {
					continue
				}
			}
		}
		if tooLong {
			following = append(following, bytes.Clone(more))
		}
		c.lines.pushBack(following)
		return c.record[:first], errQuoteOpen
	}
}

// cut splits a row into cells.
func (c *csvRows) cut(raw []byte) error {
	c.cells = c.cells[:0]
	text := string(raw) // one copy for all cells
	for {
		text = strings.TrimLeft(text, " ")
		if strings.HasPrefix(text, `"`) {
			cell, rest, err := cutQuoted(text[1:])
			if err != nil {
				return err
			}
			c.cells = append(c.cells, cell)
			rest = strings.TrimLeft(rest, " ")
			if rest == "" {
				return nil
			}
			if rest[0] != c.delimiter {
				return errAfterQuote
			}
			text = rest[1:]
			continue
		}
		end := strings.IndexByte(text, c.delimiter)
		if end < 0 {
			c.cells = append(c.cells, strings.TrimRight(text, " "))
			return nil
		}
		c.cells = append(c.cells, strings.TrimRight(text[:end], " "))
		text = text[end+1:]
	}
}

// cutQuoted reads a quoted cell without its first quote.
func cutQuoted(text string) (cell, rest string, err error) {
	doubled := false
	for i := 0; ; {
		at := strings.IndexByte(text[i:], '"')
		if at < 0 {
			return "", "", errQuoteOpen
		}
		i += at
		if i+1 < len(text) && text[i+1] == '"' {
			doubled = true
			i += 2
			continue
		}
		cell = text[:i]
		if doubled {
			cell = strings.ReplaceAll(cell, `""`, `"`)
		}
		return cell, text[i+1:], nil
	}
}
