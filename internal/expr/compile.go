package expr

import (
	"fmt"

	"weir.example/weir/internal/column"
)

// Compiled computes an expression for one row of a batch. Only the closure for the class of Type is
// set. Its second result is false for NULL. On failure it sets Batch.Err.
type Compiled struct {
	Type column.Type
	I    func(b *column.Batch, row int) (int64, bool)
	F    func(b *column.Batch, row int) (float64, bool)
	S    func(b *column.Batch, row int) (string, bool)
	A    func(b *column.Batch, row int) (any, bool)
}

// Compile compiles an expression to closures.
func Compile(n Node) (*Compiled, error) {
	switch n := n.(type) {
	case *Col:
		return compileColumn(n), nil
	case *Const:
		return compileConst(n), nil
	case *Call:
		args := make([]*Compiled, len(n.Args))
		for i, a := range n.Args {
			c, err := Compile(a)
			if err != nil {
				return nil, err
			}
			args[i] = c
		}
		if n.F.compile != nil {
			return n.F.compile(n, args)
		}
		return compileBoxed(n, args), nil
	}
	return nil, fmt.Errorf("no expression: %T", n)
}

// MustCompile is like Compile but panics on error. It is for expressions that have already been
// checked.
func MustCompile(n Node) *Compiled {
	c, err := Compile(n)
	if err != nil {
		panic(err)
	}
	return c
}

func compileColumn(n *Col) *Compiled {
	i := n.Index
	c := &Compiled{Type: n.T}
	switch n.T.Class() {
	case column.Ints:
		c.I = func(b *column.Batch, row int) (int64, bool) {
			col := b.Cols[i]
			return col.I[row], !col.Null[row]
		}
	case column.Floats:
		c.F = func(b *column.Batch, row int) (float64, bool) {
			col := b.Cols[i]
			return col.F[row], !col.Null[row]
		}
	case column.Texts:
		c.S = func(b *column.Batch, row int) (string, bool) {
			col := b.Cols[i]
			return col.S[row], !col.Null[row]
		}
	case column.Boxes:
		c.A = func(b *column.Batch, row int) (any, bool) {
			col := b.Cols[i]
			if col.Fields != nil {
				return col.Value(row), !col.Null[row]
			}
			return col.A[row], !col.Null[row]
		}
	}
	return c
}

func compileConst(n *Const) *Compiled {
	c := &Compiled{Type: n.T}
	ok := n.Value != nil
	switch n.T.Class() {
	case column.Ints:
		v := column.UnboxInt(n.Value)
		c.I = func(*column.Batch, int) (int64, bool) { return v, ok }
	case column.Floats:
		v, _ := n.Value.(float64)
		c.F = func(*column.Batch, int) (float64, bool) { return v, ok }
	case column.Texts:
		v, _ := n.Value.(string)
		c.S = func(*column.Batch, int) (string, bool) { return v, ok }
	case column.Boxes:
		v := n.Value
		c.A = func(*column.Batch, int) (any, bool) { return v, ok }
	}
	return c
}

// Box returns the boxed value; nil is NULL.
func (c *Compiled) Box(b *column.Batch, row int) any {
	switch {
	case c.I != nil:
		v, ok := c.I(b, row)
		if !ok {
			return nil
		}
		if c.Type.Kind == column.Boolean {
			return v != 0
		}
		return v
	case c.F != nil:
		if v, ok := c.F(b, row); ok {
			return v
		}
	case c.S != nil:
		if v, ok := c.S(b, row); ok {
			return v
		}
	default:
		if v, ok := c.A(b, row); ok {
			return v
		}
	}
	return nil
}

// Into appends the value for a row to a column of the same class.
func (c *Compiled) Into(to *column.Column, b *column.Batch, row int) {
	ok := false
	switch {
	case c.I != nil:
		var v int64
		v, ok = c.I(b, row)
		to.I = append(to.I, v)
	case c.F != nil:
		var v float64
		v, ok = c.F(b, row)
		to.F = append(to.F, v)
	case c.S != nil:
		var v string
		v, ok = c.S(b, row)
		to.S = append(to.S, v)
	default:
		var v any
		if v, ok = c.A(b, row); to.Fields != nil {
			to.Add(v)
			return
		}
		to.A = append(to.A, v)
	}
	to.Null = append(to.Null, !ok)
}

// True reports whether a condition is true; NULL counts as false.
func (c *Compiled) True(b *column.Batch, row int) bool {
	v, ok := c.I(b, row)
	return ok && v != 0
}

// fromBoxed wraps a boxed computation in the closure for a type's class.
func fromBoxed(t column.Type, eval func(b *column.Batch, row int) any) *Compiled {
	c := &Compiled{Type: t}
	switch t.Class() {
	case column.Ints:
		c.I = func(b *column.Batch, row int) (int64, bool) {
			v := eval(b, row)
			return column.UnboxInt(v), v != nil
		}
	case column.Floats:
		c.F = func(b *column.Batch, row int) (float64, bool) {
			v, ok := eval(b, row).(float64)
			return v, ok
		}
	case column.Texts:
		c.S = func(b *column.Batch, row int) (string, bool) {
			v, ok := eval(b, row).(string)
			return v, ok
		}
	case column.Boxes:
		c.A = func(b *column.Batch, row int) (any, bool) {
			v := eval(b, row)
			return v, v != nil
		}
	}
	return c
}

// compileBoxed compiles a function on boxed values. Unless NullArgs is set, the result is NULL if
// any argument is.
func compileBoxed(n *Call, args []*Compiled) *Compiled {
	f := n.F
	return fromBoxed(n.T, func(b *column.Batch, row int) any {
		values := make([]any, len(args))
		for i, a := range args {
			values[i] = a.Box(b, row)
			if values[i] == nil && !f.NullArgs {
				return nil
			}
		}
		v, err := f.eval(n, values)
		if err == nil {
			err = withinBudget(v)
		}
		if err != nil {
			b.Fail("%s: %w", f.Name, err)
			return nil
		}
		return v
	})
}

// boolInt returns the representation of a boolean in a column.
func boolInt(v bool) int64 {
	if v {
		return 1
	}
	return 0
}
