package plan

import (
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
)

// Column of a relation.
type Column struct {
	Name string
	Type column.Type
	// Rowtime says that the rows' watermark is about this column, so that windows can be made over
	// it.
	Rowtime bool
	// Window is the window that the column belongs to, and Role what it is of it.
	Window *Window
	Role   Role
}

// Role is what a column says of a row's window.
type Role uint8

// Roles.
const (
	NoRole Role = iota
	WindowStart
	WindowEnd
	WindowTime
)

// Relation is one operator and the rows that come out of it. Relations form a graph without cycles:
// a view that is read twice has two outputs.
type Relation struct {
	Op     Op
	Inputs []*Relation
	Cols   []Column

	// Updating says that rows may be retracted and replaced; Key then is the columns of which there
	// is one row each.
	Updating bool
	Key      []int

	// Keyed are columns whose values decide a row's partition: rows that agree in them are in one
	// task. nil where nothing is known; empty, and not nil, where all rows are in one task.
	Keyed []int
	// Hash names how the values of Keyed become a partition: two relations of one Hash have equal
	// values in the same one.
	Hash string

	// Needed says which columns somebody reads; others are not computed.
	Needed []bool

	ID    int    // place in the plan, inputs first
	Stage *Stage // where it runs
	State uint16 // first number of its entries in the task's state; 0 where it keeps none
	users int
}

// relation makes a relation over inputs. Whether rows are updates comes from the inputs.
func (p *planner) relation(op Op, cols []Column, inputs ...*Relation) *Relation {
	r := &Relation{Op: op, Inputs: inputs, Cols: cols, ID: p.count}
	p.count++
	for _, in := range inputs {
		in.users++
		r.Updating = r.Updating || in.Updating
	}
	return r
}

func names(cols []Column) []string {
	all := make([]string, len(cols))
	for i, c := range cols {
		all[i] = c.Name
	}
	return all
}

// col is a column of a relation as an expression.
func (r *Relation) col(i int) *expr.Col {
	return &expr.Col{Index: i, Name: r.Cols[i].Name, T: r.Cols[i].Type}
}

// visit calls fn for each relation below the sinks once, inputs first.
func (p *Program) visit(fn func(*Relation)) {
	seen := make(map[*Relation]bool)
	var down func(*Relation)
	down = func(r *Relation) {
		if seen[r] {
			return
		}
		seen[r] = true
		for _, in := range r.Inputs {
			down(in)
		}
		fn(r)
	}
	for _, s := range p.Sinks {
		down(s)
	}
}
