package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The command line takes precedence over the environment, the environment over the file, and a
// section over the enclosing one. Unknown keys are refused. Each value is an invalid address, which
// appears in the error.
func TestConfigurationFile(t *testing.T) {
	for _, c := range []struct {
		name, file, env string
		args            []string
		want            string
	}{
		{"the file", "brokers: [from-file]", "", nil, `broker "from-file"`},
		{"a section", "brokers: [from-file]\ntopics:\n  brokers: from-section", "", nil, `broker "from-section"`},
		{"a section of a section", "topics:\n  brokers: outer\n  plan:\n    brokers: [inner]", "", nil, `broker "inner"`},
		{"another command's section", "brokers: from-file\nverify:\n  brokers: from-section", "", nil, `broker "from-file"`},
		{"the environment", "brokers: [from-file]", "from-environment", nil, `broker "from-environment"`},
		{"the command line", "brokers: [from-file]", "from-environment", []string{"--brokers=given"}, `broker "given"`},
		{"a misspelt key", "brokerz: [a]", "", nil, "unknown key brokerz: did you mean brokers?"},
		{"a misspelt key in a section", "flink:\n  gatewy: http://x", "", nil, "unknown key flink.gatewy: did you mean gateway?"},
		{"another command's key", "flink:\n  mark: true", "", nil, "unknown key flink.mark"},
		{"no command", "flinc:\n  gateway: x", "", nil, "flinc is not a weir command"},
		{"no YAML", "brokers: [", "", nil, "weir.yaml"},
		{"a wrong value", "topics:\n  plan:\n    tls: maybe", "", nil, "tls"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "weir.yaml")
			if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.env != "" {
				t.Setenv("WEIR_BROKERS", c.env)
			}
			code, _, stderr := do(t, append([]string{"topics", "plan", "--config=" + file}, c.args...)...)
			if code != exitUsage || !strings.Contains(stderr, c.want) {
				t.Errorf("exit %d, %q; want 2 and %q", code, stderr, c.want)
			}
		})
	}
	if code, _, stderr := do(t, "topics", "plan", "--config=nowhere.yaml"); code != exitUsage || !strings.Contains(stderr, "nowhere.yaml") {
		t.Errorf("a file that is not there: exit %d, %q", code, stderr)
	}
}
