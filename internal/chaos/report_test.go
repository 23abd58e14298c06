package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A saved report names no directories of the machine, in whatever field a path may be.
func TestReportHasRelativePaths(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "20260501-120000-7")
	in := func(name string) string {
		return "see " + filepath.Join(dir, name) + ", twice: " + filepath.Join(dir, name)
	}
	r := &Report{
		Faults:       []FaultRecord{{Kind: "state-disk-full", Detail: in("state-e1"), Failure: in("e1.log")}},
		Accidents:    []AccidentResult{{Message: in("accidents/a"), Wrong: []string{in("accidents/b")}, Logs: filepath.Join(dir, "accidents", "a")}},
		NotAvailable: map[string]string{"log-disk-full": in("up")},
		Failures:     []string{in("p0.log")},
		Final:        &Verdict{Wrong: []string{in("acks-0.ndjson")}},
	}
	r.relativeTo(dir)
	file := filepath.Join(t.TempDir(), "report.json")
	if err := r.Save(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file) //nolint:gosec // a file of this test
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), filepath.Dir(dir)) {
		t.Errorf("the report names %s:\n%s", dir, text)
	}
	if r.Folder != filepath.Base(dir) || r.Accidents[0].Logs != filepath.Join("accidents", "a") || r.Failures[0] != "see p0.log, twice: p0.log" {
		t.Errorf("%+v", r)
	}
}
