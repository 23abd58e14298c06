package broker_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
)

// Unreadable partitions are an error, not empty: state restored from them would be empty.
func TestReadFromMissesNothing(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	at := broker.Config{Brokers: c.ListenAddrs()}
	client := connect(t, at, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for p := range int32(2) {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "log", Partition: p, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	read := func(partitions ...int32) (n int, err error) {
		from := make(map[int32]int64)
		for _, p := range partitions {
			from[p] = 0
		}
		_, err = broker.ReadFrom(t.Context(), at, "log", from, func(*kgo.Record) error { n++; return nil })
		return n, err
	}
	if n, err := read(0, 1); n != 2 || err != nil {
		t.Fatalf("read %d records, %v, expected 2", n, err)
	}
	if n, err := read(1, 2); err == nil || !strings.Contains(err.Error(), "log-2: partition not found") {
		t.Errorf("with a partition that does not exist %d records were read, and the error is %v", n, err)
	}
	// The start of one partition is unknown: it currently has no leader.
	c.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req, ok := r.(*kmsg.ListOffsetsRequest)
		if !ok || req.Topics[0].Partitions[0].Timestamp != -2 {
			return nil, nil, false
		}
		resp, ok := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		if !ok {
			return nil, nil, false
		}
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = "log"
		for _, p := range req.Topics[0].Partitions {
			answer := kmsg.NewListOffsetsResponseTopicPartition()
			answer.Partition, answer.ErrorCode = p.Partition, kerr.UnknownServerError.Code
			topic.Partitions = append(topic.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	if n, err := read(0, 1); err == nil || !strings.Contains(err.Error(), "list start offsets of log") {
		t.Errorf("without a start %d records were read, and the error is %v", n, err)
	}
}
