package sql

import (
	"strings"
)

// String formats the script such that Parse returns the same tree.
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

// Format returns a statement without its semicolon, one clause per line.
func Format(s Statement) string {
	p := &printer{}
	p.statement(s)
	return p.b.String()
}

// FormatQuery returns a query as text.
func FormatQuery(q *Query) string {
	p := &printer{}
	p.query(q)
	return p.b.String()
}

// FormatExpr returns an expression as text.
func FormatExpr(e Expr) string {
	p := &printer{}
	p.expr(e, 0)
	return p.b.String()
}

// FormatWindow returns the window of a function with OVER as text, with its parentheses.
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
	p.tableHints(s.Hints)
	if s.Columns != nil {
		p.put(" ", nameList(s.Columns))
	}
	p.line()
	p.query(s.Query)
}

func (p *printer) createTable(s *CreateTable) {
	p.put("CREATE ", word(s.Temporary, "TEMPORARY "), "TABLE ", word(s.IfNotExists, "IF NOT EXISTS "), path(s.Name))
	p.tableElements(s)
	if s.Comment != "" {
		p.put(" COMMENT ", QuoteString(s.Comment))
	}
	if s.Partitioned != nil {
		p.put(" PARTITIONED BY ", nameList(s.Partitioned))
	}
	if s.Options != nil {
		p.put(" WITH ")
		p.options(s.Options)
	}
	if s.Like != nil {
		p.tableLike(s.Like)
	}
	if s.As != nil {
		p.put(" AS")
		p.line()
		p.query(s.As)
	}
}

// tableElements prints the columns of a table, its watermark and its key, in parentheses.
func (p *printer) tableElements(s *CreateTable) {
	if s.Select != nil {
		p.put(" ", nameList(s.Select))
	}
	if len(s.Columns) == 0 && s.Watermark == nil && s.PrimaryKey == nil {
		return
	}
	p.put(" (")
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
}

func (p *printer) tableLike(l *TableLike) {
	p.put(" LIKE ", path(l.Table))
	if l.Options == nil {
		return
	}
	p.put(" (")
	p.indent++
	for _, o := range l.Options {
		p.line()
		p.put(string(o.Merging), " ", o.Feature)
	}
	p.indent--
	p.line()
	p.put(")")
}

// tableHints prints the hints after a table's name.
func (p *printer) tableHints(hints []Hint) {
	if hints != nil {
		p.put(" ")
		p.hints(hints)
	}
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

func (p *printer) hints(hints []Hint) {
	p.put("/*+ ")
	for i, h := range hints {
		if i > 0 {
			p.put(", ")
		}
		p.put(Quote(h.Name))
		var args []string
		for _, o := range h.Options {
			args = append(args, QuoteString(o.Key)+" = "+QuoteString(o.Value))
		}
		for _, a := range h.Args {
			args = append(args, QuoteString(a.Name))
		}
		if args != nil {
			p.put("(", strings.Join(args, ", "), ")")
		}
	}
	p.put(" */")
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
