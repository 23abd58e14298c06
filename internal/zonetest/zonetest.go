// Package zonetest reruns tests with another system time zone. Rows must not depend on the
// machine's zone.
package zonetest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// zone differs from UTC at all times, and from the zones that tests set.
const zone = "Asia/Tokyo"

// Run runs the tests of the calling package whose names match a pattern (go test -run) in a
// separate process with TZ=Asia/Tokyo.
func Run(t *testing.T, pattern string) {
	t.Helper()
	if _, err := time.LoadLocation(zone); err != nil {
		t.Fatalf("load the zone that the process would have: %v", err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run", pattern, "-test.v") //nolint:gosec // this test binary
	cmd.Env = append(os.Environ(), "TZ="+zone)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("with TZ=%s: %v\n%s", zone, err, out)
	}
	if !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("no test matches %s:\n%s", pattern, out)
	}
}
