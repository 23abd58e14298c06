package registry

import (
	"slices"
	"time"

	"github.com/twmb/avro"
)

// Avro's JSON encoding represents times as numbers. For display they are written as the json format
// does: 2026-01-31T12:00:00.123Z, without Z for local time, 2026-01-31, 12:00:00.123.

// timeFormats maps logical types of times to their text formats.
var timeFormats = map[string]func(time.Time) string{
	"timestamp-millis":       layout("2006-01-02T15:04:05.000Z"),
	"timestamp-micros":       layout("2006-01-02T15:04:05.000000Z"),
	"timestamp-nanos":        layout("2006-01-02T15:04:05.000000000Z"),
	"local-timestamp-millis": layout("2006-01-02T15:04:05.000"),
	"local-timestamp-micros": layout("2006-01-02T15:04:05.000000"),
	"local-timestamp-nanos":  layout("2006-01-02T15:04:05.000000000"),
	"date":                   layout(time.DateOnly),
	"time-millis":            layout("15:04:05.000"),
	"time-micros":            layout("15:04:05.000000"),
}

func layout(text string) func(time.Time) string {
	return func(t time.Time) string { return t.UTC().Format(text) }
}

// avroViewer decodes times as text, and encodes JSON with a schema that has strings in their place.
// If the schema can't be changed this way, for example because a union already has a string, times
// are shown as numbers.
func (s *Schema) avroViewer() (func(body []byte) ([]byte, error), error) {
	plain, err := s.CompileAvro(avro.WithLaxNames(nil))
	if err != nil {
		return nil, err
	}
	numbers := func(body []byte) ([]byte, error) { return avroJSON(plain, plain, body) }
	options := []avro.SchemaOpt{avro.WithLaxNames(nil)}
	for name, format := range timeFormats {
		options = append(options, avro.CustomType{LogicalType: name, Decode: func(v any, of *avro.SchemaNode) (any, error) {
			return format(timeOf(v, of.LogicalType)), nil
		}})
	}
	dated, err := s.CompileAvro(options...)
	if err != nil {
		return numbers, nil //nolint:nilerr // optional
	}
	root := plain.Root()
	if !datesAsText(root) {
		return numbers, nil
	}
	shown, err := root.Schema(avro.WithLaxNames(nil))
	if err != nil {
		return numbers, nil //nolint:nilerr // optional
	}
	return func(body []byte) ([]byte, error) {
		if text, err := avroJSON(dated, shown, body); err == nil {
			return text, nil
		}
		return numbers(body)
	}, nil
}

func avroJSON(read, show *avro.Schema, body []byte) ([]byte, error) {
	var v any
	if _, err := read.Decode(body, &v); err != nil {
		return nil, err
	}
	return show.EncodeJSON(v)
}

// timeOf converts a value of a logical type to a time.
func timeOf(v any, logical string) time.Time {
	n, small := int64(0), false
	switch v := v.(type) {
	case int64:
		n = v
	case int32:
		n, small = int64(v), true
	}
	switch {
	case logical == "date":
		return time.Unix(n*86400, 0)
	case small || logical == "timestamp-millis" || logical == "local-timestamp-millis":
		return time.UnixMilli(n)
	case logical == "timestamp-nanos" || logical == "local-timestamp-nanos":
		return time.Unix(0, n)
	}
	return time.UnixMicro(n)
}

// datesAsText replaces the times below a node with strings, and reports whether there were any.
func datesAsText(n *avro.SchemaNode) (found bool) {
	if timeFormats[n.LogicalType] != nil && slices.Contains([]string{"int", "long"}, n.Type) {
		*n = avro.SchemaNode{Type: "string"}
		return true
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		if datesAsText(&f.Type) {
			f.Default, f.HasDefault = nil, false // it may be a number
			found = true
		}
	}
	for i := range n.Branches {
		found = datesAsText(&n.Branches[i]) || found
	}
	for _, inner := range []*avro.SchemaNode{n.Items, n.Values} {
		if inner != nil {
			found = datesAsText(inner) || found
		}
	}
	return found
}
