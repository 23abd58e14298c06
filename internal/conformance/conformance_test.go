package conformance

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/sqltest"
	"weir.example/weir/internal/stack"
)

var (
	update  = flag.Bool("golden", false, "keep the rows that Flink gives in golden/")
	missing = flag.Bool("missing", false, "ask Flink only for rows that are not kept")
	all     = flag.Bool("all", false, "ask Flink for the rows of all pipelines instead of a sample")
)

// asked reports whether Flink is asked for the rows of a case. TestGolden compares Weir with all
// recorded rows, which stay those of Flink as long as a case does not change, so a sample that
// depends on the cases' hashes is enough to notice another Flink or another way to run it.
func asked(hash string) bool {
	if *all || *update || longtest.Enabled() {
		return true
	}
	const one = 8 // of so many
	h := fnv.New32a()
	_, _ = h.Write([]byte(hash))
	return h.Sum32()%one == 0
}

// keep compares Flink's rows with the recorded ones, or records them.
func keep(t *testing.T, c *pipelineCase, kept, now *golden) {
	t.Helper()
	if *update {
		if err := now.write(c.file, c.test); err != nil {
			t.Error(err)
		}
		return
	}
	if kept == nil {
		t.Error(errNoGolden)
		return
	}
	for table, rows := range now.Tables {
		if d := difference(table, rows, kept.Tables[table]).String(); d != "" {
			t.Errorf("Flink's rows (-) differ from the recorded ones (+):\n%s", d)
		}
	}
}

// TestGolden compares Weir's in-memory results with Flink's recorded ones for the same rows in the
// same partitions, for several poll orders and transaction sizes. It does not need Flink; make
// conformance does.
func TestGolden(t *testing.T) {
	k := readKnown(t)
	queries, tables := 0, 0
	for _, file := range pipelineFiles(t) {
		tests, err := sqltest.Tests(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range tests {
			name := strings.TrimSuffix(filepath.Base(test), ".case")
			t.Run(filepath.Base(filepath.Dir(file))+"/"+name, func(t *testing.T) {
				c, err := readCase(file, test)
				if err != nil {
					t.Fatal(err)
				}
				g, err := readGolden(file, test, c.hash)
				if err != nil {
					t.Fatal(err)
				}
				p, err := c.compile()
				if err != nil {
					t.Fatal(err)
				}
				queries += len(p.Sinks)
				tables += len(g.Tables)
				seed := 1 + rand.Int64N(1_000_000)
				for _, o := range []dryrun.Options{{}, {Batch: 3, Crash: true}, {Seed: seed}, {Seed: seed + 1, MaxFired: 1, Crash: true}} {
					diffs, err := c.against(g, o)
					if err != nil {
						t.Fatalf("%+v: %v", o, err)
					}
					for _, d := range diffs {
						at, differs := name+"."+d.Table, d.String()
						if differs != "" && k[at] == "" {
							t.Errorf("%+v:\n%s", o, differs)
						}
						if differs == "" && k[at] != "" {
							t.Errorf("%s is listed in testdata/known, and both give the same rows", at)
						}
					}
				}
			})
		}
	}
	t.Logf("%d INSERTs, %d tables compared with Flink %s", queries, tables, FlinkVersion)
	const least = 250
	if queries < least {
		t.Errorf("%d INSERTs, want at least %d", queries, least)
	}
}

// lab starts a broker and a Flink cluster.
func lab(t *testing.T) *Lab {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a broker and a Flink cluster")
	}
	if running := os.Getenv("WEIR_CONFORMANCE_LAB"); running != "" { // broker,gateway,jobmanager: reuses a running lab while developing cases
		at := strings.Split(running, ",")
		return &Lab{Brokers: at[:1], Gateway: at[1], Rest: at[2]}
	}
	kafka := stack.New(t, 1)
	flink := stack.NewFlink(t, stack.FlinkOptions{Slots: 12})
	return &Lab{Brokers: kafka.Brokers(), Gateway: flink.GatewayURL(), Rest: flink.RestURL()}
}

// TestConformance compares Weir with a real Flink: scripted expressions, rejected statements, and
// pipelines over the same topics of a real broker. make conformance prints the number of
// comparisons.
func TestConformance(t *testing.T) {
	l := lab(t)
	testScripts(t, l)
	testColumns(t, l)
	testRefused(t, l)
	testDatabase(t, l)
	testPipelines(t, l)
}

// sqltestCases are the cases of sqltest/testdata that finish without a clock and do not read a
// topic that they write.
var sqltestCases = []string{"cumulate", "dedup_first", "dedup_late", "first_rows", "group", "grouping_sets", "hop", "idle", "implicit_zone", "lateral", "lateral_aggregates", "latest", "lookup", "many", "multiset", "order_by", "over", "over_late", "regroup", "retract", "scalar", "scalar_of_row", "semi_join", "session", "session_distinct", "topn", "topn_updates", "tumble", "unnest", "updated_topn", "upserts", "using", "values", "values_join", "versioned_view", "window_join"}

func pipelineFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, dir := range []string{"cases", "../../pipelines"} {
		found, err := filepath.Glob(filepath.Join(dir, "*.sql"))
		if err != nil || len(found) == 0 {
			t.Fatal(dir, "has no pipelines", err)
		}
		files = append(files, found...)
	}
	for _, name := range sqltestCases {
		files = append(files, "../sqltest/testdata/"+name+".sql")
	}
	return files
}

// testPipelines runs each pipeline of pipelines/, cases/ and sqltest/ on both engines.
func testPipelines(t *testing.T, l *Lab) {
	k := readKnown(t)
	files := pipelineFiles(t)
	run := strconv.FormatInt(time.Now().UnixMilli(), 36) // topics of earlier runs may still exist
	var queries, rows, identical, others atomic.Int64
	t.Run("pipelines", func(t *testing.T) {
		for _, file := range files {
			tests, err := sqltest.Tests(file)
			if err != nil || len(tests) == 0 {
				t.Fatal(file, "has no test", err)
			}
			for _, test := range tests {
				name := strings.TrimSuffix(filepath.Base(test), ".case")
				t.Run(filepath.Base(filepath.Dir(test))+"/"+name, func(t *testing.T) {
					t.Parallel()
					c, err := readCase(file, test)
					if err != nil {
						t.Fatal(err)
					}
					kept, err := readGolden(file, test, c.hash)
					if err == nil && (*missing || !asked(c.hash)) {
						t.Skip("its rows are recorded")
					}
					out, err := l.Run(t.Context(), file, test, fmt.Sprintf("%s.%s.%s", run, filepath.Base(filepath.Dir(file)), name))
					var refused *flinkError
					if errors.As(err, &refused) && k[name] != "" {
						others.Add(1)
						keep(t, c, kept, &golden{Hash: c.hash, Refused: true})
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					if k[name] != "" {
						t.Errorf("%s is listed in testdata/known, and Flink runs it", name)
					}
					dependent := readDealing(t)
					of := &golden{Hash: c.hash, Tables: make(map[string][]string)}
					for _, d := range out.Tables {
						at, differs := name+"."+d.Table, d.String()
						varies := k[at] != "" && dependent[name+dealtTables+d.Table] != "" // Flink's rows, between runs
						if !varies || *update {
							of.Tables[d.Table] = d.All
						}
						queries.Add(1)
						rows.Add(int64(d.Rows))
						identical.Add(int64(d.Identical))
						switch {
						case varies, differs != "" && k[at] != "":
							others.Add(1)
						case differs != "":
							t.Error("\n" + differs)
						case k[at] != "":
							t.Errorf("%s is listed in testdata/known, and both give the same rows", at)
						}
					}
					keep(t, c, kept, of)
				})
				t.Run(filepath.Base(filepath.Dir(test))+"/"+name+"/dealt", func(t *testing.T) {
					t.Parallel()
					testDealt(t, l, k, file, test, fmt.Sprintf("%s.dealt.%s.%s", run, filepath.Base(filepath.Dir(file)), name))
				})
			}
		}
	})
	t.Logf("%d pipelines, %d result tables: %d rows from Flink, %d of them byte for byte those of Weir; %d known differences", len(files), queries.Load(), rows.Load(), identical.Load(), others.Load())
}

// testDealt runs a pipeline on Flink with its rows spread over four partitions. It skips cases with
// late rows, for which Flink's result depends on timing.
func testDealt(t *testing.T, l *Lab, k known, file, test, topics string) {
	name := strings.TrimSuffix(filepath.Base(test), ".case")
	c, err := readCase(file, test)
	if err != nil {
		t.Fatal(err)
	}
	d, records, err := c.spread()
	if err != nil {
		t.Fatal(err)
	}
	hash := caseHash(c.text, records)
	kept, err := readGolden(file, dealtTest(test), hash)
	if err == nil && (*missing || !asked(hash)) {
		t.Skip("its rows are recorded")
	}
	if _, _, late, err := d.run(test, dryrun.Options{}); err != nil || late > 0 || k[name] != "" {
		t.Skip("rows are late, or Flink does not run it", err)
	}
	out, err := l.runOver(t.Context(), d.text, records, topics)
	if err != nil {
		t.Fatal(err)
	}
	dependent := readDealing(t)
	of := &golden{Hash: hash, Tables: make(map[string][]string)}
	for _, table := range out.Tables {
		at, differs := name+"."+table.Table, table.String()
		if dependent[at] != "" || dependent[name+dealtTables+table.Table] != "" {
			continue
		}
		if of.Tables[table.Table] = table.All; differs != "" && k[at] == "" {
			t.Error("\n" + differs)
		}
	}
	keep(t, &pipelineCase{file: file, test: dealtTest(test)}, kept, of)
}
