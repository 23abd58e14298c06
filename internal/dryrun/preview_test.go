package dryrun

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
)

// quoted formats bytes so that NULL differs from empty.
func quoted(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", b)
}

// NULL and empty keys, values and header values stay distinct through a pipeline.
func TestNullIsNotEmpty(t *testing.T) {
	const text = `
CREATE TABLE a (k STRING, v STRING, h MAP<STRING, BYTES> METADATA FROM 'headers')
  WITH ('connector' = 'kafka', 'topic' = 'a', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE b (k STRING, v STRING, h MAP<STRING, BYTES> METADATA FROM 'headers')
  WITH ('connector' = 'kafka', 'topic' = 'b', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE c (k STRING, v STRING, h MAP<STRING, BYTES> METADATA FROM 'headers', PRIMARY KEY (k) NOT ENFORCED)
  WITH ('connector' = 'upsert-kafka', 'topic' = 'c', 'key.format' = 'raw', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE d (k STRING, n INT, nulls BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'd', 'format' = 'json');
INSERT INTO b SELECT k, v, h FROM a;
INSERT INTO c SELECT k, v, h FROM a;
INSERT INTO d SELECT k, CARDINALITY(h), h['n'] IS NULL FROM a;`
	p, err := plan.Compile(text, "nulls")
	if err != nil {
		t.Fatal(err)
	}
	headers := []kgo.RecordHeader{{Key: "n"}, {Key: "e", Value: []byte{}}, {Key: "x", Value: []byte("1")}}
	var in []*kgo.Record
	for i, r := range []kgo.Record{
		{Key: nil, Value: []byte("1")}, {Key: []byte{}, Value: []byte("2")}, {Key: []byte("k"), Value: nil}, {Key: []byte("k"), Value: []byte{}}, {Key: []byte("l"), Value: nil},
	} {
		r.Topic, r.Offset, r.Headers = "a", int64(i), headers
		in = append(in, &r)
	}
	out, err := Preview(t.Context(), p, map[string][]*kgo.Record{"a": in}, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	check := func(topic string, want ...string) {
		t.Helper()
		if len(out[topic]) != len(want) {
			t.Errorf("%s: got %d records, want %d", topic, len(out[topic]), len(want))
			return
		}
		for i, r := range out[topic] {
			got := quoted(r.Key) + " " + quoted(r.Value)
			for _, h := range r.Headers {
				got += " " + h.Key + "=" + quoted(h.Value)
			}
			if got != want[i] {
				t.Errorf("%s, record %d: got %s, want %s", topic, i, got, want[i])
			}
		}
	}
	const h = ` n=null e="" x="1"`
	check("b", `null "1"`+h, `"" "2"`+h, `"k" null`+h, `"k" ""`+h, `"l" null`+h)
	check("c", `"" "2"`+h, `"k" ""`+h, `"l" null`+h) // the last of each key in a transaction; NULL deletes
	check("nulls.dlq", `null "1" reason="insert into c: column k is NOT NULL, but the value is NULL"`)
	check("d", `null "{\"k\":null,\"n\":3,\"nulls\":true}"`, `null "{\"k\":\"\",\"n\":3,\"nulls\":true}"`, `null "{\"k\":\"k\",\"n\":3,\"nulls\":true}"`,
		`null "{\"k\":\"k\",\"n\":3,\"nulls\":true}"`, `null "{\"k\":\"l\",\"n\":3,\"nulls\":true}"`)
}
