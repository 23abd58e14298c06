package compat

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"weir.example/weir/internal/registry"
)

// readProtobuf compares two files by the rules of Confluent's registry, which are those of
// Protobuf's guide for updating a message and three more: a message must not be removed, a required
// field must be neither added nor removed, the package must not change. Fields are identified by
// number. https://protobuf.dev/programming-guides/proto3/#updating
func readProtobuf(ctx context.Context, reader, writer *registry.Schema) ([]Problem, error) {
	r, err := reader.CompileProtobuf(ctx)
	if err != nil {
		return nil, err
	}
	w, err := writer.CompileProtobuf(ctx)
	if err != nil {
		return nil, err
	}
	d := protoDiff{seen: make(map[[2]protoreflect.FullName]bool)}
	if w.Package() != r.Package() {
		d.add("PACKAGE_CHANGED", "", "package %q has become %q", w.Package(), r.Package())
	}
	d.messages(w.Messages(), r.Messages())
	return d.problems, nil
}

type protoDiff struct {
	problems []Problem
	seen     map[[2]protoreflect.FullName]bool // pairs of messages compared or being compared
}

func (d *protoDiff) add(rule, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{Rule: rule, Path: path, Detail: fmt.Sprintf(format, args...)})
}

func (d *protoDiff) messages(written, read protoreflect.MessageDescriptors) {
	for i := range written.Len() {
		w := written.Get(i)
		if w.IsMapEntry() {
			continue
		}
		r := read.ByName(w.Name())
		if r == nil || r.IsMapEntry() {
			d.add("MESSAGE_REMOVED", local(w), "the message was removed")
			continue
		}
		d.message(w, r)
	}
}

func (d *protoDiff) message(w, r protoreflect.MessageDescriptor) {
	pair := [2]protoreflect.FullName{w.FullName(), r.FullName()}
	if d.seen[pair] {
		return
	}
	d.seen[pair] = true
	d.fields(w, r)
	d.oneofs(w, r)
	d.messages(w.Messages(), r.Messages())
}

func (d *protoDiff) fields(written, read protoreflect.MessageDescriptor) {
	for i := range written.Fields().Len() {
		w := written.Fields().Get(i)
		r := read.Fields().ByNumber(w.Number())
		switch {
		case r != nil:
			d.field(w, r)
		case w.Cardinality() == protoreflect.Required:
			d.add("REQUIRED_FIELD_REMOVED", at(w), "a required field must stay")
		case realOneof(w) != nil && read.Oneofs().ByName(realOneof(w).Name()) != nil:
			d.add("ONEOF_FIELD_REMOVED", at(w), "a field of the oneof %s must stay", realOneof(w).Name())
		}
	}
	for i := range read.Fields().Len() {
		r := read.Fields().Get(i)
		if written.Fields().ByNumber(r.Number()) == nil && r.Cardinality() == protoreflect.Required {
			d.add("REQUIRED_FIELD_ADDED", at(r), "older data does not have the required field")
		}
	}
}

// oneofs finds fields that could be set together and now exclude each other.
func (d *protoDiff) oneofs(written, read protoreflect.MessageDescriptor) {
	for i := range read.Oneofs().Len() {
		oneof := read.Oneofs().Get(i)
		if oneof.IsSynthetic() {
			continue
		}
		moved, existing := 0, 0
		for j := range oneof.Fields().Len() {
			w := written.Fields().ByNumber(oneof.Fields().Get(j).Number())
			switch {
			case w == nil:
			case realOneof(w) == nil:
				moved++
			default:
				existing++
			}
		}
		path := local(read) + "." + string(oneof.Name())
		if moved > 1 {
			d.add("MULTIPLE_FIELDS_MOVED_TO_ONEOF", path, "%d fields that could be set together have moved into one oneof", moved)
		} else if moved == 1 && existing > 0 {
			d.add("FIELD_MOVED_TO_EXISTING_ONEOF", path, "a field has moved into a oneof that was there before")
		}
	}
}

func (d *protoDiff) field(w, r protoreflect.FieldDescriptor) {
	wk, rk := wireKind(w), wireKind(r)
	switch {
	case w.IsMap() != r.IsMap() || (wk == message) != (rk == message) && !w.IsMap():
		d.add("FIELD_KIND_CHANGED", at(r), "%s has become %s", typeName(w), typeName(r))
	case w.IsMap():
		d.field(w.MapKey(), r.MapKey())
		d.field(w.MapValue(), r.MapValue())
	case wk != rk:
		d.add("FIELD_SCALAR_KIND_CHANGED", at(r), "the type changed from %s to %s, which has a different wire format", typeName(w), typeName(r))
	case wk == message:
		d.messageField(w, r)
	case w.IsList() != r.IsList() && wk != bytes:
		d.add("FIELD_NUMERIC_LABEL_CHANGED", at(r), "%s has become %s: a packed list of numbers is no number", typeName(w), typeName(r))
	}
}

func (d *protoDiff) messageField(w, r protoreflect.FieldDescriptor) {
	if local(w.Message()) != local(r.Message()) || (w.Kind() == protoreflect.GroupKind) != (r.Kind() == protoreflect.GroupKind) {
		d.add("FIELD_NAMED_TYPE_CHANGED", at(r), "%s has become %s", typeName(w), typeName(r))
		return
	}
	d.message(w.Message(), r.Message()) // messages of other files are not reached otherwise
}

// kinds of scalars with the same encoding
type wire int

const (
	varint wire = iota // int32, int64, uint32, uint64, bool, enum
	zigzag             // sint32, sint64
	bytes              // string, bytes
	fixed32
	fixed64
	float
	double
	message
)

func wireKind(f protoreflect.FieldDescriptor) wire {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return message
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return zigzag
	case protoreflect.StringKind, protoreflect.BytesKind:
		return bytes
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		return fixed32
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return fixed64
	case protoreflect.FloatKind:
		return float
	case protoreflect.DoubleKind:
		return double
	default:
		return varint
	}
}

// realOneof returns the oneof that contains a field, except the synthetic one of "optional".
func realOneof(f protoreflect.FieldDescriptor) protoreflect.OneofDescriptor {
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return o
	}
	return nil
}

func at(f protoreflect.FieldDescriptor) string {
	return fmt.Sprintf("%s.%s (field %d)", local(f.ContainingMessage()), f.Name(), f.Number())
}

// local returns the name of a message within its package.
func local(m protoreflect.MessageDescriptor) string {
	return strings.TrimPrefix(strings.TrimPrefix(string(m.FullName()), string(m.ParentFile().Package())), ".")
}

func typeName(f protoreflect.FieldDescriptor) string {
	name := f.Kind().String()
	switch {
	case f.IsMap():
		return fmt.Sprintf("map<%s, %s>", typeName(f.MapKey()), typeName(f.MapValue()))
	case f.Message() != nil:
		name = string(f.Message().FullName())
	case f.Enum() != nil:
		name = string(f.Enum().FullName())
	}
	if f.IsList() {
		return "repeated " + name
	}
	return name
}
