package sqltest

import (
	"reflect"
	"testing"

	"weir.example/weir/internal/plan"
)

// A row that fails after an exchange becomes a dead letter whose fields are named after the columns
// of the target table, or after the expressions that could not be computed. The retraction of such
// a row adds no further dead letter.
func TestDeadLettersOfComputedRows(t *testing.T) {
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
				`{"who":"y","n":null,"span":{"s":null}} # insert into b: column n is NOT NULL, but the value is NULL`,
			},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%d partitions: %q, want %q", partitions, got, want)
		}
	}
}

// The updates that a group emits, and so its dead letters, depend on where transactions end: these
// tests run with fixed options only.
func TestFixedTransactions(t *testing.T) {
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
