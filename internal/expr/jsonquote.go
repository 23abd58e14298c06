package expr

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"weir.example/weir/internal/column"
)

func init() {
	register(
		text1("JSON_QUOTE", quoteJSON),
		maybe("JSON_UNQUOTE", "s", column.Of(column.String), func(_ *Call, a []any) (any, error) { return unquoteJSON(a[0].(string)), nil }),
	)
}

// jsonEscapes maps characters to their single-letter escapes.
var jsonEscapes = map[rune]byte{'"': '"', '\\': '\\', '/': '/', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// quoteJSON quotes text as a JSON string. It escapes / with a backslash, and anything but printable
// ASCII as \uXXXX.
func quoteJSON(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if letter, ok := jsonEscapes[r]; ok {
			b.WriteByte('\\')
			b.WriteByte(letter)
			continue
		}
		if r >= ' ' && r < 0x7f {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, "\\u%04x", unit)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// unquoteJSON unescapes the text between the first and the last quote. As in Flink, text is
// returned unchanged unless it starts with a JSON string, no matter what follows it, and ends with
// a quote.
func unquoteJSON(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' || !firstJSON(s) {
		return s
	}
	var out []byte
	for rest := s[1 : len(s)-1]; rest != ""; {
		if rest[0] != '\\' {
			out, rest = append(out, rest[0]), rest[1:]
			continue
		}
		if len(rest) < 2 {
			return s
		}
		letter := rest[1]
		rest = rest[2:]
		if letter == 'u' {
			r, behind, ok := unicodeUnits(rest)
			if !ok {
				return s
			}
			out, rest = utf8.AppendRune(out, r), behind
			continue
		}
		r, ok := unescaped(letter)
		if !ok {
			return s
		}
		out = append(out, byte(r)) //nolint:gosec // it is ASCII
	}
	return string(out)
}

func unescaped(letter byte) (rune, bool) {
	for r, l := range jsonEscapes {
		if l == letter {
			return r, true
		}
	}
	return 0, false
}

// unicodeUnits parses the digits after \u, and the second half of a surrogate pair after another
// \u.
func unicodeUnits(s string) (r rune, rest string, ok bool) {
	unit := func(s string) (rune, bool) {
		if len(s) < 4 {
			return 0, false
		}
		v, err := strconv.ParseUint(s[:4], 16, 16)
		return rune(v), err == nil //nolint:gosec // 16-bit value
	}
	if r, ok = unit(s); !ok {
		return 0, "", false
	}
	rest = s[4:]
	if more, found := strings.CutPrefix(rest, `\u`); found && utf16.IsSurrogate(r) {
		if low, ok := unit(more); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
			return utf16.DecodeRune(r, low), more[4:], true
		}
	}
	return r, rest, true
}

// firstJSON reports whether text starts with a JSON value. As in Flink, whatever follows it is
// ignored.
func firstJSON(s string) bool {
	var v json.RawMessage
	return json.NewDecoder(strings.NewReader(s)).Decode(&v) == nil
}
