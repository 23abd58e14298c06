package conformance

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"weir.example/weir/internal/stack"
)

var updateExpressions = flag.String("update-expressions", "", "ask Flink for the facts of these families, or all, and write testdata/expressions")

// expressionSeed makes the generated expressions the same in every run.
const expressionSeed = 13

// TestExpressionsOfFlink compares Weir's results with Flink's recorded ones (make expressions). It
// does not need Flink. testdata/expressions/differences lists exactly the expressions that differ,
// with reasons.
func TestExpressionsOfFlink(t *testing.T) {
	reasons := readReasons(t)
	count := 0
	found := make(map[string]bool)
	for _, f := range families {
		for _, zone := range f.zones {
			facts, err := readFacts(factFile(f.name, zone))
			if err != nil {
				t.Fatal(err)
			}
			count += len(facts)
			for _, want := range facts {
				got := weirFact(zone, want.expression)
				key := zone + "\t" + want.expression
				switch same := sameFact(got, want.text); {
				case same && reasons[key] != "":
					t.Errorf("%s is listed in testdata/expressions/differences, and both compute %s", key, got)
				case !same && reasons[key] == "":
					t.Errorf("%s in %s\n  Flink %s\n  Weir  %s", want.expression, zone, want.text, got)
				}
				found[key] = true
			}
		}
	}
	for key := range reasons {
		if !found[key] {
			t.Errorf("%s is listed in testdata/expressions/differences, and Flink was not asked for it", key)
		}
	}
	if count < 1500 {
		t.Errorf("only %d expressions", count)
	}
	t.Logf("%d expressions of Flink %s computed, %d of them otherwise for a reason", count, stack.FlinkVersion, len(reasons))
}

const reasonsFile = "testdata/expressions/differences"

// readReasons reads lines of zone, expression and reason, separated by tabs.
func readReasons(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(reasonsFile)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		parts := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(parts) != 3 {
			t.Fatalf("%s: %q is not a zone, an expression and a reason", reasonsFile, line)
		}
		all[parts[0]+"\t"+parts[1]] = parts[2]
	}
	return all
}

// TestAskFlink records the results that TestExpressionsOfFlink compares with.
func TestAskFlink(t *testing.T) {
	if *updateExpressions == "" {
		t.Skip("make expressions asks Flink")
	}
	l := lab(t)
	for _, f := range families {
		if *updateExpressions != "all" && !slices.Contains(strings.Split(*updateExpressions, ","), f.name) {
			continue
		}
		expressions := f.expressions(expressionSeed)
		for _, zone := range f.zones {
			start := time.Now()
			failing := make(map[string]bool)
			before, _ := readFacts(factFile(f.name, zone)) // there are none in the first run
			for _, have := range before {
				failing[have.expression] = have.isError()
			}
			alone := func(e string) bool {
				if fails, known := failing[e]; known {
					return fails
				}
				return strings.HasPrefix(weirFact(zone, e), failedFact)
			}
			facts, err := flinkFacts(t.Context(), l, zone, t.TempDir(), expressions, alone)
			if err != nil {
				t.Fatal(err)
			}
			if err := writeFacts(factFile(f.name, zone), zone, facts); err != nil {
				t.Fatal(err)
			}
			fmt.Printf("%s in %s: %d expressions in %v\n", f.name, zone, len(facts), time.Since(start).Round(time.Second))
		}
	}
}
