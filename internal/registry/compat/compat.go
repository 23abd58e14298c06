// Package compat has the compatibility rules between schemas, those of Confluent's registry:
// https://docs.confluent.io/platform/current/schema-registry/fundamentals/schema-evolution.html
//
//	compat.go      the seven levels, and what each requires of a pair of schemas
//	avro.go        whether data written with one Avro schema can be read with another
//	protobuf.go    the same for Protobuf; jsonschema.go for JSON Schema
//	jsonobject.go  properties of objects by content model
package compat

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/registry"
)

// Level determines which readers and writers must be compatible.
type Level string

// The levels. Backward: the new schema can read data of the last version, so consumers are upgraded
// first. Forward: the last version can read data of the new schema, so producers are upgraded
// first. Full is both. The transitive levels compare with all versions.
const (
	None               Level = "NONE"
	Backward           Level = "BACKWARD"
	BackwardTransitive Level = "BACKWARD_TRANSITIVE"
	Forward            Level = "FORWARD"
	ForwardTransitive  Level = "FORWARD_TRANSITIVE"
	Full               Level = "FULL"
	FullTransitive     Level = "FULL_TRANSITIVE"
)

// ParseLevel parses a level, ignoring case.
func ParseLevel(s string) (Level, error) {
	if level := strings.ToUpper(s); slices.Contains(registry.Levels, level) {
		return Level(level), nil
	}
	return "", fmt.Errorf("unknown compatibility level %q: choose one of %s", s, strings.Join(registry.Levels, ", "))
}

func (l Level) backward() bool   { return strings.HasPrefix(string(l), "BACKWARD") || l.both() }
func (l Level) forward() bool    { return strings.HasPrefix(string(l), "FORWARD") || l.both() }
func (l Level) both() bool       { return strings.HasPrefix(string(l), "FULL") }
func (l Level) transitive() bool { return strings.HasSuffix(string(l), "_TRANSITIVE") }

// Problem is a reason why two schemas are incompatible.
type Problem struct {
	Rule   string // the rule's name in Confluent's registry
	Path   string // of the field or type
	Detail string // actual and expected
}

func (p Problem) String() string {
	if p.Path == "" {
		return fmt.Sprintf("%s: %s", p.Rule, p.Detail)
	}
	return fmt.Sprintf("%s at %s: %s", p.Rule, p.Path, p.Detail)
}

// Check returns the reasons why a schema must not follow the versions of its subject, given in
// ascending order; none if it may. It returns an error if a schema does not compile.
func Check(ctx context.Context, level Level, next *registry.Schema, versions []*registry.Version) ([]string, error) {
	if level == None || len(versions) == 0 {
		return nil, nil
	}
	if !level.transitive() {
		versions = versions[len(versions)-1:]
	}
	var out []string
	for _, v := range slices.Backward(versions) {
		for _, way := range []struct {
			asked          bool
			reader, writer *registry.Schema
			says           string
		}{
			{level.backward(), next, v.Schema, "the new schema cannot read what version %d wrote: %s"},
			{level.forward(), v.Schema, next, "version %d cannot read what the new schema writes: %s"},
		} {
			if !way.asked {
				continue
			}
			problems, err := Readable(ctx, way.reader, way.writer)
			if err != nil {
				return nil, err
			}
			for _, p := range problems {
				out = append(out, fmt.Sprintf(way.says, v.Version, p))
			}
		}
	}
	return out, nil
}

// Reasons returns the problems of [Readable] as text. It is never nil, so that JSON has a list.
func Reasons(ctx context.Context, reader, writer *registry.Schema) ([]string, error) {
	problems, err := Readable(ctx, reader, writer)
	out := []string{}
	for _, p := range problems {
		out = append(out, p.String())
	}
	return out, err
}

// Readable returns the reasons why data written with one schema can't be read with another; none if
// it can.
func Readable(ctx context.Context, reader, writer *registry.Schema) ([]Problem, error) {
	if reader.Type != writer.Type {
		return []Problem{{Rule: "SCHEMA_TYPE_CHANGED", Detail: fmt.Sprintf("one schema is %s, the other %s", writer.Type, reader.Type)}}, nil
	}
	if reader.Text == writer.Text && slices.Equal(reader.Imports, writer.Imports) {
		return nil, nil
	}
	switch reader.Type {
	case registry.Avro:
		return readAvro(reader, writer)
	case registry.Protobuf:
		return readProtobuf(ctx, reader, writer)
	case registry.JSON:
		return readJSON(reader, writer)
	default:
		return nil, fmt.Errorf("%w: unknown type %q", registry.ErrInvalid, reader.Type)
	}
}
