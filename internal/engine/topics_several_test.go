package engine

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

// A table of several topics is read exactly once over restarts, and its windows close, although one
// topic has fewer partitions than another. Each partition of each topic has a position of its own.
func TestSeveralTopics(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "hall"), kfake.SeedTopics(1, "yard"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at := broker.Config{Brokers: c.ListenAddrs()}
	client, err := broker.Connect(t.Context(), at, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const pipeline = `
		CREATE TABLE readings (n BIGINT, ts TIMESTAMP(3), source STRING METADATA FROM 'topic' VIRTUAL, WATERMARK FOR ts AS ts)
		WITH ('connector' = 'kafka', 'topic' = 'hall;yard', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
		CREATE TABLE copies WITH ('connector' = 'kafka', 'topic' = 'copies', 'value.format' = 'json') AS SELECT source, n FROM readings;
		CREATE TABLE minutes (source STRING, began TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'minutes', 'value.format' = 'json');
		INSERT INTO minutes SELECT source, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY source, window_start, window_end;`
	p, err := plan.Compile(pipeline, "several")
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	want := make(map[string]int)
	send := func(topic string, partitions int32, minute int) {
		t.Helper()
		for i := range 10 {
			value := fmt.Sprintf(`{"n":%d,"ts":"2026-01-01 00:%02d:%02d"}`, sent, minute, i)
			if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: int32(i) % partitions, Value: []byte(value)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			want[fmt.Sprintf(`{"source":%q,"n":%d}`, topic, sent)]++
			sent++
		}
	}
	windows := make(map[string]int)
	for minute := range 4 {
		send("hall", 3, minute)
		send("yard", 1, minute)
		if minute > 0 { // the windows of the minute before are over in all partitions
			for _, topic := range []string{"hall", "yard"} {
				windows[fmt.Sprintf(`{"source":%q,"began":"2026-01-01 00:%02d:00","n":10}`, topic, minute-1)]++
			}
		}
		if _, err := Run(t.Context(), Config{Broker: at, Program: p, Instances: []string{"a", "b"}, UntilEnd: true}); err != nil {
			t.Fatal(err)
		}
		for topic, rows := range map[string]map[string]int{"copies": want, "minutes": windows} {
			got := make(map[string]int)
			if err := broker.ReadAll(t.Context(), at, topic, nil, func(r *kgo.Record) error { got[string(r.Value)]++; return nil }); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(rows) {
				t.Errorf("minute %d: %s has %v, expected %v", minute, topic, got, rows)
			}
		}
	}
	positions, err := kadm.NewClient(client).FetchOffsets(t.Context(), Group(p))
	if err != nil {
		t.Fatal(err)
	}
	for topic, partitions := range map[string]int32{"hall": 3, "yard": 1} {
		for partition := range partitions {
			if _, ok := positions.Lookup(topic, partition); !ok {
				t.Errorf("the group has no offset of %s-%d", topic, partition)
			}
		}
	}
}
