package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/embedded"
)

// Versions of the readings' schema: one adds a field with a default, one widens two types, and one
// is incompatible.
const (
	readingV1 = `{"type":"record","name":"Reading","fields":[{"name":"device_id","type":"string"},{"name":"x","type":"float"},{"name":"n","type":"int"}]}`
	readingV2 = `{"type":"record","name":"Reading","fields":[{"name":"device_id","type":"string"},{"name":"x","type":"float"},{"name":"n","type":"int"},{"name":"unit","type":"string","default":"Cel"}]}`
	readingV3 = `{"type":"record","name":"Reading","fields":[{"name":"device_id","type":"string"},{"name":"x","type":"double"},{"name":"n","type":"long"},{"name":"unit","type":"string","default":"Cel"}]}`
	readingX  = `{"type":"record","name":"Reading","fields":[{"name":"device_id","type":"string"},{"name":"x","type":"string"},{"name":"n","type":"long"}]}`
)

// A pipeline of version 1 has no unit.
const queryV1 = `
SET 'pipeline.name' = 'hot';
CREATE TABLE readings (device_id STRING NOT NULL, x DOUBLE NOT NULL, n BIGINT NOT NULL)
WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'avro-confluent', 'value.avro-confluent.url' = '%[1]s', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE hot (device_id STRING NOT NULL, x DOUBLE NOT NULL, n BIGINT NOT NULL, unit STRING)
WITH ('connector' = 'kafka', 'topic' = 'hot', 'value.format' = 'json');
INSERT INTO hot SELECT device_id, x, n, 'v1' FROM readings;
`

// One of version 3 has it, and reads older readings with its schema's default.
var queryV3 = strings.NewReplacer("n BIGINT NOT NULL)", "n BIGINT NOT NULL, unit STRING NOT NULL)",
	"'value.avro-confluent.url' = '%[1]s',", "'value.avro-confluent.url' = '%[1]s', 'value.avro-confluent.schema' = '"+readingV3+"',", ", 'v1'", ", unit").Replace(queryV1)

func (p *pool) reading(id int, schema string, x, n any) *kgo.Record {
	p.Helper()
	value, err := avro.MustParse(schema).AppendEncode(registry.AppendHeader(nil, id), map[string]any{"device_id": "a", "x": x, "n": n, "unit": "K"})
	if err != nil {
		p.Fatal(err)
	}
	return &kgo.Record{Topic: "readings", Partition: 0, Value: value}
}

func (p *pool) produce(all ...*kgo.Record) {
	p.Helper()
	if err := p.client.ProduceSync(p.Context(), all...).FirstErr(); err != nil {
		p.Fatal(err)
	}
}

func value(r *kgo.Record) string { return string(r.Value) }

func (p *pool) want(topic string, show func(*kgo.Record) string, rows ...string) {
	p.Helper()
	if got := p.rows(topic, len(rows), show); !slices.Equal(got, rows) {
		p.Errorf("%s:\n%s\nwant\n%s", topic, strings.Join(got, "\n"), strings.Join(rows, "\n"))
	}
}

// Producers move on to new versions while a pipeline with the first one runs, and a pipeline with
// the last one reads what the first wrote. A version that would break readers is refused. If it is
// forced, its records become dead letters with both ids, in the transaction of the surrounding
// records.
func TestSchemaEvolution(t *testing.T) {
	p := &pool{T: t}
	p.at, p.client = serve(t)
	r, err := embedded.Open(t.Context(), embedded.Config{Broker: p.at})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	p.connect(r.URL())

	v1 := p.register(readingV1)
	p.run(queryV1)
	p.produce(p.reading(v1, readingV1, float32(1.5), 1))
	p.want("hot", value, `{"device_id":"a","x":1.5,"n":1,"unit":"v1"}`)
	v2 := p.register(readingV2)
	p.produce(p.reading(v2, readingV2, float32(2.5), 2), p.reading(v1, readingV1, float32(3.5), 3))
	v3 := p.register(readingV3)
	p.produce(p.reading(v3, readingV3, 4.1, int64(1)<<40), p.reading(v1, readingV1, float32(5.5), 5))
	all := []string{`{"device_id":"a","x":1.5,"n":1,"unit":"v1"}`, `{"device_id":"a","x":2.5,"n":2,"unit":"v1"}`, `{"device_id":"a","x":3.5,"n":3,"unit":"v1"}`,
		`{"device_id":"a","x":4.1,"n":1099511627776,"unit":"v1"}`, `{"device_id":"a","x":5.5,"n":5,"unit":"v1"}`}
	p.want("hot", value, all...)

	breaks := &registry.Schema{Type: registry.Avro, Text: readingX}
	if _, err := p.schemas.Register(t.Context(), "readings-value", breaks); !errors.Is(err, registry.ErrIncompatible) {
		t.Errorf("a schema that breaks readers: %v", err)
	}
	if err := p.schemas.SetCompatibility(t.Context(), "readings-value", "NONE"); err != nil {
		t.Fatal(err)
	}
	vx := p.register(readingX)
	p.produce(p.reading(v3, readingV3, 6.0, int64(6)), p.reading(vx, readingX, "hot", int64(7)), p.reading(v1, readingV1, float32(8), 8))
	all = append(all, `{"device_id":"a","x":6.0,"n":6,"unit":"v1"}`, `{"device_id":"a","x":8.0,"n":8,"unit":"v1"}`)
	p.want("hot", value, all...)
	p.want("hot.dlq", deadLetter, fmt.Sprintf("value: schema %d (of the writer) can't be read as schema %d (of the reader, readings-value): field x: found string, expected DOUBLE", vx, v3))
	p.stop()
	if !slices.ContainsFunc(p.commits, func(c engine.Commit) bool { return c.DeadLetters == 1 && c.Records == 3 && c.Outputs == 2 }) {
		t.Errorf("the dead letter was not in one transaction with the rows around it: %+v", p.commits)
	}

	p.run(strings.ReplaceAll(queryV3, "'hot'", "'warm'"))
	p.produce(p.reading(v1, readingV1, float32(9), 9), p.reading(v3, readingV3, 10.0, int64(10)))
	p.want("warm", value,
		`{"device_id":"a","x":1.5,"n":1,"unit":"Cel"}`, `{"device_id":"a","x":10.0,"n":10,"unit":"K"}`, `{"device_id":"a","x":2.5,"n":2,"unit":"K"}`,
		`{"device_id":"a","x":3.5,"n":3,"unit":"Cel"}`, `{"device_id":"a","x":4.1,"n":1099511627776,"unit":"K"}`, `{"device_id":"a","x":5.5,"n":5,"unit":"Cel"}`,
		`{"device_id":"a","x":6.0,"n":6,"unit":"K"}`, `{"device_id":"a","x":8.0,"n":8,"unit":"Cel"}`, `{"device_id":"a","x":9.0,"n":9,"unit":"Cel"}`)
}
