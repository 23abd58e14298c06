package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// drop puts a file into a directory as a whole.
func drop(t *testing.T, dir, name, content string) {
	t.Helper()
	tmp := filepath.Join(dir, name+".tmp")
	if err := os.WriteFile(tmp, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// csvOf returns a file of readings of ten devices, and counts them under "file/value".
func csvOf(want map[string]int, name string, from, n int) string {
	var b strings.Builder
	b.WriteString("ts,device_id,temp\n")
	for v := from; v < from+n; v++ {
		fmt.Fprintf(&b, "%d,d%d,%d\n", 1767225600+v, v%10, v)
		want[fmt.Sprintf("%s/%d", name, v)]++
	}
	return b.String()
}

// Files that are dropped into a watched directory are sent once each, although the command is
// killed repeatedly with kill -9. Touched and removed files are not sent again; other content under
// a name that was sent is refused, and --skip-file leaves it out.
func TestProduceWatch(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test
	watched, data := t.TempDir(), filepath.Join(t.TempDir(), "data")
	args := []string{"produce", "--data-dir=" + data, "--watch", watched, "--settle=50ms", "--rate=8000", "--commit-interval=20ms", "--mark"}
	want := make(map[string]int)
	names, value, committed := []string(nil), 0, int64(0)
	add := func(n int) {
		name := fmt.Sprintf("%c%d.csv", 'a'+rune(rng.IntN(26)), len(names))
		drop(t, watched, name, csvOf(want, name, value, n))
		names, value = append(names, name), value+n
	}
	for range 5 {
		add(2000)
		add(1 + rng.IntN(50))
		p := start(t, args...)
		waitFor(t, "commit of this run", func() bool { n := served(data); more := n > committed; committed = max(n, committed); return more })
		time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond) // moment of the fault
		p.kill()
	}
	drop(t, watched, "header.csv", "ts,device_id,temp\n")
	p := start(t, args...)
	add(10) // while it watches
	last := names[len(names)-1]
	waitFor(t, "end of "+last, func() bool {
		return strings.Contains(p.errOut.String(), last+": sent completely") && served(data) == int64(len(want))
	})
	if err := os.Chtimes(filepath.Join(watched, names[0]), time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(watched, names[1])); err != nil {
		t.Fatal(err)
	}
	drop(t, watched, "zz.csv", csvOf(want, "zz.csv", value, 5)) // taken after the touched file was looked at
	waitFor(t, "end of zz.csv", func() bool { return strings.Contains(p.errOut.String(), "zz.csv: sent completely") })
	if !strings.Contains(p.errOut.String(), "header.csv: has no rows") {
		t.Errorf("the file without rows is not reported:\n%s", p.errOut.String())
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(30 * time.Second); code != exitInterrupted || !strings.Contains(p.out.String(), "including earlier runs") {
		t.Errorf("exit %d after SIGTERM\n%s%s", code, p.out.String(), p.errOut.String())
	}

	drop(t, watched, names[0], "ts,device_id,temp\n1767225600,d1,-1\n")
	code, _, stderr := do(t, args...)
	if code != exitFailed || !strings.Contains(stderr, names[0]+" was sent with other content") || !strings.Contains(stderr, fmt.Sprintf("--skip-file %q", names[0])) {
		t.Errorf("other content under a name that was sent: exit %d\n%s", code, stderr)
	}
	drop(t, watched, "zzz.csv", csvOf(want, "zzz.csv", value+5, 5))
	p = start(t, append(args, "--skip-file", names[0])...)
	waitFor(t, "end of zzz.csv", func() bool { return strings.Contains(p.errOut.String(), "zzz.csv: sent completely") })
	p.kill()

	got := make(map[string]int)
	for line := range strings.SplitSeq(strings.TrimSpace(must(t, "tail", "sensor_data_tx", "--from-start", "--until-end", "-o", "json", "--data-dir="+data)), "\n") {
		var r struct{ Value string }
		var reading struct {
			Boot  string
			Value int
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if err := json.Unmarshal([]byte(r.Value), &reading); err != nil {
			t.Fatalf("%q: %v", r.Value, err)
		}
		got[fmt.Sprintf("%s/%d", strings.TrimPrefix(reading.Boot, "watch:"+filepath.Base(watched)+"/"), reading.Value)]++
	}
	for key, n := range want {
		if got[key] != n {
			t.Errorf("%s is there %d times, want %d", key, got[key], n)
		}
		delete(got, key)
	}
	if len(got) > 0 {
		t.Errorf("readings of no file: %v", got)
	}
	verified(t, "--data-dir="+data)
}

// A file in another encoding is sent with --file-encoding; a row that can't be decoded becomes a
// dead letter. What can't work is refused.
func TestProduceFileEncoding(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "export.csv")
	content := "Ger\xe4t,ts,temp\n\xfcber,2026-01-01T00:00:00Z,1\nb\x80,2026-01-01T00:00:00Z,2\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	data := "--data-dir=" + filepath.Join(dir, "data")
	args := []string{"produce", data, "--file", path, "--device-column", "Gerät"}
	if code, _, stderr := do(t, args...); code != exitFailed || !strings.Contains(stderr, "UTF-8") {
		t.Errorf("not UTF-8: exit %d\n%s", code, stderr)
	}
	if out := must(t, append(args, "--file-encoding", "latin1")...); !strings.Contains(out, "sent 1 reading in 1 transaction, 1 dead letter") {
		t.Errorf("Latin-1: %s", out)
	}
	if out := must(t, "tail", "sensor_data_tx", "--from-start", "--until-end", data); !strings.Contains(out, `"device_id":"über"`) {
		t.Errorf("Latin-1: %s", out)
	}
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{exitFailed, "choose auto, utf-8, utf-16le", []string{"--file", path, "--file-encoding=ebcdic"}},
		{exitFailed, "choose auto, utf-8, utf-16le", []string{"--watch", dir, "--file-encoding=ebcdic"}},
		{exitUsage, "--settle and --skip-file need --watch", []string{"--settle=1s"}},
		{exitUsage, "--settle must be positive", []string{"--watch", dir, "--settle=0s"}},
		{exitUsage, "--watch is empty", []string{"--watch="}},
		{exitFailed, "[watch file]", []string{"--watch", dir, "--file", path}},
		{exitFailed, "[watch dry-run]", []string{"--watch", dir, "--dry-run"}},
		{exitFailed, "no such file or directory", []string{"--watch", filepath.Join(dir, "none")}},
		{exitFailed, "is not the name of a file in the directory", []string{"--watch", dir, "--skip-file", "../x"}},
	} {
		if code, stdout, stderr := do(t, append([]string{"produce", data}, c.args...)...); code != c.code || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, want %d with %q\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
		}
	}
}
