package sqltest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"weir/plan"
)

// TestOperators runs each pipeline of testdata once, and then again in other ways that must give the same rows: in four
// partitions, in small transactions, and with each transaction done in vain before, by an abort and by a crash with restore.
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
	text, err := os.ReadFile(file) //nolint:gosec // testdata
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(test) //nolint:gosec // testdata
	if err != nil {
		t.Fatal(err)
	}
	for _, partitions := range []int32{1, 4} {
		for _, batch := range []int{0, 1, 2} {
			for _, crash := range []bool{false, true} {
				o := Options{partitions, batch, crash}
				t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
					program, err := plan.Compile(string(text), "test")
					if err != nil {
						t.Fatal(err)
					}
					f, err := parseFile(string(script))
					if err != nil {
						t.Fatal(err)
					}
					got, err := f.run(program, o)
					if err != nil {
						t.Fatal(err)
					}
					if diff := f.diff(got); diff != "" {
						t.Errorf("%s", diff)
					}
				})
			}
		}
	}
}
