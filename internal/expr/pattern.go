package expr

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"weir.example/weir/internal/column"
)

func init() {
	register(
		simple("LIKE", "sss?", column.Of(column.Boolean), nil).with(func(f *Function) { f.prepare, f.compile = prepareLike, compileLike }),
		simple("SIMILAR TO", "sss?", column.Of(column.Boolean), nil).with(func(f *Function) { f.prepare, f.compile = prepareSimilar, compileLike }),
		simple("REGEXP", "ss", column.Of(column.Boolean), nil).with(func(f *Function) { f.prepare, f.compile = prepareRegexp, compileLike }),
		maybe("REGEXP_EXTRACT", "ssi?", column.Of(column.String), evalRegexpExtract).with(withRegexp),
		maybe("REGEXP_EXTRACT_ALL", "ssi?", column.Type{Kind: column.Array, Elem: &column.Type{Kind: column.String}}, evalRegexpExtractAll).with(withRegexp),
		maybe("REGEXP_REPLACE", "sss", column.Of(column.String), evalRegexpReplace).with(withRegexp),
		maybe("REGEXP_COUNT", "ss", column.Of(column.Int), evalRegexpCount).with(withRegexp),
		maybe("REGEXP_INSTR", "ss", column.Of(column.Int), evalRegexpInstr).with(withRegexp),
		maybe("REGEXP_SUBSTR", "ss", column.Of(column.String), evalRegexpExtract).with(withRegexp),
		maybe("STR_TO_MAP", "sss?", column.Type{Kind: column.Map, Key: &column.Type{Kind: column.String}, Elem: &column.Type{Kind: column.String}}, evalStrToMap).with(oneOrThree),
	)
}

// oneOrThree rejects calls with two arguments, as Flink does.
func oneOrThree(f *Function) {
	bind := f.bind
	f.Min = 1
	f.bind = func(args []Node) ([]Node, column.Type, error) {
		if len(args) == 2 {
			return nil, column.Type{}, fmt.Errorf("%s takes 1 argument, or 3 with both delimiters", f.Name)
		}
		return bind(args)
	}
}

// matcher is a compiled pattern.
type matcher func(s string) bool

// prepareLike compiles a constant pattern once.
func prepareLike(n *Call) error { return preparePattern(n, likeMatcher) }

func prepareSimilar(n *Call) error { return preparePattern(n, similarMatcher) }

func preparePattern(n *Call, build func(pattern, escape string) (matcher, error)) error {
	n.Data = build
	pattern, ok := Fold(n.Args[1]).(*Const)
	escape := ""
	if len(n.Args) > 2 {
		e, constant := Fold(n.Args[2]).(*Const)
		if !constant || e.Value == nil || utf8.RuneCountInString(e.Value.(string)) != 1 {
			return errors.New("ESCAPE must be one character")
		}
		escape = e.Value.(string)
	}
	if !ok || pattern.Value == nil {
		return nil
	}
	m, err := build(pattern.Value.(string), escape)
	if err != nil {
		return err
	}
	n.Data = m
	return nil
}

func compileLike(n *Call, args []*Compiled) (*Compiled, error) {
	x := args[0].S
	if m, ok := n.Data.(matcher); ok {
		return &Compiled{Type: n.T, I: func(b *column.Batch, row int) (int64, bool) {
			s, ok := x(b, row)
			return boolInt(ok && m(s)), ok
		}}, nil
	}
	build, _ := n.Data.(func(pattern, escape string) (matcher, error))
	pattern := args[1].S
	return &Compiled{Type: n.T, I: func(b *column.Batch, row int) (int64, bool) {
		s, ok := x(b, row)
		if !ok {
			return 0, false
		}
		p, ok := pattern(b, row)
		if !ok {
			return 0, false
		}
		escape := ""
		if len(args) > 2 {
			escape, _ = args[2].S(b, row)
		}
		m, err := build(p, escape)
		if err != nil {
			b.Fail("%w", err)
			return 0, false
		}
		return boolInt(m(s)), true
	}}, nil
}

// likeMatcher handles % and _. Patterns with % only at the ends don't need a regular expression.
func likeMatcher(pattern, escape string) (matcher, error) {
	inner := strings.Trim(pattern, "%")
	if !strings.ContainsAny(inner, "%_") && (escape == "" || !strings.Contains(pattern, escape)) {
		front, back := strings.HasPrefix(pattern, "%"), strings.HasSuffix(pattern, "%")
		switch {
		case pattern != "" && inner == "":
			return func(string) bool { return true }, nil
		case front && back:
			return func(s string) bool { return strings.Contains(s, inner) }, nil
		case front:
			return func(s string) bool { return strings.HasSuffix(s, inner) }, nil
		case back:
			return func(s string) bool { return strings.HasPrefix(s, inner) }, nil
		}
		return func(s string) bool { return s == inner }, nil
	}
	var re strings.Builder
	re.WriteString("(?s)^")
	escaped := false
	one := lineEnds.complement().text() // as in Flink, where _ doesn't match a line terminator
	for _, r := range pattern {
		switch {
		case escaped:
			if r != '%' && r != '_' && string(r) != escape {
				return nil, fmt.Errorf("the pattern '%s' escapes %q, which needs none", pattern, r)
			}
			re.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
		case escape != "" && string(r) == escape:
			escaped = true
		case r == '%':
			re.WriteString(".*")
		case r == '_':
			re.WriteString(one)
		default:
			re.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	if escaped {
		return nil, fmt.Errorf("the pattern '%s' ends with its escape character", pattern)
	}
	compiled, err := regexp.Compile(re.String() + "$")
	if err != nil {
		return nil, err
	}
	return compiled.MatchString, nil
}

// similarMatcher handles SQL regular expressions: % and _ in addition to | * + ? {} () []. A dot
// matches any character, as in Flink.
func similarMatcher(pattern, escape string) (matcher, error) {
	var re strings.Builder
	escaped := false
	for _, r := range pattern {
		switch {
		case escaped:
			re.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
		case escape != "" && string(r) == escape:
			escaped = true
		case r == '%':
			re.WriteString(".*")
		case r == '_':
			re.WriteString(lineEnds.complement().text())
		case strings.ContainsRune(`^$\`, r):
			re.WriteString(regexp.QuoteMeta(string(r)))
		default:
			re.WriteRune(r)
		}
	}
	if escaped {
		return nil, fmt.Errorf("the pattern '%s' ends with its escape character", pattern)
	}
	compiled, err := regexp.Compile("(?s)^(?:" + re.String() + ")$")
	if err != nil {
		return nil, fmt.Errorf("the pattern '%s': %w", pattern, err)
	}
	return compiled.MatchString, nil
}

// withRegexp compiles the second argument once if it is a constant. A pattern that can't be
// translated to RE2 is an error, not NULL.
func withRegexp(f *Function) {
	f.prepare = func(n *Call) error {
		k, ok := Fold(n.Args[1]).(*Const)
		if !ok || k.Value == nil {
			return nil
		}
		re, err := CompileRegexp(k.Value.(string))
		n.Data = re
		return err
	}
}

func regexpOf(n *Call, pattern any) (*Regexp, error) {
	if re, ok := n.Data.(*Regexp); ok {
		return re, nil
	}
	return cachedRegexp(pattern.(string))
}

func prepareRegexp(n *Call) error { return preparePattern(n, regexpMatcher) }

// regexpMatcher searches for a pattern anywhere in a text. The empty pattern never matches. For a
// single character class such as [^a-z], ASCII text is checked byte by byte.
func regexpMatcher(pattern, _ string) (matcher, error) {
	re, err := cachedRegexp(pattern)
	if err != nil {
		return nil, err
	}
	if pattern == "" {
		return func(string) bool { return false }, nil
	}
	parsed, err := syntax.Parse(re.first().String(), syntax.Perl)
	if err != nil || parsed.Op != syntax.OpCharClass {
		return re.MatchString, nil
	}
	var in [utf8.RuneSelf]bool
	for i := 0; i < len(parsed.Rune); i += 2 {
		for r := parsed.Rune[i]; r <= parsed.Rune[i+1] && r < utf8.RuneSelf; r++ {
			in[r] = true
		}
	}
	return func(s string) bool {
		for i := 0; i < len(s); i++ {
			if s[i] >= utf8.RuneSelf {
				return re.MatchString(s)
			}
			if in[s[i]] {
				return true
			}
		}
		return false
	}, nil
}

// group returns the third argument, or otherwise if there is none.
func group(a []any, otherwise int64) int64 {
	if len(a) > 2 {
		return a[2].(int64)
	}
	return otherwise
}

func evalRegexpExtract(n *Call, a []any) (any, error) {
	re, err := regexpOf(n, a[1])
	if err != nil {
		return nil, err
	}
	g := group(a, 0)
	if g < 0 || g > int64(re.groups) {
		return nil, nil
	}
	m := re.find(a[0].(string), 0)
	if m == nil {
		return nil, nil
	}
	return matched(a[0].(string), m, g), nil
}

// matched returns the text of a group, or NULL if the group didn't participate in the match.
func matched(s string, m []int, g int64) any {
	if m[2*g] < 0 {
		return nil
	}
	return s[m[2*g]:m[2*g+1]]
}

func evalRegexpExtractAll(n *Call, a []any) (any, error) {
	re, err := regexpOf(n, a[1])
	if err != nil {
		return nil, err
	}
	g := group(a, 1)
	if g < 0 || g > int64(re.groups) {
		return nil, nil
	}
	all := []any{}
	for m := range re.all(a[0].(string)) {
		all = append(all, matched(a[0].(string), m, g))
	}
	return all, nil
}

// evalRegexpReplace inserts the replacement literally: $1 and \ have no special meaning.
func evalRegexpReplace(n *Call, a []any) (any, error) {
	re, err := regexpOf(n, a[1])
	if err != nil {
		return nil, err
	}
	return re.replaceAll(a[0].(string), a[2].(string))
}

func evalRegexpCount(n *Call, a []any) (any, error) {
	re, err := regexpOf(n, a[1])
	if err != nil {
		return nil, err
	}
	count := int64(0)
	for range re.all(a[0].(string)) {
		count++
	}
	return count, nil
}

func evalRegexpInstr(n *Call, a []any) (any, error) {
	re, err := regexpOf(n, a[1])
	if err != nil {
		return nil, err
	}
	m := re.find(a[0].(string), 0)
	if m == nil {
		return int64(0), nil
	}
	return int64(len(utf16.Encode([]rune(a[0].(string)[:m[0]])))) + 1, nil // Java counts code units
}

// evalStrToMap splits by regular expressions. Like Java's split, it drops trailing empty parts.
func evalStrToMap(_ *Call, a []any) (any, error) {
	patterns := []string{",", "="}
	for i, p := range a[1:] {
		patterns[i] = p.(string)
	}
	outer, err := cachedRegexp(patterns[0])
	if err != nil {
		return nil, err
	}
	inner, err := cachedRegexp(patterns[1])
	if err != nil {
		return nil, err
	}
	d := &column.Dict{}
	if a[0] == "" {
		return d, nil
	}
	for _, pair := range outer.split(a[0].(string), 0) {
		if kv := inner.split(pair, 2); len(kv) == 2 {
			d.Set(kv[0], kv[1])
		} else {
			d.Set(pair, nil)
		}
	}
	return d, nil
}
