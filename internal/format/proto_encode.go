package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
	"weir.example/weir/internal/registry"
)

// protoEncoder encodes rows as messages of one schema, registered under an id.
type protoEncoder struct {
	head  []byte // header and message path
	steps []protoWriting
}

// protoWriting describes how to encode a column as a field.
type protoWriting struct {
	name     string
	column   int
	from     column.Type
	num      protowire.Number
	kind     protoreflect.Kind
	presence bool // defaults are written too, and NULL is possible
	enum     protoreflect.EnumValueDescriptors
	fields   []protoWriting // of a row
	list     bool
	key      *protoWriting // of a map
	elem     *protoWriting // of a repeated field or a map
}

func newProtoEncoder(fields []Field, o Options, s *Schemas) (Encoder, error) {
	id, ok := s.writer(o.Registry(), o.Subject())
	if !ok {
		return nil, fmt.Errorf("no schema of subject %s is registered yet", o.Subject())
	}
	m, path, err := protoOwn(fields, o)
	if err != nil {
		return nil, err
	}
	steps, err := protoOutputs(columnFields(fields), m)
	return &protoEncoder{registry.AppendMessagePath(registry.AppendHeader(nil, id), path), steps}, err
}

func protoOutputs(columns []column.Field, m protoreflect.MessageDescriptor) ([]protoWriting, error) {
	var all []protoWriting
	for i, c := range columns {
		fd := m.Fields().ByName(protoreflect.Name(c.Name))
		if fd == nil {
			return nil, fmt.Errorf("message %s has no field %s", m.FullName(), c.Name)
		}
		// Only types that can be read back can be written.
		if _, err := protoStepOf(fd, nil, c.Type, 0); err != nil {
			return nil, fmt.Errorf("column %s: %w", c.Name, err)
		}
		w, err := protoWritingOf(fd, c.Type)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.Name, err)
		}
		w.name, w.column = c.Name, i
		all = append(all, w)
	}
	return all, nil
}

func protoWritingOf(fd protoreflect.FieldDescriptor, from column.Type) (protoWriting, error) {
	w := protoWriting{from: from, num: fd.Number(), kind: fd.Kind(), presence: fd.HasPresence()}
	var err error
	switch {
	case !fd.IsMap() && !fd.IsList() && !protoHolds(fd.Kind(), from.Kind):
		return w, fmt.Errorf("%s can't be written as %s", from.Nullable(true), protoDescribe(fd))
	case fd.IsMap():
		key, keyErr := protoWritingOf(fd.MapKey(), *from.Key)
		value, valueErr := protoWritingOf(fd.MapValue(), *from.Elem)
		key.presence, value.presence = true, true // both are always written
		w.list, w.key, w.elem = true, &key, &value
		return w, errors.Join(keyErr, valueErr)
	case fd.IsList():
		w.list = true
		elem, err := protoElement(fd, *from.Elem)
		w.elem = &elem
		return w, err
	case fd.Kind() == protoreflect.EnumKind && from.Kind == column.String:
		w.enum = fd.Enum().Values()
	case from.Kind == column.Row:
		w.fields, err = protoOutputs(from.Fields, fd.Message())
	case fd.Kind() == protoreflect.MessageKind && protoWrapper(fd.Message()):
		err = fmt.Errorf("writing %s is not supported: make the field optional", fd.Message().FullName())
	}
	return w, err
}

func protoElement(fd protoreflect.FieldDescriptor, from column.Type) (protoWriting, error) {
	w := protoWriting{from: from, num: fd.Number(), kind: fd.Kind(), presence: true}
	var err error
	switch {
	case !protoHolds(fd.Kind(), from.Kind):
		return w, fmt.Errorf("%s can't be written as %s", from.Nullable(true), protoDescribe(fd))
	case fd.Kind() == protoreflect.EnumKind && from.Kind == column.String:
		w.enum = fd.Enum().Values()
	case from.Kind == column.Row:
		w.fields, err = protoOutputs(from.Fields, fd.Message())
	case fd.Kind() == protoreflect.MessageKind && protoWrapper(fd.Message()):
		err = fmt.Errorf("writing repeated %s is not supported", fd.Message().FullName())
	}
	return w, err
}

// protoHolds reports whether a field kind that can be read into a column also accepts every value
// of the column.
func protoHolds(k protoreflect.Kind, col column.Kind) bool {
	switch col {
	case column.BigInt:
		return k == protoreflect.Int64Kind || k == protoreflect.Sint64Kind || k == protoreflect.Sfixed64Kind
	case column.Double:
		return k == protoreflect.DoubleKind
	case column.String:
		return k == protoreflect.StringKind || k == protoreflect.EnumKind
	case column.Bytes:
		return k == protoreflect.BytesKind
	}
	return true
}

// Encode implements Encoder.
func (e *protoEncoder) Encode(dst []byte, cols []*column.Column, row int) ([]byte, error) {
	dst = append(dst, e.head...)
	for i := range e.steps {
		w := &e.steps[i]
		var err error
		if dst, err = w.append(dst, cols[w.column], row); err != nil {
			return dst, fmt.Errorf("field %s: %w", w.name, err)
		}
	}
	return dst, nil
}

var errProtoNull = errors.New("it is NULL, but the field can't be absent: make it optional in the schema, or the column NOT NULL")

func (w *protoWriting) null() error {
	if w.presence || w.list {
		return nil
	}
	return errProtoNull
}

// append encodes the value of a column, without boxing unless its class is Boxes.
func (w *protoWriting) append(dst []byte, c *column.Column, row int) ([]byte, error) {
	if c.Null[row] {
		return dst, w.null()
	}
	switch c.Type.Class() {
	case column.Ints:
		return w.int(dst, c.I[row]), nil
	case column.Floats:
		return w.float(dst, c.F[row]), nil
	case column.Texts:
		return w.text(dst, c.S[row])
	}
	return w.boxed(dst, c.Value(row))
}

func (w *protoWriting) int(dst []byte, v int64) []byte {
	if w.from.Instant() {
		return w.timestamp(dst, v)
	}
	if v == 0 && !w.presence {
		return dst
	}
	dst = protowire.AppendTag(dst, w.num, protoWire(w.kind))
	switch w.kind {
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return protowire.AppendVarint(dst, protowire.EncodeZigZag(v))
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		return binary.LittleEndian.AppendUint32(dst, uint32(v)) //nolint:gosec // the low 32 bits
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return binary.LittleEndian.AppendUint64(dst, uint64(v)) //nolint:gosec // same bits
	}
	return protowire.AppendVarint(dst, uint64(v)) //nolint:gosec // same bits
}

// timestamp encodes a google.protobuf.Timestamp, which takes less than 128 bytes.
func (w *protoWriting) timestamp(dst []byte, us int64) []byte {
	dst = protowire.AppendTag(dst, w.num, protowire.BytesType)
	length := len(dst)
	dst = append(dst, 0)
	seconds := moment.FloorDiv(us, 1_000_000)
	if seconds != 0 {
		dst = protowire.AppendVarint(append(dst, 1<<3), uint64(seconds)) //nolint:gosec // same bits
	}
	if nanos := (us - seconds*1_000_000) * 1000; nanos != 0 {
		dst = protowire.AppendVarint(append(dst, 2<<3), uint64(nanos)) //nolint:gosec // positive
	}
	dst[length] = byte(len(dst) - length - 1)
	return dst
}

func (w *protoWriting) float(dst []byte, f float64) []byte {
	if math.Float64bits(f) == 0 && !w.presence { // -0 is written
		return dst
	}
	dst = protowire.AppendTag(dst, w.num, protoWire(w.kind))
	if w.kind == protoreflect.FloatKind {
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(f)))
	}
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
}

func (w *protoWriting) text(dst []byte, s string) ([]byte, error) {
	if w.enum != nil {
		v := w.enum.ByName(protoreflect.Name(s))
		if v == nil {
			return dst, fmt.Errorf("%q is not a value of the enum", s)
		}
		return w.int(dst, int64(v.Number())), nil
	}
	if s == "" && !w.presence {
		return dst, nil
	}
	if w.kind == protoreflect.StringKind && !utf8.ValidString(s) {
		return dst, errProtoText
	}
	return protowire.AppendString(protowire.AppendTag(dst, w.num, protowire.BytesType), s), nil
}

func (w *protoWriting) boxed(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return dst, w.null()
	case bool:
		if v {
			return w.int(dst, 1), nil
		}
		return w.int(dst, 0), nil
	case int64:
		return w.int(dst, v), nil
	case float64:
		return w.float(dst, v), nil
	case string:
		return w.text(dst, v)
	case []any:
		if w.list {
			return w.array(dst, v)
		}
		return nested(protowire.AppendTag(dst, w.num, protowire.BytesType), func(dst []byte) ([]byte, error) { return w.row(dst, v) })
	case *column.Dict:
		return w.dict(dst, v)
	}
	return dst, fmt.Errorf("unexpected value of type %T", v)
}

// nested writes a length-delimited value, whose length is known only after writing it.
func nested(dst []byte, write func([]byte) ([]byte, error)) ([]byte, error) {
	at := len(dst)
	dst, err := write(append(dst, 0))
	if err != nil {
		return dst, err
	}
	n := len(dst) - at - 1
	if more := protowire.SizeVarint(uint64(n)) - 1; more > 0 { //nolint:gosec // not negative
		dst = append(dst, make([]byte, more)...)
		copy(dst[at+1+more:], dst[at+1:at+1+n])
	}
	protowire.AppendVarint(dst[:at], uint64(n)) //nolint:gosec // not negative
	return dst, nil
}

func (w *protoWriting) row(dst []byte, v []any) ([]byte, error) {
	for i := range w.fields {
		f := &w.fields[i]
		var err error
		if dst, err = f.boxed(dst, v[f.column]); err != nil {
			return dst, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return dst, nil
}

// array writes the elements of a repeated field, packing numbers.
func (w *protoWriting) array(dst []byte, v []any) ([]byte, error) {
	for i, x := range v {
		if x == nil {
			return dst, fmt.Errorf("element %d is NULL, which a repeated field can't hold", i+1)
		}
	}
	if protoWire(w.kind) == protowire.BytesType || len(v) == 0 {
		for i, x := range v {
			var err error
			if dst, err = w.elem.boxed(dst, x); err != nil {
				return dst, fmt.Errorf("element %d: %w", i+1, err)
			}
		}
		return dst, nil
	}
	return nested(protowire.AppendTag(dst, w.num, protowire.BytesType), func(dst []byte) ([]byte, error) {
		tag := protowire.SizeTag(w.num)
		for i, x := range v {
			at := len(dst)
			var err error
			if dst, err = w.elem.boxed(dst, x); err != nil {
				return dst, fmt.Errorf("element %d: %w", i+1, err)
			}
			dst = append(dst[:at], dst[at+tag:]...) // packed: without the tag
		}
		return dst, nil
	})
}

func (w *protoWriting) dict(dst []byte, d *column.Dict) ([]byte, error) {
	for i, k := range d.Keys {
		if k == nil || d.Values[i] == nil {
			return dst, errors.New("a key or value of the map is NULL, which Protobuf can't hold")
		}
		var err error
		dst, err = nested(protowire.AppendTag(dst, w.num, protowire.BytesType), func(dst []byte) ([]byte, error) {
			dst, err := w.key.boxed(dst, k)
			if err != nil {
				return dst, err
			}
			return w.elem.boxed(dst, d.Values[i])
		})
		if err != nil {
			return dst, fmt.Errorf("key %v: %w", k, err)
		}
	}
	return dst, nil
}
