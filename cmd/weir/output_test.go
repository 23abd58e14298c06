package main

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A command whose output can't be written says so and ends with 1, whichever it is.
func TestOutputIsFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("NOT TESTED: there is no /dev/full: %v", err)
	}
	defer full.Close()
	file := filepath.Join(t.TempDir(), "f.csv")
	if err := os.WriteFile(file, []byte("device,ts,v\nd,1767225600,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := "--data-dir=" + filepath.Join(t.TempDir(), "data")
	must(t, "topics", "apply", data)
	for _, args := range [][]string{
		{"explain", "device_stats"}, {"explain", "device_stats", "-o", "svg"}, {"explain", "device_stats", "-o", "json"}, {"produce", "--help"},
		{"--version"}, {"produce", "--file", file, "--dry-run"}, {"produce", "--file", file, data}, {"alerts", "list", data},
		{"topics", "show"}, {"transactions", "list", data}, {"check", "device_stats"},
	} {
		cmd := exec.Command(os.Args[0], args...) //nolint:gosec // this test's own
		cmd.Env = append(os.Environ(), mainEnv+"=1", "TMPDIR="+slotDir(t))
		var errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &errOut
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(errOut.String(), "no space left on device") {
			t.Errorf("weir %s: %v\n%s", strings.Join(args, " "), err, errOut.String())
		}
	}
}

// Durations in logs have their unit, in JSON as in text.
func TestLoggedDurations(t *testing.T) {
	var b bytes.Buffer
	log, err := (&kafkaFlags{logLevel: "info"}).logger(&b)
	if err != nil {
		t.Fatal(err)
	}
	log.With("wait", time.Second).Info("again", "in", 107*time.Millisecond, slog.Group("g", "took", 2*time.Minute))
	for _, want := range []string{`"wait":"1s"`, `"in":"107ms"`, `"took":"2m0s"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in %s", want, b.String())
		}
	}
}

// What is not there yet on a fresh system is empty, and no error.
func TestFreshSystem(t *testing.T) {
	data := "--data-dir=" + filepath.Join(t.TempDir(), "data")
	must(t, "topics", "apply", data)
	if out := must(t, "alerts", "list", data); !strings.Contains(out, "No alert fires.") {
		t.Errorf("alerts list: %s", out)
	}
	if out := must(t, "alerts", "list", data, "-o", "json"); !strings.Contains(out, "{") {
		t.Errorf("alerts list -o json: %s", out)
	}
	if code, _, errOut := do(t, "alerts", "silence", "--end", "5f0c2a91", data); code != exitFailed || !strings.Contains(errOut, "no silence 5f0c2a91") {
		t.Errorf("alerts silence --end: exit %d, %s", code, errOut)
	}
	if code, _, errOut := do(t, "dlq", "list", "--dlq=typo.dlq", data); code != exitFailed || !strings.Contains(errOut, "no topic typo.dlq") {
		t.Errorf("dlq list: exit %d, %s", code, errOut)
	}
	for _, args := range [][]string{{"produce", "--devices=0", data}, {"up", "--devices=0", data}, {"produce", "--devices=-3", data}} {
		if code, _, errOut := do(t, args...); code != exitUsage || !strings.Contains(errOut, "a fleet has at least 1") {
			t.Errorf("weir %s: exit %d, %s", strings.Join(args, " "), code, errOut)
		}
	}
}
