package format

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/registry"
)

// partOf returns a column for a type that stores rows by fields, some of which are not read.
func partOf(t *rapid.T, typ column.Type) *column.Column {
	c := &column.Column{Type: typ}
	if typ.Kind != column.Row || rapid.IntRange(0, 4).Draw(t, "whole") == 0 {
		return c
	}
	c.Fields = make([]*column.Column, len(typ.Fields))
	for i, f := range typ.Fields {
		if rapid.Bool().Draw(t, "read") {
			c.Fields[i] = partOf(t, f.Type)
		}
	}
	return c
}

// reduced returns a value without the fields that a column doesn't store.
func reduced(v any, c *column.Column) any {
	row, ok := v.([]any)
	if !ok || c.Fields == nil {
		return v
	}
	all := make([]any, len(row))
	for i, f := range c.Fields {
		if f != nil {
			all[i] = reduced(row[i], f)
		}
	}
	return all
}

// checkLengths checks that all columns of fields have a value for each row.
func checkLengths(t *rapid.T, c *column.Column, rows int) {
	if c == nil {
		return
	}
	if c.Len() != rows {
		t.Fatalf("a column of %s has %d values, want %d", c.Type, c.Len(), rows)
	}
	for _, f := range c.Fields {
		checkLengths(t, f, rows)
	}
}

// A row that is stored by fields has the values of the same row decoded as a whole, in every
// format. A record that can't be decoded leaves no value in any column; one that can be decoded as
// a whole can be decoded in parts.
func TestParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"json", "avro-confluent", "protobuf-confluent"}).Draw(t, "format")
		var fields []Field
		for i := range rapid.IntRange(1, 3).Draw(t, "columns") {
			typ := anyType(t, 0)
			if name == "protobuf-confluent" {
				typ = protoType(t, 0, false)
			}
			fields = append(fields, Field{fmt.Sprint("c", i), typ})
		}
		o, s := Options{}, (*Schemas)(nil)
		if HasRegistry(name) {
			schema, err := SchemaOf(name, fields, confluent)
			if err != nil {
				t.Fatal(err)
			}
			if schema.Type == registry.Avro && duplicateNames(schema.Text) {
				t.Skip("two records in arrays have the same name")
			}
			o, s = confluent, knowing(schema.Type, schema.Text)
		}
		e, err := NewEncoder(name, fields, o, s)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDecoder(name, fields, o, s)
		if err != nil {
			t.Fatal(err)
		}
		whole, parts := columnsOf(fields), make([]*column.Column, len(fields))
		for i, f := range fields {
			parts[i] = partOf(t, f.Type)
		}
		rows := 0
		for range rapid.IntRange(1, 4).Draw(t, "rows") {
			in := columnsOf(fields)
			for i, f := range fields {
				in[i].Add(anyValue(t, f.Type))
			}
			data, err := e.Encode(nil, in, 0)
			if err != nil {
				t.Skip(err)
			}
			if rapid.IntRange(0, 2).Draw(t, "damage") == 0 && len(data) > 6 {
				data[rapid.IntRange(6, len(data)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
			}
			wholeErr, partsErr := d.Decode(data, whole), d.Decode(data, parts)
			if wholeErr == nil && partsErr != nil {
				t.Fatalf("%q: in parts: %v", data, partsErr)
			}
			if wholeErr != nil && partsErr == nil { // the damage is in a field that is not read
				truncate(parts, rows)
			}
			if wholeErr == nil {
				rows++
			}
			for i := range fields {
				checkLengths(t, parts[i], rows)
			}
		}
		for i := range fields {
			checkLengths(t, parts[i], rows)
			for row := range rows {
				want, got := fmt.Sprintf("%#v", show(reduced(whole[i].Value(row), parts[i]))), fmt.Sprintf("%#v", show(parts[i].Value(row)))
				if want != got {
					t.Fatalf("%s: column %d %s: as a whole %s, in parts %s", name, i, fields[i].Type, want, got)
				}
			}
		}
	})
}

// show formats a boxed value so that equal values have equal texts.
func show(v any) string {
	switch v := v.(type) {
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, show(e))
		}
		return "[" + strings.Join(all, " ") + "]"
	case *column.Dict:
		return show(v.Keys) + show(v.Values)
	}
	return fmt.Sprint(v)
}

// What is not read may have any value; what is not JSON is refused wherever it is.
func TestPartsOfJSON(t *testing.T) {
	row := column.Type{Kind: column.Row, Fields: []column.Field{
		{Name: "x", Type: column.Of(column.Int)}, {Name: "y", Type: column.Of(column.Int)},
		{Name: "in", Type: column.Type{Kind: column.Row, Fields: []column.Field{{Name: "z", Type: column.Of(column.Int)}}}},
	}}
	fields := []Field{{"r", row}, {"n", column.Of(column.Int)}}
	for _, c := range []struct{ options, data, want string }{
		{"", `{"r":{"x":1,"y":2,"in":{"z":3}},"n":4}`, "[1 <nil> [3]] 4"},
		{"", `{"n":4,"r":{"in":{"z":3},"y":"bad","x":1}}`, "[1 <nil> [3]] 4"},
		{"", `{"r":null,"n":4}`, "<nil> 4"},
		{"", `{"n":4}`, "<nil> 4"},
		{"", `{"r":{},"n":4}`, "[<nil> <nil> <nil>] 4"},
		{"", `{"r":{"in":null},"n":4}`, "[<nil> <nil> <nil>] 4"},
		{"", `{"r":{"x":7,"x":8},"r":{"x":1},"n":4}`, "[1 <nil> <nil>] 4"},
		{"", `{"r":{"x":1},"r":null,"n":4}`, "<nil> 4"},
		{"", `{"r":{"\u0078":1},"n":4}`, "[1 <nil> <nil>] 4"},
		{"", `{"r":{"x":"bad"},"n":4}`, `field r: x: found "bad", expected INT`},
		{"", `{"r":{"x":1,"in":{"z":[]}},"n":4}`, `field r: in: z: found [], expected INT`},
		{"", `{"r":[1],"n":4}`, `field r: found [1], expected ROW<x INT, y INT, in ROW<z INT>>`},
		{"", `{"r":{"x":1,"y":tru},"n":4}`, `invalid JSON: found 't' at byte 16, expected a value`},
		{"", `{"r":{"x":1,"y":{"a":1}`, `invalid JSON: found the end at byte 23, expected a comma or }`},
		{"fail-on-missing-field", `{"r":{"x":1,"in":{"z":3}},"n":4}`, "[1 <nil> [3]] 4"},
		{"fail-on-missing-field", `{"r":{"x":1,"in":{}},"n":4}`, "field r: in: z: is missing"},
		{"ignore-parse-errors", `{"r":{"x":"bad","in":{"z":3}},"n":4}`, "[<nil> <nil> [3]] 4"},
		{"ignore-parse-errors", `{"r":{"x":1,"in":[]},"n":4}`, "[1 <nil> <nil>] 4"},
		{"ignore-parse-errors", `{"r":17,"n":4}`, "<nil> 4"},
	} {
		d := newJSONDecoder(fields, Options{c.options: "true"})
		r := &column.Column{Type: row, Fields: []*column.Column{
			{Type: row.Fields[0].Type}, nil,
			{Type: row.Fields[2].Type, Fields: []*column.Column{{Type: column.Of(column.Int)}}},
		}}
		cols := []*column.Column{r, {Type: column.Of(column.Int)}}
		got := ""
		if err := d.Decode([]byte(c.data), cols); err != nil {
			got = err.Error()
			if len(r.Null)+len(r.Fields[0].Null)+len(r.Fields[2].Null)+len(r.Fields[2].Fields[0].Null) > 0 {
				t.Errorf("%s: values are left after %v", c.data, err)
			}
		} else {
			got = rowAs(cols, 0)
		}
		if got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.options, c.data, got, c.want)
		}
	}
	// Nesting is limited as in a value that is skipped.
	deep := `{"r":{"y":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + "}}"
	r := &column.Column{Type: row, Fields: make([]*column.Column, 3)}
	if err := newJSONDecoder(fields, nil).Decode([]byte(deep), []*column.Column{r, nil}); err == nil {
		t.Error("deep nesting in a field that is not read is accepted")
	}
}
