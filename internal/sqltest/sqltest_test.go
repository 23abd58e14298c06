package sqltest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOperators runs each pipeline of testdata once, and then again in other ways that must give
// the same rows: in four partitions, in small transactions, in random orders of polls, and with
// each transaction done in vain before, by an abort and by a crash with restore. Rows come in the
// same partitions, whatever the order.
func TestOperators(t *testing.T) {
	files, err := filepath.Glob("testdata/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		tests, err := Tests(file)
		if err != nil || len(tests) == 0 {
			t.Fatalf("%s has no test: %v", file, err)
		}
		for _, test := range tests {
			t.Run(filepath.Base(test), func(t *testing.T) { runAllWays(t, file, test) })
		}
	}
}

func runAllWays(t *testing.T, file, test string) {
	for _, partitions := range []int32{1, 4} {
		for _, batch := range []int{0, 1, 2} {
			for _, crash := range []bool{false, true} {
				check(t, file, test, Options{Partitions: partitions, Batch: batch, Crash: crash})
			}
		}
		for range 6 {
			seed := 1 + rand.Int64N(1_000_000)
			check(t, file, test, Options{Partitions: partitions, Crash: seed%2 == 0, MaxFired: int(seed % 3), Seed: seed})
		}
	}
}

func check(t *testing.T, file, test string, o Options) {
	t.Helper()
	if diff, err := Check(file, test, o); diff != "" || err != nil {
		t.Errorf("%+v: %s%v", o, diff, err)
	}
}

// A test that expects something else fails, and says what.
func TestDiffSaysWhat(t *testing.T) {
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
	const want = "results: 2 of 3 expected rows came, and 1 others\n" +
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
