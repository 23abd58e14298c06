package operator

import (
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
)

// valuesJoin joins each row with the constant rows for which a condition is true.
type valuesJoin struct {
	base
	op       *plan.ValuesJoin
	cond     *expr.Compiled
	constant []*column.Column // of all constant rows
	pair     column.Batch     // the row of the input and the constant row that are being joined
	fields   []format.Field
	out      rowBatch
}

func newValuesJoin(b base, op *plan.ValuesJoin) (node, error) {
	j := &valuesJoin{base: b, op: op, out: rowBatch{Batch: batch(b.rel)}, fields: fieldsOf(b.rel.Inputs[0])}
	for _, c := range b.rel.Inputs[0].Cols {
		j.pair.Cols = append(j.pair.Cols, &column.Column{Type: c.Type})
	}
	for i, c := range op.Cols {
		all := &column.Column{Type: c.Type}
		for _, row := range op.Rows {
			all.Add(row[i])
		}
		j.constant = append(j.constant, all)
		j.pair.Cols = append(j.pair.Cols, &column.Column{Type: c.Type})
		j.fields = append(j.fields, format.Field{Name: c.Name, Type: c.Type})
	}
	j.pair.N = 1
	if op.Cond != nil {
		j.cond = b.task.compile(op.Cond)
	}
	return j, nil
}

func (j *valuesJoin) push(_ int, r *rowBatch) {
	for i := range r.N {
		j.join(r, i)
		if j.out.N >= batchRows {
			j.deliver()
		}
	}
	j.deliver()
}

func (j *valuesJoin) deliver() {
	j.emit(&j.out)
	j.out.clear()
}

// join emits the result of one row.
func (j *valuesJoin) join(r *rowBatch, i int) {
	found := false
	for k := range j.op.Rows {
		if !j.matches(r, i, k) {
			continue
		}
		if found = true; j.op.Kind.LeftOnly() {
			break
		}
		j.add(r, i, k)
	}
	switch {
	case found && j.op.Kind == plan.SemiJoin, !found && j.op.Kind.Keeps(0):
		j.add(r, i, -1)
	}
}

// matches reports whether the condition is true for a row and a constant row. A pair for which it
// can't be computed is set aside.
func (j *valuesJoin) matches(r *rowBatch, i, k int) bool {
	if j.cond == nil {
		return true
	}
	n := len(r.Cols)
	for c, to := range j.pair.Cols {
		from, row := (*column.Column)(nil), i
		if c < n {
			from = r.Cols[c]
		} else {
			from, row = j.constant[c-n], k
		}
		if to.Truncate(0); from != nil {
			to.AddFrom(from, row)
		}
	}
	ok := j.cond.True(&j.pair, 0)
	if j.pair.Err != nil {
		j.task.reject(&rowBatch{Batch: &j.pair, kinds: []rowKind{r.kind(i)}}, 0, j.fields, j.pair.Err)
		j.pair.Err = nil
		return false
	}
	return ok
}

// add emits a row with a constant row; -1 is none.
func (j *valuesJoin) add(r *rowBatch, i, k int) {
	n := len(r.Cols)
	for c, to := range j.out.Cols {
		switch {
		case to == nil:
		case c < n:
			to.AddFrom(r.Cols[c], i)
		case k < 0:
			to.AddNull()
		default:
			to.AddFrom(j.constant[c-n], k)
		}
	}
	j.out.N++
	j.out.note(r, i)
}
