package embedded

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"weir.example/weir/internal/registry"
)

// canonical compiles a schema and returns its stored text: JSON without white space, a .proto file
// unchanged, or printed from a descriptor.
func canonical(ctx context.Context, s *registry.Schema) (string, error) {
	switch s.Type {
	case registry.Avro:
		if _, err := s.CompileAvro(); err != nil {
			return "", err
		}
		return compact(s.Text)
	case registry.JSON:
		if _, err := s.CompileJSON(); err != nil {
			return "", err
		}
		return compact(s.Text)
	default:
		file, err := s.CompileProtobuf(ctx)
		if err != nil {
			return "", err
		}
		if !registry.IsDescriptor(s.Text) {
			return s.Text, nil
		}
		return printProto(file)
	}
}

func compact(text string) (string, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		return "", fmt.Errorf("%w: %w", registry.ErrInvalid, err)
	}
	return b.String(), nil
}

func printProto(file protoreflect.FileDescriptor) (string, error) {
	printer := protoprint.Printer{}
	text, err := printer.PrintProtoToString(file)
	if err != nil {
		return "", fmt.Errorf("%w: print descriptor: %w", registry.ErrInvalid, err)
	}
	return text, nil
}

// fingerprint is equal for equivalent schemas: it ignores white space and key order in JSON, and
// the white space, comments and order of declarations that a Protobuf descriptor does not keep.
func fingerprint(s *stored, imports []registry.Import) (string, error) {
	h := sha256.New()
	put := func(parts ...string) {
		for _, p := range parts {
			fmt.Fprintf(h, "%d:%s", len(p), p)
		}
	}
	references := slices.Clone(s.References)
	slices.SortFunc(references, func(a, b registry.Reference) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range references {
		put(r.Name, r.Subject, fmt.Sprint(r.Version))
	}
	text, err := essence(s.kind(), s.Text, imports)
	if err != nil {
		return "", err
	}
	put(string(s.kind()), text, string(s.Metadata), string(s.RuleSet))
	return hex.EncodeToString(h.Sum(nil)), nil
}

func essence(kind registry.Type, text string, imports []registry.Import) (string, error) {
	if kind == registry.Protobuf {
		file, err := (&registry.Schema{Type: kind, Text: text, Imports: imports}).CompileProtobuf(context.Background())
		if err != nil {
			return text, nil //nolint:nilerr // a schema that is already in the topic is compared as text
		}
		b, err := protoBytes(file)
		return string(b), err
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return text, nil //nolint:nilerr // see above
	}
	if kind == registry.Avro {
		doc = bare(doc)
	}
	b, err := json.Marshal(doc) // sorts keys
	return string(b), err
}

// protoBytes returns the descriptor of a file without what the compiler adds.
func protoBytes(file protoreflect.FileDescriptor) ([]byte, error) {
	d := protodesc.ToFileDescriptorProto(file)
	d.Name, d.SourceCodeInfo = nil, nil
	if d.GetSyntax() == "proto2" {
		d.Syntax = nil
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode descriptor: %w", err)
	}
	return b, nil
}

// bare replaces {"type": "string"} with the equivalent "string" everywhere in an Avro schema.
func bare(doc any) any {
	switch v := doc.(type) {
	case []any:
		for i := range v {
			v[i] = bare(v[i])
		}
	case map[string]any:
		for name, child := range v {
			if name != "default" {
				v[name] = bare(child)
			}
		}
		if t, ok := v["type"].(string); ok && len(v) == 1 {
			return t
		}
	}
	return doc
}
