package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

// Dead letters and late rows may share a topic: none of them is lost.
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
SET 'weir.dead-letter.topic' = 'diverted';
SET 'weir.late.topic' = 'diverted';
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
		if err := broker.ReadAll(t.Context(), at, "diverted", nil, func(*kgo.Record) error { got++; return nil }); err != nil {
			t.Fatal(err)
		}
		if got != 2*partitions {
			t.Errorf("%d partitions: %d dead letters and late rows, want %d", partitions, got, 2*partitions)
		}
	}
}

// refusedRun runs a pipeline that must fail with an error that contains these texts, without a
// retry.
func refusedRun(t *testing.T, at broker.Config, sql string, change func(*Config), want ...string) {
	t.Helper()
	program, err := plan.Compile(sql, "refused")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := Config{Broker: at, Program: program, Instances: []string{"host-0"}}
	change(&c)
	_, err = Run(ctx, c)
	if ctx.Err() != nil || err == nil {
		t.Fatalf("it did not stop: %v", err)
	}
	for _, text := range append(want, "read -0") {
		if has := strings.Contains(err.Error(), text); has == (text == "read -0") {
			t.Errorf("%q: %v", text, err)
		}
	}
	t.Log(err)
}

// A compacted topic does not accept records without keys, and would lose dead letters.
func TestCompactedTopics(t *testing.T) {
	for topic, remedy := range map[string]string{"even": "key.fields", "bounded.dlq": "weir.dead-letter.topic", "bounded.late": "weir.late.topic"} {
		for i, policy := range []string{"compact", "compact,delete"} {
			at := cluster(t, 4*i+4)
			client, err := broker.Connect(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := kadm.NewClient(client).CreateTopic(t.Context(), int32(2+2*i), 1, map[string]*string{"cleanup.policy": &policy}, topic); err != nil {
				t.Fatal(err)
			}
			refusedRun(t, at, bounded, func(*Config) {}, "topic "+topic+" (id ", policy, remedy, "cleanup.policy=delete")
		}
	}
}

// A session timeout that the broker does not accept ends the run immediately.
func TestSessionTimeoutOutOfRange(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, time.Hour} {
		refusedRun(t, cluster(t, 4), bounded, func(c *Config) { c.SessionTimeout = timeout },
			"INVALID_SESSION_TIMEOUT", "--session-timeout "+timeout.String(), "group.min.session.timeout.ms", "group.max.session.timeout.ms", "group weir-bounded")
	}
}

// controlled returns a broker that answers produce requests for a topic with an error.
func controlled(t *testing.T, topic string, code *kerr.Error) broker.Config {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "readings", "even"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	at := broker.Config{Brokers: c.ListenAddrs()}
	var all []*kgo.Record
	for i := range 20 {
		all = append(all, &kgo.Record{Topic: "readings", Partition: int32(i % 4), Value: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	produceGiven(t, at, all)
	even, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer even.Close()
	topics, err := kadm.NewClient(even).ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	id := topics[topic].ID
	c.ControlKey(kmsg.Produce.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		r := req.(*kmsg.ProduceRequest)
		resp := r.ResponseKind().(*kmsg.ProduceResponse)
		hit := false
		for _, of := range r.Topics {
			to := kmsg.NewProduceResponseTopic()
			to.Topic, to.TopicID = of.Topic, of.TopicID
			hit = hit || of.Topic == topic || of.TopicID == id
			for _, p := range of.Partitions {
				one := kmsg.NewProduceResponseTopicPartition()
				one.Partition, one.ErrorCode = p.Partition, code.Code
				to.Partitions = append(to.Partitions, one)
			}
			resp.Topics = append(resp.Topics, to)
		}
		return resp, nil, hit
	})
	return at
}

// An error that the broker would repeat ends the run, and names the topic and what to do.
func TestRefusedWrites(t *testing.T) {
	for code, want := range map[*kerr.Error]string{
		kerr.InvalidRecord:   "cleanup.policy",
		kerr.MessageTooLarge: "raise max.message.bytes of topic even",
		kerr.ProducerFenced:  "transactional id weir-weir-bounded/host-0",
	} {
		refusedRun(t, controlled(t, "even", code), bounded, func(*Config) {}, code.Message, "topic even", want)
	}
}

// A consumer with another protocol in the pipeline's group ends the run with an error that names
// the group, once it can no longer be a dead process.
func TestStrangerInGroup(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "readings", "even"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.ControlKey(kmsg.JoinGroup.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = kerr.InconsistentGroupProtocol.Code
		return resp, nil, true
	})
	now, asked := time.Now(), 0
	refusedRun(t, broker.Config{Brokers: c.ListenAddrs()}, bounded, func(c *Config) {
		c.Instances = []string{"a"}
		c.Now = func() time.Time {
			asked++
			return now.Add(time.Duration(asked) * 5 * time.Second)
		}
	}, "INCONSISTENT_GROUP_PROTOCOL", "another consumer uses the group id weir-bounded")
}
