package console

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/embedded"
	"weir.example/weir/reading"
)

// Payloads written with a schema of the registry are decoded.
func TestPayloadsWithSchemas(t *testing.T) {
	at := startCluster(t)
	served, err := embedded.Open(t.Context(), embedded.Config{Broker: at})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = served.Close() })
	schemas, err := registry.NewClient(registry.Config{URLs: []string{served.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	const v1 = `{"type":"record","name":"R","fields":[{"name":"n","type":"long"},{"name":"what","type":"string"}]}`
	id, err := schemas.Register(t.Context(), "readings-value", &registry.Schema{Type: registry.Avro, Text: v1})
	if err != nil {
		t.Fatal(err)
	}
	value, err := avro.MustParse(v1).AppendEncode(registry.AppendHeader(nil, id), map[string]any{"n": int64(42), "what": "ŵeir"})
	if err != nil {
		t.Fatal(err)
	}
	proto := &registry.Schema{Type: registry.Protobuf, Text: `syntax = "proto3"; message M { int64 n = 1; }`}
	protoID, err := schemas.Register(t.Context(), "other-value", proto)
	if err != nil {
		t.Fatal(err)
	}
	message := append(registry.AppendMessagePath(registry.AppendHeader(nil, protoID), []int{0}), 0x08, 0x2a)
	producer := client(t, at, kgo.DefaultProduceTopic("sensor_data_tx"))
	for _, v := range [][]byte{value, message, registry.AppendHeader(nil, 9999), value[:7]} {
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Value: v}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	c := serve(t, Config{Broker: at, Registry: schemas})
	readingID, err := schemas.Register(t.Context(), "sensor_data_tx-value", &registry.Schema{Type: registry.Avro, Text: reading.AvroSchema})
	if err != nil {
		t.Fatal(err)
	}
	for n := int64(0); ; n++ { // until one arrives after the schema is known
		one, err := avro.MustParse(reading.AvroSchema).AppendEncode(registry.AppendHeader(nil, readingID), map[string]any{
			"device_id": "in-avro", "sensor": "temperature", "value": 21.5, "unit": "Cel", "ts": time.UnixMilli(1_700_000_000_000), "seq": n, "boot": "",
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Key: []byte("in-avro"), Value: one}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if _, got := answer(t, "GET", c.URL()+"/api/devices", ""); strings.Contains(got, `"id":"in-avro"`) {
			break
		}
		time.Sleep(50 * time.Millisecond) // between polls, as in eventually
	}
	if _, got := answer(t, "GET", c.URL()+"/api/device?id=in-avro", ""); !strings.Contains(got, `"at":[1700000000000`) || !strings.Contains(got, "21.5") {
		t.Errorf("device that writes Avro: %s", got)
	}
	_, got := answer(t, "GET", c.URL()+"/api/records?topic=sensor_data_tx&from=start", "")
	for _, want := range []string{`"kind":"avro"`, `\"n\":42`, "ŵeir", `"kind":"protobuf"`, `\"n\":\"42\"`, `"schema":9999`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s not found in %s", want, got)
		}
	}
	if n := strings.Count(got, `"kind":"bytes"`); n != 2 {
		t.Errorf("got %d payloads as bytes, want the 2 that cannot be decoded: %s", n, got)
	}
	eventually(t, c.URL()+"/api/schemas", `"name":"readings-value","versions":[1],"type":"AVRO","latest_id":1,"compatibility":"BACKWARD"`)
	if _, got := answer(t, "GET", c.URL()+"/api/schema?subject=readings-value", ""); !strings.Contains(got, `"type":"AVRO"`) || !strings.Contains(got, "what") || !strings.Contains(got, `"compatibility":"BACKWARD"`) {
		t.Errorf("subject: %s", got)
	}
	const v2 = `{"type":"record","name":"R","fields":[{"name":"n","type":"long"},{"name":"unit","type":"string","default":""}]}`
	if _, err := schemas.Register(t.Context(), "readings-value", &registry.Schema{Type: registry.Avro, Text: v2}); err != nil {
		t.Fatal(err)
	}
	_, got = answer(t, "GET", c.URL()+"/api/schema/compare?subject=readings-value&from=1&to=2", "")
	if !strings.Contains(got, `"backward":[]`) || !strings.Contains(got, `"forward":["`) {
		t.Errorf("want version 2 to read version 1 and not vice versa: %s", got)
	}
	if status, got := answer(t, "GET", c.URL()+"/api/schema/compare?subject=readings-value&from=1&to=new", ""); status != 400 {
		t.Errorf("invalid version: status %d, %s", status, got)
	}
}
