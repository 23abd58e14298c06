package operator

import (
	"fmt"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/plan"
)

// unnest repeats each row for each element of an array, map or multiset.
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
		err := u.each(value, func(element []any, ordinal int) {
			u.add(r, i, element, ordinal)
			found = true
			if u.out.N >= batchRows {
				u.emit(&u.out)
				u.out.clear()
			}
		})
		if err != nil {
			u.task.reject(r, i, fieldsOf(u.rel.Inputs[0]), err)
			continue
		}
		if !found && u.op.Outer {
			u.add(r, i, nil, 0)
		}
	}
	u.emit(&u.out)
}

// each calls fn with the values of the columns of each element. An error comes before the first.
func (u *unnest) each(value any, fn func(element []any, ordinal int)) error {
	of := u.op.Of.Type()
	switch v := value.(type) {
	case []any:
		for i, e := range v {
			if row, ok := elementRow(e, of.Elem); ok {
				fn(row, i+1)
			}
		}
	case *column.Dict:
		if of.Kind == column.Multiset {
			return eachTime(v, of.Key, fn)
		}
		for i, k := range v.Keys {
			fn([]any{k, v.Values[i]}, i+1)
		}
	}
	return nil
}

// elementRow returns an element as the values of its columns. A NULL ROW is skipped, as in Flink.
func elementRow(e any, t *column.Type) (row []any, ok bool) {
	if t.Kind == column.Row {
		row, ok = e.([]any)
		return row, ok
	}
	return []any{e}, true
}

// maxTimes is how many elements of a MULTISET are repeated: a record of a few bytes must not become
// more rows than a transaction can have.
const maxTimes = 1_000_000

// eachTime calls fn with each element of a MULTISET as often as it has it.
func eachTime(set *column.Dict, t *column.Type, fn func(element []any, ordinal int)) error {
	total := int64(0)
	for i, v := range set.Values {
		n, ok := v.(int64)
		if !ok {
			return fmt.Errorf("UNNEST: the number of %s is NULL", expr.Format(set.Keys[i], *t))
		}
		if total += max(0, n); total > maxTimes {
			return fmt.Errorf("UNNEST: the MULTISET has more than %d elements", maxTimes)
		}
	}
	for i, k := range set.Keys {
		row, ok := elementRow(k, t)
		for n, _ := set.Values[i].(int64); n > 0 && ok; n-- {
			fn(row, 0)
		}
	}
	return nil
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
