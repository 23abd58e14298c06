package operator

import (
	"weir/expr"
	"weir/plan"
)

// unnest gives each row once for each element of an array or map.
type unnest struct {
	base
	op    *plan.Unnest
	of    *expr.Compiled
	width int // columns of the input
	out   rows
}

func newUnnest(b base, op *plan.Unnest) *unnest {
	return &unnest{base: b, op: op, of: expr.MustCompile(op.Of), width: len(b.rel.Inputs[0].Cols), out: rows{Batch: batch(b.rel)}}
}

func (u *unnest) push(_ int, r *rows) {
	u.out.clear()
	for i := range r.N {
		value := u.of.Box(r.Batch, i)
		if r.Err != nil {
			u.task.reject(r, i, r.Err)
			r.Err = nil
			continue
		}
		n := elements(value)
		for e := range n {
			u.add(r, i, element(value, e), e+1)
		}
		if n == 0 && u.op.Outer {
			u.add(r, i, nil, 0)
		}
		if u.out.N >= batchRows {
			u.emit(&u.out)
			u.out.clear()
		}
	}
	u.emit(&u.out)
}

func elements(value any) int {
	switch v := value.(type) {
	case []any:
		return len(v)
	case *expr.Dict:
		return len(v.Keys)
	}
	return 0
}

// element is one element as the values of its columns, in their order.
func element(value any, i int) []any {
	if d, ok := value.(*expr.Dict); ok {
		return []any{d.Keys[i], d.Values[i]}
	}
	return []any{value.([]any)[i]}
}

// add appends a row of the input with an element; nil is none.
func (u *unnest) add(r *rows, i int, element []any, ordinal int) {
	if t := u.op.Of.Type(); t.Kind == expr.Array && t.Elem.Kind == expr.Row && element != nil {
		element, _ = element[0].([]any) // a NULL row is NULL in all its fields
	}
	for c, to := range u.out.Cols {
		switch {
		case to == nil:
		case c < u.width:
			to.AddFrom(r.Cols[c], i)
		case u.op.Ordinality && c == len(u.out.Cols)-1 && ordinal > 0:
			to.AddInt(int64(ordinal))
		case c-u.width < len(element):
			to.Add(element[c-u.width])
		default:
			to.AddNull()
		}
	}
	u.out.N++
	u.out.note(r, i)
}
