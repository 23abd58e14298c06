package sql

// typeName parses a type and [NOT] NULL, and the postfix form of collections: INT ARRAY, STRING NOT
// NULL MULTISET.
func (p *parser) typeName() *TypeName {
	p.enter()
	defer p.leave()
	n := p.typeAlone()
	p.nullability(n)
	for {
		at := p.peek()
		if !p.words("ARRAY") && !p.words("MULTISET") {
			return n
		}
		n = &TypeName{Pos: n.Pos, Name: at.upper, Elem: n}
		p.nullability(n)
	}
}

func (p *parser) nullability(n *TypeName) {
	if p.words("NOT", "NULL") {
		n.NotNull = true
	} else if next := p.peekAt(1); next.upper != "ON" { // of RETURNING type NULL ON EMPTY
		p.words("NULL")
	}
}

// synonyms are the types with more than one name, or with a name of several words.
var synonyms = map[string]string{
	"CHARACTER": "CHAR", "CHAR VARYING": "VARCHAR", "BINARY VARYING": "VARBINARY", "DEC": "DECIMAL", "NUMERIC": "DECIMAL", "INTEGER": "INT",
}

// typeParams is the number of parameters that a type may have.
var typeParams = map[string]int{
	"CHAR": 1, "VARCHAR": 1, "BINARY": 1, "VARBINARY": 1, "DECIMAL": 2, "TIME": 1, "TIMESTAMP": 1, "TIMESTAMP_LTZ": 1,
}

// typeAlone parses a type with its parameters.
func (p *parser) typeAlone() *TypeName {
	t := p.peek()
	if t.kind != wordToken {
		panic(p.unexpected("a type"))
	}
	p.next()
	n := &TypeName{Pos: t.Pos, Name: t.upper}
	rename := func() {
		if name, ok := synonyms[n.Name]; ok {
			n.Name = name
		}
	}
	rename()
	switch n.Name {
	case "ARRAY", "MULTISET":
		p.expectSymbol("<")
		n.Elem = p.typeName()
		p.expectSymbol(">")
		return n
	case "MAP":
		p.expectSymbol("<")
		n.Key = p.typeName()
		p.expectSymbol(",")
		n.Elem = p.typeName()
		p.expectSymbol(">")
		return n
	case "ROW":
		p.rowFields(n)
		return n
	case "INTERVAL":
		from, _ := p.unit()
		n.Name = "INTERVAL " + from
		if p.words("TO") {
			to, _ := p.unit()
			n.Name += " TO " + to
		}
		return n
	case "DOUBLE":
		p.words("PRECISION")
	case "CHAR", "BINARY":
		if p.words("VARYING") {
			n.Name += " VARYING"
			rename()
		}
	}
	p.typeParameters(n)
	p.timeZone(n, t)
	return n
}

func (p *parser) typeParameters(n *TypeName) {
	at := p.peek()
	if !p.symbol("(") {
		return
	}
	n.Params = append(n.Params, p.integer("a number"))
	for p.symbol(",") {
		n.Params = append(n.Params, p.integer("a number"))
	}
	p.expectSymbol(")")
	switch most, known := typeParams[n.Name]; {
	case known && len(n.Params) > most:
		panic(Errorf(at, "%s has too many parameters: it takes %d", n.Name, most))
	case !known && builtinTypes[n.Name]:
		panic(Errorf(at, "%s takes no parameters", n.Name).WithHint("write %s alone", n.Name))
	}
}

// builtinTypes are the types without parameters.
var builtinTypes = wordSet("BOOLEAN TINYINT SMALLINT INT BIGINT FLOAT DOUBLE STRING BYTES DATE")

// timeZone parses what may follow TIME and TIMESTAMP.
func (p *parser) timeZone(n *TypeName, at token) {
	if n.Name != "TIMESTAMP" && n.Name != "TIME" {
		return
	}
	switch {
	case p.words("WITHOUT", "TIME", "ZONE"):
	case p.words("WITH", "LOCAL", "TIME", "ZONE"):
		if n.Name == "TIME" {
			panic(Errorf(at, "TIME WITH LOCAL TIME ZONE is not supported").WithHint("write TIME; Flink has no such type either"))
		}
		n.Name = "TIMESTAMP_LTZ"
	case p.words("WITH", "TIME", "ZONE"):
		panic(Errorf(at, "%s WITH TIME ZONE is not supported", n.Name).WithHint("write TIMESTAMP_LTZ, an instant; Flink has no such type either"))
	}
}

func (p *parser) rowFields(n *TypeName) {
	at := p.peek()
	if p.symbol("<>") || p.isSymbol("(") && p.peekAt(1).text == ")" {
		panic(Errorf(at, "a ROW without fields is not supported"))
	}
	closing := ")"
	if p.symbol("<") {
		closing = ">"
	} else {
		p.expectSymbol("(")
	}
	for {
		f := RowField{Name: p.name()}
		f.Type = p.typeName()
		if p.peek().kind == stringToken {
			f.Comment = p.next().text
		}
		n.Fields = append(n.Fields, f)
		if !p.symbol(",") {
			break
		}
	}
	// In a valid type, the lexer never merges a closing bracket into "<>" or ">=".
	p.expectSymbol(closing)
}
