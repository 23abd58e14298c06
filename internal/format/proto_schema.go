package format

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/registry"
)

// protoName is the syntax of Protobuf names.
var protoName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// protoTypes are the Protobuf types used for writing columns.
var protoTypes = map[column.Kind]string{
	column.Boolean: "bool", column.TinyInt: "int32", column.SmallInt: "int32", column.Int: "int32", column.BigInt: "int64", column.Float: "float",
	column.Double: "double", column.String: "string", column.Bytes: "bytes", column.Timestamp: "google.protobuf.Timestamp",
	column.TimestampLTZ: "google.protobuf.Timestamp",
}

const protoTimestamp = "google.protobuf.Timestamp"

// protoSchemaOf returns the schema of columns: a message Record with fields numbered in column
// order. A nullable column is an optional field. New columns must come last, since records identify
// fields by number.
func protoSchemaOf(fields []Field) (string, error) {
	record := column.Type{Kind: column.Row}
	for _, f := range fields {
		record.Fields = append(record.Fields, column.Field(f))
	}
	var b strings.Builder
	if err := protoMessage(&b, "Record", record, ""); err != nil {
		return "", err
	}
	imports := ""
	if strings.Contains(b.String(), protoTimestamp) {
		imports = "import \"google/protobuf/timestamp.proto\";\n\n"
	}
	return "syntax = \"proto3\";\n\n" + imports + b.String(), nil
}

func protoMessage(b *strings.Builder, name string, t column.Type, indent string) error {
	fmt.Fprintf(b, "%smessage %s {\n", indent, name)
	inner := indent + "  "
	for i, f := range t.Fields {
		if !protoName.MatchString(f.Name) {
			return fmt.Errorf("column %s: a field of Protobuf has letters, digits and _ only", f.Name)
		}
		label, typ := "", ""
		elem := f.Type
		switch f.Type.Kind {
		case column.Array:
			label, elem = "repeated ", *f.Type.Elem
		case column.Map:
			if f.Type.Key.Kind != column.String && !f.Type.Key.Integer() && f.Type.Key.Kind != column.Boolean {
				return fmt.Errorf("column %s: the keys of Protobuf's maps are strings, integers or booleans, not %s", f.Name, f.Type.Key)
			}
			elem = *f.Type.Elem
		case column.Row, column.Timestamp, column.TimestampLTZ: // messages have presence anyway
		default:
			if !f.Type.NotNull {
				label = "optional "
			}
		}
		if elem.Kind == column.Row {
			typ = f.Name + "_row"
			if err := protoMessage(b, typ, elem, inner); err != nil {
				return fmt.Errorf("column %s: %w", f.Name, err)
			}
		} else if typ = protoTypes[elem.Kind]; typ == "" {
			return fmt.Errorf("column %s: Protobuf does not support %s: CAST it, to STRING for example", f.Name, f.Type.Nullable(true))
		}
		if f.Type.Kind == column.Map {
			typ = "map<" + protoTypes[f.Type.Key.Kind] + ", " + typ + ">"
		}
		fmt.Fprintf(b, "%s%s%s %s = %d;\n", inner, label, typ, f.Name, i+1)
	}
	fmt.Fprintf(b, "%s}\n", indent)
	return nil
}

func protoText(fields []Field, o Options) (string, error) {
	if text := o["schema"]; text != "" {
		return text, nil
	}
	return protoSchemaOf(fields)
}

func protoSchema(fields []Field, o Options) (registry.Schema, error) {
	text, err := protoText(fields, o)
	return registry.Schema{Type: registry.Protobuf, Text: text}, err
}

// protoOwn returns the message of the table's own schema and its path in the file.
func protoOwn(fields []Field, o Options) (protoreflect.MessageDescriptor, []int, error) {
	s, err := protoSchema(fields, o)
	if err != nil {
		return nil, nil, err
	}
	file, err := s.CompileProtobuf(context.Background())
	if err != nil {
		return nil, nil, err
	}
	if file.Messages().Len() == 0 {
		return nil, nil, errors.New("the schema has no message")
	}
	wanted := o["message"]
	var all []string
	var find func(messages protoreflect.MessageDescriptors, path []int) (protoreflect.MessageDescriptor, []int)
	find = func(messages protoreflect.MessageDescriptors, path []int) (protoreflect.MessageDescriptor, []int) {
		for i := range messages.Len() {
			m := messages.Get(i)
			at := append(slices.Clone(path), i)
			if all = append(all, string(m.FullName())); wanted == "" || wanted == string(m.FullName()) {
				return m, at
			}
			if in, at := find(m.Messages(), at); in != nil {
				return in, at
			}
		}
		return nil, nil
	}
	m, path := find(file.Messages(), nil)
	if m == nil {
		return nil, nil, fmt.Errorf("the schema has no message %s; it has %s", wanted, strings.Join(all, ", "))
	}
	return m, path, nil
}

// checkProto checks that the columns can be encoded as Protobuf and match the schema, if one is
// set.
func checkProto(fields []Field, o Options) error {
	if err := checkRegistry(o); err != nil {
		return err
	}
	m, _, err := protoOwn(fields, o)
	if err != nil {
		return err
	}
	_, err = protoOutputs(columnFields(fields), m)
	return err
}

func columnFields(fields []Field) []column.Field {
	all := make([]column.Field, len(fields))
	for i, f := range fields {
		all[i] = column.Field(f)
	}
	return all
}
