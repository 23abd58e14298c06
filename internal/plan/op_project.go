package plan

import (
	"fmt"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
)

// Project computes columns.
type Project struct {
	opDefaults
	Exprs []expr.Node // over the input's columns
}

// Name implements Op.
func (*Project) Name() string { return "Project" }

// Describe implements Op.
func (p *Project) Describe(r *Relation) string {
	var all []string
	for i, e := range p.Exprs {
		if !r.Needed[i] {
			continue
		}
		text := e.String()
		if text != r.Cols[i].Name {
			text += " AS " + r.Cols[i].Name
		}
		all = append(all, text)
	}
	return "Project " + strings.Join(all, ", ")
}

func (p *Project) brief(r *Relation) string {
	if text := strings.TrimPrefix(p.Describe(r), "Project "); len(text) <= 18 {
		return text
	}
	return fmt.Sprintf("%d columns", len(r.Cols))
}

// Reads implements Op.
func (p *Project) Reads(r *Relation, _ int, need func(int)) {
	for i, e := range p.Exprs {
		if r.Needed[i] {
			needExpr(e, need)
		}
	}
}

func (p *Project) readsParts(r *Relation, _ int, need needPart) {
	for i, e := range p.Exprs {
		if !r.Needed[i] {
			continue
		}
		if col, fields, ok := expr.Path(e); ok {
			need(col, fields, r.Part(i))
			continue
		}
		needExprParts(e, need)
	}
}

func (p *Project) pushFilter(_ *Relation, cond expr.Node) (below expr.Node, ok bool) {
	for c := range expr.Columns(cond) { // the condition would see another value than the column has
		if expr.Volatile(p.Exprs[c]) {
			return nil, false
		}
	}
	return expr.Fold(substitute(cond, p.Exprs)), true
}

// forwardsWindow reports whether the window's columns occur only as plain columns, not inside other
// expressions.
func (p *Project) forwardsWindow(r *Relation, w *Window) bool {
	for _, e := range p.Exprs {
		if _, plain := e.(*expr.Col); plain {
			continue
		}
		for c := range expr.Columns(e) {
			if r.Inputs[0].Cols[c].Window == w {
				return false
			}
		}
	}
	return true
}

func (*Project) copies(int) bool { return true }

// project computes columns over a relation. Columns that are passed through keep the input's
// properties.
func (p *planner) project(in *Relation, names []string, exprs []expr.Node) *Relation {
	cols := make([]Column, len(exprs))
	place := make(map[int]int) // input column -> first output column
	for i, e := range exprs {
		cols[i] = Column{Name: names[i], Type: e.Type(), Proctime: isProctime(e)}
		if c, ok := e.(*expr.Col); ok {
			from := in.Cols[c.Index]
			cols[i].Proctime = from.Proctime && !c.Cast
			cols[i].Rowtime, cols[i].Cast, cols[i].Window, cols[i].Role = from.Rowtime, from.Cast || c.Cast, from.Window, from.Role
			if _, seen := place[c.Index]; !seen {
				place[c.Index] = i
			}
		}
	}
	r := p.relation(&Project{Exprs: exprs}, cols, in)
	r.Keyed, r.Hash = through(in.Keyed, place), in.Hash
	for i, e := range exprs {
		if c, ok := injected(e); ok {
			if _, seen := place[c]; !seen {
				place[c] = i
			}
		}
	}
	r.Key, r.Multiset, r.Scattered = through(in.Key, place), in.Multiset, in.Scattered
	return r
}

// injected returns the column from which an expression computes a value that is another for each
// value of the column, so that what is unique before is unique after it.
func injected(e expr.Node) (input int, ok bool) {
	cast, ok := e.(*expr.Call)
	if !ok || cast.F.Name != "CAST" && cast.F.Name != "TRY_CAST" || !injective(cast.Args[0].Type(), cast.T) {
		return 0, false
	}
	if c, ok := cast.Args[0].(*expr.Col); ok {
		return c.Index, true
	}
	return injected(cast.Args[0])
}

// injective reports whether a cast gives different values for different ones. That of an instant to
// text or to local time does not, where clocks are set back. Nor does that of a time to text: a
// value may have more digits than its type, which the text does not show.
func injective(from, to column.Type) bool {
	text := to.Kind == column.String && to.Length == 0
	switch from.Kind {
	case column.TinyInt, column.SmallInt, column.Int, column.BigInt:
		return text || to.Integer() && from.Kind <= to.Kind // kinds are in order of size
	case column.Boolean:
		return text
	case column.Date:
		return text || to.Kind == column.Timestamp
	case column.Timestamp:
		return text && from.Precision == maxPrecision || to.Kind == column.Timestamp && from.Precision <= to.Precision
	case column.Decimal:
		return text || to.Kind == column.Decimal && from.Scale <= to.Scale && from.Precision-from.Scale <= to.Precision-to.Scale
	case column.String:
		return text && !from.Fixed
	}
	return false
}

// through maps columns to their new positions; nil if one is missing.
func through(cols []int, place map[int]int) []int {
	if cols == nil {
		return nil
	}
	mapped := make([]int, len(cols))
	for i, c := range cols {
		to, ok := place[c]
		if !ok {
			return nil
		}
		mapped[i] = to
	}
	return mapped
}
