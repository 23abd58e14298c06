package engine

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/broker"
	"weir/plan"
)

// Dead letters and late rows may have one topic: none of them is lost.
func TestAsideTogether(t *testing.T) {
	for _, partitions := range []int32{1, 2, 4} {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "readings"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		at := broker.Config{Brokers: c.ListenAddrs()}
		var all []*kgo.Record
		for p := range partitions {
			for _, value := range []string{`{"ts":"2026-01-01T00:00:00Z"}`, `{"ts":"2026-01-01T01:00:00Z"}`, `{"ts":"2026-01-01T00:00:01Z"}`, `broken`} {
				all = append(all, &kgo.Record{Topic: "readings", Partition: p, Value: []byte(value)})
			}
		}
		produceGiven(t, at, all)
		program, err := plan.Compile(`
SET 'weir.dead-letter.topic' = 'aside';
SET 'weir.late.topic' = 'aside';
CREATE TABLE readings (ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE results (s TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'results', 'format' = 'json');
INSERT INTO results SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;`, "together")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), Config{Broker: at, Program: program, Instances: []string{"a"}}); err != nil {
			t.Fatal(err)
		}
		got := int32(0)
		if err := broker.ReadAll(t.Context(), at, "aside", nil, func(*kgo.Record) error { got++; return nil }); err != nil {
			t.Fatal(err)
		}
		if got != 2*partitions {
			t.Errorf("%d partitions: %d letters and late rows, want %d", partitions, got, 2*partitions)
		}
	}
}
