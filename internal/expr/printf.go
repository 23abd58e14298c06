package expr

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

func init() {
	register(&Function{Name: "PRINTF", Min: 1, Max: -1, NullArgs: true, bind: bindPrintf, eval: evalPrintf, prepare: preparePrintf})
}

// directive is a part of a format of java.util.Formatter: text that is copied, or a conversion.
type directive struct {
	text       string // copied, if conversion is 0
	index      int    // of the argument, from 1; 0 is the next one, -1 the previous one
	flags      string
	width      int // -1 if there is none
	precision  int // -1 if there is none
	conversion byte
	upper      bool // the conversion was written in upper case
}

func (d *directive) has(flag string) bool { return strings.Contains(d.flags, flag) }

// errFormat is the error for a format that Java refuses, or that does not suit its arguments. The
// result of PRINTF is NULL then.
var errFormat = errors.New("invalid format")

// errConversion is the error for a conversion that is valid in Java, but not supported.
type errConversion byte

func (e errConversion) Error() string {
	instead := map[errConversion]string{'a': "use %e", 'h': "use %x for integers, and HEX or MD5 for texts", 't': "use %s with DATE_FORMAT(…)"}
	return fmt.Sprintf("PRINTF does not support %%%c: %s", byte(e), instead[e])
}

func bindPrintf(args []Node) ([]Node, column.Type, error) {
	t := column.Of(column.String)
	if args[0].Type().Kind != column.String {
		return nil, t, fmt.Errorf("the format of PRINTF must be STRING, not %s", args[0].Type().Nullable(true))
	}
	for i, a := range args[1:] {
		switch k := a.Type(); k.Kind {
		case column.Bytes, column.Array, column.Multiset, column.Map, column.Row, column.Symbol:
			return nil, t, fmt.Errorf("argument %d of PRINTF can't be %s, because Flink prints its address in memory: write CAST(… AS STRING)", i+2, k.Nullable(true))
		}
	}
	return args, t, nil
}

// preparePrintf parses a constant format. One with a conversion that is not supported is refused;
// another one with a mistake gives its error in each row, which may be NULL.
func preparePrintf(n *Call) error {
	format, ok := Fold(n.Args[0]).(*Const)
	if !ok || format.Value == nil {
		return nil
	}
	directives, err := parseFormat(format.Value.(string))
	if errors.As(err, new(errConversion)) {
		return err
	}
	if err == nil {
		n.Data = directives
	}
	return nil
}

func evalPrintf(n *Call, args []any) (any, error) {
	if args[0] == nil {
		return nil, nil
	}
	directives, prepared := n.Data.([]directive)
	var err error
	if !prepared {
		directives, err = parseFormat(args[0].(string))
	}
	if err == nil {
		var s string
		if s, err = printf(directives, n.Args[1:], args[1:]); err == nil {
			return s, nil
		}
	}
	if errors.Is(err, errFormat) {
		return nil, nil
	}
	return nil, err
}

// parseFormat splits a format into its directives.
func parseFormat(format string) ([]directive, error) {
	var all []directive
	for format != "" {
		text, rest, found := strings.Cut(format, "%")
		if text != "" {
			all = append(all, directive{text: text})
		}
		if !found {
			break
		}
		d, after, err := parseDirective(rest)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
		format = after
	}
	return all, nil
}

// parseDirective parses [index$][flags][width][.precision]conversion, and returns what follows.
func parseDirective(s string) (d directive, rest string, err error) {
	d = directive{width: -1, precision: -1}
	number := func() (int, bool) {
		digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
		n, err := strconv.ParseInt(s[:digits], 10, 32)
		s = s[digits:]
		return int(n), err == nil
	}
	if digits := len(s) - len(strings.TrimLeft(s, "0123456789")); digits > 0 && strings.HasPrefix(s[digits:], "$") {
		n, ok := number()
		if !ok || n == 0 {
			return d, "", errFormat
		}
		d.index, s = n, s[1:]
	}
	flags := len(s) - len(strings.TrimLeft(s, "-#+ 0,(<"))
	d.flags, s = s[:flags], s[flags:]
	if d.has("<") {
		d.index, d.flags = -1, strings.ReplaceAll(d.flags, "<", "")
	}
	for i := range d.flags {
		if strings.Count(d.flags, d.flags[i:i+1]) > 1 {
			return d, "", errFormat
		}
	}
	if s != "" && s[0] >= '1' && s[0] <= '9' {
		n, ok := number()
		if !ok {
			return d, "", errFormat
		}
		d.width = n
	}
	if strings.HasPrefix(s, ".") {
		s = s[1:]
		n, ok := number()
		if !ok {
			return d, "", errFormat
		}
		d.precision = n
	}
	if s == "" {
		return d, "", errFormat
	}
	d.conversion, rest = s[0], s[1:]
	if strings.IndexByte("BHSCXEGAT", d.conversion) >= 0 {
		d.conversion, d.upper = d.conversion+'a'-'A', true
	}
	return d, rest, d.check()
}

// check refuses flags, widths and precisions that Java does not allow for a conversion.
func (d *directive) check() error {
	allowed := "" // flags
	switch d.conversion {
	case '%':
		allowed = "-"
	case 'n':
		if d.width >= 0 {
			return errFormat
		}
	case 'b', 'c':
		allowed = "-"
	case 's':
		allowed = "-#"
	case 'd':
		allowed = "-+ 0,("
	case 'o', 'x':
		allowed = "-#+ 0("
	case 'e':
		allowed = "-#+ 0("
	case 'f':
		allowed = "-#+ 0,("
	case 'g':
		allowed = "-+ 0,("
	case 'a', 'h', 't':
		return errConversion(d.conversion)
	default:
		return errFormat
	}
	switch {
	case strings.Trim(d.flags, allowed) != "",
		d.width < 0 && (d.has("-") || d.has("0")),
		d.has("-") && d.has("0"), d.has("+") && d.has(" "),
		d.precision >= 0 && strings.IndexByte("%ncdox", d.conversion) >= 0:
		return errFormat
	case d.width > maxText || d.precision > maxText:
		return errLongPadding
	}
	return nil
}

// printf formats arguments, whose types are those of nodes.
func printf(directives []directive, nodes []Node, args []any) (string, error) {
	var b strings.Builder
	next, previous := 0, -1
	for i := range directives {
		d := &directives[i]
		switch d.conversion {
		case 0:
			b.WriteString(d.text)
			continue
		case 'n':
			b.WriteByte('\n')
			continue
		case '%':
			b.WriteString(d.justify("%"))
			continue
		}
		at := d.index - 1
		switch d.index {
		case 0:
			at = next
			next++
		case -1:
			at = previous
		}
		if at < 0 || at >= len(args) {
			return "", errFormat
		}
		previous = at
		s, err := d.convert(nodes[at].Type(), args[at])
		if err != nil {
			return "", err
		}
		if b.WriteString(s); b.Len() > maxResult {
			return "", errLongText
		}
	}
	return b.String(), nil
}

// justify pads a text with spaces to the width, which counts UTF-16 code units, as all of Java
// does.
func (d *directive) justify(s string) string {
	pad := d.width - len(utf16.Encode([]rune(s)))
	switch {
	case pad <= 0:
		return s
	case d.has("-"):
		return s + strings.Repeat(" ", pad)
	}
	return strings.Repeat(" ", pad) + s
}

// general formats a text with a precision, which cuts it.
func (d *directive) general(s string) string {
	if units := utf16.Encode([]rune(s)); d.precision >= 0 && d.precision < len(units) {
		s = string(utf16.Decode(units[:d.precision]))
	}
	if d.upper {
		s = upper(s)
	}
	return d.justify(s)
}

// convert formats one argument. Flink passes its internal values to Java: dates as days, times as
// milliseconds.
func (d *directive) convert(t column.Type, v any) (string, error) {
	switch {
	case d.conversion == 'b':
		truth := v != nil
		if b, ok := v.(bool); ok {
			truth = b
		}
		return d.general(strconv.FormatBool(truth)), nil
	case v == nil && d.conversion == 's' && d.has("#"):
		return "", errFormat
	case v == nil:
		return d.general("null"), nil
	}
	if t.Kind == column.IntervalDay {
		v = v.(int64) / 1000
	}
	integral := t.Integer() || t.Kind == column.Date || t.Kind == column.Time || t.Interval()
	switch d.conversion {
	case 's':
		if d.has("#") {
			return "", errFormat
		}
		return d.general(printedText(t, v)), nil
	case 'c':
		if n, ok := v.(int64); ok && integral && t.Kind != column.BigInt && t.Kind != column.IntervalDay && n >= 0 && n <= utf8.MaxRune {
			return d.general(string(rune(n))), nil
		}
	case 'd':
		if integral {
			return d.integer(v.(int64)), nil
		}
	case 'o', 'x':
		if integral && strings.Trim(d.flags, "-#0") == "" {
			return d.unsigned(t, v.(int64)), nil
		}
	default:
		if f, ok := v.(float64); ok {
			return d.floating(f), nil
		}
	}
	return "", errFormat
}

// printedText is Java's toString of the value that Flink has for a SQL value.
func printedText(t column.Type, v any) string {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int64:
		if t.Instant() {
			return string(moment.AppendLocalDateTime(nil, v))
		}
		return strconv.FormatInt(v, 10)
	}
	return castText(v, t, nil)
}

// integer formats an integer in decimal.
func (d *directive) integer(n int64) string {
	digits := strings.TrimPrefix(strconv.FormatInt(n, 10), "-")
	return d.justify(d.signed(n < 0, digits, d.width))
}

// signed puts a sign before a number, groups its digits and fills it with zeros up to a width.
func (d *directive) signed(negative bool, number string, width int) string {
	before, after := "", ""
	switch {
	case negative && d.has("("):
		before, after = "(", ")"
		width--
	case negative:
		before = "-"
	case d.has("+"):
		before = "+"
	case d.has(" "):
		before = " "
	}
	if d.has(",") {
		whole, fraction, found := strings.Cut(number, ".")
		for i := len(whole) - 3; i > 0; i -= 3 {
			whole = whole[:i] + "," + whole[i:]
		}
		if number = whole; found {
			number += "." + fraction
		}
	}
	if fill := width - len(before) - len(number); fill > 0 && d.has("0") {
		number = strings.Repeat("0", fill) + number
	}
	return before + number + after
}

// unsigned formats the bits of an integer in octal or hexadecimal.
func (d *directive) unsigned(t column.Type, n int64) string {
	bits := uint64(n) //nolint:gosec // two's complement is what is printed
	switch t.Kind {
	case column.TinyInt:
		bits &= 1<<8 - 1
	case column.SmallInt:
		bits &= 1<<16 - 1
	case column.BigInt, column.IntervalDay:
	default:
		bits &= 1<<32 - 1
	}
	prefix, s := "0", strconv.FormatUint(bits, 8)
	if d.conversion == 'x' {
		prefix, s = "0x", strconv.FormatUint(bits, 16)
	}
	if !d.has("#") {
		prefix = ""
	}
	if fill := d.width - len(prefix) - len(s); fill > 0 && d.has("0") {
		s = strings.Repeat("0", fill) + s
	}
	if s = prefix + s; d.upper {
		s = strings.ToUpper(s)
	}
	return d.justify(s)
}
