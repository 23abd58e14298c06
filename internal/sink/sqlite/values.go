package sqlite

import (
	"fmt"
	"math"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
)

// binder returns the values of one column as parameters of statements.
type binder struct {
	name string
	typ  column.Type
	json format.Encoder // of {"v": value}; nil if the type needs none
	text []byte
}

// jsonBegin precedes a value in what binder.json writes.
const jsonBegin = `{"v":`

func newBinder(name string, t column.Type) (*binder, error) {
	b := &binder{name: name, typ: t}
	if t.Kind == column.Boolean || t.Integer() || t.Class() == column.Floats || t.Class() == column.Texts {
		return b, nil
	}
	var err error
	b.json, err = format.NewEncoder("json", []format.Field{{Name: "v", Type: t}}, format.Options{}, nil)
	return b, err
}

// value returns the value of a row. The error is one of the row.
func (b *binder) value(c *column.Column, row int) (any, error) {
	switch {
	case c.Null[row]:
		return nil, nil //nolint:nilnil // NULL
	case b.json != nil:
		return b.asText(c, row)
	case b.typ.Class() == column.Ints:
		return c.I[row], nil
	case b.typ.Class() == column.Floats:
		if math.IsNaN(c.F[row]) {
			return nil, fmt.Errorf("column %s is NaN, which SQLite would store as NULL", b.name)
		}
		return c.F[row], nil
	case b.typ.Kind == column.Bytes:
		return []byte(c.S[row]), nil
	}
	return c.S[row], nil
}

// asText returns dates and times as SQL writes them, decimals with all digits, and arrays, maps and
// rows as JSON.
func (b *binder) asText(c *column.Column, row int) (any, error) {
	out, err := b.json.Encode(b.text[:0], []*column.Column{c}, row)
	if err != nil {
		return nil, err
	}
	b.text = out
	value := string(out[len(jsonBegin) : len(out)-1])
	if b.typ.Nested() {
		return value, nil
	}
	return strings.Trim(value, `"`), nil
}
