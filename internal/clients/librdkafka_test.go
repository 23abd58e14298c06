package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir.example/weir/internal/stack"
)

// librdkafkaParallel is how many tests of librdkafka run at a time. They mostly wait.
const librdkafkaParallel = 3

// TestLibrdkafkaSuite runs librdkafka's own tests against the embedded broker, except those that
// need no broker. testdata/suites/librdkafka lists those that must pass; the list may only grow. It
// also lists those that may fail, each with the reason.
func TestLibrdkafkaSuite(t *testing.T) {
	needsAll(t)
	needsTools(t, "npm", "g++", "make")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	tests := readSuite(t, filepath.Join("testdata", "suites", "librdkafka"))
	runner, err := stack.LibrdkafkaTests(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(autoEnv, "1") // its tests rely on it
	broker := serveEmbedded(t)
	numbers := make(chan string)
	results := make(map[string]string)
	var mu sync.Mutex
	var running sync.WaitGroup
	for range librdkafkaParallel {
		running.Go(func() {
			for number := range numbers {
				outcome := runLibrdkafkaTest(ctx, t, runner, broker.Address(), number)
				mu.Lock()
				for _, name := range tests.names() {
					if strings.HasPrefix(name, number) && outcome[name] == "" {
						outcome[name] = "fail" // the runner was stopped without a report
					}
				}
				for name, result := range outcome {
					results[name] = result
				}
				mu.Unlock()
			}
		})
	}
	var sent []string
	for _, name := range tests.names() {
		if number, _, _ := strings.Cut(name, "_"); !slices.Contains(sent, number) {
			sent = append(sent, number)
			numbers <- number
		}
	}
	close(numbers)
	running.Wait()
	tests.compare(t, results, true)
}

// names returns the names of all listed tests, in order.
func (s *suite) names() []string {
	names := slices.Clone(s.passes)
	for name := range s.fails {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// runLibrdkafkaTest runs the tests with a number, such as 0001, and returns their outcomes: pass,
// fail or skip.
func runLibrdkafkaTest(ctx context.Context, t *testing.T, runner, addr, number string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	conf, report := filepath.Join(dir, "test.conf"), filepath.Join(dir, "report.json")
	settings := fmt.Sprintf("bootstrap.servers=%s\ntest.topic.random=true\ntest.timeout.multiplier=4\n", addr)
	if err := os.WriteFile(conf, []byte(settings), 0o600); err != nil {
		t.Error(err)
		return map[string]string{}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(runner, "test-runner"), "-L", "-Q", "-p1") //nolint:gosec // built by stack
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+runner, "TESTS="+number, "RDKAFKA_TEST_CONF="+conf, "TEST_REPORT="+report,
		"TEST_KAFKA_VERSION="+stack.KafkaVersion)
	out, err := run(t, cmd)
	outcome := make(map[string]string)
	var all struct {
		Tests map[string]struct{ State string } `json:"tests"`
	}
	if text, err := os.ReadFile(report); err == nil && json.Unmarshal(text, &all) == nil {
		for name, test := range all.Tests {
			if state := map[string]string{"PASSED": "pass", "FAILED": "fail"}[test.State]; state != "" && strings.HasPrefix(name, number) {
				outcome[name] = state
			}
		}
	}
	if err != nil {
		t.Logf("%s: %v\n%s", number, err, lastLines(out, 5))
	}
	return outcome
}
