package plan

import (
	"strings"

	"weir.example/weir/internal/expr"
)

// Op is the operator of a relation. Each operator has a file op_….go with its type, its methods and
// the binding of its SQL. The relation passed to a method is the one whose Op is the receiver.
type Op interface {
	// Name returns the operator's name in the JSON plan. Programs depend on it, so it doesn't
	// change when the type is renamed.
	Name() string
	// Describe returns a one-line description for plans and logs. For stateful operators it is part
	// of Signature.
	Describe(r *Relation) string
	// Reads calls need for each column of r.Inputs[input] that the operator reads to produce the
	// columns in r.Needed. For an operator without inputs, these are columns of r itself.
	Reads(r *Relation, input int, need func(column int))
	// Stateful reports whether the operator keeps entries in its task's state.
	Stateful() bool
	// Signature describes the layout of the state: plans with equal signatures can use each other's
	// state. It is written to the manifests of running pipelines, so changing it makes Weir reject
	// their state. It is empty for stateless operators.
	Signature(r *Relation) string

	// brief returns the few words that Relation.Brief returns; "" if those of Describe are few
	// enough.
	brief(r *Relation) string
	// topic returns the topic that the relation's rows are read from; "" if they come from its
	// inputs.
	topic() string
	// pushFilter returns a condition over the input that is equivalent to cond over r, so that a
	// filter after r can run before it. An operator that applies cond itself returns nil.
	pushFilter(r *Relation, cond expr.Node) (below expr.Node, ok bool)
	// forwardsWindow reports whether the operator passes rows one to one and does not read the
	// columns of window w.
	forwardsWindow(r *Relation, w *Window) bool
	// copies reports whether each row of the input yields a row, for as long as rows arrive.
	copies(input int) bool
	// dropsLate reports whether copies does not hold for rows whose time the watermark has passed.
	dropsLate() bool
	// matchesNulls reports whether NULL keys match each other.
	matchesNulls() bool
	// dropsNulls reports whether rows of an input with NULL keys are dropped.
	dropsNulls(input int) bool
}

// opDefaults provides the methods of a stateless operator that rewrites don't see through.
type opDefaults struct{}

func (opDefaults) Stateful() bool                                             { return false }
func (opDefaults) Signature(*Relation) string                                 { return "" }
func (opDefaults) brief(*Relation) string                                     { return "" }
func (opDefaults) topic() string                                              { return "" }
func (opDefaults) pushFilter(*Relation, expr.Node) (below expr.Node, ok bool) { return nil, false }
func (opDefaults) forwardsWindow(*Relation, *Window) bool                     { return false }
func (opDefaults) copies(int) bool                                            { return false }
func (opDefaults) dropsLate() bool                                            { return false }
func (opDefaults) matchesNulls() bool                                         { return true }
func (opDefaults) dropsNulls(int) bool                                        { return false }

// Describe returns a one-line description of the relation.
func (r *Relation) Describe() string { return r.Op.Describe(r) }

// Brief describes the relation in a few words, for graphs that show the first word of Describe too.
func (r *Relation) Brief() string {
	if text := r.Op.brief(r); text != "" {
		return text
	}
	_, text, _ := strings.Cut(r.Describe(), " ")
	return strings.TrimSpace(text)
}

// Signature describes the layout of the relation's state, see Op.
func (r *Relation) Signature() string { return r.Op.Signature(r) }

// Topic returns the topic that an input of a stage reads.
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

// needPassed calls need for those of the first n columns that r needs; they are passed through
// unchanged.
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
			all = append(all, r.Part(i).names(c.Name, c.Type)...)
		}
	}
	if len(all) == 0 {
		return "no columns"
	}
	return strings.Join(all, ", ")
}

// keySignature returns the names and types of the columns that key a state.
func keySignature(in *Relation, columns []int) string {
	var all []string
	for _, c := range columns {
		all = append(all, in.Cols[c].Name+" "+in.Cols[c].Type.String())
	}
	return strings.Join(all, ", ")
}

// rowSignature returns the names and types of the columns of a row in the state.
func rowSignature(r *Relation) string {
	var all []string
	for i, c := range r.Cols {
		if r.Needed[i] {
			all = append(all, c.Name+" "+c.Type.String())
		}
	}
	return strings.Join(all, ", ")
}
