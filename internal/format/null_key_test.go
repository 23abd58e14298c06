package format

import (
	"strings"
	"testing"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/registry"
)

// A NULL key in a MAP is an error in every format and at any depth, unless a JSON option allows it.
func TestNullKeyOfMapIsAnError(t *testing.T) {
	m := column.Type{Kind: column.Map, Key: &column.Type{Kind: column.String}, Elem: &column.Type{Kind: column.BigInt, NotNull: true}}
	list := column.Type{Kind: column.Array, Elem: &m}
	bad := &column.Dict{Keys: []any{"a", nil}, Values: []any{int64(1), int64(2)}}
	for _, c := range []struct {
		format string
		kind   registry.Type
		t      column.Type
		v      any
	}{
		{"json", "", m, bad},
		{"json", "", list, []any{bad}},
		{"avro-confluent", registry.Avro, m, bad},
		{"avro-confluent", registry.Avro, list, []any{bad}},
		{"protobuf-confluent", registry.Protobuf, m, bad},
	} {
		fields, options, schemas := []Field{{"v", c.t}}, Options(nil), (*Schemas)(nil)
		if c.kind != "" {
			options = confluent
			schema, err := SchemaOf(c.format, fields, options)
			if err != nil {
				t.Fatal(err)
			}
			schemas = knowing(c.kind, schema.Text)
		}
		e, err := NewEncoder(c.format, fields, options, schemas)
		if err != nil {
			t.Fatal(err)
		}
		col := &column.Column{Type: c.t}
		col.Add(c.v)
		if got, err := e.Encode(nil, []*column.Column{col}, 0); err == nil || !strings.Contains(err.Error(), "NULL") {
			t.Errorf("%s of %s: %q, %v, want an error about NULL", c.format, c.t, got, err)
		}
	}
}
