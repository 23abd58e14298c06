package operator

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"weir.example/weir/internal/column"
)

// hostileTypes has a column of each form of value.
func hostileTypes() []column.Type {
	text, number := column.Type{Kind: column.String}, column.Type{Kind: column.Double}
	row := column.Type{Kind: column.Row, Fields: []column.Field{{Name: "a", Type: text}, {Name: "b", Type: column.Type{Kind: column.Array, Elem: &number}}}}
	return []column.Type{
		row, text, number,
		{Kind: column.BigInt},
		{Kind: column.Decimal, Precision: 38},
		{Kind: column.Array, Elem: &row},
		{Kind: column.Map, Key: &text, Elem: &row},
		column.OfMultiset(row),
	}
}

// An integer keeps its bits, also where they are those of a NaN.
func TestIntsKeepTheirBits(t *testing.T) {
	for _, v := range []int64{0, -1, 1, math.MinInt64, math.MaxInt64, -31_539_588_216_000} {
		if got := (&reader{b: appendInt(nil, v)}).int64(); got != v {
			t.Errorf("%d is read as %d", v, got)
		}
	}
}

// NaN equals itself in groups and keys, whatever its bits.
func TestKeysOfNaN(t *testing.T) {
	b := column.NewBatch([]column.Type{column.Of(column.Double)})
	zero := 0.0
	b.AddRow([]any{math.NaN()})
	b.AddRow([]any{zero / zero})
	b.AddRow([]any{math.Float64frombits(0x7ff8_0000_0000_0abc)})
	want := appendKey(nil, b, []int{0}, 0)
	for row := range b.N {
		if got := appendKey(nil, b, []int{0}, row); !bytes.Equal(got, want) {
			t.Errorf("NaN %x has the key %x, want %x", math.Float64bits(b.Cols[0].F[row]), got, want)
		}
	}
}

// FuzzReader checks that bytes of a changelog or a repartition topic that others have written end
// in an error: no panic, and no more memory than a multiple of the bytes.
func FuzzReader(f *testing.F) {
	huge := binary.AppendUvarint([]byte{1}, 1<<31-1)
	f.Add(uint8(0), append([]byte{1, 3, 1, 1, 'x', 1, 0}, bytes.Repeat([]byte{0}, 8)...)) // a row of three fields
	for i := range hostileTypes() {
		f.Add(uint8(i), huge)                                                      //nolint:gosec // a few types
		f.Add(uint8(i), append(huge, bytes.Repeat([]byte{1, 255, 255, 3}, 64)...)) //nolint:gosec // a few types
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		types := hostileTypes()
		of := types[int(kind)%len(types)]
		b := column.NewBatch([]column.Type{of})
		in := &reader{b: data}
		for len(in.b) > 0 && in.err == nil {
			before := len(in.b)
			in.row(b)
			if len(in.b) >= before && in.err == nil {
				t.Fatal("a value has no bytes")
			}
		}
		if c := b.Cols[0]; c.Type.Class() == column.Boxes {
			for i := range b.N {
				if n := countValues(c.A[i]); n > 4*len(data)+4 {
					t.Errorf("%d bytes have become %d elements", len(data), n)
				}
			}
		}
	})
}

// countValues counts the values in a boxed value.
func countValues(v any) (n int) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += countValues(e)
		}
		return n + len(v)
	case *column.Dict:
		for i := range v.Keys {
			n += countValues(v.Keys[i]) + countValues(v.Values[i])
		}
		return n + 2*len(v.Keys)
	}
	return 0
}
