package embedded

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Other users can access nothing in a data directory: neither while the broker runs nor after it
// has stopped, and neither in a new directory nor in one of an earlier version with wider modes.
func TestDataDirectoryIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	log := new(bytes.Buffer)
	start := func() *Broker {
		b, err := Open(Config{Dir: dir, MaintainEvery: -1, Logger: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := start()
	commitOne(t, b)
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectPrivate(t, dir)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	expectPrivate(t, dir)
	if strings.Contains(log.String(), "restricted the data directory") {
		t.Errorf("a new directory was created with wider modes: %s", log)
	}

	walk(t, dir, func(path string, info fs.FileInfo) {
		mode := fs.FileMode(0o644)
		if info.IsDir() {
			mode = 0o755
		}
		if err := os.Chmod(path, mode); err != nil { //nolint:gosec // the modes of earlier versions
			t.Fatal(err)
		}
	})
	b = start()
	defer b.Close()
	expectPrivate(t, dir)
	if !strings.Contains(log.String(), "restricted the data directory to its owner") {
		t.Errorf("the log does not report the change: %s", log)
	}
}

// A data directory that also has other files, such as a home directory, keeps its mode and theirs.
func TestPrivateSparesOtherFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // as the user has it
		t.Fatal(err)
	}
	other := filepath.Join(dir, "report.html")
	if err := os.WriteFile(other, nil, 0o644); err != nil { //nolint:gosec // as the user has it
		t.Fatal(err)
	}
	b, err := Open(Config{Dir: dir, MaintainEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for path, want := range map[string]fs.FileMode{
		dir: 0o755, other: 0o644, filepath.Join(dir, dataDir): 0o700, filepath.Join(dir, addrFile): 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, expected %o", path, got, want)
		}
	}
}

func commitOne(t *testing.T, b *Broker) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.TransactionalID("private"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), 2, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := c.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
}

func expectPrivate(t *testing.T, dir string) {
	t.Helper()
	walk(t, dir, func(path string, info fs.FileInfo) {
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			t.Errorf("%s has mode %o: other users can access it", path, mode)
		}
	})
}

func walk(t *testing.T, dir string, fn func(path string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info fs.FileInfo, err error) error {
		if err == nil {
			fn(path, info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
