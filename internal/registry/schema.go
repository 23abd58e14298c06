// Package registry is a schema registry's client: it finds the schema that a record was written
// with, and the one for the next record.
//
//	schema.go      a schema; compile.go parses it, imports.go fetches what it imports
//	client.go      lookups by id, cached forever; registration and checks
//	errors.go      classes of errors: wait, dead letter, stop
//	limits.go      refuses hostile schemas by size, nesting and circular references
//	wire.go        Confluent's record header: magic byte, id, Protobuf message indexes
//	subject.go     the subject that a schema is registered under
//	descriptor.go  Protobuf schemas given as descriptors
//	view.go        keys and values as JSON for display; view_avro.go for Avro
//	metrics.go     client requests, for Prometheus
//
// Package compat holds the compatibility rules, package embedded an in-process registry.
package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// Type is the language of a schema, as registries spell it.
type Type string

// The types that every registry knows.
const (
	Avro     Type = "AVRO"
	Protobuf Type = "PROTOBUF"
	JSON     Type = "JSON"
)

// Types lists the types in display order.
var Types = []Type{Avro, Protobuf, JSON}

// ParseType parses a type, ignoring case; the empty string is Avro, as in every registry's
// responses.
func ParseType(s string) (Type, error) {
	switch t := Type(strings.ToUpper(s)); t {
	case "":
		return Avro, nil
	case Avro, Protobuf, JSON:
		return t, nil
	default:
		return "", fmt.Errorf("unknown schema type %q: choose AVRO, PROTOBUF or JSON", s)
	}
}

// TypeOfFile returns a schema's type by its file extension: .avsc, .proto or .json.
func TypeOfFile(name string) (Type, error) {
	switch filepath.Ext(name) {
	case ".avsc":
		return Avro, nil
	case ".proto":
		return Protobuf, nil
	case ".json":
		return JSON, nil
	default:
		return "", fmt.Errorf("unknown schema type of %s: expected the extension .avsc, .proto or .json", name)
	}
}

// Schema is a schema with everything needed to compile it. It is immutable once it has an ID.
type Schema struct {
	ID         int // 0 until it is registered
	Type       Type
	Text       string
	References []Reference
	Imports    []Import // the schemas of References, transitively, without duplicates; dependencies first
}

// Pretty returns the text for display: JSON is indented, other text unchanged.
func (s *Schema) Pretty() string {
	var b bytes.Buffer
	if s.Type == Protobuf || json.Indent(&b, []byte(s.Text), "", "  ") != nil {
		return s.Text
	}
	return b.String()
}

// Reference is a schema's reference to another one in the registry.
type Reference struct {
	Name    string `json:"name"` // its name in the text: a full name in Avro, a path in Protobuf, a $ref in JSON Schema
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// Import is a schema that another one refers to.
type Import struct {
	Name string
	Text string
}

// Version is a schema under a subject.
type Version struct {
	Subject string
	Version int
	Schema  *Schema
}
