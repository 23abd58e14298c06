package sqltest

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
)

// shown tells NULL from empty bytes.
func shown(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", b)
}

// What has no key, no value or no value of a header is not what has an empty one, through a
// pipeline and back.
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
			t.Errorf("%s has %d records, want %d", topic, len(out[topic]), len(want))
			return
		}
		for i, r := range out[topic] {
			got := shown(r.Key) + " " + shown(r.Value)
			for _, h := range r.Headers {
				got += " " + h.Key + "=" + shown(h.Value)
			}
			if got != want[i] {
				t.Errorf("%s, record %d is %s, want %s", topic, i, got, want[i])
			}
		}
	}
	const h = ` n=null e="" x="1"`
	check("b", `null "1"`+h, `"" "2"`+h, `"k" null`+h, `"k" ""`+h, `"l" null`+h)
	check("c", `"" "2"`+h, `"k" ""`+h, `"l" null`+h) // the last of each key in a transaction; NULL deletes
	check("nulls.dlq", `null "1" reason="insert into c: column k is NOT NULL, and the value is NULL"`)
	check("d", `null "{\"k\":null,\"n\":3,\"nulls\":true}"`, `null "{\"k\":\"\",\"n\":3,\"nulls\":true}"`, `null "{\"k\":\"k\",\"n\":3,\"nulls\":true}"`,
		`null "{\"k\":\"k\",\"n\":3,\"nulls\":true}"`, `null "{\"k\":\"l\",\"n\":3,\"nulls\":true}"`)
}

// A row that fails behind an exchange is a letter with names of columns: those of the table that it
// was for, or of what could not be computed. It is one when it comes, and none when it is taken
// back.
func TestLettersOfComputedRows(t *testing.T) {
	const text = `
CREATE TABLE a (d STRING, v STRING) WITH ('connector' = 'kafka', 'topic' = 'a', 'format' = 'json');
CREATE TABLE b (who STRING, n INT NOT NULL, span ROW<s STRING>, PRIMARY KEY (who) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'b', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO b SELECT d, CAST(MAX(v) AS INT), ROW(MIN(v)) FROM a GROUP BY d;`
	p, err := plan.Compile(text, "letters")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Stages) != 2 {
		t.Fatalf("%d stages, want 2", len(p.Stages))
	}
	for _, partitions := range []int32{1, 4} {
		got, err := Rows(p, "send a\n{\"d\":\"x\",\"v\":\"1\"}\nsend a\n{\"d\":\"x\"}\n{\"d\":\"y\"}\nsend a\n{\"d\":\"y\",\"v\":\"no\"}\nsend a\n{\"d\":\"y\",\"v\":\"0\"}\nexpect b\nexpect .dlq\n")
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]string{
			"b": {`{"who":"x","n":1,"span":{"s":"1"}}`},
			".dlq": {
				`{"d":"y","MAX(v)":"no","MIN(v)":"0"} # CAST of 'no' to INT: "no" is not a number`,
				`{"d":"y","MAX(v)":"no","MIN(v)":"no"} # CAST of 'no' to INT: "no" is not a number`,
				`{"who":"y","n":null,"span":{"s":null}} # insert into b: column n is NOT NULL, and the value is NULL`,
			},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%d partitions: %q, want %q", partitions, got, want)
		}
	}
}

// The rows of groups depend on where transactions end, and so do their letters: these run in one
// way only.
func TestTransactions(t *testing.T) {
	results, err := Dir("testdata/transactions", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !r.OK {
			t.Errorf("%s: %s%s", r.Test, r.Diff, r.Error)
		}
	}
}
