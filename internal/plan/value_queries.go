package plan

import (
	"slices"
	"strings"

	"weir.example/weir/internal/sql"
)

// valueQuery is a query that is used as a value: (SELECT …), x IN (SELECT …) or EXISTS (SELECT …).
type valueQuery struct {
	exprs    []sql.Expr // each place with the same text; its value is the same
	onlyTrue bool       // FALSE and NULL mean the same in all of them
}

// valueQueries are the queries that a SELECT uses as values: those that belong to the rows of FROM,
// and those that belong to its groups.
type valueQueries struct {
	grouped     bool
	keys        []string // expressions of GROUP BY with queries, as text
	below, over []valueQuery
}

// valueQueriesOf collects the queries that a SELECT uses as values.
func valueQueriesOf(s *sql.Select) (below, over []valueQuery) {
	v := &valueQueries{}
	for _, part := range sqlConjuncts(s.Where) {
		if !isSubquery(part) {
			v.collect(part, true, &v.below)
			continue
		}
		joined, _ := positive(part) // see whereTree
		if in, ok := joined.(*sql.In); ok {
			v.collect(in.X, false, &v.below)
		}
	}
	for _, e := range s.GroupBy {
		v.collect(e, false, &v.below)
		if hasSubquery(e) {
			v.keys = append(v.keys, sql.FormatExpr(e))
		}
	}
	v.grouped = len(s.GroupBy) > 0 || selectsAggregate(s)
	to := &v.below
	if v.grouped {
		to = &v.over
	}
	v.collect(s.Having, true, to)
	for _, it := range s.Items {
		v.collect(it.Expr, false, to)
	}
	return v.below, v.over
}

// collect adds the queries of an expression, those on which others depend first. onlyTrue says that
// FALSE and NULL of the expression mean the same.
func (v *valueQueries) collect(e sql.Expr, onlyTrue bool, to *[]valueQuery) {
	if to == &v.over && len(v.keys) > 0 && slices.Contains(v.keys, sql.FormatExpr(e)) {
		to = &v.below
	}
	switch e := e.(type) {
	case nil:
		return
	case *sql.Subquery:
		add(to, e, onlyTrue)
		return
	case *sql.In:
		if isSubquery(e) {
			v.collect(e.X, false, to)
			add(to, e, onlyTrue && !e.Not)
			return
		}
	case *sql.Binary:
		if e.Op == "AND" || e.Op == "OR" {
			v.collect(e.L, onlyTrue, to)
			v.collect(e.R, onlyTrue, to)
			return
		}
	case *sql.Is:
		onlyTrue = e.What == "TRUE"
		v.collect(e.X, onlyTrue, to)
		v.collect(e.Y, false, to)
		return
	case *sql.Case:
		v.collect(e.Operand, false, to)
		for _, w := range e.Whens {
			v.collect(w.Cond, e.Operand == nil, to)
			v.collect(w.Then, onlyTrue, to)
		}
		v.collect(e.Else, onlyTrue, to)
		return
	case *sql.Call:
		if v.grouped && isAggregate(strings.ToUpper(e.Name)) {
			to = &v.below
			v.collect(e.Filter, true, to)
		}
	}
	for _, part := range operands(e) {
		v.collect(part, false, to)
	}
}

// add adds a query, unless there is one with the same text.
func add(to *[]valueQuery, e sql.Expr, onlyTrue bool) {
	text := valueText(e)
	for i := range *to {
		if q := &(*to)[i]; valueText(q.exprs[0]) == text {
			q.exprs, q.onlyTrue = append(q.exprs, e), q.onlyTrue && onlyTrue
			return
		}
	}
	*to = append(*to, valueQuery{[]sql.Expr{e}, onlyTrue})
}

// valueText returns the text of a query that is used as a value, without the NOT of a NOT IN.
func valueText(e sql.Expr) string {
	if in, ok := e.(*sql.In); ok {
		positive := *in
		positive.Not = false
		e = &positive
	}
	return sql.FormatExpr(e)
}

// hasSubquery reports whether an expression contains a query.
func hasSubquery(e sql.Expr) bool {
	if _, ok := e.(*sql.Subquery); ok || isSubquery(e) {
		return true
	}
	return slices.ContainsFunc(operands(e), hasSubquery)
}
