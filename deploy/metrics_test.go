package deploy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The guide names each metric, in full or as …_suffix after another metric of the same part.
func TestMetricsAreDocumented(t *testing.T) {
	guide, err := os.ReadFile("../docs/guides/monitor.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := namesIn(string(guide))
	metrics := metricsOf(t)
	if len(metrics) < 50 {
		t.Fatalf("found %d metrics in the code, expected more than 50", len(metrics))
	}
	for name, at := range metrics {
		if !documented(name) {
			t.Errorf("%s: %s is not in docs/guides/monitor.md", at, name)
		}
	}
}

// namesIn reports which metrics a guide names: weir_*_x covers all parts, and …_x is a metric of
// the part named earlier on the same line.
func namesIn(guide string) func(string) bool {
	var patterns []string
	for _, line := range strings.Split(guide, "\n") {
		part := ""
		for _, match := range regexp.MustCompile("`(weir_[a-z*]+_(?:client_)?|…_)([a-z_*]+)").FindAllStringSubmatch(line, -1) {
			if match[1] != "…_" {
				part = match[1]
			}
			if strings.HasSuffix(match[2], "*") {
				continue // a family, not a single metric
			}
			patterns = append(patterns, strings.ReplaceAll(part+match[2], "*", "[a-z_]*"))
		}
	}
	all := regexp.MustCompile("^(" + strings.Join(patterns, "|") + ")$")
	return all.MatchString
}

// metricsOf returns the positions of the metrics that the code defines, by name: strings that begin
// with weir_, and the first argument of a package's desc, to which it adds the prefix.
func metricsOf(t *testing.T) map[string]string {
	t.Helper()
	metric := regexp.MustCompile(`^weir_(broker|produce|engine|alert|registry|monitor|trace)_[a-z_]*[a-z]$`)
	all := make(map[string]string)
	for _, part := range []string{"broker/embedded", "produce", "engine", "alert", "registry", "monitor", "trace"} {
		dir := "../internal/" + part
		part, _, _ = strings.Cut(part, "/")
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "desc" {
						all["weir_"+part+"_"+text(n.Args[0])] = files.Position(n.Pos()).String()
					}
				case *ast.BasicLit:
					if name := text(n); metric.MatchString(name) && name != "weir_alert_id" { // an annotation
						all[name] = files.Position(n.Pos()).String()
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func text(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		s, _ := strconv.Unquote(lit.Value)
		return s
	}
	return ""
}
