package sql

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	endToken    tokenKind = iota
	wordToken             // name or keyword, not quoted
	quotedToken           // `name`
	numberToken
	stringToken
	bytesToken // x'00'
	hintToken  // /*+
	symbolToken
	badToken // text that is no token; its error is reported where no rule expects it
)

type token struct {
	Pos
	kind  tokenKind
	text  string // without quotes
	upper string // of a word
	end   int    // byte offset of its end
	start int
	bad   *Error // of a badToken
}

// found returns the token's text for error messages.
func (t token) found() string {
	switch t.kind {
	case endToken:
		return "the end of the text"
	case stringToken:
		return "'" + t.text + "'"
	case quotedToken:
		return "`" + t.text + "`"
	}
	return t.text
}

type lexer struct {
	text   string
	at     int
	line   int
	column int
}

// lex returns the tokens of a text, the last of which is endToken. What is no token becomes a
// badToken: the parser may refuse the feature that it belongs to before it reaches it.
func lex(text string) []token {
	l := &lexer{text: text, line: 1, column: 1}
	var tokens []token
	for {
		t, bad := l.next()
		if bad != nil {
			t.kind, t.bad = badToken, bad
			if t.text == "" { // it extends to the end of the text
				l.at = len(text)
			}
			t.end = l.at
		}
		tokens = append(tokens, t)
		if t.kind == endToken {
			return tokens
		}
	}
}

func (l *lexer) pos() Pos { return Pos{l.line, l.column} }

// advance moves n bytes forward, which must be whole characters.
func (l *lexer) advance(n int) {
	for _, r := range l.text[l.at : l.at+n] {
		if r == '\n' {
			l.line++
			l.column = 1
		} else {
			l.column++
		}
	}
	l.at += n
}

func (l *lexer) rest() string { return l.text[l.at:] }

// skip moves past white space and comments.
func (l *lexer) skip() *Error {
	for l.at < len(l.text) {
		rest := l.rest()
		switch {
		case strings.HasPrefix(rest, "--"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			l.advance(n)
		case strings.HasPrefix(rest, "/*") && !strings.HasPrefix(rest, "/*+"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return Errorf(l.pos(), "a comment starts here and never ends").WithHint("close it with */")
			}
			l.advance(n + 4)
		default:
			r, size := utf8.DecodeRuneInString(rest)
			if !unicode.IsSpace(r) && r != '\ufeff' {
				return nil
			}
			l.advance(size)
		}
	}
	return nil
}

// symbols lists the symbols of more than one character, longest first.
var symbols = []string{"<>", "<=", ">=", "!=", "||", "=>", "*/"}

func (l *lexer) next() (token, *Error) {
	if bad := l.skip(); bad != nil {
		return token{Pos: bad.Pos, start: l.at}, bad
	}
	t := token{Pos: l.pos(), start: l.at}
	rest := l.rest()
	if rest == "" {
		t.end = l.at
		return t, nil
	}
	r, size := utf8.DecodeRuneInString(rest)
	var err *Error
	switch {
	case strings.HasPrefix(rest, "/*+"):
		t.kind, t.text = hintToken, "/*+"
		l.advance(3)
	case r == '\'':
		t.kind = stringToken
		t.text, err = l.quoted('\'', "string")
	case r == '`':
		t.kind = quotedToken
		t.text, err = l.quoted('`', "name")
		if err == nil && t.text == "" {
			t.text, err = "``", Errorf(t.Pos, "a name between backticks is empty")
		}
	case r == '"':
		t.text = `"`
		l.advance(1)
		err = Errorf(t.Pos, `found "`).WithHint("write strings in 'single quotes' and names in `backticks`")
	case (r == 'x' || r == 'X') && strings.HasPrefix(rest[1:], "'"):
		t.kind = bytesToken
		l.advance(1)
		t.text, err = l.quoted('\'', "binary string")
	case isDigit(r) || r == '.' && len(rest) > 1 && isDigit(rune(rest[1])):
		t.kind = numberToken
		t.text = l.number()
		if after, _ := utf8.DecodeRuneInString(l.rest()); isWordStart(after) {
			err = Errorf(t.Pos, "found %s%c: a word follows a number directly", t.text, after).WithHint("quote names that start with a digit with backticks")
		}
	case isWordStart(r):
		n := size
		for n < len(rest) {
			c, s := utf8.DecodeRuneInString(rest[n:])
			if !isWordStart(c) && !isDigit(c) && c != '$' {
				break
			}
			n += s
		}
		t.kind, t.text = wordToken, rest[:n]
		t.upper = strings.ToUpper(t.text)
		l.advance(n)
	default:
		t.kind = symbolToken
		t.text = rest[:size]
		for _, s := range symbols {
			if strings.HasPrefix(rest, s) {
				t.text = s
				break
			}
		}
		if len(t.text) == size && !strings.ContainsRune("()[],.;=<>+-*/%?:", r) {
			err = Errorf(t.Pos, "found %q, which has no meaning in SQL", r)
		}
		l.advance(len(t.text))
	}
	t.end = l.at
	return t, err
}

// quoted reads from an opening quote to the closing one; a doubled quote is an escaped quote.
func (l *lexer) quoted(quote byte, what string) (string, *Error) {
	start := l.pos()
	l.advance(1)
	var b strings.Builder
	for {
		n := strings.IndexByte(l.rest(), quote)
		if n < 0 {
			return "", Errorf(start, "a %s starts here and never ends", what).WithHint("close it with %c", quote)
		}
		b.WriteString(l.rest()[:n])
		l.advance(n + 1)
		if !strings.HasPrefix(l.rest(), string(quote)) {
			return b.String(), nil
		}
		b.WriteByte(quote)
		l.advance(1)
	}
}

func (l *lexer) number() string {
	rest := l.rest()
	n := 0
	digits := func() {
		for n < len(rest) && isDigit(rune(rest[n])) {
			n++
		}
	}
	digits()
	if n < len(rest) && rest[n] == '.' {
		n++
		digits()
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		mark := n
		n++
		if n < len(rest) && (rest[n] == '+' || rest[n] == '-') {
			n++
		}
		first := n
		digits()
		if n == first {
			n = mark
		}
	}
	l.advance(n)
	return rest[:n]
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func isWordStart(r rune) bool { return r == '_' || r != utf8.RuneError && unicode.IsLetter(r) }
