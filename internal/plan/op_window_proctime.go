package plan

import (
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// Windows over PROCTIME() are those of the task that groups the rows, as in Flink: after an
// exchange, its clock may show another window than that of the task that has read a row. So the
// window function itself assigns nothing. Its columns are placeholders, which the GROUP BY replaces
// with those of a Window directly below its aggregate. Any other use of them is refused.

// unassigned is the value of a placeholder.
var unassigned = &expr.Function{Name: "a window over PROCTIME()", Volatile: true}

const onlyGrouped = "write GROUP BY window_start, window_end and further columns, directly over the window, and the rest in the enclosing query"

// placeholders adds the columns of a window over PROCTIME() to a relation.
func (p *planner) placeholders(where sql.Node, in *Relation, cols []Column) *Relation {
	n := len(in.Cols)
	exprs, all := in.first(n), names(in.Cols)
	for _, c := range cols[n:] {
		exprs, all = append(exprs, &expr.Call{F: unassigned, T: c.Type, Data: where.At()}), append(all, c.Name)
	}
	r := p.project(in, all, exprs)
	r.Cols = cols
	return r
}

// assignByClock puts the window of an aggregate's placeholders below the aggregate, whose input is
// in.
func (p *planner) assignByClock(where sql.Node, in *Relation, a *Aggregate) *Relation {
	assigned := *a.Window.Window
	assigned.unassigned = false
	n := len(in.Cols)
	g := *a.Window
	g.Window = &assigned
	in = p.windowed(where, in, &assigned, "window_start", "window_end", "window_time")
	a.Keys[g.Start], a.Keys[g.End] = n, n+1
	if g.Time >= 0 {
		a.Keys[g.Time] = n + 2
	}
	a.Window = &g
	return in
}

// checkByClock refuses operators over windows over PROCTIME() other than the first aggregate.
func checkByClock(where sql.Node, w *Window, what string) error {
	if !w.Proctime {
		return nil
	}
	return sql.Errorf(where, "%s windows over PROCTIME() is not supported", what).WithHint("use windows over a column with a watermark; Flink does not support this either")
}

// isProctime reports whether an expression over the columns of a scope is PROCTIME().
func (s *scope) isProctime(e expr.Node) bool {
	c, ok := e.(*expr.Col)
	return isProctime(e) || ok && !c.Cast && c.Index < len(s.cols) && s.cols[c.Index].Proctime
}

// isProctime reports whether an expression is PROCTIME() itself.
func isProctime(e expr.Node) bool {
	c, ok := e.(*expr.Call)
	return ok && c.F.SQLName() == "PROCTIME"
}

// proctime is the type of PROCTIME().
var proctime = column.Type{Kind: column.TimestampLTZ, Precision: 3, NotNull: true}
