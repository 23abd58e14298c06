package plan

import (
	"slices"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
)

// Column is a column of a relation.
type Column struct {
	Name string
	Type column.Type
	// Rowtime marks the column that the watermark refers to: windows can be defined over it.
	Rowtime bool
	Cast    bool // Rowtime, but written as a CAST, after which it isn't a rowtime in Flink
	// Proctime marks a column that is PROCTIME(), the time of the transaction.
	Proctime bool
	// Window is the window that the column belongs to, and Role is which of the window's columns it
	// is.
	Window *Window
	Role   Role
}

// Role is the meaning of a window column.
type Role uint8

// Roles.
const (
	NoRole Role = iota
	WindowStart
	WindowEnd
	WindowTime
)

// Relation is an operator and its output rows. Relations form an acyclic graph: a view that is read
// twice has two readers.
type Relation struct {
	Op     Op
	Inputs []*Relation
	Cols   []Column

	// Updating marks rows that may be retracted and replaced. Key is a unique key of the rows,
	// nil if none is known.
	Updating bool
	Key      []int
	// Multiset marks updating rows whose key may be unknown, because they come from a join or lack
	// the number of a Top-N. Scattered marks rows of a join, whose old and new versions may come
	// from different tasks. See Materialize.
	Multiset, Scattered bool

	// Keyed lists the columns whose values determine a row's partition: rows with equal values are
	// in the same task. nil means unknown; empty but not nil means that all rows are in one task.
	Keyed []int
	// Hash identifies how the values of Keyed map to a partition: relations with the same Hash have
	// equal values in the same partition.
	Hash string

	// nullsMeet marks relations whose rows with NULL keys meet in a relation above them, which
	// relies on their partitions. See planner.placeNulls.
	nullsMeet bool

	// Needed marks the columns that are read; others are not computed. Parts has the part of each
	// that is read; nil if all are read whole.
	Needed []bool
	Parts  []*Part

	ID    int    // position in the plan, inputs first
	Stage *Stage // the stage that runs it
	State uint16 // first number of its entries in the task's state; 0 if stateless
	// TTL is how long its state is kept after its last change; 0 is forever. A join has one for the
	// rows of each input, other operators the first only. hinted are those of STATE_TTL. See
	// planner.expire.
	TTL    [2]time.Duration
	hinted [2]*time.Duration
	users  int
}

// relation returns a relation over inputs. It is updating if one of them is.
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

// col returns a column as an expression.
func (r *Relation) col(i int) *expr.Col {
	return &expr.Col{Index: i, Name: r.Cols[i].Name, T: r.Cols[i].Type}
}

// first returns the first n columns as expressions.
func (r *Relation) first(n int) []expr.Node {
	all := make([]expr.Node, n)
	for i := range n {
		all[i] = r.col(i)
	}
	return all
}

// position returns the position of an expression in a list; -1 if it is not there.
func position(all []expr.Node, n expr.Node) int {
	return slices.IndexFunc(all, func(other expr.Node) bool { return expr.SameNode(other, n) })
}

// subset reports whether all columns are in another list.
func subset(columns, of []int) bool {
	return !slices.ContainsFunc(columns, func(c int) bool { return !slices.Contains(of, c) })
}

// descend calls fn once for the relation and for the inputs of each relation for which it returns
// true.
func (r *Relation) descend(fn func(*Relation) bool) {
	seen := make(map[*Relation]bool)
	var down func(*Relation)
	down = func(r *Relation) {
		if seen[r] {
			return
		}
		seen[r] = true
		if !fn(r) {
			return
		}
		for _, in := range r.Inputs {
			down(in)
		}
	}
	down(r)
}

// visit calls fn once for each relation that a sink depends on, inputs first.
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
