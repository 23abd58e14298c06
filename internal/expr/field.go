package expr

import "weir.example/weir/internal/column"

// fieldIndex returns the position of the field that a FIELD reads.
func fieldIndex(n *Call) int {
	for i, f := range n.Args[0].Type().Fields {
		if f.Name == n.Args[1].(*Const).Value { //nolint:forcetypeassert // see bindField
			return i
		}
	}
	panic("bound to a field that the row does not have")
}

// Path returns the column and the positions of nested fields that an expression such as
// position.point.x reads, without a position for a plain column. ok is false for other expressions.
func Path(n Node) (col int, fields []int, ok bool) {
	switch n := n.(type) {
	case *Col:
		return n.Index, nil, true
	case *Call:
		if n.F.Name != "FIELD" {
			return 0, nil, false
		}
		if col, fields, ok = Path(n.Args[0]); ok {
			fields = append(fields, fieldIndex(n))
		}
	}
	return col, fields, ok
}

// WalkPaths calls fn for each column or field of a column that an expression reads. onlyNull means
// that it reads only whether the value is NULL.
func WalkPaths(n Node, fn func(col int, fields []int, onlyNull bool)) {
	if col, fields, ok := Path(n); ok {
		fn(col, fields, false)
		return
	}
	c, ok := n.(*Call)
	if !ok {
		return
	}
	if c.F.Name == "IS NULL" || c.F.Name == "IS NOT NULL" {
		if col, fields, ok := Path(c.Args[0]); ok {
			fn(col, fields, true)
			return
		}
	}
	for _, a := range c.Args {
		WalkPaths(a, fn)
	}
}

// compileField reads a field from its own column if the row is stored by fields, and from the boxed
// row otherwise.
func compileField(n *Call, args []*Compiled) (*Compiled, error) {
	i := fieldIndex(n)
	boxed := fromBoxed(n.T, func(b *column.Batch, row int) any {
		if v, ok := args[0].A(b, row); ok {
			return v.([]any)[i]
		}
		return nil
	})
	stored := storedField(n)
	if stored == nil {
		return boxed, nil
	}
	c := &Compiled{Type: n.T}
	switch n.T.Class() {
	case column.Ints:
		c.I = func(b *column.Batch, row int) (int64, bool) {
			if f := stored(b); f != nil {
				return f.I[row], !f.Null[row]
			}
			return boxed.I(b, row)
		}
	case column.Floats:
		c.F = func(b *column.Batch, row int) (float64, bool) {
			if f := stored(b); f != nil {
				return f.F[row], !f.Null[row]
			}
			return boxed.F(b, row)
		}
	case column.Texts:
		c.S = func(b *column.Batch, row int) (string, bool) {
			if f := stored(b); f != nil {
				return f.S[row], !f.Null[row]
			}
			return boxed.S(b, row)
		}
	case column.Boxes:
		c.A = func(b *column.Batch, row int) (any, bool) {
			if f := stored(b); f != nil {
				return f.Value(row), !f.Null[row]
			}
			return boxed.A(b, row)
		}
	}
	return c, nil
}

// storedField returns a function that finds the column of a field in a batch; its result is nil if
// the batch stores the row boxed. It returns nil for a field of a computed row.
func storedField(n Node) func(b *column.Batch) *column.Column {
	col, fields, ok := Path(n)
	if !ok {
		return nil
	}
	return func(b *column.Batch) *column.Column {
		c := b.Cols[col]
		for _, f := range fields {
			if c.Fields == nil {
				return nil
			}
			if c = c.Fields[f]; c == nil {
				panic("the plan does not read this field")
			}
		}
		return c
	}
}
