package conformance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/stack"
	"weir/sqltest"
)

// lab starts a broker and a Flink cluster.
func lab(t *testing.T) *Lab {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a broker and a Flink cluster")
	}
	if running := os.Getenv("WEIR_CONFORMANCE_LAB"); running != "" { // broker,gateway,jobmanager: for trying cases, without the start
		at := strings.Split(running, ",")
		return &Lab{Brokers: at[:1], Gateway: at[1], Rest: at[2]}
	}
	kafka := stack.New(t, 1)
	flink := stack.NewFlink(t, stack.FlinkOptions{Slots: 12})
	return &Lab{Brokers: kafka.Brokers(), Gateway: flink.GatewayURL(), Rest: flink.RestURL()}
}

// TestConformance has real Flink do what Weir does: compute the expressions of scripts, and run pipelines over the same topics of a
// real broker. make conformance shows what it has compared.
func TestConformance(t *testing.T) {
	l := lab(t)
	testScripts(t, l)
	testColumns(t, l)
	testRefused(t, l)
	testPipelines(t, l)
}

// sqltestCases are those of sqltest/testdata that end without a clock, and whose topics are either read or written.
var sqltestCases = []string{"cumulate", "dedup_first", "dedup_late", "first_rows", "group", "grouping_sets", "hop", "idle", "latest", "lookup", "many", "over", "over_late", "regroup", "retract", "session", "topn", "topn_updates", "tumble", "unnest"}

func pipelineFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, dir := range []string{"cases", "../pipelines"} {
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
	run := strconv.FormatInt(time.Now().UnixMilli(), 36) // topics of an earlier run may be there
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
					out, err := l.Run(t.Context(), file, test, fmt.Sprintf("%s.%s.%s", run, filepath.Base(filepath.Dir(file)), name))
					var refused *flinkError
					if errors.As(err, &refused) && k[name] != "" {
						others.Add(1)
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					if k[name] != "" {
						t.Errorf("%s is listed in testdata/known, and Flink runs it", name)
					}
					for _, d := range out.Tables {
						queries.Add(1)
						rows.Add(int64(d.Rows))
						identical.Add(int64(d.Identical))
						at, differs := name+"."+d.Table, d.String()
						switch {
						case differs != "" && k[at] != "":
							others.Add(1)
						case differs != "":
							t.Error("\n" + differs)
						case k[at] != "":
							t.Errorf("%s is listed in testdata/known, and both give the same rows", at)
						}
					}
				})
			}
		}
	})
	t.Logf("%d pipelines, %d result tables: %d rows from Flink, %d of them byte for byte those of Weir; %d known differences", len(files), queries.Load(), rows.Load(), identical.Load(), others.Load())
}
