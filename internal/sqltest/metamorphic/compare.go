package metamorphic

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sqltest"
)

// Failure is a case whose rows depend on the variant, or that fails with a variant.
type Failure struct {
	Case    Case
	Variant Variant
	Kind    string // rows, late rows, dead letters, error, or panic
	Detail  string // rows of the plain variant with -, of the failing one with +
}

// Outputs that every test expects in addition to the tables.
const (
	lateRows    = ".late"
	deadLetters = ".dlq"
)

// outcome is the result of a run.
type outcome struct {
	rows map[string][]string
	err  error
}

// run runs a case with a variant.
func (c Case) run(v Variant) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			o = outcome{err: fmt.Errorf("panic: %v", p)}
		}
	}()
	statements, sends := v.apply(c)
	compile := plan.Compile
	if v.Plain {
		compile = plan.CompilePlain
	}
	program, err := compile(text(statements), "metamorphic")
	if err != nil {
		return outcome{err: fmt.Errorf("plan: %w", err)}
	}
	expect := append(sinks(statements), lateRows, deadLetters)
	o.rows, o.err = sqltest.RowsWith(program, script(sends, v.stepLimit(), v.partition(statements), expect, nil), v.Options)
	return o
}

// try runs a case with the plain variant and then with others until one differs. It returns the
// failure, the number of runs, and the number of output rows.
func try(c Case, variants []Variant) (f *Failure, runs, rows int) {
	base := c.run(Plainest)
	for _, r := range base.rows {
		rows += len(r)
	}
	if f = c.judge(base, base, Plainest); f != nil {
		return f, 1, rows
	}
	for i, v := range variants {
		if f = c.judge(base, c.run(v), v); f != nil {
			return f, i + 2, rows
		}
	}
	return nil, 1 + len(variants), rows
}

// judge compares an outcome with that of the plain variant. Late rows are always a failure.
func (c Case) judge(base, got outcome, v Variant) *Failure {
	fail := func(kind, detail string) *Failure { return &Failure{c, v, kind, detail} }
	switch {
	case got.err != nil && strings.HasPrefix(got.err.Error(), "panic"):
		return fail("panic", got.err.Error())
	case got.err != nil:
		return fail("error", got.err.Error())
	case base.err != nil:
		return nil // reported for the plain variant
	case len(got.rows[lateRows]) > 0:
		return fail("late rows", strings.Join(got.rows[lateRows], "\n"))
	}
	for _, name := range sortedKeys(base.rows) {
		if v.Wall && name == deadLetters {
			continue // the records differ in the format of times
		}
		want, kind := base.rows[name], "rows"
		if name == deadLetters {
			want, kind = pruned(want, got.rows[name]), "dead letters"
		}
		if d := difference(want, got.rows[name]); d != "" {
			return fail(kind, name+":\n"+d)
		}
	}
	return nil
}

// pruned replaces dead letters of computed rows by those of got that have fewer columns, but are
// equal in these: the plain variant keeps columns that nothing needs.
func pruned(want, got []string) []string {
	want, got = slices.Sorted(slices.Values(want)), slices.Clone(got)
	var matched []string
	for _, w := range want {
		i := slices.Index(got, w)
		if i < 0 {
			i = slices.IndexFunc(got, func(g string) bool { return !slices.Contains(want, g) && prunes(w, g) })
		}
		if i < 0 {
			matched = append(matched, w)
			continue
		}
		matched = append(matched, got[i])
		got = slices.Delete(got, i, i+1)
	}
	return matched
}

// prunes reports whether a dead letter has the reason of another one and some of its columns.
func prunes(whole, part string) bool {
	row, reason, _ := strings.Cut(whole, " # ")
	partRow, partReason, _ := strings.Cut(part, " # ")
	var all, some map[string]json.RawMessage
	if reason != partReason || json.Unmarshal([]byte(row), &all) != nil || json.Unmarshal([]byte(partRow), &some) != nil {
		return false
	}
	for name, value := range some {
		if string(all[name]) != string(value) {
			return false
		}
	}
	return true
}

// fraction is a number with decimals.
var fraction = regexp.MustCompile(`-?[0-9]+\.[0-9]+(E-?[0-9]+)?`)

// rounded rounds the numbers of a row that have at least 14 digits to 12. Their last digits may
// depend on the order in which numbers were added: means that are not exact, and sums of them.
func rounded(row string) string {
	return fraction.ReplaceAllStringFunc(row, func(text string) string {
		mantissa, _, _ := strings.Cut(text, "E")
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || len(strings.TrimLeft(strings.Replace(mantissa, ".", "", 1), "-0")) < 14 {
			return text
		}
		return strconv.FormatFloat(x, 'g', 12, 64)
	})
}

// difference returns the difference of two multisets of rows; "" if they are equal.
func difference(want, got []string) string {
	count := make(map[string]int)
	for _, r := range want {
		count[rounded(r)]--
	}
	for _, r := range got {
		count[rounded(r)]++
	}
	var b strings.Builder
	for _, r := range sortedKeys(count) {
		for range -count[r] {
			b.WriteString("  - " + r + "\n")
		}
		for range count[r] {
			b.WriteString("  + " + r + "\n")
		}
	}
	return b.String()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// String returns kind and variant of the failure, the pipeline, and a test that expects the rows of
// the plain variant.
func (f Failure) String() string {
	sql, test := f.Files()
	return fmt.Sprintf("%s: %s (seed %d)\n%s\n-- metamorphic.sql\n%s\n-- metamorphic.case\n%s", f.Kind, f.Variant, f.Case.Seed, f.Detail, sql, test)
}

// Files returns the failing pipeline and its test in the format of `weir test`. The test expects
// the rows of the plain variant.
func (f Failure) Files() (pipeline, test string) {
	base := f.Case.run(Plainest)
	statements, sends := f.Variant.apply(f.Case)
	expect := append(sinks(statements), lateRows, deadLetters)
	head := fmt.Sprintf("# Seed %d: %s with %s.\n", f.Case.Seed, f.Kind, f.Variant)
	return text(statements), head + script(sends, f.Variant.stepLimit(), f.Variant.partition(statements), expect, base.rows)
}
