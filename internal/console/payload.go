package console

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// recordRow is a record on a page.
type recordRow struct {
	Partition int32       `json:"partition"`
	Offset    int64       `json:"offset"`
	At        int64       `json:"t"` // timestamp, milliseconds since 1970
	Key       *payload    `json:"key"`
	Value     *payload    `json:"value"` // nil: tombstone
	Headers   []headerRow `json:"headers,omitempty"`
}

type headerRow struct {
	Key   string   `json:"key"`
	Value *payload `json:"value"`
}

// payload is a key or a value with its text.
type payload struct {
	Kind   string `json:"kind"`             // json, text, bytes, or the format of its schema
	Text   string `json:"text"`             // empty for bytes
	Size   int    `json:"size"`             // bytes
	Schema int32  `json:"schema,omitempty"` // id in the registry
	Bytes  string `json:"bytes,omitempty"`  // base64, of payloads that are neither JSON nor text
	Cut    bool   `json:"cut,omitempty"`    // Text or Bytes are truncated
}

// maxShown is the number of bytes of a payload that are sent to the page.
const maxShown = 16 << 10

// decoder returns the text of a payload that starts with a schema ID; ok is false if it cannot
// decode the payload.
type decoder func(schema int32, data []byte) (kind, text string, ok bool)

func show(data []byte, decode decoder) *payload {
	if data == nil {
		return nil
	}
	p := &payload{Size: len(data)}
	shown := data
	if len(shown) > maxShown {
		shown, p.Cut = shown[:maxShown], true
	}
	if id, ok := schemaID(data); ok {
		p.Schema = id
		if decode != nil {
			if kind, text, ok := decode(id, data); ok {
				p.Kind, p.Text = kind, text
				return p
			}
		}
	}
	switch trimmed := strings.TrimSpace(string(shown)); {
	case !p.Cut && trimmed != "" && json.Valid(data):
		p.Kind, p.Text = "json", string(data)
	case readable(shown, p.Cut):
		p.Kind, p.Text = "text", string(shown)
	default:
		p.Kind, p.Bytes = "bytes", base64.StdEncoding.EncodeToString(shown)
	}
	return p
}

// schemaID reads the header of Confluent's wire format: a zero byte and the schema ID.
func schemaID(data []byte) (int32, bool) {
	if len(data) < 5 || data[0] != 0 {
		return 0, false
	}
	return int32(binary.BigEndian.Uint32(data[1:5])), true //nolint:gosec // ids are positive
}

// readable reports whether b is text without control characters. If cut, its last character may be
// incomplete.
func readable(b []byte, cut bool) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return cut && len(b) < utf8.UTFMax
		}
		if r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f {
			return false
		}
		b = b[n:]
	}
	return true
}

func rowOf(r *kgo.Record, decode decoder) recordRow {
	row := recordRow{Partition: r.Partition, Offset: r.Offset, At: r.Timestamp.UnixMilli(), Key: show(r.Key, decode), Value: show(r.Value, decode)}
	for _, h := range r.Headers {
		row.Headers = append(row.Headers, headerRow{h.Key, show(h.Value, nil)})
	}
	return row
}
