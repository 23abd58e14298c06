package file

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

// Sources with different names never have readings of a device with the same boot id and number,
// whatever their files are called.
func TestBootsOfSourcesDiffer(t *testing.T) {
	dir := t.TempDir()
	const content = "ts,device_id,sensor,value\n1767225600,d,t,1\n1767225601,d,t,2\n"
	seen := make(map[string]string)
	for _, s := range []struct{ name, path string }{
		{"", "log.2026-01-01.csv"}, {"", "log.2026-01-02.csv"}, {"", "log"}, {"", "log.csv"}, {"", "log.txt"},
		{"a", "log.csv"}, {"b", "log.csv"}, {"log.csv", "other.csv"}, {"", ".hidden.csv"}, {"", ".other.csv"},
		{"", strings.Repeat("x", 250) + "1"}, {"", strings.Repeat("x", 250) + "2"},
		{strings.Repeat("y", 300) + "1", "log.csv"}, {strings.Repeat("y", 300) + "2", "log.csv"},
	} {
		path := filepath.Join(dir, s.path)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(Config{Path: path, Name: s.name})
		if err != nil {
			t.Fatal(err)
		}
		items := make([]source.Item, 10)
		n, _ := f.Next(items)
		if n != 2 {
			t.Fatalf("%d items", n)
		}
		for _, it := range items[:n] {
			if err := it.Validate(); err != nil || len(it.Boot) > reading.MaxName {
				t.Errorf("%s: %v", s.path, err)
			}
			key := fmt.Sprint(it.DeviceID, " ", it.Boot, " ", it.Seq)
			if other, twice := seen[key]; twice {
				t.Errorf("%s is of %q and of %q", key, other, f.Name())
			}
			seen[key] = f.Name()
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A file of which an earlier version has sent a part keeps the boot id that its readings have: the
// file name up to its first dot.
func TestEarlierBootIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.2026-01-01.csv")
	if err := os.WriteFile(path, []byte("ts,device_id,sensor,value\n1767225600,d,t,1\n1767225601,d,t,2\n1767225602,d,t,3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() *File {
		f, err := Open(Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	next := func(f *File) source.Item {
		items := make([]source.Item, 1)
		if n, err := f.Next(items); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		return items[0]
	}
	earlier := open()
	earlier.boot = "log"
	next(earlier)
	position := strings.Replace(string(earlier.Position()), `"boot":"log",`, "", 1)
	if strings.Contains(position, `"boot":`) {
		t.Fatalf("the position %s is not that of an earlier version", position)
	}
	for range 2 {
		f := open()
		if err := f.Seek([]byte(position)); err != nil {
			t.Fatal(err)
		}
		if it := next(f); it.Boot != "log" || it.Seq != 1 {
			t.Fatalf("boot %q, number %d", it.Boot, it.Seq)
		}
		if it := next(f); it.Boot != "log" || it.Seq != 2 {
			t.Fatalf("boot %q, number %d", it.Boot, it.Seq)
		}
	}
	f := open()
	if err := f.Seek([]byte(position)); err != nil {
		t.Fatal(err)
	}
	next(f)
	position = string(f.Position()) // of this version: the boot id stays
	f = open()
	if err := f.Seek([]byte(position)); err != nil {
		t.Fatal(err)
	}
	if it := next(f); it.Boot != "log" || it.Seq != 2 {
		t.Errorf("boot %q, number %d", it.Boot, it.Seq)
	}
	f = open()
	start := f.Position()
	if err := f.Seek(start); err != nil {
		t.Fatal(err)
	}
	if it := next(f); it.Boot != "file:log.2026-01-01.csv" {
		t.Errorf("a file that was not begun has the boot %q", it.Boot)
	}
}
