package operator

import (
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/plan"
)

// unnest repeats each row for each element of an array or map.
type unnest struct {
	base
	op    *plan.Unnest
	of    *expr.Compiled
	width int // columns of the input
	out   rowBatch
}

func newUnnest(b base, op *plan.Unnest) (node, error) {
	return &unnest{base: b, op: op, of: b.task.compile(op.Of), width: len(b.rel.Inputs[0].Cols), out: rowBatch{Batch: batch(b.rel)}}, nil
}

func (u *unnest) push(_ int, r *rowBatch) {
	u.out.clear()
	for i := range r.N {
		u.task.moment.Watermark = int64(r.watermark(i, minWatermark))
		value := u.of.Box(r.Batch, i)
		if r.Err != nil {
			u.task.reject(r, i, fieldsOf(u.rel.Inputs[0]), r.Err)
			r.Err = nil
			continue
		}
		found := false
		for e := range elements(value) {
			if row, ok := u.element(value, e); ok {
				u.add(r, i, row, e+1)
				found = true
			}
		}
		if !found && u.op.Outer {
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
	case *column.Dict:
		return len(v.Keys)
	}
	return 0
}

// element returns one element as the values of its columns. A NULL ROW is skipped, as in Flink.
func (u *unnest) element(value any, i int) (row []any, ok bool) {
	if d, isMap := value.(*column.Dict); isMap {
		return []any{d.Keys[i], d.Values[i]}, true
	}
	e := value.([]any)[i]
	if u.op.Of.Type().Elem.Kind == column.Row {
		row, ok = e.([]any)
		return row, ok
	}
	return []any{e}, true
}

// add appends a row of the input with an element; nil is none.
func (u *unnest) add(r *rowBatch, i int, element []any, ordinal int) {
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
