package file

import (
	"fmt"
	"strconv"
	"strings"
)

// Unused is a column of which cells were not sent.
type Unused struct {
	Column  string `json:"column"`
	Fields  int64  `json:"fields"`            // cells that are not empty
	Numbers int64  `json:"numbers,omitempty"` // of them, that could have been values
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

// Unused returns the columns whose cells were not sent, in the order of the file. It counts from
// the file's first row, whichever run has read it, up to the last row that was read.
func (f *File) Unused() []Unused {
	var all []Unused
	for i, u := range f.unused {
		if u.Fields == 0 {
			continue
		}
		if u.Column = f.name(i); u.Column == "" {
			u.Column = fmt.Sprintf("column %d, without a name", i+1)
		}
		all = append(all, u)
	}
	return all
}

// Absent returns the named value columns that no row has had so far: keys of JSON that never came.
func (f *File) Absent() (names []string) {
	for i, v := range f.columns.values {
		if !f.columns.seen[i] {
			names = append(names, f.name(v))
		}
	}
	return names
}

// EmptyRows returns how many rows had no value, counted as Unused counts.
func (f *File) EmptyRows() int64 { return f.empty }

// Columns tells a person what the columns were taken for.
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
