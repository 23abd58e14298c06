package plan

import (
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
)

// Part is the part of a value that is read: all of it, or some fields of a ROW. A nil Part is all
// of it. A Part without fields is whether the value is NULL.
type Part struct {
	Fields []*PartField // in the order of the type's fields; nil for a field that is not read
}

// PartField is a field that is read.
type PartField struct{ Part *Part }

// partsReader is implemented by operators that read rows by fields, or pass them through
// unchanged. The others read each ROW as a whole: rows in a state or in an exchange are complete.
type partsReader interface {
	// readsParts is Reads with the part that is read: need is called for a column of an input, the
	// positions of nested fields in it, and the part of the innermost.
	readsParts(r *Relation, input int, need needPart)
}

type needPart func(column int, fields []int, part *Part)

// needExprParts calls need for what an expression reads.
func needExprParts(n expr.Node, need needPart) {
	if n == nil {
		return
	}
	expr.WalkPaths(n, func(col int, fields []int, onlyNull bool) {
		var part *Part
		if onlyNull {
			part = &Part{}
		}
		need(col, fields, part)
	})
}

// needPassedParts calls need for those of the first n columns that r needs; they are passed through
// unchanged.
func needPassedParts(r *Relation, n int, need needPart) {
	for i := range n {
		if r.Needed[i] {
			need(i, nil, r.Part(i))
		}
	}
}

// Part returns the part of a needed column that is read.
func (r *Relation) Part(i int) *Part {
	if r.Parts == nil {
		return nil
	}
	return r.Parts[i]
}

// markParts determines which fields of ROW columns are read. order lists the relations, inputs
// first; their needed columns are known.
func markParts(order []*Relation) {
	marked := make(map[*Relation][]*PartField)
	for _, r := range order {
		marked[r] = make([]*PartField, len(r.Cols))
	}
	mark := func(r *Relation) needPart {
		return func(col int, fields []int, part *Part) {
			marked[r][col] = marked[r][col].with(r.Cols[col].Type, fields, part)
		}
	}
	for i := len(order) - 1; i >= 0; i-- {
		r := order[i]
		reader, ok := r.Op.(partsReader)
		if !ok {
			for input, in := range r.Inputs {
				need := mark(in)
				r.Op.Reads(r, input, func(c int) { need(c, nil, nil) })
			}
			continue
		}
		if len(r.Inputs) == 0 {
			reader.readsParts(r, 0, mark(r))
		}
		r.Parts = make([]*Part, len(r.Cols))
		for c, m := range marked[r] {
			if m != nil {
				r.Parts[c] = m.Part
			}
		}
		for input, in := range r.Inputs {
			reader.readsParts(r, input, mark(in))
		}
	}
}

// with returns what is read of a value of a type if the part of a nested field is read too.
func (f *PartField) with(t column.Type, fields []int, part *Part) *PartField {
	switch {
	case f != nil && f.Part == nil, t.Kind != column.Row, len(fields) == 0 && part == nil:
		return &PartField{}
	case f == nil:
		f = &PartField{&Part{Fields: make([]*PartField, len(t.Fields))}}
	}
	if len(fields) > 0 {
		i := fields[0]
		f.Part.Fields[i] = f.Part.Fields[i].with(t.Fields[i].Type, fields[1:], part)
		return f
	}
	for i, inner := range part.Fields {
		if inner != nil {
			f.Part.Fields[i] = f.Part.Fields[i].with(t.Fields[i].Type, nil, inner.Part)
		}
	}
	return f
}

// names returns the names of what is read of a value.
func (p *Part) names(name string, t column.Type) []string {
	if p == nil {
		return []string{name}
	}
	var all []string
	for i, f := range p.Fields {
		if f != nil {
			all = append(all, f.Part.names(name+"."+t.Fields[i].Name, t.Fields[i].Type)...)
		}
	}
	if len(all) == 0 {
		return []string{name + " IS NULL"}
	}
	return all
}

// NewColumn returns an empty column for a type of which a part is read.
func (p *Part) NewColumn(t column.Type) *column.Column {
	c := &column.Column{Type: t}
	if p == nil {
		return c
	}
	c.Fields = make([]*column.Column, len(t.Fields))
	for i, f := range p.Fields {
		if f != nil {
			c.Fields[i] = f.Part.NewColumn(t.Fields[i].Type)
		}
	}
	return c
}
