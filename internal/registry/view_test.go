package registry_test

import (
	"testing"
	"time"

	"github.com/twmb/avro"

	"weir.example/weir/internal/registry"
)

// Avro times are shown as in the json format, in the order of the schema's fields, at any depth.
func TestAvroTimesAsText(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 123_456_000, time.UTC)
	long := func(logical string) string { return `{"type":"long","logicalType":"` + logical + `"}` }
	for name, c := range map[string]struct {
		schema string
		value  any
		want   string
	}{
		"record": {
			`{"type":"record","name":"R","fields":[{"name":"z","type":` + long("timestamp-millis") + `},{"name":"a","type":"long"},
			  {"name":"d","type":{"type":"int","logicalType":"date"}},{"name":"t","type":{"type":"int","logicalType":"time-millis"}},
			  {"name":"local","type":` + long("local-timestamp-micros") + `,"default":0}]}`,
			map[string]any{"z": at, "a": int64(7), "d": at, "t": 3 * time.Second, "local": at},
			`{"z":"2026-01-31T12:00:00.123Z","a":7,"d":"2026-01-31","t":"00:00:03.000","local":"2026-01-31T12:00:00.123456"}`,
		},
		"nested": {
			`{"type":"record","name":"R","fields":[{"name":"all","type":{"type":"array","items":["null",` + long("timestamp-micros") + `]}},
			  {"name":"by","type":{"type":"map","values":{"type":"record","name":"I","fields":[{"name":"at","type":` + long("timestamp-nanos") + `}]}}}]}`,
			map[string]any{"all": []any{nil, at}, "by": map[string]any{"x": map[string]any{"at": at}}},
			`{"all":[null,"2026-01-31T12:00:00.123456Z"],"by":{"x":{"at":"2026-01-31T12:00:00.123456000Z"}}}`,
		},
		"a union with a string": {
			`{"type":"record","name":"R","fields":[{"name":"at","type":["string",` + long("timestamp-millis") + `]}]}`,
			map[string]any{"at": at},
			`{"at":"2026-01-31T12:00:00.123456Z"}`, // as Avro does
		},
		"no times": {`{"type":"record","name":"R","fields":[{"name":"n","type":"long"}]}`, map[string]any{"n": int64(1)}, `{"n":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := avro.MustParse(c.schema).AppendEncode(nil, c.value)
			if err != nil {
				t.Fatal(err)
			}
			view, err := (&registry.Schema{Type: registry.Avro, Text: c.schema}).Viewer(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := view(body); err != nil || string(got) != c.want {
				t.Errorf("%s, %v; want %s", got, err, c.want)
			}
		})
	}
}
