package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// weir check --against lists what a start would keep, lose and begin without state, and fails if it
// would be refused.
func TestCheckAgainst(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "readings"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range 40 {
		client.Produce(t.Context(), &kgo.Record{Topic: "readings", Key: fmt.Appendf(nil, "dev-%d", i%5), Value: fmt.Appendf(nil, `{"v":%d}`, i)}, nil)
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	const tables = `
CREATE TABLE readings (device_id STRING, v BIGINT) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.fields-include' = 'EXCEPT_KEY', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE counts (device_id STRING, n BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'raw', 'value.format' = 'json');
`
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(tables+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	brokers := "--brokers=" + strings.Join(c.ListenAddrs(), ",")
	counts := write("counts.sql", "INSERT INTO counts SELECT device_id, COUNT(*) FROM readings GROUP BY device_id;")
	if code, _, errOut := do(t, "check", counts, "--against", "counts", brokers); code != exitFailed || !strings.Contains(errOut, "pipeline counts has not run here") {
		t.Errorf("before the first start: exit %d, %s", code, errOut)
	}
	must(t, "run", counts, "--until-end", brokers, "--state-dir=none")

	distinct := "INSERT INTO counts SELECT device_id, COUNT(*) FROM (SELECT DISTINCT device_id, v FROM readings) GROUP BY device_id;"
	const (
		count = "Aggregate by device_id: COUNT(*); keys device_id STRING"
		first = "Distinct by device_id, v; keys device_id STRING, v BIGINT"
	)
	for name, x := range map[string]struct {
		file  string
		code  int
		wants []string
	}{
		"same":   {counts, exitOK, []string{"ok, pipeline counts of 1 stage", "last ran with this SQL", "  kept: " + count + "\n"}},
		"added":  {write("more.sql", "SET 'pipeline.name' = 'counts';\n"+distinct), exitOK, []string{"rows that were read before are not computed again", "  kept: " + count, "  new:  " + first + ": starts without state"}},
		"lost":   {write("max.sql", "INSERT INTO counts SELECT device_id, MAX(v) FROM readings GROUP BY device_id;"), exitCheck, []string{"a start would be refused", "  lost: " + count + " (stage1)\n        no relation keeps the same state", "SET 'pipeline.name' = 'counts'"}},
		"others": {write("others.sql", "SET 'pipeline.name' = 'others';\n"+distinct), exitFailed, []string{"pipeline others has another name than counts"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := do(t, "check", x.file, "--against", "counts", brokers)
			if code != x.code {
				t.Errorf("exit %d, want %d\n%s%s", code, x.code, out, errOut)
			}
			for _, want := range x.wants {
				if !strings.Contains(out+errOut, want) {
					t.Errorf("no %q in\n%s%s", want, out, errOut)
				}
			}
		})
	}
	_, out, _ := do(t, "check", filepath.Join(dir, "max.sql"), "--against", "counts", brokers, "-o", "json")
	var report checkReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	if a := report.Against; report.OK || a == nil || a.Accepted || !a.Committed || len(a.Kept) != 0 || len(a.Lost) != 1 || a.Lost[0].State != count || len(a.New) != 1 {
		t.Errorf("got %s", out)
	}
	for _, args := range [][]string{{counts, "--against", "counts"}, {counts, counts, "--against", "counts", brokers}} {
		if code, _, errOut := do(t, append([]string{"check"}, args...)...); code != exitUsage || !strings.Contains(errOut, "--against compares one file") {
			t.Errorf("%q: exit %d, %s", args, code, errOut)
		}
	}
}
