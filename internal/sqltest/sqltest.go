// Package sqltest tests pipelines without a broker: a .case file next to the SQL contains input
// rows and expected output rows. Pipelines run as a simulation of package dryrun.
//
//	sqltest.go  the tests of a directory; running one test
//	file.go     the test file: parsing, running, comparing, updating
//	play.go     the records of a test, to compare Weir with Flink
package sqltest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// Result is the result of one test.
type Result struct {
	SQL     string        `json:"sql"`
	Test    string        `json:"test"`
	OK      bool          `json:"ok"`
	Diff    string        `json:"diff,omitempty"`    // missing rows with -, unexpected rows with +
	Error   string        `json:"error,omitempty"`   // the SQL or the test is invalid, or the run failed
	Dropped string        `json:"dropped,omitempty"` // rows dropped by table options such as json.ignore-parse-errors
	Updated bool          `json:"updated,omitempty"`
	Took    time.Duration `json:"took_ns"`
}

// Dir runs the tests of all pipelines in a directory: for x.sql those in x.case and x.*.case. With
// update, expected rows that differ are replaced in the files.
func Dir(dir string, update bool) ([]Result, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.sql"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no *.sql", dir)
	}
	var all []Result
	for _, file := range files {
		tests, err := Tests(file)
		if err != nil {
			return nil, err
		}
		for _, test := range tests {
			all = append(all, Run(file, test, update))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no tests: for x.sql write x.case (send TOPIC, rows as JSON, expect TOPIC)", dir)
	}
	return all, nil
}

// Tests returns the test files of a pipeline.
func Tests(file string) ([]string, error) {
	base := strings.TrimSuffix(file, ".sql")
	tests, err := filepath.Glob(base + ".*.case")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(base + ".case"); err == nil {
		tests = append([]string{base + ".case"}, tests...)
	}
	return tests, nil
}

// Run runs one test of a pipeline. With update, a test that differs is rewritten.
func Run(file, test string, update bool) Result {
	began := time.Now()
	r := Result{SQL: file, Test: test}
	err := r.run(update)
	if err != nil {
		r.OK, r.Error = false, err.Error()
	}
	r.Took = time.Since(began)
	return r
}

func (r *Result) run(update bool) error {
	f, got, dropped, err := runTest(r.SQL, r.Test, dryrun.Options{Partitions: 1})
	if err != nil {
		return err
	}
	r.Dropped = dropped.String()
	r.Diff = f.diff(got)
	if r.OK = r.Diff == ""; !r.OK && update {
		if err := os.WriteFile(r.Test, bytes.TrimLeft(f.updated(got), "\n"), 0o600); err != nil {
			return err
		}
		r.OK, r.Updated = true, true
	}
	return nil
}

// Check runs one test of a pipeline with options and returns the difference from the expected rows;
// "" if there is none.
func Check(file, test string, o dryrun.Options) (diff string, err error) {
	f, got, _, err := runTest(file, test, o)
	if err != nil {
		return "", err
	}
	return f.diff(got), nil
}

func runTest(pipeline, test string, o dryrun.Options) (f *file, got map[string][]string, dropped operator.Dropped, err error) {
	text, err := os.ReadFile(pipeline) //nolint:gosec // path given by the user
	if err != nil {
		return nil, nil, nil, err
	}
	program, err := plan.Compile(string(text), strings.TrimSuffix(filepath.Base(pipeline), ".sql"))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", pipeline, err)
	}
	if f, err = readFile(test); err != nil {
		return nil, nil, nil, err
	}
	if got, dropped, err = f.run(program, o); err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", test, err)
	}
	return f, got, dropped, nil
}

// Rows runs a test given as text and returns the rows of the expected topics.
func Rows(p *plan.Program, test string) (map[string][]string, error) {
	return RowsWith(p, test, dryrun.Options{Partitions: 1})
}

// RowsWith is Rows with options.
func RowsWith(p *plan.Program, test string, o dryrun.Options) (map[string][]string, error) {
	f, err := parseFile(test)
	if err != nil {
		return nil, err
	}
	got, _, err := f.run(p, o)
	return got, err
}
