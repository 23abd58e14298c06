package main

import (
	"strings"
	"testing"
	"time"
)

// A console that listens nowhere, or to everybody, is a mistake in how it was called.
func TestConsoleFlags(t *testing.T) {
	for _, args := range [][]string{{"console", "--console-listen", "none"}, {"up", "--console-listen", "0.0.0.0:8080"}, {"up", "--console-listen", "here"}} {
		p := start(t, append(args, "--data-dir", t.TempDir())...)
		if code := p.wait(20 * time.Second); code != exitUsage || !strings.Contains(p.errOut.String(), "console") {
			t.Errorf("%v: exit %d, %s", args, code, p.errOut.String())
		}
	}
}
