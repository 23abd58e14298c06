package format

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/registry"
)

// message returns an empty message of a schema, using the library's generic implementation.
func message(t testing.TB, text string, path ...int) *dynamicpb.Message {
	t.Helper()
	s := registry.Schema{Type: registry.Protobuf, Text: text}
	file, err := s.CompileProtobuf(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return dynamicpb.NewMessage(registry.MessageAt(file, path))
}

// protoRecord encodes a message given as JSON.
func protoRecord(t testing.TB, text string, id int, json string, path ...int) []byte {
	t.Helper()
	m := message(t, text, path...)
	if err := protojson.Unmarshal([]byte(json), m); err != nil {
		t.Fatalf("%s: %s", json, err)
	}
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(registry.AppendMessagePath(registry.AppendHeader(nil, id), path), body...)
}

func TestProtoSchemaOfColumns(t *testing.T) {
	place := column.Type{Kind: column.Row, Fields: []column.Field{{Name: "lat", Type: notNull(column.Of(column.Double))}}}
	text, err := protoSchemaOf([]Field{
		{"id", notNull(column.Of(column.String))}, {"value", column.Of(column.Double)}, {"ts", column.OfTime(column.TimestampLTZ, 3)},
		{"tags", column.Type{Kind: column.Array, Elem: &column.Type{Kind: column.String}}}, {"m", dict}, {"place", place},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `syntax = "proto3";

import "google/protobuf/timestamp.proto";

message Record {
  string id = 1;
  optional double value = 2;
  google.protobuf.Timestamp ts = 3;
  repeated string tags = 4;
  map<string, double> m = 5;
  message place_row {
    double lat = 1;
  }
  place_row place = 6;
}
`
	if text != want {
		t.Errorf("schema:\n%s\nwant\n%s", text, want)
	}
	for _, typ := range []column.Type{column.OfDecimal(5, 2), column.Of(column.Date), {Kind: column.Array, Elem: &array}} {
		if err := Check("protobuf-confluent", []Field{{"v", typ}}, confluent); err == nil || !strings.Contains(err.Error(), "Protobuf does not support") {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

// Converting a writer's field to the type of a column.
func TestProtoValues(t *testing.T) {
	ints := column.Type{Kind: column.Array, Elem: &column.Type{Kind: column.BigInt}}
	for _, c := range []struct {
		field string // including other declarations of the schema
		json  string
		to    column.Type
		want  string // or, after "!", a part of the error
	}{
		{"int32 v = 1;", `{"v":-7}`, column.Of(column.Int), "-7"},
		{"int32 v = 1;", `{}`, column.Of(column.Int), "0"},
		{"optional int32 v = 1;", `{}`, column.Of(column.Int), "<nil>"},
		{"optional int32 v = 1;", `{"v":0}`, column.Of(column.Int), "0"},
		{"sint32 v = 1;", `{"v":-7}`, column.Of(column.BigInt), "-7"},
		{"sfixed32 v = 1;", `{"v":-7}`, column.Of(column.Int), "-7"},
		{"uint32 v = 1;", `{"v":4294967295}`, column.Of(column.BigInt), "4294967295"},
		{"uint32 v = 1;", `{"v":1}`, column.Of(column.Int), "!found uint32, expected INT"},
		{"int64 v = 1;", `{"v":"-9223372036854775808"}`, column.Of(column.BigInt), "-9223372036854775808"},
		{"sint64 v = 1;", `{"v":"-5"}`, column.Of(column.BigInt), "-5"},
		{"fixed64 v = 1;", `{"v":"5"}`, column.Of(column.BigInt), "5"},
		{"uint64 v = 1;", `{"v":"18446744073709551615"}`, column.Of(column.BigInt), "!found 18446744073709551615, expected BIGINT"},
		{"int32 v = 1;", `{"v":300}`, column.Of(column.TinyInt), "!found 300, expected TINYINT"},
		{"float v = 1;", `{"v":1.5}`, column.Of(column.Double), "1.5"},
		{"double v = 1;", `{"v":1.5}`, column.Of(column.Double), "1.5"},
		{"double v = 1;", `{"v":1.5}`, column.Of(column.Float), "!found double, expected FLOAT"},
		{"bool v = 1;", `{"v":true}`, column.Of(column.Boolean), "true"},
		{"string v = 100;", `{"v":"é"}`, column.Of(column.String), "é"},
		{"string v = 70000;", `{}`, column.Of(column.String), ""},
		{"bytes v = 1;", `{"v":"/w=="}`, column.Of(column.Bytes), "\xff"},
		{"bytes v = 1;", `{"v":"/w=="}`, column.Of(column.String), "!not UTF-8"},
		{"K v = 1;", `{"v":"B"}`, column.Of(column.String), "B"},
		{"K v = 1;", `{}`, column.Of(column.String), "A"},
		{"K v = 1;", `{"v":7}`, column.Of(column.String), "7"},
		{"K v = 1;", `{"v":"B"}`, column.Of(column.Int), "1"},
		{"google.protobuf.Timestamp v = 1;", `{"v":"2026-01-01T00:00:00.123456789Z"}`, column.OfTime(column.TimestampLTZ, 6), "1767225600123456"},
		{"google.protobuf.Timestamp v = 1;", `{"v":"1969-12-31T23:59:59.999Z"}`, column.OfTime(column.Timestamp, 3), "-1000"},
		{"google.protobuf.Timestamp v = 1;", `{}`, column.OfTime(column.TimestampLTZ, 3), "<nil>"},
		{"google.protobuf.StringValue v = 1;", `{"v":"x"}`, column.Of(column.String), "x"},
		{"google.protobuf.Int64Value v = 1;", `{"v":"0"}`, column.Of(column.BigInt), "0"},
		{"google.protobuf.Int64Value v = 1;", `{}`, column.Of(column.BigInt), "<nil>"},
		{"repeated int64 v = 1;", `{"v":["1","-2"]}`, ints, "[1 -2]"},
		{"repeated int64 v = 1 [packed = false];", `{"v":["1","-2"]}`, ints, "[1 -2]"},
		{"repeated int64 v = 1;", `{}`, ints, "[]"},
		{"repeated P v = 1;", `{"v":[{"x":1},{}]}`, column.Type{Kind: column.Array, Elem: &row}, "[[1 ] [0 ]]"},
		{"map<string, double> v = 1;", `{"v":{"a":1.5}}`, dict, "&{[a] [1.5]}"},
		{"P v = 1;", `{"v":{"x":3,"y":"why","p":{"x":9}}}`, row, "[3 why]"},
		{"P v = 1;", `{}`, row, "<nil>"},
		{"oneof o { string a = 1; int32 v = 2; }", `{"v":7}`, column.Of(column.Int), "7"},
		{"oneof o { string a = 1; int32 v = 2; }", `{"a":"x"}`, column.Of(column.Int), "<nil>"},
		{"int32 w = 1;", `{"w":7}`, column.Of(column.Int), "<nil>"},
		{"int32 w = 1;", `{"w":7}`, notNull(column.Of(column.Int)), "!field v is missing but NOT NULL"},
		{"string v = 1;", `{"v":"x"}`, column.Of(column.Int), "!schema 1 (of the writer) can't be read as the table's columns: field v: found string, expected INT"},
	} {
		text := `syntax = "proto3"; import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto";
			message M { ` + c.field + ` } message P { int32 x = 1; string y = 2; P p = 3; repeated P all = 4; } enum K { A = 0; B = 1; }`
		data := protoRecord(t, text, 1, c.json, 0)
		d, err := NewDecoder("protobuf-confluent", []Field{{"v", c.to}}, confluent, knowing(registry.Protobuf, text))
		if err != nil {
			t.Fatal(err)
		}
		cols := columnsOf([]Field{{"v", c.to}})
		err = d.Decode(data, cols)
		if part, fails := strings.CutPrefix(c.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), part) || cols[0].Len() != 0 {
				t.Errorf("%s %s as %s: %v, want %q", c.field, c.json, c.to, err, part)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %s as %s: %s", c.field, c.json, c.to, err)
		} else if got := rowAs(cols, 0); got != c.want {
			t.Errorf("%s %s as %s: %s, want %s", c.field, c.json, c.to, got, c.want)
		}
	}
}

// Messages of a file are distinguished by their path, and fields by number if the table has a
// schema.
func TestProtoMessagesAndNumbers(t *testing.T) {
	writer := `syntax = "proto3"; message Other { string x = 1; } message Outer { message In { string label = 1; int64 n = 3; } }`
	reader := `syntax = "proto3"; package p; message Skip { int32 z = 1; } message Own { string name = 1; int32 n = 3; int32 more = 9; }`
	fields := []Field{{"name", notNull(column.Of(column.String))}, {"n", notNull(column.Of(column.BigInt))}, {"more", notNull(column.Of(column.Int))}}
	o := with(with(confluent, "schema", reader), "message", "p.Own")
	if _, err := NewDecoder("protobuf-confluent", fields, o, nil); err == nil || !strings.Contains(err.Error(), "BIGINT can't be written as int32") {
		t.Errorf("a column that its own schema can't hold: %v", err)
	}
	fields[1].Type = notNull(column.Of(column.Int))
	s := knowing(registry.Protobuf, strings.Replace(writer, "int64 n", "sfixed32 n", 1))
	d, err := NewDecoder("protobuf-confluent", fields, o, s)
	if err != nil {
		t.Fatal(err)
	}
	cols := columnsOf(fields)
	data := protoRecord(t, strings.Replace(writer, "int64 n", "sfixed32 n", 1), 1, `{"label":"a","n":"7"}`, 1, 0)
	if err := d.Decode(data, cols); err != nil {
		t.Error(err)
	} else if got := rowAs(cols, 0); got != "a 7 0" {
		t.Errorf("row %q", got)
	}
	for _, c := range []struct {
		data []byte
		want string
	}{
		{registry.AppendMessagePath(registry.AppendHeader(nil, 1), []int{1, 5}), "schema 1 has no message [1 5]"},
		{registry.AppendHeader(nil, 1), "no message index"},
		{data[:len(data)-2], "unexpected EOF"},
		{protoRecord(t, writer, 1, `{"x":"a"}`, 0), ""},
	} {
		if err := d.Decode(c.data, cols); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// protoType draws a type that Protobuf can represent.
func protoType(t *rapid.T, depth int, nested bool) column.Type {
	kinds := []column.Kind{column.Boolean, column.TinyInt, column.SmallInt, column.Int, column.BigInt, column.Float, column.Double, column.String, column.Bytes, column.Timestamp, column.TimestampLTZ, column.Row, column.Array, column.Map}
	if depth > 1 {
		kinds = kinds[:11]
	} else if nested {
		kinds = kinds[:12]
	}
	typ := column.Type{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), NotNull: nested || rapid.Bool().Draw(t, "not null")}
	switch typ.Kind {
	case column.Timestamp, column.TimestampLTZ:
		typ.Precision = 6
	case column.Array, column.Map:
		elem := protoType(t, depth+1, true)
		typ.Elem, typ.NotNull = &elem, true
		if typ.Kind == column.Map {
			typ.Key = &column.Type{Kind: column.String, NotNull: true}
		}
	case column.Row:
		for i := range rapid.IntRange(1, 3).Draw(t, "fields") {
			typ.Fields = append(typ.Fields, column.Field{Name: fmt.Sprintf("f%d_%d", depth, i), Type: protoType(t, depth+1, false)})
		}
	}
	return typ
}

// The library reads what Weir writes, and the library's encoding is decoded to the same row.
func TestProtoAgainstTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fields []Field
		for i := range rapid.IntRange(1, 4).Draw(t, "columns") {
			fields = append(fields, Field{fmt.Sprint("c", i), protoType(t, 0, false)})
		}
		schema, err := SchemaOf("protobuf-confluent", fields, confluent)
		if err != nil {
			t.Fatal(err)
		}
		cols := columnsOf(fields)
		for i, f := range fields {
			cols[i].Add(anyValue(t, f.Type))
		}
		s := knowing(registry.Protobuf, schema.Text)
		e, err := NewEncoder("protobuf-confluent", fields, confluent, s)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := e.Encode(nil, cols, 0)
		if err != nil {
			t.Fatal(err)
		}
		file, err := schema.CompileProtobuf(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		m := dynamicpb.NewMessage(file.Messages().Get(0))
		if err := proto.Unmarshal(ours[6:], m); err != nil {
			t.Fatalf("the library: %v", err)
		}
		if len(m.GetUnknown()) > 0 {
			t.Fatal("the library finds unknown fields")
		}
		scalars(t, m, fields, cols)
		theirs, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDecoder("protobuf-confluent", fields, confluent, s)
		if err != nil {
			t.Fatal(err)
		}
		back := columnsOf(fields)
		for _, data := range [][]byte{ours, append(ours[:6:6], theirs...)} {
			if err := d.Decode(data, back); err != nil {
				t.Fatal(err)
			}
		}
		for i := range fields {
			for row := range 2 {
				if want, got := cols[i].Value(0), back[i].Value(row); column.CompareBoxed(want, got) != 0 && !isDict(want) {
					t.Fatalf("column %d: wrote %v, read %v", i, want, got)
				}
			}
		}
	})
}

// scalars compares the library's values of simple fields with the columns.
func scalars(t *rapid.T, m *dynamicpb.Message, fields []Field, cols []*column.Column) {
	for i, f := range fields {
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(f.Name))
		if fd.IsList() || fd.IsMap() || fd.Kind() == protoreflect.MessageKind {
			continue
		}
		var got any
		if m.Has(fd) || !fd.HasPresence() {
			got = m.Get(fd).Interface()
		}
		switch v := got.(type) {
		case int32:
			got = int64(v)
		case float32:
			got = float64(v)
		case []byte:
			got = string(v)
		}
		if want := cols[i].Value(0); column.CompareBoxed(want, got) != 0 {
			t.Fatalf("column %d: wrote %v, the library reads %v", i, want, got)
		}
	}
}

// No record makes the decoder panic, use a disproportionate amount of memory, or leave a partial
// row.
func FuzzProtoDecode(f *testing.F) {
	point := column.Type{Kind: column.Row, Fields: []column.Field{{Name: "x", Type: column.Of(column.Int)}, {Name: "y", Type: array}}}
	fields := []Field{
		{"id", column.Of(column.String)}, {"value", column.Of(column.Double)}, {"ts", column.OfTime(column.TimestampLTZ, 3)}, {"n", column.Of(column.BigInt)},
		{"tags", column.Type{Kind: column.Array, Elem: &column.Type{Kind: column.String}}}, {"m", column.Type{Kind: column.Map, Key: &column.Type{Kind: column.String}, Elem: &point}},
		{"p", point}, {"all", array},
	}
	own, err := protoSchemaOf(fields)
	if err != nil {
		f.Fatal(err)
	}
	other := `syntax = "proto3"; import "google/protobuf/wrappers.proto"; message A { string id = 1; message B { google.protobuf.Int64Value n = 1; B b = 2; map<string, B> more = 3; K id = 4; } enum K { X = 0; } }`
	s := knowing(registry.Protobuf, own, other)
	d, err := NewDecoder("protobuf-confluent", fields, confluent, s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{0, 0, 0, 0, 1, 0})
	f.Add(protoRecord(f, own, 1, `{"id":"a","value":1.5,"ts":"2026-01-01T00:00:00Z","tags":["x"],"m":{"k":{"x":1,"y":[1,2]}},"p":{},"all":[1]}`, 0))
	f.Add(append([]byte{0, 0, 0, 0, 2, 4, 0, 0}, bytes.Repeat(protowire.AppendTag(nil, 2, protowire.StartGroupType), 50)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		cols := columnsOf(fields)
		err := d.Decode(data, cols)
		for _, c := range cols {
			if want := map[bool]int{true: 1, false: 0}[err == nil]; c.Len() != want {
				t.Fatalf("%v: %d values, want %d", err, c.Len(), want)
			}
		}
	})
}
