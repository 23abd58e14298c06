package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"weir.example/weir/internal/chaos"
	"weir.example/weir/internal/longtest"
)

// A short run of weir chaos on the embedded broker injects faults and finds no failures. A page can
// be generated from its report.
func TestChaos(t *testing.T) {
	duration := fmt.Sprint(longtest.Size(10, 20, 120), "s")
	dir := t.TempDir()
	result := filepath.Join(dir, "result.json")
	stdout := must(t, "chaos", "--data-dir", dir, "--duration", duration, "--rate", "1500", "--devices", "40", "-o", "json", "--result", result,
		"--faults", "producer-kill,engine-kill,broker-kill,net-cut,net-latency")
	var r chaos.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	t.Logf("seed %d: %v, recovery p99 %s", r.Seed, r.ByKind(), r.Recovery(0.99))
	if !r.Clean() || len(r.Faults) < 2 || r.Final.Audit.Records < 1000 || r.Final.Audit.Windows.Results == 0 || r.Final.Groups == 0 || r.Recovery(0.5) == 0 {
		t.Errorf("the run proves too little: %s", stdout)
	}
	page := must(t, "chaos", "--page", result)
	for _, want := range []string{"| passed |", "| lost | 0 |", "| engine-kill |"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page:\n%s", want, page)
		}
	}
}

// The same for a pipeline of joins, whose rows equal an offline recomputation from both sources.
func TestChaosJoins(t *testing.T) {
	duration := fmt.Sprint(longtest.Size(8, 15, 120), "s")
	dir := t.TempDir()
	stdout := must(t, "chaos", "--pipeline", "joins", "--data-dir", dir, "--duration", duration, "--rate", "1500", "--devices", "40", "-o", "json",
		"--faults", "producer-kill,engine-kill,engines-kill,broker-kill")
	var r chaos.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	t.Logf("seed %d: %v, %d and %d readings, %d rows of joins", r.Seed, r.ByKind(), r.Final.Audit.Records, r.Final.Planned.Records, r.Final.Joined)
	if !r.Clean() || len(r.Faults) < 2 || min(r.Final.Audit.Records, r.Final.Planned.Records) < 500 || r.Final.Joined < 500 {
		t.Errorf("the run proves too little: %s", stdout)
	}
}

func TestChaosRefusesUnknownPipeline(t *testing.T) {
	code, _, stderr := do(t, "chaos", "--pipeline", "windows", "--data-dir", t.TempDir())
	if code != exitUsage || !strings.Contains(stderr, `"windows"`) || !strings.Contains(stderr, "joins") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestChaosRefusesUnknownFaults(t *testing.T) {
	code, _, stderr := do(t, "chaos", "--faults", "engine-kill,flood", "--data-dir", t.TempDir())
	if code != exitUsage || !strings.Contains(stderr, `"flood"`) || !strings.Contains(stderr, "net-half-open") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
