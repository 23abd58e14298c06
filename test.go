package weir

import (
	"time"

	"weir.example/weir/internal/sqltest"
)

// TestResult is the outcome of one test of a pipeline.
type TestResult struct {
	SQL  string // pipeline file
	Test string // test file
	OK   bool
	Diff string // missing rows with -, unexpected rows with +
	Err  string // why the pipeline or the test could not run; "" if it ran
	Took time.Duration
}

// Test runs the tests of the pipelines in a directory, as weir test does: for x.sql, those in
// x.case and x.*.case. It needs no broker. It returns an error if there is nothing to run.
func Test(dir string) ([]TestResult, error) {
	results, err := sqltest.Dir(dir, false)
	if err != nil {
		return nil, refuse(err)
	}
	all := make([]TestResult, len(results))
	for i, r := range results {
		all[i] = TestResult{SQL: r.SQL, Test: r.Test, OK: r.OK, Diff: r.Diff, Err: r.Error, Took: r.Took}
	}
	return all, nil
}
