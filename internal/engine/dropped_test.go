package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// Data that options drop is reported in the result of a run, in its status and in its metrics, by
// table. Records that are copied through the engine keep NULL distinct from empty values.
func TestDroppedAndNull(t *testing.T) {
	at, client := serve(t)
	if _, err := kadm.NewClient(client).CreateTopics(t.Context(), 2, 1, nil, "copies", "counts"); err != nil {
		t.Fatal(err)
	}
	program, err := plan.Compile(`
CREATE TABLE readings (k STRING, n INT, tags ARRAY<INT>, h MAP<STRING, BYTES> METADATA FROM 'headers')
  WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY',
    'value.json.ignore-parse-errors' = 'true', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE copies (k STRING, tag STRING, h MAP<STRING, BYTES> METADATA FROM 'headers')
  WITH ('connector' = 'kafka', 'topic' = 'copies', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE counts (n INT NOT NULL, tags ARRAY<INT>) WITH ('connector' = 'kafka', 'topic' = 'counts', 'format' = 'json');
SET 'table.exec.sink.not-null-enforcer' = 'DROP';
INSERT INTO copies SELECT k, CAST(tags[1] AS STRING), h FROM readings;
INSERT INTO counts SELECT n, tags FROM readings;`, "dropping")
	if err != nil {
		t.Fatal(err)
	}
	in := []*kgo.Record{
		{Value: []byte(`{"n":1,"tags":[1,"x"]}`), Headers: []kgo.RecordHeader{{Key: "null"}, {Key: "empty", Value: []byte{}}}},
		{Key: []byte{}, Value: []byte(`{"n":"x"}`)},
		{Key: []byte("k"), Partition: 1, Value: []byte(`{"n":2`)},
		{Key: []byte("k"), Partition: 1, Value: []byte(`[{"n":3},{"n":4},5]`)},
	}
	for _, r := range in {
		r.Topic = "readings"
	}
	if err := client.ProduceSync(t.Context(), in...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	status, registry := engine.NewStatus(program), prometheus.NewRegistry()
	result, err := engine.Run(t.Context(), engine.Config{
		Broker: at, Program: program, Instances: []string{"d"}, Status: status, Metrics: engine.NewMetrics(registry),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := operator.Dropped{
		{Table: "readings", What: operator.DropRecords}: 2, {Table: "readings", What: operator.DropValues}: 2, {Table: "counts", What: operator.DropRows}: 1,
	}
	if !reflect.DeepEqual(result.Dropped, want) || !reflect.DeepEqual(status.Snapshot().Dropped, want) {
		t.Errorf("dropped %s, in the status %s, want %s", result.Dropped, status.Snapshot().Dropped, want)
	}
	text, err := json.Marshal(result)
	var back engine.Result
	if err != nil || json.Unmarshal(text, &back) != nil || !reflect.DeepEqual(back.Dropped, want) {
		t.Errorf("%s %v comes back as %v", text, err, back.Dropped)
	}
	const metrics = `
# HELP weir_engine_dropped_total What options of a table dropped: records and values (json.ignore-parse-errors), entries of maps (json.map-null-key.mode = DROP), rows (table.exec.sink.not-null-enforcer = DROP).
# TYPE weir_engine_dropped_total counter
weir_engine_dropped_total{pipeline="dropping",table="copies",what="rows"} 0
weir_engine_dropped_total{pipeline="dropping",table="counts",what="rows"} 1
weir_engine_dropped_total{pipeline="dropping",table="readings",what="records"} 2
weir_engine_dropped_total{pipeline="dropping",table="readings",what="values"} 2
# HELP weir_engine_source_recreated_total Times that a source topic was found deleted and created again, with the topic ids before (was) and after (is).
# TYPE weir_engine_source_recreated_total counter
weir_engine_source_recreated_total{is="",pipeline="dropping",topic="readings",was=""} 0
`
	if err := testutil.GatherAndCompare(registry, bytes.NewBufferString(metrics), "weir_engine_dropped_total", "weir_engine_source_recreated_total"); err != nil {
		t.Error(err)
	}
	shown := func(b []byte) string {
		if b == nil {
			return "null"
		}
		return fmt.Sprintf("%q", b)
	}
	var got []string
	err = broker.ReadAll(t.Context(), at, "copies", nil, func(r *kgo.Record) error {
		s := shown(r.Key) + " " + shown(r.Value)
		for _, h := range r.Headers {
			s += " " + h.Key + "=" + shown(h.Value)
		}
		got = append(got, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if want := []string{`"" null`, `"k" null`, `"k" null`, `null "1" null=null empty=""`}; !slices.Equal(got, want) {
		t.Errorf("copies are %q, want %q", got, want)
	}
}
