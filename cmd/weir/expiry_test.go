package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
)

// expiringSQL keeps groups, and the rows of both sides of a join, for an hour and for ten.
const expiringSQL = `SET 'pipeline.name' = 'expiring';
SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE events (id STRING, n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'events',
  'key.format' = 'raw', 'key.fields' = 'id', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE counts (id STRING, n BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE pairs (id STRING, a BIGINT, b BIGINT) WITH ('connector' = 'kafka', 'topic' = 'pairs', 'key.format' = 'raw', 'key.fields' = 'id', 'value.format' = 'json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO counts SELECT id, COUNT(*) FROM events GROUP BY id;
INSERT INTO pairs SELECT /*+ STATE_TTL('b' = '10 h') */ a.id, a.n, b.n FROM events AS a JOIN events AS b ON a.id = b.id;
END;
`

// Local copies equal their changelogs after state has expired by the watermark (C9), also those
// that a later run has continued.
func TestCopiesOfExpiredState(t *testing.T) {
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 2, 1, nil, "events"); err != nil {
		t.Fatal(err)
	}
	file, copies, at := filepath.Join(t.TempDir(), "expiring.sql"), t.TempDir(), "--brokers="+b.Addr()
	if err := os.WriteFile(file, []byte(expiringSQL), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "topics", "apply", at)
	var entries []int
	for hour := range 12 { // each with devices that no later hour has
		for n := range 60 {
			id := fmt.Sprintf("device-%d-%d", hour, n%20)
			r := &kgo.Record{Topic: "events", Key: []byte(id), Value: fmt.Appendf(nil, `{"id":%q,"n":%d,"ts":"2026-01-01 %02d:%02d:00"}`, id, n, 2*hour, n)}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if hour%4 == 3 {
			must(t, "run", file, at, "--until-end", "--instance=a", "--state-dir="+copies)
			r := verified(t, at, "--state-dir="+copies)
			if r.LocalCopies.Checked != 2 {
				t.Fatalf("no copies are checked: %+v", r.LocalCopies)
			}
			live := make(map[string]bool)
			err := broker.ReadAll(t.Context(), broker.Config{Brokers: []string{b.Addr()}}, "expiring.stage1.changelog", nil, func(r *kgo.Record) error {
				live[string(r.Key)] = r.Value != nil
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			maps.DeleteFunc(live, func(_ string, is bool) bool { return !is })
			entries = append(entries, len(live))
		}
	}
	if entries[0] < 100 || entries[1] > 2*entries[0] || entries[2] > entries[1]+entries[0]/2 {
		t.Errorf("the copies have %v entries: state has not expired", entries)
	}
}
