package sqltest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir.example/weir/internal/dryrun"
)

// TestOperators runs each test of testdata in several ways that must all give the same rows: with
// one and four partitions, in small transactions, with a random order of reads, and with each
// transaction aborted or crashed before it commits.
func TestOperators(t *testing.T) {
	files, err := filepath.Glob("testdata/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal("testdata has no pipelines", err)
	}
	for _, file := range files {
		tests, err := Tests(file)
		if err != nil || len(tests) == 0 {
			t.Fatalf("%s has no test: %v", file, err)
		}
		for _, test := range tests {
			t.Run(filepath.Base(test), func(t *testing.T) { runWithAllOptions(t, file, test) })
		}
	}
}

func runWithAllOptions(t *testing.T, file, test string) {
	for _, partitions := range []int32{1, 4} {
		for _, batch := range []int{0, 1, 2} {
			for _, crash := range []bool{false, true} {
				check(t, file, test, dryrun.Options{Partitions: partitions, Batch: batch, Crash: crash})
			}
		}
		for range 6 {
			seed := 1 + rand.Int64N(1_000_000)
			check(t, file, test, dryrun.Options{Partitions: partitions, Crash: seed%2 == 0, MaxFired: int(seed % 3), Seed: seed})
		}
	}
}

func check(t *testing.T, file, test string, o dryrun.Options) {
	t.Helper()
	if diff, err := Check(file, test, o); diff != "" || err != nil {
		t.Errorf("%+v: %s%v", o, diff, err)
	}
}

// The diff of a failed test lists missing and unexpected rows; an update makes the test pass.
func TestDiff(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"topn.sql", "topn.case"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), `"hottest":30}`, `"hottest":31}`, 1)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	results, err := Dir(dir, false)
	if err != nil || len(results) != 1 {
		t.Fatal(results, err)
	}
	const want = "results: 2 of 3 expected rows found, 1 unexpected\n" +
		"  + {\"sensor\":\"t\",\"s\":\"2026-01-01 00:00:00\",\"rank_\":1,\"device_id\":\"c\",\"hottest\":30.0}\n" +
		"  - {\"sensor\":\"t\",\"s\":\"2026-01-01 00:00:00\",\"rank_\":1,\"device_id\":\"c\",\"hottest\":31}\n"
	if r := results[0]; r.OK || r.Diff != want {
		t.Errorf("diff %q, want %q", r.Diff, want)
	}
	if results, err = Dir(dir, true); err != nil || !results[0].Updated {
		t.Fatal(results, err)
	}
	if results, err = Dir(dir, false); err != nil || !results[0].OK {
		t.Errorf("after the update: %+v %v", results, err)
	}
}
