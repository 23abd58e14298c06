package format

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/registry"
)

// protoDecoder decodes records of any schema of the topic into the columns of a table. It is not
// for concurrent use.
type protoDecoder struct {
	programs[*protoFile]
	fields []Field
	own    protoreflect.MessageDescriptor // the reader's; nil where the table gives no schema
	path   []int
}

// protoFile is a schema of a writer's: a program for each of its messages that has come.
type protoFile struct {
	file    protoreflect.FileDescriptor
	first   *protoProgram
	byIndex map[string]*protoProgram
}

func newProtoDecoder(fields []Field, o Options, s *Schemas) (Decoder, error) {
	d := &protoDecoder{fields: fields}
	if o["schema"] != "" {
		var err error
		if d.own, _, err = protoOwn(fields, o); err != nil {
			return nil, err
		}
	}
	d.programs = newPrograms(s, o, d.compile)
	return d, nil
}

func (d *protoDecoder) compile(s *registry.Schema) (*protoFile, error) {
	if s.Type != registry.Protobuf {
		return nil, fmt.Errorf("the schema has type %s, but the format is protobuf-confluent", s.Type)
	}
	file, err := s.CompileProtobuf(context.Background())
	if err != nil {
		return nil, err
	}
	f := &protoFile{file: file, byIndex: make(map[string]*protoProgram)}
	if file.Messages().Len() == 1 { // else it is seen with the first record which of them is meant
		f.first, err = protoCompile(file.Messages().Get(0), d.own, columnFields(d.fields))
	}
	return f, err
}

// Decode implements Decoder.
func (d *protoDecoder) Decode(data []byte, cols []*column.Column) error {
	f, data, err := d.program(data)
	if err != nil {
		return err
	}
	p := f.first
	if p != nil && len(data) > 0 && data[0] == 0 {
		data = data[1:]
	} else if p, data, err = d.message(f, data); err != nil {
		return err
	}
	rows := length(cols)
	if err := p.run(data, cols); err != nil {
		truncate(cols, rows)
		return err
	}
	return nil
}

// message finds the program of the message that a record says it is.
func (d *protoDecoder) message(f *protoFile, data []byte) (*protoProgram, []byte, error) {
	path, rest, err := registry.ReadMessagePath(d.path[:0], data)
	if err != nil {
		return nil, nil, err
	}
	d.path = path
	index := string(data[:len(data)-len(rest)])
	if p := f.byIndex[index]; p != nil {
		return p, rest, nil
	}
	m := registry.MessageAt(f.file, path)
	if m == nil {
		return nil, nil, fmt.Errorf("schema %d has no message %v", d.last, path)
	}
	p, err := protoCompile(m, d.own, columnFields(d.fields))
	if err != nil {
		return nil, nil, d.incompatible(d.last, err)
	}
	f.byIndex[index] = p
	return p, rest, nil
}

// protoProgram decodes messages of one type. A message may have its fields in any order and more
// than once: they are found first, and then the columns are filled.
type protoProgram struct {
	steps  []protoStep // one for each column
	byNum  []int16     // step of a field's number, -1 for none
	beyond map[protowire.Number]int16
	slots  []protoSlot
}

// protoStep is a column and the field that it has its value from.
type protoStep struct {
	name    string
	to      column.Type
	num     protowire.Number // 0 where the writer has no such field
	wire    protowire.Type   // of a single value
	kind    protoreflect.Kind
	list    bool // repeated or a map
	time    bool // google.protobuf.Timestamp
	wrapper *protoStep
	missing any // where the field is not set: nil is NULL
	enum    protoreflect.EnumValueDescriptors
	row     *protoProgram
	key     *protoStep // of a map
	elem    *protoStep // of a repeated field or a map
}

// protoSlot is what was found of a field in the message at hand.
type protoSlot struct {
	n     int // how often it came
	bits  uint64
	bytes []byte
}

const protoNear = 64 // field numbers up to here are found without a map

// protoCompile finds how messages of a writer's type become columns. Fields are known by their
// number where the reader has a schema of its own, and by their name where it has not.
func protoCompile(writer, reader protoreflect.MessageDescriptor, columns []column.Field) (*protoProgram, error) {
	return protoCompileAt(writer, reader, columns, 0)
}

func protoCompileAt(writer, reader protoreflect.MessageDescriptor, columns []column.Field, depth int) (*protoProgram, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	p := &protoProgram{byNum: make([]int16, protoNear), beyond: make(map[protowire.Number]int16)}
	for i := range p.byNum {
		p.byNum[i] = -1
	}
	for _, c := range columns {
		fd := writer.Fields().ByName(protoreflect.Name(c.Name))
		var own protoreflect.FieldDescriptor
		if reader != nil {
			if own = reader.Fields().ByName(protoreflect.Name(c.Name)); own == nil {
				return nil, fmt.Errorf("the table's schema has no field %s", c.Name)
			}
			fd = writer.Fields().ByNumber(own.Number())
		}
		step := protoStep{name: c.Name, to: c.Type}
		switch {
		case fd != nil:
			var inner protoreflect.MessageDescriptor
			if own != nil {
				inner = own.Message()
			}
			var err error
			if step, err = protoStepOf(fd, inner, c.Type, depth); err != nil {
				return nil, fmt.Errorf("field %s: %w", c.Name, err)
			}
			step.name = c.Name
		case own != nil && !own.HasPresence() && !own.IsList() && !own.IsMap():
			step.missing = protoDefault(own, c.Type)
		case c.Type.NotNull:
			return nil, fmt.Errorf("field %s is missing but NOT NULL", c.Name)
		}
		n := int16(len(p.steps)) //nolint:gosec // columns of a table
		if step.num > 0 && step.num < protoNear {
			p.byNum[step.num] = n
		} else if step.num > 0 {
			p.beyond[step.num] = n
		}
		p.steps = append(p.steps, step)
	}
	p.slots = make([]protoSlot, len(p.steps))
	return p, nil
}

func protoStepOf(fd protoreflect.FieldDescriptor, own protoreflect.MessageDescriptor, to column.Type, depth int) (protoStep, error) {
	s := protoStep{name: string(fd.Name()), to: to, num: fd.Number(), kind: fd.Kind()}
	mismatch := func() (protoStep, error) {
		return s, fmt.Errorf("found %s, expected %s", protoDescribe(fd), to.Nullable(true))
	}
	switch {
	case fd.IsMap():
		if to.Kind != column.Map {
			return mismatch()
		}
		key, err := protoStepOf(fd.MapKey(), nil, *to.Key, depth+1)
		if err != nil {
			return s, err
		}
		value, err := protoStepOf(fd.MapValue(), nil, *to.Elem, depth+1)
		s.list, s.key, s.elem = true, &key, &value
		return s, err
	case fd.IsList():
		if to.Kind != column.Array {
			return mismatch()
		}
		elem, err := protoSingle(fd, own, *to.Elem, depth)
		s.list, s.elem = true, &elem
		return s, err
	}
	s, err := protoSingle(fd, own, to, depth)
	if err == nil && (!fd.HasPresence() || fd.HasDefault()) {
		s.missing = protoDefault(fd, to)
	}
	return s, err
}

// protoSingle is one value of a field.
func protoSingle(fd protoreflect.FieldDescriptor, own protoreflect.MessageDescriptor, to column.Type, depth int) (protoStep, error) {
	s := protoStep{name: string(fd.Name()), to: to, num: fd.Number(), kind: fd.Kind(), wire: protoWire(fd.Kind())}
	fits := false
	switch to.Kind {
	case column.Boolean:
		fits = s.kind == protoreflect.BoolKind
	case column.TinyInt, column.SmallInt, column.Int:
		fits = s.kind == protoreflect.Int32Kind || s.kind == protoreflect.Sint32Kind || s.kind == protoreflect.Sfixed32Kind || s.kind == protoreflect.EnumKind
	case column.BigInt:
		fits = s.integer()
	case column.Float:
		fits = s.kind == protoreflect.FloatKind
	case column.Double:
		fits = s.kind == protoreflect.FloatKind || s.kind == protoreflect.DoubleKind
	case column.String, column.Bytes:
		fits = s.kind == protoreflect.StringKind || s.kind == protoreflect.BytesKind
		if s.kind == protoreflect.EnumKind && to.Kind == column.String {
			s.enum, fits = fd.Enum().Values(), true
		}
	case column.Timestamp, column.TimestampLTZ:
		s.time = s.kind == protoreflect.MessageKind && fd.Message().FullName() == protoTimestamp
		fits = s.time
	case column.Row:
		if fits = s.kind == protoreflect.MessageKind; fits {
			var err error
			s.row, err = protoCompileAt(fd.Message(), own, to.Fields, depth+1)
			return s, err
		}
	}
	if !fits && s.kind == protoreflect.MessageKind && protoWrapper(fd.Message()) {
		value, err := protoSingle(fd.Message().Fields().ByNumber(1), nil, to, depth+1)
		if err == nil {
			value.missing = protoDefault(fd.Message().Fields().ByNumber(1), to)
		}
		s.wrapper = &value
		return s, err
	}
	if !fits {
		return s, fmt.Errorf("found %s, expected %s", protoDescribe(fd), to.Nullable(true))
	}
	return s, nil
}

func (s *protoStep) integer() bool {
	switch s.kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind, protoreflect.Uint32Kind, protoreflect.Fixed32Kind,
		protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind, protoreflect.EnumKind:
		return true
	}
	return false
}

// protoWrapper reports google.protobuf.StringValue and its like, which are values that can be NULL.
func protoWrapper(m protoreflect.MessageDescriptor) bool {
	return m.ParentFile().Path() == "google/protobuf/wrappers.proto"
}

func protoDescribe(fd protoreflect.FieldDescriptor) string {
	name := fd.Kind().String()
	switch {
	case fd.IsMap():
		return "a map"
	case fd.Kind() == protoreflect.MessageKind:
		name = "message " + string(fd.Message().FullName())
	case fd.Kind() == protoreflect.EnumKind:
		name = "enum " + string(fd.Enum().FullName())
	}
	if fd.IsList() {
		return "repeated " + name
	}
	return name
}

func protoWire(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	}
	return protowire.VarintType
}

// protoDefault is what a field has that is not set.
func protoDefault(fd protoreflect.FieldDescriptor, to column.Type) any {
	v := fd.Default()
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return v.Bool()
	case protoreflect.EnumKind:
		value := fd.DefaultEnumValue()
		if value == nil {
			value = fd.Enum().Values().Get(0)
		}
		if to.Kind == column.String {
			return string(value.Name())
		}
		return int64(value.Number())
	case protoreflect.StringKind:
		return v.String()
	case protoreflect.BytesKind:
		return string(v.Bytes())
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return v.Float()
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return int64(v.Uint()) //nolint:gosec // a default beyond int64 reads as Java has it
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return nil
	}
	return v.Int()
}

// find notes where the message has which field.
func (p *protoProgram) find(data []byte) error {
	clear(p.slots)
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		at := int16(-1)
		if num < protoNear {
			at = p.byNum[num]
		} else if i, ok := p.beyond[num]; ok {
			at = i
		}
		if at < 0 {
			if n = protowire.ConsumeFieldValue(num, typ, data); n < 0 {
				return protowire.ParseError(n)
			}
			data = data[n:]
			continue
		}
		s, slot := &p.steps[at], &p.slots[at]
		bits, bytes, n := protoConsume(num, typ, data)
		if n < 0 {
			return fmt.Errorf("field %s: %w", s.name, protowire.ParseError(n))
		}
		data = data[n:]
		if !s.list && typ != s.wire {
			continue // as a field that nobody knows
		}
		if slot.n++; slot.n > 1 && s.kind == protoreflect.MessageKind && !s.list { // parts of one message
			if slot.n == 2 {
				slot.bytes = slices.Clone(slot.bytes)
			}
			slot.bytes = append(slot.bytes, bytes...)
			continue
		}
		slot.bits, slot.bytes = bits, bytes
	}
	return nil
}

// protoConsume reads one value: bits of a number, or bytes.
func protoConsume(num protowire.Number, typ protowire.Type, data []byte) (bits uint64, bytes []byte, n int) {
	switch typ {
	case protowire.VarintType:
		bits, n = protowire.ConsumeVarint(data)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(data)
		bits = uint64(v)
	case protowire.Fixed64Type:
		bits, n = protowire.ConsumeFixed64(data)
	case protowire.BytesType:
		bytes, n = protowire.ConsumeBytes(data)
	default:
		n = protowire.ConsumeFieldValue(num, typ, data)
	}
	return bits, bytes, n
}

// run appends a message's values to their columns.
func (p *protoProgram) run(data []byte, cols []*column.Column) error {
	if err := p.find(data); err != nil {
		return err
	}
	for i, c := range cols {
		if c == nil {
			continue
		}
		if err := p.steps[i].into(data, &p.slots[i], c); err != nil {
			return fmt.Errorf("field %s: %w", p.steps[i].name, err)
		}
	}
	return nil
}

// into appends one value to a column, without boxing what has a vector of its own.
func (s *protoStep) into(data []byte, slot *protoSlot, c *column.Column) error {
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
		v = int64(int32(slot.bits)) //nolint:gosec // as the format has it: the low 32 bits
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
		v = int64(slot.bits) //nolint:gosec // the bits of an int64
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
		return strconv.Itoa(int(n)), nil // of a later version of the schema
	}
	v := view(slot.bytes)
	if s.to.Kind == column.String && !utf8.ValidString(v) {
		return "", errProtoText
	}
	return v, nil
}

// protoMicros reads a google.protobuf.Timestamp.
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
			seconds = int64(bits) //nolint:gosec // the bits of an int64
		case num == 2:
			nanos = int64(int32(bits)) //nolint:gosec // the bits of an int32
		}
	}
	const limit = 1 << 42 // seconds, some 139,000 years
	if seconds > limit || seconds < -limit || nanos < 0 || nanos > 999_999_999 {
		return 0, fmt.Errorf("found %d s and %d ns, which is not a valid timestamp", seconds, nanos)
	}
	return expr.Round(seconds*1_000_000+nanos/1000, to.Precision), nil
}

// boxed reads the value of a field that has no vector of its own, or is inside another.
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

// value reads a message as a row. A message may hold itself, and a row may not: there is a program
// for each level.
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

// protoOnly reads one field of a message.
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

// items reads all values of a repeated field or a map, packed or not.
func (s *protoStep) items(data []byte, depth int) (any, error) {
	array := []any{}
	pairs := protoPairs{at: make(map[any]int)}
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
			err = s.entry(&pairs, bytes, depth)
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
		return &pairs.Dict, nil
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

// protoPairs are those of a map, each key once.
type protoPairs struct {
	column.Dict
	at map[any]int
}

// entry reads a pair of a map: the last one of a key counts.
func (s *protoStep) entry(pairs *protoPairs, data []byte, depth int) error {
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
	if i, again := pairs.at[pair[0]]; again {
		pairs.Values[i] = pair[1]
		return nil
	}
	pairs.at[pair[0]] = len(pairs.Keys)
	pairs.Keys, pairs.Values = append(pairs.Keys, pair[0]), append(pairs.Values, pair[1])
	return nil
}
