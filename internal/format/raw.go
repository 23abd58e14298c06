package format

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"weir.example/weir/internal/column"
)

// rawSizes are the sizes in bytes of fixed-length types.
var rawSizes = map[column.Kind]int{
	column.Boolean: 1, column.TinyInt: 1, column.SmallInt: 2, column.Int: 4, column.BigInt: 8, column.Float: 4, column.Double: 8,
}

func checkRaw(fields []Field, _ Options) error {
	if len(fields) != 1 {
		return fmt.Errorf("raw supports one column, got %d", len(fields))
	}
	k := fields[0].Type.Kind
	if k != column.String && k != column.Bytes && rawSizes[k] == 0 {
		return fmt.Errorf("raw does not support %s %s", fields[0].Name, fields[0].Type)
	}
	return nil
}

type rawDecoder struct {
	field Field
	order binary.ByteOrder
}

func (d rawDecoder) Decode(data []byte, cols []*column.Column) error {
	c := cols[0]
	if c == nil {
		return nil
	}
	if data == nil {
		c.AddNull()
		return nil
	}
	size := rawSizes[d.field.Type.Kind]
	if size > 0 && len(data) != size {
		return fmt.Errorf("field %s: found %d bytes, expected the %d of %s", d.field.Name, len(data), size, d.field.Type.Nullable(true))
	}
	switch d.field.Type.Kind {
	case column.Boolean:
		c.AddInt(map[bool]int64{true: 1}[data[0] != 0])
	case column.TinyInt:
		c.AddInt(int64(int8(data[0]))) //nolint:gosec // reinterpreted as signed
	case column.SmallInt:
		c.AddInt(int64(int16(d.order.Uint16(data)))) //nolint:gosec // see above
	case column.Int:
		c.AddInt(int64(int32(d.order.Uint32(data)))) //nolint:gosec // see above
	case column.BigInt:
		c.AddInt(int64(d.order.Uint64(data))) //nolint:gosec // see above
	case column.Float:
		c.AddFloat(float64(math.Float32frombits(d.order.Uint32(data))))
	case column.Double:
		c.AddFloat(math.Float64frombits(d.order.Uint64(data)))
	default:
		c.AddText(unsafe.String(unsafe.SliceData(data), len(data)))
	}
	return nil
}

type rawEncoder struct {
	field Field
	order binary.ByteOrder
}

func (e rawEncoder) Encode(dst []byte, cols []*column.Column, row int) ([]byte, error) {
	c := cols[0]
	if c.Null[row] {
		return nil, nil
	}
	order := e.order.(binary.AppendByteOrder) //nolint:forcetypeassert // both byte orders implement it
	switch e.field.Type.Kind {
	case column.Boolean, column.TinyInt:
		return append(dst, byte(c.I[row])), nil //nolint:gosec // value fits the type
	case column.SmallInt:
		return order.AppendUint16(dst, uint16(c.I[row])), nil //nolint:gosec // see above
	case column.Int:
		return order.AppendUint32(dst, uint32(c.I[row])), nil //nolint:gosec // see above
	case column.BigInt:
		return order.AppendUint64(dst, uint64(c.I[row])), nil //nolint:gosec // see above
	case column.Float:
		return order.AppendUint32(dst, math.Float32bits(float32(c.F[row]))), nil
	case column.Double:
		return order.AppendUint64(dst, math.Float64bits(c.F[row])), nil
	}
	return append(dst, c.S[row]...), nil
}
