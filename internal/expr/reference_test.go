package expr

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var updateReference = flag.Bool("update", false, "write docs/reference/functions.md anew")

// docs/reference/functions.md lists every function, with an example that a script of testdata
// computes.
func TestReference(t *testing.T) {
	const file = "../../docs/reference/functions.md"
	var want strings.Builder
	want.WriteString(`# Functions

Made from the functions and from their tests by ` + "`make reference`" + `: each example is computed by one. What a function means is what
[Flink's documentation](https://nightlies.apache.org/flink/flink-docs-stable/docs/dev/table/functions/systemfunctions/) says; where the two differ,
[flink-differences.md](flink-differences.md) does. Aggregates are in [the guide to SQL](../guides/sql.md).

| function | takes | for example | gives |
|---|---|---|---|
`)
	examples := scriptExamples(t)
	for _, name := range Names() {
		x, ok := exampleOf(name, examples)
		if !ok {
			t.Errorf("no script of testdata computes %s", name)
		}
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", name, functions[name].arity(), code(x.text), code(x.value))
	}
	if *updateReference {
		if err := os.WriteFile(file, []byte(want.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want.String() {
		t.Errorf("%s is not what the functions say (%v): make reference", file, err)
	}
}

// example is an expression of a script and its value.
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
				continue // another time zone
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

// exampleOf is the first example that begins with the function, else the first that has it; those
// that give nothing much come last.
func exampleOf(name string, all []example) (best example, found bool) {
	has := regexp.MustCompile(`(?i)(^|[^A-Z0-9_'])` + name + `([^A-Z0-9_']|$)`)
	rank := func(x example) (n int) {
		if !has.MatchString(x.text) {
			return noExample
		}
		if !strings.HasPrefix(x.text, name+"(") {
			n++
		}
		if slices.Contains([]string{"NULL", "''", "0", "[]", "{}", "FALSE"}, x.value) {
			n += 2
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

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(text, "|", `\|`) + "`"
}
