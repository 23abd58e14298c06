package expr

import (
	"crypto/md5"  //nolint:gosec // for SQL's MD5
	"crypto/sha1" //nolint:gosec // for SQL's SHA1
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"weir.example/weir/internal/column"
)

func init() {
	for name, sum := range hashes {
		register(simple(name, "y", column.Of(column.String), func(_ *Call, a []any) (any, error) { return sum(a[0].(string)), nil }))
	}
	register(
		maybe("SHA2", "yi", column.Of(column.String), evalSHA2),
		text1("TO_BASE64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }),
		maybe("FROM_BASE64", "s", column.Of(column.String), func(_ *Call, a []any) (any, error) {
			b, err := base64.StdEncoding.DecodeString(a[0].(string))
			return string(b), err
		}),
		&Function{Name: "HEX", Min: 1, Max: 1, bind: bindHex, eval: evalHex},
		maybe("UNHEX", "s", column.Of(column.Bytes), evalUnhex),
		simple("BIN", "i", column.Of(column.String), func(_ *Call, a []any) (any, error) { return strconv.FormatUint(uint64(a[0].(int64)), 2), nil }),
		simple("ASCII", "s", column.Of(column.Int), evalASCII),
		simple("CHR", "i", column.Of(column.String), evalChr),
		maybe("ENCODE", "ss", column.Of(column.Bytes), func(_ *Call, a []any) (any, error) { return encode(a[0].(string), a[1].(string)) }),
		maybe("DECODE", "ys", column.Of(column.String), func(_ *Call, a []any) (any, error) { return decode(a[0].(string), a[1].(string)) }),
		maybe("URL_ENCODE", "s", column.Of(column.String), func(_ *Call, a []any) (any, error) { return url.QueryEscape(a[0].(string)), nil }),
		maybe("URL_DECODE", "s", column.Of(column.String), evalURLDecode),
		maybe("PARSE_URL", "sss?", column.Of(column.String), evalParseURL),
	)
}

var hashes = map[string]func(string) string{
	"MD5":    func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) },  //nolint:gosec // requested by the query
	"SHA1":   func(s string) string { h := sha1.Sum([]byte(s)); return hex.EncodeToString(h[:]) }, //nolint:gosec // requested by the query
	"SHA224": func(s string) string { h := sha256.Sum224([]byte(s)); return hex.EncodeToString(h[:]) },
	"SHA256": func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) },
	"SHA384": func(s string) string { h := sha512.Sum384([]byte(s)); return hex.EncodeToString(h[:]) },
	"SHA512": func(s string) string { h := sha512.Sum512([]byte(s)); return hex.EncodeToString(h[:]) },
}

func evalSHA2(_ *Call, a []any) (any, error) {
	switch bits := a[1].(int64); bits {
	case 1:
		return hashes["SHA1"](a[0].(string)), nil
	case 224, 256, 384, 512:
		return hashes[fmt.Sprintf("SHA%d", bits)](a[0].(string)), nil
	}
	return nil, errors.New("the length must be 224, 256, 384 or 512")
}

func bindHex(args []Node) ([]Node, column.Type, error) {
	t := args[0].Type()
	if !t.Integer() && t.Kind != column.String && t.Kind != column.Null {
		return nil, column.Type{}, fmt.Errorf("HEX expects an integer or a string, got %s", t.Nullable(true))
	}
	return args, column.Of(column.String).Nullable(!t.NotNull), nil
}

func evalHex(_ *Call, a []any) (any, error) {
	if v, ok := a[0].(int64); ok {
		return strings.ToUpper(strconv.FormatUint(uint64(v), 16)), nil
	}
	return hexText(a[0].(string)), nil
}

// evalUnhex decodes an odd first digit as a zero byte, as Flink does.
func evalUnhex(_ *Call, a []any) (any, error) {
	s := a[0].(string)
	odd := len(s)%2 == 1
	if odd {
		s = "0" + s
	}
	raw, err := hex.DecodeString(s)
	if err != nil {
		return nil, nil //nolint:nilerr // the result is NULL
	}
	if odd {
		raw[0] = 0
	}
	return string(raw), nil
}

// evalASCII returns the first byte of the UTF-8 encoding, which is negative for non-ASCII
// characters, as in Flink.
func evalASCII(_ *Call, a []any) (any, error) {
	if s := a[0].(string); s != "" {
		return int64(int8(s[0])), nil //nolint:gosec // wraps
	}
	return int64(0), nil
}

func evalChr(_ *Call, a []any) (any, error) {
	v := a[0].(int64)
	if v < 0 {
		return "", nil
	}
	return string(rune(v & 255)), nil
}

// charset normalizes a name for comparison.
func charset(name string) string { return strings.ToUpper(name) }

// encode replaces characters that are not in the character set with ?, as Java does.
func encode(s, name string) (any, error) {
	switch charset(name) {
	case "UTF-8":
		return s, nil
	case "US-ASCII":
		return singleBytes(s, 0x7f), nil
	case "ISO-8859-1":
		return singleBytes(s, 0xff), nil
	case "UTF-16BE":
		return doubleBytes(s, false), nil
	case "UTF-16LE":
		return doubleBytes(s, true), nil
	case "UTF-16":
		return "\xfe\xff" + doubleBytes(s, false), nil
	}
	return nil, fmt.Errorf("unknown character set %q: use US-ASCII, ISO-8859-1, UTF-8, UTF-16BE, UTF-16LE or UTF-16", name)
}

func singleBytes(s string, last rune) string {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if r > last {
			r = '?'
		}
		out = append(out, byte(r))
	}
	return string(out)
}

func doubleBytes(s string, little bool) string {
	out := make([]byte, 0, 2*len(s))
	for _, u := range utf16.Encode([]rune(s)) {
		if little {
			out = append(out, byte(u), byte(u>>8))
		} else {
			out = append(out, byte(u>>8), byte(u))
		}
	}
	return string(out)
}

func decode(raw, name string) (any, error) {
	switch charset(name) {
	case "UTF-8":
		return validUTF8(raw), nil
	case "US-ASCII":
		return widen(raw, 0x7f), nil
	case "ISO-8859-1":
		return widen(raw, 0xff), nil
	case "UTF-16BE":
		return fromDoubleBytes(raw, false), nil
	case "UTF-16LE":
		return fromDoubleBytes(raw, true), nil
	case "UTF-16":
		if rest, ok := strings.CutPrefix(raw, "\xff\xfe"); ok {
			return fromDoubleBytes(rest, true), nil
		}
		return fromDoubleBytes(strings.TrimPrefix(raw, "\xfe\xff"), false), nil
	}
	return encode("", name) // for its error
}

// validUTF8 replaces each invalid sequence with U+FFFD, as Java does: a truncated character as a
// whole, otherwise each byte.
func validUTF8(raw string) string {
	if utf8.ValidString(raw) {
		return raw
	}
	var out strings.Builder
	for raw != "" {
		r, size := utf8.DecodeRuneInString(raw)
		out.WriteRune(r)
		if r == utf8.RuneError && size == 1 {
			for size < len(raw) && size < 4 && !utf8.FullRuneInString(raw[:size]) && !utf8.FullRuneInString(raw[:size+1]) {
				size++
			}
		}
		raw = raw[size:]
	}
	return out.String()
}

func widen(raw string, last byte) string {
	var out strings.Builder
	for i := range len(raw) {
		r := rune(raw[i])
		if raw[i] > last {
			r = utf8.RuneError
		}
		out.WriteRune(r)
	}
	return out.String()
}

func fromDoubleBytes(raw string, little bool) string {
	units := make([]uint16, 0, len(raw)/2)
	for i := 0; i+1 < len(raw); i += 2 {
		high, low := raw[i], raw[i+1]
		if little {
			high, low = low, high
		}
		units = append(units, uint16(high)<<8|uint16(low))
	}
	if len(raw)%2 == 1 {
		units = append(units, utf8.RuneError)
	}
	return string(utf16.Decode(units))
}

func evalURLDecode(_ *Call, a []any) (any, error) {
	s, err := url.QueryUnescape(a[0].(string))
	if err != nil {
		return nil, nil //nolint:nilerr // the result is NULL
	}
	return s, nil
}
