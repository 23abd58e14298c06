package format

import (
	"strings"
	"testing"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/registry"
)

func TestJSONSchemaOfColumns(t *testing.T) {
	got := jsonSchemaOf([]Field{{"id", notNull(column.Of(column.String))}, {"value", column.Of(column.Double)}, {"tags", array}, {"place", notNull(row)}})
	want := `{"$schema":"http://json-schema.org/draft-07/schema#","title":"Record","type":"object","additionalProperties":false,"properties":{` +
		`"id":{"type":"string"},"value":{"type":["number","null"]},"tags":{"type":["array","null"],"items":{"type":["integer","null"]}},` +
		`"place":{"type":"object","additionalProperties":false,"properties":{"x":{"type":["integer","null"]},"y":{"type":["string","null"]}}}},"required":["id","place"]}`
	if got != want {
		t.Errorf("schema:\n%s\nwant\n%s", got, want)
	}
}

func TestJSONSchemaFormat(t *testing.T) {
	fields := []Field{{"id", notNull(column.Of(column.String))}, {"value", column.Of(column.Double)}, {"ts", column.OfTime(column.TimestampLTZ, 3)}}
	object := func(properties string) string { return `{"type":"object","properties":{` + properties + `}}` }
	s := knowing(registry.JSON, jsonSchemaOf(fields), object(`"value":{"type":"number","minimum":0}`),
		object(`"value":{"type":"boolean"}`), object(`"ts":{"type":["integer","null"]}`), `{"type":"array"}`, `{`, object(`"value":{"type":"null"}`))
	s.SetReader(testURL, "t-value", 1)
	e, err := NewEncoder("json-schema-confluent", fields, confluent, s)
	if err != nil {
		t.Fatal(err)
	}
	cols := columnsOf(fields)
	for i, v := range []any{"a", 1.5, int64(1_000)} {
		cols[i].Add(v)
	}
	data, err := e.Encode(nil, cols, 0)
	if err != nil || string(data[5:]) != `{"id":"a","value":1.5,"ts":"1970-01-01 00:00:00.001Z"}` {
		t.Fatalf("%s, %v", data, err)
	}
	for _, c := range []struct {
		id       int
		document string
		o        Options
		want     string // or, after "!", a part of the error
	}{
		{1, string(data[5:]), confluent, "a 1.5 1000"},
		{2, `{"id":"b","value":-1}`, confluent, "b -1 <nil>"},
		{2, `{"id":"b","value":-1}`, with(confluent, "validate", "true"), "!minimum"},
		{2, `{"id":"b","value":1}`, with(confluent, "validate", "true"), "b 1 <nil>"},
		{2, `{"id":"b","value":"x"}`, confluent, `!field value: found "x", expected DOUBLE`},
		{2, `{"id":"b"`, confluent, "!invalid JSON"},
		{3, `{"id":"c"}`, confluent, "!schema 3 (of the writer) can't be read as schema 1 (of the reader, t-value): field value: found [boolean], expected DOUBLE"},
		{4, `{"id":"c"}`, confluent, "!field ts: found [null integer]"},
		{5, `[]`, confluent, "!expected object"},
		{6, `{}`, confluent, "!schema 6 (of the writer) can't be read"},
		{7, `{"id":"d","value":null}`, confluent, "d <nil> <nil>"},
	} {
		d, err := NewDecoder("json-schema-confluent", fields, c.o, s)
		if err != nil {
			t.Fatal(err)
		}
		back := columnsOf(fields)
		err = d.Decode(append(registry.AppendHeader(nil, c.id), c.document...), back)
		if part, fails := strings.CutPrefix(c.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), part) || back[0].Len() != 0 {
				t.Errorf("schema %d, %s: %v, want %q", c.id, c.document, err, part)
			}
		} else if err != nil {
			t.Errorf("schema %d, %s: %s", c.id, c.document, err)
		} else if got := rowAs(back, 0); got != c.want {
			t.Errorf("schema %d, %s: %s, want %s", c.id, c.document, got, c.want)
		}
	}
	if err := Check("json-schema-confluent", fields, with(confluent, "schema", object(`"value":{"type":"boolean"}`))); err == nil {
		t.Error("a schema that the columns don't fit is accepted")
	}
}

func FuzzJSONSchemaDecode(f *testing.F) {
	fields := []Field{{"id", column.Of(column.String)}, {"tags", array}}
	f.Add(jsonSchemaOf(fields), []byte(`{"id":"a","tags":[1]}`))
	f.Add(`{"$ref":"#"}`, []byte(`{}`))
	f.Fuzz(func(t *testing.T, text string, document []byte) {
		d, err := NewDecoder("json-schema-confluent", fields, with(confluent, "validate", "true"), knowing(registry.JSON, text))
		if err != nil {
			t.Fatal(err)
		}
		cols := columnsOf(fields)
		err = d.Decode(append(registry.AppendHeader(nil, 1), document...), cols)
		for _, c := range cols {
			if want := map[bool]int{true: 1, false: 0}[err == nil]; c.Len() != want {
				t.Fatalf("%v: %d values, want %d", err, c.Len(), want)
			}
		}
	})
}
