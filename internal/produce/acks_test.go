package produce

import (
	"os"
	"path/filepath"
	"testing"
)

// The unfinished line of a killed process stays on its own line.
func TestAcksAfterKill(t *testing.T) {
	const line = `{"outcome":"acked","device":"d","boot":"b","from":0,"to":9}` + "\n"
	for before, want := range map[string]string{"": line, line: line + line, line + line[:20]: line + line[:20] + "\n" + line} {
		path := filepath.Join(t.TempDir(), "acks.ndjson")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := openAcks(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.write(acked, []ackRange{{Device: "d", Boot: "b", To: 9}}); err != nil {
			t.Fatal(err)
		}
		if err := a.close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("after %q: %q, want %q (%v)", before, got, want, err)
		}
	}
}
