package main

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

const checkedKeys = `
CREATE TABLE readings (device_id STRING, v BIGINT) WITH ('connector' = 'kafka', 'topic' = '%s', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json');
CREATE TABLE counts (device_id STRING, n BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'raw', 'value.format' = 'json');
INSERT INTO counts SELECT device_id, COUNT(*) FROM readings GROUP BY device_id;`

// weir check --brokers detects, before a pipeline runs, that it would stop at a record in the wrong
// partition. Without --brokers it doesn't.
func TestCheckSamplesKeys(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "java", "kcat"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	java := kgo.StickyKeyPartitioner(nil).ForTopic("")
	for i := range 3000 {
		r := &kgo.Record{Key: fmt.Appendf(nil, "dev-%d", i%50), Value: fmt.Appendf(nil, `{"device_id":"dev-%d","v":%d}`, i%50, i)}
		for topic, partition := range map[string]int{"java": java.Partition(r, 4), "kcat": int(crc32.ChecksumIEEE(r.Key) % 4)} {
			client.Produce(t.Context(), &kgo.Record{Topic: topic, Partition: int32(partition), Key: r.Key, Value: r.Value}, nil)
		}
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	brokers := "--brokers=" + strings.Join(c.ListenAddrs(), ",")
	kcat := fmt.Sprintf(checkedKeys, "kcat")
	for name, x := range map[string]struct {
		sql   string
		args  []string
		code  int
		wants []string
	}{
		"java":      {fmt.Sprintf(checkedKeys, "java"), []string{brokers}, 0, []string{"ok, pipeline counts", "keys are in their partitions in 1,600 sampled records"}},
		"kcat":      {kcat, []string{brokers}, exitCheck, []string{"topic kcat, partition ", `key {"device_id":"dev-`, "SET 'weir.key-partitioning' = 'any'"}},
		"any":       {"SET 'weir.key-partitioning' = 'any';" + kcat, []string{brokers}, 0, []string{"ok, pipeline counts of 2 stages"}},
		"unsampled": {kcat, nil, 0, []string{"key-partitioning: the pipeline relies on murmur2", "topic kcat"}},
		"registry": {strings.Replace(kcat, "'value.format' = 'json'", "'value.format' = 'avro-confluent', 'value.avro-confluent.url' = 'http://127.0.0.1:1'", 1), []string{brokers}, 0,
			[]string{"ok, pipeline counts", "keys of topic kcat were not sampled, because its format needs a schema registry"}},
		"missing": {fmt.Sprintf(checkedKeys, "none"), []string{brokers}, 0, []string{"topic none does not exist yet"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := do(t, append([]string{"check", writeSQL(t, x.sql)}, x.args...)...)
			if code != x.code {
				t.Errorf("exit %d, want %d\n%s%s", code, x.code, out, errOut)
			}
			for _, want := range x.wants {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s%s", want, out, errOut)
				}
			}
		})
	}
}

// writeSQL writes a pipeline to a file and returns its path.
func writeSQL(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "counts.sql")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
