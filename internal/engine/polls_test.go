package engine

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

// The size of polls follows the time and memory that records take, in both directions.
func TestPolls(t *testing.T) {
	p := newPolls(&Config{MaxRecords: 50_000, MaxBytes: 16 << 20})
	poll := func(perRecord time.Duration, bytes int64) {
		n := p.records
		p.adapt(n, time.Duration(n)*perRecord, int64(n)*bytes)
	}
	for _, step := range []struct {
		what   string
		took   time.Duration
		bytes  int64
		settle int
	}{
		{"fast rows", time.Microsecond, 300, 50_000},
		{"slow rows", 100 * time.Microsecond, 300, 2500},
		{"very slow rows", time.Second, 300, leastPoll},
		{"fast rows again", 2 * time.Microsecond, 300, 50_000},
		{"large rows", 2 * time.Microsecond, 3 << 10, 5461},
		{"rows that take no measurable time or memory", 0, 0, 50_000},
	} {
		for range 10 {
			poll(step.took, step.bytes)
		}
		if p.records != step.settle {
			t.Errorf("%s: polls of %d records, want %d", step.what, p.records, step.settle)
		}
	}
	p.adapt(0, time.Second, 0)
	p.adapt(10, 10*time.Millisecond, 3000) // the only ones there were
	if p.records != 50_000 {
		t.Errorf("polls of %d records after few rows, want 50,000", p.records)
	}
	if p := newPolls(&Config{MaxRecords: 9}); p.records != 9 {
		t.Errorf("polls of %d records at first, want 9", p.records)
	}
}

const (
	sizedRows  = 4000
	sizedBytes = 4 << 10 // of a row
)

// A transaction ends when its rows and changes of the state have the size of MaxBytes, even if its
// time is not over and it may have more records.
func TestMaxBytes(t *testing.T) {
	for name, query := range map[string]string{
		"rows":  `INSERT INTO results SELECT k, v FROM readings`,
		"state": `INSERT INTO results SELECT k, MAX(v) FROM readings GROUP BY k`,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "readings"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			at := broker.Config{Brokers: c.ListenAddrs()}
			client, err := broker.Connect(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			value := bytes.Repeat([]byte("x"), sizedBytes)
			for n := range sizedRows {
				client.Produce(t.Context(), &kgo.Record{Topic: "readings", Key: fmt.Append(nil, n), Value: fmt.Appendf(nil, `{"k":"%d","v":"%s"}`, n, value)}, nil)
			}
			if err := client.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			p, err := plan.Compile(`
SET 'pipeline.name' = 'sized';
CREATE TABLE readings (k STRING, v STRING) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'k',
  'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE results (k STRING, v STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'results', 'key.format' = 'raw', 'value.format' = 'json');
`+query+`;`, "sized")
			if err != nil {
				t.Fatal(err)
			}
			const maxBytes = 4 << 20
			var most, records int
			result, err := Run(t.Context(), Config{
				Broker: at, Program: p, Instances: []string{"a"}, CommitInterval: 2 * time.Second, MaxBytes: maxBytes, StateDir: t.TempDir(), CacheBytes: 1 << 20,
				OnCommit: func(c Commit) { most, records = max(most, c.Records), records+c.Records },
			})
			if err != nil {
				t.Fatal(err)
			}
			if records != sizedRows || result.Outputs != sizedRows {
				t.Fatalf("%d records, %d outputs, want %d", records, result.Outputs, sizedRows)
			}
			// One poll after the limit, of leastPoll records at first, and each takes at least the
			// bytes of the row that was read and of the one that is written.
			if limit := maxBytes/(2*sizedBytes) + leastPoll; most > limit {
				t.Errorf("a transaction of %d records, want at most %d", most, limit)
			}
		})
	}
}
