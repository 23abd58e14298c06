package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/registry"
)

// schemaDecoder decodes JSON preceded by the id of a JSON Schema. Documents are decoded as by json;
// the schema is only used to detect columns that could never have a value. It is not safe for
// concurrent use.
type schemaDecoder struct {
	programs[*jsonschema.Schema]
	fields   []Field
	json     *jsonDecoder
	validate bool
}

func newSchemaDecoder(fields []Field, o Options, s *Schemas) (Decoder, error) {
	d := &schemaDecoder{fields: fields, json: newJSONDecoder(fields, o), validate: o.bool("validate")}
	d.programs = newPrograms(s, o, d.compile)
	return d, nil
}

// Dropped implements Dropper.
func (d *schemaDecoder) Dropped() *Dropped { return d.json.Dropped() }

// Decode implements Decoder.
func (d *schemaDecoder) Decode(data []byte, cols []*column.Column) error {
	schema, data, err := d.program(data)
	if err != nil {
		return err
	}
	if d.validate {
		if err := validate(schema, data); err != nil {
			return fmt.Errorf("schema %d: %w", d.last, err)
		}
	}
	return d.json.Decode(data, cols)
}

func validate(schema *jsonschema.Schema, document []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// compile rejects a schema if no value that it allows is accepted by a column.
func (d *schemaDecoder) compile(s *registry.Schema) (*jsonschema.Schema, error) {
	if s.Type != registry.JSON {
		return nil, fmt.Errorf("the schema has type %s, but the format is json-schema-confluent", s.Type)
	}
	schema, err := s.CompileJSON()
	if err != nil {
		return nil, err
	}
	root := referred(schema)
	if types := typesOf(root); types != nil && !slices.Contains(types, "object") {
		return nil, fmt.Errorf("its documents are %v, expected object", types)
	}
	for _, f := range d.fields {
		property := root.Properties[f.Name]
		if property == nil {
			if f.Type.NotNull && slices.Contains(typesOf(root), "object") && root.AdditionalProperties == false {
				return nil, fmt.Errorf("field %s is missing but NOT NULL", f.Name)
			}
			continue
		}
		if types := typesOf(referred(property)); !jsonFits(types, f.Type) {
			return nil, fmt.Errorf("field %s: found %v, expected %s", f.Name, types, f.Type.Nullable(true))
		}
	}
	return schema, nil
}

// jsonFits reports whether a column accepts values of at least one of these types.
func jsonFits(types []string, col column.Type) bool {
	accepted := jsonTypes[col.Kind]
	if types == nil || accepted == nil || len(types) == 1 && types[0] == "null" && !col.NotNull {
		return true
	}
	return slices.ContainsFunc(types, func(t string) bool { return slices.Contains(accepted, t) })
}

// jsonTypes maps column types to the JSON Schema types accepted for them by the json format. STRING
// accepts all.
var jsonTypes = map[column.Kind][]string{
	column.Boolean: {"boolean", "string"}, column.TinyInt: {"integer", "number", "string"}, column.SmallInt: {"integer", "number", "string"},
	column.Int: {"integer", "number", "string"}, column.BigInt: {"integer", "number", "string"}, column.Float: {"integer", "number", "string"},
	column.Double: {"integer", "number", "string"}, column.Decimal: {"integer", "number", "string"}, column.Bytes: {"string"}, column.Date: {"string"},
	column.Time: {"string"}, column.Timestamp: {"string"}, column.TimestampLTZ: {"string"}, column.Array: {"array"}, column.Multiset: {"object"}, column.Map: {"object"}, column.Row: {"object"},
}

func referred(s *jsonschema.Schema) *jsonschema.Schema {
	for range 100 {
		if s.Ref == nil {
			break
		}
		s = s.Ref
	}
	return s
}

// typesOf returns the types declared by a schema; nil if there are none.
func typesOf(s *jsonschema.Schema) []string {
	if s.Types == nil || s.Types.IsEmpty() {
		return nil
	}
	return s.Types.ToStrings()
}

// schemaEncoder encodes JSON preceded by the id of its schema.
type schemaEncoder struct {
	id       int
	json     *jsonEncoder
	validate *jsonschema.Schema // nil if documents are not validated
}

func newSchemaEncoder(fields []Field, o Options, s *Schemas) (Encoder, error) {
	id, ok := s.writer(o.Registry(), o.Subject())
	if !ok {
		return nil, fmt.Errorf("no schema of subject %s is registered yet", o.Subject())
	}
	e := &schemaEncoder{id: id, json: newJSONEncoder(fields, o)}
	if !o.bool("validate") {
		return e, nil
	}
	schema, err := jsonSchema(fields, o)
	if err == nil {
		e.validate, err = schema.CompileJSON()
	}
	return e, err
}

// Dropped implements Dropper.
func (e *schemaEncoder) Dropped() *Dropped { return e.json.Dropped() }

// Encode implements Encoder.
func (e *schemaEncoder) Encode(dst []byte, cols []*column.Column, row int) ([]byte, error) {
	from := len(dst) + registry.HeaderSize
	dst, err := e.json.Encode(registry.AppendHeader(dst, e.id), cols, row)
	if err == nil && e.validate != nil {
		err = validate(e.validate, dst[from:])
	}
	return dst, err
}

func jsonSchema(fields []Field, o Options) (registry.Schema, error) {
	s := registry.Schema{Type: registry.JSON, Text: o["schema"]}
	if s.Text == "" {
		s.Text = jsonSchemaOf(fields)
	}
	return s, nil
}

// jsonSchemaOf returns the schema of columns. It is closed (additionalProperties is false), since
// registries consider adding a column to an open schema incompatible: earlier documents could have
// had anything under its name.
func jsonSchemaOf(fields []Field) string {
	var b bytes.Buffer
	b.WriteString(`{"$schema":"http://json-schema.org/draft-07/schema#","title":"Record",`)
	writeJSONObject(&b, columnFields(fields), false)
	b.WriteByte('}')
	return b.String()
}

// jsonSchemaTypes maps column types to JSON Schema types; all others are strings.
var jsonSchemaTypes = map[column.Kind]string{
	column.Boolean: "boolean", column.TinyInt: "integer", column.SmallInt: "integer", column.Int: "integer", column.BigInt: "integer", column.Float: "number",
	column.Double: "number", column.Decimal: "number", column.Array: "array", column.Multiset: "object", column.Map: "object", column.Row: "object",
}

func writeJSONType(b *bytes.Buffer, name string, null bool) {
	if null {
		fmt.Fprintf(b, `"type":["%s","null"]`, name)
		return
	}
	fmt.Fprintf(b, `"type":"%s"`, name)
}

func writeJSONObject(b *bytes.Buffer, fields []column.Field, null bool) {
	writeJSONType(b, "object", null)
	b.WriteString(`,"additionalProperties":false,"properties":{`)
	required := []string{}
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(append(appendText(nil, f.Name), ':'))
		writeJSONSchema(b, f.Type)
		if f.Type.NotNull {
			required = append(required, f.Name)
		}
	}
	b.WriteByte('}')
	if len(required) > 0 {
		names, _ := json.Marshal(required) // strings always marshal
		fmt.Fprintf(b, `,"required":%s`, names)
	}
}

func writeJSONSchema(b *bytes.Buffer, t column.Type) {
	b.WriteByte('{')
	defer b.WriteByte('}')
	if t.Kind == column.Row {
		writeJSONObject(b, t.Fields, !t.NotNull)
		return
	}
	name := jsonSchemaTypes[t.Kind]
	if name == "" {
		name = "string"
	}
	writeJSONType(b, name, !t.NotNull)
	switch t.Kind {
	case column.Bytes:
		b.WriteString(`,"contentEncoding":"base64"`)
	case column.Date:
		b.WriteString(`,"format":"date"`)
	case column.Array:
		b.WriteString(`,"items":`)
		writeJSONSchema(b, *t.Elem)
	case column.Map, column.Multiset:
		b.WriteString(`,"additionalProperties":`)
		writeJSONSchema(b, *t.Elem)
	}
}

// checkSchemaJSON checks that the columns can be encoded as JSON and match the schema, if one is
// set.
func checkSchemaJSON(fields []Field, o Options) error {
	if err := checkRegistry(o); err != nil {
		return err
	}
	if err := checkJSON(fields, o); err != nil {
		return err
	}
	schema, err := jsonSchema(fields, o)
	if err != nil {
		return err
	}
	_, err = (&schemaDecoder{fields: fields}).compile(&schema)
	return err
}
