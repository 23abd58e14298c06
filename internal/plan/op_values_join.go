package plan

import (
	"fmt"
	"slices"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// Values is the rows of VALUES. It never runs: a join with it becomes a ValuesJoin, and a query
// that uses it otherwise is refused.
type Values struct {
	opDefaults
	Rows  [][]any
	where sql.Node
}

// Name implements Op.
func (*Values) Name() string { return "Values" }

// Describe implements Op.
func (v *Values) Describe(*Relation) string { return fmt.Sprintf("Values of %d rows", len(v.Rows)) }

// Reads implements Op.
func (*Values) Reads(*Relation, int, func(int)) {}

// values binds VALUES (…), (…).
func (p *planner) values(v *sql.Values) (*Relation, error) {
	nodes := make([][]expr.Node, len(v.Rows))
	var types []column.Type
	for i, row := range v.Rows {
		if len(row) != len(v.Rows[0]) {
			return nil, sql.Errorf(v, "row %d of VALUES has %d value(s), but row 1 has %d", i+1, len(row), len(v.Rows[0]))
		}
		for k, e := range row {
			n, err := (&binder{planner: p}).bind(e)
			if err != nil {
				return nil, err
			}
			if n = expr.Fold(n); !isConst(n) {
				return nil, sql.Errorf(e, "VALUES requires constants")
			}
			nodes[i] = append(nodes[i], n)
			if i == 0 {
				types = append(types, n.Type())
				continue
			}
			common, ok := column.Common(types[k], n.Type())
			if !ok {
				return nil, sql.Errorf(e, "column %d of VALUES is %s, but row %d has %s", k+1, types[k].Nullable(true), i+1, n.Type().Nullable(true))
			}
			types[k] = common
		}
	}
	op := &Values{where: v}
	for _, row := range nodes {
		values := make([]any, len(row))
		for k, n := range row {
			c, ok := expr.Fold(expr.CastTo(n, types[k], p.program.Zone)).(*expr.Const)
			if !ok {
				return nil, sql.Errorf(v, "VALUES can't convert %s to %s", n.Type().Nullable(true), types[k].Nullable(true))
			}
			values[k] = c.Value
		}
		op.Rows = append(op.Rows, values)
	}
	cols := make([]Column, len(types))
	for k, t := range types {
		if t.Kind == column.Null {
			return nil, sql.Errorf(v.Rows[0][k], "NULL has no type here").WithHint("write CAST(NULL AS …)")
		}
		cols[k] = Column{Name: fmt.Sprintf("EXPR$%d", k), Type: t}
	}
	return p.relation(op, cols), nil
}

func isConst(n expr.Node) bool {
	_, ok := n.(*expr.Const)
	return ok
}

// constantRows returns the rows of a relation that is computed from VALUES alone.
func constantRows(r *Relation) (rows [][]any, ok bool) {
	compute := func(n expr.Node, row []any) (any, bool) {
		k, ok := expr.Fold(replaceColumns(n, func(c *expr.Col) expr.Node {
			return &expr.Const{Value: row[c.Index], T: c.T}
		})).(*expr.Const)
		if !ok {
			return nil, false
		}
		return k.Value, true
	}
	switch op := r.Op.(type) {
	case *Values:
		return op.Rows, true
	case *Union:
		for _, in := range r.Inputs {
			more, ok := constantRows(in)
			if !ok {
				return nil, false
			}
			rows = append(rows, more...)
		}
		return rows, true
	case *Filter:
		below, ok := constantRows(r.Inputs[0])
		if !ok {
			return nil, false
		}
		for _, row := range below {
			v, ok := compute(op.Cond, row)
			if !ok {
				return nil, false
			}
			if v == true {
				rows = append(rows, row)
			}
		}
		return rows, true
	case *Project:
		below, ok := constantRows(r.Inputs[0])
		if !ok {
			return nil, false
		}
		for _, row := range below {
			values := make([]any, len(op.Exprs))
			for i, n := range op.Exprs {
				if values[i], ok = compute(n, row); !ok {
					return nil, false
				}
			}
			rows = append(rows, values)
		}
		return rows, true
	}
	return nil, false
}

// checkValues refuses VALUES that are not joined to a stream.
func (p *planner) checkValues() error {
	var err error
	p.program.visit(func(r *Relation) {
		if v, ok := r.Op.(*Values); ok && err == nil {
			err = sql.Errorf(v.where, "VALUES is supported only in a join with a stream").WithHint("a pipeline reads topics: produce the rows to a topic")
		}
	})
	return err
}

// ValuesJoin joins each row of its input with constant rows, without state and without moving rows.
// Its columns are those of the input followed by those of the constant rows.
type ValuesJoin struct {
	opDefaults
	Kind JoinKind // never keeps constant rows without a match
	Rows [][]any
	Cols []Column  // of Rows
	Cond expr.Node // over the input's columns and Cols; nil is true
}

// Name implements Op.
func (*ValuesJoin) Name() string { return "ValuesJoin" }

// Describe implements Op.
func (j *ValuesJoin) Describe(*Relation) string {
	on := "always"
	if j.Cond != nil {
		on = j.Cond.String()
	}
	return fmt.Sprintf("%s join with %d constant rows on %s", (&JoinOn{Kind: j.Kind}).word(), len(j.Rows), on)
}

// Reads implements Op.
func (j *ValuesJoin) Reads(r *Relation, _ int, need func(int)) {
	n := len(r.Inputs[0].Cols)
	needPassed(r, n, need)
	needExpr(j.Cond, func(c int) {
		if c < n {
			need(c)
		}
	})
}

func (j *ValuesJoin) copies(int) bool { return j.Kind == LeftJoin }

// valuesJoin returns the join if a side is constant; nil if none is.
func (b *joinBinding) valuesJoin(on []expr.Node) (*Relation, error) {
	rows, ok := constantRows(b.right)
	stream, constant, kind := b.left, b.right, b.on.Kind
	swapped := false
	if !ok {
		if rows, ok = constantRows(b.left); !ok {
			return nil, nil
		}
		stream, constant, swapped = b.right, b.left, true
		kind = map[JoinKind]JoinKind{InnerJoin: InnerJoin, RightJoin: LeftJoin}[kind]
	}
	if kind == "" || kind.Keeps(1) {
		return nil, sql.Errorf(b.where, "a join that keeps rows of VALUES without a match is not supported").
			WithHint("write the rows to the topic of an upsert-kafka table, and join that")
	}
	width := len(stream.Cols) + len(constant.Cols)
	swap := func(c int) int { return (c + len(stream.Cols)) % width } // from constant, stream to stream, constant
	cond := conjunction(on)
	if swapped && cond != nil {
		cond = renumbered(cond, swap)
	}
	j := &ValuesJoin{Kind: kind, Rows: rows, Cols: constant.Cols, Cond: cond}
	r := b.valuesRelation(j, stream)
	if !swapped {
		return r, nil
	}
	exprs, named := make([]expr.Node, width), make([]string, width)
	for i := range width {
		exprs[i], named[i] = r.col(swap(i)), r.Cols[swap(i)].Name
	}
	return b.planner.project(r, named, exprs), nil
}

// valuesRelation returns the join of a stream with constant rows. As in Flink, its rows have no
// watermark column, and those of an outer or anti join count as updating.
func (b *joinBinding) valuesRelation(j *ValuesJoin, stream *Relation) *Relation {
	cols := slices.Clone(stream.Cols)
	if !j.Kind.LeftOnly() {
		for _, c := range j.Cols {
			c.Type = c.Type.Nullable(j.Kind == LeftJoin || !c.Type.NotNull)
			cols = append(cols, c)
		}
	}
	for i := range cols {
		cols[i].Rowtime, cols[i].Window, cols[i].Role = false, nil, NoRole
	}
	r := b.planner.relation(j, cols, stream)
	r.Updating = stream.Updating || j.Kind == LeftJoin || j.Kind == AntiJoin
	r.Keyed, r.Hash, r.Scattered, r.Multiset = stream.Keyed, stream.Hash, stream.Scattered, stream.Multiset
	switch {
	case j.Kind.LeftOnly() || len(j.Rows) <= 1 || j.matchesOnce(len(stream.Cols)):
		r.Key = stream.Key
	default:
		r.Multiset = true
	}
	r.Multiset = r.Multiset || r.Updating && r.Key == nil
	return r
}

// matchesOnce reports whether at most one constant row matches a row of the stream, whose columns
// end at border: the condition equates columns in which all constant rows differ.
func (j *ValuesJoin) matchesOnce(border int) bool {
	if j.Cond == nil {
		return false
	}
	var columns []int
	for _, part := range conjuncts(j.Cond) {
		if _, r, ok := equalSides(part, border); ok {
			if c, ok := r.(*expr.Col); ok {
				columns = append(columns, c.Index-border)
			}
		}
	}
	seen := make(map[string]bool)
	for _, row := range j.Rows {
		key := ""
		for _, c := range columns {
			key += fmt.Sprintf("%v\x00", row[c])
		}
		if seen[key] {
			return false
		}
		seen[key] = true
	}
	return len(columns) > 0
}
