package trail

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func all(t *testing.T, dir string, filter Filter) (deeds []Deed) {
	t.Helper()
	unreadable, err := Read(dir, filter, func(d Deed) error { deeds = append(deeds, d); return nil })
	if err != nil || unreadable > 0 {
		t.Fatalf("%v, %d lines are unreadable", err, unreadable)
	}
	return deeds
}

// Processes and goroutines append at the same time, and nothing is mixed or lost.
func TestAppendConcurrently(t *testing.T) {
	dir := t.TempDir()
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 200 {
				if err := Append(dir, Deed{Who: fmt.Sprint(w), What: Login, On: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	next := make(map[string]int)
	for _, d := range all(t, dir, Filter{}) {
		if d.On != fmt.Sprint(next[d.Who]) {
			t.Fatalf("%s: %s after %d", d.Who, d.On, next[d.Who]-1)
		}
		next[d.Who]++
	}
	for w := range 8 {
		if next[fmt.Sprint(w)] != 200 {
			t.Errorf("writer %d: %d deeds", w, next[fmt.Sprint(w)])
		}
	}
	if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestFilter(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, d := range []Deed{{Who: "a", What: Login}, {Who: "a", What: CreateTopic, On: "t", Error: "denied"}, {Who: "b", What: CreateTopic, On: "u"}} {
		d.At = at.Add(time.Duration(i) * time.Hour)
		if err := Append(dir, d); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range []struct {
		filter Filter
		want   int
	}{{Filter{}, 3}, {Filter{Who: "a"}, 2}, {Filter{What: CreateTopic}, 2}, {Filter{Since: at.Add(time.Hour)}, 2}, {Filter{Failed: true}, 1}, {Filter{Who: "c"}, 0}} {
		if got := all(t, dir, c.filter); len(got) != c.want {
			t.Errorf("filter %d: %d deeds, want %d", i, len(got), c.want)
		}
	}
}

// The trail has a bounded size, and a line that a crash has cut off costs nothing else.
func TestRetention(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x", 10_000)
	if err := Append(dir, Deed{On: long}); err != nil {
		t.Fatal(err)
	}
	if got := all(t, dir, Filter{}); len(got[0].On) > maxText+len("…") {
		t.Errorf("a name of %d bytes", len(got[0].On))
	}
	line := []byte(`{"what":"login","on":"` + strings.Repeat("x", 40_000) + `"}` + "\n")
	for range keptFiles + 3 {
		content := make([]byte, 0, fullBytes+len(line))
		for len(content) < fullBytes {
			content = append(content, line...)
		}
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Append(dir, Deed{What: CreateTopic}); err != nil {
			t.Fatal(err)
		}
	}
	if old, err := olderFiles(dir); err != nil || len(old) != keptFiles {
		t.Errorf("%d files are kept, %v", len(old), err)
	}
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"what":"lo`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	unreadable, err := Read(dir, Filter{What: CreateTopic}, func(Deed) error { n++; return nil })
	if err != nil || unreadable != 1 || n != 1 {
		t.Errorf("%d deeds, %d unreadable, %v", n, unreadable, err)
	}
}

// Whoever reports a deed never waits, and what is dropped is counted.
func TestLogNeverBlocks(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir, func(err error) { t.Error(err) })
	const n = 20_000
	for i := range n {
		l.Add(Deed{What: Login, On: fmt.Sprint(i)})
	}
	l.Close()
	l.Add(Deed{What: Login}) // after the end
	if got := len(all(t, dir, Filter{})); int64(got)+l.Dropped() != n || got < bufferSize {
		t.Errorf("%d deeds are written and %d dropped, of %d", got, l.Dropped(), n)
	}
	var failures []error
	broken := Open(filepath.Join(dir, "missing"), func(err error) { failures = append(failures, err) })
	broken.Add(Deed{What: Login})
	broken.Close()
	if len(failures) != 1 || !errors.Is(failures[0], os.ErrNotExist) || broken.Dropped() != 1 {
		t.Errorf("%v, %d dropped", failures, broken.Dropped())
	}
}

// Damage hides no entry but its own: neither zeros that a power failure has left, nor a line
// without an end.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	deed := func(who string) Deed { return Deed{At: time.Now().UTC(), Who: who, What: Login} }
	if err := Append(dir, deed("before")); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(append(make([]byte, 3*maxLine), "\n\n{\"at\":\n"...)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Append(dir, deed("after")); err != nil {
		t.Fatal(err)
	}
	var found []string
	unreadable, err := Read(dir, Filter{}, func(d Deed) error { found = append(found, d.Who); return nil })
	if err != nil || unreadable != 3 || !slices.Equal(found, []string{"before", "after"}) {
		t.Errorf("found %q, %d unreadable, %v", found, unreadable, err)
	}
}

// FuzzRead reads a file that others have written to: each line is a deed, which is written again
// unchanged, or is counted as unreadable.
func FuzzRead(f *testing.F) {
	dir := f.TempDir()
	if err := Append(dir, Deed{At: time.Unix(1, 0), Who: "alice", From: "127.0.0.1", What: CreateTopic, On: "t"}, Deed{At: time.Unix(2, 0), What: Login, Error: "no"}); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("null\n{}\n7\n\n" + `{"at":"2026-01-01T00:00:00Z","who":null,"what":"login"}`))
	f.Add(bytes.Repeat([]byte{0}, maxLine+7))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir, again := t.TempDir(), t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
		var deeds []Deed
		unreadable, err := Read(dir, Filter{}, func(d Deed) error { deeds = append(deeds, d); return nil })
		lines := bytes.Count(text, []byte("\n"))
		if len(text) > 0 && text[len(text)-1] != '\n' {
			lines++
		}
		if err != nil || len(deeds)+unreadable != lines {
			t.Fatalf("%d deeds and %d unreadable ones in %d lines: %v", len(deeds), unreadable, lines, err)
		}
		if err := Append(again, deeds...); err != nil {
			t.Fatal(err)
		}
		i := 0
		unreadable, err = Read(again, Filter{}, func(d Deed) error {
			if !d.At.Equal(deeds[i].At) || d.Who != deeds[i].Who || d.What != deeds[i].What || d.On != deeds[i].On || d.Error != deeds[i].Error {
				t.Errorf("%+v is written and read as %+v", deeds[i], d)
			}
			i++
			return nil
		})
		if err != nil || unreadable > 0 || i != len(deeds) {
			t.Fatalf("%d of %d deeds are read again, %d are unreadable: %v", i, len(deeds), unreadable, err)
		}
	})
}
