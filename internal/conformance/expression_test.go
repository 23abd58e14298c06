package conformance

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// block is one block of an expression script.
type block struct {
	at          string // file:line
	zone        string
	expressions []string
	want        []string
}

// expressionBlocks reads a script of expr/testdata.
func expressionBlocks(t *testing.T, path string) (all []block) {
	datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string {
		b := block{at: d.Pos, zone: "UTC", expressions: lines(d.Input), want: lines(d.Expected)}
		if d.HasArg("zone") {
			d.ScanArgs(t, "zone", &b.zone)
		}
		all = append(all, b)
		return d.Expected
	})
	return all
}

func lines(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") }

func readKnown(t *testing.T) known {
	t.Helper()
	text, err := os.ReadFile("testdata/known")
	if err != nil {
		t.Fatal(err)
	}
	return parseKnown(string(text))
}

// report fails the test for differences that are not known, and for known ones that no longer
// occur.
func report(t *testing.T, at string, k known, expressions, differ []string) {
	t.Helper()
	found := make(map[string]bool)
	for _, d := range differ {
		e, _, _ := strings.Cut(d, "\n")
		found[e] = true
		if k[e] == "" {
			t.Errorf("%s: Flink (-) computes otherwise than Weir (+):\n  %s", at, d)
		}
	}
	for _, e := range expressions {
		if k[e] != "" && !found[e] {
			t.Errorf("%s: %s is listed in testdata/known, and both compute the same", at, e)
		}
	}
}

// testScripts has Flink evaluate each line of the scripts that test Weir's expressions.
func testScripts(t *testing.T, l *Lab) {
	k := readKnown(t)
	files, err := filepath.Glob("../expr/testdata/*")
	if err != nil || len(files) < 5 {
		t.Fatal("no scripts", err)
	}
	files = slices.DeleteFunc(files, func(file string) bool { return filepath.Base(file) == "transaction" }) // depends on the clock
	var count, known atomic.Int64
	t.Run("scripts", func(t *testing.T) {
		for _, file := range files {
			blocks := expressionBlocks(t, file)
			t.Run(filepath.Base(file), func(t *testing.T) {
				t.Parallel()
				for _, b := range blocks {
					s, err := l.session(t.Context(), map[string]string{"table.local-time-zone": b.zone})
					if err != nil {
						t.Fatal(err)
					}
					got, err := s.computeScript(t.Context(), k, b.expressions, b.want, "")
					if err != nil {
						t.Fatal(b.at, err)
					}
					count.Add(int64(len(got)))
					differ := compareLines(b.expressions, b.want, got)
					known.Add(int64(len(differ)))
					report(t, b.at, k, b.expressions, differ)
					if err := s.close(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
	})
	t.Logf("%d expressions of expr/testdata computed by Flink, %d of them otherwise than by Weir", count.Load(), known.Load())
}

// columnsScript runs a file of testdata/columns: "table" has the columns, "rows" the rows, "eval"
// expressions over them.
func columnsScript(t *testing.T, path string, eval func(t *testing.T, tb table, d *datadriven.TestData) string) {
	var tb table
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "table":
			tb = table{columns: strings.ReplaceAll(d.Input, "\n", " "), zone: "UTC"}
			if d.HasArg("zone") {
				d.ScanArgs(t, "zone", &tb.zone)
			}
		case "rows":
			tb.rows = lines(d.Input)
		case "eval":
			return eval(t, tb, d)
		}
		return d.Expected
	})
}

func columnFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/columns/*")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata/columns", err)
	}
	return files
}

// TestColumns evaluates expressions over columns in Weir, in memory.
func TestColumns(t *testing.T) {
	for _, file := range columnFiles(t) {
		columnsScript(t, file, func(_ *testing.T, tb table, d *datadriven.TestData) string {
			var out strings.Builder
			for _, e := range lines(d.Input) {
				out.WriteString(tb.onWeir(e) + "\n")
			}
			return out.String()
		})
	}
}

// testColumns has Flink evaluate the same expressions, over the same rows in a topic.
func testColumns(t *testing.T, l *Lab) {
	k := readKnown(t)
	var count, known atomic.Int64
	run := strconv.FormatInt(time.Now().UnixMilli(), 36)
	t.Run("columns", func(t *testing.T) {
		for _, file := range columnFiles(t) {
			t.Run(filepath.Base(file), func(t *testing.T) {
				t.Parallel()
				n := 0
				columnsScript(t, file, func(t *testing.T, tb table, d *datadriven.TestData) string {
					n++
					expressions, want := lines(d.Input), lines(d.Expected)
					got, err := tb.onFlink(t.Context(), l, "columns."+run+"."+filepath.Base(file)+"."+strconv.Itoa(n), k, expressions, want)
					if err != nil {
						t.Fatal(d.Pos, err)
					}
					var differ []string
					for i, e := range expressions {
						if !sameValues(got[i], want[i]) && (!fails(want[i]) || !strings.HasPrefix(got[i], "error: ")) {
							differ = append(differ, e+"\n    - "+got[i]+"\n    + "+want[i])
						}
					}
					count.Add(int64(len(expressions)))
					known.Add(int64(len(differ)))
					report(t, d.Pos, k, expressions, differ)
					return d.Expected
				})
			})
		}
	})
	t.Logf("%d expressions over columns computed by Flink, %d of them otherwise than by Weir", count.Load(), known.Load())
}
