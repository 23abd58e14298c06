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

// MainFile is the path of a Protobuf schema among its imports.
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
				return protocompile.SearchResult{}, fmt.Errorf("import %q is neither among the references nor one of Google's own", path)
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

// MessageAt returns the message at a path of the wire format, or nil where the file has none there.
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

// CompileJSON compiles a JSON Schema and its imports, draft 7 where it names none. A $ref is looked
// for among the imports only: nothing is fetched from the network or the disk. The error is an
// ErrInvalid or an ErrHostile.
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

// mainURL is what relative references of a document are relative to: its $id, or a place of its
// own.
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
		return nil, errors.New("not among the references of the schema")
	}
	return jsonschema.UnmarshalJSON(strings.NewReader(text))
}

// refusePanic turns a parser's panic into an error: texts come from outside, and one of them must
// not end the process.
func refusePanic(what string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: the %s parser gave up: %v", ErrInvalid, what, p)
	}
}

// RecordName is the full name of the record that a schema describes: of an Avro record, of the
// first message of a Protobuf file, the title of a JSON Schema. It is "" where there is none.
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
