package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Fields of a file that are not sent are reported with their counts. A dry run reports them before
// anything is sent.
func TestProduceFileReportsUnusedColumns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hall.ndjson")
	rows := `{"deviceId":"a","ts":"2026-01-01T00:00:00Z","temp":1,"note":"x"}
{"deviceId":"b","ts":"2026-01-01T00:00:01Z","hum":40}
{"deviceId":"a","ts":20260101,"temp":3}
{"deviceId":"a","ts":"2026-01-01T00:00:02Z","note":"y","at":{"lat":1}}
`
	if err := os.WriteFile(path, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := "--data-dir=" + filepath.Join(t.TempDir(), "data")
	out := must(t, "produce", dir, "--file", path, "--dry-run")
	for _, want := range []string{
		"device deviceId, time ts, values temp hum; not sent: note at", `{"device_id":"a","sensor":"temp","value":1,`,
		"would send 2 readings and 1 dead letter", "rejected in column ts: 1", "hall.ndjson:3: column ts: 20260101 is a date (yyyymmdd)",
		"note: 2 fields", "at: 1 field", "rows without a value: 1",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("dry run lacks %q\n%s", want, out)
		}
	}
	var sent struct {
		Readings    int64 `json:"readings"`
		DeadLetters int64 `json:"dead_letters"`
		Earlier     int64 `json:"earlier"`
		Unused      []struct {
			Column string `json:"column"`
			Fields int64  `json:"fields"`
		} `json:"unused"`
		Empty int64 `json:"rows_without_a_value"`
	}
	out = must(t, "produce", dir, "--file", path, "-o", "json")
	if err := json.Unmarshal([]byte(out), &sent); err != nil {
		t.Fatal(err)
	}
	if sent.Readings != 2 || sent.Earlier != 0 || sent.DeadLetters != 1 || len(sent.Unused) != 2 || sent.Unused[0].Column != "note" || sent.Unused[0].Fields != 2 || sent.Empty != 1 {
		t.Errorf("%+v\n%s", sent, out)
	}
	if out := must(t, "produce", dir, "--file", path); !strings.Contains(out, "nothing to send") || !strings.Contains(out, "note: 2 fields") {
		t.Errorf("again: %s", out)
	}
}

// If a file's devices or times are ambiguous, nothing is sent, and the error names the flag that
// helps.
func TestProduceFileRefuses(t *testing.T) {
	for _, c := range []struct {
		name, content string
		code          int
		args          []string
		want          string
	}{
		{"no device", "timestamp,value\n2026-01-01 00:00:00,1\n", exitFailed, nil, "among timestamp, value: name it with --device-column, or name the file's only device with --device"},
		{"dates", "device,ts,v\nd,20260101,1\n", exitFailed, nil, "--ts-format 20060102"},
		{"two devices", "device,host,ts,v\nd,h,1767225600,1\n", exitFailed, nil, "device or host"},
		{"years", "device,ts,v\nd,1767225600,1\n", exitUsage, []string{"--ts-years=2100-1990"}, "ends before it starts"},
		{"delimiter", "device,ts,v\nd,1767225600,1\n", exitUsage, []string{"--delimiter="}, "--delimiter is empty"},
		{"dry run of a fleet", "", exitUsage, nil, "--dry-run needs --file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"produce", "--dry-run"}, c.args...)
			if c.content != "" {
				path := filepath.Join(t.TempDir(), "f.csv")
				if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--file="+path)
			}
			code, stdout, stderr := do(t, args...)
			if code != c.code || stdout != "" || !strings.Contains(stderr, c.want) {
				t.Errorf("exit %d, want %d with %q\n%s%s", code, c.code, c.want, stdout, stderr)
			}
		})
	}
}
