package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Nothing that others have written controls the terminal, and JSON keeps its meaning.
func TestEscapeControls(t *testing.T) {
	for text, want := range map[string]string{
		"plain äöü 温度\tx\n": "plain äöü 温度\tx\n", "": "",
		"\x1b]0;PWNED\a": `\u001b]0;PWNED\u0007`, "\u009b31m": `\u009b31m`, "a\u202eb": `a\u202eb`, "\r\x7f": `\u000d\u007f`,
	} {
		if got := string(escapeControls([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	encoded, err := json.Marshal("a\u009b\u202e")
	if err != nil {
		t.Fatal(err)
	}
	var back string
	if err := json.Unmarshal(escapeControls(encoded), &back); err != nil || back != "a\u009b\u202e" {
		t.Errorf("%q, %v", back, err)
	}
}

// The names of transactions and headers are those that any client has chosen.
func TestNamesAreEscaped(t *testing.T) {
	t.Parallel()
	const evil = "\x1b]0;PWNED\x07"
	dir := t.TempDir()
	p := start(t, "up", "--data-dir", dir, "--listen", "127.0.0.1:0", "--rate", "1")
	var address []byte
	waitFor(t, "the broker", func() bool {
		address, _ = os.ReadFile(filepath.Join(dir, "broker.addr"))
		return len(address) > 0
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.TrimSpace(string(address))), kgo.TransactionalID("tx"+evil))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	waitFor(t, "the topic", func() bool {
		if client.BeginTransaction() != nil {
			return false
		}
		r := &kgo.Record{Topic: "sensor_data_tx", Headers: []kgo.RecordHeader{{Key: "h" + evil}}, Value: []byte("{}")}
		return client.ProduceSync(t.Context(), r).FirstErr() == nil
	})
	run := func(args ...string) string {
		cmd := exec.Command(os.Args[0], append(args, "--data-dir", dir)...)
		cmd.Env = append(os.Environ(), mainEnv+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	shown := run("transactions", "list")
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	shown += run("tail", "sensor_data_tx", "--from-start", "--until-end")
	if strings.ContainsAny(shown, "\x1b\a") || strings.Count(shown, `PWNED`) < 2 {
		t.Errorf("%q", shown)
	}
	p.kill()
}
