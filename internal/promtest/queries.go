package promtest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/goccy/go-yaml"
)

// Query is a query of a dashboard or a rule.
type Query struct {
	From   string // file and panel, or file and rule
	Expr   string
	Labels []string // that each series must have
}

// Rule is an alerting or a recording rule.
type Rule struct {
	File        string
	Alert       string
	Record      string
	Expr        string
	Annotations map[string]string
	Labels      map[string]string
}

// Rules returns the rules in files.
func Rules(t testing.TB, files string) (all []Rule) {
	t.Helper()
	for file, text := range read(t, files) {
		var content struct{ Groups []struct{ Rules []Rule } }
		if err := yaml.Unmarshal(text, &content); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, g := range content.Groups {
			for _, r := range g.Rules {
				r.File = file
				all = append(all, r)
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s has no rules", files)
	}
	return all
}

var comparison = regexp.MustCompile(`\{[^}]*\}|"[^"]*"|[=!<>]=|[<>]`)

// Query returns the rule's query, changed to have data whether the rule fires or not: comparisons
// return 0 or 1 instead of dropping series. It has no data if a metric is missing, or if two sides
// have no labels in common.
func (r *Rule) Query() Query {
	expr := comparison.ReplaceAllStringFunc(r.Expr, func(found string) string {
		if found[0] == '{' || found[0] == '"' {
			return found
		}
		return found + " bool"
	})
	q := Query{From: r.File + ", " + r.Alert + r.Record, Expr: expr}
	for _, match := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(r.Annotations["summary"], -1) {
		q.Labels = append(q.Labels, match[1])
	}
	return q
}

// Dashboard has the fields of a dashboard's JSON that tests check.
type Dashboard struct {
	File          string
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
		}
	}
	Panels []struct {
		ID          int
		Type, Title string
		GridPos     struct{ H, W, X, Y int }
		Targets     []struct{ RefID, Expr, LegendFormat string }
	}
}

// Dashboards returns the dashboards in files.
func Dashboards(t testing.TB, files string) (all []Dashboard) {
	t.Helper()
	for file, text := range read(t, files) {
		d := Dashboard{File: file}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, d)
	}
	return all
}

var (
	variable    = regexp.MustCompile(`\$\w+`)
	legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)
	labelValues = regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)
)

// Queries returns the queries of its panels with all values of its variables selected, and those
// that list the values of its variables.
func (d *Dashboard) Queries() (all []Query) {
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			q := Query{From: d.File + ", " + p.Title, Expr: variable.ReplaceAllString(target.Expr, ".*")}
			for _, match := range legendLabel.FindAllStringSubmatch(target.LegendFormat, -1) {
				q.Labels = append(q.Labels, match[1])
			}
			all = append(all, q)
		}
	}
	for _, v := range d.Templating.List {
		query, ok := v.Query.(map[string]any)
		if !ok {
			continue // the data source
		}
		text, _ := query["query"].(string)
		if match := labelValues.FindStringSubmatch(text); match != nil {
			all = append(all, Query{From: d.File + ", $" + v.Name, Expr: match[1], Labels: match[2:]})
		}
	}
	return all
}

// Variables returns the names that its queries may use, with their $.
func (d *Dashboard) Variables() map[string]bool {
	known := make(map[string]bool)
	for _, v := range d.Templating.List {
		known["$"+v.Name] = true
	}
	return known
}

// read returns files by base name.
func read(t testing.TB, files string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(files)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s: %v", files, err)
	}
	texts := make(map[string][]byte)
	for _, name := range names {
		if texts[filepath.Base(name)], err = os.ReadFile(name); err != nil { //nolint:gosec // of this repository
			t.Fatal(err)
		}
	}
	return texts
}
