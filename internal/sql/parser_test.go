package sql

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestParser runs testdata: "parse" prints the statements of a text and "expr" an expression, both
// as formatted by the printer, or the error.
func TestParser(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "parse":
				s, err := Parse(d.Input)
				if err != nil {
					return err.Error() + "\n"
				}
				same(t, d.Input)
				return s.String()
			case "expr":
				var b strings.Builder
				for line := range strings.Lines(d.Input) {
					e, err := ParseExpr(strings.TrimSpace(line))
					if err != nil {
						b.WriteString(err.Error() + "\n")
						continue
					}
					b.WriteString(FormatExpr(e) + "\n")
				}
				return b.String()
			}
			t.Fatalf("%s: no command %s", d.Pos, d.Cmd)
			return ""
		})
	})
}

// same checks that a printed text parses and prints the same again. It reports whether the text
// parses at all.
func same(t *testing.T, text string) bool {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		return false
	}
	printed := s.String()
	again, err := Parse(printed)
	if err != nil {
		t.Fatalf("%q is printed as\n%s\nwhich does not parse: %v", text, printed, err)
	}
	if twice := again.String(); twice != printed {
		t.Fatalf("%q is printed as\n%s\nand that as\n%s", text, printed, twice)
	}
	return true
}

// corpus returns the statements of all testdata and pipelines.
func corpus(t testing.TB) []string {
	var all []string
	for _, pattern := range []string{"../sqltest/testdata/*.sql", "../../pipelines/*.sql"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file) //nolint:gosec // testdata
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(text))
		}
	}
	return all
}

func TestPrintIsIdentity(t *testing.T) {
	for _, text := range corpus(t) {
		if !same(t, text) {
			t.Errorf("does not parse: %s", text)
		}
	}
}

// An interval before TO is printed in parentheses: FLOOR(ts + INTERVAL '90' MINUTE TO HOUR) would
// be a MINUTE TO HOUR interval.
func TestPrintIntervalBeforeUnit(t *testing.T) {
	for _, text := range []string{"FLOOR((ts + INTERVAL '90' MINUTE) TO HOUR)", "CEILING((a - (b + INTERVAL '1' DAY)) TO MONTH)", "FLOOR((-INTERVAL '1' DAY) TO HOUR)"} {
		e, err := ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := FormatExpr(e); got != text {
			t.Errorf("%s, want %s", got, text)
		}
	}
}

// Functions with keywords between their arguments are printed with them: Flink accepts no commas
// there.
func TestPrintWordsBetweenArguments(t *testing.T) {
	for _, text := range []string{
		"OVERLAY(a PLACING 'XX' FROM 2 FOR 1)", "OVERLAY(a PLACING b FROM c + 1)", "TRIM(BOTH 'n' FROM a)", "POSITION('a' IN b)",
		"EXTRACT(DAY FROM ts)", "FLOOR(ts TO HOUR)",
	} {
		e, err := ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := FormatExpr(e); got != text {
			t.Errorf("%s, want %s", got, text)
		}
	}
	if _, err := ParseExpr("OVERLAY(a, b, 1)"); err == nil || !strings.Contains(err.Error(), "PLACING") {
		t.Errorf("OVERLAY with commas: %v", err)
	}
}

func FuzzPrint(f *testing.F) {
	for _, text := range corpus(f) {
		f.Add(text)
	}
	for _, text := range []string{
		"INSERT INTO t SELECT NOT a = b, - -1, a - (b - c), (a OR b) AND c, x'0f', `a``b`.c, 'it''s' FROM t;",
		"INSERT INTO t SELECT CASE a WHEN 1 THEN 2 END, CAST(a AS ROW<b INT NOT NULL, c ARRAY<STRING>>), a[1].b, EXTRACT(DAY FROM ts) FROM (SELECT * FROM u) AS v (w);",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { same(t, text) })
}
