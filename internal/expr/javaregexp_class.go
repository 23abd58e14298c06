package expr

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// escape parses an escape outside of a class.
func (t *translator) escape() error {
	switch r := t.peekAt(1); r {
	case 'A':
		t.at += 2
		t.begin()
		return nil
	case 'Z':
		t.end(2)
		return nil
	case 'z', 'b', 'B':
		if r == 'b' && t.peekAt(2) == '{' {
			return t.error(`\b{g} is not supported`)
		}
		t.at += 2
		t.out.WriteString(`\` + string(r))
		return nil
	case 'R':
		t.at += 2
		t.out.WriteString(`(?:\r\n|` + upright.text() + `)`)
		return nil
	case 'Q':
		t.at += 2
		for t.at < len(t.in) && !t.accept(`\E`) {
			t.literal(t.peek())
			t.at++
		}
		return nil
	case 'E':
		t.at += 2
		return nil
	case '1', '2', '3', '4', '5', '6', '7', '8', '9', 'k':
		return t.error("back references are not supported: RE2 can't do them")
	}
	set, r, err := t.escaped()
	if err != nil {
		return err
	}
	if set != nil {
		t.writeSet(set)
	} else {
		t.literal(r)
	}
	return nil
}

// controls maps single-letter escapes to their characters.
var controls = map[rune]rune{'t': '\t', 'n': '\n', 'r': '\r', 'f': '\f', 'a': '\a', 'e': 0x1b}

// escaped parses an escape that denotes a class or a character, inside or outside of a class.
func (t *translator) escaped() (runeSet, rune, error) {
	start := t.at
	letter := t.peekAt(1)
	t.at += 2
	if letter < 0 {
		return nil, 0, t.errorAt(start, `\ at the end`)
	}
	if s, ok := escapedSets[letter]; ok {
		return s, 0, nil
	}
	if s, ok := escapedSets[unicode.ToLower(letter)]; ok {
		return s.complement(), 0, nil
	}
	if c, ok := controls[letter]; ok {
		return nil, c, nil
	}
	switch letter {
	case 'p', 'P':
		s, err := t.property(start)
		if letter == 'P' {
			s = s.complement()
		}
		return s, 0, err
	case 'c':
		if t.at >= len(t.in) {
			return nil, 0, t.errorAt(start, `\c must be followed by a character`)
		}
		t.at++
		return nil, t.in[t.at-1] ^ 64, nil
	case 'x':
		if t.accept("{") {
			return t.number(start, 16, 1, 6, "}")
		}
		return t.number(start, 16, 2, 2, "")
	case 'u':
		return t.unicodeEscape(start)
	case '0':
		most := 3
		if first := t.peek(); first > '3' {
			most = 2
		}
		return t.number(start, 8, 1, most, "")
	}
	if letter >= 'a' && letter <= 'z' || letter >= 'A' && letter <= 'Z' || letter >= '1' && letter <= '9' {
		return nil, 0, t.errorAt(start, `\%c is not supported`, letter)
	}
	return nil, letter, nil
}

// number parses the digits of a character and the text required after them.
func (t *translator) number(start, base, least, most int, behind string) (runeSet, rune, error) {
	from := t.at
	for t.at < len(t.in) && t.at-from < most {
		if _, err := strconv.ParseUint(string(t.in[t.at]), base, 8); err != nil {
			break
		}
		t.at++
	}
	v, err := strconv.ParseUint(string(t.in[from:t.at]), base, 32)
	if err != nil || t.at-from < least || v > unicode.MaxRune || !t.accept(behind) {
		return nil, 0, t.errorAt(start, `\%c has the wrong digits behind it`, t.in[start+1])
	}
	return nil, rune(v), nil
}

// unicodeEscape parses \uXXXX, or two that form a surrogate pair.
func (t *translator) unicodeEscape(start int) (runeSet, rune, error) {
	_, r, err := t.number(start, 16, 4, 4, "")
	if err != nil || !utf16.IsSurrogate(r) {
		return nil, r, err
	}
	if t.accept(`\u`) {
		if _, low, err := t.number(start, 16, 4, 4, ""); err == nil && utf16.DecodeRune(r, low) != unicode.ReplacementChar {
			return nil, utf16.DecodeRune(r, low), nil
		}
	}
	return nil, 0, t.errorAt(start, `\u%04X is half of a character`, r)
}

// property parses the name after \p or \P.
func (t *translator) property(start int) (runeSet, error) {
	name := ""
	if t.accept("{") {
		from := t.at
		for t.at < len(t.in) && t.in[t.at] != '}' {
			t.at++
		}
		name = string(t.in[from:t.at])
		if !t.accept("}") {
			return nil, t.errorAt(start, `\p{ is not closed`)
		}
	} else if t.at < len(t.in) {
		name = string(t.in[t.at])
		t.at++
	}
	s, ok := propertySet(name)
	if !ok {
		return nil, t.errorAt(start, `\p{%s} is not supported: use a general category such as \p{Lu}, a script such as \p{IsLatin}, or \p{Alpha}`, name)
	}
	return s, nil
}

// class parses […]: characters, ranges, nested classes and && between them. A nested class is a
// union.
func (t *translator) class() (runeSet, error) {
	start := t.at
	t.at++
	negated := t.accept("^")
	var result runeSet
	for n := 0; ; n++ {
		operand, err := t.operand(start, n == 0)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			result = operand
		} else {
			result = result.intersect(operand)
		}
		if t.accept("]") {
			break
		}
		t.accept("&&")
	}
	if negated {
		result = result.complement()
	}
	return result, nil
}

// operand parses up to ] or &&.
func (t *translator) operand(start int, first bool) (runeSet, error) {
	set, empty := runeSet(nil), true
	for {
		t.skip()
		switch {
		case t.at >= len(t.in):
			return nil, t.errorAt(start, "[ is not closed")
		case t.peek() == ']' && (!empty || !first), t.peek() == '&' && t.peekAt(1) == '&':
			switch {
			case empty && first && t.peek() == '&':
				return setOf(0, unicode.MaxRune), nil
			case empty:
				return nil, t.error("&& must be followed by characters")
			}
			return set, nil
		}
		s, err := t.item()
		if err != nil {
			return nil, err
		}
		set, empty = set.union(s), false
	}
}

// item parses a character, a range or a class.
func (t *translator) item() (runeSet, error) {
	if t.peek() == '[' {
		return t.class()
	}
	set, low, err := t.character()
	if err != nil || set != nil {
		return t.folded(set), err
	}
	if t.peek() != '-' || strings.ContainsRune("][", t.peekAt(1)) || t.peekAt(1) < 0 || t.peekAt(1) == '&' && t.peekAt(2) == '&' {
		return t.folded(setOf(low, low)), nil
	}
	at := t.at
	t.at++
	set, high, err := t.character()
	switch {
	case err != nil:
		return nil, err
	case set != nil || high < low:
		return nil, t.errorAt(at, "the end of the range is before its start")
	}
	return t.folded(setOf(low, high)), nil
}

// folded applies (?i) to a set. Negation happens after folding.
func (t *translator) folded(s runeSet) runeSet {
	if t.flags.i {
		return s.foldASCII()
	}
	return s
}

// character parses a single character of a class, or a class such as \d.
func (t *translator) character() (runeSet, rune, error) {
	if t.peek() != '\\' {
		t.at++
		return nil, t.in[t.at-1], nil
	}
	if r := t.peekAt(1); r == 'Q' || r == 'E' {
		return nil, 0, t.error(`\%c in a class is not supported`, r)
	}
	return t.escaped()
}
