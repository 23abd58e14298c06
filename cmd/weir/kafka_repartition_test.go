package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

const widenedSQL = `SET 'pipeline.name' = 'widened';
CREATE TABLE rows_in (k STRING, n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'widened.in', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json',
  'scan.startup.mode' = 'earliest-offset');
CREATE TABLE totals (k STRING, c BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'widened.totals', 'key.format' = 'raw', 'value.format' = 'json');
INSERT INTO totals SELECT k, COUNT(*), SUM(n) FROM rows_in GROUP BY k;
`

// testRepartition adds partitions to a source and moves the state of its keys in a process that is
// killed at random moments and restarted until the move is complete. Each key's total then covers
// the rows before and after the move.
func (b *realBroker) testRepartition(t *testing.T) {
	const keys = 30_000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	b.makeTopic(t, "widened.in", 3)
	file := filepath.Join(t.TempDir(), "widened.sql")
	if err := os.WriteFile(file, []byte(widenedSQL), 0o600); err != nil {
		t.Fatal(err)
	}
	type total struct{ C, Total int }
	want := make(map[string]total)
	hash := kgo.StickyKeyPartitioner(nil).ForTopic("")
	send := func(partitions int) {
		t.Helper()
		var records []*kgo.Record
		for k := range keys {
			key := fmt.Sprintf("%0200d", k) // large enough that the move takes several transactions
			n := rng.IntN(1000)
			r := &kgo.Record{Topic: "widened.in", Key: []byte(key), Value: fmt.Appendf(nil, `{"k":%q,"n":%d}`, key, n)}
			r.Partition = int32(hash.Partition(r, partitions))
			records = append(records, r)
			want[key] = total{want[key].C + 1, want[key].Total + n}
		}
		b.send(t, records...)
	}
	command := []string{"run", file, b.flag, "--until-end", "--state-dir=" + t.TempDir(), "--instance=x", "--session-timeout=6s", "--transaction-timeout=10s"}

	send(3)
	must(t, command...)
	added, err := b.admin.UpdatePartitions(t.Context(), 7, "widened.in")
	if err == nil {
		err = added.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "partitions", func() bool {
		topics, err := b.admin.ListTopics(t.Context(), "widened.in")
		return err == nil && len(topics["widened.in"].Partitions) == 7
	})
	// The old client would keep the partitions that it knows, or, with the topic purged, start over
	// with its sequence numbers: the broker then drops a batch that it takes for a duplicate.
	b.client.Close()
	b.connect(t)

	kills, move := 0, append(slices.Clone(command), "--repartition")
	for {
		if code, _, stderr := do(t, command...); code == exitOK || !strings.Contains(stderr, "--repartition") {
			t.Fatalf("a run without --repartition: exit %d\n%s", code, stderr)
		}
		if kills == 3 {
			must(t, move...)
			break
		}
		p := start(t, move...)
		moment := time.Duration(300+rng.IntN(1500)) * time.Millisecond
		time.Sleep(moment) // random moment of the fault
		p.signal(syscall.SIGKILL)
		if code := p.wait(time.Minute); code == exitOK {
			break // the move completed first
		}
		kills++
		t.Logf("killed after %s", moment)
		if strings.Contains(p.errOut.String(), "state moved to the partitions of its keys") {
			must(t, move...)
			break // whether the plan was committed is unknown
		}
	}
	t.Logf("%d kills", kills)

	send(7)
	must(t, command...)
	got := make(map[string]total)
	err = broker.ReadAll(t.Context(), b.at, "widened.totals", nil, func(r *kgo.Record) error {
		var row total
		if err := json.Unmarshal(r.Value, &row); err != nil {
			return err
		}
		got[string(r.Key)] = row
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for key, w := range want {
		if got[key] != w {
			if wrong++; wrong < 5 {
				t.Errorf("%s: %v, want %v", strings.TrimLeft(key, "0"), got[key], w)
			}
		}
	}
	if wrong > 0 || len(got) != len(want) {
		t.Errorf("%d keys, want %d; %d are wrong", len(got), len(want), wrong)
	}
}
