package column

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
)

// Column stores one column of a batch in the vector selected by the Class of its type. For NULL,
// Null is true and the value in the vector is arbitrary.
type Column struct {
	Type Type
	Null []bool
	I    []int64
	F    []float64
	S    []string
	A    []any

	// Fields, if not nil, stores the values of a ROW instead of A: one column for each field, nil
	// for a field that nobody reads, which is then NULL. Where the row is NULL, its fields are too.
	Fields []*Column
}

// Batch is a set of rows in columnar form. Strings may alias the records they were decoded from.
type Batch struct {
	N    int
	Cols []*Column

	// Err is the first error an expression returned since Err was last cleared. A failing closure
	// sets it and returns NULL.
	Err error
}

// NewBatch returns an empty batch with columns of the given types.
func NewBatch(types []Type) *Batch {
	b := &Batch{Cols: make([]*Column, len(types))}
	for i, t := range types {
		b.Cols[i] = &Column{Type: t}
	}
	return b
}

// Reset empties the batch but keeps its memory.
func (b *Batch) Reset() {
	b.N, b.Err = 0, nil
	for _, c := range b.Cols {
		clear(c.A)
		c.Truncate(0)
	}
}

// Add appends a boxed value; nil is NULL.
func (c *Column) Add(v any) {
	if c.Fields != nil {
		c.addRow(v)
		return
	}
	c.Null = append(c.Null, v == nil)
	switch c.Type.Class() {
	case Ints:
		c.I = append(c.I, UnboxInt(v))
	case Floats:
		f, _ := v.(float64)
		c.F = append(c.F, f)
	case Texts:
		s, _ := v.(string)
		c.S = append(c.S, s)
	case Boxes:
		c.A = append(c.A, v)
	}
}

// addRow appends a boxed row to the columns of its fields.
func (c *Column) addRow(v any) {
	row, ok := v.([]any)
	if !ok {
		c.AddNull()
		return
	}
	c.Null = append(c.Null, false)
	for i, f := range c.Fields {
		if f != nil {
			f.Add(row[i])
		}
	}
}

// UnboxInt returns a boxed int64 as is, and a bool as 1 or 0.
func UnboxInt(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case bool:
		if v {
			return 1
		}
	}
	return 0
}

// AddInt appends to a column of class Ints. Like AddFloat, AddText and AddNull, it avoids boxing.
func (c *Column) AddInt(v int64) {
	c.Null, c.I = append(c.Null, false), append(c.I, v)
}

// AddFloat appends to a column of class Floats.
func (c *Column) AddFloat(v float64) {
	c.Null, c.F = append(c.Null, false), append(c.F, v)
}

// AddText appends to a column of class Texts.
func (c *Column) AddText(v string) {
	c.Null, c.S = append(c.Null, false), append(c.S, v)
}

// AddNull appends NULL.
func (c *Column) AddNull() {
	c.Null = append(c.Null, true)
	if c.Fields != nil {
		for _, f := range c.Fields {
			if f != nil {
				f.AddNull()
			}
		}
		return
	}
	switch c.Type.Class() {
	case Ints:
		c.I = append(c.I, 0)
	case Floats:
		c.F = append(c.F, 0)
	case Texts:
		c.S = append(c.S, "")
	case Boxes:
		c.A = append(c.A, nil)
	}
}

// Len returns the number of values.
func (c *Column) Len() int { return len(c.Null) }

// Truncate keeps the first n values.
func (c *Column) Truncate(n int) {
	c.Null = c.Null[:n]
	if c.Fields != nil {
		for _, f := range c.Fields {
			if f != nil {
				f.Truncate(n)
			}
		}
		return
	}
	switch c.Type.Class() {
	case Ints:
		c.I = c.I[:n]
	case Floats:
		c.F = c.F[:n]
	case Texts:
		c.S = c.S[:n]
	case Boxes:
		c.A = c.A[:n]
	}
}

// Value returns a boxed value: nil, bool, int64, float64, string, *big.Int, []any or *Dict.
func (c *Column) Value(row int) any {
	if c.Fields == nil || c.Null[row] {
		return c.Scalar(row)
	}
	values := make([]any, len(c.Fields))
	for i, f := range c.Fields {
		if f != nil {
			values[i] = f.Value(row)
		}
	}
	return values
}

// Scalar is Value for a column that is not stored by fields. It is small enough to be inlined, so
// that the value need not be allocated.
func (c *Column) Scalar(row int) any {
	if c.Null[row] {
		return nil
	}
	switch c.Type.Class() {
	case Ints:
		if c.Type.Kind == Boolean {
			return c.I[row] != 0
		}
		return c.I[row]
	case Floats:
		return c.F[row]
	case Texts:
		return c.S[row]
	}
	return c.A[row]
}

// AddFrom appends a row of o, a column of the same class.
func (c *Column) AddFrom(o *Column, row int) {
	if o.Null[row] {
		c.AddNull()
		return
	}
	if c.Fields != nil || o.Fields != nil {
		c.addFields(o, row)
		return
	}
	c.Null = append(c.Null, false)
	switch c.Type.Class() {
	case Ints:
		c.I = append(c.I, o.I[row])
	case Floats:
		c.F = append(c.F, o.F[row])
	case Texts:
		c.S = append(c.S, o.S[row])
	case Boxes:
		c.A = append(c.A, o.A[row])
	}
}

// addFields appends a row that is stored by fields in at least one of the columns.
func (c *Column) addFields(o *Column, row int) {
	if c.Fields == nil || o.Fields == nil {
		c.Add(o.Value(row))
		return
	}
	c.Null = append(c.Null, false)
	for i, f := range c.Fields {
		switch {
		case f == nil:
		case o.Fields[i] == nil:
			f.AddNull()
		default:
			f.AddFrom(o.Fields[i], row)
		}
	}
}

// Row returns the boxed values of a row.
func (b *Batch) Row(row int) []any {
	values := make([]any, len(b.Cols))
	for i, c := range b.Cols {
		values[i] = c.Value(row)
	}
	return values
}

// AddRow appends boxed values.
func (b *Batch) AddRow(values []any) {
	for i, c := range b.Cols {
		c.Add(values[i])
	}
	b.N++
}

// Types returns the types of the columns.
func (b *Batch) Types() []Type {
	types := make([]Type, len(b.Cols))
	for i, c := range b.Cols {
		types[i] = c.Type
	}
	return types
}

// Fail sets Err unless an earlier error is set.
func (b *Batch) Fail(format string, args ...any) {
	if b.Err == nil {
		b.Err = fmt.Errorf(format, args...)
	}
}

// Dict is the value of a MAP: pairs in insertion order. That of a MULTISET has each value once, and
// its number.
type Dict struct {
	Keys, Values []any
}

// Get returns the value stored under key.
func (d *Dict) Get(key any) any {
	for i, k := range d.Keys {
		if EqualBoxed(k, key) {
			return d.Values[i]
		}
	}
	return nil
}

// Set adds a pair or replaces the value of an existing key.
func (d *Dict) Set(key, value any) {
	for i, k := range d.Keys {
		if EqualBoxed(k, key) {
			d.Values[i] = value
			return
		}
	}
	d.Keys, d.Values = append(d.Keys, key), append(d.Values, value)
}

// EqualBoxed compares two non-NULL values of the same type.
func EqualBoxed(a, b any) bool {
	switch a := a.(type) {
	case *big.Int:
		b, ok := b.(*big.Int)
		return ok && a.Cmp(b) == 0
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !EqualBoxed(a[i], b[i]) {
				return false
			}
		}
		return true
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || len(a.Keys) != len(b.Keys) {
			return false
		}
		for i, k := range a.Keys {
			if !EqualBoxed(a.Values[i], b.Get(k)) {
				return false
			}
		}
		return true
	}
	return a == b
}

// CompareBoxed compares two values of the same type and returns a negative number, 0 or a positive
// number. NULL sorts first.
func CompareBoxed(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	switch a := a.(type) {
	case bool:
		return int(UnboxInt(a) - UnboxInt(b))
	case int64:
		return cmp.Compare(a, b.(int64))
	case float64:
		return compareFloat(a, b.(float64))
	case string:
		return cmp.Compare(a, b.(string))
	case *big.Int:
		return a.Cmp(b.(*big.Int))
	case []any:
		other := b.([]any)
		for i := range min(len(a), len(other)) {
			if c := CompareBoxed(a[i], other[i]); c != 0 {
				return c
			}
		}
		return len(a) - len(other)
	}
	return 0
}

// compareFloat orders like Java's Double.compare: NaN equals itself and is the largest value.
func compareFloat(a, b float64) int {
	switch {
	case math.IsNaN(a) && math.IsNaN(b):
		return 0
	case math.IsNaN(a):
		return 1
	case math.IsNaN(b):
		return -1
	}
	return cmp.Compare(a, b)
}
