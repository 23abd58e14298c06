package sql

import (
	"fmt"
	"slices"
	"strings"
)

// Precedence of expressions, loosest first.
const (
	bindOr = iota + 1
	bindAnd
	bindNot
	bindPredicate
	bindAdd
	bindMultiply
	bindUnary
	bindPostfix
)

var binding = map[string]int{
	"OR": bindOr, "AND": bindAnd, "+": bindAdd, "-": bindAdd, "||": bindAdd, "*": bindMultiply, "/": bindMultiply, "%": bindMultiply,
}

func bindingOf(e Expr) int {
	switch e := e.(type) {
	case *Binary:
		if n, ok := binding[e.Op]; ok {
			return n
		}
		return bindPredicate
	case *Unary:
		if e.Op == "NOT" {
			return bindNot
		}
		return bindUnary
	case *Is, *Between, *In, *Like:
		return bindPredicate
	}
	return bindPostfix
}

func (p *printer) exprs(all []Expr) {
	for i, e := range all {
		if i > 0 {
			p.put(", ")
		}
		p.expr(e, 0)
	}
}

// expr writes an expression, in parentheses if it binds looser than atLeast.
func (p *printer) expr(e Expr, atLeast int) {
	if bindingOf(e) < atLeast {
		p.parenthesized(e)
		return
	}
	switch e := e.(type) {
	case *Literal:
		p.literal(e)
	case *Interval:
		p.interval(e)
	case *ColumnRef:
		p.put(path(e.Parts))
	case *Star:
		if e.Table != nil {
			p.put(path(e.Table), ".")
		}
		p.put("*")
	case *Unary:
		p.unary(e)
	case *Binary:
		if e.Op == "OVERLAPS" {
			p.period(e.L)
			p.put(" OVERLAPS ")
			p.period(e.R)
			return
		}
		p.expr(e.L, bindingOf(e))
		p.put(" ", e.Op, " ")
		p.expr(e.R, bindingOf(e)+1)
	case *Is, *Between, *In, *Like:
		p.predicate(e)
	case *Case:
		p.caseOf(e)
	case *Cast:
		p.put(word(e.Try, "TRY_"), "CAST(")
		p.expr(e.X, 0)
		p.put(" AS ", e.Type.String(), ")")
	case *Call:
		p.call(e)
	case *Grouping:
		p.grouping(e)
	case *Symbol:
		p.put(e.Name)
	case *RowValue:
		p.list("ROW(", e.Items, ")")
	case *ArrayValue:
		p.list("ARRAY[", e.Items, "]")
	case *MapValue:
		p.list("MAP[", e.Items, "]")
	case *Index:
		p.expr(e.X, bindPostfix)
		p.put("[")
		p.expr(e.Index, 0)
		p.put("]")
	case *Field:
		if _, name := e.X.(*ColumnRef); name {
			p.parenthesized(e.X)
		} else {
			p.expr(e.X, bindPostfix)
		}
		p.put(".", Quote(e.Name.Name))
	case *Subquery:
		p.put(word(e.Exists, "EXISTS "))
		p.nested(e.Query)
	}
}

// period writes an operand of OVERLAPS, which Flink doesn't accept as a ROW.
func (p *printer) period(e Expr) {
	if row, ok := e.(*RowValue); ok {
		p.list("(", row.Items, ")")
		return
	}
	p.expr(e, bindAdd)
}

func (p *printer) parenthesized(e Expr) {
	p.put("(")
	p.expr(e, 0)
	p.put(")")
}

func (p *printer) list(opening string, items []Expr, closing string) {
	p.put(opening)
	p.exprs(items)
	p.put(closing)
}

func (p *printer) interval(e *Interval) {
	p.put("INTERVAL ", word(e.Negative, "-"), QuoteString(e.Value), " ", e.From)
	if e.Precision >= 0 {
		p.put(fmt.Sprintf("(%d)", e.Precision))
	}
	if e.To != "" {
		p.put(" TO ", e.To)
	}
}

func (p *printer) unary(e *Unary) {
	if e.Op == "NOT" {
		p.put("NOT ")
	} else {
		p.put(e.Op)
		if inner, ok := e.X.(*Unary); ok && inner.Op == "-" {
			p.put(" ") // -- would start a comment
		}
	}
	p.expr(e.X, bindingOf(e))
}

func (p *printer) predicate(e Expr) {
	switch e := e.(type) {
	case *Is:
		p.expr(e.X, bindPredicate)
		p.put(" IS ", word(e.Not, "NOT "), e.What)
		if e.Y != nil {
			p.put(" ")
			p.expr(e.Y, bindAdd)
		}
	case *Between:
		p.expr(e.X, bindPredicate)
		p.put(word(e.Not, " NOT"), " BETWEEN ", word(e.Symmetric, "SYMMETRIC "))
		p.expr(e.Low, bindAdd)
		p.put(" AND ")
		p.expr(e.High, bindAdd)
	case *In:
		p.expr(e.X, bindPredicate)
		p.put(word(e.Not, " NOT"), " IN ")
		if e.Query != nil {
			p.nested(e.Query)
		} else {
			p.list("(", e.List, ")")
		}
	case *Like:
		p.expr(e.X, bindPredicate)
		p.put(word(e.Not, " NOT"))
		if e.Similar {
			p.put(" SIMILAR TO ")
		} else {
			p.put(" LIKE ")
		}
		p.expr(e.Pattern, bindAdd)
		if e.Escape != nil {
			p.put(" ESCAPE ")
			p.expr(e.Escape, bindAdd)
		}
	}
}

func (p *printer) caseOf(e *Case) {
	p.put("CASE")
	if e.Operand != nil {
		p.put(" ")
		p.expr(e.Operand, 0)
	}
	for _, w := range e.Whens {
		p.put(" WHEN ")
		p.expr(w.Cond, 0)
		p.put(" THEN ")
		p.expr(w.Then, 0)
	}
	if e.Else != nil {
		p.put(" ELSE ")
		p.expr(e.Else, 0)
	}
	p.put(" END")
}

func (p *printer) grouping(e *Grouping) {
	p.put(e.Kind, " (")
	for i, set := range e.Sets {
		if i > 0 {
			p.put(", ")
		}
		p.list("(", set, ")")
	}
	p.put(")")
}

func (p *printer) literal(l *Literal) {
	switch l.Kind {
	case StringLiteral:
		p.put(QuoteString(l.Text))
	case BytesLiteral:
		p.put("x'", l.Text, "'")
	case DateLiteral:
		p.put("DATE ", QuoteString(l.Text))
	case TimeLiteral:
		p.put("TIME ", QuoteString(l.Text))
	case TimestampLiteral:
		p.put("TIMESTAMP ", QuoteString(l.Text))
	default:
		p.put(l.Text)
	}
}

func (p *printer) call(c *Call) {
	name := c.Name
	if !callable[strings.ToUpper(name)] {
		name = Quote(name)
	}
	p.put(name)
	if c.NoParens {
		return
	}
	p.put("(", word(c.Distinct, "DISTINCT "), word(c.Star, "*"))
	separators := map[string][]string{
		"EXTRACT": {" FROM "}, "POSITION": {" IN ", " FROM "}, "TRIM": {" ", " FROM "},
		"OVERLAY": {" PLACING ", " FROM ", " FOR "},
		"CEIL":    {" TO "}, "CEILING": {" TO "}, "FLOOR": {" TO "},
	}[strings.ToUpper(c.Name)]
	object := strings.HasPrefix(strings.ToUpper(c.Name), "JSON_OBJECT")
	for i, a := range c.Args {
		if i > 0 {
			separator := ", "
			if object && i%2 == 1 {
				separator = " VALUE "
			}
			if i <= len(separators) {
				separator = separators[i-1]
				if _, unit := a.(*Symbol); separator == " TO " && !unit {
					separator = ", "
				}
			}
			p.put(separator)
		}
		if object && i%2 == 0 {
			p.put("KEY ")
		}
		if i == 0 && unitFollows(c) && endsInInterval(a) {
			p.parenthesized(a)
			continue
		}
		p.expr(a, argumentBinding(c, i))
	}
	if c.JSON != nil {
		p.json(c.JSON)
	}
	p.put(")", word(c.IgnoreNulls, " IGNORE NULLS"))
	if c.OrderBy != nil {
		p.put(" WITHIN GROUP (ORDER BY ")
		p.orderItems(c.OrderBy)
		p.put(")")
	}
	if c.Filter != nil {
		p.put(" FILTER (WHERE ")
		p.expr(c.Filter, 0)
		p.put(")")
	}
	if c.Over != nil {
		p.put(" OVER ")
		p.windowSpec(c.Over)
	}
	if c.OverName != nil {
		p.put(" OVER ", Quote(c.OverName.Name))
	}
}

// unitFollows reports whether the call's first argument is followed by TO and a unit.
func unitFollows(c *Call) bool {
	if len(c.Args) != 2 {
		return false
	}
	_, unit := c.Args[1].(*Symbol)
	return unit && slices.Contains([]string{"CEIL", "CEILING", "FLOOR"}, strings.ToUpper(c.Name))
}

// endsInInterval reports whether the text of an expression ends in an interval without TO, which
// would absorb a TO that follows.
func endsInInterval(e Expr) bool {
	switch e := e.(type) {
	case *Interval:
		return e.To == ""
	case *Unary:
		return endsInInterval(e.X)
	case *Binary:
		return endsInInterval(e.R)
	}
	return false
}

// argumentBinding returns the precedence that an argument needs: a predicate before the IN of
// POSITION would absorb it.
func argumentBinding(c *Call, i int) int {
	if i == 0 && strings.EqualFold(c.Name, "POSITION") {
		return bindAdd
	}
	return 0
}

func (p *printer) json(j *JSONClauses) {
	if j.Returning != nil {
		p.put(" RETURNING ", j.Returning.String())
	}
	switch j.Wrapper {
	case "WITHOUT":
		p.put(" WITHOUT WRAPPER")
	case "":
	default:
		p.put(" WITH ", j.Wrapper, " WRAPPER")
	}
	behavior := func(what string, value Expr, on string) {
		if what == "" {
			return
		}
		p.put(" ", what)
		if value != nil {
			p.put(" ")
			p.expr(value, 0)
		}
		p.put(" ON ", on)
	}
	behavior(j.OnEmpty, j.Empty, "EMPTY")
	behavior(j.OnError, j.Error, "ERROR")
	behavior(j.OnNull, nil, "NULL")
}

// String returns the type as text.
func (t *TypeName) String() string {
	s := t.Name
	switch {
	case t.Key != nil:
		s += "<" + t.Key.String() + ", " + t.Elem.String() + ">"
	case t.Elem != nil:
		s += "<" + t.Elem.String() + ">"
	case t.Fields != nil:
		fields := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			fields[i] = Quote(f.Name.Name) + " " + f.Type.String()
			if f.Comment != "" {
				fields[i] += " " + QuoteString(f.Comment)
			}
		}
		s += "<" + strings.Join(fields, ", ") + ">"
	case len(t.Params) == 1:
		s += fmt.Sprintf("(%d)", t.Params[0])
	case len(t.Params) == 2:
		s += fmt.Sprintf("(%d, %d)", t.Params[0], t.Params[1])
	}
	return s + word(t.NotNull, " NOT NULL")
}
