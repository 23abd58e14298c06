// Package sqltest runs pipelines over fixtures without a broker: a test file beside the SQL says
// what comes in and what must come out, with a clock that only the file moves.
//
//	sqltest.go  a directory of pipelines and their tests
//	file.go     the test file: reading, writing, comparing
//	sim.go      the pipeline's tasks over topics in memory
//	preview.go  a pipeline over the records of real topics, to look at
//	play.go     rows of a test without its clock, to compare with what Flink makes of them
package sqltest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir.example/weir/internal/plan"
)

// Result is what became of one test.
type Result struct {
	SQL     string        `json:"sql"`
	Test    string        `json:"test"`
	OK      bool          `json:"ok"`
	Diff    string        `json:"diff,omitempty"`    // expected rows with -, others with +
	Error   string        `json:"error,omitempty"`   // the SQL or the test can't be read
	Dropped string        `json:"dropped,omitempty"` // what options of tables left out, such as json.ignore-parse-errors
	Updated bool          `json:"updated,omitempty"`
	Took    time.Duration `json:"took_ns"`
}

// Dir runs the tests of all pipelines in a directory: for x.sql those in x.case and x.*.case. With
// update, what comes out is written into the files.
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

// Tests are the test files of a pipeline.
func Tests(file string) ([]string, error) {
	front := strings.TrimSuffix(file, ".sql")
	tests, err := filepath.Glob(front + ".*.case")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(front + ".case"); err == nil {
		tests = append([]string{front + ".case"}, tests...)
	}
	return tests, nil
}

// Run runs one test of a pipeline.
func Run(file, test string, update bool) Result {
	began := time.Now()
	r := Result{SQL: file, Test: test}
	fail := func(err error) Result {
		r.Error, r.Took = err.Error(), time.Since(began)
		return r
	}
	text, err := os.ReadFile(file) //nolint:gosec // the user's file
	if err != nil {
		return fail(err)
	}
	program, err := plan.Compile(string(text), strings.TrimSuffix(filepath.Base(file), ".sql"))
	if err != nil {
		return fail(fmt.Errorf("%s: %w", file, err))
	}
	script, err := os.ReadFile(test) //nolint:gosec // likewise
	if err != nil {
		return fail(err)
	}
	f, err := parseFile(string(script))
	if err != nil {
		return fail(fmt.Errorf("%s: %w", test, err))
	}
	got, dropped, err := f.run(program, Options{Partitions: 1})
	if err != nil {
		return fail(fmt.Errorf("%s: %w", test, err))
	}
	r.Dropped = dropped.String()
	r.Diff = f.diff(got)
	if r.OK = r.Diff == ""; !r.OK && update {
		if err := os.WriteFile(test, bytes.TrimLeft(f.updated(got), "\n"), 0o600); err != nil {
			return fail(err)
		}
		r.OK, r.Updated = true, true
	}
	r.Took = time.Since(began)
	return r
}

// Rows runs a pipeline over a test in memory and returns the rows of those topics that the test
// expects rows of.
func Rows(p *plan.Program, script string) (map[string][]string, error) {
	f, err := parseFile(script)
	if err != nil {
		return nil, err
	}
	got, _, err := f.run(p, Options{Partitions: 1})
	return got, err
}

// RowsIn runs a pipeline over a test in a way of its own, and returns the rows of those topics that
// the test expects rows of.
func RowsIn(p *plan.Program, script string, o Options) (map[string][]string, error) {
	f, err := parseFile(script)
	if err != nil {
		return nil, err
	}
	got, _, err := f.run(p, o)
	return got, err
}

// Options vary how a test runs; the rows that come out must not depend on them.
type Options struct {
	Partitions int32
	Batch      int   // records in one transaction; 0 is all between two clock movements
	Crash      bool  // do each transaction first in vain, and then again, every other time with a task restored from the changelog
	MaxFired   int   // of operator.Config
	Seed       int64 // not 0: tasks read in a random order, some records at a time, while rows still come
}

// Check runs one test of a pipeline in a way of its own, and returns how the rows differ from what
// is expected.
func Check(file, test string, o Options) (diff string, err error) {
	text, err := os.ReadFile(file) //nolint:gosec // the user's file
	if err != nil {
		return "", err
	}
	program, err := plan.Compile(string(text), strings.TrimSuffix(filepath.Base(file), ".sql"))
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	script, err := os.ReadFile(test) //nolint:gosec // likewise
	if err != nil {
		return "", err
	}
	f, err := parseFile(string(script))
	if err != nil {
		return "", fmt.Errorf("%s: %w", test, err)
	}
	got, _, err := f.run(program, o)
	if err != nil {
		return "", fmt.Errorf("%s: %w", test, err)
	}
	return f.diff(got), nil
}
