package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/avro"
	"pgregory.net/rapid"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/registry"
)

const testURL = "http://registry"

var confluent = Options{"url": testURL, "subject": "t-value"}

func with(o Options, key, value string) Options {
	c := Options{key: value}
	for k, v := range o {
		c[k] = v
	}
	return c
}

// knowing returns a set with schemas under the ids 1, 2, …, of which the first is the writer's.
func knowing(typ registry.Type, texts ...string) *Schemas {
	s := NewSchemas()
	for i, text := range texts {
		s.Add(testURL, &registry.Schema{ID: i + 1, Type: typ, Text: text})
	}
	s.SetWriter(testURL, "t-value", 1)
	return s
}

func columnsOf(fields []Field) []*column.Column {
	cols := make([]*column.Column, len(fields))
	for i, f := range fields {
		cols[i] = &column.Column{Type: f.Type}
	}
	return cols
}

// rowAs formats the values of a row.
func rowAs(cols []*column.Column, row int) string {
	var all []string
	for _, c := range cols {
		all = append(all, fmt.Sprint(c.Value(row)))
	}
	return strings.Join(all, " ")
}

func notNull(t column.Type) column.Type { return t.Nullable(false) }

// The schema of columns is identical to the one that Flink registers.
func TestAvroSchemaIsFlinks(t *testing.T) {
	inner := column.Type{Kind: column.Row, Fields: []column.Field{{Name: "x", Type: column.Of(column.Int)}}}
	text, err := avroSchemaOf([]Field{
		{"device_id", notNull(column.Of(column.String))}, {"value", column.Of(column.Double)}, {"ts", notNull(column.OfTime(column.Timestamp, 3))},
		{"d", column.Of(column.Date)}, {"price", column.OfDecimal(10, 2)}, {"tags", column.Type{Kind: column.Array, Elem: &column.Type{Kind: column.String, NotNull: true}}},
		{"place", inner},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"record","name":"record","namespace":"org.apache.flink.avro.generated","fields":[` +
		`{"name":"device_id","type":"string"},{"name":"value","type":["null","double"],"default":null},` +
		`{"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},` +
		`{"name":"d","type":["null",{"type":"int","logicalType":"date"}],"default":null},` +
		`{"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}],"default":null},` +
		`{"name":"tags","type":["null",{"type":"array","items":"string"}],"default":null},` +
		`{"name":"place","type":["null",{"type":"record","name":"record_place","fields":[{"name":"x","type":["null","int"],"default":null}]}],"default":null}]}`
	if text != want {
		t.Errorf("schema:\n%s\nwant\n%s", text, want)
	}
}

func TestAvroRefusesTypes(t *testing.T) {
	for _, c := range []struct {
		t    column.Type
		want string
	}{
		{column.OfTime(column.Timestamp, 6), "CAST it to TIMESTAMP(3)"},
		{column.Of(column.IntervalDay), "is not supported by Avro"},
		{column.Type{Kind: column.Map, Key: &column.Type{Kind: column.Int}, Elem: &column.Type{Kind: column.Int}}, "the keys of Avro's maps are strings"},
		{column.OfMultiset(column.Of(column.Int)), "the keys of Avro's maps are strings"},
	} {
		err := Check("avro-confluent", []Field{{"v", c.t}}, confluent)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.t, err, c.want)
		}
	}
	if err := Check("avro-confluent", []Field{{"v", column.Of(column.Int)}}, nil); err == nil || !strings.Contains(err.Error(), "'url'") {
		t.Errorf("without a URL: %v", err)
	}
}

// Avro's schema resolution between the writer's type and the column's type, and the errors of
// records that can't be resolved.
func TestAvroResolution(t *testing.T) {
	long := func(logical string) string { return `{"type":"long","logicalType":"` + logical + `"}` }
	for _, c := range []struct {
		writer string // type of the field v
		value  any    // as accepted by the library's generic encoder
		to     column.Type
		want   string // or, after "!", a part of the error
	}{
		{`"int"`, 7, column.Of(column.BigInt), "7"},
		{`"int"`, 7, column.Of(column.Double), "7"},
		{`"long"`, int64(1) << 40, column.Of(column.Double), "1.099511627776e+12"},
		{`"float"`, float32(1.5), column.Of(column.Double), "1.5"},
		{`"float"`, float32(0.1), column.Of(column.Float), "0.10000000149011612"},
		{`"double"`, 1.5, column.Of(column.Float), "!found double, expected FLOAT"},
		{`"long"`, int64(1), column.Of(column.Int), "!found long, expected INT"},
		{`"string"`, "x", column.Of(column.Int), "!schema 1 (of the writer) can't be read as the table's columns: field v: found string, expected INT"},
		{`"int"`, 300, column.Of(column.TinyInt), "!found 300, expected TINYINT"},
		{`"bytes"`, []byte("abc"), column.Of(column.String), "abc"},
		{`"string"`, "abc", column.Of(column.Bytes), "abc"},
		{`"bytes"`, []byte("a\xff"), column.Of(column.String), "a\uFFFD"},
		{`{"type":"fixed","name":"f","size":2}`, []byte("ab"), column.Of(column.Bytes), "ab"},
		{`{"type":"enum","name":"e","symbols":["A","B"]}`, "B", column.Of(column.String), "B"},
		{`["null","int"]`, nil, column.Of(column.BigInt), "<nil>"},
		{`["null","int"]`, 7, column.Of(column.BigInt), "7"},
		{`["int","null"]`, 7, column.Of(column.BigInt), "7"},
		{`["int","null"]`, nil, column.Of(column.BigInt), "<nil>"},
		{`["null","int","long","string"]`, int64(1) << 40, column.Of(column.BigInt), "1099511627776"},
		{`["null","int","long","string"]`, nil, column.Of(column.BigInt), "<nil>"},
		{`["null","int","long","string"]`, "x", column.Of(column.BigInt), "!found string, expected BIGINT"},
		{`["string","boolean"]`, true, column.Of(column.BigInt), "!found string, expected BIGINT"},
		{long("timestamp-millis"), int64(1500), column.OfTime(column.Timestamp, 3), "1500000"},
		{long("timestamp-micros"), int64(1500), column.OfTime(column.Timestamp, 6), "1500"},
		{long("timestamp-micros"), int64(1500), column.OfTime(column.TimestampLTZ, 3), "1000"},
		{long("local-timestamp-millis"), int64(-1), column.OfTime(column.Timestamp, 3), "-1000"},
		{long("timestamp-nanos"), int64(-1), column.OfTime(column.TimestampLTZ, 6), "-1"},
		{`"long"`, int64(1500), column.OfTime(column.TimestampLTZ, 3), "1500000"},
		{`"long"`, int64(1) << 62, column.OfTime(column.TimestampLTZ, 3), "!does not fit in TIMESTAMP_LTZ(3)"},
		{long("timestamp-micros"), int64(math.MaxInt64), column.OfTime(column.Timestamp, 3), "!more than 290,000 years away"},
		{long("timestamp-millis"), int64(math.MinInt64) / 1000, column.OfTime(column.Timestamp, 3), "!more than 290,000 years away"},
		{`{"type":"int","logicalType":"date"}`, 20_000, column.Of(column.Date), "20000"},
		{`{"type":"int","logicalType":"date"}`, 1<<31 - 1, column.Of(column.Date), "!more than 290,000 years away"},
		{long("timestamp-millis"), int64(1500), column.Of(column.BigInt), "1500"},
		{`{"type":"int","logicalType":"date"}`, 20000, column.Of(column.Date), "20000"},
		{`{"type":"int","logicalType":"time-millis"}`, 500, column.OfTime(column.Time, 3), "500"},
		{`{"type":"int","logicalType":"time-millis"}`, -1, column.OfTime(column.Time, 3), "!not a time of day"},
		{long("time-micros"), int64(500_999), column.OfTime(column.Time, 3), "500"},
		{`{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}`, big.NewRat(-1234, 100), column.OfDecimal(10, 2), "-1234"},
		{`{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}`, big.NewRat(-1234, 100), column.OfDecimal(10, 4), "-123400"},
		{`{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}`, big.NewRat(1234, 100), column.OfDecimal(10, 1), "!expected DECIMAL(10, 1)"},
		{`{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}`, big.NewRat(99999, 100), column.OfDecimal(4, 2), "!more digits"},
		{`{"type":"array","items":"int"}`, []any{1, 2}, column.Type{Kind: column.Array, Elem: &column.Type{Kind: column.BigInt}}, "[1 2]"},
		{`{"type":"map","values":["null","int"]}`, map[string]any{"a": nil}, column.Type{Kind: column.Map, Key: &column.Type{Kind: column.String}, Elem: &column.Type{Kind: column.Int}}, "&{[a] [<nil>]}"},
		{
			`{"type":"record","name":"p","fields":[{"name":"skip","type":{"type":"array","items":"string"}},{"name":"y","type":"string"},{"name":"x","type":"int"}]}`,
			map[string]any{"skip": []any{"a", "b"}, "y": "why", "x": 3},
			column.Type{Kind: column.Row, Fields: []column.Field{{Name: "x", Type: column.Of(column.BigInt)}, {Name: "y", Type: column.Of(column.String)}, {Name: "z", Type: column.Of(column.Int)}}},
			"[3 why <nil>]",
		},
	} {
		text := `{"type":"record","name":"r","fields":[{"name":"v","type":` + c.writer + `}]}`
		s := knowing(registry.Avro, text)
		body, err := avro.MustParse(text).Encode(map[string]any{"v": c.value})
		if err != nil {
			t.Errorf("%s: %s", c.writer, err)
			continue
		}
		fields := []Field{{"v", c.to}}
		d, err := NewDecoder("avro-confluent", fields, confluent, s)
		if err != nil {
			if !strings.HasPrefix(c.want, "!") { // a type that can't be written may still be read
				d, err = NewDecoder("avro-confluent", fields, with(confluent, "schema", text), s)
			}
			if err != nil {
				t.Errorf("%s: %s", c.to, err)
				continue
			}
		}
		cols := columnsOf(fields)
		err = d.Decode(append(registry.AppendHeader(nil, 1), body...), cols)
		if part, fails := strings.CutPrefix(c.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), part) || cols[0].Len() != 0 {
				t.Errorf("%s of %v as %s: %v, want %q", c.writer, c.value, c.to, err, part)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s of %v as %s: %s", c.writer, c.value, c.to, err)
		} else if got := rowAs(cols, 0); got != c.want {
			t.Errorf("%s of %v as %s: %s, want %s", c.writer, c.value, c.to, got, c.want)
		}
	}
}

// A writer's schema may have more or fewer fields than the reader's, other names and another order.
func TestAvroEvolution(t *testing.T) {
	fields := []Field{{"id", notNull(column.Of(column.String))}, {"value", notNull(column.Of(column.Double))}, {"unit", notNull(column.Of(column.String))}, {"kind", column.Of(column.String)}}
	reader := `{"type":"record","name":"r","fields":[{"name":"id","type":"string","aliases":["device"]},{"name":"value","type":"double"},
		{"name":"unit","type":"string","default":"Cel"},{"name":"kind","type":["null",{"type":"enum","name":"k","symbols":["A","OTHER"],"default":"OTHER"}],"default":null}]}`
	writers := []string{
		reader,
		`{"type":"record","name":"r","fields":[{"name":"value","type":"int"},{"name":"more","type":{"type":"map","values":"long"}},{"name":"device","type":"string"}]}`,
		`{"type":"record","name":"r","fields":[{"name":"id","type":"string"},{"name":"value","type":"float"},{"name":"kind","type":{"type":"enum","name":"k","symbols":["NEW","A"]}}]}`,
		`{"type":"record","name":"r","fields":[{"name":"id","type":"string"}]}`,
		`{"type":"record","name":"r","fields":[{"name":"id","type":"string"},{"name":"value","type":"string"}]}`,
		`"string"`,
	}
	s := knowing(registry.Avro, writers...)
	s.SetReader(testURL, "t-value", 1)
	d, err := NewDecoder("avro-confluent", fields, with(confluent, "schema", reader), s)
	if err != nil {
		t.Fatal(err)
	}
	record := func(id int, v any) []byte {
		if id > len(writers) {
			return registry.AppendHeader(nil, id)
		}
		b, err := avro.MustParse(writers[id-1]).AppendEncode(registry.AppendHeader(nil, id), v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	cols := columnsOf(fields)
	for _, c := range []struct {
		data []byte
		want string
	}{
		{record(1, map[string]any{"id": "a", "value": 1.5, "unit": "K", "kind": "A"}), "a 1.5 K A"},
		{record(2, map[string]any{"device": "b", "value": 2, "more": map[string]any{"x": 1, "y": 2}}), "b 2 Cel <nil>"},
		{record(3, map[string]any{"id": "c", "value": 0.5, "kind": "A"}), "c 0.5 Cel A"},
		{record(3, map[string]any{"id": "d", "value": 0.5, "kind": "NEW"}), "d 0.5 Cel OTHER"},
		{record(1, map[string]any{"id": "e", "value": 1.5, "unit": "", "kind": nil}), "e 1.5  <nil>"},
	} {
		n := cols[0].Len()
		if err := d.Decode(c.data, cols); err != nil {
			t.Error(err)
		} else if got := rowAs(cols, n); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	n := cols[0].Len()
	for _, c := range []struct {
		data []byte
		want string
	}{
		{record(4, map[string]any{"id": "a"}), "schema 4 (of the writer) can't be read as schema 1 (of the reader, t-value): field value is missing, has no default, and is NOT NULL"},
		{record(5, map[string]any{"id": "a", "value": "x"}), "schema 5 (of the writer) can't be read as schema 1 (of the reader, t-value): field value: found string, expected DOUBLE"},
		{record(6, "x"), "expected a record"},
		{record(7, nil), "schema 7: not looked up"},
		{record(1, map[string]any{"id": "a", "value": 1.5, "unit": "", "kind": nil})[:9], "field value: the record ends in the middle of a value"},
		{append(record(1, map[string]any{"id": "a", "value": 1.5, "unit": "", "kind": nil}), 0), "1 bytes follow the last field"},
		{[]byte(`{"id":"a"}`), "the magic byte"},
		{[]byte{0, 0}, "no schema id"},
		{nil, "no schema id"},
	} {
		if err := d.Decode(c.data, cols); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
		for i, col := range cols {
			if col.Len() != n {
				t.Fatalf("%s: column %d has %d values, want %d", c.want, i, col.Len(), n)
			}
		}
	}
	s.Refuse(testURL, 7, fmt.Errorf("not in the registry (40403)"))
	if err := d.Decode(record(7, nil), cols); err == nil || err.Error() != "schema 7: not in the registry (40403)" {
		t.Errorf("refused: %v", err)
	}
}

// anyType draws a type that Avro can represent.
func anyType(t *rapid.T, depth int) column.Type {
	kinds := []column.Kind{column.Boolean, column.TinyInt, column.SmallInt, column.Int, column.BigInt, column.Float, column.Double, column.Decimal, column.String, column.Bytes,
		column.Date, column.Time, column.Timestamp, column.TimestampLTZ, column.Array, column.Map, column.Multiset, column.Row}
	if depth > 2 {
		kinds = kinds[:14]
	}
	typ := column.Type{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), NotNull: rapid.Bool().Draw(t, "not null")}
	switch typ.Kind {
	case column.Decimal:
		typ.Precision = rapid.IntRange(1, 38).Draw(t, "precision")
		typ.Scale = rapid.IntRange(0, typ.Precision).Draw(t, "scale")
	case column.Time, column.Timestamp, column.TimestampLTZ:
		typ.Precision = 3
	case column.Array, column.Map:
		elem := anyType(t, depth+1)
		typ.Elem = &elem
		if typ.Kind == column.Map {
			typ.Key = &column.Type{Kind: column.String, NotNull: true}
		}
	case column.Multiset:
		typ = column.OfMultiset(column.Type{Kind: column.String, NotNull: true}).Nullable(!typ.NotNull)
	case column.Row:
		for i := range rapid.IntRange(1, 3).Draw(t, "fields") {
			typ.Fields = append(typ.Fields, column.Field{Name: fmt.Sprintf("f%d_%d", depth, i), Type: anyType(t, depth+1)})
		}
	}
	return typ
}

// anyValue draws a boxed value of a type.
func anyValue(t *rapid.T, typ column.Type) any {
	if !typ.NotNull && rapid.IntRange(0, 3).Draw(t, "null") == 0 {
		return nil
	}
	switch typ.Kind {
	case column.Boolean:
		return rapid.Bool().Draw(t, "v")
	case column.TinyInt:
		return int64(rapid.Int8().Draw(t, "v"))
	case column.SmallInt:
		return int64(rapid.Int16().Draw(t, "v"))
	case column.Int:
		return int64(rapid.Int32().Draw(t, "v"))
	case column.Date:
		return rapid.Int64Range(-100_000_000, 100_000_000).Draw(t, "v")
	case column.BigInt:
		return rapid.Int64().Draw(t, "v")
	case column.Float:
		return float64(rapid.Float32().Draw(t, "v"))
	case column.Double:
		return rapid.Float64().Draw(t, "v")
	case column.String:
		return rapid.String().Draw(t, "v")
	case column.Bytes:
		return string(rapid.SliceOf(rapid.Byte()).Draw(t, "v"))
	case column.Time:
		return rapid.Int64Range(0, 86_399_999).Draw(t, "v")
	case column.Timestamp, column.TimestampLTZ:
		return rapid.Int64Range(-1<<44, 1<<44).Draw(t, "v") * 1000
	case column.Decimal:
		digits := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(typ.Precision)), nil)
		v := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "v"))
		v.Mod(v, digits)
		if rapid.Bool().Draw(t, "negative") {
			v.Neg(v)
		}
		return v
	case column.Array:
		all := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			all = append(all, anyValue(t, *typ.Elem))
		}
		return all
	case column.Map, column.Multiset:
		d := &column.Dict{}
		for i := range rapid.IntRange(0, 3).Draw(t, "n") {
			d.Keys, d.Values = append(d.Keys, fmt.Sprint("k", i)), append(d.Values, anyValue(t, *typ.Elem))
		}
		return d
	}
	row := make([]any, len(typ.Fields))
	for i, f := range typ.Fields {
		row[i] = anyValue(t, f.Type)
	}
	return row
}

// generic converts a value to the representation used by the library's generic decoder.
func generic(v any, typ column.Type) any {
	switch v := v.(type) {
	case int64:
		switch typ.Kind {
		case column.BigInt:
			return v
		case column.Timestamp, column.TimestampLTZ:
			return time.UnixMilli(v / 1000).UTC()
		case column.Date:
			return time.Unix(v*86400, 0).UTC()
		case column.Time:
			return time.Duration(v) * time.Millisecond
		}
		return int32(v)
	case float64:
		if typ.Kind == column.Float {
			return float32(v)
		}
	case string:
		if typ.Kind == column.Bytes {
			return []byte(v)
		}
	case *big.Int:
		return new(big.Rat).SetFrac(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(typ.Scale)), nil))
	case []any:
		if typ.Kind == column.Row {
			m := map[string]any{}
			for i, f := range typ.Fields {
				m[f.Name] = generic(v[i], f.Type)
			}
			return m
		}
		all := []any{}
		for _, x := range v {
			all = append(all, generic(x, *typ.Elem))
		}
		return all
	case *column.Dict:
		m := map[string]any{}
		for i, k := range v.Keys {
			m[k.(string)] = generic(v.Values[i], *typ.Elem)
		}
		return m
	}
	return v
}

// For columns of any type, the library reads what Weir writes and vice versa.
func TestAvroAgainstTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fields []Field
		for i := range rapid.IntRange(1, 4).Draw(t, "columns") {
			fields = append(fields, Field{fmt.Sprint("c", i), anyType(t, 0)})
		}
		text, err := avroSchemaOf(fields)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(text, `"name":"record_`) > 0 && duplicateNames(text) {
			t.Skip("Flink too gives two records in arrays the same name")
		}
		cols := columnsOf(fields)
		want := map[string]any{}
		for i, f := range fields {
			v := anyValue(t, f.Type)
			cols[i].Add(v)
			want[f.Name] = generic(v, f.Type)
		}
		s := knowing(registry.Avro, text)
		e, err := NewEncoder("avro-confluent", fields, confluent, s)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := e.Encode(nil, cols, 0)
		if err != nil {
			t.Fatal(err)
		}
		library := avro.MustParse(text)
		var got any
		rest, err := library.Decode(ours[5:], &got)
		if err != nil || len(rest) > 0 {
			t.Fatalf("the library: %v, %d bytes left", err, len(rest))
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *big.Rat) bool { return a.Cmp(b) == 0 })); diff != "" {
			t.Fatalf("the library reads (-want +got):\n%s", diff)
		}
		theirs, err := library.AppendEncode(registry.AppendHeader(nil, 1), got)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDecoder("avro-confluent", fields, confluent, s)
		if err != nil {
			t.Fatal(err)
		}
		back := columnsOf(fields)
		for _, data := range [][]byte{ours, theirs} {
			if err := d.Decode(data, back); err != nil {
				t.Fatal(err)
			}
		}
		for i := range fields {
			for row := range 2 {
				if column.CompareBoxed(cols[i].Value(0), back[i].Value(row)) != 0 && !isDict(cols[i].Value(0)) {
					t.Fatalf("column %d: wrote %v, read %v", i, cols[i].Value(0), back[i].Value(row))
				}
			}
		}
	})
}

func isDict(v any) bool { _, ok := v.(*column.Dict); return ok }

func duplicateNames(text string) bool {
	var schema any
	if json.Unmarshal([]byte(text), &schema) != nil {
		return true
	}
	_, err := avro.Parse(text)
	return err != nil
}

var sensorFields = []Field{
	{"device_id", notNull(column.Of(column.String))}, {"sensor", notNull(column.Of(column.String))}, {"value", notNull(column.Of(column.Double))},
	{"unit", notNull(column.Of(column.String))}, {"ts", notNull(column.OfTime(column.TimestampLTZ, 3))}, {"seq", notNull(column.Of(column.BigInt))},
	{"boot", column.Of(column.String)},
}

func sensorRow() []*column.Column {
	cols := columnsOf(sensorFields)
	for i, v := range []any{"press-0042", "temperature", 21.5, "Cel", int64(1_767_225_600_123_000), int64(4711), nil} {
		cols[i].Add(v)
	}
	return cols
}

// Formats with a registry don't allocate, neither when decoding all columns or a few, nor when
// encoding.
func TestRegistryFormatsDoNotAllocate(t *testing.T) {
	for _, name := range []string{"avro-confluent", "protobuf-confluent"} {
		if kinds[name].schema == nil {
			t.Fatal(name)
		}
		schema, err := SchemaOf(name, sensorFields, confluent)
		if err != nil {
			t.Fatal(err)
		}
		s := knowing(schema.Type, schema.Text)
		e, err := NewEncoder(name, sensorFields, confluent, s)
		if err != nil {
			t.Fatal(err)
		}
		cols := sensorRow()
		data, err := e.Encode(nil, cols, 0)
		if err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 0, 2*len(data))
		if n := testing.AllocsPerRun(100, func() { _, _ = e.Encode(buffer, cols, 0) }); n != 0 {
			t.Errorf("%s: %v allocations for a row encoded", name, n)
		}
		d, err := NewDecoder(name, sensorFields, confluent, s)
		if err != nil {
			t.Fatal(err)
		}
		for _, few := range []bool{false, true} {
			into := columnsOf(sensorFields)
			if few {
				into[1], into[3], into[6] = nil, nil, nil
			}
			n := testing.AllocsPerRun(100, func() {
				if err := d.Decode(data, into); err != nil {
					t.Fatal(err)
				}
				for _, c := range into {
					if c != nil {
						c.Truncate(0)
					}
				}
			})
			if n != 0 {
				t.Errorf("%s: %v allocations for a row decoded", name, n)
			}
		}
	}
}

// No record makes the decoder panic, use a disproportionate amount of memory, or leave a partial
// row.
func FuzzAvroDecode(f *testing.F) {
	point := column.Type{Kind: column.Row, Fields: []column.Field{{Name: "x", Type: column.Of(column.Int)}}}
	fields := slices.Concat(sensorFields, []Field{{"tags", column.Type{Kind: column.Array, Elem: &column.Type{Kind: column.String}}},
		{"m", column.Type{Kind: column.Map, Key: &column.Type{Kind: column.String}, Elem: &point}}, {"d", column.OfDecimal(20, 3)}})
	own, err := avroSchemaOf(fields)
	if err != nil {
		f.Fatal(err)
	}
	recursive := `{"type":"record","name":"n","fields":[{"name":"device_id","type":"string"},{"name":"sensor","type":"string"},{"name":"value","type":"int"},{"name":"unit","type":"string"},
		{"name":"ts","type":"long"},{"name":"seq","type":"long"},{"name":"next","type":["null","n"]},{"name":"all","type":{"type":"array","items":["n","null"]}}]}`
	s := knowing(registry.Avro, own, recursive)
	d, err := NewDecoder("avro-confluent", fields, confluent, s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{0, 0, 0, 0, 1})
	f.Add(append([]byte{0, 0, 0, 0, 2}, bytes.Repeat([]byte{2}, 60)...))
	f.Add(append([]byte{0, 0, 0, 0, 1}, bytes.Repeat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 8)...))
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

// FuzzAvroSchema feeds the decoder arbitrary schemas, as returned by a registry.
func FuzzAvroSchema(f *testing.F) {
	f.Add(`{"type":"record","name":"r","fields":[{"name":"device_id","type":"string"}]}`, []byte("\x02a"))
	f.Add(`{"type":"record","name":"r","fields":[{"name":"device_id","type":["null","r"]}]}`, bytes.Repeat([]byte{2}, 2000))
	f.Add(`{"type":"record","name":"r","fields":[{"name":"x","type":{"type":"array","items":"null"}}]}`, []byte{0xfe, 0xff, 0xff, 0xff, 0x0f, 0})
	fields := []Field{{"device_id", column.Of(column.String)}, {"x", array}}
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		s := knowing(registry.Avro, text)
		d, err := NewDecoder("avro-confluent", fields, confluent, s)
		if err != nil {
			t.Fatal(err)
		}
		_ = d.Decode(append(registry.AppendHeader(nil, 1), data...), columnsOf(fields))
	})
}
