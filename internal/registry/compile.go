package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/twmb/avro"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// CompileAvro parses an Avro schema and its imports. The error is an ErrInvalid or an ErrHostile.
func (s *Schema) CompileAvro(opts ...avro.SchemaOpt) (out *avro.Schema, err error) {
	defer refusePanic("Avro", &err)
	if err := Vet(Avro, s.Text); err != nil {
		return nil, err
	}
	var cache avro.SchemaCache
	for _, i := range s.Imports {
		if _, err := cache.Parse(i.Text, opts...); err != nil {
			return nil, fmt.Errorf("%w: reference %q: %w", ErrInvalid, i.Name, err)
		}
	}
	out, err = cache.Parse(s.Text, opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return out, nil
}

// MainFile is the path under which a Protobuf schema itself is compiled.
const MainFile = "schema.proto"

// CompileProtobuf compiles a Protobuf schema and its imports. The text is a .proto file, or a
// FileDescriptorProto in base64, as Confluent's client for Python registers it. The error is an
// ErrInvalid or an ErrHostile.
func (s *Schema) CompileProtobuf(ctx context.Context) (out linker.File, err error) {
	defer refusePanic("Protobuf", &err)
	if err := Vet(Protobuf, s.Text); err != nil {
		return nil, err
	}
	files := map[string]string{MainFile: s.Text}
	for _, i := range s.Imports {
		files[i.Name] = i.Text
	}
	compiler := protocompile.Compiler{
		MaxParallelism: 1,
		Resolver: protocompile.WithStandardImports(protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			text, ok := files[path]
			if !ok {
				return protocompile.SearchResult{}, fmt.Errorf("import %q is neither a reference nor a well-known type of Google's", path)
			}
			if file := decodeDescriptor(text); file != nil {
				file.Name = proto.String(path)
				return protocompile.SearchResult{Proto: file}, nil
			}
			return protocompile.SearchResult{Source: strings.NewReader(text)}, nil
		})),
	}
	linked, err := compiler.Compile(ctx, MainFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return linked[0], nil
}

// MessageAt returns the message at a path of the wire format, or nil if there is none.
func MessageAt(file protoreflect.FileDescriptor, path []int) protoreflect.MessageDescriptor {
	var at protoreflect.MessageDescriptor
	messages := file.Messages()
	for _, i := range path {
		if i < 0 || i >= messages.Len() {
			return nil
		}
		at = messages.Get(i)
		messages = at.Messages()
	}
	return at
}

// CompileJSON compiles a JSON Schema and its imports, as draft 7 if it names no draft. A $ref is
// resolved among the imports only: nothing is fetched from the network or read from disk. The error
// is an ErrInvalid or an ErrHostile.
func (s *Schema) CompileJSON() (out *jsonschema.Schema, err error) {
	defer refusePanic("JSON Schema", &err)
	if err := Vet(JSON, s.Text); err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(s.Text))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	at := mainURL(doc)
	imports := importLoader{}
	for _, i := range s.Imports {
		imports[i.Name] = i.Text
		if u, err := at.Parse(i.Name); err == nil {
			imports[u.String()] = i.Text
		}
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	compiler.UseLoader(imports)
	if err := compiler.AddResource(at.String(), doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if out, err = compiler.Compile(at.String()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return out, nil
}

// mainURL returns the base of a document's relative references: its $id, or a placeholder.
func mainURL(doc any) *url.URL {
	if m, ok := doc.(map[string]any); ok {
		id, _ := m["$id"].(string)
		if id == "" {
			id, _ = m["id"].(string)
		}
		if u, err := url.Parse(id); err == nil && u.IsAbs() {
			u.Fragment = ""
			return u
		}
	}
	return &url.URL{Scheme: "registry", Host: "schema", Path: "/main.json"}
}

// importLoader finds the imports of a JSON Schema by name or by URL.
type importLoader map[string]string

func (l importLoader) Load(at string) (any, error) {
	text, ok := l[at]
	if !ok {
		return nil, errors.New("not a reference of the schema")
	}
	return jsonschema.UnmarshalJSON(strings.NewReader(text))
}

// refusePanic converts a parser's panic into an error: texts are untrusted, and none may crash the
// process.
func refusePanic(what string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: the %s parser failed: %v", ErrInvalid, what, p)
	}
}

// RecordName returns the full name of the record that a schema describes: an Avro record's, that of
// the first message of a Protobuf file, or the title of a JSON Schema; "" if there is none.
func (s *Schema) RecordName(ctx context.Context) (string, error) {
	switch s.Type {
	case Avro:
		a, err := s.CompileAvro()
		if err != nil {
			return "", err
		}
		root := a.Root()
		if root.Type != "record" && root.Type != "enum" && root.Type != "fixed" {
			return "", nil
		}
		if root.Namespace != "" && !strings.Contains(root.Name, ".") {
			return root.Namespace + "." + root.Name, nil
		}
		return root.Name, nil
	case Protobuf:
		file, err := s.CompileProtobuf(ctx)
		if err != nil || file.Messages().Len() == 0 {
			return "", err
		}
		return string(file.Messages().Get(0).FullName()), nil
	default:
		var doc struct{ Title string }
		if err := json.Unmarshal([]byte(s.Text), &doc); err != nil {
			return "", fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return doc.Title, nil
	}
}
