package expr

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// runeSet is a set of characters: sorted inclusive ranges that neither overlap nor touch.
type runeSet [][2]rune

func setOf(ranges ...rune) runeSet {
	s := make(runeSet, 0, len(ranges)/2)
	for i := 0; i < len(ranges); i += 2 {
		s = append(s, [2]rune{ranges[i], ranges[i+1]})
	}
	return s.normal()
}

// tableSet returns the union of tables of package unicode.
func tableSet(tables ...*unicode.RangeTable) runeSet {
	var s runeSet
	add := func(low, high, stride rune) {
		if stride == 1 {
			s = append(s, [2]rune{low, high})
			return
		}
		for r := low; r <= high; r += stride {
			s = append(s, [2]rune{r, r})
		}
	}
	for _, t := range tables {
		for _, r := range t.R16 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
		for _, r := range t.R32 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride)) //nolint:gosec // a character
		}
	}
	return s.normal()
}

// normal sorts and merges ranges.
func (s runeSet) normal() runeSet {
	s = slices.Clone(s)
	slices.SortFunc(s, func(a, b [2]rune) int { return int(a[0] - b[0]) })
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && r[0] <= out[n-1][1]+1 {
			out[n-1][1] = max(out[n-1][1], r[1])
			continue
		}
		out = append(out, r)
	}
	return out
}

func (s runeSet) union(o runeSet) runeSet { return slices.Concat(s, o).normal() }

func (s runeSet) complement() runeSet {
	var out runeSet
	next := rune(0)
	for _, r := range s {
		if r[0] > next {
			out = append(out, [2]rune{next, r[0] - 1})
		}
		next = r[1] + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, [2]rune{next, unicode.MaxRune})
	}
	return out
}

func (s runeSet) intersect(o runeSet) runeSet {
	return s.complement().union(o.complement()).complement()
}

// foldASCII adds the other case of ASCII letters.
func (s runeSet) foldASCII() runeSet {
	other := func(r [2]rune, first, last, by rune) (runeSet, bool) {
		low, high := max(r[0], first), min(r[1], last)
		return runeSet{{low + by, high + by}}, low <= high
	}
	out := s
	for _, r := range s {
		if more, ok := other(r, 'a', 'z', 'A'-'a'); ok {
			out = out.union(more)
		}
		if more, ok := other(r, 'A', 'Z', 'a'-'A'); ok {
			out = out.union(more)
		}
	}
	return out
}

// text formats the set as an RE2 character class.
func (s runeSet) text() string {
	if len(s) == 0 {
		return `[^\x00-\x{10FFFF}]`
	}
	var b strings.Builder
	b.WriteByte('[')
	for _, r := range s {
		fmt.Fprintf(&b, `\x{%X}`, r[0])
		if r[1] > r[0] {
			fmt.Fprintf(&b, `-\x{%X}`, r[1])
		}
	}
	b.WriteByte(']')
	return b.String()
}

var (
	lineEnds   = setOf('\n', '\n', '\r', '\r', 0x85, 0x85, 0x2028, 0x2029)
	digits     = setOf('0', '9')
	wordRunes  = setOf('0', '9', 'A', 'Z', '_', '_', 'a', 'z')
	spaceRunes = setOf('\t', '\r', ' ', ' ')
	upright    = setOf('\n', '\r', 0x85, 0x85, 0x2028, 0x2029)                                                                                           // \v
	horizontal = setOf('\t', '\t', ' ', ' ', 0xa0, 0xa0, 0x1680, 0x1680, 0x180e, 0x180e, 0x2000, 0x200a, 0x202f, 0x202f, 0x205f, 0x205f, 0x3000, 0x3000) // \h
)

// escapedSets maps letters to the classes that they denote after a backslash; the upper-case letter
// denotes the complement.
var escapedSets = map[rune]runeSet{'d': digits, 'w': wordRunes, 's': spaceRunes, 'v': upright, 'h': horizontal}

// namedSets are the \p{…} classes that package unicode doesn't define under that name. Java treats
// them as ASCII only.
var namedSets = map[string]runeSet{
	"Lower": setOf('a', 'z'), "Upper": setOf('A', 'Z'), "ASCII": setOf(0, 0x7f), "Alpha": setOf('A', 'Z', 'a', 'z'), "Digit": digits, "Alnum": setOf('0', '9', 'A', 'Z', 'a', 'z'),
	"Punct": setOf('!', '/', ':', '@', '[', '`', '{', '~'), "Graph": setOf('!', '~'), "Print": setOf(' ', '~'), "Blank": setOf('\t', '\t', ' ', ' '),
	"Cntrl": setOf(0, 0x1f, 0x7f, 0x7f), "XDigit": setOf('0', '9', 'A', 'F', 'a', 'f'), "Space": spaceRunes,
}

// javaSets are binary properties by their lower-case names, which follow Is.
var javaSets = map[string][]*unicode.RangeTable{
	"alphabetic": {unicode.L, unicode.Nl, unicode.Other_Alphabetic}, "lowercase": {unicode.Ll, unicode.Other_Lowercase}, "uppercase": {unicode.Lu, unicode.Other_Uppercase},
	"digit": {unicode.Nd}, "letter": {unicode.L}, "punctuation": {unicode.P}, "white_space": {unicode.White_Space}, "whitespace": {unicode.White_Space}, "control": {unicode.Cc},
	"ideographic": {unicode.Ideographic}, "titlecase": {unicode.Lt},
}

// propertySet returns the set of \p{name}.
func propertySet(name string) (runeSet, bool) {
	if s, ok := namedSets[name]; ok {
		return s, true
	}
	if rest, ok := strings.CutPrefix(name, "java"); ok {
		switch rest {
		case "LowerCase", "UpperCase", "Alphabetic", "Letter", "Digit", "TitleCase":
			return tableSet(javaSets[strings.ToLower(rest)]...), true
		case "LetterOrDigit":
			return tableSet(unicode.L, unicode.Nd), true
		}
		return nil, false
	}
	key, value, assigned := strings.Cut(name, "=")
	switch strings.ToLower(key) {
	case "gc", "general_category":
		if t := unicode.Categories[value]; assigned && t != nil {
			return tableSet(t), true
		}
		return nil, false
	case "sc", "script":
		return scriptSet(value)
	}
	if rest, ok := strings.CutPrefix(name, "Is"); ok {
		if t := javaSets[strings.ToLower(rest)]; t != nil {
			return tableSet(t...), true
		}
		if s, ok := scriptSet(rest); ok {
			return s, true
		}
		name = rest
	}
	if t := unicode.Categories[name]; t != nil {
		return tableSet(t), true
	}
	return nil, false
}

// scriptSet looks up a script by its name, ignoring case.
func scriptSet(name string) (runeSet, bool) {
	for have, t := range unicode.Scripts {
		if strings.EqualFold(have, name) {
			return tableSet(t), true
		}
	}
	return nil, false
}
