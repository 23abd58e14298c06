package sql

import (
	"slices"
	"strings"

	"weir.example/weir/internal/suggest"
)

// Parse parses a file of statements separated by semicolons.
func Parse(text string) (*Script, error) {
	return newParser(text).script(false)
}

// ParsePreview parses a text like Parse, but its last statement may be a bare query: Script.Query.
func ParsePreview(text string) (*Script, error) {
	return newParser(text).script(true)
}

func (p *parser) script(preview bool) (*Script, error) {
	script := &Script{}
	for {
		for p.symbol(";") {
		}
		if p.peek().kind == endToken {
			return script, nil
		}
		if preview && script.Query == nil && (p.isWord("SELECT") || p.isWord("WITH") || p.isWord("VALUES")) {
			q, err := parse(p, (*parser).query)
			if err != nil {
				return nil, err
			}
			script.Query = q
		} else {
			start := p.peek().start
			s, err := parse(p, (*parser).statement)
			if err != nil {
				return nil, err
			}
			script.Statements = append(script.Statements, s)
			script.Texts = append(script.Texts, p.text[start:p.tokens[p.at-1].end])
		}
		if p.peek().kind != endToken && !p.isSymbol(";") {
			return nil, p.unexpected("a semicolon or the end of the text")
		}
	}
}

// ParseExpr parses one expression.
func ParseExpr(text string) (Expr, error) {
	p := newParser(text)
	e, err := parse(p, (*parser).expr)
	if err == nil && p.peek().kind != endToken {
		err = p.unexpected("the end of the expression")
	}
	return e, err
}

// ParseType parses one type.
func ParseType(text string) (*TypeName, error) {
	p := newParser(text)
	t, err := parse(p, (*parser).typeName)
	if err == nil && p.peek().kind != endToken {
		err = p.unexpected("the end of the type")
	}
	return t, err
}

// parser walks the tokens. Its methods panic with *Error, which parse recovers.
type parser struct {
	tokens []token
	at     int
	depth  int
	text   string
	// tried lists the keywords that the parser would have accepted at the furthest token:
	// candidates for "did you mean".
	tried   []string
	triedAt int
}

func newParser(text string) *parser { return &parser{tokens: lex(text), text: text} }

// parse runs a rule and turns its panic into an error.
func parse[T any](p *parser, rule func(*parser) T) (result T, err error) {
	defer func() {
		if e := recover(); e != nil {
			failed, ours := e.(*Error)
			if !ours {
				panic(e)
			}
			err = failed
		}
	}()
	return rule(p), nil
}

// maxDepth limits nesting to keep hostile text from exhausting the stack.
const maxDepth = 200

func (p *parser) enter() {
	p.depth++
	if p.depth > maxDepth {
		panic(Errorf(p.peek(), "nested more than %d levels deep", maxDepth))
	}
}

func (p *parser) leave() { p.depth-- }

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) peekAt(n int) token { return p.tokens[min(p.at+n, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != endToken {
		p.at++
	}
	return t
}

func (p *parser) isSymbol(s string) bool {
	t := p.peek()
	return t.kind == symbolToken && t.text == s
}

func (p *parser) symbol(s string) bool {
	if p.isSymbol(s) {
		p.at++
		return true
	}
	return false
}

func (p *parser) isWord(words ...string) bool {
	for i, w := range words {
		t := p.peekAt(i)
		if t.kind != wordToken || t.upper != w {
			if i == 0 {
				p.try(w)
			}
			return false
		}
	}
	return true
}

func (p *parser) try(word string) {
	if p.triedAt != p.at {
		p.tried, p.triedAt = p.tried[:0], p.at
	}
	p.tried = append(p.tried, word)
}

// words accepts a sequence of keywords if it is next.
func (p *parser) words(words ...string) bool {
	if p.isWord(words...) {
		p.at += len(words)
		return true
	}
	return false
}

func (p *parser) expectWord(words ...string) {
	for _, w := range words {
		if !p.words(w) {
			panic(p.unexpected(w))
		}
	}
}

func (p *parser) expectSymbol(s string) {
	if !p.symbol(s) {
		panic(p.unexpected(s))
	}
}

// unexpected returns the error for a token that no rule accepts.
func (p *parser) unexpected(expected string) *Error {
	t := p.peek()
	if t.bad != nil {
		return t.bad
	}
	e := Errorf(t, "found %s, expected %s", t.found(), expected)
	if t.kind != wordToken {
		return e
	}
	candidates := slices.DeleteFunc(strings.Fields(strings.ReplaceAll(expected, ",", "")), func(w string) bool {
		return w != strings.ToUpper(w) || len(w) < 2 // SQL keywords only
	})
	if p.triedAt == p.at {
		candidates = append(candidates, p.tried...)
	}
	exact := false
	for _, c := range candidates {
		exact = exact || c == t.upper
	}
	if !exact && !reserved[t.upper] {
		e.Hint = suggest.DidYouMean(t.upper, candidates)
	}
	if e.Hint == "" && p.at > 0 { // a misspelt keyword may have been parsed as a name
		if before := p.tokens[p.at-1]; before.kind == wordToken && !reserved[before.upper] {
			if hint := suggest.DidYouMean(before.upper, candidates); hint != "" {
				e.Hint = before.text + " before it: " + hint
			}
		}
	}
	if reserved[t.upper] && (strings.Contains(expected, "name") || e.Hint == "" && strings.Contains(expected, "expression")) {
		e.Hint = t.text + " is a reserved word of Flink SQL: as a name, write it `" + t.text + "`"
	}
	return e
}

// refuse panics with the error for a feature that is known but not supported. hint is another way.
func (p *parser) refuse(at Node, feature, hint string) {
	panic(Errorf(at, "%s is not supported", feature).WithHint("%s", hint))
}

func (p *parser) name() Ident {
	t := p.peek()
	if t.kind == quotedToken || t.kind == wordToken && !reserved[t.upper] {
		p.next()
		return Ident{t.Pos, t.text}
	}
	panic(p.unexpected("a name"))
}

func (p *parser) isName() bool {
	t := p.peek()
	return t.kind == quotedToken || t.kind == wordToken && !reserved[t.upper]
}

// path parses names joined by dots.
func (p *parser) path() []Ident {
	parts := []Ident{p.name()}
	for p.symbol(".") {
		parts = append(parts, p.name())
	}
	return parts
}

// names parses (a, b, c).
func (p *parser) names() []Ident {
	p.expectSymbol("(")
	all := []Ident{p.name()}
	for p.symbol(",") {
		all = append(all, p.name())
	}
	p.expectSymbol(")")
	return all
}

func (p *parser) stringText(what string) token {
	t := p.peek()
	if t.kind != stringToken {
		panic(p.unexpected(what))
	}
	return p.next()
}

func (p *parser) statement() Statement {
	at := p.peek()
	switch {
	case p.words("SET"):
		return p.set(at.Pos)
	case p.words("CREATE"):
		return p.create(at.Pos)
	case p.words("DROP"):
		return p.drop(at.Pos)
	case p.isWord("INSERT"):
		return p.insert()
	case p.words("EXECUTE"):
		if p.isWord("INSERT") {
			return p.insert()
		}
		p.expectWord("STATEMENT", "SET")
		return p.statementSet(at.Pos)
	case p.words("BEGIN", "STATEMENT", "SET"):
		panic(Errorf(at, "BEGIN STATEMENT SET, the SQL client's older form, is not supported").WithHint("write EXECUTE STATEMENT SET BEGIN … END"))
	}
	for _, w := range []string{"SELECT", "WITH", "VALUES"} {
		if p.isWord(w) {
			panic(Errorf(at, "a query alone has no table to write to").WithHint("write INSERT INTO table before it"))
		}
	}
	if hint, known := otherStatements[at.upper]; known && at.kind == wordToken {
		p.refuse(at, "statement "+at.upper, hint)
	}
	panic(p.unexpected("a statement (SET, CREATE, INSERT INTO, EXECUTE STATEMENT SET)"))
}

// otherStatements are statements of Flink that a pipeline can't have, with another way to do the
// same.
var otherStatements = map[string]string{
	"ALTER": "change the CREATE statement in the file", "USE": "there is only default_catalog.default_database",
	"SHOW": "weir check lists what is wrong with a file", "DESCRIBE": "weir explain shows the columns that a pipeline reads", "DESC": "weir explain shows the columns that a pipeline reads",
	"EXPLAIN": "run weir explain FILE", "LOAD": "all modules of Weir are loaded", "UNLOAD": "all modules of Weir are loaded", "ANALYZE": "plans don't depend on statistics",
	"UPDATE": "write the new row with INSERT INTO: in an upsert-kafka table it replaces the one with its key", "DELETE": "the query of an upsert-kafka table deletes the rows that it no longer has",
	"TRUNCATE": "delete the records with Kafka's tools", "CALL": "there are no procedures", "ADD": "there are no JARs: user-defined functions are not supported",
	"REMOVE": "there are no JARs: user-defined functions are not supported", "RESET": "leave the SET out", "COMPILE": "weir run records the plan itself, in the topic NAME.plan",
}

func (p *parser) set(at Pos) Statement {
	key := p.stringText("a 'key'")
	p.expectSymbol("=")
	value := p.stringText("a 'value'")
	return &Set{Pos: at, Key: key.text, Value: value.text}
}

func (p *parser) create(at Pos) Statement {
	replace := p.words("OR", "REPLACE")
	temporary := p.words("TEMPORARY")
	what := p.peek()
	switch {
	case replace:
		p.refuse(at, "CREATE OR REPLACE", "write CREATE: a file starts without tables and views")
	case p.words("TABLE"):
		return p.createTable(at, temporary)
	case p.words("VIEW"):
		return p.createView(at, temporary)
	case p.isWord("FUNCTION"), p.isWord("SYSTEM"):
		panic(Errorf(what, "CREATE FUNCTION is not supported").WithHint("user-defined functions are JVM code: write the expression with built-in functions"))
	case p.isWord("CATALOG"), p.isWord("DATABASE"), p.isWord("MODEL"), p.isWord("MATERIALIZED"):
		p.refuse(what, "CREATE "+what.upper, "declare tables with CREATE TABLE, in default_catalog.default_database")
	}
	panic(p.unexpected("TABLE or VIEW"))
}

func (p *parser) ifNotExists() bool { return p.words("IF", "NOT", "EXISTS") }

func (p *parser) createView(at Pos, temporary bool) Statement {
	v := &CreateView{Pos: at, Temporary: temporary, IfNotExists: p.ifNotExists(), Name: p.path()}
	if p.isSymbol("(") {
		v.Columns = p.names()
	}
	if p.words("COMMENT") {
		v.Comment = p.stringText("a 'comment'").text
	}
	p.expectWord("AS")
	v.Query = p.query()
	return v
}

func (p *parser) drop(at Pos) Statement {
	d := &Drop{Pos: at, Temporary: p.words("TEMPORARY")}
	if !p.words("TABLE") {
		if !p.words("VIEW") {
			panic(p.unexpected("TABLE or VIEW"))
		}
		d.View = true
	}
	d.IfExists = p.words("IF", "EXISTS")
	d.Name = p.path()
	return d
}

func (p *parser) insert() *Insert {
	i := &Insert{Pos: p.peek().Pos}
	p.expectWord("INSERT")
	if p.isWord("OVERWRITE") {
		p.refuse(p.peek(), "INSERT OVERWRITE", "write INSERT INTO: Flink overwrites in batch jobs only")
	}
	p.expectWord("INTO")
	i.Table = p.path()
	i.Hints = p.hints()
	if p.isWord("PARTITION") {
		p.refuse(p.peek(), "INSERT INTO … PARTITION", "select the value as a column: topics are partitioned by key")
	}
	if p.isSymbol("(") && !p.queryFollows(1) {
		i.Columns = p.names()
	}
	i.Query = p.query()
	return i
}

// queryFollows reports whether a query starts n tokens ahead.
func (p *parser) queryFollows(n int) bool {
	t := p.peekAt(n)
	for t.kind == symbolToken && t.text == "(" {
		n++
		t = p.peekAt(n)
	}
	return t.kind == wordToken && (t.upper == "SELECT" || t.upper == "WITH" || t.upper == "VALUES")
}

func (p *parser) statementSet(at Pos) Statement {
	s := &StatementSet{Pos: at}
	p.expectWord("BEGIN")
	for !p.words("END") {
		if !p.isWord("INSERT") {
			panic(p.unexpected("INSERT INTO or END"))
		}
		s.Inserts = append(s.Inserts, p.insert())
		if !p.symbol(";") && !p.isWord("END") {
			panic(p.unexpected("a semicolon"))
		}
	}
	if len(s.Inserts) == 0 {
		panic(Errorf(at, "the statement set is empty").WithHint("put INSERT INTO statements between BEGIN and END"))
	}
	return s
}
