package format

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

// into appends one value to a column, without boxing unless it is nested or repeated.
func (s *protoStep) into(data []byte, slot *protoSlot, c *column.Column) error {
	if s.row != nil && slot.n > 0 && c.Fields != nil {
		return s.row.into(slot.bytes, c)
	}
	if s.list || slot.n == 0 || s.wrapper != nil || s.row != nil {
		v, err := s.boxed(data, slot, 0)
		if err == nil {
			c.Add(v)
		}
		return err
	}
	switch c.Type.Class() {
	case column.Ints:
		v, err := s.int(slot)
		if err != nil {
			return err
		}
		c.AddInt(v)
	case column.Floats:
		c.AddFloat(s.float(slot.bits))
	default:
		v, err := s.text(slot)
		if err != nil {
			return err
		}
		c.AddText(v)
	}
	return nil
}

// into appends a message as a row that is stored by fields. After an error, the columns of fields
// may have one value more than the row.
func (p *protoProgram) into(data []byte, c *column.Column) error {
	if err := p.find(data); err != nil {
		return err
	}
	for i, f := range c.Fields {
		if f == nil {
			continue
		}
		if err := p.steps[i].into(data, &p.slots[i], f); err != nil {
			return fmt.Errorf("%s: %w", p.steps[i].name, err)
		}
	}
	c.Null = append(c.Null, false)
	return nil
}

func (s *protoStep) int(slot *protoSlot) (int64, error) {
	if s.time {
		return protoMicros(slot.bytes, s.to)
	}
	var v int64
	switch s.kind {
	case protoreflect.BoolKind:
		v = 0
		if slot.bits != 0 {
			v = 1
		}
	case protoreflect.Int32Kind, protoreflect.EnumKind, protoreflect.Sfixed32Kind:
		v = int64(int32(slot.bits)) //nolint:gosec // the format keeps the low 32 bits
	case protoreflect.Sint32Kind:
		v = protowire.DecodeZigZag(slot.bits & math.MaxUint32)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		v = int64(slot.bits & math.MaxUint32) //nolint:gosec // 32 bits
	case protoreflect.Sint64Kind:
		v = protowire.DecodeZigZag(slot.bits)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		if slot.bits > math.MaxInt64 {
			return 0, fmt.Errorf("found %d, expected %s", slot.bits, s.to.Nullable(true))
		}
		v = int64(slot.bits)
	default:
		v = int64(slot.bits) //nolint:gosec // bits of an int64
	}
	if limit, ok := intRange[s.to.Kind]; ok && (v > limit || v < -limit-1) {
		return 0, fmt.Errorf("found %d, expected %s", v, s.to.Nullable(true))
	}
	return v, nil
}

func (s *protoStep) float(bits uint64) float64 {
	if s.kind == protoreflect.FloatKind {
		return float64(math.Float32frombits(uint32(bits))) //nolint:gosec // 32 bits
	}
	return math.Float64frombits(bits)
}

var errProtoText = errors.New("it is not UTF-8")

func (s *protoStep) text(slot *protoSlot) (string, error) {
	if s.enum != nil {
		n := protoreflect.EnumNumber(int32(slot.bits)) //nolint:gosec // the low 32 bits
		if v := s.enum.ByNumber(n); v != nil {
			return string(v.Name()), nil
		}
		return strconv.Itoa(int(n)), nil // from a later version of the schema
	}
	v := view(slot.bytes)
	if s.to.Kind == column.String && !utf8.ValidString(v) {
		return "", errProtoText
	}
	return v, nil
}

// protoMicros decodes a google.protobuf.Timestamp.
func protoMicros(data []byte, to column.Type) (int64, error) {
	var seconds, nanos int64
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		bits, _, m := protoConsume(num, typ, data[n:])
		if m < 0 {
			return 0, protowire.ParseError(m)
		}
		data = data[n+m:]
		switch {
		case typ != protowire.VarintType:
		case num == 1:
			seconds = int64(bits) //nolint:gosec // bits of an int64
		case num == 2:
			nanos = int64(int32(bits)) //nolint:gosec // bits of an int32
		}
	}
	const limit = 1 << 42 // seconds, about 139,000 years
	if seconds > limit || seconds < -limit || nanos < 0 || nanos > 999_999_999 {
		return 0, fmt.Errorf("found %d s and %d ns, which is not a valid timestamp", seconds, nanos)
	}
	return moment.Truncate(seconds*1_000_000+nanos/1000, to.Precision), nil
}

// boxed decodes the value of a field and returns it boxed.
func (s *protoStep) boxed(data []byte, slot *protoSlot, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	switch {
	case s.list:
		return s.items(data, depth)
	case slot.n == 0:
		return s.missing, nil
	case s.wrapper != nil:
		inner, err := protoOnly(1, slot.bytes)
		if err != nil {
			return nil, err
		}
		return s.wrapper.boxed(nil, &inner, depth+1)
	case s.row != nil:
		return s.row.value(slot.bytes, depth+1)
	}
	switch s.to.Class() {
	case column.Ints:
		v, err := s.int(slot)
		if s.to.Kind == column.Boolean {
			return v != 0, err
		}
		return v, err
	case column.Floats:
		return s.float(slot.bits), nil
	}
	return s.text(slot)
}

// value decodes a message as a row. There is a program for each nesting level: unlike a message, a
// row can't be recursive.
func (p *protoProgram) value(data []byte, depth int) (any, error) {
	if err := p.find(data); err != nil {
		return nil, err
	}
	row := make([]any, len(p.steps))
	for i := range p.steps {
		var err error
		if row[i], err = p.steps[i].boxed(data, &p.slots[i], depth); err != nil {
			return nil, fmt.Errorf("%s: %w", p.steps[i].name, err)
		}
	}
	return row, nil
}

// protoOnly reads a single field of a message.
func protoOnly(wanted protowire.Number, data []byte) (protoSlot, error) {
	var slot protoSlot
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return slot, protowire.ParseError(n)
		}
		bits, bytes, m := protoConsume(num, typ, data[n:])
		if m < 0 {
			return slot, protowire.ParseError(m)
		}
		data = data[n+m:]
		if num == wanted {
			slot.n, slot.bits, slot.bytes = slot.n+1, bits, bytes
		}
	}
	return slot, nil
}

// items decodes all values of a repeated field or a map, packed or not.
func (s *protoStep) items(data []byte, depth int) (any, error) {
	array := []any{}
	var entries pairs
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		bits, bytes, m := protoConsume(num, typ, data[n:])
		if m < 0 {
			return nil, protowire.ParseError(m)
		}
		data = data[n+m:]
		if num != s.num {
			continue
		}
		var err error
		switch {
		case s.key != nil && typ == protowire.BytesType:
			err = s.entry(&entries, bytes, depth)
		case typ == protowire.BytesType && s.elem.wire != protowire.BytesType:
			array, err = s.packed(array, bytes, depth)
		case typ == s.elem.wire:
			var v any
			v, err = s.elem.boxed(nil, &protoSlot{n: 1, bits: bits, bytes: bytes}, depth+1)
			array = append(array, v)
		}
		if err != nil {
			return nil, err
		}
	}
	if s.key != nil {
		return &entries.Dict, nil
	}
	return array, nil
}

func (s *protoStep) packed(array []any, data []byte, depth int) ([]any, error) {
	for len(data) > 0 {
		bits, _, n := protoConsume(s.num, s.elem.wire, data)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		data = data[n:]
		v, err := s.elem.boxed(nil, &protoSlot{n: 1, bits: bits}, depth+1)
		if err != nil {
			return nil, err
		}
		array = append(array, v)
	}
	return array, nil
}

// entry decodes a map entry.
func (s *protoStep) entry(to *pairs, data []byte, depth int) error {
	var pair [2]any
	for i, part := range []*protoStep{s.key, s.elem} {
		slot, err := protoOnly(protowire.Number(i+1), data)
		if err != nil {
			return err
		}
		if pair[i], err = part.boxed(nil, &slot, depth+1); err != nil {
			return err
		}
	}
	to.add(pair[0], pair[1])
	return nil
}
