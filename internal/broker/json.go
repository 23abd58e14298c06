package broker

import (
	"encoding/base64"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// PutBytes sets a field of a JSON object to the text of b, to null if b is nil, or to the base64 of
// b, under the field's name with the suffix _base64, if b is not UTF-8.
func PutBytes(object map[string]any, name string, b []byte) {
	switch {
	case b == nil:
		object[name] = nil
	case utf8.Valid(b):
		object[name] = string(b)
	default:
		object[name+"_base64"] = base64.StdEncoding.EncodeToString(b)
	}
}

// JSONHeaders returns the headers of a record as JSON objects with a key and a value. It is empty,
// not nil, for a record without headers.
func JSONHeaders(headers []kgo.RecordHeader) []map[string]any {
	all := make([]map[string]any, len(headers))
	for i, h := range headers {
		all[i] = map[string]any{"key": h.Key}
		PutBytes(all[i], "value", h.Value)
	}
	return all
}
