// Package format is how key and value of a record hold columns: bytes to a batch's columns, and back. Formats and
// their options are Flink's.
//
//	format.go       the formats, their options, Decoder and Encoder
//	json_decode.go  json: a scanner over the wanted fields of a document
//	json_value.go   json: one value to a column of its type
//	json_encode.go  json: columns to a document, as Flink writes it
//	raw.go          raw: one column as its bytes
package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"weir/expr"
	"weir/sql"
)

// Field is one column that a format reads or writes.
type Field struct {
	Name string
	Type expr.Type
}

// Options are a format's options without its name in front: {"timestamp-format.standard": "ISO-8601"}.
type Options map[string]string

// Decoder turns bytes into one row.
type Decoder interface {
	// Decode appends exactly one value to each of cols, where cols[i] is for field i, or nothing and returns an error that says
	// which field is wrong, what was found and what was wanted. Strings may point into data, which must not change
	// afterwards. A column that is nil is skipped.
	Decode(data []byte, cols []*expr.Column) error
}

// Encoder turns one row into bytes.
type Encoder interface {
	// Encode appends the bytes of a row to dst; cols[i] is for field i.
	Encode(dst []byte, cols []*expr.Column, row int) ([]byte, error)
}

// ErrSkip is returned for a document that ignore-parse-errors leaves out.
var ErrSkip = errors.New("not decodable, and ignore-parse-errors is set")

// kind is one format.
type kind struct {
	options map[string]func(value string) error
	check   func(fields []Field, o Options) error
	decoder func(fields []Field, o Options) Decoder
	encoder func(fields []Field, o Options) Encoder
}

func oneOf(values ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("'%s' is none of %s", v, strings.Join(values, ", "))
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

var kinds = map[string]kind{
	"json": {
		options: map[string]func(string) error{
			"fail-on-missing-field": boolean, "ignore-parse-errors": boolean, "timestamp-format.standard": oneOf("SQL", "ISO-8601"),
			"map-null-key.mode": oneOf("FAIL", "DROP", "LITERAL"), "map-null-key.literal": func(string) error { return nil },
			"encode.decimal-as-plain-number": boolean, "encode.ignore-null-fields": boolean, "decode.json-parser.enabled": boolean,
		},
		check:   checkJSON,
		decoder: func(fields []Field, o Options) Decoder { return newJSONDecoder(fields, o) },
		encoder: func(fields []Field, o Options) Encoder { return newJSONEncoder(fields, o) },
	},
	"raw": {
		options: map[string]func(string) error{"charset": oneOf("UTF-8"), "endianness": oneOf("big-endian", "little-endian")},
		check:   checkRaw,
		decoder: func(fields []Field, o Options) Decoder { return rawDecoder{fields[0], byteOrder(o)} },
		encoder: func(fields []Field, o Options) Encoder { return rawEncoder{fields[0], byteOrder(o)} },
	},
}

// Names are the formats.
func Names() []string { return slices.Sorted(maps.Keys(kinds)) }

// Check reports the first option that a format doesn't have or whose value is wrong, and types that it can't hold.
func Check(format string, fields []Field, o Options) error {
	k, ok := kinds[format]
	if !ok {
		return fmt.Errorf("there is no format %s", format)
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		check, ok := k.options[name]
		if !ok {
			known := slices.Sorted(maps.Keys(k.options))
			hint := sql.DidYouMean(name, known)
			if hint == "" {
				hint = "it has " + strings.Join(known, ", ")
			}
			return fmt.Errorf("there is no option '%s.%s': %s", format, name, hint)
		}
		if err := check(o[name]); err != nil {
			return fmt.Errorf("option '%s.%s': %w", format, name, err)
		}
	}
	return k.check(fields, o)
}

// NewDecoder makes the decoder of a format for these fields.
func NewDecoder(format string, fields []Field, o Options) (Decoder, error) {
	if err := Check(format, fields, o); err != nil {
		return nil, err
	}
	return kinds[format].decoder(fields, o), nil
}

// NewEncoder makes the encoder of a format for these fields.
func NewEncoder(format string, fields []Field, o Options) (Encoder, error) {
	if err := Check(format, fields, o); err != nil {
		return nil, err
	}
	return kinds[format].encoder(fields, o), nil
}

func (o Options) bool(name string) bool { return strings.EqualFold(o[name], "true") }

func byteOrder(o Options) binary.ByteOrder {
	if o["endianness"] == "little-endian" {
		return binary.LittleEndian
	}
	return binary.BigEndian
}
