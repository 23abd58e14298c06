package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir.example/weir/internal/longtest"
)

// franzGo is the module whose own integration tests run against the embedded broker: the version
// that Weir uses.
const franzGo = "github.com/twmb/franz-go"

// franzSample are the tests of franz-go that make test runs.
var franzSample = []string{"TestIssue434", "TestGroupSimple", "TestConsumeRegex"}

// TestFranzGoSuite runs the integration tests of franz-go against the embedded broker.
// testdata/suites/franz-go lists those that must pass; the list may only grow. It also lists those
// that may fail, each with the reason.
func TestFranzGoSuite(t *testing.T) {
	needsTools(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	tests := readSuite(t, filepath.Join("testdata", "suites", "franz-go"))
	pattern := "."
	if os.Getenv(allEnv) == "" && !longtest.Enabled() {
		pattern = "^(" + strings.Join(franzSample, "|") + ")$"
	}
	broker := serveEmbedded(t)
	cmd := exec.CommandContext(ctx, "go", "test", "-json", "-count=1", "-timeout=15m", "-run", pattern, "./pkg/kgo")
	cmd.Dir = copyModule(ctx, t, franzGo)
	cmd.Env = append(os.Environ(), "KGO_SEEDS="+broker.Address(), "KGO_TEST_RF=1", "KGO_TEST_RECORDS=10000", "GOFLAGS=-mod=mod")
	out, err := run(t, cmd)
	results := goResults(t, out)
	if len(results) == 0 {
		t.Fatalf("no test has run: %v", err)
	}
	tests.compare(t, results, pattern == ".")
}

// copyModule copies a module of the build list to a folder of the test, since the module cache is
// read-only.
func copyModule(ctx context.Context, t *testing.T, module string) string {
	t.Helper()
	out, err := run(t, exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "module")
	if err := os.CopyFS(dir, os.DirFS(strings.TrimSpace(out))); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, 0o755) //nolint:gosec // the test's own folder
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// goResults returns the outcomes of the top-level tests in the output of go test -json: pass, fail
// or skip.
func goResults(t *testing.T, out string) map[string]string {
	t.Helper()
	results := make(map[string]string)
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event struct{ Action, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &event) != nil || event.Test == "" || strings.Contains(event.Test, "/") {
			continue
		}
		if slices.Contains([]string{"pass", "fail", "skip"}, event.Action) {
			results[event.Test] = event.Action
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return results
}

// suite is a list of the tests of a foreign suite: lines "pass NAME", and "fail NAME: reason".
type suite struct {
	file   string
	passes []string
	fails  map[string]string // test → reason
}

func readSuite(t *testing.T, file string) *suite {
	t.Helper()
	s := &suite{file: file, fails: make(map[string]string)}
	for line := range strings.Lines(readFile(t, file)) {
		line = strings.TrimSpace(line)
		name, reason, explained := strings.Cut(line, ": ")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "pass ") && !explained:
			s.passes = append(s.passes, line[len("pass "):])
		case strings.HasPrefix(line, "fail ") && explained:
			s.fails[name[len("fail "):]] = reason
		default:
			t.Fatalf("%s: expected \"pass NAME\" or \"fail NAME: reason\", got %q", file, line)
		}
	}
	return s
}

// compare fails for each listed test that did not pass, and for each unlisted one that failed. all
// means that the whole suite ran.
func (s *suite) compare(t *testing.T, results map[string]string, all bool) {
	t.Helper()
	if *update && all {
		s.record(t, results)
	}
	passed := 0
	for name, result := range results {
		reason, mayFail := s.fails[name]
		switch listed := slices.Contains(s.passes, name); {
		case result == "pass" && !listed && !mayFail:
			t.Errorf("%s passes: add it to %s (make clients UPDATE=1)", name, s.file)
		case result == "fail" && mayFail:
			t.Logf("%s fails: %s", name, reason)
		case result == "fail":
			t.Errorf("%s fails", name)
		}
		if result == "pass" {
			passed++
		}
	}
	for _, name := range s.passes {
		if all && results[name] != "pass" {
			t.Errorf("%s: %q, and %s lists it as passing", name, results[name], s.file)
		}
	}
	t.Logf("%d of %d tests pass", passed, len(results))
}

// record adds the tests that pass to the list.
func (s *suite) record(t *testing.T, results map[string]string) {
	t.Helper()
	for name, result := range results {
		if _, mayFail := s.fails[name]; result == "pass" && !mayFail && !slices.Contains(s.passes, name) {
			s.passes = append(s.passes, name)
		}
	}
	slices.Sort(s.passes)
	text := "# Tests that run against the embedded broker: see suite_test.go.\n"
	for _, name := range s.passes {
		text += fmt.Sprintf("pass %s\n", name)
	}
	names := make([]string, 0, len(s.fails))
	for name := range s.fails {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text += fmt.Sprintf("fail %s: %s\n", name, s.fails[name])
	}
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
