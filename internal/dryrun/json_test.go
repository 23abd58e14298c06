package dryrun

import (
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
)

const avroPipeline = `
CREATE TABLE a (k STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'a',
  'key.format' = 'avro-confluent', 'key.fields' = 'k', 'key.avro-confluent.url' = 'http://127.0.0.1:1',
  'value.format' = 'avro-confluent', 'value.avro-confluent.url' = 'http://127.0.0.1:1');
CREATE TABLE b (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'b',
  'key.format' = 'json', 'value.format' = 'avro-confluent', 'value.avro-confluent.url' = 'http://127.0.0.1:1');
INSERT INTO b SELECT k, COUNT(*) FROM a GROUP BY k;`

// formats returns the formats of all tables of a program, reached through every reference that the
// program has to them.
func formats(p *plan.Program) map[*plan.Table][2]plan.Format {
	all := make(map[*plan.Table][2]plan.Format)
	add := func(t *plan.Table) { all[t] = [2]plan.Format{t.Kafka.Key, t.Kafka.Value} }
	for _, t := range p.Tables {
		add(t)
	}
	for _, s := range p.Stages {
		for _, r := range s.Relations {
			switch op := r.Op.(type) {
			case *plan.Scan:
				add(op.Table)
			case *plan.Insert:
				add(op.Table)
			}
		}
	}
	return all
}

// A dry run reads and writes JSON instead of registry formats, and leaves the caller's program
// unchanged.
func TestRegistryFormatsOfTheCallerStay(t *testing.T) {
	p, err := plan.Compile(avroPipeline, "avro")
	if err != nil {
		t.Fatal(err)
	}
	before, explained := formats(p), p.Text()
	in := []*kgo.Record{{Topic: "a", Key: []byte(`{"k":"x"}`), Value: []byte(`{"k":"x","n":1}`)}}
	out, err := Preview(t.Context(), p, map[string][]*kgo.Record{"a": in}, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if rows := out["b"]; len(rows) != 1 || string(rows[0].Value) != `{"k":"x","n":1}` {
		t.Errorf("got %d rows %v, want one with n = 1; dead letters: %v", len(rows), rows, out["avro.dlq"])
	}
	if after := formats(p); !reflect.DeepEqual(after, before) {
		t.Errorf("formats changed from %v to %v", before, after)
	}
	if after := p.Text(); after != explained {
		t.Errorf("plan changed from\n%s\nto\n%s", explained, after)
	}
	if len(formats(withJSON(p))) != 2 {
		t.Error("the copy refers to tables that are not in its list")
	}
}

// Relations of a copied program refer to each other and to their stages as before.
func TestCopyOfProgram(t *testing.T) {
	p, err := plan.Compile(avroPipeline, "avro")
	if err != nil {
		t.Fatal(err)
	}
	c := withJSON(p)
	if len(c.Stages) != len(p.Stages) {
		t.Fatalf("got %d stages, want %d", len(c.Stages), len(p.Stages))
	}
	for i, s := range c.Stages {
		if s == p.Stages[i] {
			t.Fatalf("%s is not a copy", s.Name)
		}
		for _, r := range s.Relations {
			if r.Stage != s {
				t.Errorf("%s of %s refers to another stage", r.Describe(), s.Name)
			}
		}
	}
}
