package file

import (
	"fmt"
	"strconv"
	"strings"
)

// Unused is a column with cells that were not sent.
type Unused struct {
	Column  string `json:"column"`
	Fields  int64  `json:"fields"`            // non-empty cells
	Numbers int64  `json:"numbers,omitempty"` // fields that could have been values
}

// skip counts a cell that is not sent.
func (f *File) skip(column int, text string) {
	for column >= len(f.unused) {
		f.unused = append(f.unused, Unused{})
	}
	u := &f.unused[column]
	u.Fields++
	if looksNumeric(text) {
		u.Numbers++
	}
}

// Unused returns the columns with cells that were not sent, in file order. It counts from the first
// row of the file, including rows of earlier runs, up to the last row read.
func (f *File) Unused() []Unused {
	var all []Unused
	for i, u := range f.unused {
		if u.Fields == 0 {
			continue
		}
		if u.Column = f.name(i); u.Column == "" {
			u.Column = fmt.Sprintf("unnamed column %d", i+1)
		}
		all = append(all, u)
	}
	return all
}

// Absent returns the configured value columns without a value so far, such as keys that no JSON
// object has.
func (f *File) Absent() (names []string) {
	for i, v := range f.columns.values {
		if !f.columns.seen[i] {
			names = append(names, f.name(v))
		}
	}
	return names
}

// EmptyRows returns the number of rows without a value, counted like Unused.
func (f *File) EmptyRows() int64 { return f.empty }

// Columns describes the roles of the columns to a user.
func (f *File) Columns() string {
	c, at := &f.columns, f.name
	device := at(c.device)
	if c.device < 0 {
		device = strconv.Quote(f.cfg.DeviceName)
	}
	values := c.values
	if values == nil {
		values = c.guessed()
	}
	var shown, texts []string
	for _, v := range values {
		shown = append(shown, at(v))
	}
	for i, k := range c.kinds {
		if k == prose && c.values == nil {
			texts = append(texts, at(i))
		}
	}
	if len(shown) == 0 {
		shown = []string{"none yet"}
	}
	text := fmt.Sprintf("device %s, time %s, values %s", device, at(c.ts), strings.Join(shown, " "))
	if c.sensor >= 0 {
		text += ", sensor " + at(c.sensor)
	}
	if len(texts) > 0 {
		text += "; not sent: " + strings.Join(texts, " ")
	}
	return text
}
