package flink

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ChangedError reports that the state of a running job does not fit new SQL. Report has a line for
// each operator that differs, and for each whose state could be kept.
type ChangedError struct{ Report string }

func (e *ChangedError) Error() string {
	return "the state of the running job is incompatible with the new SQL:\n" + e.Report + "Nothing was stopped. Deploy the new SQL under another name, or change only stateless parts"
}

// operator is one line of an execution plan.
type operator struct {
	depth int
	kind  string // GlobalWindowAggregate, Calc, …
	text  string // as printed in the plan
	state string // what determines its state; "" if stateless
}

// stateless lists the operators without state, which may change freely.
var stateless = []string{"Calc", "LocalWindowAggregate", "LocalGroupAggregate", "Exchange", "Union", "DropUpdateBefore", "MiniBatchAssigner", "WindowTableFunction", "Correlate", "Expand", "Values", "LookupJoin", "Reused"}

var (
	planLine = regexp.MustCompile(`^([\s:+\-]*)([A-Za-z][\w.]*)\((.*)\)(?:\(reuse_id=\[\d+\]\))?$`)
	reused   = regexp.MustCompile(`^([\s:+\-]*)Reused\((.*)\)$`)
)

// operators parses the last plan of an EXPLAIN: Flink's execution plan.
func operators(explain string) ([]operator, error) {
	const title = "== Optimized Execution Plan =="
	at := strings.LastIndex(explain, title)
	if at < 0 {
		return nil, errors.New("Flink's EXPLAIN has no execution plan") //nolint:staticcheck // a proper name
	}
	var all []operator
	for line := range strings.Lines(explain[at+len(title):]) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		m := planLine.FindStringSubmatch(line)
		if m == nil {
			m = reused.FindStringSubmatch(line)
		}
		if m == nil {
			return nil, fmt.Errorf("unknown line %q in Flink's execution plan", line)
		}
		o := operator{depth: len(m[1]), kind: m[2], text: strings.TrimLeft(line, " :+-")}
		if !slices.Contains(stateless, o.kind) {
			o.state = stateOf(o.kind, m[3])
		}
		all = append(all, o)
	}
	return all, nil
}

// windowProperty matches a column of a window's result that its state does not depend on.
var windowProperty = regexp.MustCompile(`^(?:start|end|rowtime|proctime)\('?w\$\)(?: AS .*)?$`)

// stateOf returns what determines an operator's state. Names that only label results are omitted.
func stateOf(kind, attributes string) string {
	var kept []string
	for _, a := range splitList(attributes) {
		key, value, _ := strings.Cut(a, "=")
		switch {
		case kind == "Sink" && key != "table" && key != "upsertMaterialize": // its columns are not state
			continue
		case kind == "TableSourceScan": // its state is offsets, whichever columns are read
			if key != "table" {
				continue
			}
			path := splitList(strings.TrimSuffix(strings.TrimPrefix(value, "[["), "]]"))
			value = strings.Join(path[:min(3, len(path))], ".")
		case key == "select" && (strings.HasSuffix(kind, "Aggregate") || strings.HasSuffix(kind, "AggregateRank")):
			var calls []string
			for _, item := range splitList(strings.TrimSuffix(strings.TrimPrefix(value, "["), "]")) {
				if windowProperty.MatchString(item) {
					continue
				}
				call, _, _ := strings.Cut(item, " AS ")
				calls = append(calls, call)
			}
			value = "[" + strings.Join(calls, ", ") + "]"
		}
		kept = append(kept, key+"="+value)
	}
	return kind + "(" + strings.Join(kept, ", ") + ")"
}

// splitList splits at commas outside brackets and quotes.
func splitList(s string) []string {
	var parts []string
	depth, from := 0, 0
	quoted := false
	for i, r := range s {
		switch {
		case r == '\'':
			quoted = !quoted
		case quoted:
		case strings.ContainsRune("([{", r):
			depth++
		case strings.ContainsRune(")]}", r):
			depth--
		case r == ',' && depth == 0:
			parts = append(parts, strings.TrimSpace(s[from:i]))
			from = i + 1
		}
	}
	if rest := strings.TrimSpace(s[from:]); rest != "" {
		parts = append(parts, rest)
	}
	return parts
}

// ComparePlans compares two plans from EXPLAIN. Flink matches state to an operator by the
// operator's position in the plan, and does not detect that the state now means something else.
// Therefore the operators must be the same, in the same positions, and stateful ones must keep the
// same state; if not, the error is a *ChangedError. Notes list permitted changes after which open
// windows and groups contain rows of both versions.
func ComparePlans(old, now string) (notes []string, err error) {
	was, err := operators(old)
	if err != nil {
		return nil, fmt.Errorf("the running job's plan: %w", err)
	}
	is, err := operators(now)
	if err != nil {
		return nil, fmt.Errorf("the new plan: %w", err)
	}
	report, differs := compareStates(was, is)
	if !differs && shapeOf(was) != shapeOf(is) {
		differs = true
		report += fmt.Sprintf("  moved:   operators have other positions, where Flink does not find their state\n      was: %s\n       is: %s\n", shapeOf(was), shapeOf(is))
	}
	if differs {
		return nil, &ChangedError{report}
	}
	for i := range was {
		if was[i].text != is[i].text && was[i].state == "" && feedsState(was, i) {
			notes = append(notes, fmt.Sprintf("results that are open now will contain rows of both versions, which differ upstream of the state: %s was %s", is[i].text, was[i].text))
		}
	}
	return notes, nil
}

// compareStates reports which states of the old operators the new ones also have.
func compareStates(was, is []operator) (text string, differs bool) {
	var report strings.Builder
	left := slices.Clone(is)
	for _, o := range was {
		if o.state == "" {
			continue
		}
		same := slices.IndexFunc(left, func(n operator) bool { return n.state == o.state })
		if same >= 0 {
			fmt.Fprintf(&report, "  kept:    %s\n", o.state)
			left = slices.Delete(left, same, same+1)
			continue
		}
		differs = true
		fmt.Fprintf(&report, "  changed: %s\n", o.state)
		if to := slices.IndexFunc(left, func(n operator) bool { return n.kind == o.kind && n.state != "" && !contains(was, n.state) }); to >= 0 {
			fmt.Fprintf(&report, "       to: %s\n", left[to].state)
			left = slices.Delete(left, to, to+1)
		}
	}
	for _, n := range left {
		if n.state != "" {
			differs = true
			fmt.Fprintf(&report, "  new:     %s\n", n.state)
		}
	}
	return report.String(), differs
}

// feedsState reports whether the rows of an operator reach the state of another one. A plan lists
// operators from the sink upstream.
func feedsState(all []operator, i int) bool {
	depth := all[i].depth
	for _, o := range slices.Backward(all[:i]) {
		if o.depth >= depth {
			continue // a sibling
		}
		depth = o.depth
		if o.state != "" && o.kind != "Sink" {
			return true
		}
	}
	return false
}

func contains(all []operator, state string) bool {
	return slices.ContainsFunc(all, func(o operator) bool { return o.state == state })
}

// shapeOf describes the operators and their positions.
func shapeOf(all []operator) string {
	var kinds []string
	for _, o := range all {
		kinds = append(kinds, fmt.Sprintf("%s%s", strings.Repeat("·", o.depth/3), o.kind))
	}
	return strings.Join(kinds, " ")
}
