package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

const bounded = `
SET 'pipeline.name' = 'bounded';
CREATE TABLE readings (n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE even (n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'even', 'value.format' = 'json');
INSERT INTO even SELECT n FROM readings WHERE MOD(n, 2) = 0;`

// A bounded pipeline ends, and writes each row once, even if a transaction is aborted: before any
// input has ended, after one has while another is still being read, and when the last one has been
// read to its end.
func TestAbortOfBounded(t *testing.T) {
	const rows, transactions = 3000, 5
	for refused := 1; refused <= transactions; refused++ {
		t.Run(fmt.Sprint(refused), func(t *testing.T) {
			c, at, client := startCluster(t, 2, []string{"readings"}, kgo.RecordPartitioner(broker.GivenPartitions()))
			for n := range rows {
				r := &kgo.Record{Topic: "readings", Partition: min(1, int32(n)), Value: fmt.Appendf(nil, `{"n":%d}`, n)} // partition 0 has one
				client.Produce(t.Context(), r, nil)
			}
			if err := client.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			commits := 0
			c.ControlKey(kmsg.TxnOffsetCommit.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
				if commits++; commits != refused {
					return nil, nil, false
				}
				return refuse(req.(*kmsg.TxnOffsetCommitRequest)), nil, true
			})
			p, err := plan.Compile(bounded, "bounded")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			result, err := Run(ctx, Config{Broker: at, Program: p, Instances: []string{"a"}, MaxRecords: rows / transactions})
			if err != nil {
				t.Fatal(err)
			}
			if ctx.Err() != nil {
				t.Fatalf("it did not end: %+v", result)
			}
			if result.Aborted != 1 || result.Records != rows {
				t.Errorf("%+v, want one transaction aborted and %d records", result, rows)
			}
			seen := make(map[string]int)
			if err := broker.ReadAll(t.Context(), at, "even", nil, func(r *kgo.Record) error {
				seen[string(r.Value)]++
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			for n := 0; n < rows; n += 2 {
				if k := fmt.Sprintf(`{"n":%d}`, n); seen[k] != 1 {
					t.Fatalf("%s is there %d times", k, seen[k])
				}
			}
			if len(seen) != rows/2 {
				t.Errorf("%d rows, want %d", len(seen), rows/2)
			}
		})
	}
}

// refuse responds like a broker whose group rebalances: the transaction must be aborted.
func refuse(req *kmsg.TxnOffsetCommitRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	for _, t := range req.Topics {
		topic := kmsg.TxnOffsetCommitResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.TxnOffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: kerr.RebalanceInProgress.Code})
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}
