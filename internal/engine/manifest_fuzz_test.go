package engine

import (
	"encoding/json"
	"testing"

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
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, record []byte) {
		if p, err := RunningPlan(record, "p"); err == nil && (p == nil || p.Name == "") {
			t.Fatalf("%q gives no plan, and no error", record)
		}
	})
}
