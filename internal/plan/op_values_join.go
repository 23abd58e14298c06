package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/sql"
)

// Values is the rows of VALUES. It never runs: a join of a stream with it becomes a ValuesJoin, and
// other queries read its rows as those of a generated table.
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
				return nil, sql.Errorf(e, "VALUES requires constants").WithHint("compute other values from them: SELECT v.a, … FROM (VALUES …) AS v (a)")
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

// generateValues makes rows of VALUES that are not joined to a stream those of a generated table,
// which ends with the last of them.
func (p *planner) generateValues() error {
	var err error
	tables := make(map[string]*Table) // equal rows are one table
	p.program.visit(func(r *Relation) {
		if v, ok := r.Op.(*Values); ok && err == nil {
			var t *Table
			if t, err = v.table(r.Cols, p.program.Zone); err == nil {
				if same, ok := tables[t.Name]; ok {
					t = same
				}
				tables[t.Name] = t
				t.Kafka.Topic = p.program.GeneratedTopic(t.Name)
				r.Op = &Scan{Table: t}
				p.differ(v.where, "datagen", "the rows of VALUES pass through a topic, so that each is there once; Flink starts with them again after a failure before its first checkpoint")
			}
		}
	})
	return err
}

// table returns the table of the rows. Its name depends on them: other rows are another table,
// whose rows have not been read.
func (v *Values) table(cols []Column, zone expr.Zone) (*Table, error) {
	t := &Table{Pos: v.where.At(), Rowtime: -1, Bounded: true, Kafka: &Kafka{Startup: Startup{Group: true}, Reset: ResetEarliest}}
	values := make([]*column.Column, len(cols))
	for i, c := range cols {
		t.Columns = append(t.Columns, TableColumn{Name: c.Name, Type: c.Type.Nullable(true)})
		t.Kafka.Value.add(t, i)
		values[i] = &column.Column{Type: t.Columns[i].Type}
	}
	t.Kafka.Value.Name, t.Kafka.Value.Options = "json", format.Options{"fail-on-missing-field": "true"}
	encoder, err := format.NewEncoder("json", t.Kafka.Value.Fields, nil, nil)
	if err != nil {
		return nil, sql.Errorf(v.where, "rows of VALUES pass through a topic as JSON: %s", err)
	}
	t.Generator = &Generator{Rate: math.MaxInt32, Rows: int64(len(v.Rows)), Partitions: 1, Zone: zone}
	h := sha256.New()
	for _, row := range v.Rows {
		for i, value := range row {
			values[i].Truncate(0)
			values[i].Add(value)
		}
		b, err := encoder.Encode(nil, values, 0)
		if err != nil {
			return nil, sql.Errorf(v.where, "rows of VALUES pass through a topic as JSON: %s", err)
		}
		t.Generator.Constant = append(t.Generator.Constant, b)
		h.Write(append(b, '\n'))
	}
	for _, c := range t.Columns {
		h.Write([]byte(c.Type.String() + "\n"))
	}
	t.Name = "values-" + hex.EncodeToString(h.Sum(nil)[:6])
	return t, nil
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

// valuesJoin returns the join if a side is constant; nil if none is, or if its rows are kept
// without a match, which takes a state.
func (b *joinBinding) valuesJoin(on []expr.Node) *Relation {
	rows, ok := constantRows(b.right)
	stream, constant, kind := b.left, b.right, b.on.Kind
	swapped := false
	if !ok {
		if rows, ok = constantRows(b.left); !ok {
			return nil
		}
		stream, constant, swapped = b.right, b.left, true
		kind = map[JoinKind]JoinKind{InnerJoin: InnerJoin, RightJoin: LeftJoin}[kind]
	}
	if kind == "" || kind.Keeps(1) {
		return nil
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
		return r
	}
	exprs, named := make([]expr.Node, width), make([]string, width)
	for i := range width {
		exprs[i], named[i] = r.col(swap(i)), r.Cols[swap(i)].Name
	}
	return b.planner.project(r, named, exprs)
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
