package format

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"weir.example/weir/internal/column"
)

// protoProgram decodes messages of one type. Fields may occur in any order and more than once, so
// all fields are located first and the columns are filled afterwards.
type protoProgram struct {
	steps  []protoStep // one per column
	byNum  []int16     // step for each field number; -1 for none
	beyond map[protowire.Number]int16
	slots  []protoSlot
}

// protoStep is a column and the field that supplies its value.
type protoStep struct {
	name    string
	to      column.Type
	num     protowire.Number // 0 if the writer has no such field
	wire    protowire.Type   // of a single value
	kind    protoreflect.Kind
	list    bool // repeated or a map
	time    bool // google.protobuf.Timestamp
	wrapper *protoStep
	missing any // value if the field is not set; nil is NULL
	enum    protoreflect.EnumValueDescriptors
	row     *protoProgram
	key     *protoStep // of a map
	elem    *protoStep // of a repeated field or a map
}

// protoSlot is the data found for a field in the current message.
type protoSlot struct {
	n     int // number of occurrences
	bits  uint64
	bytes []byte
}

const protoNear = 64 // field numbers below this are looked up without a map

// protoCompile determines how messages of a writer's type are converted to columns. Fields are
// matched by number if the reader has its own schema, otherwise by name.
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
		n := int16(len(p.steps)) //nolint:gosec // number of columns
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

// protoSingle returns the step for a single value of a field.
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

// protoWrapper reports whether m is google.protobuf.StringValue or a similar wrapper of a nullable
// value.
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

// protoDefault returns the value of a field that is not set.
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
		return int64(v.Uint()) //nolint:gosec // wraps as in Java
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return nil
	}
	return v.Int()
}
