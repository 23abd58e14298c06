package compat_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/compat"
)

// pair is a schema and its successor, with the rules violated by reading the older with the newer
// (backward), and the newer with the older (forward).
type pair struct {
	name              string
	older, newer      string
	backward, forward string // rules, separated by spaces; "" is compatible
}

func try(t *testing.T, kind registry.Type, frame string, pairs []pair) {
	t.Helper()
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			older := &registry.Schema{Type: kind, Text: fmt.Sprintf(frame, p.older)}
			newer := &registry.Schema{Type: kind, Text: fmt.Sprintf(frame, p.newer)}
			for _, way := range []struct {
				reader, writer *registry.Schema
				want           string
			}{{newer, older, p.backward}, {older, newer, p.forward}} {
				problems, err := compat.Readable(t.Context(), way.reader, way.writer)
				if err != nil {
					t.Fatal(err)
				}
				var rules []string
				for _, p := range problems {
					rules = append(rules, p.Rule)
				}
				if got := strings.Join(rules, " "); got != way.want {
					t.Errorf("%s\nreads what was written with %s\ngot %q, want %q: %v", way.reader.Text, way.writer.Text, got, way.want, problems)
				}
			}
		})
	}
}

func TestAvro(t *testing.T) {
	try(t, registry.Avro, `{"type":"record","name":"R","fields":[{"name":"id","type":"string"}%s]}`, []pair{
		{"same", ``, ``, "", ""},
		{"field with a default added", ``, `,{"name":"a","type":"string","default":""}`, "", ""},
		{"field without a default added", ``, `,{"name":"a","type":"string"}`, "READER_FIELD_MISSING_DEFAULT_VALUE", ""},
		{"type widened", `,{"name":"a","type":"int"}`, `,{"name":"a","type":"long"}`, "", "TYPE_MISMATCH"},
		{"float to double", `,{"name":"a","type":"float"}`, `,{"name":"a","type":"double"}`, "", "TYPE_MISMATCH"},
		{"string to bytes", `,{"name":"a","type":"string"}`, `,{"name":"a","type":"bytes"}`, "", ""},
		{"type changed", `,{"name":"a","type":"int"}`, `,{"name":"a","type":"string"}`, "TYPE_MISMATCH", "TYPE_MISMATCH"},
		{"made nullable", `,{"name":"a","type":"int"}`, `,{"name":"a","type":["null","int"]}`, "", "TYPE_MISMATCH"},
		{"union grows", `,{"name":"a","type":["null","int"]}`, `,{"name":"a","type":["null","int","string"]}`, "", "MISSING_UNION_BRANCH"},
		{"symbol added", `,{"name":"a","type":{"type":"enum","name":"E","symbols":["A"]}}`, `,{"name":"a","type":{"type":"enum","name":"E","symbols":["A","B"]}}`, "", "MISSING_ENUM_SYMBOLS"},
		{"symbol added with a default", `,{"name":"a","type":{"type":"enum","name":"E","symbols":["A"],"default":"A"}}`, `,{"name":"a","type":{"type":"enum","name":"E","symbols":["A","B"],"default":"A"}}`, "", ""},
		{"fixed grows", `,{"name":"a","type":{"type":"fixed","name":"F","size":4}}`, `,{"name":"a","type":{"type":"fixed","name":"F","size":8}}`, "FIXED_SIZE_MISMATCH", "FIXED_SIZE_MISMATCH"},
		{"items changed", `,{"name":"a","type":{"type":"array","items":"int"}}`, `,{"name":"a","type":{"type":"array","items":"string"}}`, "TYPE_MISMATCH", "TYPE_MISMATCH"},
		{"renamed with an alias", `,{"name":"a","type":"int"}`, `,{"name":"b","type":"int","aliases":["a"]}`, "", "READER_FIELD_MISSING_DEFAULT_VALUE"},
		{"list of itself", `,{"name":"next","type":["null","R"],"default":null}`, `,{"name":"next","type":["null","R"],"default":null},{"name":"n","type":"int","default":0}`, "", ""},
		{"inner record changed", `,{"name":"a","type":{"type":"record","name":"I","fields":[]}}`, `,{"name":"a","type":{"type":"record","name":"I","fields":[{"name":"n","type":"int"}]}}`, "READER_FIELD_MISSING_DEFAULT_VALUE", ""},
	})
	try(t, registry.Avro, `%s`, []pair{
		{"renamed", `{"type":"record","name":"R","fields":[]}`, `{"type":"record","name":"S","fields":[]}`, "NAME_MISMATCH", "NAME_MISMATCH"},
	})
}

func TestProtobuf(t *testing.T) {
	try(t, registry.Protobuf, "syntax = \"proto3\"; package p; enum E { A = 0; } message X {} message Y {}\nmessage M { string id = 1; %s }", []pair{
		{"same", ``, ``, "", ""},
		{"field added", ``, `int32 a = 2;`, "", ""},
		{"field renamed", `int32 a = 2;`, `int32 b = 2;`, "", ""},
		{"same group", `int32 a = 2;`, `uint64 a = 2;`, "", ""},
		{"enum for a number", `int32 a = 2;`, `E a = 2;`, "", ""},
		{"bytes for a string", `string a = 2;`, `bytes a = 2;`, "", ""},
		{"zigzag for a varint", `int32 a = 2;`, `sint32 a = 2;`, "FIELD_SCALAR_KIND_CHANGED", "FIELD_SCALAR_KIND_CHANGED"},
		{"double for a float", `float a = 2;`, `double a = 2;`, "FIELD_SCALAR_KIND_CHANGED", "FIELD_SCALAR_KIND_CHANGED"},
		{"number for a string", `string a = 2;`, `int32 a = 2;`, "FIELD_SCALAR_KIND_CHANGED", "FIELD_SCALAR_KIND_CHANGED"},
		{"message for a string", `string a = 2;`, `X a = 2;`, "FIELD_KIND_CHANGED", "FIELD_KIND_CHANGED"},
		{"other message", `X a = 2;`, `Y a = 2;`, "FIELD_NAMED_TYPE_CHANGED", "FIELD_NAMED_TYPE_CHANGED"},
		{"map for a list", `repeated X a = 2;`, `map<string, X> a = 2;`, "FIELD_KIND_CHANGED", "FIELD_KIND_CHANGED"},
		{"map's value changed", `map<string, int32> a = 2;`, `map<string, string> a = 2;`, "FIELD_SCALAR_KIND_CHANGED", "FIELD_SCALAR_KIND_CHANGED"},
		{"list of numbers for one", `int32 a = 2;`, `repeated int32 a = 2;`, "FIELD_NUMERIC_LABEL_CHANGED", "FIELD_NUMERIC_LABEL_CHANGED"},
		{"list of strings for one", `string a = 2;`, `repeated string a = 2;`, "", ""},
		{"one field into a new oneof", `int32 a = 2;`, `oneof o { int32 a = 2; }`, "", ""},
		{"two fields into a oneof", `int32 a = 2; int32 b = 3;`, `oneof o { int32 a = 2; int32 b = 3; }`, "MULTIPLE_FIELDS_MOVED_TO_ONEOF", ""},
		{"field into a oneof that was there", `int32 a = 2; oneof o { int32 b = 3; }`, `oneof o { int32 a = 2; int32 b = 3; }`, "FIELD_MOVED_TO_EXISTING_ONEOF", ""},
		{"field of a oneof removed", `oneof o { int32 a = 2; int32 b = 3; }`, `oneof o { int32 a = 2; }`, "ONEOF_FIELD_REMOVED", ""},
		{"made optional", `int32 a = 2;`, `optional int32 a = 2;`, "", ""},
		{"message removed", `message I {}`, ``, "MESSAGE_REMOVED", ""},
		{"inner message's field changed", `message I { int32 a = 1; } I i = 2;`, `message I { string a = 1; } I i = 2;`, "FIELD_SCALAR_KIND_CHANGED", "FIELD_SCALAR_KIND_CHANGED"},
		{"message of itself", `M m = 2;`, `M m = 2; int32 a = 3;`, "", ""},
	})
	try(t, registry.Protobuf, "syntax = \"proto2\"; message M { optional string id = 1; %s }", []pair{
		{"required added", ``, `required int32 a = 2;`, "REQUIRED_FIELD_ADDED", "REQUIRED_FIELD_REMOVED"},
		{"group for a message", `message I {} optional I i = 2;`, `optional group I = 2 {}`, "FIELD_NAMED_TYPE_CHANGED", "FIELD_NAMED_TYPE_CHANGED"},
	})
	try(t, registry.Protobuf, `syntax = "proto3"; %s`, []pair{
		{"package changed", `package a; message M {}`, `package b; message M {}`, "PACKAGE_CHANGED", "PACKAGE_CHANGED"},
		{"order changed", `message A {} message B {}`, `message B {} message A {}`, "", ""},
		{"enum removed", `enum E { A = 0; } message M {}`, `message M {}`, "", ""},
	})
}

func TestJSON(t *testing.T) {
	object := `{"type":"object"%s}`
	try(t, registry.JSON, object, []pair{
		{"same", ``, ``, "", ""},
		{"property added, open", ``, `,"properties":{"a":{"type":"string"}}`, "PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", ""},
		{"property of any value added, open", ``, `,"properties":{"a":{}}`, "", ""},
		{"property added, closed", `,"additionalProperties":false`, `,"properties":{"a":{"type":"string"}},"additionalProperties":false`, "", "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL"},
		{"required property added, closed", `,"additionalProperties":false`, `,"properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false`, "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL"},
		{"required property with a default added, closed", `,"additionalProperties":false`, `,"properties":{"a":{"type":"string","default":""}},"required":["a"],"additionalProperties":false`, "", "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL"},
		{"property covered by additionalProperties", `,"additionalProperties":{"type":"string"}`, `,"properties":{"a":{"type":"string"}},"additionalProperties":{"type":"string"}`, "", ""},
		{"property not covered by additionalProperties", `,"additionalProperties":{"type":"string"}`, `,"properties":{"a":{"type":"number"}},"additionalProperties":{"type":"string"}`, "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL"},
		{"property covered by a pattern", `,"patternProperties":{"^a":{"type":"string"}},"additionalProperties":false`, `,"properties":{"ab":{"type":"string"}},"patternProperties":{"^a":{"type":"string"}},"additionalProperties":false`, "", ""},
		{"closed", ``, `,"additionalProperties":false`, "ADDITIONAL_PROPERTIES_REMOVED", ""},
		{"narrowed", ``, `,"additionalProperties":{"type":"string"}`, "ADDITIONAL_PROPERTIES_NARROWED", ""},
		{"made required", `,"properties":{"a":{"type":"string"}}`, `,"properties":{"a":{"type":"string"}},"required":["a"]`, "REQUIRED_ATTRIBUTE_ADDED", ""},
		{"made required with a default", `,"properties":{"a":{"type":"string"}}`, `,"properties":{"a":{"type":"string","default":"x"}},"required":["a"]`, "", ""},
		{"property's type widened", `,"properties":{"a":{"type":"integer"}}`, `,"properties":{"a":{"type":"number"}}`, "", "TYPE_CHANGED"},
		{"made nullable", `,"properties":{"a":{"type":"string"}}`, `,"properties":{"a":{"type":["string","null"]}}`, "", "TYPE_CHANGED"},
		{"needs another one", ``, `,"dependencies":{"a":["b"]}`, "DEPENDENCY_ARRAY_EXTENDED", ""},
		{"more properties", `,"maxProperties":2`, `,"maxProperties":3`, "", "MAX_PROPERTIES_DECREASED"},
		{"title", `,"title":"a","description":"b"`, ``, "", ""},
		{"refers to itself", `,"properties":{"next":{"$ref":"#"},"v":{"type":"integer"}}`, `,"properties":{"next":{"$ref":"#"},"v":{"type":"number"}}`, "", "TYPE_CHANGED"},
	})
	try(t, registry.JSON, `{%s}`, []pair{
		{"any", `"type":"string"`, ``, "", "TYPE_NARROWED"},
		{"type changed", `"type":"string"`, `"type":"boolean"`, "TYPE_CHANGED", "TYPE_CHANGED"},
		{"longer", `"type":"string","maxLength":5`, `"type":"string","maxLength":9`, "", "MAX_LENGTH_DECREASED"},
		{"no longer short", `"type":"string","minLength":5`, `"type":"string"`, "", "MIN_LENGTH_ADDED"},
		{"pattern", `"type":"string"`, `"type":"string","pattern":"^a"`, "PATTERN_CHANGED", ""},
		{"higher", `"type":"number","maximum":5`, `"type":"number","maximum":9`, "", "MAXIMUM_DECREASED"},
		{"lower", `"type":"number","minimum":5`, `"type":"number","minimum":1`, "", "MINIMUM_INCREASED"},
		{"exclusive", `"type":"number","exclusiveMaximum":5`, `"type":"number","maximum":5`, "", "EXCLUSIVE_MAXIMUM_DECREASED"},
		{"multiples", `"type":"number","multipleOf":4`, `"type":"number","multipleOf":2`, "", "MULTIPLE_OF_CHANGED"},
		{"enum grows", `"enum":["a"]`, `"enum":["a","b"]`, "", "ENUM_ARRAY_NARROWED"},
		{"enum opens", `"type":"string","enum":["a"]`, `"type":"string"`, "", "ENUM_ARRAY_NARROWED"},
		{"enum of another type", `"enum":["a"]`, `"type":"integer"`, "ENUM_ARRAY_NARROWED", "ENUM_ARRAY_NARROWED"},
		{"items", `"type":"array","items":{"type":"integer"}`, `"type":"array","items":{"type":"number"}`, "", "TYPE_CHANGED"},
		{"items asked for", `"type":"array"`, `"type":"array","items":{"type":"number"}`, "ADDITIONAL_ITEMS_NARROWED", ""},
		{"more items", `"type":"array","maxItems":1`, `"type":"array","maxItems":2`, "", "MAX_ITEMS_DECREASED"},
		{"unique", `"type":"array"`, `"type":"array","uniqueItems":true`, "UNIQUE_ITEMS_ADDED", ""},
		{"alternative added", `"oneOf":[{"type":"string"}]`, `"oneOf":[{"type":"string"},{"type":"integer"}]`, "", "COMBINED_TYPE_SUBSCHEMAS_CHANGED"},
		{"becomes an alternative", `"type":"string"`, `"anyOf":[{"type":"integer"},{"type":"string"}]`, "", "TYPE_CHANGED"},
		{"part added", `"type":"object"`, `"type":"object","allOf":[{"required":["a"]}]`, "PRODUCT_TYPE_EXTENDED", ""},
		{"excluded", `"type":"string"`, `"type":"string","not":{"maxLength":2}`, "NOT_TYPE_EXTENDED", ""},
		{"condition", `"type":"object"`, `"type":"object","if":{"required":["a"]},"then":{"required":["b"]}`, "CONDITION_CHANGED", ""},
	})
}

func TestLevels(t *testing.T) {
	// Each version can be read with the next one, but not the first with the third: the default was
	// removed in between.
	text := []string{
		`{"type":"record","name":"R","fields":[]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":0}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}`,
	}
	var versions []*registry.Version
	for i, s := range text[:2] {
		versions = append(versions, &registry.Version{Version: i + 1, Schema: &registry.Schema{Type: registry.Avro, Text: s}})
	}
	next := &registry.Schema{Type: registry.Avro, Text: text[2]}
	cannot := "the new schema cannot read what version 1 wrote: READER_FIELD_MISSING_DEFAULT_VALUE at R.a: reader field has no default and is missing from writer"
	want := map[compat.Level][]string{
		compat.None: nil, compat.Backward: nil, compat.BackwardTransitive: {cannot}, compat.Forward: nil, compat.ForwardTransitive: nil,
		compat.Full: nil, compat.FullTransitive: {cannot},
	}
	for _, name := range registry.Levels {
		level, err := compat.ParseLevel(strings.ToLower(name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := compat.Check(t.Context(), level, next, versions)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got { // the library decides where the path starts
			got[i] = strings.Replace(got[i], "at a:", "at R.a:", 1)
		}
		if diff := cmp.Diff(want[level], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", level, diff)
		}
	}
	other := &registry.Schema{Type: registry.JSON, Text: `{}`}
	if got, err := compat.Check(t.Context(), compat.Backward, other, versions); err != nil || len(got) != 1 || !strings.Contains(got[0], "SCHEMA_TYPE_CHANGED") {
		t.Errorf("another type: got %q, %v", got, err)
	}
	if _, err := compat.ParseLevel("SIDEWARD"); err == nil {
		t.Error("unknown level: no error")
	}
}

// Every generated schema is compatible with itself, and comparing does not panic or hang.
func TestEverySchemaReadsItself(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		s := &registry.Schema{Type: registry.JSON, Text: randomJSONSchema(rnd, 4)}
		spaced := &registry.Schema{Type: registry.JSON, Text: s.Text + " "} // identical texts are not compared
		problems, err := compat.Readable(t.Context(), s, spaced)
		if err != nil || len(problems) > 0 {
			t.Fatalf("%s\ngot %v, %v", s.Text, problems, err)
		}
	}
}

// randomJSONSchema returns a schema that may refer to itself below a property.
func randomJSONSchema(r *rand.Rand, depth int) string {
	sub := func() string { return randomJSONSchema(r, depth-1) }
	property := func() string {
		if r.IntN(5) == 0 {
			return `{"$ref":"#"}`
		}
		return sub()
	}
	if depth == 0 || r.IntN(6) == 0 {
		return []string{`{}`, `true`, `{"type":"string"}`, `{"type":"integer","minimum":3}`, `{"enum":[1,"a"]}`, `{"const":null}`}[r.IntN(6)]
	}
	switch r.IntN(7) {
	case 0:
		return fmt.Sprintf(`{"anyOf":[%s,%s]}`, sub(), sub())
	case 1:
		return fmt.Sprintf(`{"type":"array","items":%s}`, property())
	case 2:
		return fmt.Sprintf(`{"type":"array","items":[%s,%s],"additionalItems":%s}`, sub(), property(), sub())
	case 3:
		return fmt.Sprintf(`{"allOf":[%s,%s]}`, sub(), sub())
	case 4:
		return fmt.Sprintf(`{"not":%s}`, sub())
	case 5:
		return fmt.Sprintf(`{"type":"object","properties":{"a":%s},"patternProperties":{"^b":%s},"additionalProperties":%s}`, property(), sub(), sub())
	default:
		return fmt.Sprintf(`{"type":"object","properties":{"a":%s,"b":%s},"required":["a"]}`, sub(), property())
	}
}

func TestNestedAlternativesTerminate(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"definitions":{"x0":{"type":"string","maxLength":1}`)
	for i := 1; i <= 20; i++ {
		fmt.Fprintf(&b, `,"x%d":{"oneOf":[`, i)
		for j := range 8 {
			fmt.Fprintf(&b, `{"type":"object","properties":{"p":{"$ref":"#/definitions/x%d"}},"minProperties":%d},`, i-1, 8-j)
		}
		fmt.Fprintf(&b, `{"$ref":"#/definitions/x%d"}]}`, i-1)
	}
	text := b.String() + `},"$ref":"#/definitions/x20"}`
	other := strings.Replace(text, `"maxLength":1`, `"maxLength":0`, 1)
	_, err := compat.Readable(t.Context(), &registry.Schema{Type: registry.JSON, Text: other}, &registry.Schema{Type: registry.JSON, Text: text})
	if !errors.Is(err, registry.ErrHostile) {
		t.Errorf("got %v", err)
	}
}
