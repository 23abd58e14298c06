package files

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// groupBytes bounds the bytes of a row group before compression, beside groupRows.
const groupBytes = 256 << 20

// parquetMerger puts Parquet files together. Columns that a file lacks are NULL in its rows, if
// they may be.
type parquetMerger struct {
	*compact
	schema *parquet.Schema
	fields []mergedField
}

// mergedField is a column of the new files.
type mergedField struct {
	name   string
	as     string // its type, as Parquet's schemas are written
	leaf   int    // the first of its leaf columns
	leaves int
}

// check makes the schema of the new files: the columns of the newest file, and then those that only
// older ones have.
func (m *parquetMerger) check(ctx context.Context, parts []part) error {
	var columns []parquet.Field
	from := make(map[string]part) // a file that has the column
	always := make(map[string]int)
	seen := make(map[string]bool) // schemas
	for i := range parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := parts[len(parts)-1-i]
		err := m.read(p, func(f *parquet.File) error {
			text := f.Schema().String()
			if seen[text] {
				return nil
			}
			seen[text] = true
			for _, c := range f.Root().Columns() {
				always[c.Name()]++
				was := m.field(c.Name())
				switch as := fieldText(c); {
				case was == nil:
					from[c.Name()] = p
					m.fields = append(m.fields, mergedField{name: c.Name(), as: as})
					columns = append(columns, orderedField{c, c.Name()})
				case was.as != as:
					return m.unmergeable(from[c.Name()], p, fmt.Errorf("the column %s is %s in one and %s in the other", c.Name(), was.as, as))
				}
			}
			return nil
		})
		if err != nil {
			return meanwhile(err)
		}
	}
	leaf := 0
	for i, c := range columns {
		f := &m.fields[i]
		if always[f.name] < len(seen) && c.Required() {
			return fmt.Errorf("the files of table %s have versions that can't be in one file: only some have the column %s, such as %s, and it is NOT NULL; copy the files of one version, with %s, to a directory of their own, and compact this",
				m.Table, f.name, m.from.fileName(from[f.name].name), hidden)
		}
		f.leaf, f.leaves = leaf, countLeaves(c)
		leaf += f.leaves
	}
	m.schema = parquet.NewSchema(m.Table, orderedGroup{parquet.Group{}, columns})
	return nil
}

func (m *parquetMerger) field(name string) *mergedField {
	for i := range m.fields {
		if m.fields[i].name == name {
			return &m.fields[i]
		}
	}
	return nil
}

// fieldText returns the type of a column.
func fieldText(n parquet.Node) string {
	var b strings.Builder
	_ = parquet.PrintSchemaIndent(&b, "", n, "", " ") // a builder has no errors
	return strings.TrimSuffix(strings.TrimSpace(b.String()), ";")
}

func countLeaves(n parquet.Node) (all int) {
	if n.Leaf() {
		return 1
	}
	for _, f := range n.Fields() {
		all += countLeaves(f)
	}
	return all
}

// read opens a file.
func (m *parquetMerger) read(p part, fn func(*parquet.File) error) (err error) {
	name := m.from.fileName(p.name)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s is damaged: %v", name, r) // pages that contradict themselves
		}
	}()
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	file, err := parquet.OpenFile(f, p.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("%s is damaged: restore it, or remove it from a copy of the directory and compact that: %w", name, err)
	}
	if id, _ := file.Lookup("weir.topic-id"); id != m.was.TopicID {
		return fmt.Errorf("%s has rows of the topic with the id %q, and %s those of %s: move it elsewhere", name, id, m.from.stateName(), m.was.TopicID)
	}
	return fn(file)
}

func (m *parquetMerger) merge(ctx context.Context, w *bufio.Writer, parts []part) (rows int64, err error) {
	out := parquet.NewGenericWriter[any](w, m.schema, parquet.MaxRowsPerRowGroup(groupRows), parquet.DictionaryMaxBytes(dictionaryBytes), parquet.CreatedBy("weir", "1", "0"))
	var from, next int64
	grouped := int64(0) // bytes of the row group
	for i, p := range parts {
		n := int64(0)
		err := m.read(p, func(f *parquet.File) error {
			first, end, err := offsetsOf(f)
			if err != nil {
				return fmt.Errorf("%s: %w", m.from.fileName(p.name), err)
			}
			if i == 0 || first < from {
				from = first
			}
			next = max(next, end)
			for _, key := range []string{"weir.sink", "weir.topic", "weir.topic-id", "weir.partition"} {
				value, _ := f.Lookup(key)
				out.SetKeyValueMetadata(key, value)
			}
			for _, g := range f.RowGroups() {
				copied, size, err := m.copyGroup(ctx, out, f, g)
				n += copied
				if err != nil {
					return fmt.Errorf("%s, after %d rows: %w", m.from.fileName(p.name), n, err)
				}
				if grouped += size; grouped >= groupBytes {
					grouped = 0
					if err := out.Flush(); err != nil {
						return err
					}
				}
			}
			if n != f.NumRows() {
				return fmt.Errorf("%s has %d rows, and its footer says %d: restore it", m.from.fileName(p.name), n, f.NumRows())
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		rows += n
		m.progress(p.size)
	}
	out.SetKeyValueMetadata("weir.from", strconv.FormatInt(from, 10))
	out.SetKeyValueMetadata("weir.next", strconv.FormatInt(next, 10))
	out.SetKeyValueMetadata("weir.compacted", strconv.Itoa(len(parts)))
	return rows, out.Close()
}

// offsetsOf returns the offsets of the deliveries of a file.
func offsetsOf(f *parquet.File) (from, next int64, err error) {
	for key, to := range map[string]*int64{"weir.from": &from, "weir.next": &next} {
		text, _ := f.Lookup(key)
		if *to, err = strconv.ParseInt(text, 10, 64); err != nil {
			return 0, 0, fmt.Errorf("its footer has no %s: the sink has not written it", key)
		}
	}
	return from, next, nil
}

// copyGroup copies the rows of a row group, and returns their number and bytes.
func (m *parquetMerger) copyGroup(ctx context.Context, out *parquet.GenericWriter[any], f *parquet.File, g parquet.RowGroup) (copied, size int64, err error) {
	to := m.leavesOf(f)
	rows := g.Rows()
	defer rows.Close()
	buf, values := make([]parquet.Row, 256), make([][]parquet.Value, m.leaves())
	var row parquet.Row
	for {
		n, err := rows.ReadRows(buf)
		for _, r := range buf[:n] {
			for i := range values {
				values[i] = values[i][:0]
			}
			for _, v := range r {
				leaf := to[v.Column()]
				values[leaf] = append(values[leaf], v.Level(v.RepetitionLevel(), v.DefinitionLevel(), leaf))
				size += valueBytes
				if k := v.Kind(); k == parquet.ByteArray || k == parquet.FixedLenByteArray {
					size += int64(len(v.ByteArray()))
				}
			}
			row = row[:0]
			for leaf, of := range values {
				if len(of) == 0 { // of a column that the file lacks
					of = append(of, parquet.NullValue().Level(0, 0, leaf))
				}
				row = append(row, of...)
			}
			if _, err := out.WriteRows([]parquet.Row{row}); err != nil {
				return copied, size, err
			}
			copied++
		}
		switch {
		case errors.Is(err, io.EOF):
			return copied, size, nil
		case err != nil:
			return copied, size, err
		case n == 0:
			return copied, size, io.ErrNoProgress
		case ctx.Err() != nil:
			return copied, size, ctx.Err()
		}
	}
}

// valueBytes is about the memory of a value, besides that of text.
const valueBytes = 8

func (m *parquetMerger) leaves() (all int) {
	for _, f := range m.fields {
		all += f.leaves
	}
	return all
}

// leavesOf returns the leaf column of the new file for each one of a file.
func (m *parquetMerger) leavesOf(f *parquet.File) (to []int) {
	for _, c := range f.Root().Columns() {
		field := m.field(c.Name())
		for i := range field.leaves {
			to = append(to, field.leaf+i)
		}
	}
	return to
}
