package expr

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"weir.example/weir/internal/column"
)

func init() {
	register(
		text1("UPPER", upper), text1("LOWER", strings.ToLower), text1("INITCAP", initCap), text1("REVERSE", reverse),
		simple("CHAR_LENGTH", "s", column.Of(column.Int), func(_ *Call, a []any) (any, error) { return int64(utf8.RuneCountInString(a[0].(string))), nil }),
		simple("||", "ss", column.Of(column.String), nil).with(func(f *Function) { f.compile = compileConcat }),
		simple("CONCAT", "s*", column.Of(column.String), nil).with(func(f *Function) { f.compile = compileConcat }),
		simple("CONCAT_WS", "ss*", column.Of(column.String), evalConcatWS).with(func(f *Function) { f.NullArgs, f.bind = true, bindConcatWS(f.bind) }),
		simple("SUBSTRING", "sii?", column.Of(column.String), evalSubstring).with(func(f *Function) { f.bind = bindSubstring(f.bind) }),
		simple("LEFT", "si", column.Of(column.String), func(_ *Call, a []any) (any, error) { return firstRunes(a[0].(string), a[1].(int64)), nil }),
		simple("RIGHT", "si", column.Of(column.String), evalRight),
		simple("REPLACE", "sss", column.Of(column.String), evalReplace),
		simple("REPEAT", "si", column.Of(column.String), evalRepeat),
		maybe("LPAD", "sis", column.Of(column.String), evalPad(true)), maybe("RPAD", "sis", column.Of(column.String), evalPad(false)),
		simple("TRIM", "uss", column.Of(column.String), evalTrim),
		simple("LTRIM", "ss?", column.Of(column.String), evalTrimSide("LEADING")), simple("RTRIM", "ss?", column.Of(column.String), evalTrimSide("TRAILING")),
		simple("BTRIM", "ss?", column.Of(column.String), evalTrimSide("BOTH")),
		simple("POSITION", "ss", column.Of(column.Int), func(_ *Call, a []any) (any, error) { return runeIndex(a[1].(string), a[0].(string), 1), nil }),
		simple("INSTR", "ssi?i?", column.Of(column.Int), evalInstr),
		simple("LOCATE", "ssi?", column.Of(column.Int), func(_ *Call, a []any) (any, error) {
			from := int64(1)
			if len(a) > 2 {
				from = a[2].(int64)
			}
			return runeIndex(a[1].(string), a[0].(string), from), nil
		}),
		simple("OVERLAY", "ssii?", column.Of(column.String), evalOverlay),
		simple("TRANSLATE", "sss", column.Of(column.String), evalTranslate).with(func(f *Function) { f.NullArgs = true }),
		maybe("SPLIT_INDEX", "ssi", column.Of(column.String), evalSplitIndex),
		simple("SPLIT", "ss", column.Type{Kind: column.Array, Elem: &column.Type{Kind: column.String}}, evalSplit),
		simple("STARTSWITH", "yy", column.Of(column.Boolean), func(_ *Call, a []any) (any, error) { return strings.HasPrefix(a[0].(string), a[1].(string)), nil }).with(bothAlike),
		simple("ENDSWITH", "yy", column.Of(column.Boolean), func(_ *Call, a []any) (any, error) { return strings.HasSuffix(a[0].(string), a[1].(string)), nil }).with(bothAlike),
		&Function{Name: "ELT", Min: 2, Max: -1, NullArgs: true, bind: bindElt, eval: evalElt},
	)
	register(functions["CHAR_LENGTH"].alias("CHARACTER_LENGTH"), functions["SUBSTRING"].alias("SUBSTR"))
}

// bothAlike rejects a mix of strings and bytes, as Flink does.
func bothAlike(f *Function) {
	bind := f.bind
	f.bind = func(args []Node) ([]Node, column.Type, error) {
		bound, t, err := bind(args)
		if a, b := args[0].Type(), args[1].Type(); err == nil && a.Kind != b.Kind && a.Kind != column.Null && b.Kind != column.Null {
			err = fmt.Errorf("%s expects two strings, or bytes twice, got %s and %s", f.Name, a.Nullable(true), b.Nullable(true))
		}
		return bound, t, err
	}
}

func text1(name string, f func(string) string) *Function {
	fn := simple(name, "s", column.Of(column.String), nil)
	fn.compile = func(n *Call, args []*Compiled) (*Compiled, error) {
		x := args[0].S
		return &Compiled{Type: n.T, S: func(b *column.Batch, row int) (string, bool) {
			s, ok := x(b, row)
			if !ok {
				return "", false
			}
			if s = f(s); len(s) > maxResult {
				b.Fail("%s: %w", name, errLongText)
				return "", false
			}
			return s, true
		}}, nil
	}
	return fn
}

// upper maps ß to SS, as Java does.
func upper(s string) string {
	return strings.ToUpper(strings.ReplaceAll(s, "ß", "SS"))
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

func compileConcat(n *Call, args []*Compiled) (*Compiled, error) {
	return &Compiled{Type: n.T, S: func(b *column.Batch, row int) (string, bool) {
		var out strings.Builder
		for _, a := range args {
			s, ok := a.S(b, row)
			if !ok {
				return "", false
			}
			if out.Len()+len(s) > maxResult {
				b.Fail("%s: %w", n.F.Name, errLongText)
				return "", false
			}
			out.WriteString(s)
		}
		return out.String(), true
	}}, nil
}

// bindConcatWS makes the result nullable only if the separator is.
func bindConcatWS(bind func(args []Node) ([]Node, column.Type, error)) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		bound, t, err := bind(args)
		return bound, t.Nullable(err != nil || !bound[0].Type().NotNull), err
	}
}

func evalConcatWS(_ *Call, a []any) (any, error) {
	if a[0] == nil {
		return nil, nil
	}
	var parts []string
	size := 0
	for _, v := range a[1:] {
		if v != nil {
			parts = append(parts, v.(string))
			size += len(a[0].(string)) + len(v.(string))
		}
	}
	if size > maxResult {
		return nil, errLongText
	}
	return strings.Join(parts, a[0].(string)), nil
}

// bindSubstring makes the result nullable unless the length is a non-negative constant: a negative
// length gives NULL.
func bindSubstring(bind func(args []Node) ([]Node, column.Type, error)) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		bound, t, err := bind(args)
		if err == nil && len(bound) > 2 {
			k, ok := Fold(bound[2]).(*Const)
			if !ok || k.Value == nil || k.Value.(int64) < 0 {
				t = t.Nullable(true)
			}
		}
		return bound, t, err
	}
}

// evalSubstring uses 1-based positions. A negative start counts from the end; 0 is equivalent to 1.
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

// maxText limits the results of REPEAT, LPAD and RPAD, and the widths of PRINTF.
const maxText = 1 << 20

var errLongPadding = errors.New("the result would exceed 1 MiB")

func evalRepeat(_ *Call, a []any) (any, error) {
	s, n := a[0].(string), max(0, a[1].(int64))
	if n > 0 && int64(len(s)) > maxText/n {
		return nil, errLongPadding
	}
	return strings.Repeat(s, int(n)), nil
}

// evalPad counts UTF-16 code units, as Java does.
func evalPad(left bool) func(n *Call, a []any) (any, error) {
	units := func(s any) []uint16 { return utf16.Encode([]rune(s.(string))) }
	return func(_ *Call, a []any) (any, error) {
		s, n, pad := units(a[0]), a[1].(int64), units(a[2])
		switch {
		case n < 0 || len(pad) == 0:
			return nil, nil
		case n > maxText:
			return nil, errLongPadding
		case int64(len(s)) >= n:
			return string(utf16.Decode(s[:n])), nil
		}
		fill := make([]uint16, 0, n)
		for i := 0; len(fill) < int(n)-len(s); i++ {
			fill = append(fill, pad[i%len(pad)])
		}
		if left {
			return string(utf16.Decode(append(fill, s...))), nil
		}
		return string(utf16.Decode(append(s, fill...))), nil
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

// runeIndex returns the 1-based position of the first occurrence of part in s at or after a
// position, or 0.
func runeIndex(s, part string, from int64) int64 {
	if part == "" {
		return 1
	}
	skip := len(firstRunes(s, max(from, 1)-1))
	i := strings.Index(s[skip:], part)
	if i < 0 {
		return 0
	}
	return int64(utf8.RuneCountInString(s[:skip+i])) + 1
}

// evalInstr returns the position of the nth occurrence, searching from a position on, or backwards
// if it is negative.
func evalInstr(_ *Call, a []any) (any, error) {
	s, part, from, nth := a[0].(string), a[1].(string), int64(1), int64(1)
	if len(a) > 2 {
		from = a[2].(int64)
	}
	if len(a) > 3 {
		nth = a[3].(int64)
	}
	if nth < 1 {
		return nil, errors.New("the fourth argument must be positive")
	}
	switch {
	case from == 0:
		return int64(0), nil
	case from > 0:
		return nthIndex(s, part, from, nth), nil
	}
	i := nthIndex(reverse(s), reverse(part), -from, nth)
	if i == 0 {
		return int64(0), nil
	}
	return int64(utf8.RuneCountInString(s)-utf8.RuneCountInString(part)) + 2 - i, nil
}

func nthIndex(s, part string, from, nth int64) int64 {
	if part == "" {
		return 1
	}
	i := int64(0)
	for ; nth > 0; nth-- {
		if i = runeIndex(s, part, from); i == 0 {
			return 0
		}
		from = i + 1
	}
	return i
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
	var back []rune // dropped if the length is negative or reaches past the end
	if length > 0 && length <= int64(len(s))-from {
		back = s[from-1+length:]
	}
	return string(s[:from-1]) + string(put) + string(back), nil
}

func evalSplitIndex(_ *Call, a []any) (any, error) {
	s, separator, i := a[0].(string), a[1].(string), a[2].(int64)
	parts := strings.Split(s, separator)
	if separator == "" {
		parts = strings.Fields(s)
	}
	if i < 0 || i >= int64(len(parts)) || s == "" {
		return nil, nil
	}
	return parts[i], nil
}

func evalSplit(_ *Call, a []any) (any, error) {
	if strings.Count(a[0].(string), a[1].(string)) >= maxElements {
		return nil, errManyValues
	}
	parts := strings.Split(a[0].(string), a[1].(string))
	all := make([]any, len(parts))
	for i, p := range parts {
		all[i] = p
	}
	return all, nil
}

// evalTranslate replaces the nth character of the second argument by the nth of the third, and
// drops characters without a counterpart. As in Flink, the text is unchanged if the second argument
// is NULL; a NULL third argument is an empty string.
func evalTranslate(_ *Call, a []any) (any, error) {
	if a[0] == nil || a[1] == nil {
		return a[0], nil
	}
	with, _ := a[2].(string)
	to, table := []rune(with), make(map[rune]rune)
	for i, r := range []rune(a[1].(string)) {
		if _, ok := table[r]; ok {
			continue
		}
		table[r] = -1
		if i < len(to) {
			table[r] = to[i]
		}
	}
	return strings.Map(func(r rune) rune {
		if t, ok := table[r]; ok {
			return t
		}
		return r
	}, a[0].(string)), nil
}

func bindElt(args []Node) ([]Node, column.Type, error) {
	i, err := coerce("ELT", 0, 'i', args[0])
	if err != nil {
		return nil, column.Type{}, err
	}
	values, err := alike("ELT", args[1:])
	if err != nil {
		return nil, column.Type{}, err
	}
	if k, ok := Fold(i).(*Const); ok && k.Value != nil && k.Value.(int64) < 0 {
		return nil, column.Type{}, fmt.Errorf("the index of ELT must be at least 1, got %d", k.Value)
	}
	t := values[0].Type()
	if t.Kind != column.String && t.Kind != column.Bytes {
		return nil, column.Type{}, errors.New("ELT expects strings after the index, got " + t.Nullable(true).String())
	}
	return append([]Node{i}, values...), t.Nullable(true), nil
}

func evalElt(_ *Call, a []any) (any, error) {
	i, ok := a[0].(int64)
	if !ok || i < 1 || i >= int64(len(a)) {
		return nil, nil
	}
	return a[i], nil
}
