package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// Any command whose output can't be written reports it and exits with 1.
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
		cmd := exec.Command(os.Args[0], args...) //nolint:gosec // binary of this test
		cmd.Env = append(os.Environ(), mainEnv+"=1", "TMPDIR="+slotDir(t))
		var errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &errOut
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(errOut.String(), "no space left on device") {
			t.Errorf("weir %s: %v\n%s", strings.Join(args, " "), err, errOut.String())
		}
	}
}

// Durations in logs have a unit, in JSON as well as in text.
func TestLoggedDurations(t *testing.T) {
	var b bytes.Buffer
	new(logFlag).logger(&b).With("wait", time.Second).Info("again", "in", 107*time.Millisecond, slog.Group("g", "took", 2*time.Minute))
	for _, want := range []string{`"wait":"1s"`, `"in":"107ms"`, `"took":"2m0s"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in %s", want, b.String())
		}
	}
}

// On a new system, lists are empty rather than errors.
func TestFreshSystem(t *testing.T) {
	data := "--data-dir=" + filepath.Join(t.TempDir(), "data")
	must(t, "topics", "apply", data)
	if out := must(t, "alerts", "list", data); !strings.Contains(out, "No alerts are firing.") {
		t.Errorf("alerts list: %s", out)
	}
	if out := must(t, "alerts", "list", data, "-o", "json"); !strings.Contains(out, "{") {
		t.Errorf("alerts list -o json: %s", out)
	}
	if code, _, errOut := do(t, "alerts", "silence", "--end", "5f0c2a91", data); code != exitFailed || !strings.Contains(errOut, "silence 5f0c2a91 not found") {
		t.Errorf("alerts silence --end: exit %d, %s", code, errOut)
	}
	if code, _, errOut := do(t, "dlq", "list", "--dlq=typo.dlq", data); code != exitFailed || !strings.Contains(errOut, "topic typo.dlq not found") {
		t.Errorf("dlq list: exit %d, %s", code, errOut)
	}
	for _, args := range [][]string{{"produce", "--devices=0", data}, {"up", "--devices=0", data}, {"produce", "--devices=-3", data}} {
		if code, _, errOut := do(t, args...); code != exitUsage || !strings.Contains(errOut, "--devices must be at least 1") {
			t.Errorf("weir %s: exit %d, %s", strings.Join(args, " "), code, errOut)
		}
	}
}

// User errors are reported on one line in the terms of the command line, with a remedy, and without
// error texts of libraries.
func TestUsageErrors(t *testing.T) {
	data := "--data-dir=" + filepath.Join(t.TempDir(), "data")
	must(t, "topics", "apply", data)
	for _, x := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"verfy"}, exitUsage, `weir: unknown command "verfy" for "weir": did you mean verify?`},
		{[]string{"up", "--devices", "many"}, exitUsage, `weir: invalid argument "many" for "--devices" flag: not a whole number`},
		{[]string{"up", "--rate", "1.x"}, exitUsage, `weir: invalid argument "1.x" for "--rate" flag: not a number`},
		{[]string{"up", "--for", "3"}, exitUsage, `weir: invalid argument "3" for "--for" flag: missing unit in duration`},
		{[]string{"up", "--sync=ja"}, exitUsage, `weir: invalid argument "ja" for "--sync" flag: not true or false`},
		{[]string{"tail", "device_stat", data}, exitFailed, "weir: topic device_stat not found: did you mean device_stats?"},
		{[]string{"tail", "nothing_like_it", data}, exitFailed, "weir: topic nothing_like_it not found"},
		{[]string{"run", "per_minut", data}, exitUsage, "weir: file not found: per_minut, and no bundled pipeline has this name: did you mean per_minute?"},
		{[]string{"run", "nothing.sql", data}, exitUsage, "weir: file not found: nothing.sql"},
		{[]string{"run", "-", data}, exitUsage, "weir: a pipeline can't be read from standard input: its name and state are those of its file"},
		{[]string{"dlq", "list", "--dlq=typo.dlq", data}, exitFailed, "weir: topic typo.dlq not found"},
	} {
		code, _, errOut := do(t, x.args...)
		line, rest, _ := strings.Cut(strings.TrimSpace(errOut), "\n")
		if code != x.code || !strings.HasPrefix(line, x.want) || strings.Contains(errOut, "strconv") || strings.Contains(errOut, "UNKNOWN_TOPIC") || strings.Count(rest, "\n") > 1 {
			t.Errorf("weir %s: exit %d, expected %d and %q, got\n%s", strings.Join(x.args, " "), code, x.code, x.want, errOut)
		}
	}
}

// Paragraphs of help are joined before they are wrapped to the width of the terminal: otherwise
// long lines of the source would be wrapped again.
func TestHelpIsUnwrapped(t *testing.T) {
	c := &cobra.Command{Long: "One\ntwo.\n\nThree:\n  a list\n  of two\nfour\nfive"}
	c.AddCommand(&cobra.Command{Long: "six\nseven"})
	unwrapHelp(c)
	if want := "One two.\n\nThree:\n  a list\n  of two\nfour five"; c.Long != want || c.Commands()[0].Long != "six seven" {
		t.Errorf("got %q and %q, expected %q", c.Long, c.Commands()[0].Long, want)
	}
	help := must(t, "chaos", "--help")
	for _, line := range strings.Split(help, "\n") {
		if n := len(strings.Fields(line)); n == 1 && !strings.HasPrefix(strings.TrimSpace(line), "weir") && strings.ToUpper(line) != line {
			t.Errorf("a line of help has a single word: %s", line)
		}
	}
}

// A stopped command reports that it was interrupted, without naming Go's context.
func TestInterruptedText(t *testing.T) {
	for _, err := range []error{context.Canceled, fmt.Errorf("verify sensor_data_tx: %w", context.Canceled), errInterrupted} {
		var out strings.Builder
		printError(&out, err)
		if exitCode(err) != exitInterrupted || !strings.HasPrefix(out.String(), "weir: interrupted") || strings.Contains(out.String(), "context") {
			t.Errorf("%v is shown as %q", err, out.String())
		}
	}
}
