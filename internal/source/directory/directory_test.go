package directory

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.example/weir/internal/source"
	"weir.example/weir/internal/source/file"
)

// world is a directory, a clock that moves only while a source pauses, and what Kafka would have
// committed.
type world struct {
	*testing.T
	dir      string
	clock    time.Time
	skip     []string
	position []byte
	facts    map[string][]byte
	got      []string // readings and facts, in order
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{T: t, dir: t.TempDir(), clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), facts: make(map[string][]byte)}
}

// write writes a file of readings of the device with these values.
func (w *world) write(name string, values ...int) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(rows(values...)), 0o600); err != nil {
		w.Fatal(err)
	}
}

func rows(values ...int) string {
	var b strings.Builder
	b.WriteString("ts,device_id,temp\n")
	for _, v := range values {
		fmt.Fprintf(&b, "1767225600,d,%d\n", v)
	}
	return b.String()
}

func (w *world) open() *Dir {
	w.Helper()
	d, err := Open(Config{
		Dir: w.dir, Skip: w.skip,
		Now: func() time.Time { return w.clock }, Pause: func(p time.Duration) { w.clock = w.clock.Add(p) },
	})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = d.Close() })
	if w.position == nil {
		w.position = d.Position()
	}
	return d
}

// start opens the directory at what is committed.
func (w *world) start() (*Dir, error) {
	w.Helper()
	d := w.open()
	facts := make(map[string][]byte)
	for k, v := range w.facts {
		facts[k] = v
	}
	d.Recall(facts)
	return d, d.Seek(w.position)
}

// next reads up to n items and commits them.
func (w *world) next(d *Dir, n int) (int, error) {
	items := make([]source.Item, n)
	n, err := d.Next(items)
	if err != nil {
		return n, err
	}
	for _, it := range items[:n] {
		switch {
		case it.Fact != nil:
			w.facts[it.Fact.Key] = it.Fact.Value
			w.got = append(w.got, "sent "+it.Fact.Key)
		case it.Err != nil:
			w.got = append(w.got, "rejected "+string(it.Raw))
		default:
			boot, ok := strings.CutPrefix(it.Boot, d.cfg.Name+"/") // else two directories could have the same
			if !ok {
				w.Errorf("the boot id %q does not have the directory's name", it.Boot)
			}
			w.got = append(w.got, fmt.Sprintf("%s %d = %v", boot, it.Seq, it.Value))
		}
	}
	if n > 0 {
		w.position = d.Position()
	}
	return n, nil
}

// idle reads until there has been nothing for ten seconds of the clock.
func (w *world) idle(d *Dir) error {
	for quiet := w.clock; w.clock.Sub(quiet) < 10*time.Second; {
		n, err := w.next(d, 2)
		if err != nil {
			return err
		}
		if n > 0 {
			quiet = w.clock
		}
	}
	return nil
}

// run starts, reads until there is nothing more, and compares everything that was ever sent.
func (w *world) run(want ...string) {
	w.Helper()
	d, err := w.start()
	if err == nil {
		err = w.idle(d)
	}
	if err != nil {
		w.Fatal(err)
	}
	if diff := cmp.Diff(want, w.got); diff != "" {
		w.Fatalf("(-want +got)\n%s", diff)
	}
}

// refused starts and reads until there is an error with these texts.
func (w *world) refused(want ...string) {
	w.Helper()
	d, err := w.start()
	if err == nil {
		err = w.idle(d)
	}
	for _, text := range want {
		if err == nil || !strings.Contains(err.Error(), text) {
			w.Fatalf("error %v, want %q", err, text)
		}
	}
}

// Files are sent in the order of their names, each once. What is hidden, unfinished, empty or not a
// file is left alone.
func TestEachFileOnce(t *testing.T) {
	w := newWorld(t)
	w.write("b.csv", 2, 3)
	w.write("a.2.csv", 1)
	for _, name := range []string{".hidden", "_SUCCESS", "c.csv.tmp", "c.csv.PART"} {
		w.write(name, 9)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "empty.csv"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(w.dir, "more"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.write("more/d.csv", 9)
	want := []string{"a.2.csv 0 = 1", "sent a.2.csv", "b.csv 0 = 2", "b.csv 1 = 3", "sent b.csv"}
	w.run(want...)
	if err := os.Chtimes(filepath.Join(w.dir, "b.csv"), time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	w.run(want...) // other times, same content
	if err := os.Rename(filepath.Join(w.dir, "c.csv.tmp"), filepath.Join(w.dir, "a.csv")); err != nil {
		t.Fatal(err)
	}
	w.run(append(want, "a.csv 0 = 9", "sent a.csv")...) // a name before those that were sent
	if err := os.Remove(filepath.Join(w.dir, "a.csv")); err != nil {
		t.Fatal(err)
	}
	w.run(append(want, "a.csv 0 = 9", "sent a.csv")...)
	w.write("a.csv", 9) // it comes back
	w.run(append(want, "a.csv 0 = 9", "sent a.csv")...)
}

// A running source notices new times, too.
func TestTimesChangeWhileWatching(t *testing.T) {
	w := newWorld(t)
	w.write("a.csv", 1)
	d, err := w.start()
	if err == nil {
		err = w.idle(d)
	}
	if err == nil {
		err = os.Chtimes(filepath.Join(w.dir, "a.csv"), time.Time{}, time.Now().Add(time.Hour))
	}
	if err == nil {
		err = w.idle(d)
	}
	if want := []string{"a.csv 0 = 1", "sent a.csv"}; err != nil || !slices.Equal(w.got, want) {
		t.Errorf("%v, %v", w.got, err)
	}
}

// A file that grows is not sent before it has rested.
func TestSettle(t *testing.T) {
	w := newWorld(t)
	d, err := w.start()
	if err != nil {
		t.Fatal(err)
	}
	var values []int
	for i := range 8 {
		values = append(values, i)
		w.write("a.csv", values...)
		for until := w.clock.Add(1500 * time.Millisecond); w.clock.Before(until); {
			if n, err := w.next(d, 2); n > 0 || err != nil {
				t.Fatalf("%d items after %d writes, %v", n, i, err)
			}
		}
	}
	if err := w.idle(d); err != nil || len(w.got) != 9 {
		t.Errorf("%v, %v", w.got, err)
	}
}

// begun returns a world in which two of four readings are committed.
func begun(t *testing.T) (*world, *Dir) {
	t.Helper()
	w := newWorld(t)
	w.write("a.csv", 1, 2, 3, 4)
	w.write("b.csv", 5)
	d, err := w.start()
	for len(w.got) == 0 && err == nil {
		_, err = w.next(d, 2)
	}
	if err != nil || len(w.got) != 2 {
		t.Fatalf("%v, %v", w.got, err)
	}
	return w, d
}

// A file that changes or disappears half-way is refused, while it is read and at the next start.
// Put back as it was, it continues; or its rest is left out.
func TestChangedHalfway(t *testing.T) {
	sameTime := func(w *world, content string) {
		path := filepath.Join(w.dir, "a.csv")
		info, err := os.Stat(path)
		if err == nil {
			err = os.WriteFile(path, []byte(content), 0o600)
		}
		if err == nil {
			err = os.Chtimes(path, time.Time{}, info.ModTime())
		}
		if err != nil {
			w.Fatal(err)
		}
	}
	for name, change := range map[string]func(w *world){
		"rewritten": func(w *world) { w.write("a.csv", 1, 2, 8, 9) },
		"grown":     func(w *world) { w.write("a.csv", 1, 2, 3, 4, 5) },
		"removed":   func(w *world) { _ = os.Remove(filepath.Join(w.dir, "a.csv")) },
		"replaced": func(w *world) {
			w.write("x.csv", 7)
			_ = os.Rename(filepath.Join(w.dir, "x.csv"), filepath.Join(w.dir, "a.csv"))
		},
		"rewritten with its time": func(w *world) { sameTime(w, rows(1, 2, 8, 9)) },
	} {
		t.Run(name, func(t *testing.T) {
			w, d := begun(t)
			change(w)
			if name != "rewritten with its time" { // all was buffered, so that what is sent is what was hashed
				if err := w.idle(d); !errors.Is(err, source.ErrPosition) || !strings.Contains(err.Error(), `--skip-file "a.csv"`) {
					t.Fatalf("while it is read: %v", err)
				}
			}
			w.refused("a.csv was not sent completely", `--skip-file "a.csv"`)
			if len(w.got) != 2 {
				t.Fatalf("sent %v", w.got)
			}
			w.write("a.csv", 1, 2, 3, 4)
			w.run("a.csv 0 = 1", "a.csv 1 = 2", "a.csv 2 = 3", "a.csv 3 = 4", "sent a.csv", "b.csv 0 = 5", "sent b.csv")
		})
		t.Run(name+", left out", func(t *testing.T) {
			w, _ := begun(t)
			change(w)
			w.skip = []string{"a.csv"}
			w.run("a.csv 0 = 1", "a.csv 1 = 2", "sent a.csv", "b.csv 0 = 5", "sent b.csv")
			w.skip = nil
			if name == "removed" {
				w.run("a.csv 0 = 1", "a.csv 1 = 2", "sent a.csv", "b.csv 0 = 5", "sent b.csv")
			} else {
				w.refused("a.csv was sent with other content")
			}
		})
	}
}

// Content that changes between hashing and reading is noticed before its last reading is returned,
// although size and times are the same. As nothing was sent, the file is taken anew.
func TestChangedAfterHash(t *testing.T) {
	w := newWorld(t)
	w.write("a.csv", 1)
	path := filepath.Join(w.dir, "a.csv")
	d := w.open()
	changed := false
	d.cfg.Opened = func(*file.File) {
		if changed {
			return
		}
		changed = true
		d.current.hash = strings.Repeat("0", 64) // as if the content had been another one
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
	}
	if err := d.Seek(w.position); err != nil {
		t.Fatal(err)
	}
	if err := w.idle(d); err != nil || !changed || !slices.Equal(w.got, []string{"a.csv 0 = 1", "sent a.csv"}) {
		t.Errorf("%v, %v", w.got, err)
	}
}

// A file that was returned completely may be removed before its end is committed as a fact.
func TestRemovedAtItsEnd(t *testing.T) {
	w := newWorld(t)
	w.write("a.csv", 1, 2)
	d, err := w.start()
	for len(w.got) == 0 && err == nil {
		_, err = w.next(d, 2)
	}
	if err == nil {
		err = os.Remove(filepath.Join(w.dir, "a.csv"))
	}
	if err != nil || len(w.got) != 2 {
		t.Fatalf("%v, %v", w.got, err)
	}
	w.run("a.csv 0 = 1", "a.csv 1 = 2", "sent a.csv")
}

func TestRefused(t *testing.T) {
	t.Run("other content under a name that was sent", func(t *testing.T) {
		w := newWorld(t)
		w.write("a.csv", 1)
		w.run("a.csv 0 = 1", "sent a.csv")
		w.write("a.csv", 1, 2)
		w.refused("a.csv was sent with other content", "another name")
		w.skip = []string{"a.csv"}
		w.run("a.csv 0 = 1", "sent a.csv")
	})
	t.Run("a link out of the directory", func(t *testing.T) {
		w := newWorld(t)
		outside := filepath.Join(t.TempDir(), "secret.csv")
		if err := errors.Join(os.WriteFile(outside, []byte(rows(1)), 0o600), os.Symlink(outside, filepath.Join(w.dir, "l.csv"))); err != nil {
			t.Fatal(err)
		}
		w.refused("links must not leave the directory", `--skip-file "l.csv"`)
	})
	t.Run("a boot id without a sequence number", func(t *testing.T) {
		w := newWorld(t)
		if err := os.WriteFile(filepath.Join(w.dir, "a.csv"), []byte("ts,device_id,sensor,value,boot\n1767225600,d,t,1,b\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.refused("--seq-column")
	})
	t.Run("not a file of readings", func(t *testing.T) {
		w := newWorld(t)
		if err := os.WriteFile(filepath.Join(w.dir, "a.csv"), []byte("PK\x03\x04"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.refused("a.csv", "zip archive", `--skip-file "a.csv"`)
	})
	t.Run("a row instead of a header", func(t *testing.T) {
		w := newWorld(t)
		if err := os.WriteFile(filepath.Join(w.dir, "a.csv"), []byte("1767225600,d,1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.refused("no column for the event time", `--skip-file "a.csv"`)
	})
	t.Run("another directory under the name", func(t *testing.T) {
		w := newWorld(t)
		w.write("a.csv", 1)
		w.run("a.csv 0 = 1", "sent a.csv")
		w.dir = t.TempDir()
		w.refused("--name of its own")
	})
}

// A file that has no rows is complete; rows that are added later are refused.
func TestNoRows(t *testing.T) {
	w := newWorld(t)
	w.write("a.csv")
	w.write("b.csv", 1)
	for name, content := range map[string]string{"blank.csv": "\n\n", "c.json": "[]", "d.csv.gz": "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"sent a.csv", "b.csv 0 = 1", "sent b.csv", "sent blank.csv", "sent c.json", "sent d.csv.gz"}
	w.run(want...)
	w.run(want...)
	d := w.open()
	if err := d.Seek(w.position); err != nil { // all files again, as no fact is recalled
		t.Fatal(err)
	}
	if err := w.idle(d); err != nil {
		t.Fatal(err)
	}
	var without []string
	for _, s := range d.Committed(w.position) {
		if s.NoRows {
			without = append(without, s.Name)
		}
	}
	if want := []string{"a.csv", "blank.csv", "c.json", "d.csv.gz"}; !slices.Equal(without, want) {
		t.Errorf("without rows: %v, want %v", without, want)
	}
	w.write("a.csv", 2)
	w.refused("a.csv was sent with other content")
}

// Rows that are not readings are dead letters; a link within the directory is a file.
func TestRejectedRows(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(filepath.Join(w.dir, "a.csv"), []byte(rows(1)+"x,d,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a.csv", filepath.Join(w.dir, "l.csv")); err != nil {
		t.Fatal(err)
	}
	w.run("a.csv 0 = 1", "rejected x,d,2", "sent a.csv", "l.csv 0 = 1", "rejected x,d,2", "sent l.csv")
}

// A file of which an earlier version has sent a part keeps the boot id that its readings have: the
// name of the file alone. The next file has one that no file of another directory can have.
func TestEarlierBootIsKept(t *testing.T) {
	w := newWorld(t)
	w.write("a.x.csv", 1, 2)
	w.write("b.csv", 3)
	d, err := w.start()
	if err != nil {
		t.Fatal(err)
	}
	for len(w.got) == 0 {
		if _, err := w.next(d, 1); err != nil {
			t.Fatal(err)
		}
	}
	var p position
	if err := json.Unmarshal(w.position, &p); err != nil {
		t.Fatal(err)
	}
	c := d.cfg.File // as the earlier version opened it
	c.Path, c.Boot = filepath.Join(w.dir, "a.x.csv"), "a.x.csv"
	f, err := file.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Next(make([]source.Item, 1)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	p.File.At = bytes.Replace(f.Position(), []byte(`"boot":"a.x.csv",`), nil, 1)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if w.position, err = json.Marshal(p); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = w.start(); err != nil {
		t.Fatal(err)
	}
	var boots []string
	for len(boots) < 2 {
		items := make([]source.Item, 1)
		n, err := d.Next(items)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && items[0].Fact == nil {
			boots = append(boots, items[0].Boot)
		}
	}
	if want := []string{"a.x.csv", d.cfg.Name + "/b.csv"}; !slices.Equal(boots, want) {
		t.Errorf("boot ids %q, want %q", boots, want)
	}
}

// FuzzPosition continues at a saved position: it is refused, or names the directory, and then the
// file that is being sent.
func FuzzPosition(f *testing.F) {
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.csv"), []byte(rows(1, 2, 3)), 0o600); err != nil {
		f.Fatal(err)
	}
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	open := func() *Dir {
		d, err := Open(Config{
			Dir: dir, Name: "d",
			Now: func() time.Time { return clock }, Pause: func(p time.Duration) { clock = clock.Add(p) },
		})
		if err != nil {
			f.Fatal(err)
		}
		return d
	}
	d := open()
	add := func(position string) { f.Add(strings.ReplaceAll(position, dir, "DIR")) }
	for range 20 {
		add(string(d.Position()))
		if _, err := d.Next(make([]source.Item, 1)); err != nil {
			f.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		f.Fatal(err)
	}
	for _, other := range []string{``, `null`, `{}`, `7`, `{"row":3,"settings":{}}`, `{"dir":"DIR","files":-1}`, `{"dir":"DIR","files":1,"file":{}}`} {
		add(other)
	}
	hash := fmt.Sprintf("%x", sha256.Sum256([]byte(rows(1, 2, 3))))
	for _, at := range []string{`null`, `{}`, `{"row":0}`, `7`} {
		add(`{"dir":"DIR","files":0,"file":{"name":"a.csv","hash":"` + hash + `","at":` + at + `}}`)
	}
	f.Fuzz(func(t *testing.T, saved string) {
		saved = strings.ReplaceAll(saved, "DIR", dir)
		d := open()
		defer d.Close()
		if err := d.Seek([]byte(saved)); err != nil {
			if !errors.Is(err, source.ErrPosition) || !strings.Contains(err.Error(), "--name") && !strings.Contains(err.Error(), "--skip-file") {
				t.Fatalf("%q: %v", saved, err)
			}
			return
		}
		var want, got position
		if err := errors.Join(json.Unmarshal([]byte(saved), &want), json.Unmarshal(d.Position(), &got)); err != nil {
			t.Fatalf("%q: %v", saved, err)
		}
		if want.File == nil != (got.File == nil) || got.Files != want.Files || got.Dir != want.Dir {
			t.Fatalf("%q continues at %s", saved, d.Position())
		}
		if want.File != nil && (got.File.Name != want.File.Name || got.File.Hash != want.File.Hash || (got.File.At == nil) != (want.File.At == nil)) {
			t.Fatalf("%q continues at %s", saved, d.Position())
		}
	})
}
