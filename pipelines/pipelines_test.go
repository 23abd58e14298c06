package pipelines

import (
	"path/filepath"
	"testing"

	"weir.example/weir/internal/dryrun"
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
