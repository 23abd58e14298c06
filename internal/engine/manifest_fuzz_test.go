package engine

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir.example/weir/internal/plan"
)

// FuzzManifest reads a plan topic's record that another version, or somebody else, has written: it
// is refused, or gives a plan of the same pipeline.
func FuzzManifest(f *testing.F) {
	const sql = `CREATE TABLE r (k STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');
		CREATE TABLE s (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 's', 'key.format' = 'json', 'value.format' = 'json');
		INSERT INTO s SELECT k, COUNT(*) FROM r GROUP BY k`
	p, err := plan.Compile(sql, "p")
	if err != nil {
		f.Fatal(err)
	}
	m := manifest{Version: manifestNames, SQL: sql}
	for _, s := range p.Stages {
		m.Stages = append(m.Stages, stageManifest(s))
	}
	record, err := json.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	m.Stages = m.Stages[:1]
	m.Stages[0].Inputs, m.Stages[0].State = nil, nil
	if record, err = json.Marshal(m); err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	for _, other := range []string{"null", "{}", "7", `{"stages":[],"version":-1}`, `{"stages":[],"topics":{"r":{"id":"x","partitions":1,"begin":{"mode":"latest","offsets":{"0":-2}}}}}`} {
		f.Add([]byte(other))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		if m, err := decodeManifest(record); err == nil {
			text, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			again, err := decodeManifest(text)
			if err != nil || !strings.Contains(string(record), `"stages"`) {
				t.Fatalf("%q is taken for the plan %s: %v", record, text, err)
			}
			if diff := cmp.Diff(m, again, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("(-read +written and read)\n%s", diff)
			}
		}
		if p, err := RunningPlan(record, "p"); err == nil && (p == nil || p.Name == "") {
			t.Fatalf("%q gives no plan, and no error", record)
		}
	})
}
