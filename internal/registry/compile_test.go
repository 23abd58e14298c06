package registry_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	"weir.example/weir/internal/registry"
)

const (
	addressAvro  = `{"type":"record","name":"Address","namespace":"a","fields":[{"name":"street","type":"string"}]}`
	personAvro   = `{"type":"record","name":"Person","namespace":"a","fields":[{"name":"home","type":"a.Address"}]}`
	addressProto = `syntax = "proto3"; package a; message Address { string street = 1; }`
	personProto  = `syntax = "proto3"; package a; import "address.proto"; import "google/protobuf/timestamp.proto";
message Person { Address home = 1; google.protobuf.Timestamp since = 2; message Pet { string name = 1; } } message Other {}`
	addressJSON = `{"type":"object","properties":{"street":{"type":"string"}},"required":["street"]}`
	personJSON  = `{"title":"a.Person","type":"object","properties":{"home":{"$ref":"address.json"}}}`
)

func TestCompileWithImports(t *testing.T) {
	a := &registry.Schema{Type: registry.Avro, Text: personAvro, Imports: []registry.Import{{Name: "a.Address", Text: addressAvro}}}
	schema, err := a.CompileAvro()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := schema.Encode(map[string]any{"home": map[string]any{"street": "Main"}}); err != nil {
		t.Error(err)
	}
	p := &registry.Schema{Type: registry.Protobuf, Text: personProto, Imports: []registry.Import{{Name: "address.proto", Text: addressProto}}}
	file, err := p.CompileProtobuf(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m := registry.MessageAt(file, []int{0, 0}); m == nil || m.FullName() != "a.Person.Pet" {
		t.Errorf("message at 0, 0 is %v", m)
	}
	if m := registry.MessageAt(file, []int{2}); m != nil {
		t.Errorf("message at 2 is %v", m)
	}
	j := &registry.Schema{Type: registry.JSON, Text: personJSON, Imports: []registry.Import{{Name: "address.json", Text: addressJSON}}}
	js, err := j.CompileJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := js.Validate(map[string]any{"home": map[string]any{}}); err == nil {
		t.Error("what the reference requires is not required")
	}
	for _, s := range []*registry.Schema{a, p, j} {
		if name, err := s.RecordName(t.Context()); err != nil || name != "a.Person" {
			t.Errorf("%s: record name %q, %v", s.Type, name, err)
		}
	}
}

func TestCompileDescriptor(t *testing.T) {
	for _, named := range []bool{true, false} { // JSON names, which clients may omit
		text := &registry.Schema{Type: registry.Protobuf, Text: `syntax = "proto3"; package a; message M { string a_b = 1; int32 c_d1_e = 2; }`}
		file, err := text.CompileProtobuf(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d := protodesc.ToFileDescriptorProto(file)
		if !named {
			for _, f := range d.MessageType[0].Field {
				f.JsonName = nil
			}
		}
		b, err := proto.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := (&registry.Schema{Type: registry.Protobuf, Text: base64.StdEncoding.EncodeToString(b)}).CompileProtobuf(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fields := again.Messages().Get(0).Fields()
		if one, two := fields.Get(0).JSONName(), fields.Get(1).JSONName(); one != "aB" || two != "cD1E" {
			t.Errorf("names in JSON: %s, %s", one, two)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	compile := map[registry.Type]func(*registry.Schema) error{
		registry.Avro:     func(s *registry.Schema) error { _, err := s.CompileAvro(); return err },
		registry.Protobuf: func(s *registry.Schema) error { _, err := s.CompileProtobuf(t.Context()); return err },
		registry.JSON:     func(s *registry.Schema) error { _, err := s.CompileJSON(); return err },
	}
	for _, c := range []struct {
		t    registry.Type
		text string
		want error
	}{
		{registry.Avro, ``, registry.ErrInvalid},
		{registry.Avro, personAvro, registry.ErrInvalid},
		{registry.Avro, `{"type":"record","name":"R","fields":[{"name":"n","type":"integer"}]}`, registry.ErrInvalid},
		{registry.Avro, strings.Repeat(`{"type":"array","items":`, 600) + `"int"` + strings.Repeat("}", 600), registry.ErrHostile},
		{registry.Protobuf, `message`, registry.ErrInvalid},
		{registry.Protobuf, personProto, registry.ErrInvalid},
		{registry.Protobuf, `syntax = "proto3"; import "schema.proto"; message A {}`, registry.ErrInvalid},
		{registry.Protobuf, strings.Repeat(`message A {`, 600) + strings.Repeat("}", 600), registry.ErrHostile},
		{registry.JSON, `{"type":`, registry.ErrInvalid},
		{registry.JSON, `{"type":"text"}`, registry.ErrInvalid},
		{registry.JSON, personJSON, registry.ErrInvalid},
		{registry.JSON, `{"$ref":"file:///etc/hostname"}`, registry.ErrInvalid},
		{registry.JSON, strings.Repeat(`{"not":`, 600) + `{}` + strings.Repeat("}", 600), registry.ErrHostile},
		{registry.JSON, strings.Repeat(" ", registry.MaxText+1), registry.ErrHostile},
	} {
		if err := compile[c.t](&registry.Schema{Type: c.t, Text: c.text}); !errors.Is(err, c.want) {
			t.Errorf("%s %.60s: got %v, want %v", c.t, c.text, err, c.want)
		}
	}
}

// Brackets in strings and comments do not count as nesting.
func TestVetReadsStrings(t *testing.T) {
	deep := strings.Repeat("{", 1000)
	for _, s := range []registry.Schema{
		{Type: registry.Avro, Text: `{"type":"string","doc":"` + deep + `\"` + deep + `"}`},
		{Type: registry.Protobuf, Text: "syntax = \"proto3\"; // " + deep + "\n/* " + deep + " */ message A {}"},
	} {
		if err := registry.Vet(s.Type, s.Text); err != nil {
			t.Errorf("%s: %v", s.Type, err)
		}
	}
}

func FuzzVetAndCompile(f *testing.F) {
	for _, s := range []string{reading, addressAvro, addressProto, personJSON, `{"type":"map","values":{"type":"enum","name":"E","symbols":["A"]}}`} {
		f.Add(uint8(0), s)
		f.Add(uint8(1), s)
		f.Add(uint8(2), s)
	}
	f.Fuzz(func(t *testing.T, kind uint8, text string) {
		s := &registry.Schema{Type: registry.Types[int(kind)%3], Text: text}
		_, err := s.RecordName(t.Context())
		if s.Type == registry.JSON {
			_, err = s.CompileJSON()
		}
		if err != nil && !errors.Is(err, registry.ErrInvalid) && !errors.Is(err, registry.ErrHostile) {
			t.Fatalf("an error without a kind: %v", err)
		}
	})
}
