package stack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A kit is accepted only if it has exactly the listed files, with the right checksums.
func TestKitIsVerified(t *testing.T) {
	const sums = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  lib/a.jar\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // in the error
	}{
		{"right", map[string]string{"lib/a.jar": "abc"}, ""},
		{"changed", map[string]string{"lib/a.jar": "abd"}, "lib/a.jar has the SHA-256"},
		{"missing", nil, "lib/a.jar is missing"},
		{"another", map[string]string{"lib/a.jar": "abc", "lib/b.jar": ""}, "lib/b.jar is not a file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := kit{sums: sums}.verify(dir)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// If a tool is missing, the error names what to install.
func TestMissingTools(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("WEIR_STACK", t.TempDir())
	if _, err := StartKafka(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "apt-get install maven") {
		t.Errorf("Kafka without mvn: %v", err)
	}
	if _, err := StartFlink(t.Context(), FlinkOptions{}); err == nil || !strings.Contains(err.Error(), "apt-get install python3-pip") {
		t.Errorf("Flink without pip3: %v", err)
	}
	if _, err := findJavaOf(t.Context(), 5); err == nil || !strings.Contains(err.Error(), "JAVA_HOME") {
		t.Errorf("a Java that nobody has: %v", err)
	}
}
