package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

// A row that exceeds the limit of its topic becomes a dead letter, and the rows after it are
// processed. Larger rows are written if the topic's limit is raised.
func TestRowTooLarge(t *testing.T) {
	_, at, client := startCluster(t, 1, []string{"readings"})
	for topic, limit := range map[string]string{"small": "2000", "large": "4000000"} {
		if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, map[string]*string{"max.message.bytes": &limit}, topic); err != nil {
			t.Fatal(err)
		}
	}
	const rows = 10
	for n := range rows {
		size := 100
		if n == 4 {
			size = 600_000 // written three times: more than the usual limit
		}
		r := &kgo.Record{Topic: "readings", Value: fmt.Appendf(nil, `{"n":%d,"s":%q}`, n, strings.Repeat("x", size))}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	p, err := plan.Compile(`
CREATE TABLE readings (n BIGINT, s STRING) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE small (n BIGINT, s STRING) WITH ('connector' = 'kafka', 'topic' = 'small', 'value.format' = 'json');
CREATE TABLE roomy (n BIGINT, s STRING) WITH ('connector' = 'kafka', 'topic' = 'large', 'value.format' = 'json');
INSERT INTO small SELECT n, s FROM readings;
INSERT INTO roomy SELECT n, s || s || s FROM readings;`, "sizes")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := Run(ctx, Config{Broker: at, Program: p, Instances: []string{"a"}}); err != nil || ctx.Err() != nil {
		t.Fatal(err, ctx.Err())
	}
	for topic, want := range map[string]int{"small": rows - 1, "large": rows, "sizes.dlq": 1} {
		got := 0
		if err := broker.ReadAll(t.Context(), at, topic, nil, func(r *kgo.Record) error {
			got++
			if topic == "sizes.dlq" {
				reason := ""
				for _, h := range r.Headers {
					if h.Key == "weir-dlq-reason" {
						reason = string(h.Value)
					}
				}
				if !strings.Contains(reason, "topic small takes") || len(r.Value) < 600_000 {
					t.Errorf("dead letter of %d bytes, because %s", len(r.Value), reason)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s has %d rows, want %d", topic, got, want)
		}
	}
}

// The max.message.bytes of a sink is lowered while the pipeline runs: rows that are too large from
// then on become dead letters, and all others are written once.
func TestSinkLimitLowered(t *testing.T) {
	_, at, client := startCluster(t, 2, []string{"readings", "small"}, kgo.RecordPartitioner(broker.GivenPartitions()))
	const rows = 20
	send := func(from int) {
		for n := range rows {
			r := &kgo.Record{Topic: "readings", Partition: int32(n % 2), Value: fmt.Appendf(nil, `{"n":%d,"s":%q}`, from+n, strings.Repeat("x", 100+n%10*200))}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Error(err)
			}
		}
	}
	p, err := plan.Compile(`
CREATE TABLE readings (n BIGINT, s STRING) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE small (n BIGINT, s STRING) WITH ('connector' = 'kafka', 'topic' = 'small', 'value.format' = 'json');
INSERT INTO small SELECT n, s FROM readings;`, "lowered")
	if err != nil {
		t.Fatal(err)
	}
	send(0)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	outputs, letters, lowered := 0, 0, false
	if _, err := Run(ctx, Config{Broker: at, Program: p, Instances: []string{"a"}, CommitInterval: 20 * time.Millisecond, Compression: "none", OnCommit: func(c Commit) {
		outputs, letters = outputs+c.Outputs, letters+c.DeadLetters
		if outputs == rows && !lowered {
			lowered = true
			limit := "1000"
			if _, err := kadm.NewClient(client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, "small"); err != nil {
				t.Error(err)
			}
			send(rows)
		}
		if outputs+letters == 2*rows {
			stop()
		}
	}}); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	if err := broker.ReadAll(t.Context(), at, "small", nil, func(r *kgo.Record) error { seen[string(r.Value)]++; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != outputs || letters != 12 || outputs+letters != 2*rows {
		t.Errorf("%d rows, %d of them different, and %d dead letters of %d", outputs, len(seen), letters, 2*rows)
	}
	for value, n := range seen {
		if n != 1 {
			t.Errorf("%d times: %.40s", n, value)
		}
	}
}
