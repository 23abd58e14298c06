package sql

import (
	"slices"

	"weir.example/weir/internal/suggest"
)

func (p *parser) query() *Query {
	p.enter()
	defer p.leave()
	q := &Query{Pos: p.peek().Pos}
	if p.words("WITH") {
		if p.isWord("RECURSIVE") {
			p.refuse(p.peek(), "WITH RECURSIVE", "write the levels out as joins; Flink does not support it either")
		}
		for {
			c := CommonTable{Name: p.name()}
			if p.isSymbol("(") {
				c.Columns = p.names()
			}
			p.expectWord("AS")
			p.expectSymbol("(")
			c.Query = p.query()
			p.expectSymbol(")")
			q.With = append(q.With, c)
			if !p.symbol(",") {
				break
			}
		}
	}
	q.Body = p.setOps()
	if p.words("ORDER", "BY") {
		q.OrderBy = p.orderItems()
	}
	if p.words("LIMIT") {
		if !p.words("ALL") {
			q.Limit = p.expr()
		}
	}
	if p.words("OFFSET") {
		q.Offset = p.expr()
		_ = p.words("ROWS") || p.words("ROW")
	}
	if p.words("FETCH") {
		if !p.words("FIRST") {
			p.expectWord("NEXT")
		}
		q.Limit = p.expr()
		_ = p.words("ROWS") || p.words("ROW")
		p.expectWord("ONLY")
	}
	return q
}

// setOps parses terms joined by UNION and EXCEPT, which bind looser than INTERSECT.
func (p *parser) setOps() QueryBody {
	left := p.intersections()
	for {
		at := p.peek()
		var op string
		switch {
		case p.words("UNION"):
			op = "UNION"
		case p.words("EXCEPT"), p.words("MINUS"):
			op = "EXCEPT"
		default:
			return left
		}
		left = &SetOp{Pos: at.Pos, Op: op, All: p.all(), Left: left, Right: p.intersections()}
	}
}

func (p *parser) all() bool {
	if p.words("ALL") {
		return true
	}
	p.words("DISTINCT")
	return false
}

func (p *parser) intersections() QueryBody {
	left := p.queryTerm()
	for {
		at := p.peek()
		if !p.words("INTERSECT") {
			return left
		}
		left = &SetOp{Pos: at.Pos, Op: "INTERSECT", All: p.all(), Left: left, Right: p.queryTerm()}
	}
}

func (p *parser) queryTerm() QueryBody {
	at := p.peek()
	switch {
	case p.isWord("SELECT"):
		return p.selectCore()
	case p.words("VALUES"):
		v := &Values{Pos: at.Pos}
		for {
			row := p.valuesRow()
			v.Rows = append(v.Rows, row)
			if !p.symbol(",") {
				return v
			}
		}
	case p.symbol("("):
		q := p.query()
		p.expectSymbol(")")
		return q
	}
	panic(p.unexpected("SELECT"))
}

func (p *parser) valuesRow() []Expr {
	p.words("ROW")
	if !p.symbol("(") {
		return []Expr{p.expr()}
	}
	row := p.exprs()
	p.expectSymbol(")")
	return row
}

func (p *parser) selectCore() *Select {
	s := &Select{Pos: p.peek().Pos}
	p.expectWord("SELECT")
	s.Hints = p.hints()
	if p.words("DISTINCT") {
		s.Distinct = true
	} else {
		p.words("ALL")
	}
	for {
		s.Items = append(s.Items, p.selectItem())
		if !p.symbol(",") {
			break
		}
	}
	if p.words("FROM") {
		for {
			s.From = append(s.From, p.tableRef())
			if !p.symbol(",") {
				break
			}
		}
	} else if t := p.peek(); t.kind != endToken && t.kind != symbolToken && !p.endsSelect() {
		panic(p.unexpected("a comma, FROM or the end of the query"))
	}
	if p.words("WHERE") {
		s.Where = p.expr()
	}
	if p.words("GROUP", "BY") {
		s.GroupBy = p.groupBy()
	}
	if p.words("HAVING") {
		s.Having = p.expr()
	}
	if p.words("WINDOW") {
		for {
			w := NamedWindow{Name: p.name()}
			p.expectWord("AS")
			w.Spec = p.windowSpec()
			s.Windows = append(s.Windows, w)
			if !p.symbol(",") {
				break
			}
		}
	}
	if p.words("QUALIFY") {
		s.Qualify = p.expr()
	}
	return s
}

func (p *parser) endsSelect() bool {
	for _, w := range []string{"WHERE", "UNION", "EXCEPT", "MINUS", "INTERSECT", "ORDER", "LIMIT", "OFFSET", "FETCH", "END"} {
		if p.isWord(w) {
			return true
		}
	}
	return false
}

func (p *parser) selectItem() SelectItem {
	at := p.peek()
	if p.symbol("*") {
		return SelectItem{Expr: &Star{Pos: at.Pos}}
	}
	if p.isName() { // t.*
		n := 0
		for p.peekAt(n+1).text == "." && p.peekAt(n+1).kind == symbolToken {
			if t := p.peekAt(n + 2); t.kind == symbolToken && t.text == "*" {
				star := &Star{Pos: at.Pos}
				for i := 0; i <= n; i += 2 {
					star.Table = append(star.Table, p.name())
					p.expectSymbol(".")
				}
				p.expectSymbol("*")
				return SelectItem{Expr: star}
			}
			n += 2
		}
	}
	item := SelectItem{Expr: p.expr()}
	if p.words("AS") {
		name := p.name()
		item.Alias = &name
	} else if p.isName() {
		name := p.name()
		item.Alias = &name
	}
	return item
}

func (p *parser) groupBy() []Expr {
	if p.isSymbol("(") && p.peekAt(1).text == ")" {
		p.next()
		p.next()
		return []Expr{}
	}
	var all []Expr
	for {
		all = append(all, p.groupItem())
		if !p.symbol(",") {
			return all
		}
	}
}

// groupItem parses an expression or GROUPING SETS, ROLLUP or CUBE.
func (p *parser) groupItem() Expr {
	g := &Grouping{Pos: p.peek().Pos}
	switch {
	case p.words("GROUPING", "SETS"):
		g.Kind = "GROUPING SETS"
	case p.words("ROLLUP"):
		g.Kind = "ROLLUP"
	case p.words("CUBE"):
		g.Kind = "CUBE"
	default:
		return p.expr()
	}
	p.expectSymbol("(")
	for {
		if nested := p.peek(); nested.kind == wordToken && slices.Contains([]string{"GROUPING", "ROLLUP", "CUBE"}, nested.upper) {
			p.refuse(nested, nested.upper+" in "+g.Kind, "list the sets one by one in GROUPING SETS")
		}
		set := []Expr{}
		if !p.symbol("(") {
			set = append(set, p.expr())
		} else if !p.symbol(")") {
			set = p.exprs()
			p.expectSymbol(")")
		}
		g.Sets = append(g.Sets, set)
		if !p.symbol(",") {
			break
		}
	}
	p.expectSymbol(")")
	return g
}

func (p *parser) orderItems() []OrderItem {
	var all []OrderItem
	for {
		o := OrderItem{Expr: p.expr()}
		if p.words("DESC") {
			o.Desc = true
		} else {
			p.words("ASC")
		}
		if p.words("NULLS") {
			first := p.words("FIRST")
			if !first {
				p.expectWord("LAST")
			}
			o.NullsFirst = &first
		}
		all = append(all, o)
		if !p.symbol(",") {
			return all
		}
	}
}

func (p *parser) tableRef() TableRef {
	left := p.tablePrimary()
	for {
		at := p.peek()
		kind := ""
		natural := p.words("NATURAL")
		switch {
		case p.words("JOIN"), p.words("INNER", "JOIN"):
			kind = "INNER"
		case p.words("LEFT", "OUTER", "JOIN"), p.words("LEFT", "JOIN"):
			kind = "LEFT"
		case p.words("RIGHT", "OUTER", "JOIN"), p.words("RIGHT", "JOIN"):
			kind = "RIGHT"
		case p.words("FULL", "OUTER", "JOIN"), p.words("FULL", "JOIN"):
			kind = "FULL"
		case p.words("CROSS", "JOIN"):
			kind = "CROSS"
		case natural:
			panic(p.unexpected("JOIN"))
		default:
			return left
		}
		if natural && kind == "CROSS" {
			panic(Errorf(at, "a NATURAL JOIN can't be a CROSS JOIN"))
		}
		j := &Join{Pos: at.Pos, Kind: kind, Left: left, Right: p.tablePrimary(), Natural: natural}
		if kind != "CROSS" && !natural {
			switch {
			case p.words("ON"):
				j.On = p.expr()
			case p.words("USING"):
				j.Using = p.names()
			default:
				panic(p.unexpected("ON"))
			}
		}
		left = j
	}
}

func (p *parser) tablePrimary() TableRef {
	p.enter()
	defer p.leave()
	at := p.peek()
	lateral := p.words("LATERAL")
	switch {
	case p.words("TABLE"):
		if !p.isSymbol("(") {
			panic(p.unexpected("( and a window function"))
		}
		if lateral {
			p.refuse(at, "LATERAL TABLE(function)", "write CROSS JOIN UNNEST(…) for arrays and maps, or LATERAL (SELECT …)")
		}
		return p.windowTable(at.Pos)
	case p.words("UNNEST"):
		p.expectSymbol("(")
		u := &Unnest{Pos: at.Pos, Expr: p.expr()}
		p.expectSymbol(")")
		u.Ordinality = p.words("WITH", "ORDINALITY")
		u.Alias = p.alias()
		return u
	case p.isSymbol("("):
		if !p.queryFollows(1) {
			p.next()
			t := p.tableRef()
			p.expectSymbol(")")
			return t
		}
		p.next()
		d := &Derived{Pos: at.Pos, Lateral: lateral, Query: p.query()}
		p.expectSymbol(")")
		d.Alias = p.alias()
		return d
	}
	if !p.isName() {
		panic(p.unexpected("a table's name"))
	}
	t := &TableName{Pos: at.Pos, Name: p.path()}
	t.Hints = p.hints()
	if p.words("FOR", "SYSTEM_TIME") {
		p.expectWord("AS", "OF")
		t.AsOf = p.expr()
	}
	p.refuseMatch()
	if p.isWord("TABLESAMPLE") {
		panic(Errorf(p.peek(), "TABLESAMPLE is not supported").WithHint("filter by a hash or by the offset: WHERE MOD(pos, 100) = 0, with a column pos BIGINT METADATA FROM 'offset' VIRTUAL"))
	}
	t.Alias = p.alias()
	p.refuseMatch()
	return t
}

func (p *parser) refuseMatch() {
	if p.isWord("MATCH_RECOGNIZE") {
		panic(Errorf(p.peek(), "MATCH_RECOGNIZE is not supported").
			WithHint("compare a row with the one before it by LAG(…) OVER (PARTITION BY … ORDER BY ts), or group a run of rows in a SESSION window"))
	}
}

func (p *parser) alias() Alias {
	var a Alias
	if !p.words("AS") && !p.isName() {
		return a
	}
	a.Name = p.name()
	if p.isSymbol("(") {
		a.Columns = p.names()
	}
	return a
}

// windowTable parses what follows TABLE: (TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL …)), with
// positional or named arguments.
func (p *parser) windowTable(at Pos) TableRef {
	p.expectSymbol("(")
	function := p.peek()
	if function.kind != wordToken {
		panic(p.unexpected("TUMBLE, HOP, CUMULATE or SESSION"))
	}
	names, known := windowArguments[function.upper]
	if !known {
		e := Errorf(function, "found %s, expected TUMBLE, HOP, CUMULATE or SESSION", function.text)
		e.Hint = suggest.DidYouMean(function.upper, []string{"TUMBLE", "HOP", "CUMULATE", "SESSION"})
		panic(e)
	}
	p.next()
	w := &WindowTable{Pos: at, Function: function.upper}
	p.expectSymbol("(")
	args := make([]Expr, len(names))
	for i := 0; ; i++ {
		index := i
		if named := p.peek(); named.kind == wordToken && p.peekAt(1).text == "=>" {
			if index = indexOf(names, named.upper); index < 0 {
				e := Errorf(named, "%s has no argument %s", function.upper, named.text)
				e.Hint = suggest.DidYouMean(named.upper, names)
				panic(e)
			}
			p.next()
			p.next()
		}
		if index >= len(names) {
			panic(Errorf(p.peek(), "%s has too many arguments: it takes %v", function.upper, names))
		}
		switch index {
		case 0:
			p.windowInput(w)
		case 1:
			p.expectWord("DESCRIPTOR")
			p.expectSymbol("(")
			w.Time = p.name()
			p.expectSymbol(")")
		default:
			args[index] = p.expr()
		}
		if !p.symbol(",") {
			break
		}
	}
	end := p.peek()
	p.expectSymbol(")")
	p.expectSymbol(")")
	if w.Table == nil || w.Time.Name == "" {
		panic(Errorf(end, "%s needs a TABLE and a DESCRIPTOR(time column)", function.upper))
	}
	for i := 2; i < len(names); i++ {
		if args[i] != nil {
			w.Args = append(w.Args, args[i])
		} else if names[i] != "OFFSET" {
			panic(Errorf(end, "%s is missing its argument %s", function.upper, names[i]).WithHint("it takes %v", names))
		}
	}
	w.Alias = p.alias()
	return w
}

// windowArguments lists the arguments of the window table functions, in order.
var windowArguments = map[string][]string{
	"TUMBLE":   {"DATA", "TIMECOL", "SIZE", "OFFSET"},
	"HOP":      {"DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"},
	"CUMULATE": {"DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"},
	"SESSION":  {"DATA", "TIMECOL", "GAP"},
}

func (p *parser) windowInput(w *WindowTable) {
	at := p.peek()
	switch {
	case p.words("TABLE"):
		t := &TableName{Pos: at.Pos, Name: p.path()}
		if p.peek().kind == hintToken {
			p.refuse(p.peek(), "a hint inside a window function", "select FROM the table with the hint in a view, and write TABLE and its name; Flink does not accept it here either")
		}
		if p.words("PARTITION", "BY") {
			if p.symbol("(") {
				w.PartitionBy = p.exprs()
				p.expectSymbol(")")
			} else {
				w.PartitionBy = []Expr{p.primary()}
			}
		}
		w.Table = t
	case p.isSymbol("("):
		p.next()
		w.Table = &Derived{Pos: at.Pos, Query: p.query()}
		p.expectSymbol(")")
	default:
		panic(p.unexpected("TABLE and a name"))
	}
}

func indexOf(names []string, name string) int {
	for i, n := range names {
		if n == name {
			return i
		}
	}
	return -1
}

func (p *parser) windowSpec() *WindowSpec {
	w := &WindowSpec{Pos: p.peek().Pos}
	p.expectSymbol("(")
	if p.words("PARTITION", "BY") {
		w.PartitionBy = p.exprs()
	}
	if p.words("ORDER", "BY") {
		w.OrderBy = p.orderItems()
	}
	at := p.peek()
	if rows := p.words("ROWS"); rows || p.words("RANGE") {
		f := &Frame{Pos: at.Pos, Rows: rows}
		if p.words("BETWEEN") {
			f.Start = p.bound()
			p.expectWord("AND")
			f.End = p.bound()
		} else {
			f.Start = p.bound()
		}
		w.Frame = f
	}
	p.expectSymbol(")")
	return w
}

func (p *parser) bound() Bound {
	switch {
	case p.words("CURRENT", "ROW"):
		return Bound{}
	case p.words("UNBOUNDED", "PRECEDING"):
		return Bound{Unbounded: true}
	case p.words("UNBOUNDED", "FOLLOWING"):
		return Bound{Unbounded: true, Following: true}
	}
	b := Bound{Offset: p.additive()}
	if p.words("FOLLOWING") {
		b.Following = true
	} else {
		p.expectWord("PRECEDING")
	}
	return b
}
