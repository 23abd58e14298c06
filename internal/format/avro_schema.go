package format

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/avro"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/registry"
)

// avroName is the name that Flink gives to the record of a table's columns (AvroSchemaConverter).
// Using the same name makes both register the same schema for a table.
const avroName = "org.apache.flink.avro.generated.record"

// avroKind is an Avro type.
type avroKind uint8

const (
	avroNull avroKind = iota
	avroBoolean
	avroInt
	avroLong
	avroFloat
	avroDouble
	avroString
	avroBytes
	avroFixed
	avroEnum
	avroArray
	avroMap
	avroRecord
	avroUnion
)

var avroKinds = map[string]avroKind{
	"null": avroNull, "boolean": avroBoolean, "int": avroInt, "long": avroLong, "float": avroFloat, "double": avroDouble,
	"string": avroString, "bytes": avroBytes, "fixed": avroFixed, "enum": avroEnum, "array": avroArray, "map": avroMap,
	"record": avroRecord, "error": avroRecord, "union": avroUnion,
}

// avroType is a schema with resolved names. It is a graph, since a record may contain itself.
type avroType struct {
	kind             avroKind
	logical          string
	name             string // of a record, enum or fixed
	precision, scale int    // of a decimal
	size             int    // of a fixed
	symbols          []string
	symbolDefault    string
	elem             *avroType // of an array or map
	branches         []*avroType
	fields           []avroField
}

type avroField struct {
	name string
	typ  *avroType
	of   *avro.SchemaField // aliases and default
}

// parseAvro parses a schema and the schemas that it references.
func parseAvro(schema *registry.Schema) (*avroType, error) {
	b := avroBuilder{named: make(map[string]*avroType)}
	for i, in := range schema.Imports { // each import precedes those that depend on it
		if _, err := b.parse(&registry.Schema{Type: registry.Avro, Text: in.Text, Imports: schema.Imports[:i]}); err != nil {
			return nil, err
		}
	}
	return b.parse(schema)
}

// avroBuilder builds types from a schema parsed by the library.
type avroBuilder struct{ named map[string]*avroType }

func (b *avroBuilder) parse(schema *registry.Schema) (*avroType, error) {
	s, err := schema.CompileAvro(avro.WithLaxNames(nil))
	if err != nil {
		return nil, err
	}
	return b.build(s.Root())
}

func (b *avroBuilder) build(n *avro.SchemaNode) (*avroType, error) {
	kind, ok := avroKinds[n.Type]
	if !ok {
		t, ok := b.named[n.Type]
		if !ok {
			return nil, fmt.Errorf("unknown type %s", n.Type)
		}
		return t, nil
	}
	t := &avroType{
		kind: kind, logical: n.LogicalType, precision: n.Precision, scale: n.Scale, size: n.Size, symbols: n.Symbols,
		symbolDefault: n.EnumDefault,
	}
	if kind == avroRecord || kind == avroEnum || kind == avroFixed {
		t.name = n.Name
		if n.Namespace != "" && !strings.Contains(n.Name, ".") {
			t.name = n.Namespace + "." + n.Name
		}
		b.named[t.name] = t
	}
	var err error
	switch kind {
	case avroArray:
		t.elem, err = b.build(n.Items)
	case avroMap:
		t.elem, err = b.build(n.Values)
	case avroUnion:
		for i := range n.Branches {
			branch, err := b.build(&n.Branches[i])
			if err != nil {
				return nil, err
			}
			t.branches = append(t.branches, branch)
		}
	case avroRecord:
		for i := range n.Fields {
			f := &n.Fields[i]
			typ, err := b.build(&f.Type)
			if err != nil {
				return nil, err
			}
			t.fields = append(t.fields, avroField{name: f.Name, typ: typ, of: f})
		}
	}
	return t, err
}

// String formats the type for error messages.
func (t *avroType) String() string {
	switch t.kind {
	case avroUnion:
		names := make([]string, len(t.branches))
		for i, b := range t.branches {
			names[i] = b.String()
		}
		return "[" + strings.Join(names, ", ") + "]"
	case avroRecord:
		return "record " + t.name
	}
	name := ""
	for n, k := range avroKinds {
		if k == t.kind && n != "error" {
			name = n
		}
	}
	if t.logical != "" {
		name += " (" + t.logical + ")"
	}
	return name
}

// nullBranch returns the index of null in a union, or -1.
func (t *avroType) nullBranch() int {
	return slices.IndexFunc(t.branches, func(b *avroType) bool { return b.kind == avroNull })
}

// plain returns the type without its null branch: the other branch of a union of two with null,
// else the type unchanged.
func (t *avroType) plain() *avroType {
	if t.kind == avroUnion && len(t.branches) == 2 {
		if null := t.nullBranch(); null >= 0 {
			return t.branches[1-null]
		}
	}
	return t
}

// avroSchemaOf returns the schema of columns. It is the one that Flink derives from a row type with
// its legacy timestamp mapping, the only mapping that avro-confluent supports. TIMESTAMP_LTZ, which
// Flink rejects there, is encoded like TIMESTAMP.
func avroSchemaOf(fields []Field) (string, error) {
	record := column.Type{Kind: column.Row, NotNull: true}
	for _, f := range fields {
		record.Fields = append(record.Fields, column.Field{Name: f.Name, Type: f.Type})
	}
	schema, err := avroOf(record, avroName)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(schema)
	if err != nil {
		return "", err
	}
	return string(text), nil
}

// Parts of a schema's text, with fields in the order used by Java.
type (
	avroRecordText struct {
		Type      string          `json:"type"`
		Name      string          `json:"name"`
		Namespace string          `json:"namespace,omitempty"`
		Fields    []avroFieldText `json:"fields"`
	}
	avroFieldText struct {
		Name    string           `json:"name"`
		Type    any              `json:"type"`
		Default *json.RawMessage `json:"default,omitempty"`
	}
	avroNestedText struct {
		Type   string `json:"type"`
		Items  any    `json:"items,omitempty"`
		Values any    `json:"values,omitempty"`
	}
	avroLogicalText struct {
		Type      string `json:"type"`
		Logical   string `json:"logicalType"`
		Precision int    `json:"precision,omitempty"`
		Scale     *int   `json:"scale,omitempty"`
	}
)

func avroOf(t column.Type, name string) (any, error) {
	s, err := avroNotNull(t, name)
	if err != nil || t.NotNull {
		return s, err
	}
	return []any{"null", s}, nil
}

func avroNotNull(t column.Type, name string) (any, error) {
	switch t.Kind {
	case column.Boolean:
		return "boolean", nil
	case column.TinyInt, column.SmallInt, column.Int:
		return "int", nil
	case column.BigInt:
		return "long", nil
	case column.Float:
		return "float", nil
	case column.Double:
		return "double", nil
	case column.String:
		return "string", nil
	case column.Bytes:
		return "bytes", nil
	case column.Date:
		return avroLogicalText{Type: "int", Logical: "date"}, nil
	case column.Time:
		return avroLogicalText{Type: "int", Logical: "time-millis"}, nil
	case column.Timestamp, column.TimestampLTZ:
		if t.Precision > 3 {
			return nil, fmt.Errorf("avro-confluent stores timestamps in milliseconds, as in Flink, but the type is %s: CAST it to %s", t.Nullable(true), column.OfTime(t.Kind, 3))
		}
		return avroLogicalText{Type: "long", Logical: "timestamp-millis"}, nil
	case column.Decimal:
		return avroLogicalText{Type: "bytes", Logical: "decimal", Precision: t.Precision, Scale: &t.Scale}, nil
	case column.Array:
		items, err := avroOf(*t.Elem, name)
		return avroNestedText{Type: "array", Items: items}, err
	case column.Map, column.Multiset:
		if t.Key.Kind != column.String {
			return nil, fmt.Errorf("the keys of Avro's maps are strings, not %s", t.Key)
		}
		values, err := avroOf(*t.Elem, name)
		return avroNestedText{Type: "map", Values: values}, err
	case column.Row:
		return avroRecordOf(t, name)
	}
	return nil, fmt.Errorf("type %s is not supported by Avro", t)
}

func avroRecordOf(t column.Type, name string) (any, error) {
	r := avroRecordText{Type: "record", Name: name, Fields: []avroFieldText{}}
	space, short, _ := cutLast(name)
	r.Name = short
	if name == avroName { // nested records inherit the namespace
		r.Namespace = space
	}
	null := json.RawMessage("null")
	for _, f := range t.Fields {
		typ, err := avroOf(f.Type, name+"_"+f.Name)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		field := avroFieldText{Name: f.Name, Type: typ}
		if !f.Type.NotNull {
			field.Default = &null
		}
		r.Fields = append(r.Fields, field)
	}
	return r, nil
}

func cutLast(name string) (before, after string, found bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

// avroText returns the schema for writing columns, which is also the reader's schema.
func avroText(fields []Field, o Options) (string, error) {
	if text := o["schema"]; text != "" {
		return text, nil
	}
	return avroSchemaOf(fields)
}

// avroReader returns the reader's schema of columns: a record with a field for each.
func avroReader(fields []Field, o Options) (*avroType, error) {
	text, err := avroText(fields, o)
	if err != nil {
		return nil, err
	}
	t, err := parseAvro(&registry.Schema{Type: registry.Avro, Text: text})
	if err != nil {
		return nil, fmt.Errorf("the schema: %w", err)
	}
	if t = t.plain(); t.kind != avroRecord {
		return nil, errors.New("the schema is not a record")
	}
	for _, f := range fields {
		if !slices.ContainsFunc(t.fields, func(a avroField) bool { return a.name == f.Name }) {
			return nil, fmt.Errorf("the schema has no field %s", f.Name)
		}
	}
	return t, nil
}

func avroSchema(fields []Field, o Options) (registry.Schema, error) {
	text, err := avroText(fields, o)
	return registry.Schema{Type: registry.Avro, Text: text}, err
}

// checkAvro checks that the columns can be encoded as Avro and match the schema, if one is set.
func checkAvro(fields []Field, o Options) error {
	if err := checkRegistry(o); err != nil {
		return err
	}
	text, err := avroText(fields, o)
	if err != nil {
		return err
	}
	_, err = avroOutputs(fields, text)
	return err
}
