package compat

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/avro"

	"weir.example/weir/internal/registry"
)

// readAvro applies Avro's schema resolution. It stops at the first problem of a pair.
func readAvro(reader, writer *registry.Schema) ([]Problem, error) {
	r, err := reader.CompileAvro()
	if err != nil {
		return nil, err
	}
	w, err := writer.CompileAvro()
	if err != nil {
		return nil, err
	}
	err = avro.CheckCompatibility(w, r)
	var not *avro.CompatibilityError
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &not):
		return []Problem{{Rule: avroRule(not), Path: not.Path, Detail: avroDetail(not)}}, nil
	default:
		return nil, err
	}
}

// avroRule returns the name that Confluent's and Apache's checks use for the library's finding.
func avroRule(e *avro.CompatibilityError) string {
	switch {
	case strings.Contains(e.Detail, "has no default and is missing"):
		return "READER_FIELD_MISSING_DEFAULT_VALUE"
	case strings.Contains(e.Detail, "names do not match"):
		return "NAME_MISMATCH"
	case strings.Contains(e.Detail, "enum symbol"):
		return "MISSING_ENUM_SYMBOLS"
	case strings.Contains(e.Detail, "fixed sizes differ"):
		return "FIXED_SIZE_MISMATCH"
	case strings.Contains(e.Detail, "union branch"):
		return "MISSING_UNION_BRANCH"
	default:
		return "TYPE_MISMATCH"
	}
}

func avroDetail(e *avro.CompatibilityError) string {
	if e.WriterType == "" || e.ReaderType == "" {
		return e.Detail
	}
	return fmt.Sprintf("%s: written as %s, read as %s", e.Detail, e.WriterType, e.ReaderType)
}
