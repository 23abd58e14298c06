package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSQLCommands(t *testing.T) {
	good := "../../pipelines/per_minute.sql"
	if out := must(t, "check", good); !strings.Contains(out, "ok, pipeline per_minute of 1 stage\n") {
		t.Errorf("check: %s", out)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.sql")
	if err := os.WriteFile(bad, []byte(strings.Replace(string(text), "MIN(`value`)", "MIN(`valu`)", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ := do(t, "check", bad)
	if code != exitCheck || !strings.Contains(out, "bad.sql:") || !strings.Contains(out, "column valu not found: did you mean value?") || !strings.Contains(out, "^") {
		t.Errorf("check of a bad file: exit %d\n%s", code, out)
	}
	code, _, errOut := do(t, "run", bad)
	if code != exitUsage || !strings.Contains(errOut, "column valu not found") {
		t.Errorf("run of a bad file: exit %d\n%s", code, errOut)
	}
	if out := must(t, "explain", good); !strings.Contains(out, "Aggregate in windows of TUMBLE 1m0s") {
		t.Errorf("explain: %s", out)
	}
	if out := must(t, "explain", good, "-o", "json"); !strings.Contains(out, `"changelog":"per_minute.stage1.changelog"`) {
		t.Errorf("explain as JSON: %s", out)
	}
	if out := must(t, "explain", good, "-o", "dot"); !strings.HasPrefix(out, `digraph "per_minute"`) {
		t.Errorf("explain as a graph: %s", out)
	}
	if out := must(t, "test", "../../pipelines"); !strings.Contains(out, " 0 failed") {
		t.Errorf("test: %s", out)
	}
}
