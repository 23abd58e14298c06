package plan

import (
	"fmt"
	"strings"

	"weir.example/weir/internal/expr"
)

// JoinKind says which rows a join of two inputs yields.
type JoinKind string

// Kinds of joins.
const (
	InnerJoin JoinKind = "INNER" // pairs that match
	LeftJoin  JoinKind = "LEFT"  // and left rows without a match, with NULL
	RightJoin JoinKind = "RIGHT" // and right rows without a match, with NULL
	FullJoin  JoinKind = "FULL"  // and rows of both inputs without a match, with NULL
	SemiJoin  JoinKind = "SEMI"  // left rows with a match
	AntiJoin  JoinKind = "ANTI"  // left rows without a match
)

// Keeps reports whether rows of an input without a match are emitted.
func (k JoinKind) Keeps(input int) bool {
	if input == 0 {
		return k == LeftJoin || k == FullJoin || k == AntiJoin
	}
	return k == RightJoin || k == FullJoin
}

// LeftOnly reports whether the join yields columns of its left input only.
func (k JoinKind) LeftOnly() bool { return k == SemiJoin || k == AntiJoin }

// JoinOn is the condition of a join.
type JoinOn struct {
	Kind        JoinKind
	Left, Right []int     // columns of the inputs that must be equal, in pairs; NULL equals nothing
	Cond        expr.Node // over the columns of both inputs; nil is true
}

// dropsUnmatched reports whether rows of an input are dropped if one of their columns that must be
// equal is NULL.
func (j *JoinOn) dropsUnmatched(input int) bool { return len(j.Left) > 0 && !j.Kind.Keeps(input) }

// describe returns the condition as text.
func (j *JoinOn) describe(r *Relation) string {
	left, right := r.Inputs[0].Cols, r.Inputs[1].Cols
	var parts []string
	for i := range j.Left {
		parts = append(parts, left[j.Left[i]].Name+" = "+right[j.Right[i]].Name)
	}
	if j.Cond != nil {
		parts = append(parts, j.Cond.String())
	}
	if len(parts) == 0 {
		return "always"
	}
	return strings.Join(parts, " AND ")
}

// word returns the kind as the first words of a description.
func (j *JoinOn) word() string {
	return strings.ToUpper(string(j.Kind[:1])) + strings.ToLower(string(j.Kind[1:]))
}

// reads calls need for the columns of an input that are keys, in the condition, or in the join's
// rows.
func (j *JoinOn) reads(r *Relation, input int, need func(int)) {
	border := len(r.Inputs[0].Cols)
	own := func(i int) { // a column of both inputs, if it belongs to this one
		if (i < border) == (input == 0) {
			need(i - input*border)
		}
	}
	needColumns([][]int{j.Left, j.Right}[input], need)
	needExpr(j.Cond, own)
	needPassed(r, len(r.Cols), own)
}

// signature describes the rows that the join keeps.
func (j *JoinOn) signature(r *Relation) string {
	return fmt.Sprintf("%s; keys %s; rows of %s; and of %s", r.Describe(), keySignature(r.Inputs[0], j.Left), rowSignature(r.Inputs[0]), rowSignature(r.Inputs[1]))
}
