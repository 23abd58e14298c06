// Package format decodes record keys and values into columns, and encodes columns as keys and
// values. Formats and their options are those of Flink.
//
//	format.go       the formats, their options, Decoder and Encoder
//	pairs.go        the entries of a map, with unique keys
//	dropped.go      data that options drop; documents with several rows
//	json_decode.go  json: a scanner for the needed fields of a document
//	json_object.go  json: the fields of a document and of its rows
//	json_time.go    json: dates, times and timestamps
//	json_value.go   json: converting a value to a column's type
//	json_encode.go  json: encoding columns exactly as Flink does
//	csv_decode.go   csv: lines to columns
//	csv_encode.go   csv: columns to lines
//	print.go        print: rows as Flink prints them
//	raw.go          raw: the bytes of a single column
//	registry.go     common to formats with a schema registry: options, known schemas
//	avro_schema.go  avro-confluent: a schema as a graph of types, and the schema of columns
//	avro_resolve.go avro: converting a writer's values to columns by Avro's resolution rules
//	avro_decode.go  avro: records to columns
//	avro_encode.go  avro: columns to records
//	avro_wire.go    avro: the binary encoding
//	json_schema.go  json-schema-confluent: json preceded by a schema id
//	proto_schema.go protobuf-confluent: the schema of columns
//	proto_decode.go protobuf: records to columns
//	proto_program.go
//	                protobuf: a writer's schema compiled to steps that fill columns
//	proto_value.go  protobuf: values of fields
//	proto_encode.go protobuf: columns to records
package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/suggest"
)

// Field is a column that a format reads or writes.
type Field struct {
	Name string
	Type column.Type
}

// Options are the options of a format without the format's prefix: {"timestamp-format.standard":
// "ISO-8601"}.
type Options map[string]string

// Decoder decodes the key or value of a record to one row.
type Decoder interface {
	// Decode appends exactly one value to each of cols, where cols[i] belongs to field i. On error
	// it appends nothing; the error names the field, the value found and what was expected. Strings
	// may alias data, which must not be modified afterwards. A nil column is skipped; the others
	// belong to one batch and have the same length. Nil data is a missing key or value: only raw
	// accepts it, as NULL.
	Decode(data []byte, cols []*column.Column) error
}

// Encoder encodes one row as bytes.
type Encoder interface {
	// Encode appends the encoding of a row to dst; cols[i] belongs to field i. It returns nil if
	// the record should have no key or value, which differs from an empty one.
	Encode(dst []byte, cols []*column.Column, row int) ([]byte, error)
}

// ErrSkip is returned for a document skipped because of ignore-parse-errors.
var ErrSkip = errors.New("not decodable, and ignore-parse-errors is set")

// kind describes a format.
type kind struct {
	options map[string]func(value string) error
	check   func(fields []Field, o Options) error
	decoder func(fields []Field, o Options, s *Schemas) (Decoder, error)
	encoder func(fields []Field, o Options, s *Schemas) (Encoder, error)
	// schema returns the schema of the fields. It is nil for formats without a registry.
	schema func(fields []Field, o Options) (registry.Schema, error)
}

func oneOf(values ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("invalid value '%s', expected one of %s", v, strings.Join(values, ", "))
		}
		return nil
	}
}

func boolean(v string) error {
	if _, err := strconv.ParseBool(v); err != nil {
		return fmt.Errorf("'%s' is neither true nor false", v)
	}
	return nil
}

var jsonOptions = map[string]func(string) error{
	"fail-on-missing-field": boolean, "ignore-parse-errors": boolean, "timestamp-format.standard": oneOf("SQL", "ISO-8601"),
	"map-null-key.mode": oneOf("FAIL", "DROP", "LITERAL"), "map-null-key.literal": anything,
	"encode.decimal-as-plain-number": boolean, "encode.ignore-null-fields": boolean, "decode.json-parser.enabled": boolean,
}

var kinds = map[string]kind{
	"json": {
		options: jsonOptions,
		check:   checkJSON,
		decoder: func(fields []Field, o Options, _ *Schemas) (Decoder, error) { return newJSONDecoder(fields, o), nil },
		encoder: func(fields []Field, o Options, _ *Schemas) (Encoder, error) { return newJSONEncoder(fields, o), nil },
	},
	"csv": {
		options: csvOptions,
		check:   checkCSV,
		decoder: func(fields []Field, o Options, _ *Schemas) (Decoder, error) { return newCSVDecoder(fields, o), nil },
		encoder: func(fields []Field, o Options, _ *Schemas) (Encoder, error) { return newCSVEncoder(fields, o), nil },
	},
	Print: {
		check:   func([]Field, Options) error { return nil },
		encoder: func(fields []Field, _ Options, _ *Schemas) (Encoder, error) { return printEncoder{fields}, nil },
	},
	"raw": {
		options: map[string]func(string) error{"charset": oneOf("UTF-8"), "endianness": oneOf("big-endian", "little-endian")},
		check:   checkRaw,
		decoder: func(fields []Field, o Options, _ *Schemas) (Decoder, error) {
			return rawDecoder{fields[0], byteOrder(o)}, nil
		},
		encoder: func(fields []Field, o Options, _ *Schemas) (Encoder, error) {
			return rawEncoder{fields[0], byteOrder(o)}, nil
		},
	},
	"avro-confluent": {
		options: registryOptions(),
		check:   checkAvro,
		decoder: newAvroDecoder,
		encoder: newAvroEncoder,
		schema:  avroSchema,
	},
	"protobuf-confluent": {
		options: registryOptions(map[string]func(string) error{"message": anything}),
		check:   checkProto,
		decoder: newProtoDecoder,
		encoder: newProtoEncoder,
		schema:  protoSchema,
	},
	"json-schema-confluent": {
		options: registryOptions(jsonOptions, map[string]func(string) error{"validate": boolean}),
		check:   checkSchemaJSON,
		decoder: newSchemaDecoder,
		encoder: newSchemaEncoder,
		schema:  jsonSchema,
	},
}

// Names returns the names of all formats that a table can choose, sorted.
func Names() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(kinds)), func(name string) bool { return name == Print })
}

// Check returns an error for the first option that is unknown or invalid, and for types that the
// format doesn't support.
func Check(format string, fields []Field, o Options) error {
	k, ok := kinds[format]
	if !ok {
		return fmt.Errorf("unknown format %s", format)
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		check, ok := k.options[name]
		if !ok && k.schema != nil && strings.HasPrefix(name, "properties.") {
			continue // for the Java client: ignored here
		}
		if !ok {
			known := slices.Sorted(maps.Keys(k.options))
			hint := suggest.DidYouMean(name, known)
			if hint == "" {
				hint = "it has " + strings.Join(known, ", ")
			}
			return fmt.Errorf("unknown option '%s.%s': %s", format, name, hint)
		}
		if err := check(o[name]); err != nil {
			return fmt.Errorf("option '%s.%s': %w", format, name, err)
		}
	}
	return k.check(fields, o)
}

// NewDecoder returns a decoder of a format for these fields. schemas may be nil for a format
// without a registry.
func NewDecoder(format string, fields []Field, o Options, schemas *Schemas) (Decoder, error) {
	if err := Check(format, fields, o); err != nil {
		return nil, err
	}
	return kinds[format].decoder(fields, o, schemas)
}

// NewEncoder returns an encoder of a format for these fields. For a format with a registry, the
// schema id of the subject must have been set with Schemas.SetWriter.
func NewEncoder(format string, fields []Field, o Options, schemas *Schemas) (Encoder, error) {
	if err := Check(format, fields, o); err != nil {
		return nil, err
	}
	return kinds[format].encoder(fields, o, schemas)
}

// HasRegistry reports whether a format uses a schema registry.
func HasRegistry(format string) bool { return kinds[format].schema != nil }

// SchemaOf returns the schema to register for writing rows of these fields.
func SchemaOf(format string, fields []Field, o Options) (registry.Schema, error) {
	return kinds[format].schema(fields, o)
}

// Fits returns an error if records of a schema can't be read into these fields.
func Fits(format string, fields []Field, o Options, schema *registry.Schema) error {
	s := NewSchemas()
	s.Add(o.Registry(), schema)
	d, err := NewDecoder(format, fields, o, s)
	if err != nil {
		return err
	}
	return d.(fitter).fits(schema) //nolint:forcetypeassert // implemented by all formats with a registry
}

type fitter interface {
	fits(*registry.Schema) error
}

// length returns the number of rows in the columns of a batch.
func length(cols []*column.Column) int {
	for _, c := range cols {
		if c != nil {
			return c.Len()
		}
	}
	return 0
}

// truncate removes the values appended by a row that failed.
func truncate(cols []*column.Column, rows int) {
	for _, c := range cols {
		if c == nil {
			continue
		}
		truncate(c.Fields, rows)
		if c.Len() > rows {
			c.Truncate(rows)
		}
	}
}

// encodingOptions are the options that affect the encoding of a value, with their defaults.
var encodingOptions = map[string]string{
	"timestamp-format.standard": "SQL", "map-null-key.mode": "FAIL", "map-null-key.literal": "null",
	"encode.decimal-as-plain-number": "false", "encode.ignore-null-fields": "false", "endianness": "big-endian",
	"field-delimiter": ",", "quote-character": `"`, "disable-quote-character": "false", "escape-character": "", "null-literal": "",
	"array-element-delimiter": ";", "write-bigdecimal-in-scientific-notation": "false",
}

// Encoding describes how options affect the encoding of a format; "" if they don't. With the same
// format, fields and Encoding, equal rows have equal encodings.
func Encoding(format string, o Options) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(encodingOptions)) {
		if _, has := kinds[format].options[name]; !has {
			continue
		}
		if value := strings.ToLower(o[name]); value != "" && value != strings.ToLower(encodingOptions[name]) {
			fmt.Fprintf(&b, " %s=%s", name, o[name])
		}
	}
	return b.String()
}

func (o Options) bool(name string) bool { return strings.EqualFold(o[name], "true") }

func byteOrder(o Options) binary.ByteOrder {
	if o["endianness"] == "little-endian" {
		return binary.LittleEndian
	}
	return binary.BigEndian
}
