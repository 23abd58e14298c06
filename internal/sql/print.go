package sql

import (
	"fmt"
	"slices"
	"strings"
)

// String writes the script so that Parse gives the same tree.
func (s *Script) String() string {
	var b strings.Builder
	for i, st := range s.Statements {
		if i > 0 {
			b.WriteString("\n\n")
		}
		b.WriteString(Format(st))
		b.WriteByte(';')
	}
	if len(s.Statements) > 0 {
		b.WriteByte('\n')
	}
	return b.String()
}

// Format writes a statement without its semicolon, one clause a line.
func Format(s Statement) string {
	p := &printer{}
	p.statement(s)
	return p.b.String()
}

// FormatQuery writes a query.
func FormatQuery(q *Query) string {
	p := &printer{}
	p.query(q)
	return p.b.String()
}

// FormatExpr writes an expression.
func FormatExpr(e Expr) string {
	p := &printer{}
	p.expr(e, 0)
	return p.b.String()
}

// FormatWindow writes the window of a function OVER, with its parentheses.
func FormatWindow(w *WindowSpec) string {
	p := &printer{}
	p.windowSpec(w)
	return p.b.String()
}

type printer struct {
	b      strings.Builder
	indent int
}

func (p *printer) put(parts ...string) {
	for _, s := range parts {
		p.b.WriteString(s)
	}
}

func (p *printer) line() {
	p.b.WriteByte('\n')
	for range p.indent {
		p.b.WriteString("  ")
	}
}

func path(parts []Ident) string {
	names := make([]string, len(parts))
	for i, n := range parts {
		names[i] = Quote(n.Name)
	}
	return strings.Join(names, ".")
}

func nameList(names []Ident) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = Quote(n.Name)
	}
	return "(" + strings.Join(all, ", ") + ")"
}

func (p *printer) statement(s Statement) {
	switch s := s.(type) {
	case *Set:
		p.put("SET ", QuoteString(s.Key), " = ", QuoteString(s.Value))
	case *CreateTable:
		p.createTable(s)
	case *CreateView:
		p.put("CREATE ", word(s.Temporary, "TEMPORARY "), "VIEW ", word(s.IfNotExists, "IF NOT EXISTS "), path(s.Name))
		if s.Columns != nil {
			p.put(" ", nameList(s.Columns))
		}
		if s.Comment != "" {
			p.put(" COMMENT ", QuoteString(s.Comment))
		}
		p.put(" AS")
		p.line()
		p.query(s.Query)
	case *Drop:
		p.put("DROP ", word(s.Temporary, "TEMPORARY "))
		if s.View {
			p.put("VIEW ")
		} else {
			p.put("TABLE ")
		}
		p.put(word(s.IfExists, "IF EXISTS "), path(s.Name))
	case *Insert:
		p.insert(s)
	case *StatementSet:
		p.put("EXECUTE STATEMENT SET BEGIN")
		p.indent++
		for _, i := range s.Inserts {
			p.line()
			p.insert(i)
			p.put(";")
		}
		p.indent--
		p.line()
		p.put("END")
	}
}

func word(yes bool, w string) string {
	if yes {
		return w
	}
	return ""
}

func (p *printer) insert(s *Insert) {
	p.put("INSERT INTO ", path(s.Table))
	if s.Columns != nil {
		p.put(" ", nameList(s.Columns))
	}
	p.line()
	p.query(s.Query)
}

func (p *printer) createTable(s *CreateTable) {
	p.put("CREATE ", word(s.Temporary, "TEMPORARY "), "TABLE ", word(s.IfNotExists, "IF NOT EXISTS "), path(s.Name), " (")
	p.indent++
	first := true
	next := func() {
		if !first {
			p.put(",")
		}
		first = false
		p.line()
	}
	for _, c := range s.Columns {
		next()
		p.column(c)
	}
	if w := s.Watermark; w != nil {
		next()
		p.put("WATERMARK FOR ", path(w.Column), " AS ")
		p.expr(w.Expr, 0)
	}
	if k := s.PrimaryKey; k != nil {
		next()
		if k.Constraint != "" {
			p.put("CONSTRAINT ", Quote(k.Constraint), " ")
		}
		p.put("PRIMARY KEY ", nameList(k.Columns), " NOT ENFORCED")
	}
	p.indent--
	p.line()
	p.put(")")
	if s.Comment != "" {
		p.put(" COMMENT ", QuoteString(s.Comment))
	}
	p.put(" WITH ")
	p.options(s.Options)
}

func (p *printer) options(options []Option) {
	p.put("(")
	p.indent++
	for i, o := range options {
		if i > 0 {
			p.put(",")
		}
		p.line()
		p.put(QuoteString(o.Key), " = ", QuoteString(o.Value))
	}
	p.indent--
	p.line()
	p.put(")")
}

func (p *printer) column(c Column) {
	p.put(Quote(c.Name.Name), " ")
	if c.Computed != nil {
		p.put("AS ")
		p.expr(c.Computed, 0)
	} else {
		p.put(c.Type.String())
		if m := c.Metadata; m != nil {
			p.put(" METADATA")
			if m.From != "" {
				p.put(" FROM ", QuoteString(m.From))
			}
			p.put(word(m.Virtual, " VIRTUAL"))
		}
	}
	if c.Comment != "" {
		p.put(" COMMENT ", QuoteString(c.Comment))
	}
}

func (p *printer) query(q *Query) {
	for i, c := range q.With {
		if i == 0 {
			p.put("WITH ")
		} else {
			p.put(",")
			p.line()
		}
		p.put(Quote(c.Name.Name))
		if c.Columns != nil {
			p.put(" ", nameList(c.Columns))
		}
		p.put(" AS ")
		p.nested(c.Query)
	}
	if q.With != nil {
		p.line()
	}
	p.body(q.Body)
	if q.OrderBy != nil {
		p.line()
		p.put("ORDER BY ")
		p.orderItems(q.OrderBy)
	}
	if q.Limit != nil {
		p.line()
		p.put("LIMIT ")
		p.expr(q.Limit, 0)
	}
	if q.Offset != nil {
		p.line()
		p.put("OFFSET ")
		p.expr(q.Offset, 0)
	}
}

func (p *printer) nested(q *Query) {
	p.put("(")
	p.indent++
	p.line()
	p.query(q)
	p.indent--
	p.line()
	p.put(")")
}

func (p *printer) body(b QueryBody) {
	switch b := b.(type) {
	case *Query:
		p.nested(b)
	case *SetOp:
		p.operand(b, b.Left, false)
		p.line()
		p.put(b.Op, word(b.All, " ALL"))
		p.line()
		p.operand(b, b.Right, true)
	case *Values:
		p.put("VALUES ")
		for i, row := range b.Rows {
			if i > 0 {
				p.put(", ")
			}
			p.put("(")
			p.exprs(row)
			p.put(")")
		}
	case *Select:
		p.selectCore(b)
	}
}

// operand writes one side of a set operation. The tree that the parser builds needs no parentheses
// that it has not kept as *Query.
func (p *printer) operand(_ *SetOp, b QueryBody, _ bool) { p.body(b) }

func (p *printer) selectCore(s *Select) {
	p.put("SELECT ", word(s.Distinct, "DISTINCT "))
	for i, item := range s.Items {
		if i > 0 {
			p.put(", ")
		}
		p.expr(item.Expr, 0)
		if item.Alias != nil {
			p.put(" AS ", Quote(item.Alias.Name))
		}
	}
	for i, t := range s.From {
		if i == 0 {
			p.line()
			p.put("FROM ")
		} else {
			p.put(", ")
		}
		p.table(t)
	}
	clause := func(name string, e Expr) {
		if e != nil {
			p.line()
			p.put(name, " ")
			p.expr(e, 0)
		}
	}
	clause("WHERE", s.Where)
	if s.GroupBy != nil {
		p.line()
		p.put("GROUP BY ")
		if len(s.GroupBy) == 0 {
			p.put("()")
		}
		p.exprs(s.GroupBy)
	}
	clause("HAVING", s.Having)
	for i, w := range s.Windows {
		if i == 0 {
			p.line()
			p.put("WINDOW ")
		} else {
			p.put(", ")
		}
		p.put(Quote(w.Name.Name), " AS ")
		p.windowSpec(w.Spec)
	}
	clause("QUALIFY", s.Qualify)
}

func (p *printer) alias(a Alias) {
	if a.Name.Name == "" {
		return
	}
	p.put(" AS ", Quote(a.Name.Name))
	if a.Columns != nil {
		p.put(" ", nameList(a.Columns))
	}
}

func (p *printer) table(t TableRef) {
	switch t := t.(type) {
	case *TableName:
		p.put(path(t.Name))
		if t.Hints != nil {
			p.put(" /*+ OPTIONS")
			p.options(t.Hints)
			p.put(" */")
		}
		if t.AsOf != nil {
			p.put(" FOR SYSTEM_TIME AS OF ")
			p.expr(t.AsOf, 0)
		}
		p.alias(t.Alias)
	case *Derived:
		p.put(word(t.Lateral, "LATERAL "))
		p.nested(t.Query)
		p.alias(t.Alias)
	case *Join:
		p.table(t.Left)
		p.line()
		if t.Kind != "INNER" {
			p.put(t.Kind, " ")
		}
		p.put("JOIN ")
		if _, nested := t.Right.(*Join); nested {
			p.put("(")
			p.table(t.Right)
			p.put(")")
		} else {
			p.table(t.Right)
		}
		if t.On != nil {
			p.put(" ON ")
			p.expr(t.On, 0)
		}
		if t.Using != nil {
			p.put(" USING ", nameList(t.Using))
		}
	case *WindowTable:
		p.windowTable(t)
	case *Unnest:
		p.put("UNNEST(")
		p.expr(t.Expr, 0)
		p.put(")", word(t.Ordinality, " WITH ORDINALITY"))
		p.alias(t.Alias)
	}
}

func (p *printer) windowTable(t *WindowTable) {
	p.put("TABLE(", t.Function, "(")
	switch in := t.Table.(type) {
	case *TableName:
		p.put("TABLE ", path(in.Name))
		if t.PartitionBy != nil {
			p.put(" PARTITION BY (")
			p.exprs(t.PartitionBy)
			p.put(")")
		}
	case *Derived:
		p.nested(in.Query)
	}
	p.put(", DESCRIPTOR(", Quote(t.Time.Name), ")")
	for _, a := range t.Args {
		p.put(", ")
		p.expr(a, 0)
	}
	p.put("))")
	p.alias(t.Alias)
}

func (p *printer) orderItems(items []OrderItem) {
	for i, o := range items {
		if i > 0 {
			p.put(", ")
		}
		p.expr(o.Expr, 0)
		p.put(word(o.Desc, " DESC"))
		if o.NullsFirst != nil {
			if *o.NullsFirst {
				p.put(" NULLS FIRST")
			} else {
				p.put(" NULLS LAST")
			}
		}
	}
}

func (p *printer) windowSpec(w *WindowSpec) {
	p.put("(")
	space := ""
	if w.PartitionBy != nil {
		p.put("PARTITION BY ")
		p.exprs(w.PartitionBy)
		space = " "
	}
	if w.OrderBy != nil {
		p.put(space, "ORDER BY ")
		p.orderItems(w.OrderBy)
		space = " "
	}
	if f := w.Frame; f != nil {
		kind := "RANGE"
		if f.Rows {
			kind = "ROWS"
		}
		p.put(space, kind, " BETWEEN ")
		p.bound(f.Start)
		p.put(" AND ")
		p.bound(f.End)
	}
	p.put(")")
}

func (p *printer) bound(b Bound) {
	side := " PRECEDING"
	if b.Following {
		side = " FOLLOWING"
	}
	switch {
	case b.Unbounded:
		p.put("UNBOUNDED", side)
	case b.Offset == nil:
		p.put("CURRENT ROW")
	default:
		p.expr(b.Offset, bindAdd)
		p.put(side)
	}
}

// How tightly expressions bind, loosest first.
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

// expr writes an expression, in parentheses where it binds looser than its place asks.
func (p *printer) expr(e Expr, atLeast int) {
	binds := bindingOf(e)
	if binds < atLeast {
		p.put("(")
		defer p.put(")")
	}
	switch e := e.(type) {
	case *Literal:
		p.literal(e)
	case *Interval:
		p.put("INTERVAL ", word(e.Negative, "-"), QuoteString(e.Value), " ", e.From)
		if e.Precision >= 0 {
			p.put(fmt.Sprintf("(%d)", e.Precision))
		}
		if e.To != "" {
			p.put(" TO ", e.To)
		}
	case *ColumnRef:
		p.put(path(e.Parts))
	case *Star:
		if e.Table != nil {
			p.put(path(e.Table), ".")
		}
		p.put("*")
	case *Unary:
		if e.Op == "NOT" {
			p.put("NOT ")
		} else {
			p.put(e.Op)
			if inner, ok := e.X.(*Unary); ok && inner.Op == "-" {
				p.put(" ") // -- would begin a comment
			}
		}
		p.expr(e.X, binds)
	case *Binary:
		p.expr(e.L, binds)
		p.put(" ", e.Op, " ")
		p.expr(e.R, binds+1)
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
			p.put("(")
			p.exprs(e.List)
			p.put(")")
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
	case *Case:
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
	case *Cast:
		p.put(word(e.Try, "TRY_"), "CAST(")
		p.expr(e.X, 0)
		p.put(" AS ", e.Type.String(), ")")
	case *Call:
		p.call(e)
	case *Grouping:
		p.put(e.Kind, " (")
		for i, set := range e.Sets {
			if i > 0 {
				p.put(", ")
			}
			p.put("(")
			p.exprs(set)
			p.put(")")
		}
		p.put(")")
	case *Symbol:
		p.put(e.Name)
	case *RowValue:
		p.put("ROW(")
		p.exprs(e.Items)
		p.put(")")
	case *ArrayValue:
		p.put("ARRAY[")
		p.exprs(e.Items)
		p.put("]")
	case *MapValue:
		p.put("MAP[")
		p.exprs(e.Items)
		p.put("]")
	case *Index:
		p.expr(e.X, bindPostfix)
		p.put("[")
		p.expr(e.Index, 0)
		p.put("]")
	case *Field:
		if _, name := e.X.(*ColumnRef); name {
			p.put("(")
			p.expr(e.X, 0)
			p.put(")")
		} else {
			p.expr(e.X, bindPostfix)
		}
		p.put(".", Quote(e.Name.Name))
	case *Subquery:
		p.put(word(e.Exists, "EXISTS "))
		p.nested(e.Query)
	}
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
	for i, a := range c.Args {
		if i > 0 {
			separator := ", "
			if i <= len(separators) {
				separator = separators[i-1]
				if _, unit := a.(*Symbol); separator == " TO " && !unit {
					separator = ", "
				}
			}
			p.put(separator)
		}
		if i == 0 && unitFollows(c) && endsInInterval(a) {
			p.put("(")
			p.expr(a, 0)
			p.put(")")
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

// unitFollows reports a call whose first argument is followed by TO and a unit.
func unitFollows(c *Call) bool {
	if len(c.Args) != 2 {
		return false
	}
	_, unit := c.Args[1].(*Symbol)
	return unit && slices.Contains([]string{"CEIL", "CEILING", "FLOOR"}, strings.ToUpper(c.Name))
}

// endsInInterval reports whether the text of an expression ends in an interval without TO, which
// would take a TO that follows.
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

// argumentBinding is what an argument must bind at least: before IN of POSITION, a predicate would
// swallow it.
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
}

// String writes the type.
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
