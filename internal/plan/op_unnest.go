package plan

import (
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// Unnest emits a row for each element of an array, map or multiset: the columns of the input, then
// those of the element, and with Ordinality its position, starting at 1.
type Unnest struct {
	opDefaults
	Of         expr.Node // over the input
	Outer      bool      // emit rows without elements once, with NULL
	Ordinality bool
}

// Name implements Op.
func (*Unnest) Name() string { return "Unnest" }

// Describe implements Op.
func (u *Unnest) Describe(*Relation) string { return "Unnest " + u.Of.String() }

// Reads implements Op.
func (u *Unnest) Reads(r *Relation, _ int, need func(int)) {
	needExpr(u.Of, need)
	needPassed(r, len(r.Inputs[0].Cols), need)
}

func (u *Unnest) readsParts(r *Relation, _ int, need needPart) {
	needExprParts(u.Of, need)
	needPassedParts(r, len(r.Inputs[0].Cols), need)
}

func (u *Unnest) copies(int) bool { return u.Outer }

// unnest binds left CROSS JOIN UNNEST(array) AS alias (columns), and LEFT JOIN … ON TRUE.
func (p *planner) unnest(t *sql.Join, u *sql.Unnest, left *Relation, sc *scope) (*Relation, *scope, error) {
	if t.Kind != "CROSS" && t.Kind != "INNER" && t.Kind != "LEFT" || len(t.Using) > 0 || t.Natural {
		return nil, nil, sql.Errorf(t, "%s JOIN UNNEST is not supported", t.Kind).WithHint("write CROSS JOIN UNNEST(…) AS t (x), or LEFT JOIN UNNEST(…) AS t (x) ON TRUE")
	}
	of, err := (&binder{planner: p, scope: sc}).bind(u.Expr)
	if err != nil {
		return nil, nil, err
	}
	elements, err := elementColumns(u, of.Type())
	if err != nil {
		return nil, nil, err
	}
	if isMultiset(of.Type()) {
		p.differ(u, "multiset-elements", "a MULTISET with more than a million elements, or with an element whose number is NULL, is a dead letter; Flink emits all elements, and its job fails at NULL")
	}
	outer := t.Kind == "LEFT"
	cols := append([]Column{}, left.Cols...)
	for _, c := range elements {
		c.Type = c.Type.Nullable(outer || !c.Type.NotNull)
		cols = append(cols, c)
	}
	r := p.relation(&Unnest{Of: expr.Fold(of), Outer: outer, Ordinality: u.Ordinality}, cols, left)
	r.Keyed, r.Hash, r.Multiset, r.Scattered = left.Keyed, left.Hash, left.Updating, left.Scattered
	both := &scope{cols: cols, tables: append(append([]scopeTable{}, sc.tables...), scopeTable{u.Alias.Name.Name, len(left.Cols), len(cols)})}
	both.inherit(sc, 0)
	if t.On == nil {
		return r, both, nil
	}
	cond, err := (&binder{planner: p, scope: both}).condition(t.On, "ON")
	if err != nil {
		return nil, nil, err
	}
	if k, ok := cond.(*expr.Const); ok && k.Value == true {
		return r, both, nil
	}
	if outer {
		return nil, nil, sql.Errorf(t.On, "LEFT JOIN UNNEST requires ON TRUE").WithHint("move the condition to WHERE, or to a CASE")
	}
	return p.filter(r, cond), both, nil
}

// elementColumns returns the columns of the elements of an array, map or multiset: the element, the
// fields of a ROW, or key and value. An element without a name gets that of the alias.
func elementColumns(u *sql.Unnest, of column.Type) ([]Column, error) {
	var element *column.Type
	var cols []Column
	switch of.Kind {
	case column.Array:
		element = of.Elem
	case column.Multiset:
		element = of.Key
	case column.Map:
		cols = []Column{{Type: *of.Key}, {Type: *of.Elem}}
	default:
		return nil, sql.Errorf(u.Expr, "UNNEST requires an array, a map or a multiset, got %s", of.Nullable(true))
	}
	if element != nil {
		cols = []Column{{Type: *element}}
	}
	if element != nil && element.Kind == column.Row {
		cols = nil
		for _, f := range element.Fields {
			cols = append(cols, Column{Name: f.Name, Type: f.Type.Nullable(!element.NotNull || !f.Type.NotNull)})
		}
	}
	if u.Ordinality && of.Kind == column.Multiset {
		return nil, sql.Errorf(u, "WITH ORDINALITY of a MULTISET is not supported: its elements have no order").WithHint("leave it out, or use ARRAY_AGG instead of COLLECT")
	}
	if u.Ordinality {
		cols = append(cols, Column{Name: "ORDINALITY", Type: notNull(column.Int)})
	}
	names := u.Alias.Columns
	if len(names) == 0 && len(cols) == 1 && cols[0].Name == "" && u.Alias.Name.Name != "" {
		names = []sql.Ident{u.Alias.Name}
	}
	switch {
	case len(names) == 0 && cols[0].Name == "":
		return nil, sql.Errorf(u, "the columns of UNNEST need names").WithHint("write UNNEST(…) AS t (%s)", map[bool]string{true: "k, v", false: "x"}[of.Kind == column.Map])
	case len(names) > 0 && len(names) != len(cols):
		return nil, sql.Errorf(u, "UNNEST yields %d column(s), but %d names are given", len(cols), len(names))
	}
	for i, n := range names {
		cols[i].Name = n.Name
	}
	return cols, nil
}
