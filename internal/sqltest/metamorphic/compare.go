package metamorphic

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sqltest"
)

// Failure is a case whose rows depend on how it runs, or that fails in some way.
type Failure struct {
	Case    Case
	Variant Variant
	Kind    string // rows, late rows, dead letters, error, or panic
	Detail  string // rows of the plain way with -, of the variant with +
}

// names that every test expects beside the tables.
const (
	lateRows    = ".late"
	deadLetters = ".dlq"
)

// outcome is what a case gives in one way.
type outcome struct {
	rows map[string][]string
	err  error
}

// run runs a case in one way.
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
	o.rows, o.err = sqltest.RowsWith(program, script(sends, v.most(), v.partition(statements), expect, nil), v.Options)
	return o
}

// try runs a case in the plain way, and then in others until one differs. It returns that failure,
// how many runs there were, and how many rows came.
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

// judge compares an outcome with that of the plain way. Late rows are wrong in each way.
func (c Case) judge(base, got outcome, v Variant) *Failure {
	fail := func(kind, detail string) *Failure { return &Failure{c, v, kind, detail} }
	switch {
	case got.err != nil && strings.HasPrefix(got.err.Error(), "panic"):
		return fail("panic", got.err.Error())
	case got.err != nil:
		return fail("error", got.err.Error())
	case base.err != nil:
		return nil // told by the plain way itself
	case len(got.rows[lateRows]) > 0:
		return fail("late rows", strings.Join(got.rows[lateRows], "\n"))
	}
	for _, name := range sortedKeys(base.rows) {
		if v.Wall && name == deadLetters {
			continue // records are spelled in another way
		}
		if d := difference(base.rows[name], got.rows[name]); d != "" {
			kind := "rows"
			if name == deadLetters {
				kind = "dead letters"
			}
			return fail(kind, name+":\n"+d)
		}
	}
	return nil
}

// difference tells how two multisets of rows differ; "" where they don't.
func difference(want, got []string) string {
	count := make(map[string]int)
	for _, r := range want {
		count[r]--
	}
	for _, r := range got {
		count[r]++
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

// String shows a failure: how it came, the pipeline, and a test of it that expects the rows of the
// plain way.
func (f Failure) String() string {
	sql, test := f.Files()
	return fmt.Sprintf("%s: %s (seed %d)\n%s\n-- metamorphic.sql\n%s\n-- metamorphic.case\n%s", f.Kind, f.Variant, f.Case.Seed, f.Detail, sql, test)
}

// Files are the pipeline as it failed and its test, as `weir test` reads them. The test expects the
// rows of the plain way.
func (f Failure) Files() (pipeline, test string) {
	base := f.Case.run(Plainest)
	statements, sends := f.Variant.apply(f.Case)
	expect := append(sinks(statements), lateRows, deadLetters)
	head := fmt.Sprintf("# Seed %d: %s with %s.\n", f.Case.Seed, f.Kind, f.Variant)
	return text(statements), head + script(sends, f.Variant.most(), f.Variant.partition(statements), expect, base.rows)
}
