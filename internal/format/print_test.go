package format

import (
	"math"
	"math/big"
	"testing"

	"weir.example/weir/internal/column"
)

// Rows look like those that Row.toString of Flink 2.2.1 gave for the same values.
func TestPrint(t *testing.T) {
	decimal := func(scale int) column.Type {
		d := column.Of(column.Decimal)
		d.Precision, d.Scale = 20, scale
		return d
	}
	array := func(of column.Type) column.Type { return column.Type{Kind: column.Array, Elem: &of} }
	text, ints := column.Of(column.String), column.Of(column.Int)
	row := column.Type{Kind: column.Row, Fields: []column.Field{{Name: "a", Type: ints}, {Name: "b", Type: text}}}
	mapped := column.Type{Kind: column.Map, Key: &text, Elem: &ints}
	const at = 1767323045678900 // 2026-01-02 03:04:05.6789
	for _, test := range []struct {
		value any
		of    column.Type
		want  string
	}{
		{nil, text, "[null]"}, {"a, b", text, "[a, b]"}, {"\x1b[31m\r\u202e", text, `[\u001b[31m\u000d\u202e]`}, {"µ€😀", text, "[µ€😀]"},
		{true, column.Of(column.Boolean), "[true]"}, {int64(1), ints, "[1]"},
		{1.0, column.Of(column.Float), "[1.0]"}, {1.0e10, column.Of(column.Double), "[1.0E10]"}, {1e-5, column.Of(column.Double), "[1.0E-5]"}, {math.NaN(), column.Of(column.Double), "[NaN]"},
		{math.Inf(-1), column.Of(column.Double), "[-Infinity]"}, {123456789.0, column.Of(column.Double), "[1.23456789E8]"},
		{big.NewInt(150), decimal(2), "[1.50]"}, {big.NewInt(1), decimal(7), "[1E-7]"}, {big.NewInt(0), decimal(10), "[0E-10]"},
		{"a\xff", column.Of(column.Bytes), "[[97, -1]]"},
		{int64(20455), column.Of(column.Date), "[2026-01-02]"},
		{int64(11_040_000), column.Of(column.Time), "[03:04]"}, {int64(11_045_000), column.Of(column.Time), "[03:04:05]"}, {int64(11_045_120), column.Of(column.Time), "[03:04:05.120]"},
		{int64(at - 5_678_900), column.Of(column.Timestamp), "[2026-01-02T03:04]"}, {int64(at - 900), column.Of(column.Timestamp), "[2026-01-02T03:04:05.678]"}, {int64(at), column.Of(column.Timestamp), "[2026-01-02T03:04:05.678900]"},
		{int64(at - 5_678_900), column.Of(column.TimestampLTZ), "[2026-01-02T03:04:00Z]"}, {int64(at - 578_900), column.Of(column.TimestampLTZ), "[2026-01-02T03:04:05.100Z]"},
		{[]any{int64(1), nil}, array(ints), "[[1, null]]"}, {[]any{[]any{int64(1), "x"}}, array(row), "[[+I[1, x]]]"}, {[]any{int64(1), "x"}, row, "[+I[1, x]]"},
		{&column.Dict{Keys: []any{"k", "z"}, Values: []any{int64(1), nil}}, mapped, "[{k=1, z=null}]"},
		{&column.Dict{Keys: []any{"k", "z"}, Values: []any{int64(1), int64(2)}}, column.OfMultiset(text), "[{k=1, z=2}]"},
		{int64(90_061_001_000), column.Of(column.IntervalDay), "[PT25H1M1.001S]"}, {int64(-86_400_500_000), column.Of(column.IntervalDay), "[PT-24H-0.5S]"}, {int64(0), column.Of(column.IntervalDay), "[PT0S]"},
		{int64(14), column.Of(column.IntervalMonth), "[P1Y2M]"}, {int64(0), column.Of(column.IntervalMonth), "[P0D]"},
	} {
		c := &column.Column{Type: test.of}
		c.Add(test.value)
		got, err := printEncoder{[]Field{{Name: "c", Type: test.of}}}.Encode(nil, []*column.Column{c}, 0)
		if err != nil || string(got) != test.want {
			t.Errorf("%v as %s: got %s, want %s; %v", test.value, test.of, got, test.want, err)
		}
	}
}
