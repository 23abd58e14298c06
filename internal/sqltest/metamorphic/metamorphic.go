// Package metamorphic tests SQL without an oracle: it generates pipelines and records from a seed,
// runs each pipeline with several variants that must give equal rows, and compares the rows. A
// failure is shrunk and printed as a pipeline and a .case that `weir test` can run.
//
//	metamorphic.go  Run: consecutive seeds until the time is up
//	case.go         Case: a pipeline and its records, and their text
//	tables.go       generator of tables; distances between times
//	rows.go         generator of records: small domains, NULLs, times around DST changes
//	expressions.go  generator of expressions by type
//	views.go        generator of views over append-only rows and upserts
//	inserts.go      generator of INSERTs
//	joins.go        generator of joins of two relations
//	variants.go     variants: partitions, batches, crashes, keys, rewrites, time types
//	compare.go      comparing and formatting differences
//	shrink.go       shrinking a failing case: records, statements, clauses, columns
//
// Variants differ only in ways that Weir promises not to affect the rows. The generator therefore
// avoids queries whose rows depend on the order in which partitions are read:
//
//   - No row is late: rows are out of order by less than the watermark's delay, and the delay of a
//     table that one INSERT writes and another reads exceeds the time span of all data.
//   - Order-dependent functions have a total order: LAG, ROWS frames and the first row of a key are
//     used only over unique times, the order of a Top-N ends with unique columns, FIRST_VALUE and
//     LAST_VALUE are used only with OVER and unique times.
//   - Sums of floats are exact in any order, because the values have few bits; variances are of
//     integers.
//   - Expressions that fail are computed from single records, in the SELECT of an INSERT: such a
//     record is one dead letter. A failing group would write a dead letter per transaction.
//   - In updating tables, only the last row of each key is compared; in other tables all rows, in
//     any order.
package metamorphic

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"
)

// Report is the result of a run.
type Report struct {
	Cases    int            // pipelines run
	Rejected int            // generated queries that the planner rejects
	Runs     int            // runs of a pipeline with a variant
	Rows     int            // output rows of the first run of each case
	Failures map[string]int // by kind
	Features map[string]int // number of pipelines by feature
}

// Config configures Run.
type Config struct {
	Seed     uint64        // of the first case; later cases count up
	Cases    int           // 0: no limit
	Duration time.Duration // no case starts after it; 0: no limit
	Found    func(Failure) // called for each failure after shrinking; calls are serialized
	Progress func(Report)  // called after each case with the totals so far; may be nil
}

// Run generates and runs cases, in parallel on all CPUs.
func Run(c Config) Report {
	r := Report{Failures: make(map[string]int), Features: make(map[string]int)}
	var (
		lock  sync.Mutex // guards r, next and the callbacks of c
		next  int
		began = time.Now()
		all   sync.WaitGroup
	)
	nextSeed := func() (seed uint64, ok bool) {
		lock.Lock()
		defer lock.Unlock()
		ok = (c.Cases == 0 || next < c.Cases) && (c.Duration == 0 || time.Since(began) < c.Duration)
		seed = c.Seed + uint64(next) //nolint:gosec // not negative
		next++
		return seed, ok
	}
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for seed, ok := nextSeed(); ok; seed, ok = nextSeed() {
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

// runSeed generates and runs the case of a seed, and shrinks its failure, if any.
func runSeed(seed uint64) (Report, *Failure) {
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // test data
	g := newGenerator(random)
	r := Report{Cases: 1, Failures: make(map[string]int), Features: make(map[string]int)}
	c, err := g.safely()
	c.Seed, r.Rejected = seed, g.rejected
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

// safely generates a case. A panic of the planner, which checks each query, is returned as an
// error, together with the statements so far.
func (g *generator) safely() (c Case, err error) {
	defer func() {
		if p := recover(); p != nil {
			c, err = Case{SQL: g.text()}, fmt.Errorf("plan a query: panic: %v", p)
		}
	}()
	return g.generate(), nil
}

func (r *Report) add(other Report) {
	r.Cases, r.Rejected, r.Runs, r.Rows = r.Cases+other.Cases, r.Rejected+other.Rejected, r.Runs+other.Runs, r.Rows+other.Rows
	for k, n := range other.Failures {
		r.Failures[k] += n
	}
	for k, n := range other.Features {
		r.Features[k] += n
	}
}

// String summarizes the report in one line.
func (r Report) String() string {
	failed := 0
	kinds := ""
	for _, k := range sortedKeys(r.Failures) {
		failed += r.Failures[k]
		kinds += fmt.Sprintf(", %s: %d", k, r.Failures[k])
	}
	return fmt.Sprintf("%d pipelines in %d runs, %d rows, %d queries rejected by the planner, %d failures%s", r.Cases, r.Runs, r.Rows, r.Rejected, failed, kinds)
}
