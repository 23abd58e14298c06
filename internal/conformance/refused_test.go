package conformance

import (
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// refusedScript runs testdata/refused: "tables" precede each statement of "refused", which has one
// per line.
func refusedScript(t *testing.T, eval func(tables, statement string) string) {
	var tables string
	datadriven.RunTest(t, "testdata/refused", func(_ *testing.T, d *datadriven.TestData) string {
		if d.Cmd == "tables" {
			tables = d.Input + "\n"
			return d.Expected
		}
		var out strings.Builder
		for _, statement := range lines(d.Input) {
			out.WriteString(eval(tables, statement) + "\n")
		}
		return out.String()
	})
}

// TestRefused checks Weir's errors for statements that Flink rejects as well.
func TestRefused(t *testing.T) {
	refusedScript(t, func(tables, statement string) string {
		why := refusedByWeir(tables + statement)
		if why == "" {
			t.Errorf("Weir accepts %s", statement)
		}
		return why
	})
}

// testRefused checks that Flink rejects the same statements.
func testRefused(t *testing.T, l *Lab) {
	count := 0
	t.Run("refused", func(t *testing.T) {
		s, err := l.session(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		refusedScript(t, func(tables, statement string) string {
			if count++; count == 1 {
				for _, table := range strings.Split(strings.TrimSuffix(tables, ";\n"), ";\n") {
					if _, err := s.execute(t.Context(), table); err != nil {
						t.Fatal(err)
					}
				}
			}
			why, err := s.refusedByFlink(t.Context(), statement)
			if err != nil {
				t.Fatal(err)
			}
			if why == "" {
				t.Errorf("Flink accepts %s", statement)
			}
			return refusedByWeir(tables + statement)
		})
	})
	t.Logf("%d statements refused by both", count)
}
