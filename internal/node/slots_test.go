package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The directory of slots belongs to the user and does not depend on USER and XDG_RUNTIME_DIR.
func TestSlotDir(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	want, err := slotDir()
	if err != nil {
		t.Fatal(err)
	}
	for dir := want; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v, %v, want 0700", dir, info.Mode(), err)
		}
	}
	for _, user := range []string{"", "other", "../../etc"} {
		t.Setenv("USER", user)
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		if got, err := slotDir(); err != nil || got != want {
			t.Errorf("with USER=%q got %s, %v, want %s", user, got, err, want)
		}
	}
}

// A directory that others may have created or can write to is rejected with a hint.
func TestSlotDirRejected(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"a link":             func(dir string) error { return os.Symlink(t.TempDir(), dir) },
		"a file":             func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"writable by others": func(dir string) error { return os.Mkdir(dir, 0o777) },
		"readable by others": func(dir string) error { return os.Mkdir(dir, 0o755) },
		"owned by another user": func(dir string) error {
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			return os.Chown(dir, 12345, 12345)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "owned by another user" && os.Getuid() != 0 {
				t.Skip("requires root")
			}
			t.Setenv("TMPDIR", t.TempDir())
			dir := filepath.Join(os.TempDir(), userDir())
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			_, _, err := TakeInstances("g", "", 1)
			if err == nil || !strings.Contains(err.Error(), dir+" is not a directory that only this user can use: remove it") || !strings.Contains(err.Error(), "--instance") {
				t.Errorf("got error %v", err)
			}
			if names, free, err := TakeInstances("g", "named", 2); err != nil || strings.Join(names, " ") != "named-0 named-1" {
				t.Errorf("names of a named process: %v, %v", names, err)
			} else {
				free()
			}
		})
	}
}

// If TMPDIR is not writable, slots are in the user's cache directory; if neither is usable, the
// error has a hint.
func TestSlotDirFallback(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	for _, tmp := range []string{file, filepath.Join(cache, "missing")} {
		t.Setenv("TMPDIR", tmp)
		t.Setenv("XDG_CACHE_HOME", cache)
		if got, err := slotDir(); err != nil || got != filepath.Join(cache, "weir", "slots") {
			t.Errorf("with TMPDIR=%s: got %s, %v", tmp, got, err)
		}
		names, free, err := TakeInstances("g", "", 2)
		if err != nil || len(names) != 2 || names[0] == names[1] {
			t.Fatalf("with TMPDIR=%s: got %v, %v", tmp, names, err)
		}
		free()
		t.Setenv("XDG_CACHE_HOME", file)
		if _, _, err := TakeInstances("g", "", 1); err == nil || !strings.Contains(err.Error(), "set TMPDIR, or name this process with --instance") {
			t.Errorf("got error %v", err)
		}
	}
}
