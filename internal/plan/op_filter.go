package plan

import "weir.example/weir/internal/expr"

// Filter passes the rows for which Cond is true.
type Filter struct {
	opDefaults
	Cond expr.Node
}

// Name implements Op.
func (*Filter) Name() string { return "Filter" }

// Describe implements Op.
func (f *Filter) Describe(*Relation) string { return "Filter " + f.Cond.String() }

// Reads implements Op.
func (f *Filter) Reads(r *Relation, _ int, need func(int)) {
	needExpr(f.Cond, need)
	needPassed(r, len(r.Cols), need)
}

func (f *Filter) readsParts(r *Relation, _ int, need needPart) {
	needExprParts(f.Cond, need)
	needPassedParts(r, len(r.Cols), need)
}

func (f *Filter) forwardsWindow(r *Relation, _ *Window) bool { return !readsWindow(f.Cond, r) }

func (p *planner) filter(in *Relation, cond expr.Node) *Relation {
	r := p.relation(&Filter{Cond: cond}, in.Cols, in)
	r.Keyed, r.Hash, r.Key, r.Multiset, r.Scattered = in.Keyed, in.Hash, in.Key, in.Multiset, in.Scattered
	return r
}
