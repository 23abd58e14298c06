package produce

import (
	"encoding/json"
	"testing"

	"github.com/twmb/franz-go/pkg/sr/srfake"

	"weir.example/weir/internal/registry"
	"weir.example/weir/reading"
)

// A reading in each format is decoded correctly with the schema in the registry.
func TestRegister(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	client, err := registry.NewClient(registry.Config{URLs: []string{fake.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r := reading.Reading{DeviceID: "press-1", Sensor: "temperature", Value: -0.5, Unit: "Cel", TS: 1_767_225_600_123, Seq: 7}
	for format, c := range map[string]struct {
		strategy registry.Strategy
		subject  string
		ts, seq  any
	}{
		"avro-confluent":        {registry.TopicName, "t-value", "2026-01-01T00:00:00.123Z", 7.0},
		"protobuf-confluent":    {registry.TopicRecordName, "t-weir.SensorReading", "2026-01-01T00:00:00.123Z", "7"},
		"json-schema-confluent": {registry.RecordName, "weir.SensorReading", "2026-01-01T00:00:00.123Z", 7.0},
	} {
		e, err := Register(t.Context(), client, Registered{Format: format, Topic: "t", Strategy: c.strategy})
		if err != nil {
			t.Errorf("%s: %s", format, err)
			continue
		}
		if _, err := client.Latest(t.Context(), c.subject); err != nil {
			t.Errorf("%s: %s", format, err)
		}
		data, err := e.Append(nil, &r)
		if err != nil {
			t.Fatal(err)
		}
		text, ok, err := client.JSON(t.Context(), data)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", format, ok, err)
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"device_id": "press-1", "sensor": "temperature", "value": -0.5, "unit": "Cel", "ts": c.ts, "seq": c.seq, "boot": ""}
		for name, v := range want {
			if got[name] != v {
				t.Errorf("%s: %s is %v, want %v", format, name, got[name], v)
			}
		}
		buffer := make([]byte, 0, 1024)
		if n := testing.AllocsPerRun(100, func() { _, _ = e.Append(buffer, &r) }); n > 0 {
			t.Errorf("%s: %v allocations per reading", format, n)
		}
	}
	if _, err := Register(t.Context(), client, Registered{Format: "avro"}); err == nil {
		t.Error("an unknown format is accepted")
	}
}
