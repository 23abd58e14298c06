package expr

import (
	"crypto/md5"  //nolint:gosec // MD5 is what SQL's MD5 asks for
	"crypto/sha1" //nolint:gosec // likewise SHA1
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func init() {
	register(
		text1("UPPER", strings.ToUpper), text1("LOWER", strings.ToLower), text1("INITCAP", initCap), text1("REVERSE", reverse),
		text1("MD5", func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }),   //nolint:gosec // asked for
		text1("SHA1", func(s string) string { h := sha1.Sum([]byte(s)); return hex.EncodeToString(h[:]) }), //nolint:gosec // asked for
		text1("SHA256", func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }),
		text1("SHA512", func(s string) string { h := sha512.Sum512([]byte(s)); return hex.EncodeToString(h[:]) }),
		text1("TO_BASE64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }),
		maybe("FROM_BASE64", "s", Of(String), func(_ *Call, a []any) (any, error) {
			b, err := base64.StdEncoding.DecodeString(a[0].(string))
			return string(b), err
		}),
		simple("CHAR_LENGTH", "s", Of(Int), func(_ *Call, a []any) (any, error) { return int64(utf8.RuneCountInString(a[0].(string))), nil }),
		simple("OCTET_LENGTH", "y", Of(Int), func(_ *Call, a []any) (any, error) { return int64(len(a[0].(string))), nil }),
		simple("ASCII", "s", Of(Int), func(_ *Call, a []any) (any, error) {
			if s := a[0].(string); s != "" {
				return int64(s[0]), nil
			}
			return int64(0), nil
		}),
		simple("CHR", "i", Of(String), func(_ *Call, a []any) (any, error) { return string(rune(a[0].(int64) & 255)), nil }),
		&Function{Name: "HEX", Min: 1, Max: 1, bind: bindHex, eval: evalHex},
		simple("||", "ss", Of(String), nil).with(func(f *Function) { f.compile = compileConcat }),
		simple("CONCAT", "s*", Of(String), nil).with(func(f *Function) { f.compile = compileConcat }),
		simple("CONCAT_WS", "ss*", Of(String), evalConcatWS).with(func(f *Function) { f.NullArgs = true }),
		simple("SUBSTRING", "sii?", Of(String), evalSubstring),
		simple("LEFT", "si", Of(String), func(_ *Call, a []any) (any, error) { return firstRunes(a[0].(string), a[1].(int64)), nil }),
		simple("RIGHT", "si", Of(String), evalRight),
		simple("REPLACE", "sss", Of(String), func(_ *Call, a []any) (any, error) {
			return strings.ReplaceAll(a[0].(string), a[1].(string), a[2].(string)), nil
		}),
		simple("REPEAT", "si", Of(String), evalRepeat),
		simple("LPAD", "sis", Of(String), evalPad(true)), simple("RPAD", "sis", Of(String), evalPad(false)),
		simple("TRIM", "uss", Of(String), evalTrim),
		simple("LTRIM", "ss?", Of(String), evalTrimSide("LEADING")), simple("RTRIM", "ss?", Of(String), evalTrimSide("TRAILING")),
		simple("BTRIM", "ss?", Of(String), evalTrimSide("BOTH")),
		simple("POSITION", "ss", Of(Int), func(_ *Call, a []any) (any, error) { return runeIndex(a[1].(string), a[0].(string), 1), nil }),
		simple("INSTR", "ss", Of(Int), func(_ *Call, a []any) (any, error) { return runeIndex(a[0].(string), a[1].(string), 1), nil }),
		simple("LOCATE", "ssi?", Of(Int), func(_ *Call, a []any) (any, error) {
			from := int64(1)
			if len(a) > 2 {
				from = a[2].(int64)
			}
			return runeIndex(a[1].(string), a[0].(string), from), nil
		}),
		simple("OVERLAY", "ssii?", Of(String), evalOverlay),
		maybe("SPLIT_INDEX", "ssi", Of(String), evalSplitIndex),
		simple("STARTSWITH", "ss", Of(Boolean), func(_ *Call, a []any) (any, error) { return strings.HasPrefix(a[0].(string), a[1].(string)), nil }),
		simple("ENDSWITH", "ss", Of(Boolean), func(_ *Call, a []any) (any, error) { return strings.HasSuffix(a[0].(string), a[1].(string)), nil }),
		simple("LIKE", "sss?", Of(Boolean), nil).with(func(f *Function) { f.prepare, f.compile = prepareLike, compileLike }),
		simple("SIMILAR TO", "sss?", Of(Boolean), nil).with(func(f *Function) { f.prepare, f.compile = prepareSimilar, compileLike }),
		simple("REGEXP", "ss", Of(Boolean), evalRegexp).with(func(f *Function) { f.prepare = prepareRegexp(1) }),
		maybe("REGEXP_EXTRACT", "ssi?", Of(String), evalRegexpExtract).with(func(f *Function) { f.prepare = prepareRegexp(1) }),
		simple("REGEXP_REPLACE", "sss", Of(String), evalRegexpReplace).with(func(f *Function) { f.prepare = prepareRegexp(1) }),
		maybe("STR_TO_MAP", "sss?", Type{Kind: Map, Key: &Type{Kind: String}, Elem: &Type{Kind: String}}, evalStrToMap),
	)
	register(functions["CHAR_LENGTH"].alias("CHARACTER_LENGTH"), functions["SUBSTRING"].alias("SUBSTR"))
}

func text1(name string, f func(string) string) *Function {
	fn := simple(name, "s", Of(String), nil)
	fn.compile = func(n *Call, args []*Compiled) (*Compiled, error) {
		x := args[0].S
		return &Compiled{Type: n.T, S: func(b *Batch, row int) (string, bool) {
			s, ok := x(b, row)
			if !ok {
				return "", false
			}
			return f(s), true
		}}, nil
	}
	return fn
}

func initCap(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		word := unicode.IsLetter(r) || unicode.IsDigit(r)
		if word && start {
			start = false
			return unicode.ToUpper(r)
		}
		start = !word
		return unicode.ToLower(r)
	}, s)
}

func reverse(s string) string {
	r := []rune(s)
	for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
		r[i], r[j] = r[j], r[i]
	}
	return string(r)
}

func bindHex(args []Node) ([]Node, Type, error) {
	t := args[0].Type()
	if !t.Integer() && t.Kind != String {
		return nil, Type{}, fmt.Errorf("HEX wants an integer or a string, not %s", t.Nullable(true))
	}
	return args, Of(String).Nullable(!t.NotNull), nil
}

func evalHex(_ *Call, a []any) (any, error) {
	if v, ok := a[0].(int64); ok {
		return strings.ToUpper(strconv.FormatUint(uint64(v), 16)), nil
	}
	return hexText(a[0].(string)), nil
}

func compileConcat(n *Call, args []*Compiled) (*Compiled, error) {
	return &Compiled{Type: n.T, S: func(b *Batch, row int) (string, bool) {
		var out strings.Builder
		for _, a := range args {
			s, ok := a.S(b, row)
			if !ok {
				return "", false
			}
			out.WriteString(s)
		}
		return out.String(), true
	}}, nil
}

func evalConcatWS(_ *Call, a []any) (any, error) {
	if a[0] == nil {
		return nil, nil
	}
	var parts []string
	for _, v := range a[1:] {
		if v != nil {
			parts = append(parts, v.(string))
		}
	}
	return strings.Join(parts, a[0].(string)), nil
}

// evalSubstring counts from 1; a negative start counts from the end; 0 is taken as 1.
func evalSubstring(_ *Call, a []any) (any, error) {
	r := []rune(a[0].(string))
	start, length := a[1].(int64), int64(len(r))
	if len(a) > 2 {
		length = a[2].(int64)
		if length < 0 {
			return nil, nil
		}
	}
	switch {
	case start > 0:
		start--
	case start < 0:
		start += int64(len(r))
		if start < 0 {
			return "", nil
		}
	}
	if start >= int64(len(r)) {
		return "", nil
	}
	return string(r[start:min(int64(len(r)), start+min(length, int64(len(r))))]), nil
}

func firstRunes(s string, n int64) string {
	if n <= 0 {
		return ""
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

func evalRight(_ *Call, a []any) (any, error) {
	r := []rune(a[0].(string))
	return string(r[max(0, int64(len(r))-max(0, a[1].(int64))):]), nil
}

// maxText bounds what REPEAT and the PADs make.
const maxText = 1 << 20

func evalRepeat(_ *Call, a []any) (any, error) {
	s, n := a[0].(string), max(0, a[1].(int64))
	if n > 0 && int64(len(s)) > maxText/n {
		return nil, errors.New("the result would be longer than a megabyte")
	}
	return strings.Repeat(s, int(n)), nil
}

func evalPad(left bool) func(n *Call, a []any) (any, error) {
	return func(_ *Call, a []any) (any, error) {
		s, n, pad := []rune(a[0].(string)), a[1].(int64), []rune(a[2].(string))
		switch {
		case n < 0 || len(pad) == 0 && int64(len(s)) < n:
			return nil, nil
		case n > maxText:
			return nil, errors.New("the result would be longer than a megabyte")
		case int64(len(s)) >= n:
			return string(s[:n]), nil
		}
		fill := make([]rune, 0, n)
		for i := 0; len(fill) < int(n)-len(s); i++ {
			fill = append(fill, pad[i%len(pad)])
		}
		if left {
			return string(fill) + string(s), nil
		}
		return string(s) + string(fill), nil
	}
}

func evalTrim(_ *Call, a []any) (any, error) {
	return trim(a[0].(string), a[1].(string), a[2].(string)), nil
}

func evalTrimSide(side string) func(n *Call, a []any) (any, error) {
	return func(_ *Call, a []any) (any, error) {
		chars := " "
		if len(a) > 1 {
			chars = a[1].(string)
		}
		return trim(side, chars, a[0].(string)), nil
	}
}

func trim(side, chars, s string) string {
	if side != "TRAILING" {
		s = strings.TrimLeft(s, chars)
	}
	if side != "LEADING" {
		s = strings.TrimRight(s, chars)
	}
	return s
}

// runeIndex is the position of part in s from a position on, counted from 1; 0 where it is not there.
func runeIndex(s, part string, from int64) int64 {
	if from < 1 {
		return 0
	}
	skip := len(firstRunes(s, from-1))
	i := strings.Index(s[skip:], part)
	if i < 0 {
		return 0
	}
	return int64(utf8.RuneCountInString(s[:skip+i])) + 1
}

func evalOverlay(_ *Call, a []any) (any, error) {
	s, put, from := []rune(a[0].(string)), []rune(a[1].(string)), a[2].(int64)
	length := int64(len(put))
	if len(a) > 3 {
		length = a[3].(int64)
	}
	if from < 1 || from > int64(len(s)) {
		return a[0], nil
	}
	end := min(int64(len(s)), max(from-1, from-1+length))
	return string(s[:from-1]) + string(put) + string(s[end:]), nil
}

func evalSplitIndex(_ *Call, a []any) (any, error) {
	parts := strings.Split(a[0].(string), a[1].(string))
	i := a[2].(int64)
	if i < 0 || i >= int64(len(parts)) {
		return nil, nil
	}
	return parts[i], nil
}

func evalStrToMap(_ *Call, a []any) (any, error) {
	outer, inner := ",", "="
	if len(a) == 3 {
		outer, inner = a[1].(string), a[2].(string)
	}
	d := &Dict{}
	for _, pair := range strings.Split(a[0].(string), outer) {
		k, v, ok := strings.Cut(pair, inner)
		d.Keys = append(d.Keys, k)
		if ok {
			d.Values = append(d.Values, v)
		} else {
			d.Values = append(d.Values, nil)
		}
	}
	return d, nil
}

// matcher is a pattern made ready.
type matcher func(s string) bool

// prepareLike makes the matcher of a constant pattern once.
func prepareLike(n *Call) error { return preparePattern(n, likeMatcher) }

func prepareSimilar(n *Call) error { return preparePattern(n, similarMatcher) }

func preparePattern(n *Call, build func(pattern, escape string) (matcher, error)) error {
	n.Data = build
	pattern, ok := Fold(n.Args[1]).(*Const)
	escape := ""
	if len(n.Args) > 2 {
		e, constant := Fold(n.Args[2]).(*Const)
		if !constant || e.Value == nil || utf8.RuneCountInString(e.Value.(string)) != 1 {
			return errors.New("ESCAPE wants one character")
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
		return &Compiled{Type: n.T, I: func(b *Batch, row int) (int64, bool) {
			s, ok := x(b, row)
			return boolInt(ok && m(s)), ok
		}}, nil
	}
	build, _ := n.Data.(func(pattern, escape string) (matcher, error))
	pattern := args[1].S
	return &Compiled{Type: n.T, I: func(b *Batch, row int) (int64, bool) {
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
			b.fail("%w", err)
			return 0, false
		}
		return boolInt(m(s)), true
	}}, nil
}

// likeMatcher handles % and _; patterns with % at their ends only need no regular expression.
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
			re.WriteString(".")
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

// similarMatcher handles SQL's regular expressions: % and _ beside | * + ? {} () [].
func similarMatcher(pattern, _ string) (matcher, error) {
	var re strings.Builder
	for _, r := range pattern {
		switch r {
		case '%':
			re.WriteString(".*")
		case '_':
			re.WriteString(".")
		case '.', '^', '$', '\\':
			re.WriteString(regexp.QuoteMeta(string(r)))
		default:
			re.WriteRune(r)
		}
	}
	compiled, err := regexp.Compile("(?s)^(?:" + re.String() + ")$")
	if err != nil {
		return nil, fmt.Errorf("the pattern '%s': %w", pattern, err)
	}
	return compiled.MatchString, nil
}

// prepareRegexp compiles a constant pattern once. Patterns are RE2's, which lack Java's look-around and back references.
func prepareRegexp(arg int) func(n *Call) error {
	return func(n *Call) error {
		k, ok := Fold(n.Args[arg]).(*Const)
		if !ok || k.Value == nil {
			return nil
		}
		re, err := compileRegexp(k.Value.(string))
		n.Data = re
		return err
	}
}

func compileRegexp(pattern string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("the regular expression '%s': %w (look-around and back references of Java are not supported)", pattern, err)
	}
	return re, nil
}

func regexpOf(n *Call, pattern any) (*regexp.Regexp, error) {
	if re, ok := n.Data.(*regexp.Regexp); ok {
		return re, nil
	}
	return compileRegexp(pattern.(string))
}

func evalRegexp(n *Call, a []any) (any, error) {
	re, err := regexpOf(n, a[1])
	if err != nil {
		return nil, err
	}
	return re.MatchString(a[0].(string)), nil
}

func evalRegexpExtract(n *Call, a []any) (any, error) {
	re, err := regexpOf(n, a[1])
	if err != nil {
		return nil, err
	}
	group := int64(0)
	if len(a) > 2 {
		group = a[2].(int64)
	}
	m := re.FindStringSubmatchIndex(a[0].(string))
	if m == nil || group < 0 || group > int64(re.NumSubexp()) || m[2*group] < 0 {
		return nil, nil
	}
	return a[0].(string)[m[2*group]:m[2*group+1]], nil
}

func evalRegexpReplace(n *Call, a []any) (any, error) {
	re, err := regexpOf(n, a[1])
	if err != nil {
		return nil, err
	}
	// Java writes groups as $1 and quotes with a backslash; Go needs braces, and $$ for a dollar.
	replacement := regexp.MustCompile(`\$(\d+)`).ReplaceAllString(a[2].(string), `$${$1}`)
	return re.ReplaceAllString(a[0].(string), replacement), nil
}
