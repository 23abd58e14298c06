package operator

import (
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"unsafe"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// A value is encoded as one byte, 0 for NULL, followed by its content, which depends on the type: a
// zigzag varint, the eight bytes of a float, a length and bytes, or the sign and magnitude of a
// decimal. The elements of an array, map or row are concatenated.

var errShort = errors.New("state or repartition record is truncated or of another type")

func appendValue(dst []byte, c *column.Column, row int) []byte {
	if c.Null[row] {
		return append(dst, 0)
	}
	switch c.Type.Class() {
	case column.Ints:
		return binary.AppendVarint(append(dst, 1), c.I[row])
	case column.Floats:
		return appendFloat(append(dst, 1), c.F[row])
	case column.Texts:
		return appendBytes(append(dst, 1), c.S[row])
	}
	return appendBoxed(dst, c.Value(row))
}

// appendFloat encodes all NaNs alike: as the values of keys they are equal.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) {
		f = math.NaN()
	}
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
}

func appendBytes[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendBoxed(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, 0)
	case bool:
		if v {
			return binary.AppendVarint(append(dst, 1), 1)
		}
		return binary.AppendVarint(append(dst, 1), 0)
	case int64:
		return binary.AppendVarint(append(dst, 1), v)
	case float64:
		return appendFloat(append(dst, 1), v)
	case string:
		return appendBytes(append(dst, 1), v)
	case *big.Int:
		sign := byte(1)
		if v.Sign() < 0 {
			sign = 2
		}
		return appendBytes(append(dst, sign), v.Bytes())
	case []any:
		dst = binary.AppendUvarint(append(dst, 1), uint64(len(v)))
		for _, e := range v {
			dst = appendBoxed(dst, e)
		}
		return dst
	case *column.Dict:
		dst = binary.AppendUvarint(append(dst, 1), uint64(len(v.Keys)))
		for i, k := range v.Keys {
			dst = appendBoxed(appendBoxed(dst, k), v.Values[i])
		}
		return dst
	}
	panic("unexpected type of a column value") // formatting v would make it escape to the heap
}

// reader decodes values from bytes. After the first error it returns NULLs.
type reader struct {
	b     []byte
	err   error
	alias bool // the bytes are never modified, so that strings in columns may alias them
}

func (r *reader) fail() {
	r.b, r.err = nil, errShort
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) count() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxInt32 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) uint64() uint64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

func (r *reader) float() float64 { return math.Float64frombits(r.uint64()) }

func (r *reader) int64() int64 { return int64(r.uint64()) } //nolint:gosec // bits of an int64

func (r *reader) bytes() []byte {
	n := r.count()
	if len(r.b) < n {
		r.fail()
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// value appends one value to a column. Strings are copied, unless alias is set.
func (r *reader) value(c *column.Column) {
	if c.Type.Class() == column.Boxes {
		c.Add(r.boxed(c.Type))
		return
	}
	if r.byte() == 0 {
		c.AddNull()
		return
	}
	switch c.Type.Class() {
	case column.Ints:
		c.AddInt(r.varint())
	case column.Floats:
		c.AddFloat(r.float())
	default:
		b := r.bytes()
		if r.alias {
			c.AddText(unsafe.String(unsafe.SliceData(b), len(b)))
			return
		}
		c.AddText(string(b))
	}
}

// skip skips a value of a type.
func (r *reader) skip(t column.Type) {
	switch t.Class() {
	case column.Boxes:
		r.boxed(t)
	case column.Ints:
		if r.byte() != 0 {
			r.varint()
		}
	case column.Floats:
		if r.byte() != 0 {
			r.uint64()
		}
	case column.Texts:
		if r.byte() != 0 {
			r.bytes()
		}
	}
}

func (r *reader) boxed(t column.Type) any {
	tag := r.byte()
	if tag == 0 {
		return nil
	}
	switch t.Kind {
	case column.Decimal:
		v := new(big.Int).SetBytes(r.bytes())
		if tag == 2 {
			v.Neg(v)
		}
		return v
	case column.Array, column.Row:
		all := make([]any, 0, 4)
		n := r.count()
		if t.Kind == column.Row && n != len(t.Fields) {
			r.fail()
			return nil
		}
		for i := range n {
			et := t.Elem
			if t.Kind == column.Row {
				et = &t.Fields[i].Type
			}
			all = append(all, r.boxed(*et))
			if r.err != nil {
				return nil
			}
		}
		return all
	case column.Map, column.Multiset:
		m := &column.Dict{}
		for range r.count() {
			m.Keys, m.Values = append(m.Keys, r.boxed(*t.Key)), append(m.Values, r.boxed(*t.Elem))
			if r.err != nil {
				return nil
			}
		}
		return m
	}
	switch t.Class() {
	case column.Floats:
		return r.float()
	case column.Texts:
		return string(r.bytes())
	}
	v := r.varint()
	if t.Kind == column.Boolean {
		return v != 0
	}
	return v
}

// appendRow encodes the columns of a row that are not nil.
func appendRow(dst []byte, b *column.Batch, row int) []byte {
	for _, c := range b.Cols {
		if c != nil {
			dst = appendValue(dst, c, row)
		}
	}
	return dst
}

// row decodes a row encoded by appendRow and appends it to a batch.
func (r *reader) row(b *column.Batch) {
	for _, c := range b.Cols {
		if c != nil {
			r.value(c)
		}
	}
	b.N++
}

// appendKey encodes columns of a row as a key: equal values have equal bytes.
func appendKey(dst []byte, b *column.Batch, columns []int, row int) []byte {
	for _, i := range columns {
		c := b.Cols[i]
		if c.Type.Class() == column.Floats && !c.Null[row] && c.F[row] == 0 {
			dst = appendFloat(append(dst, 1), 0) // -0 equals 0
			continue
		}
		dst = appendValue(dst, c, row)
	}
	return dst
}

// newColumn creates an empty column of a relation.
func newColumn(r *plan.Relation, i int) *column.Column { return &column.Column{Type: r.Cols[i].Type} }
