package pipelines

import (
	"path/filepath"
	"strings"
	"testing"

	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/site"
	"weir.example/weir/internal/sqltest"
)

// Each pipeline gives what its tests expect, also record by record and through crashes.
func TestPipelines(t *testing.T) {
	files, err := filepath.Glob("*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal("no pipelines", err)
	}
	for _, file := range files {
		tests, err := sqltest.Tests(file)
		if err != nil || len(tests) == 0 {
			t.Errorf("%s has no test: %v", file, err)
		}
		for _, test := range tests {
			for _, o := range []dryrun.Options{{Partitions: 1}, {Partitions: 1, Batch: 1, Crash: true}} {
				if diff, err := sqltest.Check(file, test, o); diff != "" || err != nil {
					t.Errorf("%s with %+v: %s%v", test, o, diff, err)
				}
			}
		}
	}
}

// For a site, all names of a pipeline belong to the site.
func TestPipelinesOfASite(t *testing.T) {
	s, err := site.Of("site_a.readings")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Names() {
		text, _ := Source(name)
		p, err := plan.Compile(s.SQL(text), s.Scoped(name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		names := []string{p.Name + ".", p.Settings.DeadLetterTopic, p.Settings.LateTopic}
		reads := false
		for _, table := range p.Tables {
			reads = reads || table.Kafka.Topic == s.Readings()
			names = append(names, table.Kafka.Topic+".")
		}
		for _, n := range names {
			if !strings.HasPrefix(n, s.Readings()+".") {
				t.Errorf("%s: %s does not belong to the site", name, n)
			}
		}
		if others := name == "geofence" || name == "oee"; reads == others { // their rows are not readings
			t.Errorf("%s reads the readings of the site: %t", name, reads)
		}
	}
}
