package clients

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir.example/weir/internal/stack"
)

var update = flag.Bool("update", false, "record the answers of real Kafka, and the results of the clients")

// TestAdminClient makes every call of Java's AdminClient on the embedded broker and compares the
// answers with those of real Kafka, which testdata/admin/kafka records. testdata/admin/differences
// lists those that may differ, with the reason.
func TestAdminClient(t *testing.T) {
	needsTools(t, "java", "javac", "mvn")
	want := answers(t, readFile(t, "testdata/admin/kafka"))
	have := answers(t, askAdmin(t, serveEmbedded(t)))
	allowed := readDifferences(t)
	if *update {
		writeDifferences(t, want, have, allowed)
		allowed = readDifferences(t)
	}
	for _, name := range have.names {
		if _, ok := want.answer[name]; !ok {
			t.Errorf("%s: real Kafka's answer is not recorded: run make clients UPDATE=1", name)
		}
	}
	for _, name := range want.names {
		kafka, embedded := want.answer[name], have.answer[name]
		d, differs := allowed[name]
		switch {
		case embedded == kafka && differs:
			t.Errorf("%s: testdata/admin/differences lists it, and both brokers give the same answer: remove it", name)
		case embedded != kafka && !differs:
			t.Errorf("%s:\nembedded %s\nKafka    %s", name, embedded, kafka)
		case embedded != kafka && d.reason == unexplained:
			t.Errorf("%s: testdata/admin/differences doesn't explain the difference", name)
		case embedded != kafka && embedded != d.answer:
			t.Errorf("%s: the difference has changed:\nembedded %s\nlisted   %s\nKafka    %s", name, embedded, d.answer, kafka)
		}
		delete(allowed, name)
	}
	for name := range allowed {
		t.Errorf("%s: testdata/admin/differences lists it, and no call has this name", name)
	}
	t.Logf("%d calls compared with Kafka %s", len(want.names), stack.KafkaVersion)
}

// TestAdminClientOfKafka compares the recorded answers with those of a real broker.
func TestAdminClientOfKafka(t *testing.T) {
	needsAll(t)
	needsTools(t, "java", "javac", "mvn")
	const file = "testdata/admin/kafka"
	text := askAdmin(t, realKafka(t))
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, have := answers(t, readFile(t, file)), answers(t, text)
	for _, name := range have.names {
		if want.answer[name] != have.answer[name] {
			t.Errorf("%s:\nKafka    %s\nrecorded %s", name, have.answer[name], want.answer[name])
		}
	}
	if len(want.names) != len(have.names) {
		t.Errorf("%d answers, %d recorded", len(have.names), len(want.names))
	}
}

// askAdmin returns what AdminCalls prints for a broker.
func askAdmin(t *testing.T, c cluster) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	classes := compileJava(ctx, t, "AdminCalls")
	cmd, err := stack.StreamsTool(ctx, "256m", classes, "AdminCalls", c.Address())
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t, cmd)
	if err != nil {
		t.Fatalf("%v\nits last answers:\n%s", err, lastLines(out, 3))
	}
	return out
}

// compileJava compiles a class of testdata/java and returns the folder of its class file.
func compileJava(ctx context.Context, t *testing.T, class string) string {
	t.Helper()
	classes := t.TempDir()
	if err := stack.CompileStreams(ctx, classes, filepath.Join("testdata", "java", class+".java")); err != nil {
		t.Fatal(err)
	}
	return classes
}

// calls are the answers to calls, by name, and the names in the order of the calls.
type calls struct {
	names  []string
	answer map[string]string
}

func answers(t *testing.T, text string) calls {
	t.Helper()
	c := calls{answer: make(map[string]string)}
	for line := range strings.Lines(text) {
		name, answer, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if _, twice := c.answer[name]; !ok || twice {
			t.Fatalf("invalid or repeated answer %q", line)
		}
		c.names = append(c.names, name)
		c.answer[name] = answer
	}
	const least = 180
	if len(c.names) < least {
		t.Fatalf("%d answers, want at least %d", len(c.names), least)
	}
	return c
}

// difference is an answer of the embedded broker that may differ from real Kafka's.
type difference struct{ answer, reason string }

// readDifferences reads testdata/admin/differences: for each call its name, the embedded broker's
// answer and the reason, each on a line, the last two indented by a tab.
func readDifferences(t *testing.T) map[string]difference {
	t.Helper()
	all := make(map[string]difference)
	var lines []string
	for line := range strings.Lines(readFile(t, "testdata/admin/differences")) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	for i := 0; i < len(lines); i += 3 {
		if i+3 > len(lines) || strings.HasPrefix(lines[i], "\t") || !strings.HasPrefix(lines[i+1], "\t") || !strings.HasPrefix(lines[i+2], "\t") {
			t.Fatalf("testdata/admin/differences: expected a name, an answer and a reason at %q", lines[i])
		}
		all[lines[i]] = difference{answer: lines[i+1][1:], reason: lines[i+2][1:]}
	}
	return all
}

// unexplained is the reason of differences that nobody has judged yet.
const unexplained = "unexplained"

// writeDifferences records the differences, and keeps the reasons of those that are listed already.
func writeDifferences(t *testing.T, kafka, embedded calls, listed map[string]difference) {
	t.Helper()
	var text strings.Builder
	text.WriteString("# Answers of the embedded broker that differ from real Kafka's, each with the reason. See admin_test.go.\n")
	for _, name := range kafka.names {
		answer := embedded.answer[name]
		if answer == kafka.answer[name] {
			continue
		}
		reason := listed[name].reason
		if reason == "" {
			reason = unexplained
		}
		fmt.Fprintf(&text, "\n%s\n\t%s\n\t%s\n", name, answer, reason)
	}
	if err := os.WriteFile("testdata/admin/differences", []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name) //nolint:gosec // of this test
	if err != nil {
		t.Fatal(fmt.Errorf("read test data: %w", err))
	}
	return string(text)
}
