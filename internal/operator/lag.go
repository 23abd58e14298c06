package operator

import (
	"encoding/binary"

	"weir.example/weir/internal/column"
)

// lag is LAG: the last back+1 values, earliest first.
type lag struct {
	arg       column.Type
	back      int64
	otherwise any // the default if there are fewer values
}

func (l lag) read(old *reader) []any {
	if len(old.b) == 0 {
		return nil
	}
	values := make([]any, old.varint())
	for i := range values {
		values[i] = old.boxed(l.arg)
	}
	return values
}

func (l lag) write(dst []byte, values []any) []byte {
	values = values[max(0, len(values)-int(l.back)-1):]
	dst = binary.AppendVarint(dst, int64(len(values)))
	for _, v := range values {
		dst = appendBoxed(dst, v)
	}
	return dst
}

func (l lag) add(dst []byte, old *reader, c *column.Column, row int) []byte {
	return l.write(dst, append(l.read(old), c.Value(row)))
}

func (l lag) skip(dst []byte, old *reader) []byte { return l.write(dst, l.read(old)) }

func (l lag) merge(dst []byte, a, b *reader) []byte {
	return l.write(dst, append(l.read(a), l.read(b)...))
}

func (l lag) result(in *reader, to *column.Column) {
	if values := l.read(in); int64(len(values)) > l.back {
		to.Add(values[0])
		return
	}
	to.Add(l.otherwise)
}
