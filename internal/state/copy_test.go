package state

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

var epoch = time.Unix(1e9, 0)

// fill creates a copy of n entries in two flushes and closes it. The offset is the number of
// entries.
func fill(t *testing.T, cfg Config, n int) {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		s.Put(1, int64(i%3), fmt.Appendf(nil, "key-%06d", i), fmt.Appendf(nil, "value-%d", i))
		if i == n/2 {
			if err := errors.Join(s.Commit(int64(i+1)), s.Flush()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Commit(int64(n)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
}

func testConfig(t *testing.T) (cfg Config, logged *strings.Builder) {
	logged = &strings.Builder{}
	return Config{
		Dir:      filepath.Join(t.TempDir(), "state"),
		Identity: "pipeline/abc/topic-id/3",
		Logger:   slog.New(slog.NewTextHandler(logged, nil)),
		Now:      func() time.Time { return epoch },
	}, logged
}

// reopen opens the copy, checks that it is usable and returns its offset and number of entries.
func reopen(t *testing.T, cfg Config) (offset int64, entries int) {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	offset, entries = s.Offset(), s.Len()
	s.Put(2, 0, []byte("new"), []byte("entry"))
	if err := s.Commit(offset + 1); err != nil {
		t.Fatal(err)
	}
	if v, ok := s.Get(2, 0, []byte("new")); !ok || string(v) != "entry" {
		t.Errorf("reopened copy has %q, %t", v, ok)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return offset, entries
}

func TestCopyIsReused(t *testing.T) {
	cfg, logged := testConfig(t)
	fill(t, cfg, 1000)
	if offset, n := reopen(t, cfg); offset != 1000 || n != 1000 {
		t.Errorf("offset %d, %d entries", offset, n)
	}
	cfg.CacheBytes = 10 << 10 // smaller than the state
	if offset, n := reopen(t, cfg); offset != 1001 || n != 1001 {
		t.Errorf("small cache: offset %d, %d entries", offset, n)
	}
	if logged.Len() > 0 {
		t.Errorf("logged: %s", logged)
	}
}

func TestCopyIsRebuilt(t *testing.T) {
	remove := func(name string) func(*testing.T, *Config) {
		return func(t *testing.T, cfg *Config) {
			if err := os.RemoveAll(filepath.Join(cfg.Dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(name, content string) func(*testing.T, *Config) {
		return func(t *testing.T, cfg *Config) {
			if err := os.WriteFile(filepath.Join(cfg.Dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name   string
		damage func(*testing.T, *Config)
		reason string
	}{
		{"other identity", func(_ *testing.T, c *Config) { c.Identity = "other" }, "belongs to"},
		{"too old", func(_ *testing.T, c *Config) { c.Now = later(13 * time.Hour) }, "13h0m0s ago"},
		{"own age", func(_ *testing.T, c *Config) { c.MaxAge = time.Minute; c.Now = later(2 * time.Minute) }, "2m0s ago"},
		{"from the future", func(_ *testing.T, c *Config) { c.Now = later(-time.Hour) }, "future"},
		{"no marker", remove(markerFile), "marker is missing"},
		{"no database", remove(dbDir), "does not exist"},
		{"older format", write(markerFile, `{"format":1,"identity":"pipeline/abc/topic-id/3"}`), "format 1, want 2"},
		{"torn marker", write(markerFile, `{"format":1,"id`), "unexpected end"},
		{"database of another", func(t *testing.T, c *Config) {
			other := *c
			other.Identity, other.Dir = "other", filepath.Join(t.TempDir(), "other")
			fill(t, other, 10)
			remove(dbDir)(t, c)
			if err := os.Rename(filepath.Join(other.Dir, dbDir), filepath.Join(c.Dir, dbDir)); err != nil {
				t.Fatal(err)
			}
		}, "database belongs to something else"},
		{"no offset", func(t *testing.T, c *Config) {
			withDB(t, *c, func(d *disk) error { return d.db.Delete(metaKey, pebble.NoSync) })
		}, "no offset"},
		{"unknown offset format", func(t *testing.T, c *Config) {
			withDB(t, *c, func(d *disk) error { return d.db.Set(metaKey, []byte{9}, pebble.NoSync) })
		}, "unknown format"},
		{"malformed key", func(t *testing.T, c *Config) {
			withDB(t, *c, func(d *disk) error { return d.db.Set([]byte("short"), nil, pebble.NoSync) })
		}, "has 5 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg, logged := testConfig(t)
			fill(t, cfg, 1000)
			test.damage(t, &cfg)
			if offset, n := reopen(t, cfg); offset != 0 || n != 0 {
				t.Errorf("offset %d, %d entries, want an empty store", offset, n)
			}
			if !strings.Contains(logged.String(), test.reason) {
				t.Errorf("logged %q, want %q", logged, test.reason)
			}
			if offset, n := reopen(t, cfg); offset != 1 || n != 1 {
				t.Errorf("rebuilt copy: offset %d, %d entries", offset, n)
			}
		})
	}
}

func later(d time.Duration) func() time.Time { return func() time.Time { return epoch.Add(d) } }

// withDB modifies the database of a closed copy directly.
func withDB(t *testing.T, cfg Config, fn func(*disk) error) {
	t.Helper()
	d := &disk{cfg: cfg.withDefaults()}
	if err := d.openDB(false); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fn(d), d.flush(), d.closeDB()); err != nil {
		t.Fatal(err)
	}
}

// TestOlderCopy restores a backup of the directory: its offset is older, and the changelog has the
// rest.
func TestOlderCopy(t *testing.T) {
	cfg, _ := testConfig(t)
	fill(t, cfg, 100)
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	reopen(t, cfg)
	cfg.Dir = backup
	if offset, n := reopen(t, cfg); offset != 100 || n != 100 {
		t.Errorf("offset %d, %d entries", offset, n)
	}
}

// TestRestoreKeepsAge restores a long changelog with interruptions: the copy must not look younger
// than the records read first, whose tombstones may be compacted away by the time the rest is read.
func TestRestoreKeepsAge(t *testing.T) {
	cfg, logged := testConfig(t)
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.disk.cfg.Now = later(11 * time.Hour)
	if err := errors.Join(s.Restore(appendKey(nil, 1, 0, "k"), []byte("v")), s.Restored(10), s.Close()); err != nil {
		t.Fatal(err)
	}
	cfg.Now = later(13 * time.Hour)
	if offset, _ := reopen(t, cfg); offset != 0 || !strings.Contains(logged.String(), "13h0m0s ago") {
		t.Errorf("offset %d; logged %q", offset, logged)
	}
}

// TestCorruption damages each file of a copy in turn. The store must start empty, match its offset
// exactly (a manifest with a torn tail is that of an earlier commit), or report the damage by Err
// and start empty at the next Open.
func TestCorruption(t *testing.T) {
	const n = 3000
	cfg, _ := testConfig(t)
	cfg.Logger = nil
	fill(t, cfg, n)
	whole := cfg.Dir
	rng := rand.New(rand.NewPCG(1, 2))
	damages := map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"short":     func(b []byte) []byte { return b[:max(0, len(b)-1)] },
		"longer":    func(b []byte) []byte { return append(b, 0) },
		"zeros":     func(b []byte) []byte { return make([]byte, len(b)) },
	}
	for i := range 4 {
		damages[fmt.Sprintf("flipped %d", i)] = func(b []byte) []byte {
			if len(b) > 0 {
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			}
			return b
		}
	}
	damages["removed"] = nil
	rebuilt := 0
	for _, cache := range []int64{64 << 20, 64 << 10} {
		for _, file := range files(t, whole) {
			for name, damage := range damages {
				cfg.Dir, cfg.CacheBytes = filepath.Join(t.TempDir(), "copy"), cache
				if err := os.CopyFS(cfg.Dir, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				damageFile(t, filepath.Join(cfg.Dir, file), damage)
				if checkDamaged(t, cfg, n) {
					rebuilt++
				}
				if t.Failed() {
					t.Fatalf("%s %s, cache %d", file, name, cache)
				}
			}
		}
	}
	if rebuilt < 50 {
		t.Errorf("only %d copies were rebuilt", rebuilt)
	}
}

func files(t *testing.T, dir string) (names []string) {
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil || len(names) < 5 {
		t.Fatalf("files %q, %v", names, err)
	}
	return names
}

func damageFile(t *testing.T, path string, damage func([]byte) []byte) {
	if damage == nil {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, damage(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// checkDamaged reports whether the copy was rebuilt.
func checkDamaged(t *testing.T, cfg Config, n int) (rebuilt bool) {
	s, err := Open(cfg)
	if err != nil {
		t.Error(err)
		return false
	}
	defer func() { _ = s.Close() }()
	if s.Offset() == 0 {
		if s.Len() != 0 || s.Windows(1) != nil {
			t.Error("new store is not empty")
		}
		return true
	}
	wrong := 0
	for i := 0; i < n; i += 7 {
		v, ok := s.Get(1, int64(i%3), fmt.Appendf(nil, "key-%06d", i))
		if ok != (int64(i) < s.Offset()) || ok && string(v) != fmt.Sprintf("value-%d", i) {
			wrong++
		}
	}
	for window := range 3 {
		i := window
		s.Scan(1, int64(window), func(key, value []byte) bool {
			if string(key) != fmt.Sprintf("key-%06d", i) || string(value) != fmt.Sprintf("value-%d", i) {
				wrong++
			}
			i += 3
			return true
		})
		if int64(i) < s.Offset() || int64(i) >= s.Offset()+3 {
			wrong++
		}
	}
	if s.Err() == nil {
		if wrong > 0 {
			t.Errorf("%d entries wrong at offset %d, and no error", wrong, s.Offset())
		}
		return false
	}
	if s.Commit(s.Offset()+1) == nil {
		t.Error("Commit after an I/O error")
	}
	_ = s.Close()
	if offset, _ := reopen(t, cfg); offset != 0 {
		t.Errorf("copy is used again after %v", s.Err())
	}
	return true
}

func TestLocked(t *testing.T) {
	cfg, _ := testConfig(t)
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockedChild$", "-test.v")
	cmd.Env = append(os.Environ(), "WEIR_STATE_DIR="+cfg.Dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "is locked") {
		t.Errorf("other process: %v\n%s", err, out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	reopen(t, cfg)
}

// TestLockedChild runs in the child process of TestLocked.
func TestLockedChild(t *testing.T) {
	dir := os.Getenv("WEIR_STATE_DIR")
	if dir == "" {
		t.Skip("run by TestLocked")
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Fatal(err)
	}
	t.Log("is locked")
}

func TestDirectoryCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: filepath.Join(file, "state")}); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("Open: %v", err)
	}
}

// TestReadError makes reads fail under a running store: neither their results nor the copy may be
// trusted afterwards.
func TestReadError(t *testing.T) {
	mem := vfs.NewMem()
	broken := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt {
			return errorfs.ErrInjected
		}
		return nil
	})}
	cfg := Config{Dir: "/state", CacheBytes: 1, fs: errorfs.Wrap(mem, &broken)}
	fill(t, cfg, 5000)
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	broken.On()
	for i := range 5000 {
		s.Get(1, int64(i%3), fmt.Appendf(nil, "key-%06d", i))
	}
	s.Scan(1, 0, func(_, _ []byte) bool { return true })
	s.Put(1, 0, []byte("k"), nil)
	first := s.Err()
	if !errors.Is(first, errorfs.ErrInjected) {
		t.Fatalf("Err = %v", first)
	}
	for what, err := range map[string]error{
		"Commit": s.Commit(6000), "Restore": s.Restore(appendKey(nil, 1, 0, "k"), nil), "Restored": s.Restored(1), "Flush": s.Flush(),
	} {
		if !errors.Is(err, first) {
			t.Errorf("%s: %v, want the first error", what, err)
		}
	}
	if s.Offset() != 5000 {
		t.Errorf("offset %d", s.Offset())
	}
	broken.Off()
	if err := s.Reset(); err != nil || s.Err() != nil {
		t.Errorf("Reset: %v, Err: %v", err, s.Err())
	}
	_ = s.Close()
	if offset, _ := reopen(t, cfg); offset != 0 {
		t.Errorf("offset %d after Reset", offset)
	}
}

// TestFlushError makes a background flush fail.
func TestFlushError(t *testing.T) {
	mem := vfs.NewMem()
	var broken errorfs.Toggle
	broken.Injector = errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			return errorfs.ErrInjected
		}
		return nil
	})
	now := epoch
	cfg := Config{Dir: "/state", fs: errorfs.Wrap(mem, &broken), Now: func() time.Time { return now }}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s)
	broken.On()
	now = now.Add(flushEvery)
	s.Put(1, 1, []byte("k"), []byte("v"))
	commit(t, s)
	for deadline := time.Now().Add(10 * time.Second); s.Err() == nil && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if !errors.Is(s.Err(), errorfs.ErrInjected) {
		t.Errorf("Err = %v", s.Err())
	}
	broken.Off()
	_ = s.Close()
	if offset, _ := reopen(t, cfg); offset != 0 {
		t.Errorf("copy of a store that failed is used, offset %d", offset)
	}
}

// A copy written by a newer Weir is rejected with ErrNewer and left unchanged.
func TestNewerCopyIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir, Identity: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	marker := []byte(`{"format":3,"identity":"mine"}`)
	if err := os.WriteFile(filepath.Join(dir, markerFile), marker, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(Config{Dir: dir, Identity: "mine"}); !errors.Is(err, ErrNewer) {
		t.Errorf("opened %v with error %v, want ErrNewer", s, err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, markerFile)); err != nil || string(got) != string(marker) { //nolint:gosec // belongs to this test
		t.Errorf("the marker is now %q, %v", got, err)
	}
}
