package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
	"weir.example/weir/internal/registry"
)

// avroEncoder encodes rows with one schema, registered under an id.
type avroEncoder struct {
	id    int
	steps []avroOutput
}

// avroOutput is a field of the schema: a column, or the field's default if the table has no such
// column.
type avroOutput struct {
	name    string
	column  int // -1 for a constant
	as      *avroWriting
	encoded []byte
}

// avroWriting describes how to encode a value of a column's type.
type avroWriting struct {
	from column.Type
	to   *avroType

	null  int   // branch of null; -1 if there is none
	value int64 // branch of the value, if there is one for null
	times int64 // dates and times: factors from microseconds to the schema's unit, see avroReading
	by    int64
	scale int // decimals: digits to add

	elem   *avroWriting
	fields []avroOutput // of a row
}

func newAvroEncoder(fields []Field, o Options, s *Schemas) (Encoder, error) {
	id, ok := s.writer(o.Registry(), o.Subject())
	if !ok {
		return nil, fmt.Errorf("no schema of subject %s is registered yet", o.Subject())
	}
	text, err := avroText(fields, o)
	if err != nil {
		return nil, err
	}
	steps, err := avroOutputs(fields, text)
	return &avroEncoder{id, steps}, err
}

func avroOutputs(fields []Field, text string) ([]avroOutput, error) {
	schema, err := parseAvro(&registry.Schema{Type: registry.Avro, Text: text})
	if err != nil {
		return nil, fmt.Errorf("the schema: %w", err)
	}
	if schema.kind != avroRecord {
		return nil, errors.New("the schema is not a record")
	}
	columns := make([]column.Field, len(fields))
	for i, f := range fields {
		columns[i] = column.Field(f)
	}
	return avroRecordOut(columns, schema)
}

func avroRecordOut(columns []column.Field, to *avroType) ([]avroOutput, error) {
	var all []avroOutput
	written := 0
	for _, f := range to.fields {
		out := avroOutput{name: f.name, column: slices.IndexFunc(columns, func(c column.Field) bool { return c.Name == f.name })}
		var err error
		switch {
		case out.column >= 0:
			written++
			out.as, err = avroWritingOf(columns[out.column].Type, f.typ)
		case f.of.HasDefault:
			out.encoded, err = f.encodedDefault()
		default:
			err = errors.New("the schema requires it, and the table does not have it")
		}
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.name, err)
		}
		all = append(all, out)
	}
	if written < len(columns) {
		for _, c := range columns {
			if !slices.ContainsFunc(to.fields, func(f avroField) bool { return f.name == c.Name }) {
				return nil, fmt.Errorf("the schema has no field %s", c.Name)
			}
		}
	}
	return all, nil
}

func avroWritingOf(from column.Type, to *avroType) (*avroWriting, error) {
	w := &avroWriting{from: from, to: to.plain(), null: -1, times: 1, by: 1}
	if w.to != to {
		w.null = to.nullBranch()
		w.value = int64(1 - w.null)
	}
	kind := w.to.kind
	fits := false
	switch from.Kind {
	case column.Boolean:
		fits = kind == avroBoolean
	case column.TinyInt, column.SmallInt, column.Int:
		fits = kind == avroInt || kind == avroLong
	case column.BigInt:
		fits = kind == avroLong
	case column.Float:
		fits = kind == avroFloat || kind == avroDouble
	case column.Double:
		fits = kind == avroDouble
	case column.String:
		fits = kind == avroString || kind == avroEnum
	case column.Bytes:
		fits = kind == avroBytes || kind == avroFixed
	case column.Date:
		fits = kind == avroInt
	case column.Time:
		if fits = kind == avroInt; kind == avroLong && w.to.logical == "time-micros" {
			w.times, fits = 1000, true
		}
	case column.Timestamp, column.TimestampLTZ:
		fits = w.timestamp()
	case column.Decimal:
		w.scale = w.to.scale - from.Scale
		fits = (kind == avroBytes || kind == avroFixed) && w.to.logical == "decimal" && w.scale >= 0
	case column.Array, column.Multiset, column.Map:
		if fits = kind == avroArray && from.Kind == column.Array || kind == avroMap && avroMapped(from); fits {
			elem, err := avroWritingOf(*from.Elem, w.to.elem)
			w.elem = elem
			return w, err
		}
	case column.Row:
		if fits = kind == avroRecord; fits {
			fields, err := avroRecordOut(from.Fields, w.to)
			w.fields = fields
			return w, err
		}
	}
	if !fits {
		return nil, fmt.Errorf("%s can't be written as %s", from.Nullable(true), w.to)
	}
	return w, nil
}

// avroMapped reports whether the values of a type are maps of Avro, whose keys are strings.
func avroMapped(t column.Type) bool { return t.Pairs() && t.Key.Kind == column.String }

func (w *avroWriting) timestamp() bool {
	r := avroReading{from: w.to, to: w.from, times: 1, by: 1}
	if !r.timestamp() {
		return false
	}
	w.times, w.by = r.by, r.times // the inverse
	return true
}

// Encode implements Encoder.
func (e *avroEncoder) Encode(dst []byte, cols []*column.Column, row int) ([]byte, error) {
	dst = registry.AppendHeader(dst, e.id)
	for i := range e.steps {
		f := &e.steps[i]
		if f.column < 0 {
			dst = append(dst, f.encoded...)
			continue
		}
		var err error
		if dst, err = f.as.append(dst, cols[f.column], row); err != nil {
			return dst, fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	return dst, nil
}

var errAvroNull = errors.New("it is NULL, but the schema does not allow null")

// branch appends the branch index of a union with null, if the schema has one.
func (w *avroWriting) branch(dst []byte, null bool) ([]byte, error) {
	switch {
	case w.null < 0 && null:
		return dst, errAvroNull
	case w.null < 0:
		return dst, nil
	case null:
		return append(dst, byte(2*w.null)), nil
	}
	return append(dst, byte(2*w.value)), nil
}

// append encodes the value of a column, without boxing unless its class is Boxes.
func (w *avroWriting) append(dst []byte, c *column.Column, row int) ([]byte, error) {
	null := c.Null[row]
	dst, err := w.branch(dst, null)
	if err != nil || null {
		return dst, err
	}
	switch c.Type.Class() {
	case column.Ints:
		return w.int(dst, c.I[row])
	case column.Floats:
		return w.float(dst, c.F[row]), nil
	case column.Texts:
		return w.text(dst, c.S[row])
	}
	return w.boxed(dst, c.Value(row))
}

func (w *avroWriting) int(dst []byte, v int64) ([]byte, error) {
	switch w.from.Kind {
	case column.Boolean:
		return append(dst, byte(v)), nil
	case column.Time, column.Timestamp, column.TimestampLTZ:
		if v = moment.FloorDiv(v, w.by); w.times > 1 {
			if v > math.MaxInt64/w.times || v < math.MinInt64/w.times {
				return dst, fmt.Errorf("%s does not fit in %s", moment.AppendTimestamp(nil, v, ' '), w.to)
			}
			v *= w.times
		}
	}
	return binary.AppendVarint(dst, v), nil
}

func (w *avroWriting) float(dst []byte, f float64) []byte {
	if w.to.kind == avroFloat {
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(f)))
	}
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
}

func (w *avroWriting) text(dst []byte, s string) ([]byte, error) {
	switch w.to.kind {
	case avroEnum:
		n := slices.Index(w.to.symbols, s)
		if n < 0 {
			return dst, fmt.Errorf("%q is not a symbol of the enum %s", s, w.to.name)
		}
		return binary.AppendVarint(dst, int64(n)), nil
	case avroFixed:
		if len(s) != w.to.size {
			return dst, fmt.Errorf("it has %d bytes, but %s has %d", len(s), w.to.name, w.to.size)
		}
		return append(dst, s...), nil
	}
	return append(binary.AppendVarint(dst, int64(len(s))), s...), nil
}

// nested encodes a value within another, which may be NULL.
func (w *avroWriting) nested(dst []byte, v any) ([]byte, error) {
	dst, err := w.branch(dst, v == nil)
	if err != nil || v == nil {
		return dst, err
	}
	return w.boxed(dst, v)
}

func (w *avroWriting) boxed(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case bool:
		if v {
			return append(dst, 1), nil
		}
		return append(dst, 0), nil
	case int64:
		return w.int(dst, v)
	case float64:
		return w.float(dst, v), nil
	case string:
		return w.text(dst, v)
	case *big.Int:
		return w.unscaled(dst, v)
	case []any:
		if w.from.Kind == column.Row {
			return w.row(dst, v)
		}
		return w.array(dst, v)
	case *column.Dict:
		return w.dict(dst, v)
	}
	return dst, fmt.Errorf("unexpected value of type %T", v)
}

func (w *avroWriting) unscaled(dst []byte, v *big.Int) ([]byte, error) {
	if w.scale > 0 {
		v = new(big.Int).Mul(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(w.scale)), nil))
	}
	b := appendTwosComplement(nil, v)
	if w.to.kind == avroBytes {
		return append(binary.AppendVarint(dst, int64(len(b))), b...), nil
	}
	if len(b) > w.to.size {
		return dst, fmt.Errorf("it takes %d bytes, but %s has %d", len(b), w.to.name, w.to.size)
	}
	var sign byte
	if v.Sign() < 0 {
		sign = 0xff
	}
	for range w.to.size - len(b) {
		dst = append(dst, sign)
	}
	return append(dst, b...), nil
}

// appendTwosComplement is equivalent to Java's BigInteger.toByteArray: it uses the minimum number
// of bytes, including the sign bit.
func appendTwosComplement(dst []byte, v *big.Int) []byte {
	if v.Sign() >= 0 {
		b := v.Bytes()
		if len(b) == 0 || b[0] >= 0x80 {
			dst = append(dst, 0)
		}
		return append(dst, b...)
	}
	b := new(big.Int).Not(v).Bytes() // -v-1 has all bits inverted
	if len(b) == 0 || b[0] >= 0x80 {
		dst = append(dst, 0xff)
	}
	for _, x := range b {
		dst = append(dst, ^x)
	}
	return dst
}

func (w *avroWriting) row(dst []byte, v []any) ([]byte, error) {
	for i := range w.fields {
		f := &w.fields[i]
		if f.column < 0 {
			dst = append(dst, f.encoded...)
			continue
		}
		var err error
		if dst, err = f.as.nested(dst, v[f.column]); err != nil {
			return dst, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return dst, nil
}

func (w *avroWriting) array(dst []byte, v []any) ([]byte, error) {
	if len(v) > 0 {
		dst = binary.AppendVarint(dst, int64(len(v)))
	}
	for i, x := range v {
		var err error
		if dst, err = w.elem.nested(dst, x); err != nil {
			return dst, fmt.Errorf("element %d: %w", i+1, err)
		}
	}
	return append(dst, 0), nil
}

func (w *avroWriting) dict(dst []byte, d *column.Dict) ([]byte, error) {
	if len(d.Keys) > 0 {
		dst = binary.AppendVarint(dst, int64(len(d.Keys)))
	}
	for i, k := range d.Keys {
		key, ok := k.(string)
		if !ok {
			return dst, errors.New("a key of the map is NULL, which Avro can't hold")
		}
		dst = append(binary.AppendVarint(dst, int64(len(key))), key...)
		var err error
		if dst, err = w.elem.nested(dst, d.Values[i]); err != nil {
			return dst, fmt.Errorf("key %s: %w", key, err)
		}
	}
	return append(dst, 0), nil
}
