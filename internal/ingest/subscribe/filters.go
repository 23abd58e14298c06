package subscribe

import (
	"slices"
	"strings"
)

// disjoint returns filters that match at least what the given ones do, and no topic twice: brokers
// may deliver a message once for each filter that matches it.
func disjoint(filters []string) []string {
	all := slices.Clone(filters)
	slices.Sort(all)
	for i := 0; i < len(all); i++ {
		for j := i + 1; j < len(all); j++ {
			if overlap(all[i], all[j]) {
				all[i] = union(all[i], all[j])
				all = slices.Delete(all, j, j+1)
				i, j = 0, 0
			}
		}
	}
	slices.Sort(all)
	return all
}

// overlap reports whether a topic can match both filters.
func overlap(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	if wild(x[0]) != wild(y[0]) && (strings.HasPrefix(x[0], "$") || strings.HasPrefix(y[0], "$")) {
		return false
	}
	for i := 0; ; i++ {
		switch {
		case i < len(x) && x[i] == "#", i < len(y) && y[i] == "#": // it stands for no level, too
			return true
		case i == len(x), i == len(y):
			return len(x) == len(y) ||
				i == len(x) && len(y) == i+1 && y[i] == "#" || i == len(y) && len(x) == i+1 && x[i] == "#"
		case x[i] != y[i] && x[i] != "+" && y[i] != "+":
			return false
		}
	}
}

// union returns a filter that matches what either of two overlapping ones does.
func union(a, b string) string {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	var levels []string
	for i := 0; i < len(x) || i < len(y); i++ {
		if i >= len(x) || i >= len(y) || x[i] == "#" || y[i] == "#" {
			return strings.Join(append(levels, "#"), "/")
		}
		if x[i] == y[i] {
			levels = append(levels, x[i])
		} else {
			levels = append(levels, "+")
		}
	}
	return strings.Join(levels, "/")
}

func wild(level string) bool { return level == "+" || level == "#" }

// match reports whether a topic matches a filter.
func match(filter, topic string) bool {
	if f, _, _ := strings.Cut(filter, "/"); strings.HasPrefix(topic, "$") && wild(f) {
		return false
	}
	x, y := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range x {
		switch {
		case level == "#":
			return true
		case i >= len(y), level != "+" && level != y[i]:
			return false
		}
	}
	return len(x) == len(y)
}
