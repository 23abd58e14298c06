package plan

import (
	"strings"

	"weir.example/weir/internal/expr"
)

// Op is what a relation does. Each operator has a file op_….go with its type, its methods and the
// binding of its SQL. The relation that a method takes is the one whose Op is the receiver.
type Op interface {
	// Name is the operator's name in the plan as JSON. Programs read it, so it stays when the type
	// is renamed.
	Name() string
	// Describe is one line for plans and logs. For stateful operators it is a part of Signature.
	Describe(r *Relation) string
	// Reads calls need with each column of r.Inputs[input] that the operator reads to produce the
	// columns in r.Needed. An operator without inputs reads columns of its own.
	Reads(r *Relation, input int, need func(column int))
	// Stateful reports whether the operator keeps entries in its task's state.
	Stateful() bool
	// Signature describes what the state consists of: two plans whose signatures are equal can use
	// each other's state. It is written to the manifests of running pipelines, so a change of it
	// makes Weir reject their state. It is empty for stateless operators.
	Signature(r *Relation) string

	// topic is the topic that the relation's rows are read from; "" if they come from its inputs.
	topic() string
	// pushFilter returns a condition over the input that is equivalent to cond over r, so that a
	// filter after r can run before it. An operator that applies cond itself returns nil.
	pushFilter(r *Relation, cond expr.Node) (below expr.Node, ok bool)
	// forwardsWindow reports whether rows pass one to one, and the columns of window w unread.
	forwardsWindow(r *Relation, w *Window) bool
	// copies reports whether each row of the input yields a row, for as long as the input lasts.
	copies(input int) bool
	// acceptsUpserts reports whether the operator can read the records of an upsert table.
	acceptsUpserts() bool
	// matchesNulls reports whether rows with NULL keys meet each other.
	matchesNulls() bool
}

// opDefaults are the methods of a stateless operator that no rewrite looks through.
type opDefaults struct{}

func (opDefaults) Stateful() bool                                             { return false }
func (opDefaults) Signature(*Relation) string                                 { return "" }
func (opDefaults) topic() string                                              { return "" }
func (opDefaults) pushFilter(*Relation, expr.Node) (below expr.Node, ok bool) { return nil, false }
func (opDefaults) forwardsWindow(*Relation, *Window) bool                     { return false }
func (opDefaults) copies(int) bool                                            { return false }
func (opDefaults) acceptsUpserts() bool                                       { return false }
func (opDefaults) matchesNulls() bool                                         { return true }

// Describe is one line about what the relation does.
func (r *Relation) Describe() string { return r.Op.Describe(r) }

// Signature describes what the relation's state consists of, see Op.
func (r *Relation) Signature() string { return r.Op.Signature(r) }

// Topic is the topic that an input of a stage reads.
func (r *Relation) Topic() string { return r.Op.topic() }

func needColumns(columns []int, need func(int)) {
	for _, c := range columns {
		need(c)
	}
}

func needExpr(n expr.Node, need func(int)) {
	if n != nil {
		for c := range expr.Columns(n) {
			need(c)
		}
	}
}

// needPassed needs the first n columns, which pass unchanged, where they are needed in r.
func needPassed(r *Relation, n int, need func(int)) {
	for i := range n {
		if r.Needed[i] {
			need(i)
		}
	}
}

func listNames(cols []Column, columns []int) string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = cols[c].Name
	}
	return strings.Join(all, ", ")
}

func (r *Relation) neededNames() string {
	var all []string
	for i, c := range r.Cols {
		if r.Needed[i] {
			all = append(all, c.Name)
		}
	}
	if len(all) == 0 {
		return "no columns"
	}
	return strings.Join(all, ", ")
}

// keySignature is names and types of the columns that key a state.
func keySignature(in *Relation, columns []int) string {
	var all []string
	for _, c := range columns {
		all = append(all, in.Cols[c].Name+" "+in.Cols[c].Type.String())
	}
	return strings.Join(all, ", ")
}

// rowSignature is names and types of the columns of a row in the state.
func rowSignature(r *Relation) string {
	var all []string
	for i, c := range r.Cols {
		if r.Needed[i] {
			all = append(all, c.Name+" "+c.Type.String())
		}
	}
	return strings.Join(all, ", ")
}
