package sql

import "slices"

func (p *parser) createTable(at Pos, temporary bool) Statement {
	t := &CreateTable{Pos: at, Temporary: temporary, IfNotExists: p.ifNotExists(), Name: p.path()}
	if p.isSymbol("(") {
		p.tableElements(t)
	}
	if p.words("COMMENT") {
		t.Comment = p.stringText("a 'comment'").text
	}
	if p.isWord("DISTRIBUTED") {
		p.refuse(p.peek(), "DISTRIBUTED BY", "topics are partitioned by key: set 'key.format' and 'key.fields'")
	}
	if p.words("PARTITIONED", "BY") {
		t.Partitioned = p.names()
	}
	if p.words("WITH") {
		t.Options = p.options()
	}
	source := p.peek()
	switch {
	case p.words("LIKE"):
		t.Like = p.tableLike(source.Pos)
	case p.words("AS"):
		if temporary {
			panic(Errorf(at, "CREATE TEMPORARY TABLE … AS SELECT is not supported").WithHint("write CREATE TABLE; Flink does not support it either"))
		}
		t.As = p.query()
	case t.Select != nil:
		panic(p.unexpected("AS and a query").WithHint("columns without types select those of CREATE TABLE … AS SELECT"))
	case t.Options == nil:
		panic(p.unexpected("WITH"))
	case len(t.Columns) == 0:
		panic(Errorf(at, "CREATE TABLE without columns is not supported").WithHint("declare its columns and their types, or write LIKE another table, or AS SELECT"))
	}
	return t
}

// tableLike parses what follows LIKE: table [(INCLUDING feature …)].
func (p *parser) tableLike(at Pos) *TableLike {
	l := &TableLike{Pos: at, Table: p.path()}
	if !p.symbol("(") {
		return l
	}
	for {
		option := LikeOption{Pos: p.peek().Pos}
		switch {
		case p.words(string(Including)):
			option.Merging = Including
		case p.words(string(Excluding)):
			option.Merging = Excluding
		case p.words(string(Overwriting)):
			option.Merging = Overwriting
		default:
			panic(p.unexpected("INCLUDING, EXCLUDING or OVERWRITING"))
		}
		for _, f := range LikeFeatures {
			if p.words(f) {
				option.Feature = f
			}
		}
		switch {
		case option.Feature == "":
			panic(p.unexpected("ALL, CONSTRAINTS, DISTRIBUTION, GENERATED, METADATA, OPTIONS, PARTITIONS or WATERMARKS"))
		case option.Merging == Overwriting && !slices.Contains([]string{"GENERATED", "METADATA", "OPTIONS", "WATERMARKS"}, option.Feature):
			panic(Errorf(option, "OVERWRITING %s is not possible", option.Feature).WithHint("write INCLUDING or EXCLUDING"))
		case slices.ContainsFunc(l.Options, func(o LikeOption) bool { return o.Feature == option.Feature }):
			panic(Errorf(option, "LIKE lists %s twice", option.Feature))
		}
		l.Options = append(l.Options, option)
		if p.symbol(")") {
			return l
		}
	}
}

// tableElements parses (columns, watermark, key), or (names) of CREATE TABLE … AS SELECT.
func (p *parser) tableElements(t *CreateTable) {
	if last := p.peekAt(2); p.peekAt(1).kind != endToken && last.kind == symbolToken && (last.text == "," || last.text == ")") {
		t.Select = p.names()
		return
	}
	p.expectSymbol("(")
	for {
		p.tableElement(t)
		if !p.symbol(",") {
			break
		}
	}
	p.expectSymbol(")")
}

func (p *parser) options() []Option {
	p.expectSymbol("(")
	var all []Option
	for {
		key := p.stringText("an option's 'key'")
		p.expectSymbol("=")
		value := p.stringText("the option's 'value'")
		all = append(all, Option{key.Pos, key.text, value.text, value.Pos})
		if !p.symbol(",") {
			break
		}
	}
	p.expectSymbol(")")
	return all
}

func (p *parser) tableElement(t *CreateTable) {
	at := p.peek()
	switch {
	case p.words("WATERMARK"):
		if t.Watermark != nil {
			panic(Errorf(at, "a table can have only one WATERMARK"))
		}
		p.expectWord("FOR")
		w := &Watermark{Pos: at.Pos, Column: p.path()}
		p.expectWord("AS")
		w.Expr = p.expr()
		t.Watermark = w
	case p.isWord("CONSTRAINT"), p.isWord("PRIMARY"):
		key := &PrimaryKey{Pos: at.Pos}
		if p.words("CONSTRAINT") {
			key.Constraint = p.name().Name
		}
		p.expectWord("PRIMARY", "KEY")
		key.Columns = p.names()
		if !p.words("NOT", "ENFORCED") {
			panic(p.unexpected("NOT ENFORCED").WithHint("Flink doesn't check primary keys of streams, and requires NOT ENFORCED to say so"))
		}
		if t.PrimaryKey != nil {
			panic(Errorf(at, "a table can have only one PRIMARY KEY"))
		}
		t.PrimaryKey = key
	default:
		t.Columns = append(t.Columns, p.column(t))
	}
}

func (p *parser) column(t *CreateTable) Column {
	c := Column{Pos: p.peek().Pos, Name: p.name()}
	if p.words("AS") {
		c.Computed = p.expr()
	} else {
		c.Type = p.typeName()
		at := p.peek()
		switch {
		case p.words("METADATA"):
			m := &Metadata{Pos: at.Pos}
			if p.words("FROM") {
				m.From = p.stringText("the metadata's 'key'").text
			}
			m.Virtual = p.words("VIRTUAL")
			c.Metadata = m
		case p.words("PRIMARY", "KEY"):
			p.expectWord("NOT", "ENFORCED")
			if t.PrimaryKey != nil {
				panic(Errorf(at, "a table can have only one PRIMARY KEY"))
			}
			t.PrimaryKey = &PrimaryKey{Pos: at.Pos, Columns: []Ident{c.Name}}
		}
	}
	if p.words("COMMENT") {
		c.Comment = p.stringText("a 'comment'").text
	}
	return c
}
