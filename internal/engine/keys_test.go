package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// placements are the default partitioners of clients, for the key of the i-th record and n
// partitions: Java's, librdkafka's (kcat, and the clients of Python, .NET, PHP and Rust), Sarama's
// (Telegraf), and two of them writing to one topic.
var placements = map[string]func(key []byte, n, i int) int{
	"java":       murmur2,
	"librdkafka": func(key []byte, n, _ int) int { return int(crc32.ChecksumIEEE(key) % uint32(n)) },
	"sarama": func(key []byte, n, _ int) int {
		h := fnv.New32a()
		_, _ = h.Write(key)
		return kgo.SaramaCompatHasher(func([]byte) uint32 { return h.Sum32() })(key, n)
	},
	"java and librdkafka": func(key []byte, n, i int) int {
		if i%2 == 0 {
			return murmur2(key, n, i)
		}
		return int(crc32.ChecksumIEEE(key) % uint32(n))
	},
}

func murmur2(key []byte, n, _ int) int {
	return kgo.StickyKeyPartitioner(nil).ForTopic("").Partition(&kgo.Record{Key: key}, n)
}

const (
	keyedDevices = 8
	keyedEach    = 3 // readings of each device
)

// keyedTables are tables of readings and of their devices; %[1]s is the key's format.
const keyedTables = `
CREATE TABLE readings (device_id STRING, room STRING, v BIGINT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings',
  'key.format' = '%[1]s', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE devices (device_id STRING, site STRING, at_ TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR at_ AS at_, PRIMARY KEY (device_id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = '%[1]s', 'value.format' = 'json', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE results (device_id STRING, x STRING, PRIMARY KEY (device_id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'results', 'key.format' = 'raw', 'value.format' = 'json');
`

// keyedQueries combine rows by key, each with a different operator; x is the value expected for
// each device.
var keyedQueries = map[string]struct{ sql, x string }{
	"group":  {"INSERT INTO results SELECT device_id, CAST(COUNT(*) AS STRING) FROM readings GROUP BY device_id;", "3"},
	"window": {"INSERT INTO results SELECT device_id, CAST(COUNT(*) AS STRING) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY device_id, window_start, window_end;", "3"},
	"newest": {"INSERT INTO results SELECT device_id, CAST(v AS STRING) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY v DESC) AS n FROM readings) WHERE n = 1;", "2"},
	"over":   {"INSERT INTO results SELECT device_id, CAST(c AS STRING) FROM (SELECT device_id, COUNT(*) OVER (PARTITION BY device_id ORDER BY ts ROWS UNBOUNDED PRECEDING) AS c FROM readings) WHERE c = 3;", "3"},
	"lookup": {"INSERT INTO results SELECT r.device_id, d.site FROM readings AS r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.ts AS d ON r.device_id = d.device_id;", "hall"},
}

// keyedCluster has readings and devices in four partitions each, placed by a partitioner.
func keyedCluster(t *testing.T, format string, place func(key []byte, n, i int) int) broker.Config {
	t.Helper()
	const n = 4
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(n, "readings", "devices", "results"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	at := broker.Config{Brokers: c.ListenAddrs()}
	key := func(device int) []byte {
		if format == "json" {
			return fmt.Appendf(nil, `{"device_id":"dev-%d"}`, device)
		}
		return fmt.Appendf(nil, "dev-%d", device)
	}
	var all []*kgo.Record
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range keyedDevices * keyedEach {
		device, v := i%keyedDevices, i/keyedDevices
		k := key(device)
		all = append(all, &kgo.Record{Topic: "readings", Partition: int32(place(k, n, v)), Key: k, Value: fmt.Appendf(nil,
			`{"device_id":"dev-%d","room":"r%d","v":%d,"ts":"2026-01-01T00:00:%02dZ"}`, device, device%2, v, 10+i)})
		if v == 0 {
			all = append(all, &kgo.Record{Topic: "devices", Partition: int32(place(k, n, v)), Key: k, Timestamp: began, Value: []byte(`{"site":"hall"}`)})
		}
	}
	produceGiven(t, at, all)
	return at
}

// produceGiven writes records to the partitions set in them.
func produceGiven(t *testing.T, at broker.Config, all []*kgo.Record) {
	t.Helper()
	client, err := broker.Connect(t.Context(), at, kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), all...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// runKeyed runs a pipeline with two workers and transactions of a random length.
func runKeyed(t *testing.T, at broker.Config, name, sql string) error {
	t.Helper()
	return runConfig(t, name, sql, Config{Broker: at, Instances: []string{"a", "b"}, MaxRecords: 1 + rand.IntN(9)})
}

// runConfig runs a pipeline to its end.
func runConfig(t *testing.T, name, sql string, cfg Config) error {
	t.Helper()
	p, err := plan.Compile(sql, name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cfg.Program, cfg.CommitInterval = p, 20*time.Millisecond
	_, err = Run(ctx, cfg)
	if ctx.Err() != nil {
		t.Fatal("it did not end")
	}
	return err
}

// Rows of one key meet, whichever partitions the producers have chosen: in the topic's partitions
// if keys are placed as by Kafka's Java client, and through a repartition topic if
// 'weir.key-partitioning' is 'any'. Otherwise the pipeline stops at the first misplaced record, and
// nothing of its transaction is committed.
func TestKeysOfAllPartitioners(t *testing.T) {
	for client, place := range placements {
		for _, format := range []string{"raw", "json"} {
			for kind, q := range keyedQueries {
				t.Run(strings.Join([]string{client, format, kind}, "/"), func(t *testing.T) {
					t.Parallel()
					at := keyedCluster(t, format, place)
					sql := fmt.Sprintf(keyedTables, format) + q.sql
					want := make(map[string]string)
					for device := range keyedDevices {
						want[fmt.Sprintf("dev-%d", device)] = fmt.Sprintf(`{"device_id":"dev-%d","x":%q}`, device, q.x)
					}
					err := runKeyed(t, at, "keyed", sql)
					got := counts(t, at, "results")
					if client == "java" {
						if err != nil || !maps.Equal(got, want) {
							t.Errorf("%v, %v, want %v", err, got, want)
						}
						return
					}
					if err == nil {
						t.Fatalf("rows of one key are in several partitions, but it ended without an error: %v", got)
					}
					var misplaced *operator.MisplacedRecordError
					if !errors.As(err, &misplaced) {
						t.Fatalf("%v, want a MisplacedRecordError", err)
					}
					for _, part := range []string{
						fmt.Sprintf("topic %s, partition %d, offset %d: key {\"device_id\":\"dev-", misplaced.Topic, misplaced.Partition, misplaced.Offset), fmt.Sprintf("in partition %d", misplaced.Want),
						"SET 'weir.key-partitioning' = 'any'", "'murmur2'",
					} {
						if !strings.Contains(err.Error(), part) {
							t.Errorf("error %v, want one with %q", err, part)
						}
					}
					if err := runKeyed(t, at, "any", "SET 'weir.key-partitioning' = 'any';"+sql); err != nil {
						t.Fatal(err)
					}
					if got := counts(t, at, "results"); !maps.Equal(got, want) {
						t.Errorf("with 'any': %v, want %v", got, want)
					}
				})
			}
		}
	}
}

// Rows without a key are in any partition. A join that keeps them does not rely on it, but a group
// of the joined rows does.
func TestNullKeysBehindJoins(t *testing.T) {
	const query = "INSERT INTO results SELECT CAST(c AS STRING), CAST(COUNT(*) AS STRING) FROM (SELECT device_id, COUNT(*) AS c FROM (SELECT r.device_id FROM %s) GROUP BY device_id) GROUP BY CAST(c AS STRING);"
	for name, joined := range map[string]string{
		"lookup":  "readings AS r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.ts AS d ON r.device_id = d.device_id",
		"regular": "readings AS r LEFT JOIN (SELECT device_id FROM readings GROUP BY device_id HAVING COUNT(*) > 9) AS d ON r.device_id = d.device_id",
		"anti":    "readings AS r WHERE NOT EXISTS (SELECT 1 FROM readings AS d WHERE d.device_id = r.device_id AND d.v > r.v)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := keyedCluster(t, "raw", placements["java"])
			for partition := range int32(4) {
				produceGiven(t, at, []*kgo.Record{{Topic: "readings", Partition: partition, Value: []byte(`{"room":"r0","v":0,"ts":"2026-01-01T00:00:40Z"}`)}})
			}
			sql := strings.Replace(fmt.Sprintf(keyedTables, "raw"), "'value.format'", "'value.fields-include' = 'EXCEPT_KEY', 'value.format'", 1) + fmt.Sprintf(query, joined)
			err := runKeyed(t, at, "keyed", sql)
			var misplaced *operator.MisplacedRecordError
			if !errors.As(err, &misplaced) || !misplaced.Null {
				t.Fatalf("%v, want a MisplacedRecordError of a NULL key; results %v", err, counts(t, at, "results"))
			}
			if err := runKeyed(t, at, "any", "SET 'weir.key-partitioning' = 'any';"+sql); err != nil {
				t.Fatal(err)
			}
			if got := counts(t, at, "results"); got["4"] != `{"device_id":"4","x":"1"}` || got["1"] == `{"device_id":"1","x":"4"}` {
				t.Errorf("groups by their number of rows: %v, want one group of the 4 rows without a key", got)
			}
		})
	}
}
