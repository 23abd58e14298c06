package engine

import (
	"strings"
	"testing"

	"weir.example/weir/internal/plan"
)

func manifestOf(t *testing.T, query string) manifest {
	t.Helper()
	const tables = `
CREATE TABLE readings (device_id STRING, sensor STRING, x DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json');
CREATE TABLE stats (device_id STRING, x DOUBLE, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'stats', 'key.format' = 'raw', 'value.format' = 'json');
`
	program, err := plan.Compile(tables+query, "test")
	if err != nil {
		t.Fatal(err)
	}
	return (&pipeline{cfg: Config{Program: program}}).manifest()
}

// SQL that keeps the same state continues with it; for other SQL the differences are reported.
func TestManifests(t *testing.T) {
	old := manifestOf(t, "INSERT INTO stats SELECT device_id, SUM(x) FROM readings GROUP BY device_id;")
	for query, want := range map[string]string{
		"INSERT INTO stats SELECT device_id, SUM(x) FROM readings GROUP BY device_id;":                "",
		"INSERT INTO stats SELECT device_id, SUM(x) * 2 FROM readings GROUP BY device_id;":            "", // the projection has no state
		"INSERT INTO stats SELECT device_id, MAX(x) FROM readings GROUP BY device_id;":                "changed: Aggregate by device_id: SUM(x)",
		"INSERT INTO stats SELECT sensor, SUM(x) FROM readings GROUP BY sensor;":                      "stage2 is new",
		"INSERT INTO stats SELECT device_id, x FROM readings;":                                        "stage1 is missing",
		"INSERT INTO stats SELECT device_id, SUM(CAST(x AS FLOAT)) FROM readings GROUP BY device_id;": "changed:",
	} {
		report := compareManifests(old, manifestOf(t, query))
		if want == "" && report != "" || !strings.Contains(report, want) {
			t.Errorf("%s\nreport %q, want %q", query, report, want)
		}
	}
}
