package operator

import (
	"errors"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/plan"
)

// Lookups answers lookups in the tables of databases. Its answers are an input of the transaction,
// like its time: until the transaction ends, all tasks of a worker get the same answer for a key.
type Lookups interface {
	// Find returns the rows of each key of a plan.LookupJoin, in the order of the keys, which are
	// distinct. The rows belong to Lookups. After an error, which is a *LookupError, the
	// transaction must be aborted; its records are computed again in another one.
	Find(r *plan.Relation, keys []LookupKey) ([][]LookupRow, error)
}

// LookupKey is a key without NULLs. Keys of a table are equal if their IDs are.
type LookupKey struct {
	ID     string
	Values []any // of plan.LookupJoin.Left, as column.Column.Add takes them
}

// LookupRow is a row of a table.
type LookupRow struct {
	Values []any // of plan.LookupJoin.Columns
	Err    error // if the type of a column does not hold its value
}

// LookupError says that a database has not answered.
type LookupError struct {
	Table string
	Err   error
}

func (e *LookupError) Error() string {
	return "look up rows of table " + e.Table + ": " + e.Err.Error()
}
func (e *LookupError) Unwrap() error { return e.Err }

var errNoLookups = errors.New("there is no connection to databases here")

// lookupJoin joins each row with the rows of a table that have its key. It asks for the keys of a
// batch at once.
type lookupJoin struct {
	base
	op      *plan.LookupJoin
	cond    *expr.Compiled
	columns []int // of the table, that answers have
	width   int   // columns of the input
	out     rowBatch

	places map[string]int // of the keys of this batch
	keys   []LookupKey
	of     []int // place of each row's key; -1: it has NULLs
	key    []byte
}

func newLookupJoin(b base, op *plan.LookupJoin) (node, error) {
	j := &lookupJoin{base: b, op: op, columns: op.Columns(b.rel), width: len(b.rel.Inputs[0].Cols), places: make(map[string]int)}
	j.out.Batch = batch(b.rel)
	if op.Cond != nil {
		j.cond = b.task.compile(op.Cond)
		for c := range expr.Columns(op.Cond) {
			if j.out.Cols[c] == nil {
				j.out.Cols[c] = newColumn(b.rel, c)
			}
		}
	}
	return j, nil
}

func (j *lookupJoin) push(_ int, r *rowBatch) {
	if j.task.err != nil {
		return // the transaction is aborted
	}
	found, err := j.find(r)
	if err != nil {
		j.task.fail(err)
		return
	}
	for i := range r.N {
		var rows []LookupRow
		if j.of[i] >= 0 {
			rows = found[j.of[i]]
		}
		j.join(r, i, rows)
	}
	j.deliver()
}

// find looks up the keys of all rows.
func (j *lookupJoin) find(r *rowBatch) ([][]LookupRow, error) {
	clear(j.places)
	j.keys, j.of = j.keys[:0], j.of[:0]
	for i := range r.N {
		j.of = append(j.of, j.place(r.Batch, i))
	}
	if len(j.keys) == 0 {
		return nil, nil
	}
	if j.task.lookups == nil {
		return nil, &LookupError{j.op.Table.Name, errNoLookups}
	}
	return j.task.lookups.Find(j.rel, j.keys)
}

// place returns the place of a row's key in keys; -1 if it matches nothing, because it has a NULL.
func (j *lookupJoin) place(b *column.Batch, row int) int {
	for _, c := range j.op.Left {
		if b.Cols[c].Null[row] {
			return -1
		}
	}
	j.key = appendKey(j.key[:0], b, j.op.Left, row)
	at, known := j.places[string(j.key)]
	if known {
		return at
	}
	k := LookupKey{ID: string(j.key), Values: make([]any, len(j.op.Left))}
	for i, c := range j.op.Left {
		k.Values[i] = b.Cols[c].Value(row)
	}
	at = len(j.keys)
	j.keys, j.places[k.ID] = append(j.keys, k), at
	return at
}

// join emits a row with each of the rows that were found for it. If the database has a value that
// SQL can't represent, the row is set aside as a whole.
func (j *lookupJoin) join(r *rowBatch, i int, rows []LookupRow) {
	for _, found := range rows {
		if found.Err != nil {
			j.task.reject(r, i, fieldsOf(j.rel.Inputs[0]), found.Err)
			return
		}
	}
	matched := false
	for _, found := range rows {
		matched = j.match(r, i, found.Values) || matched
		if j.out.N >= batchRows {
			j.deliver()
		}
	}
	if !matched && j.op.Outer {
		j.add(r, i, nil)
	}
}

// match emits a row with one of the table, unless the condition is not true for them. It reports
// whether the row needs no other result: a pair for which the condition can't be computed is set
// aside.
func (j *lookupJoin) match(r *rowBatch, i int, found []any) bool {
	j.add(r, i, found)
	if j.cond == nil {
		return true
	}
	ok := j.cond.True(j.out.Batch, j.out.N-1)
	failed := j.out.Err != nil
	if failed {
		j.task.reject(&j.out, j.out.N-1, fieldsOf(j.rel), j.out.Err)
		j.out.Err = nil
	}
	if !ok || failed {
		j.dropLast(r)
	}
	return ok || failed
}

// add appends a row with one of the table; nil is none.
func (j *lookupJoin) add(r *rowBatch, i int, found []any) {
	for c := range j.width {
		if to := j.out.Cols[c]; to != nil {
			to.AddFrom(r.Cols[c], i)
		}
	}
	for k, c := range j.columns {
		switch to := j.out.Cols[j.width+c]; {
		case to == nil:
		case found == nil:
			to.AddNull()
		default:
			to.Add(found[k])
		}
	}
	j.out.N++
	j.out.note(r, i)
}

// dropLast removes the last row, which came from one of r.
func (j *lookupJoin) dropLast(r *rowBatch) {
	j.out.N--
	for _, c := range j.out.Cols {
		if c != nil {
			c.Truncate(j.out.N)
		}
	}
	n := j.out.N
	cut := func(has bool) int {
		if has {
			return n
		}
		return 0
	}
	o := &j.out
	o.kinds, o.records, o.watermarks = o.kinds[:cut(r.kinds != nil)], o.records[:cut(r.records != nil)], o.watermarks[:cut(r.watermarks != nil)]
	o.times, o.lanes, o.more = o.times[:cut(r.times != nil)], o.lanes[:cut(r.lanes != nil)], o.more[:cut(r.more != nil)]
}

func (j *lookupJoin) deliver() {
	j.emit(&j.out)
	j.out.clear()
}
