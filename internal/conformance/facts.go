package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/sqltest"
	"weir.example/weir/internal/stack"
)

// A fact is Flink's result for an expression over the row of expressionTable: CAST(… AS STRING), or
// the error. Facts are stored in testdata/expressions, one per line: the expression, a tab, the
// text. \N is NULL; \n, \t, \r and \\ stand for themselves.
type fact struct{ expression, text string }

// Prefixes of a fact's text if there is no value: rejected by the planner, or failed at runtime.
const (
	refusedFact = "refused: "
	failedFact  = "failed: "
	nullFact    = `\N`
)

func (f fact) isError() bool {
	return strings.HasPrefix(f.text, refusedFact) || strings.HasPrefix(f.text, failedFact)
}

var factEscape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\t", `\t`, "\r", `\r`, "\x00", `\0`)

// factText returns a value in its stored form.
func factText(v *string) string {
	if v == nil {
		return nullFact
	}
	return factEscape.Replace(*v)
}

// factFile returns the file with a family's facts in a zone.
func factFile(family, zone string) string {
	name := family
	if zone != "UTC" {
		name += "-" + strings.NewReplacer("/", "_", ":", "", "+", "plus").Replace(zone)
	}
	return filepath.Join("testdata", "expressions", name+".tsv")
}

func readFacts(file string) ([]fact, error) {
	text, err := os.ReadFile(file) //nolint:gosec // file of this repository
	if err != nil {
		return nil, err
	}
	var all []fact
	for line := range strings.Lines(string(text)) {
		if e, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok && !strings.HasPrefix(line, "#") {
			all = append(all, fact{e, value})
		}
	}
	return all, nil
}

func writeFacts(file, zone string, facts []fact) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# What Flink %s computes in the zone %s, over the row of expressionTable. Made by make expressions.\n", stack.FlinkVersion, zone)
	for _, f := range facts {
		b.WriteString(f.expression + "\t" + f.text + "\n")
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}

// expressionRow returns the table's columns and its row as JSON.
func expressionRow() (columns, row string) {
	var types, values []string
	for _, c := range expressionTable {
		types = append(types, c.name+" "+c.kind)
		values = append(values, strconv.Quote(c.name)+":"+c.json)
	}
	return strings.Join(types, ", "), "{" + strings.Join(values, ",") + "}"
}

// weirFact returns Weir's result for an expression as a fact.
func weirFact(zone, expression string) string {
	const sink = "CREATE TABLE results (v STRING) WITH ('connector' = 'kafka', 'topic' = 'results', 'format' = 'json')"
	columns, row := expressionRow()
	t := table{columns: columns}
	text := fmt.Sprintf("SET 'table.local-time-zone' = '%s';\n%s;\n%s;\nINSERT INTO results SELECT CAST(%s AS STRING) FROM t;", zone, t.create("t", ""), sink, expression)
	p, err := plan.Compile(text, "facts")
	var at *sql.Error
	switch {
	case errors.As(err, &at):
		return refusedFact + at.Message
	case err != nil:
		return refusedFact + err.Error()
	}
	out, err := sqltest.Rows(p, "send t\n"+row+"\nexpect results\n")
	if err != nil {
		return failedFact + err.Error()
	}
	if len(out["results"]) != 1 {
		return failedFact + strings.Join(out[".dlq"], " ")
	}
	var r struct{ V *string }
	if err := json.Unmarshal([]byte(out["results"][0]), &r); err != nil {
		return failedFact + err.Error()
	}
	return factText(r.V)
}

// sameFact reports whether two facts are equivalent. Any two errors are, and so are adjacent
// doubles.
func sameFact(a, b string) bool {
	if a == b || (fact{"", a}).isError() && (fact{"", b}).isError() || sameMembers(a, b) {
		return true
	}
	x, err := strconv.ParseFloat(a, 64)
	if err != nil || !strings.ContainsAny(a, ".E") {
		return false
	}
	y, err := strconv.ParseFloat(b, 64)
	return err == nil && strings.ContainsAny(b, ".E") && (x == y && x != 0 || math.Nextafter(x, y) == y) && len(a) <= 24
}

// sameValues is sameFact for the values of several rows.
func sameValues(a, b string) bool {
	x, y := strings.Split(a, " | "), strings.Split(b, " | ")
	return a == b || slices.EqualFunc(x, y, sameFact)
}

// sameMembers reports whether both are maps with the same members, in any order.
func sameMembers(a, b string) bool {
	if !strings.HasPrefix(a, "{") || !strings.HasPrefix(b, "{") || len(a) != len(b) {
		return false
	}
	members := func(s string) []string {
		return slices.Sorted(slices.Values(strings.Split(strings.Trim(s, "{}"), ", ")))
	}
	return slices.Equal(members(a), members(b))
}

// flinkFacts evaluates expressions on Flink. Those that may fail are evaluated one at a time, the
// others together.
func flinkFacts(ctx context.Context, l *Lab, zone, dir string, expressions []string, alone func(string) bool) ([]fact, error) {
	s, err := l.session(ctx, map[string]string{"table.local-time-zone": zone})
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.close(context.WithoutCancel(ctx)) }() // otherwise the session expires
	columns, row := expressionRow()
	if err := os.WriteFile(filepath.Join(dir, "row.json"), []byte(row+"\n"), 0o644); err != nil { //nolint:gosec // read by Flink
		return nil, err
	}
	create := fmt.Sprintf("CREATE TABLE t (%s) WITH ('connector' = 'filesystem', 'path' = 'file://%s', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601')", columns, dir)
	if _, err := s.execute(ctx, create); err != nil {
		return nil, err
	}
	got := make(map[string]computed, len(expressions))
	ask := func(group []string) error {
		casts := make([]string, len(group))
		for i, e := range group {
			casts[i] = "CAST(" + e + " AS STRING)"
		}
		all, err := s.compute(ctx, casts, " FROM t")
		for i, c := range all {
			got[group[i]] = c
		}
		return err
	}
	var together []string
	for _, e := range expressions {
		if !alone(e) {
			together = append(together, e)
		} else if err := ask([]string{e}); err != nil {
			return nil, err
		}
	}
	for len(together) > 0 {
		n := min(factsPerQuery, len(together))
		if err := ask(together[:n]); err != nil {
			return nil, err
		}
		together = together[n:]
	}
	facts := make([]fact, len(expressions))
	for i, e := range expressions {
		facts[i] = fact{e, got[e].fact()}
	}
	return facts, nil
}

// factsPerQuery keeps the code that Flink generates for a query small enough to compile.
const factsPerQuery = 200

func (c computed) fact() string {
	var refused *flinkError
	if !errors.As(c.Err, &refused) {
		return factText(c.raw[0])
	}
	kind := refusedFact
	for _, cause := range refused.causes {
		if strings.Contains(cause, "JobExecutionException") || strings.Contains(cause, "NoRestartBackoffTimeStrategy") {
			kind = failedFact
		}
	}
	last := factEscape.Replace(refused.causes[len(refused.causes)-1])
	if len(last) > 200 {
		last = last[:200] + "…"
	}
	return kind + strings.ToValidUTF8(last, "")
}
