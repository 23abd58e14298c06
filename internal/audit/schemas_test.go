package audit

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// A reading with a schema decodes to the same sample as its JSON. What the schema can't decode is
// not a reading. Without the registry there is no verdict.
func TestSchemas(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	text := `{"type":"record","name":"r","fields":[{"name":"device_id","type":"string"},{"name":"sensor","type":"string"},{"name":"value","type":"double"},
		{"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"seq","type":"long"}]}`
	proto := `syntax = "proto3"; import "google/protobuf/timestamp.proto"; message Other {} message R { string device_id = 1; string sensor = 2; double value = 3; google.protobuf.Timestamp ts = 5; int64 seq = 6; }`
	fake.SeedSchema("a-value", 1, 1, sr.Schema{Schema: text})
	fake.SeedSchema("p-value", 1, 2, sr.Schema{Schema: proto, Type: sr.TypeProtobuf})
	fake.SeedSchema("j-value", 1, 3, sr.Schema{Schema: `{"type":"object"}`, Type: sr.TypeJSON})
	client, err := sr.NewClient(sr.URLs(fake.URL()))
	if err != nil {
		t.Fatal(err)
	}
	s := &schemas{ctx: t.Context(), client: client, known: make(map[int]schemaDecoder)}
	record := func(id uint32, body string) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{0}, id), body...)
	}
	encode := func(value float64) string {
		body, err := avro.MustParse(text).Encode(map[string]any{"device_id": "a", "sensor": "t", "value": value, "ts": time.UnixMilli(1500).UTC(), "seq": int64(7)})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	json := `{"device_id":"a","sensor":"t","value":1.5,"ts":"1970-01-01T00:00:01.500Z","seq":7}`
	for name, data := range map[string][]byte{
		"avro":     record(1, encode(1.5)),
		"protobuf": record(2, "\x02\x02\x0a\x01a\x12\x01t\x19\x00\x00\x00\x00\x00\x00\xf8\x3f\x2a\x08\x08\x01\x10\x80\xca\xb5\xee\x01\x30\x07"),
		"json":     record(3, json),
	} {
		text, err := s.json(data)
		if err != nil {
			t.Errorf("%s: %s", name, err)
			continue
		}
		var d decoder
		var got sample
		if _, err := d.decode(text, &got); err != nil {
			t.Errorf("%s: %s is no reading: %s", name, text, err)
		}
		if want := (sample{device: "a", sensor: "t", value: 1.5, ts: 1500, seq: 7}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for name, data := range map[string][]byte{
		"no header": []byte(json), "no such id": record(99, ""), "cut off": record(1, encode(1.5)[:5]), "more": record(1, encode(1.5)+"x"),
		"not finite": record(1, encode(math.NaN())), "no such message": record(2, "\x02\x08"), "no message": record(2, ""),
	} {
		if text, err := s.json(data); !errors.Is(err, errUndecodable) {
			t.Errorf("%s: %s, %v", name, text, err)
		}
	}
	fake.Close()
	if _, err := s.json(record(98, "")); err == nil || errors.Is(err, errUndecodable) {
		t.Errorf("a registry that is down: %v", err)
	}
}
