package format

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
)

func decoder(t testing.TB, o Options, fields ...Field) (Decoder, []*column.Column) {
	t.Helper()
	d, err := NewDecoder("json", fields, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	cols := make([]*column.Column, len(fields))
	for i, f := range fields {
		cols[i] = &column.Column{Type: f.Type}
	}
	return d, cols
}

var (
	iso   = Options{"timestamp-format.standard": "ISO-8601"}
	array = column.Type{Kind: column.Array, Elem: &column.Type{Kind: column.Int}}
	dict  = column.Type{Kind: column.Map, Key: &column.Type{Kind: column.String}, Elem: &column.Type{Kind: column.Double}}
	row   = column.Type{Kind: column.Row, Fields: []column.Field{{Name: "x", Type: column.Of(column.Int)}, {Name: "y", Type: column.Of(column.String)}}}
)

// Each value of field v is decoded to its type, or the error is reported.
func TestDecodeValues(t *testing.T) {
	for _, c := range []struct {
		t    column.Type
		json string
		want string // an SQL literal, or a part of the error
		o    Options
	}{
		{column.Of(column.Int), `7`, "7", nil},
		{column.Of(column.Int), `" 7 "`, "7", nil},
		{column.Of(column.Int), `7.9`, "7", nil},
		{column.Of(column.Int), `2147483648`, "field v: found 2147483648, expected INT", nil},
		{column.Of(column.TinyInt), `-129`, "expected TINYINT", nil},
		{column.Of(column.BigInt), `9223372036854775807`, "9223372036854775807", nil},
		{column.Of(column.BigInt), `9223372036854775808`, "expected BIGINT", nil},
		{column.Of(column.Int), `true`, "found true, expected INT", nil},
		{column.Of(column.Int), `"x"`, `found "x", expected INT`, nil},
		{column.Of(column.Int), `null`, "NULL", nil},
		{column.Of(column.Double), `1e3`, "1000.0", nil},
		{column.Of(column.Double), `"2.5"`, "2.5", nil},
		{column.Of(column.Double), `"Infinity"`, "Infinity", nil},
		{column.Of(column.Double), `[1]`, "found [1], expected DOUBLE", nil},
		{column.Of(column.Boolean), `true`, "TRUE", nil},
		{column.Of(column.Boolean), `"TRUE"`, "TRUE", nil},
		{column.Of(column.Boolean), `1`, "FALSE", nil},
		{column.Of(column.Boolean), `[1]`, "expected BOOLEAN", nil},
		{column.Of(column.String), `"a\"\u00e9\ud83d\ude00\n"`, "'a\"é😀\n'", nil},
		{column.Of(column.String), `{"a": [1, 2]}`, `'{"a":[1,2]}'`, nil},
		{column.Of(column.String), `12`, "'12'", nil},
		{column.Type{Kind: column.String, Length: 2}, `"äöü"`, "'äöü'", nil}, // truncated by INSERT, not by a source
		{column.Of(column.Bytes), `"AAE="`, "x'0001'", nil},
		{column.Of(column.Bytes), `"%"`, "in base64", nil},
		{column.OfDecimal(5, 2), `1.005`, "1.01", nil},
		{column.OfDecimal(5, 2), `"12.3"`, "12.30", nil},
		{column.OfDecimal(5, 2), `1234.5`, "expected DECIMAL(5, 2)", nil},
		{column.Of(column.Date), `"2026-02-28"`, "DATE '2026-02-28'", nil},
		{column.Of(column.Date), `"2026-02-30"`, "is not a date", nil},
		{column.OfTime(column.Timestamp, 3), `"2026-01-31 12:00:00.1239"`, "TIMESTAMP '2026-01-31 12:00:00.123'", nil},
		{column.OfTime(column.Timestamp, 3), `"2026-01-31T12:00:00"`, "such as \"2026-01-31 12:00:00.123\" (json.timestamp-format.standard is SQL)", nil},
		{column.OfTime(column.Timestamp, 3), `"2026-01-31T12:00:00"`, "TIMESTAMP '2026-01-31 12:00:00'", iso},
		{column.OfTime(column.Timestamp, 3), `"2026-01-31T12:00:00Z"`, "expected TIMESTAMP(3) such as", iso},
		{column.OfTime(column.TimestampLTZ, 3), `"2026-01-31T12:00:00.5Z"`, "TIMESTAMP '2026-01-31 12:00:00.5'", iso},
		{column.OfTime(column.TimestampLTZ, 3), `"2026-01-31T12:00:00"`, "expected TIMESTAMP_LTZ(3) such as \"2026-01-31T12:00:00.123Z\"", iso},
		{column.OfTime(column.TimestampLTZ, 3), `"2026-01-31T12:00Z"`, "TIMESTAMP '2026-01-31 12:00:00'", iso},
		{column.OfTime(column.TimestampLTZ, 3), `"2026-01-31T13:00:00+01:00"`, "TIMESTAMP '2026-01-31 12:00:00'", iso},
		{column.OfTime(column.TimestampLTZ, 3), `"2026-01-31T12:0:00Z"`, "expected TIMESTAMP_LTZ(3)", iso},
		{column.OfTime(column.TimestampLTZ, 3), `"2026-1-31T12:00:00Z"`, "expected TIMESTAMP_LTZ(3)", iso},
		{column.OfTime(column.TimestampLTZ, 3), `"2026-01-31T12Z"`, "expected TIMESTAMP_LTZ(3)", iso},
		{column.Of(column.Date), `"2026-1-31"`, "expected a DATE", nil},
		{column.Of(column.Time), `"1:2:3"`, "expected a TIME", nil},
		{column.OfTime(column.TimestampLTZ, 3), `1700000000000`, "expected TIMESTAMP_LTZ(3)", iso},
		{column.OfTime(column.Timestamp, 3), `"1969-12-31 23:59:59.999"`, "TIMESTAMP '1969-12-31 23:59:59.999'", nil},
		{column.OfTime(column.Timestamp, 3), `"2024-02-29 00:00:00"`, "TIMESTAMP '2024-02-29 00:00:00'", nil},
		{array, `[1, null, "3"]`, "ARRAY[1, NULL, 3]", nil},
		{array, `[1, "x"]`, "element 1: found \"x\", expected INT", nil},
		{array, `{}`, "expected ARRAY<INT>", nil},
		{row, `{"y": "z", "x": 1, "other": []}`, "ROW(1, 'z')", nil},
		{row, `{"x": true}`, "x: found true, expected INT", nil},
		{column.Of(column.Int), `"x"`, "NULL", Options{"ignore-parse-errors": "true"}},
	} {
		d, cols := decoder(t, c.o, Field{"first", column.Of(column.Int)}, Field{"v", c.t})
		err := d.Decode([]byte(`{"first": 1, "v": `+c.json+`}`), cols)
		got := ""
		if err != nil {
			got = err.Error()
			if cols[0].Len() != 0 || cols[1].Len() != 0 {
				t.Errorf("%s as %s: the error leaves values behind", c.json, c.t)
			}
		} else {
			got = expr.Format(cols[1].Value(0), c.t)
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s as %s is %q, want %q", c.json, c.t, got, c.want)
		}
	}
}

func TestDecodeDocuments(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"b":"x"}`:                       "",
		` { "b" : "x" , "a" : 1 } `:             "",
		`{"a":0,"b":"x","a":1}`:                 "", // the last one wins
		`{"\u0061":1,"b":"x"}`:                  "",
		`{"z":{"q":[1,{"a":2}]},"a":1,"b":"x"}`: "",
		``:                                      "found the end at byte 0, expected an object",
		`[]`:                                    "found '[' at byte 0, expected an object",
		`{"a":1,"b":"x"`:                        "found the end",
		`{"a":1,"b":"x"} x`:                     "found 'x' at byte 16, expected the end",
		`{"a":1,}`:                              "expected the name of a field",
		`{"a":01}`:                              "no digit after a leading 0",
		`{"a":1.}`:                              "expected a digit",
		`{"a":tru}`:                             "expected a value",
		"{\"a\":1,\"b\":\"\xff\"}":              "is not UTF-8",
		`{"b":"\x"}`:                            "expected an escape",
		`{"a":` + strings.Repeat("[", 1001) + `}`:                                         "nested deeper than 1000",
		`{"a":1,"b":"x","z":` + strings.Repeat("[", 900) + strings.Repeat("]", 900) + `}`: "",
	} {
		d, cols := decoder(t, nil, Field{"a", column.Of(column.Int)}, Field{"b", column.Of(column.String)})
		err := d.Decode([]byte(text), cols)
		if want == "" && err == nil && cols[0].Value(0) == int64(1) && cols[1].Value(0) == "x" {
			continue
		}
		if want == "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
	d, cols := decoder(t, Options{"fail-on-missing-field": "true"}, Field{"a", column.Of(column.Int)}, Field{"b", column.Of(column.String)})
	if err := d.Decode([]byte(`{"a":1}`), cols); err == nil || err.Error() != "field b: is missing" {
		t.Errorf("a missing field: %v", err)
	}
	d, cols = decoder(t, Options{"ignore-parse-errors": "true"}, Field{"a", column.Of(column.Int)})
	if err := d.Decode([]byte(`{`), cols); err != ErrSkip { //nolint:errorlint // returned unwrapped
		t.Errorf("a broken document: %v", err)
	}
}

// Unescaped control characters are accepted unchanged, as in Flink.
func TestDecodeControlCharacters(t *testing.T) {
	d, cols := decoder(t, nil, Field{"a", column.Of(column.String)}, Field{"b", column.Of(column.String)}, Field{"o", column.Of(column.String)})
	if err := d.Decode([]byte("{\"z\x02\":0,\"a\":\"x\x00y\nz\",\"b\":\"0123456789\\n\x1f\",\"o\": {\"q\\\"\": [\"\x01 \", 2]}}"), cols); err != nil {
		t.Fatal(err)
	}
	want := []string{"x\x00y\nz", "0123456789\n\x1f", `{"q\"":["\u0001 ",2]}`}
	for i, w := range want {
		if got := cols[i].Value(0); got != w {
			t.Errorf("column %d is %q, want %q", i, got, w)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		document string
		rows     []string // nil if it is the document of a single row
		strict   string   // the error without ignore-parse-errors
		dropped  int64    // records dropped with ignore-parse-errors
	}{
		{`{"a":1}`, nil, "", 0},
		{`  {"a":1}`, nil, "", 0},
		{`5`, nil, "", 0},
		{``, nil, "", 0},
		{`[]`, []string{}, "", 0},
		{" [ {\"a\":1} ,\n{\"a\":[2]}]\n", []string{`{"a":1}`, `{"a":[2]}`}, "", 0},
		{"\xef\xbb\xbf[{}]", []string{`{}`}, "", 0},
		{`[{"a":1},5]`, []string{`{"a":1}`}, "found '5' at byte 9, expected an object", 1},
		{`[{"a":1},null,{}]`, []string{`{"a":1}`}, "expected an object", 1},
		{`[{"a":1},`, []string{`{"a":1}`}, "found the end", 1},
		{`[{"a":1}`, []string{`{"a":1}`}, "expected a comma or ]", 1},
		{`[{"a":1},{"a":`, []string{`{"a":1}`}, "found the end", 1},
		{`[{"a":1}] x`, []string{`{"a":1}`}, "expected the end", 1},
		{`[`, []string{}, "found the end", 1},
		{`[[{}]]`, []string{}, "expected an object", 1},
	} {
		for _, ignore := range []string{"false", "true"} {
			d := newJSONDecoder([]Field{{"a", column.Of(column.Int)}}, Options{"ignore-parse-errors": ignore})
			rows, ok, err := d.Split([]byte(c.document))
			if ok != (c.rows != nil) {
				t.Errorf("%s: several rows is %t", c.document, ok)
			}
			if ignore == "false" && c.strict != "" {
				if err == nil || !strings.Contains(err.Error(), c.strict) {
					t.Errorf("%s: %v, want %q", c.document, err, c.strict)
				}
				continue
			}
			if err != nil || len(rows) != len(c.rows) {
				t.Errorf("%s: %q %v, want %q", c.document, rows, err, c.rows)
				continue
			}
			for i, row := range rows {
				if string(row) != c.rows[i] {
					t.Errorf("%s: row %d is %s", c.document, i, row)
				}
			}
			if got := d.Dropped().Records; ignore == "true" && got != c.dropped {
				t.Errorf("%s: %d records are dropped, want %d", c.document, got, c.dropped)
			}
		}
	}
}

// In raw, NULL is a missing key or value, which differs from an empty one.
func TestRawNull(t *testing.T) {
	field := Field{"v", column.Of(column.String)}
	d, err := NewDecoder("raw", []Field{field}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEncoder("raw", []Field{field}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{nil, {}, []byte("x")} {
		c := &column.Column{Type: field.Type}
		if err := d.Decode(data, []*column.Column{c}); err != nil {
			t.Fatal(err)
		}
		if c.Null[0] != (data == nil) {
			t.Errorf("%q is NULL: %t", data, c.Null[0])
		}
		back, err := e.Encode(make([]byte, 0, 8), []*column.Column{c}, 0)
		if err != nil || (back == nil) != (data == nil) || string(back) != string(data) {
			t.Errorf("%q comes back as %q, %v", data, back, err)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		format string
		fields []Field
		o      Options
		want   string
	}{
		{"json", nil, Options{"fail-on-mising-field": "true"}, "did you mean fail-on-missing-field?"},
		{"json", nil, Options{"ignore-parse-errors": "ja"}, "'ja' is neither true nor false"},
		{"json", nil, Options{"ignore-parse-errors": "true", "fail-on-missing-field": "true"}, "can't both be true"},
		{"raw", []Field{{"a", row}}, nil, "raw does not support a ROW"},
		{"raw", nil, nil, "raw supports one column, got 0"},
		{"avro", nil, nil, "unknown format avro"},
	} {
		if err := Check(c.format, c.fields, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, want %q", c.format, c.o, err, c.want)
		}
	}
}

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		t    column.Type
		v    any
		want string
		o    Options
	}{
		{column.Of(column.Double), 1.0, `{"v":1.0}`, nil},
		{column.Of(column.Double), 1e7, `{"v":1.0E7}`, nil},
		{column.Of(column.Double), 1.5e-4, `{"v":1.5E-4}`, nil},
		{column.Of(column.Double), math.NaN(), `{"v":"NaN"}`, nil},
		{column.Of(column.Double), math.Inf(-1), `{"v":"-Infinity"}`, nil},
		{column.Of(column.Float), float64(float32(0.1)), `{"v":0.1}`, nil},
		{column.Of(column.String), "a\"\\\n\x01é/", `{"v":"a\"\\\n\u0001é/"}`, nil},
		{column.Of(column.Bytes), "\x00\x01", `{"v":"AAE="}`, nil},
		{column.OfDecimal(10, 2), big.NewInt(-105), `{"v":-1.05}`, nil},
		{column.OfDecimal(20, 10), big.NewInt(1), `{"v":1E-10}`, nil},
		{column.OfDecimal(20, 10), big.NewInt(1), `{"v":0.0000000001}`, Options{"encode.decimal-as-plain-number": "true"}},
		{column.OfTime(column.Timestamp, 3), int64(1769860800_120_000), `{"v":"2026-01-31 12:00:00.12"}`, nil},
		{column.OfTime(column.TimestampLTZ, 3), int64(1769860800_000_000), `{"v":"2026-01-31T12:00:00Z"}`, iso},
		{column.Of(column.Date), int64(0), `{"v":"1970-01-01"}`, nil},
		{column.Of(column.Boolean), true, `{"v":true}`, nil},
		{column.Of(column.Int), nil, `{"v":null}`, nil},
		{column.Of(column.Int), nil, `{}`, Options{"encode.ignore-null-fields": "true"}},
		{array, []any{int64(1), nil}, `{"v":[1,null]}`, nil},
		{row, []any{int64(1), "z"}, `{"v":{"x":1,"y":"z"}}`, nil},
		{dict, &column.Dict{Keys: []any{"k"}, Values: []any{2.0}}, `{"v":{"k":2.0}}`, nil},
		{dict, &column.Dict{Keys: []any{nil}, Values: []any{2.0}}, `{"v":{}}`, Options{"map-null-key.mode": "DROP"}},
		{dict, &column.Dict{Keys: []any{nil}, Values: []any{2.0}}, `{"v":{"null":2.0}}`, Options{"map-null-key.mode": "LITERAL"}},
		{dict, &column.Dict{Keys: []any{nil, ""}, Values: []any{2.0, nil}}, `{"v":{"n\"":2.0,"":null}}`, Options{"map-null-key.mode": "LITERAL", "map-null-key.literal": `n"`}},
	} {
		e, err := NewEncoder("json", []Field{{"v", c.t}}, c.o, nil)
		if err != nil {
			t.Fatal(err)
		}
		col := &column.Column{Type: c.t}
		col.Add(c.v)
		if got, err := e.Encode(nil, []*column.Column{col}, 0); err != nil || string(got) != c.want {
			t.Errorf("%v of %s is %s (%v), want %s", c.v, c.t, got, err, c.want)
		}
	}
}

// Encoded rows decode to the same values.
func TestRoundTrip(t *testing.T) {
	fields := []Field{
		{"b", column.Of(column.BigInt)}, {"d", column.Of(column.Double)}, {"s", column.Of(column.String)}, {"t", column.OfTime(column.TimestampLTZ, 3)},
		{"w", column.OfTime(column.Timestamp, 6)}, {"m", column.OfDecimal(20, 4)}, {"y", column.Of(column.Bytes)},
	}
	rapid.Check(t, func(t *rapid.T) {
		const limit = 200_000_000_000_000_000 // µs: until about the year 8300
		values := []any{
			rapid.Int64().Draw(t, "b"), rapid.Float64().Draw(t, "d"), strings.ToValidUTF8(rapid.String().Draw(t, "s"), "?"),
			rapid.Int64Range(-60_000_000_000, limit/1000).Draw(t, "t") * 1000, rapid.Int64Range(-60_000_000_000_000_000, limit).Draw(t, "w"),
			big.NewInt(rapid.Int64().Draw(t, "m")), string(rapid.SliceOf(rapid.Byte()).Draw(t, "y")),
		}
		o := Options{"timestamp-format.standard": rapid.SampledFrom([]string{"SQL", "ISO-8601"}).Draw(t, "standard")}
		e, err := NewEncoder("json", fields, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDecoder("json", fields, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		var in, out []*column.Column
		for i, f := range fields {
			c := &column.Column{Type: f.Type}
			c.Add(values[i])
			in, out = append(in, c), append(out, &column.Column{Type: f.Type})
		}
		data, err := e.Encode(nil, in, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(data, out); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		for i := range fields {
			if a, b := expr.Format(values[i], fields[i].Type), expr.Format(out[i].Value(0), fields[i].Type); a != b {
				t.Fatalf("%s: %s is %s, was %s", data, fields[i].Name, b, a)
			}
		}
	})
}

// FuzzDecode checks that the decoder accepts the same documents as encoding/json, except for
// invalid UTF-8 and deep nesting.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"a":1,"b":"x\u00e9"}`, `{"a":[1,{"c":null}],"b":-1.5e+3}`, `{}`, `{"a"`, `[]`, `{"a":{}}x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, cols := decoder(t, nil, Field{"a", column.Of(column.String)}, Field{"b", column.Of(column.String)})
		err := d.Decode(data, cols)
		if !utf8.Valid(data) || bytes.Count(data, []byte("[")) > 500 || bytes.Count(data, []byte("{")) > 500 {
			return
		}
		var v map[string]any
		valid := json.Valid(data) && json.Unmarshal(data, &v) == nil && v != nil
		if (err == nil) != valid {
			t.Fatalf("%q: %v, encoding/json says %v", data, err, valid)
		}
		if s, ok := v["a"].(string); err == nil && ok && cols[0].Value(0) != s {
			t.Fatalf("%q: a is %q, want %q", data, cols[0].Value(0), s)
		}
		// Repeat, now that the decoder expects these fields.
		again := d.Decode(data, cols)
		if fmt.Sprint(again) != fmt.Sprint(err) {
			t.Fatalf("%q: %v, and again: %v", data, err, again)
		}
		for _, c := range cols {
			if err == nil && c.Value(0) != c.Value(1) {
				t.Fatalf("%q: %q, and again: %q", data, c.Value(0), c.Value(1))
			}
		}
	})
}

// Documents that differ from the previous one, whose fields the decoder expects.
func TestDecodeAfterOthers(t *testing.T) {
	d, cols := decoder(t, nil, Field{"a", column.Of(column.Int)}, Field{`b"`, column.Of(column.String)})
	for i, text := range []string{
		`{"a":1,"b\"":"x"}`, `{"a":1,"b\"":"x"}`, `{ "a" : 1 , "b\"" : "x" }`, `{"b\"":"x","a":1}`, `{"b\"":"x","z":0,"a":1}`, `{"a":1,"b\u0022":"x"}`, `{"a" :1,"b\"":"x","z":1}`,
	} {
		if err := d.Decode([]byte(text), cols); err != nil || cols[0].Value(i) != int64(1) || cols[1].Value(i) != "x" {
			t.Errorf("%s: %v, %v, %v", text, err, cols[0].Value(i), cols[1].Value(i))
		}
	}
	for text, want := range map[string]string{`{"a":1,"b":":"x"}`: "expected a comma", `{"a":`: "expected a value", `{"a"`: "expected a colon", `{"a`: `the closing "`} {
		if err := d.Decode([]byte(text), cols); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// Checking eight bytes in one step finds the same end of plain text as checking one by one.
func TestSpecial(t *testing.T) {
	for c := range 256 {
		for at := range 8 {
			for _, fill := range []byte{'a', ' ', '!', '#', '[', ']', 0x7f} {
				block := bytes.Repeat([]byte{fill}, 8)
				block[at] = byte(c)
				block[7] = min(block[7], '"') // often a second special byte after the first
				want := slices.IndexFunc(block, func(b byte) bool { return !plain[b] })
				if want < 0 {
					want = 8
				}
				if got := special(binary.LittleEndian.Uint64(block)); got != want {
					t.Fatalf("%x: %d, want %d", block, got, want)
				}
			}
		}
	}
}

const sample = `{"device_id":"device-000123","ts":"2026-01-01T00:00:01.234Z","temperature":21.53,"humidity":40.2,"battery":88,"seq":12345}`

func sampleFields() []Field {
	return []Field{{"device_id", column.Of(column.String)}, {"ts", column.OfTime(column.TimestampLTZ, 3)}, {"temperature", column.Of(column.Double)}}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	d, cols := decoder(t, iso, sampleFields()...)
	data := []byte(sample)
	allocs := testing.AllocsPerRun(100, func() {
		for _, c := range cols {
			c.Truncate(0)
		}
		if err := d.Decode(data, cols); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations for each record", allocs)
	}
}

func BenchmarkDecode(b *testing.B) {
	d, cols := decoder(b, iso, sampleFields()...)
	data := []byte(sample)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		for _, c := range cols {
			c.Truncate(0)
		}
		if err := d.Decode(data, cols); err != nil {
			b.Fatal(err)
		}
	}
}

func TestRaw(t *testing.T) {
	for _, c := range []struct {
		t    column.Type
		v    any
		want string
		o    Options
	}{
		{column.Of(column.String), "héllo", "héllo", nil},
		{column.Of(column.Bytes), "\x00\xff", "\x00\xff", nil},
		{column.Of(column.Int), int64(-2), "\xff\xff\xff\xfe", nil},
		{column.Of(column.Int), int64(1), "\x01\x00\x00\x00", Options{"endianness": "little-endian"}},
		{column.Of(column.BigInt), int64(258), "\x00\x00\x00\x00\x00\x00\x01\x02", nil},
		{column.Of(column.SmallInt), int64(-1), "\xff\xff", nil},
		{column.Of(column.TinyInt), int64(-1), "\xff", nil},
		{column.Of(column.Boolean), true, "\x01", nil},
		{column.Of(column.Double), 1.0, "\x3f\xf0\x00\x00\x00\x00\x00\x00", nil},
		{column.Of(column.Float), 1.0, "\x3f\x80\x00\x00", nil},
	} {
		fields := []Field{{"v", c.t}}
		e, err := NewEncoder("raw", fields, c.o, nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDecoder("raw", fields, c.o, nil)
		if err != nil {
			t.Fatal(err)
		}
		in, out := &column.Column{Type: c.t}, &column.Column{Type: c.t}
		in.Add(c.v)
		data, err := e.Encode(nil, []*column.Column{in}, 0)
		if err != nil || string(data) != c.want {
			t.Errorf("%v of %s is %q (%v), want %q", c.v, c.t, data, err, c.want)
		}
		if err := d.Decode(data, []*column.Column{out}); err != nil || out.Value(0) != c.v {
			t.Errorf("%q as %s is %v (%v), want %v", data, c.t, out.Value(0), err, c.v)
		}
		if rawSizes[c.t.Kind] > 0 {
			if err := d.Decode([]byte("123"), []*column.Column{out}); err == nil || !strings.Contains(err.Error(), "found 3 bytes") {
				t.Errorf("3 bytes as %s: %v", c.t, err)
			}
		}
	}
}

// A byte order mark at the start is not part of the document.
func TestByteOrderMark(t *testing.T) {
	d, err := NewDecoder("json", []Field{{"n", column.Of(column.Int)}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &column.Column{Type: column.Of(column.Int)}
	if err := d.Decode([]byte("\xef\xbb\xbf {\"n\": 7}"), []*column.Column{c}); err != nil || c.I[0] != 7 {
		t.Error(err, c.I)
	}
	if err := d.Decode([]byte("\xef\xbb\xbf"), []*column.Column{c}); err == nil {
		t.Error("a byte order mark alone is accepted as a document")
	}
}
