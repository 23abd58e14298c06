package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The directory of slots is the user's own, wherever USER and XDG_RUNTIME_DIR point.
func TestSlotDir(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	want, err := slotDir()
	if err != nil {
		t.Fatal(err)
	}
	for dir := want; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v, %v, expected 0700", dir, info.Mode(), err)
		}
	}
	for _, user := range []string{"", "other", "../../etc"} {
		t.Setenv("USER", user)
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		if got, err := slotDir(); err != nil || got != want {
			t.Errorf("with USER=%q it is %s, %v, expected %s", user, got, err, want)
		}
	}
}

// A directory that others could have made or can write to is refused, with what to do.
func TestSlotDirRefused(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"a link":             func(dir string) error { return os.Symlink(t.TempDir(), dir) },
		"a file":             func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"writable by others": func(dir string) error { return os.Mkdir(dir, 0o777) },
		"readable by others": func(dir string) error { return os.Mkdir(dir, 0o755) },
		"somebody else's": func(dir string) error {
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			return os.Chown(dir, 12345, 12345)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "somebody else's" && os.Getuid() != 0 {
				t.Skip("only root can give files away")
			}
			t.Setenv("TMPDIR", t.TempDir())
			dir := filepath.Join(os.TempDir(), userDir())
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			_, _, err := TakeInstances("g", "", 1)
			if err == nil || !strings.Contains(err.Error(), dir+" is not a directory that only this user can use: remove it") || !strings.Contains(err.Error(), "--instance") {
				t.Errorf("the error is %v", err)
			}
			if names, free, err := TakeInstances("g", "named", 2); err != nil || strings.Join(names, " ") != "named-0 named-1" {
				t.Errorf("a process with a name gets %v, %v", names, err)
			} else {
				free()
			}
		})
	}
}

// Where nothing can be written in TMPDIR, the user's cache has the slots; where neither can be
// used, the error says so.
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
			t.Errorf("with TMPDIR=%s it is %s, %v", tmp, got, err)
		}
		names, free, err := TakeInstances("g", "", 2)
		if err != nil || len(names) != 2 || names[0] == names[1] {
			t.Fatalf("with TMPDIR=%s there are %v, %v", tmp, names, err)
		}
		free()
		t.Setenv("XDG_CACHE_HOME", file)
		if _, _, err := TakeInstances("g", "", 1); err == nil || !strings.Contains(err.Error(), "set TMPDIR, or name this process with --instance") {
			t.Errorf("the error is %v", err)
		}
	}
}
