// Package metamorphic tests SQL without knowing what is right: it generates pipelines and records
// from a seed, runs each pipeline in many ways that must not matter, and compares the rows. A
// difference is shrunk and printed as a pipeline and a .case that `weir test` reads.
//
//	metamorphic.go  Run: seeds one after the other, until the time is over
//	case.go         Case: a pipeline and its records; the text of both
//	tables.go       generator of tables, and how far their times are apart
//	rows.go         generator of records: small domains, NULLs, times around a change of clocks
//	expressions.go  generator of expressions by type
//	views.go        generator of views: what takes new rows and gives new rows
//	inserts.go      generator of INSERTs: what ends a query
//	variants.go     the ways to run a case: partitions, polls, crashes, keys, rewrites, time
//	compare.go      what is compared, and how a difference is told
//	shrink.go       a failing case with fewer records, statements, clauses and columns
//
// What must not matter is only what Weir promises. So the generator makes nothing whose rows depend
// on the order in which partitions are read:
//
//   - No row is late: times lie less than the watermark's delay behind those before them, and what
//     one INSERT writes for another to read has a delay longer than all of the data.
//   - What depends on the order of rows has one: LAG, ROWS frames and the first row of a key only
//     over times that are unique, a Top-N only ends in columns that tell rows apart, FIRST_VALUE
//     and LAST_VALUE only OVER such times.
//   - Sums of floats are exact in any order, since the values have few bits; variances are of
//     integers.
//   - What fails is computed from one record at a time, in the SELECT of an INSERT: such a record
//     is one dead letter. Groups that fail write a letter in each transaction in which they do so.
//   - Of tables whose rows replace each other the last row of each key counts, of others all rows,
//     in any order.
package metamorphic

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"
)

// Report is what a run has found.
type Report struct {
	Cases    int            // pipelines run
	Refused  int            // queries that were generated and that plan refuses
	Runs     int            // runs of a pipeline in some way
	Rows     int            // rows that came out, of the first run of each case
	Failures map[string]int // by kind
	Features map[string]int // how many pipelines had a feature
}

// Config is what Run does.
type Config struct {
	Seed     uint64        // of the first case; the following have the following seeds
	Cases    int           // 0: until the time is over
	Duration time.Duration // no case begins after it; 0: no limit
	Found    func(Failure) // called for each failure, shrunk; one call at a time
	Progress func(Report)  // called after each case with the sum so far; may be nil
}

// Run generates cases and runs them, as many at once as there are processors.
func Run(c Config) Report {
	r := Report{Failures: make(map[string]int), Features: make(map[string]int)}
	var (
		lock  sync.Mutex // over r, next and the functions of c
		next  int
		began = time.Now()
		all   sync.WaitGroup
	)
	take := func() (seed uint64, ok bool) {
		lock.Lock()
		defer lock.Unlock()
		ok = (c.Cases == 0 || next < c.Cases) && (c.Duration == 0 || time.Since(began) < c.Duration)
		seed = c.Seed + uint64(next) //nolint:gosec // counts up
		next++
		return seed, ok
	}
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				one, f := runSeed(seed)
				lock.Lock()
				r.add(one)
				if f != nil {
					c.Found(*f)
				}
				if c.Progress != nil {
					c.Progress(r)
				}
				lock.Unlock()
			}
		})
	}
	all.Wait()
	return r
}

// runSeed generates and runs the case of a seed, and makes its failure smaller where there is one.
func runSeed(seed uint64) (Report, *Failure) {
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's data
	g := newGenerator(random)
	r := Report{Cases: 1, Failures: make(map[string]int), Features: make(map[string]int)}
	c, err := g.safely()
	c.Seed, r.Refused = seed, g.refused
	if err != nil {
		r.Failures["panic"] = 1
		return r, &Failure{c, Plainest, "panic", err.Error()}
	}
	for f := range g.features {
		r.Features[f] = 1
	}
	var f *Failure
	if f, r.Runs, r.Rows = try(c, variantsOf(c, random)); f != nil {
		r.Failures[f.Kind] = 1
		shrink(f)
	}
	return r, f
}

// safely makes a case. A panic of the planner, which looks at each query, is an error, with the
// statements so far.
func (g *generator) safely() (c Case, err error) {
	defer func() {
		if p := recover(); p != nil {
			c, err = Case{SQL: g.text()}, fmt.Errorf("plan a query: panic: %v", p)
		}
	}()
	return g.generate(), nil
}

func (r *Report) add(other Report) {
	r.Cases, r.Refused, r.Runs, r.Rows = r.Cases+other.Cases, r.Refused+other.Refused, r.Runs+other.Runs, r.Rows+other.Rows
	for k, n := range other.Failures {
		r.Failures[k] += n
	}
	for k, n := range other.Features {
		r.Features[k] += n
	}
}

// String is one line: how many, and what failed.
func (r Report) String() string {
	failed := 0
	kinds := ""
	for _, k := range sortedKeys(r.Failures) {
		failed += r.Failures[k]
		kinds += fmt.Sprintf(", %s: %d", k, r.Failures[k])
	}
	return fmt.Sprintf("%d pipelines in %d runs, %d rows, %d queries refused by the planner, %d failures%s", r.Cases, r.Runs, r.Rows, r.Refused, failed, kinds)
}
