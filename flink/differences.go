package flink

import (
	"fmt"
	"strings"

	"weir/plan"
)

// Differences are what weir run does otherwise than Flink with a pipeline, each with its name in
// docs/reference/flink-differences.md.
func Differences(p *plan.Program) []string {
	var all []string
	seen := make(map[string]bool)
	add := func(name, format string, args ...any) {
		if !seen[name] {
			seen[name] = true
			all = append(all, name+": "+fmt.Sprintf(format, args...))
		}
	}
	for _, stage := range p.Stages {
		for _, r := range stage.Relations {
			switch op := r.Op.(type) {
			case *plan.Scan:
				if op.Table.Value.Options["ignore-parse-errors"] != "true" {
					add("dead-letters", "a record that can't be decoded goes to %s; Flink fails, and fails again after each restart, until 'json.ignore-parse-errors' is set", p.Settings.DeadLetterTopic)
				}
			case *plan.Window:
				add("late-rows", "a row whose window has closed goes to %s; Flink drops it and counts it (weir flink status)", p.Settings.LateTopic)
				add("watermarks", "each partition has a watermark of its own; on Flink the slowest partition of all holds the windows of all open, so that fewer rows are late and results come later")
			case *plan.Aggregate:
				if op.Window == nil {
					add("group-changes", "a group's row is written once for each transaction in which it changed; Flink writes it at each change")
				}
				for _, a := range op.Aggs {
					if strings.HasPrefix(a.Name, "VAR_") || strings.HasPrefix(a.Name, "STDDEV_") {
						add("variance", "variance and deviation are computed in a way that loses no digits; Flink's can differ in the last ones")
					}
				}
			}
		}
	}
	return all
}
