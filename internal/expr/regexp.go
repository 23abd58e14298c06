package expr

import (
	"fmt"
	"iter"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Regexp matches like Java's java.util.regex.Pattern. It is safe for concurrent use.
type Regexp struct {
	first, again func() *compiledRegexp // for searches from the start of the text, and from a later position
	groups       int                    // number of groups of the pattern
	plain        bool                   // matches are never empty and end where RE2 ends them, so RE2 can iterate over them
	literal      string                 // part of every match
}

// compiledRegexp finds a single match.
type compiledRegexp struct {
	*regexp.Regexp
	own, ends []int
}

// CompileRegexp translates a Java pattern. The error states what can't be translated, and where.
func CompileRegexp(pattern string) (*Regexp, error) {
	t, err := translateRegexp(pattern, true)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(t.text)
	if err != nil {
		return nil, fmt.Errorf("the regular expression '%s': %w", pattern, err)
	}
	parsed, err := syntax.Parse(t.text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("the regular expression '%s': %w", pattern, err)
	}
	first := &compiledRegexp{re, t.own, t.ends}
	return &Regexp{
		first: func() *compiledRegexp { return first }, again: sync.OnceValue(func() *compiledRegexp { return behind(pattern) }),
		groups: len(t.own) - 1, plain: len(t.ends) == 0 && !mayBeEmpty(parsed),
		literal: literalOf(parsed),
	}, nil
}

// behind compiles a pattern for a search that starts after the beginning of a text. The text passed
// to it starts with the preceding character, so that \b sees it.
func behind(pattern string) *compiledRegexp {
	t, err := translateRegexp(pattern, false)
	if err != nil {
		panic(err) // it has been translated before
	}
	c := &compiledRegexp{Regexp: regexp.MustCompile(`\A(?s:.)(?s:.*?)(` + t.text + `)`)}
	for _, g := range t.own {
		c.own = append(c.own, g+1)
	}
	for _, g := range t.ends {
		c.ends = append(c.ends, g+1)
	}
	return c
}

// mayBeEmpty reports whether an expression can match the empty string.
func mayBeEmpty(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpNoMatch, syntax.OpLiteral, syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return false
	case syntax.OpCapture, syntax.OpPlus:
		return mayBeEmpty(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min == 0 || mayBeEmpty(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !mayBeEmpty(sub) {
				return false
			}
		}
		return true
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if mayBeEmpty(sub) {
				return true
			}
		}
		return false
	}
	return true
}

// literalOf returns the longest literal that each match of an expression contains. A search for it
// rules texts out that RE2 would otherwise try to match at each of their positions.
func literalOf(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 || slices.Contains(re.Rune, utf8.RuneError) { // which matches invalid bytes, too
			return ""
		}
		return string(re.Rune)
	case syntax.OpCapture, syntax.OpPlus:
		return literalOf(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return literalOf(re.Sub[0])
		}
	case syntax.OpConcat:
		longest := ""
		for _, sub := range re.Sub {
			if l := literalOf(sub); len(l) > len(longest) {
				longest = l
			}
		}
		return longest
	}
	return ""
}

// MatchString reports whether a text contains a match.
func (r *Regexp) MatchString(s string) bool {
	return strings.Contains(s, r.literal) && r.first().MatchString(s)
}

// find returns the first match at or after a position, as the start and end of the match and of
// each group, or nil.
func (r *Regexp) find(s string, from int) []int {
	if !strings.Contains(s[from:], r.literal) {
		return nil
	}
	c, skipped := r.first(), 0
	if from > 0 {
		_, size := utf8.DecodeLastRuneInString(s[:from])
		c, skipped = r.again(), from-size
	}
	m := c.FindStringSubmatchIndex(s[skipped:])
	if m == nil {
		return nil
	}
	end := len(s)
	for _, g := range c.ends {
		if m[2*g] >= 0 {
			end = m[2*g] + skipped
		}
	}
	found := make([]int, 0, 2*len(c.own))
	for _, g := range c.own {
		low, high := m[2*g], m[2*g+1]
		if low >= 0 {
			low, high = min(low+skipped, end), min(high+skipped, end)
		}
		found = append(found, low, high)
	}
	return found
}

// all yields successive matches like Java's Matcher.find: an empty match may start where the
// previous match ended.
func (r *Regexp) all(s string) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		if !strings.Contains(s, r.literal) {
			return
		}
		if r.plain {
			for _, m := range r.first().FindAllStringSubmatchIndex(s, -1) {
				if !yield(m) {
					return
				}
			}
			return
		}
		for from := 0; from <= len(s); {
			m := r.find(s, from)
			if m == nil || !yield(m) {
				return
			}
			if from = m[1]; m[0] == m[1] {
				_, size := utf8.DecodeRuneInString(s[from:])
				from += max(1, size)
			}
		}
	}
}

// replaceAll replaces each match by literal text: $1 and \ have no special meaning.
func (r *Regexp) replaceAll(s, with string) (string, error) {
	if !strings.Contains(s, r.literal) {
		return s, nil
	}
	if r.plain && len(s)+(len(s)+1)*len(with) <= maxResult {
		return r.first().ReplaceAllLiteralString(s, with), nil
	}
	var out strings.Builder
	last := 0
	for m := range r.all(s) {
		if out.Len()+m[0]-last+len(with) > maxResult {
			return "", errLongText
		}
		out.WriteString(s[last:m[0]])
		out.WriteString(with)
		last = m[1]
	}
	out.WriteString(s[last:])
	return out.String(), nil
}

// split is Java's String.split: at most limit parts, or if limit is 0, all parts except trailing
// empty ones.
func (r *Regexp) split(s string, limit int) []string {
	var parts []string
	last := 0
	for m := range r.all(s) {
		if limit > 0 && len(parts) == limit-1 {
			break
		}
		if m[1] == 0 { // empty match at the start
			continue
		}
		parts = append(parts, s[last:m[0]])
		last = m[1]
	}
	if parts == nil {
		return []string{s}
	}
	parts = append(parts, s[last:])
	for limit == 0 && len(parts) > 0 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	return parts
}

// regexps caches compiled patterns that are not constants.
var regexps = struct {
	sync.Mutex
	of map[string]*Regexp
}{of: make(map[string]*Regexp)}

// maxRegexps bounds the size of the cache.
const maxRegexps = 256

// cachedRegexp is CompileRegexp with a cache.
func cachedRegexp(pattern string) (*Regexp, error) {
	regexps.Lock()
	defer regexps.Unlock()
	if r, ok := regexps.of[pattern]; ok {
		return r, nil
	}
	r, err := CompileRegexp(pattern)
	if err != nil {
		return nil, err
	}
	if len(regexps.of) >= maxRegexps {
		clear(regexps.of)
	}
	regexps.of[strings.Clone(pattern)] = r
	return r, nil
}
