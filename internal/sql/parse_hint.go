package sql

// hints parses /*+ name, name(arguments), name('key' = 'value'), … */, if it follows.
func (p *parser) hints() []Hint {
	if p.peek().kind != hintToken {
		return nil
	}
	p.next()
	var all []Hint
	for {
		all = append(all, p.hint())
		if !p.symbol(",") {
			break
		}
	}
	p.expectSymbol("*/")
	return all
}

func (p *parser) hint() Hint {
	name := p.name()
	h := Hint{Pos: name.Pos, Name: name.Name}
	if !p.symbol("(") || p.symbol(")") {
		return h
	}
	for {
		arg := p.hintArgument()
		switch {
		case h.Args == nil && p.symbol("="):
			value := p.stringText("the option's 'value'")
			h.Options = append(h.Options, Option{arg.Pos, arg.Name, value.text, value.Pos})
		case h.Options != nil:
			panic(p.unexpected("= and the option's 'value'"))
		default:
			h.Args = append(h.Args, arg)
		}
		if !p.symbol(",") {
			break
		}
	}
	p.expectSymbol(")")
	return h
}

// hintArgument parses a name or a 'string', which mean the same in a hint.
func (p *parser) hintArgument() Ident {
	if t := p.peek(); t.kind == stringToken {
		p.next()
		return Ident{t.Pos, t.text}
	}
	if !p.isName() {
		panic(p.unexpected("a name or a 'string'"))
	}
	return p.name()
}
