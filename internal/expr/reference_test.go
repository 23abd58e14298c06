package expr

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir.example/weir/internal/reference"
)

// docs/reference/functions.md lists every function with an example from the scripts in testdata.
func TestReference(t *testing.T) {
	const file = "../../docs/reference/functions.md"
	var want strings.Builder
	want.WriteString(`# Functions

Generated from the function table and its tests by ` + "`make reference`" + `; every example is executed by a test.
[Flink's documentation](https://nightlies.apache.org/flink/flink-docs-stable/docs/dev/table/functions/systemfunctions/) describes what the
functions do; where Weir differs, [flink-differences.md](flink-differences.md) says so. Aggregate functions are in
[the SQL guide](../guides/sql.md).

| function | arguments | example | result |
|---|---|---|---|
`)
	examples := scriptExamples(t)
	for _, name := range Names() {
		x, ok := exampleOf(name, examples)
		if !ok {
			t.Errorf("no script in testdata has an example of %s", name)
		}
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", name, functions[name].arity(), code(x.text), code(x.value))
	}
	reference.Check(t, file, want.String())
}

// example is an expression from a script and its value.
type example struct{ text, value string }

func scriptExamples(t *testing.T) (all []example) {
	paths, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		script, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split(string(script), "\n\n") {
			in, out, _ := strings.Cut(block, "\n----\n")
			_, in, ok := strings.Cut("\n"+in, "\neval\n")
			if !ok {
				continue // other time zones
			}
			values := strings.Split(out, "\n")
			for i, text := range strings.Split(in, "\n") {
				if _, value, ok := strings.Cut(values[i], ": "); ok && !strings.HasPrefix(values[i], "error") {
					all = append(all, example{text, value})
				}
			}
		}
	}
	return all
}

// exampleOf returns the first example that is nothing but a call of the function, else the first
// that starts with a call, else the first that contains one. Examples with trivial results come
// last.
func exampleOf(name string, all []example) (best example, found bool) {
	has := regexp.MustCompile(`(?i)(^|[^A-Z0-9_'])` + name + `([^A-Z0-9_']|$)`)
	rank := func(x example) (n int) {
		if !has.MatchString(x.text) {
			return noExample
		}
		switch {
		case !strings.HasPrefix(x.text, name+"("):
			n += 2
		case !isCall(x.text):
			n++
		}
		if slices.Contains([]string{"NULL", "''", "0", "[]", "{}", "FALSE"}, x.value) {
			n += 4
		}
		return n
	}
	if len(all) == 0 {
		return best, false
	}
	best = slices.MinFunc(all, func(a, b example) int { return rank(a) - rank(b) })
	return best, rank(best) < noExample
}

const noExample = 1000

// isCall reports whether the first parenthesis of an expression is closed by its last character.
func isCall(text string) bool {
	depth := 0
	for i, r := range text {
		switch r {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i == len(text)-1
			}
		}
	}
	return false
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(text, "|", `\|`) + "`"
}
