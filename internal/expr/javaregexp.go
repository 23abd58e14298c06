package expr

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// translator translates a pattern of java.util.regex to an equivalent RE2 pattern with all
// character classes spelled out. Syntax that RE2 doesn't support or would interpret differently is
// an error with its position. In Java, \d, \w, \s and (?i) are ASCII only, dot and $ know six line
// terminators, and [[:alpha:]] is a class within a class.
type translator struct {
	in    []rune
	at    int
	out   strings.Builder
	flags flags

	groups int
	ends   []int // groups that mark the positions of $
	names  map[string]bool
	first  bool // whether ^ can match, which it can't when the search continues past the start
}

// flags are the inline flags of (?…).
type flags struct{ i, m, s, x, d, u bool }

// translated is a pattern for RE2.
type translated struct {
	text string
	ends []int // empty groups (RE2 numbers) that mark the end of the match; what follows them is lookahead
	own  []int // RE2's numbers of the pattern's own groups
}

// patternError is a syntax error at a position of a pattern.
type patternError struct {
	pattern  string
	position int // in characters, 1-based
	reason   string
}

func (e *patternError) Error() string {
	return fmt.Sprintf("the regular expression '%s', character %d: %s", e.pattern, e.position, e.reason)
}

func translateRegexp(pattern string, first bool) (*translated, error) {
	t := &translator{in: []rune(pattern), first: first, names: make(map[string]bool)}
	own, err := t.alternatives()
	if err == nil && t.at < len(t.in) {
		err = t.error("unmatched )")
	}
	if err != nil {
		return nil, err
	}
	return &translated{t.out.String(), t.ends, append([]int{0}, own...)}, nil
}

func (t *translator) error(format string, args ...any) error {
	return t.errorAt(t.at, format, args...)
}

func (t *translator) errorAt(at int, format string, args ...any) error {
	return &patternError{string(t.in), at + 1, fmt.Sprintf(format, args...)}
}

// peek returns the next character, or -1 at the end.
func (t *translator) peek() rune { return t.peekAt(0) }

func (t *translator) peekAt(n int) rune {
	if t.at+n < len(t.in) {
		return t.in[t.at+n]
	}
	return -1
}

func (t *translator) accept(text string) bool {
	for i, r := range []rune(text) {
		if t.peekAt(i) != r {
			return false
		}
	}
	t.at += utf8.RuneCountInString(text)
	return true
}

// alternatives parses up to ) or the end, and returns RE2's numbers of the pattern's own groups.
func (t *translator) alternatives() (own []int, err error) {
	for {
		groups, err := t.sequence()
		if err != nil {
			return nil, err
		}
		own = append(own, groups...)
		if t.peek() != '|' {
			return own, nil
		}
		t.at++
		t.out.WriteByte('|')
	}
}

// sequence parses up to |, ) or the end.
func (t *translator) sequence() (own []int, err error) {
	for t.skip(); !t.over(); t.skip() {
		start, from, ends := t.at, t.out.Len(), len(t.ends)
		groups, err := t.atom()
		if err != nil {
			return nil, err
		}
		own = append(own, groups...)
		t.skip()
		switch {
		case len(t.ends) > ends && !t.over():
			return nil, t.errorAt(start, "$ and \\Z are supported only at the end of a pattern: RE2 has no lookahead")
		case t.out.Len() == from && t.quantifierFollows():
			return nil, t.error("nothing to repeat")
		}
		if err := t.quantifier(); err != nil {
			return nil, err
		}
	}
	return own, nil
}

// over reports whether the sequence has ended.
func (t *translator) over() bool {
	return t.at >= len(t.in) || t.peek() == '|' || t.peek() == ')'
}

// skip skips the whitespace and comments that (?x) allows.
func (t *translator) skip() {
	for t.flags.x && t.at < len(t.in) {
		switch r := t.in[t.at]; {
		case r == '#':
			for t.at < len(t.in) && t.in[t.at] != '\n' {
				t.at++
			}
		case r == ' ' || r >= '\t' && r <= '\r':
			t.at++
		default:
			return
		}
	}
}

func (t *translator) quantifierFollows() bool {
	return t.at < len(t.in) && strings.ContainsRune("*+?{", t.in[t.at])
}

func (t *translator) quantifier() error {
	if !t.quantifierFollows() {
		return nil
	}
	start := t.at
	if t.peek() == '{' {
		n := t.at + 1
		for n < len(t.in) && t.in[n] != '}' {
			n++
		}
		if n == len(t.in) || !repetition.MatchString(string(t.in[t.at:n+1])) {
			return t.error("{ must be followed by a repeat count such as {2} or {2,5}; write \\{ for the character")
		}
		t.out.WriteString(string(t.in[t.at : n+1]))
		t.at = n + 1
	} else {
		t.out.WriteRune(t.peek())
		t.at++
	}
	switch t.peek() {
	case '?':
		t.out.WriteByte('?')
		t.at++
	case '+':
		return t.errorAt(start, "possessive repetitions (*+, ++, ?+) are not supported: RE2 never goes back")
	}
	if t.skip(); t.quantifierFollows() {
		return t.error("a repetition can't be repeated")
	}
	return nil
}

var repetition = regexp.MustCompile(`^\{\d+(,\d*)?\}$`)

// atom parses one repeatable element.
func (t *translator) atom() (own []int, err error) {
	switch r := t.peek(); r {
	case '(':
		return t.group()
	case '[':
		set, err := t.class()
		t.writeSet(set)
		return nil, err
	case '.':
		t.at++
		t.writeSet(t.dot())
	case '^':
		if t.flags.m {
			return nil, t.error("^ with (?m) is not supported: Java knows other ends of lines than RE2")
		}
		t.at++
		t.begin()
	case '$':
		if t.flags.m {
			return nil, t.error("$ with (?m) is not supported: Java knows other ends of lines than RE2")
		}
		t.end(1)
	case '\\':
		return nil, t.escape()
	case '*', '+', '?':
		return nil, t.error("nothing to repeat before %c", r)
	case '{':
		return nil, t.error("nothing to repeat; write \\{ for the character")
	default:
		t.at++
		t.literal(r)
	}
	return nil, nil
}

func (t *translator) dot() runeSet {
	switch {
	case t.flags.s:
		return setOf(0, unicode.MaxRune)
	case t.flags.d:
		return setOf('\n', '\n').complement()
	}
	return lineEnds.complement()
}

func (t *translator) begin() {
	if t.first {
		t.out.WriteString(`\A`)
	} else {
		t.out.WriteString(runeSet(nil).text())
	}
}

// end translates $ or \Z: the end of the text, or the position before a final line terminator.
// Since RE2 has no lookahead, the pattern consumes the terminator and an empty group marks where it
// begins.
func (t *translator) end(letters int) {
	t.at += letters
	t.groups++
	t.ends = append(t.ends, t.groups)
	line := `(?:\r\n|` + lineEnds.text() + `)`
	if t.flags.d {
		line = `\n`
	}
	t.out.WriteString(`()` + line + `?\z`)
}

func (t *translator) literal(r rune) {
	if t.flags.i && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
		t.out.WriteString(setOf(r, r).foldASCII().text())
		return
	}
	t.out.WriteString(regexp.QuoteMeta(string(r)))
}

func (t *translator) writeSet(s runeSet) {
	if t.flags.i {
		s = s.foldASCII()
	}
	t.out.WriteString(s.text())
}

// group parses ( … ) and inline flags without a group.
func (t *translator) group() (own []int, err error) {
	start, saved := t.at, t.flags
	t.at++
	capture := true
	if t.accept("?") {
		capture = false
		switch {
		case t.accept("="), t.accept("!"), t.accept("<="), t.accept("<!"):
			return nil, t.errorAt(start, "look-around is not supported: RE2 can't do it")
		case t.accept(">"):
			return nil, t.errorAt(start, "atomic groups (?>…) are not supported: RE2 never goes back")
		case t.accept("<"):
			capture = true
			if err := t.groupName(); err != nil {
				return nil, err
			}
		case t.accept(":"):
		default:
			ended, err := t.readFlags(start)
			if err != nil || ended {
				return nil, err
			}
		}
	}
	if capture {
		t.groups++
		own = append(own, t.groups)
		t.out.WriteByte('(')
	} else {
		t.out.WriteString("(?:")
	}
	groups, err := t.alternatives()
	if err != nil {
		return nil, err
	}
	if t.peek() != ')' {
		return nil, t.errorAt(start, "( is not closed")
	}
	t.at++
	t.out.WriteByte(')')
	t.flags = saved
	return append(own, groups...), nil
}

func (t *translator) groupName() error {
	start := t.at
	for unicode.Is(asciiAlnum, t.peek()) {
		t.at++
	}
	name := string(t.in[start:t.at])
	if name == "" || unicode.IsDigit(t.in[start]) || !t.accept(">") {
		return t.errorAt(start, "the name of a group is letters and digits, as in (?<name>…)")
	}
	if t.names[name] {
		return t.errorAt(start, "there is a group <%s> already", name)
	}
	t.names[name] = true
	return nil
}

var asciiAlnum = &unicode.RangeTable{R16: []unicode.Range16{{Lo: '0', Hi: '9', Stride: 1}, {Lo: 'A', Hi: 'Z', Stride: 1}, {Lo: 'a', Hi: 'z', Stride: 1}}}

// readFlags parses imsxd-… followed by : or ). ended reports that it was ), so the flags apply to
// the rest of the enclosing group.
func (t *translator) readFlags(start int) (ended bool, err error) {
	on := true
	for ; ; t.at++ {
		switch t.peek() {
		case 'i':
			t.flags.i = on
		case 'm':
			t.flags.m = on
		case 's':
			t.flags.s = on
		case 'x':
			t.flags.x = on
		case 'd':
			t.flags.d = on
		case 'u':
			t.flags.u = on
		case '-':
			on = false
		case ':', ')':
			if t.flags.i && t.flags.u {
				return false, t.errorAt(start, "the flags i and u together are not supported: write both cases, as in [éÉ]")
			}
			t.at++
			return t.in[t.at-1] == ')', nil
		default:
			return false, t.errorAt(start, "(? is not followed by something that is supported: :, <name>, or flags of imsxd")
		}
	}
}
