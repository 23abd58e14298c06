package conformance

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"weir.example/weir/internal/sql"
)

// computed is Flink's result for an expression: its type and a value as text for each row, or an
// error.
type computed struct {
	Type   string
	Values []string
	raw    []*string // like Values, but NULL is nil
	Err    error
}

// compute evaluates expressions in as few queries as possible: all of them in one and, if that
// fails, each half separately.
func (s *session) compute(ctx context.Context, expressions []string, from string) ([]computed, error) {
	if len(expressions) == 0 {
		return nil, nil
	}
	r, err := s.execute(ctx, "SELECT "+strings.Join(expressions, ", ")+from)
	var refused *flinkError
	switch {
	case err == nil:
		return r.columns(), nil
	case !errors.As(err, &refused):
		return nil, err
	case len(expressions) == 1:
		return []computed{{Err: refused}}, nil
	}
	half := len(expressions) / 2
	first, err := s.compute(ctx, expressions[:half], from)
	if err != nil {
		return nil, err
	}
	second, err := s.compute(ctx, expressions[half:], from)
	return append(first, second...), err
}

// columns transposes rows into one result per expression.
func (r *result) columns() []computed {
	all := make([]computed, len(r.Columns))
	for i, c := range r.Columns {
		all[i].Type = c.LogicalType.String()
		for _, row := range r.Rows {
			text := "NULL"
			if v := row[i]; v != nil {
				text = *v
			}
			all[i].Values, all[i].raw = append(all[i].Values, text), append(all[i].raw, row[i])
		}
	}
	return all
}

// text returns the result in the notation of the scripts in expr/testdata.
func (c computed) text() string {
	if c.Err != nil {
		return "error: " + c.Err.Error()
	}
	value := c.Values[0]
	if c.Type == "STRING" && value != "NULL" {
		value = sql.QuoteString(value)
	}
	return c.Type + ": " + value
}

var sized = regexp.MustCompile(`\b(?:VAR)?(CHAR|BINARY)\(\d+\)`)

// plain removes from a line what Weir and Flink need not agree on: NOT NULL and the lengths of
// strings.
func plain(line string) string {
	typed, value, ok := strings.Cut(line, ": ")
	if !ok {
		return line
	}
	typed = strings.NewReplacer(" NOT NULL", "", "INTERVAL DAY TO SECOND", "INTERVAL_DAY_TIME", "INTERVAL YEAR TO MONTH", "INTERVAL_YEAR_MONTH").Replace(typed)
	return sized.ReplaceAllStringFunc(typed, func(t string) string {
		if strings.Contains(t, "CHAR") {
			return "STRING"
		}
		return "BYTES"
	}) + ": " + value
}

// compareLines lists the expressions for which Flink's result differs from the script's line.
// Errors on both sides count as equal.
func compareLines(expressions, want []string, got []computed) []string {
	var differ []string
	for i, e := range expressions {
		flink := got[i].text()
		if strings.HasPrefix(want[i], "error:") && got[i].Err != nil || plain(want[i]) == flink {
			continue
		}
		differ = append(differ, fmt.Sprintf("%s\n    - %s\n    + %s", e, flink, want[i]))
	}
	return differ
}

// split separates the expressions that fail or may fail, so that they do not fail the query of the
// others.
func (k known) split(expressions, want []string) (fine, failing []int) {
	for i, e := range expressions {
		if strings.HasPrefix(want[i], "error:") || k[e] != "" {
			failing = append(failing, i)
		} else {
			fine = append(fine, i)
		}
	}
	return fine, failing
}

// computeScript evaluates a script's expressions.
func (s *session) computeScript(ctx context.Context, k known, expressions, want []string, from string) ([]computed, error) {
	all := make([]computed, len(expressions))
	fine, failing := k.split(expressions, want)
	groups := [][]int{fine}
	for _, i := range failing {
		groups = append(groups, []int{i})
	}
	for _, g := range groups {
		texts := make([]string, len(g))
		for j, i := range g {
			texts[j] = expressions[i]
		}
		got, err := s.compute(ctx, texts, from)
		if err != nil {
			return nil, err
		}
		if len(got) != len(g) {
			return nil, fmt.Errorf("%d columns from Flink for %s", len(got), strings.Join(texts, ", "))
		}
		for j, i := range g {
			all[i] = got[j]
		}
	}
	return all, nil
}

// known has the differences listed in a file. Each line has an expression, a tab, and the
// difference's name in docs/reference/flink-differences.md.
type known map[string]string

func parseKnown(text string) known {
	k := make(known)
	for _, line := range strings.Split(text, "\n") {
		if e, name, ok := strings.Cut(line, "\t"); ok && !strings.HasPrefix(line, "#") {
			k[e] = strings.TrimSpace(name)
		}
	}
	return k
}

// names returns the distinct names of the differences, sorted.
func (k known) names() []string {
	var all []string
	for _, name := range k {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
