package sql

import (
	"strconv"
	"strings"

	"weir.example/weir/internal/suggest"
)

// Expressions by precedence, loosest first: OR, AND, NOT, comparison and predicates, || + -, * / %,
// unary, postfix.

func (p *parser) expr() Expr {
	p.enter()
	defer p.leave()
	left := p.conjunction()
	for {
		at := p.peek()
		if !p.words("OR") {
			return left
		}
		left = &Binary{at.Pos, "OR", left, p.conjunction()}
	}
}

func (p *parser) exprs() []Expr {
	all := []Expr{p.expr()}
	for p.symbol(",") {
		all = append(all, p.expr())
	}
	return all
}

func (p *parser) conjunction() Expr {
	left := p.negation()
	for {
		at := p.peek()
		if !p.words("AND") {
			return left
		}
		left = &Binary{at.Pos, "AND", left, p.negation()}
	}
}

func (p *parser) negation() Expr {
	at := p.peek()
	if p.words("NOT") {
		p.enter()
		defer p.leave()
		return &Unary{at.Pos, "NOT", p.negation()}
	}
	return p.predicate()
}

var comparisons = []string{"=", "<>", "!=", "<=", ">=", "<", ">"}

func (p *parser) predicate() Expr {
	left := p.additive()
	for {
		at := p.peek()
		if op := p.comparison(); op != "" {
			if p.isWord("ANY") || p.isWord("ALL") || p.isWord("SOME") {
				p.refuse(p.peek(), "a comparison with "+p.peek().upper, "write IN (SELECT …), EXISTS (SELECT …), or compare with (SELECT MIN(…) …) or MAX")
			}
			left = &Binary{at.Pos, op, left, p.additive()}
			continue
		}
		if p.words("IS") {
			left = p.is(at.Pos, left)
			continue
		}
		p.refuseMultiset()
		not := p.isWord("NOT") && p.negatable(p.peekAt(1).upper)
		if not {
			p.next()
		}
		switch {
		case p.words("BETWEEN"):
			b := &Between{Pos: at.Pos, X: left, Not: not}
			if p.words("SYMMETRIC") {
				b.Symmetric = true
			} else {
				p.words("ASYMMETRIC")
			}
			b.Low = p.additive()
			p.expectWord("AND")
			b.High = p.additive()
			left = b
		case p.period(left) && p.words("OVERLAPS"):
			left = &Binary{at.Pos, "OVERLAPS", left, p.additive()}
		case p.words("IN"):
			left = p.in(at.Pos, left, not)
		case p.words("LIKE"):
			left = p.like(&Like{Pos: at.Pos, X: left, Not: not})
		case p.words("SIMILAR"):
			p.expectWord("TO")
			left = p.like(&Like{Pos: at.Pos, X: left, Not: not, Similar: true})
		default:
			return left
		}
	}
}

// refuseMultiset refuses the operators of multisets.
func (p *parser) refuseMultiset() {
	i := 0
	if p.peek().upper == "NOT" {
		i = 1
	}
	switch what := p.peekAt(i).upper + " " + p.peekAt(i+1).upper; what {
	case "MEMBER OF", "SUBMULTISET OF", "MULTISET UNION", "MULTISET EXCEPT", "MULTISET INTERSECT":
		p.refuse(p.peekAt(i), what, noMultiset)
	}
}

// multisets are the functions of multisets, all of them reserved words.
var multisets = wordSet("MULTISET FUSION INTERSECTION SET")

const noMultiset = "UNNEST the multiset, and compare or group its elements; Flink does not support it either"

// period reports whether an expression can be a period, and refuses predicates on periods that are
// not supported.
func (p *parser) period(left Expr) bool {
	row, ok := left.(*RowValue)
	if !ok || len(row.Items) != 2 {
		return false
	}
	if t := p.peek(); t.kind == wordToken && indexOf([]string{"CONTAINS", "EQUALS", "PRECEDES", "SUCCEEDS", "IMMEDIATELY"}, t.upper) >= 0 {
		panic(Errorf(t, "%s of periods is not supported", t.upper).WithHint("compare the ends of the periods with < and <=; OVERLAPS is supported"))
	}
	return true
}

func (p *parser) negatable(word string) bool {
	return word == "BETWEEN" || word == "IN" || word == "LIKE" || word == "SIMILAR"
}

func (p *parser) comparison() string {
	t := p.peek()
	if t.kind != symbolToken {
		return ""
	}
	for _, op := range comparisons {
		if t.text == op {
			p.next()
			if op == "!=" {
				return "<>"
			}
			return op
		}
	}
	return ""
}

func (p *parser) is(at Pos, x Expr) Expr {
	e := &Is{Pos: at, X: x, Not: p.words("NOT")}
	switch {
	case p.words("DISTINCT", "FROM"):
		e.What = "DISTINCT FROM"
		e.Y = p.additive()
	case p.words("JSON"):
		e.What = "JSON"
		for _, kind := range []string{"VALUE", "OBJECT", "ARRAY", "SCALAR"} {
			if p.words(kind) {
				if kind != "VALUE" {
					e.What += " " + kind
				}
				break
			}
		}
	default:
		for _, what := range []string{"NULL", "TRUE", "FALSE", "UNKNOWN"} {
			if p.words(what) {
				e.What = what
				return e
			}
		}
		if t := p.peek(); t.upper == "EMPTY" || t.upper == "A" && p.peekAt(1).upper == "SET" {
			p.refuse(t, map[bool]string{true: "IS EMPTY", false: "IS A SET"}[t.upper == "EMPTY"], noMultiset)
		}
		panic(p.unexpected("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM"))
	}
	return e
}

func (p *parser) in(at Pos, x Expr, not bool) Expr {
	e := &In{Pos: at, X: x, Not: not}
	p.expectSymbol("(")
	if p.queryFollows(0) {
		e.Query = p.query()
	} else {
		e.List = p.exprs()
	}
	p.expectSymbol(")")
	return e
}

func (p *parser) like(e *Like) Expr {
	e.Pattern = p.additive()
	if p.words("ESCAPE") {
		e.Escape = p.additive()
	}
	return e
}

func (p *parser) additive() Expr {
	left := p.multiplicative()
	for {
		at := p.peek()
		op := p.oneOf("+", "-", "||")
		if op == "" {
			return left
		}
		left = &Binary{at.Pos, op, left, p.multiplicative()}
	}
}

func (p *parser) multiplicative() Expr {
	left := p.unary()
	for {
		at := p.peek()
		op := p.oneOf("*", "/", "%")
		if op == "" {
			return left
		}
		left = &Binary{at.Pos, op, left, p.unary()}
	}
}

func (p *parser) oneOf(ops ...string) string {
	for _, op := range ops {
		if p.symbol(op) {
			return op
		}
	}
	return ""
}

func (p *parser) unary() Expr {
	at := p.peek()
	if op := p.oneOf("-", "+"); op != "" {
		p.enter()
		defer p.leave()
		return &Unary{at.Pos, op, p.unary()}
	}
	return p.postfix(p.primary())
}

func (p *parser) postfix(x Expr) Expr {
	for {
		at := p.peek()
		switch {
		case p.symbol("["):
			x = &Index{at.Pos, x, p.expr()}
			p.expectSymbol("]")
		case p.symbol("."):
			x = &Field{at.Pos, x, p.name()}
		default:
			return x
		}
	}
}

func (p *parser) primary() Expr {
	t := p.peek()
	switch t.kind {
	case numberToken:
		p.next()
		return &Literal{t.Pos, NumberLiteral, t.text}
	case stringToken:
		p.next()
		return &Literal{t.Pos, StringLiteral, t.text}
	case bytesToken:
		p.next()
		if len(t.text)%2 != 0 || strings.Trim(t.text, "0123456789abcdefABCDEF") != "" {
			panic(Errorf(t, "x'%s' does not consist of pairs of hexadecimal digits", t.text))
		}
		return &Literal{t.Pos, BytesLiteral, t.text}
	case quotedToken:
		return p.nameOrCall()
	case symbolToken:
		if t.text == "(" {
			return p.parenthesis()
		}
		panic(p.unexpected("an expression"))
	case wordToken:
		return p.wordPrimary(t)
	}
	panic(p.unexpected("an expression"))
}

func (p *parser) parenthesis() Expr {
	at := p.next()
	if p.queryFollows(0) {
		q := p.query()
		p.expectSymbol(")")
		return &Subquery{Pos: at.Pos, Query: q}
	}
	items := p.exprs()
	p.expectSymbol(")")
	if len(items) == 1 {
		return items[0]
	}
	return &RowValue{at.Pos, items}
}

func (p *parser) wordPrimary(t token) Expr {
	after := p.peekAt(1)
	call := after.kind == symbolToken && after.text == "("
	switch t.upper {
	case "NULL":
		p.next()
		return &Literal{t.Pos, NullLiteral, "NULL"}
	case "TRUE", "FALSE":
		p.next()
		return &Literal{t.Pos, BoolLiteral, t.upper}
	case "UNKNOWN":
		p.next()
		return &Literal{t.Pos, NullLiteral, "NULL"}
	case "DATE", "TIME", "TIMESTAMP":
		if after.kind == stringToken {
			p.next()
			p.next()
			kind := map[string]LiteralKind{"DATE": DateLiteral, "TIME": TimeLiteral, "TIMESTAMP": TimestampLiteral}[t.upper]
			return &Literal{t.Pos, kind, after.text}
		}
	case "INTERVAL":
		return p.interval()
	case "CASE":
		return p.caseExpr()
	case "CAST", "TRY_CAST":
		return p.cast(t)
	case "EXISTS":
		p.next()
		p.expectSymbol("(")
		q := p.query()
		p.expectSymbol(")")
		return &Subquery{Pos: t.Pos, Query: q, Exists: true}
	case "ROW":
		if call {
			p.next()
			p.next()
			items := p.exprs()
			p.expectSymbol(")")
			return &RowValue{t.Pos, items}
		}
	case "ARRAY", "MAP":
		if after.kind == symbolToken && after.text == "[" {
			p.next()
			p.next()
			var items []Expr
			if !p.isSymbol("]") {
				items = p.exprs()
			}
			p.expectSymbol("]")
			if t.upper == "ARRAY" {
				return &ArrayValue{t.Pos, items}
			}
			if len(items)%2 != 0 {
				panic(Errorf(t, "MAP has a key without a value"))
			}
			return &MapValue{t.Pos, items}
		}
	}
	if multisets[t.upper] && (call || after.text == "[") {
		p.refuse(t, t.upper+after.text+map[bool]string{true: "…)", false: "…]"}[call], "collect the rows of a query by COLLECT, or "+noMultiset)
	}
	if bare[t.upper] && !call {
		p.next()
		return &Call{Pos: t.Pos, Name: t.upper, NoParens: true}
	}
	if reserved[t.upper] && (!call || !callable[t.upper]) {
		panic(p.unexpected("an expression"))
	}
	return p.nameOrCall()
}

// nameOrCall parses a.b.c or f(…).
func (p *parser) nameOrCall() Expr {
	t := p.peek()
	if after := p.peekAt(1); after.kind == symbolToken && after.text == "(" {
		p.next()
		return p.call(t)
	}
	ref := &ColumnRef{Pos: t.Pos, Parts: []Ident{p.name()}}
	for p.isSymbol(".") {
		p.next()
		ref.Parts = append(ref.Parts, p.name())
	}
	return ref
}

func (p *parser) interval() Expr {
	e := &Interval{Pos: p.next().Pos, Precision: -1}
	if p.symbol("-") {
		e.Negative = true
	}
	if p.peek().kind == numberToken {
		panic(p.unexpected("a 'value' in quotes"))
	}
	e.Value = p.stringText("a 'value' in quotes").text
	e.From, e.Precision = p.unit()
	if p.words("TO") {
		e.To, _ = p.unit()
	}
	return e
}

var units = []string{"SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"}

func (p *parser) unit() (name string, precision int) {
	t := p.peek()
	name = t.upper
	if t.kind == wordToken && strings.HasSuffix(name, "S") && indexOf(units, strings.TrimSuffix(name, "S")) >= 0 {
		name = strings.TrimSuffix(name, "S")
	}
	if t.kind != wordToken || indexOf(units, name) < 0 {
		e := p.unexpected("a unit (" + strings.Join(units, ", ") + ")")
		if t.kind == wordToken {
			e.Hint = suggest.DidYouMean(t.upper, units)
		}
		panic(e)
	}
	p.next()
	precision = -1
	if p.isSymbol("(") {
		p.next()
		precision = p.integer("a number of digits")
		if p.symbol(",") {
			p.integer("a number of digits")
		}
		p.expectSymbol(")")
	}
	return name, precision
}

func (p *parser) integer(what string) int {
	t := p.peek()
	n, err := strconv.Atoi(t.text)
	if t.kind != numberToken || err != nil {
		panic(p.unexpected(what))
	}
	p.next()
	return n
}

func (p *parser) caseExpr() Expr {
	e := &Case{Pos: p.next().Pos}
	if !p.isWord("WHEN") {
		e.Operand = p.expr()
	}
	for p.words("WHEN") {
		conds := []Expr{p.expr()}
		for e.Operand != nil && p.symbol(",") { // several values for one branch
			conds = append(conds, p.expr())
		}
		p.expectWord("THEN")
		then := p.expr()
		for _, cond := range conds {
			e.Whens = append(e.Whens, When{Cond: cond, Then: then})
		}
	}
	if len(e.Whens) == 0 {
		panic(p.unexpected("WHEN"))
	}
	if p.words("ELSE") {
		e.Else = p.expr()
	}
	p.expectWord("END")
	return e
}

func (p *parser) cast(t token) Expr {
	p.next()
	p.expectSymbol("(")
	e := &Cast{Pos: t.Pos, Try: t.upper == "TRY_CAST", X: p.expr()}
	p.expectWord("AS")
	e.Type = p.typeName()
	p.expectSymbol(")")
	return e
}

// call parses the arguments of a function in the syntax of its name.
func (p *parser) call(name token) Expr {
	c := &Call{Pos: name.Pos, Name: name.text}
	p.expectSymbol("(")
	switch name.upper {
	case "EXTRACT":
		p.symbolArg(c)
		p.expectWord("FROM")
		c.Args = append(c.Args, p.expr())
	case "POSITION":
		c.Args = append(c.Args, p.additive())
		p.expectWord("IN")
		c.Args = append(c.Args, p.expr())
		if p.words("FROM") {
			c.Args = append(c.Args, p.expr())
		}
	case "TRIM":
		p.trim(c)
	case "SUBSTRING":
		p.fromFor(c)
	case "OVERLAY":
		p.overlay(c)
	case "CEIL", "CEILING", "FLOOR":
		c.Args = append(c.Args, p.expr())
		if p.words("TO") {
			p.symbolArg(c)
		} else if p.symbol(",") {
			c.Args = append(c.Args, p.exprs()...)
		}
	case "TIMESTAMPADD", "TIMESTAMPDIFF":
		p.symbolArg(c)
		p.expectSymbol(",")
		c.Args = append(c.Args, p.exprs()...)
	case "JSON_VALUE", "JSON_QUERY", "JSON_EXISTS":
		c.Args = p.exprs()
		c.JSON = p.jsonClauses()
	case "JSON_OBJECT", "JSON_ARRAY", "JSON_OBJECTAGG", "JSON_ARRAYAGG":
		p.jsonConstructor(c, name.upper)
	default:
		p.args(c)
	}
	p.expectSymbol(")")
	p.behindCall(c)
	return c
}

func (p *parser) symbolArg(c *Call) {
	t := p.peek()
	if t.kind != wordToken {
		panic(p.unexpected("a unit"))
	}
	p.next()
	c.Args = append(c.Args, &Symbol{t.Pos, t.upper})
}

func (p *parser) args(c *Call) {
	if p.symbol("*") {
		c.Star = true
		return
	}
	if p.isSymbol(")") {
		return
	}
	if p.words("DISTINCT") {
		c.Distinct = true
	} else {
		p.words("ALL")
	}
	if p.words("DESCRIPTOR") {
		p.refuse(p.peek(), "DESCRIPTOR outside of a window function", "write the column's name")
	}
	c.Args = p.exprs()
	p.nulls(c)
}

func (p *parser) nulls(c *Call) {
	at := p.peek()
	if p.words("IGNORE", "NULLS") {
		c.IgnoreNulls = true
	} else if p.words("RESPECT", "NULLS") {
		p.refuse(at, "RESPECT NULLS", "leave it out where NULLs don't occur, or replace them with COALESCE")
	}
}

func (p *parser) trim(c *Call) {
	where := "BOTH"
	at := p.peek()
	for _, w := range []string{"BOTH", "LEADING", "TRAILING"} {
		if p.words(w) {
			where = w
			break
		}
	}
	var chars Expr = &Literal{at.Pos, StringLiteral, " "}
	var x Expr
	if p.words("FROM") {
		x = p.expr()
	} else {
		x = p.expr()
		if p.words("FROM") {
			chars, x = x, p.expr()
		}
	}
	c.Args = []Expr{&Symbol{at.Pos, where}, chars, x}
}

func (p *parser) overlay(c *Call) {
	c.Args = append(c.Args, p.expr())
	p.expectWord("PLACING")
	c.Args = append(c.Args, p.expr())
	p.expectWord("FROM")
	c.Args = append(c.Args, p.expr())
	if p.words("FOR") {
		c.Args = append(c.Args, p.expr())
	}
}

func (p *parser) fromFor(c *Call) {
	c.Args = append(c.Args, p.expr())
	for p.symbol(",") || p.words("FROM") || p.words("FOR") {
		c.Args = append(c.Args, p.expr())
	}
}

func (p *parser) jsonClauses() *JSONClauses {
	j := &JSONClauses{}
	if p.words("RETURNING") {
		j.Returning = p.typeName()
	}
	for _, w := range []string{"WITHOUT", "WITH"} {
		if p.words(w) {
			j.Wrapper = "WITHOUT"
			if w == "WITH" {
				j.Wrapper = "UNCONDITIONAL"
				if p.words("CONDITIONAL") {
					j.Wrapper = "CONDITIONAL"
				} else {
					p.words("UNCONDITIONAL")
				}
			}
			p.words("ARRAY")
			p.expectWord("WRAPPER")
		}
	}
	for i := 0; i < 2; i++ {
		behavior, value := p.jsonBehavior()
		if behavior == "" {
			break
		}
		p.expectWord("ON")
		if p.words("EMPTY") {
			j.OnEmpty, j.Empty = behavior, value
		} else {
			p.expectWord("ERROR")
			j.OnError, j.Error = behavior, value
		}
	}
	if *j == (JSONClauses{}) {
		return nil
	}
	return j
}

// jsonConstructor parses the members of an object, [KEY] name VALUE value or name : value, or the
// elements of an array, and whether NULL is among them.
func (p *parser) jsonConstructor(c *Call, name string) {
	if name == "JSON_ARRAYAGG" && p.words("DISTINCT") {
		c.Distinct = true
	}
	for object := strings.HasPrefix(name, "JSON_OBJECT"); !p.isSymbol(")") && !p.isWord("NULL", "ON", "NULL") && !p.isWord("ABSENT", "ON", "NULL"); {
		if object {
			if after := p.peekAt(1); after.upper != "VALUE" && after.text != "(" && after.text != "." {
				p.words("KEY")
			}
			c.Args = append(c.Args, p.expr())
			if !p.symbol(":") {
				p.expectWord("VALUE")
			}
		}
		c.Args = append(c.Args, p.expr())
		if strings.HasSuffix(name, "AGG") || !p.symbol(",") {
			break
		}
	}
	for _, w := range []string{"NULL", "ABSENT"} {
		if p.words(w, "ON", "NULL") {
			c.JSON = &JSONClauses{OnNull: w}
		}
	}
	if strings.HasSuffix(name, "AGG") && len(c.Args) == 0 {
		panic(p.unexpected("an expression"))
	}
}

func (p *parser) jsonBehavior() (string, Expr) {
	switch {
	case p.words("DEFAULT"):
		return "DEFAULT", p.expr()
	case p.words("EMPTY", "ARRAY"):
		return "EMPTY ARRAY", nil
	case p.words("EMPTY", "OBJECT"):
		return "EMPTY OBJECT", nil
	}
	for _, w := range []string{"NULL", "ERROR", "TRUE", "FALSE", "UNKNOWN"} {
		if p.words(w) {
			return w, nil
		}
	}
	return "", nil
}

func (p *parser) behindCall(c *Call) {
	p.nulls(c)
	if p.words("WITHIN", "GROUP") {
		p.expectSymbol("(")
		p.expectWord("ORDER", "BY")
		c.OrderBy = p.orderItems()
		p.expectSymbol(")")
	}
	if p.isWord("FILTER") && p.peekAt(1).text == "(" {
		p.next()
		p.next()
		p.expectWord("WHERE")
		c.Filter = p.expr()
		p.expectSymbol(")")
	}
	if p.words("OVER") {
		if p.isSymbol("(") {
			c.Over = p.windowSpec()
		} else {
			name := p.name()
			c.OverName = &name
		}
	}
}
