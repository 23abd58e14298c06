package plan

import (
	"slices"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// The value of a volatile function, such as NOW() or UUID(), is known only to the transaction in
// which it is computed. A row that is retracted later must be retracted with the values that it
// had. That holds if a volatile expression is computed once for each row, when the row arrives, and
// is stored with it from then on. It does not hold for rows that are updated: their old versions
// pass the same expressions again, in another transaction. checkVolatile refuses these, except for
// columns of an upsert table outside of its key, since a row of such a table is replaced whatever
// the other columns of the old one were (Flink's StreamNonDeterministicUpdatePlanVisitor).

// usesProctime is the hint for times that only the clock of this transaction knows.
const usesProctime = "use the record's own timestamp, which doesn't change: declare a column ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' with WATERMARK FOR ts AS ts"

// volatile binds a call of a volatile function.
func (b *binder) volatile(e *sql.Call, call *expr.Call) {
	call.Data = e.Pos
	name := call.F.SQLName()
	if name == "CURRENT_WATERMARK" {
		b.planner.differ(e, "current-watermark", "CURRENT_WATERMARK is the watermark of the row's own partition before the row; Flink's depends on when the last watermark was sent")
		return
	}
	b.planner.differ(e, "transaction-time", "%s is evaluated for the transaction: the clock has one value for all its rows, and random values follow from its seed. "+
		"Rows are still written exactly once, but the same records give other rows when they are read again; Flink evaluates it for each row", name)
	if !slices.Contains(b.planner.program.Volatile, name) {
		b.planner.program.Volatile = append(b.planner.program.Volatile, name)
		slices.Sort(b.planner.program.Volatile)
	}
}

// volatileCall reports the name under which a call is bound, and refuses forms of the volatile
// functions whose values could not be kept apart from those of other transactions.
func volatileName(e *sql.Call, name string) (string, error) {
	switch {
	case name == "UNIX_TIMESTAMP" && len(e.Args) == 0:
		return "UNIX_TIMESTAMP NOW", nil
	case name == "RAND" && len(e.Args) > 0:
		return "", sql.Errorf(e, "RAND with a seed is not supported").WithHint("its sequence would begin again with each transaction; write RAND()")
	case name == "RAND_INTEGER" && len(e.Args) > 1:
		return "", sql.Errorf(e, "RAND_INTEGER with a seed is not supported").WithHint("its sequence would begin again with each transaction; write RAND_INTEGER(bound)")
	}
	return name, nil
}

// positionOf returns where a volatile call is written.
func positionOf(call *expr.Call) sql.Pos {
	at, _ := call.Data.(sql.Pos)
	return at
}

// checkVolatile refuses volatile expressions whose rows could not be retracted as they were
// emitted, and those that an operator would evaluate more than once.
func (p *planner) checkVolatile() error {
	readers := make(map[*Relation][]*Relation)
	p.program.visit(func(r *Relation) {
		for _, in := range r.Inputs {
			readers[in] = append(readers[in], r)
		}
	})
	var err error
	p.program.visit(func(r *Relation) {
		if err == nil {
			err = checkVolatileIn(r, readers)
		}
	})
	return err
}

func checkVolatileIn(r *Relation, readers map[*Relation][]*Relation) error {
	switch op := r.Op.(type) {
	case *Filter:
		return checkVolatileRows(r, op.Cond, r.Inputs[0].Updating)
	case *Scan:
		return checkVolatileRows(r, op.Filter, r.Updating)
	case *Unnest:
		return checkVolatileRows(r, op.Of, r.Inputs[0].Updating)
	case *Project:
		for i, e := range op.Exprs {
			call := expr.FindVolatile(e)
			if call == nil || !r.Needed[i] {
				continue
			}
			if call.F == unassigned {
				return sql.Errorf(positionOf(call), "a window over PROCTIME() is supported only where it is grouped").WithHint(onlyGrouped)
			}
			if err := checkVolatileRows(r, e, r.Inputs[0].Updating && !onlyWritten(r, i, readers)); err != nil {
				return err
			}
		}
		return nil
	}
	if cond := joinCondition(r); cond != nil {
		if call := expr.FindVolatile(cond); call != nil {
			return sql.Errorf(positionOf(call), "%s in the condition of a join is not supported", call.F.SQLName()).
				WithHint("compute it as a column in a subquery before the join, and compare that column")
		}
	}
	return nil
}

// checkVolatileRows refuses a volatile expression over rows that are retracted, and
// CURRENT_WATERMARK where rows don't carry their own.
func checkVolatileRows(r *Relation, e expr.Node, retracted bool) error {
	call := expr.FindVolatile(e)
	if call == nil {
		return nil
	}
	name := call.F.SQLName()
	if retracted {
		return sql.Errorf(positionOf(call), "%s over rows that are updated is not supported: an old row would be retracted with another value than it was emitted with", name).
			WithHint("compute it for each row before the rows are grouped or joined, such as SELECT k, MAX(seen) FROM (SELECT *, NOW() AS seen FROM t) GROUP BY k; " +
				"or write it to a column outside of the primary key of an upsert table")
	}
	if !expr.Watermarked(e) {
		return nil
	}
	in := r
	if len(r.Inputs) > 0 {
		in = r.Inputs[0]
	}
	var wrong error
	expr.Walk(e, func(n expr.Node) {
		c, ok := n.(*expr.Call)
		if !ok || c.F.SQLName() != "CURRENT_WATERMARK" || wrong != nil {
			return
		}
		col, isCol := c.Args[0].(*expr.Col)
		switch {
		case !isCol || !in.Cols[col.Index].Rowtime:
			wrong = sql.Errorf(positionOf(c), "CURRENT_WATERMARK expects the column with the watermark, unchanged").
				WithHint("declare WATERMARK FOR the column in its CREATE TABLE")
		case !ownWatermarks(in):
			wrong = sql.Errorf(positionOf(c), "CURRENT_WATERMARK of computed rows is not supported").
				WithHint("call it in the query that reads the table, before grouping, joining or sorting")
		}
	})
	return wrong
}

// ownWatermarks reports whether the rows of a relation carry the watermark before them.
func ownWatermarks(r *Relation) bool {
	switch r.Op.(type) {
	case *Scan:
		return true
	case *Filter, *Project, *Exchange, *Union, *Window, *Unnest, *LookupJoin:
		return !slices.ContainsFunc(r.Inputs, func(in *Relation) bool { return !ownWatermarks(in) })
	}
	return false
}

// onlyWritten reports whether a column is only written to upsert tables, outside of their keys.
func onlyWritten(r *Relation, c int, readers map[*Relation][]*Relation) bool {
	for _, reader := range readers[r] {
		switch op := reader.Op.(type) {
		case *Project:
			for i, e := range op.Exprs {
				if reader.Needed[i] && expr.Columns(e)[c] && !onlyWritten(reader, i, readers) {
					return false
				}
			}
		case *Filter:
			if expr.Columns(op.Cond)[c] || !onlyWritten(reader, c, readers) {
				return false
			}
		case *Insert:
			if !op.Table.Upsert || slices.Contains(op.keyColumns(), c) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// joinCondition returns the condition of a join beside its keys; nil if r is no join.
func joinCondition(r *Relation) expr.Node {
	switch op := r.Op.(type) {
	case *TemporalJoin:
		return op.Cond
	case *LookupJoin:
		return op.Cond
	case *ValuesJoin:
		return op.Cond
	case *WindowJoin:
		return op.Cond
	case *IntervalJoin:
		return op.Cond
	case *RegularJoin:
		return op.Cond
	}
	return nil
}
