package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

const changelogTopic = "counted.stage1.changelog"

func stateKey(op uint16, window int64, key string) string {
	b := binary.BigEndian.AppendUint16(nil, op)
	return string(binary.BigEndian.AppendUint64(b, uint64(window)^1<<63)) + key
}

// copyWorld has a changelog and hand-written local copies of two of its partitions.
type copyWorld struct {
	*world
	dir string
}

func newCopyWorld(t *testing.T) *copyWorld {
	w := &copyWorld{newWorld(t, inTopic, changelogTopic), t.TempDir()}
	w.config.Copies = CopyConfig{Dir: w.dir}
	return w
}

// log writes the same entries to both partitions in one transaction; an empty value is a tombstone.
func (w *copyWorld) log(entries ...string) {
	w.t.Helper()
	var b batch
	for id := range int32(2) {
		for i := 0; i < len(entries); i += 2 {
			r := &kgo.Record{Topic: changelogTopic, Partition: id, Key: []byte(entries[i])}
			if v := entries[i+1]; v != "" {
				r.Value = fmt.Appendf(nil, "%s of %d", v, id)
			}
			b = append(b, r)
		}
	}
	w.send(b)
}

func (w *copyWorld) folder(id int32) string {
	return filepath.Join(w.dir, "counted", "stage1", fmt.Sprint(id))
}

// keep writes a copy that covers its changelog up to offset.
func (w *copyWorld) keep(id int32, offset int64, at time.Time, entries map[string]string) {
	w.t.Helper()
	topics, err := w.admin.ListTopics(w.ctx, changelogTopic)
	if err != nil {
		w.t.Fatal(err)
	}
	identity := fmt.Sprintf("counted %s %d", topics[changelogTopic].ID, id)
	dir := w.folder(id)
	if err := os.RemoveAll(dir); err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	db, err := pebble.Open(filepath.Join(dir, "db"), &pebble.Options{
		DisableWAL: true, FormatMajorVersion: pebble.FormatNewest, Logger: fatalPanics{}})
	if err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(identity))
	position := binary.BigEndian.AppendUint64([]byte{1}, uint64(offset))
	position = binary.BigEndian.AppendUint64(position, uint64(at.UnixMilli()))
	position = append(binary.BigEndian.AppendUint64(position, uint64(len(entries))), sum[:]...)
	set := func(key string, value []byte) {
		if err := db.Set([]byte(key), value, pebble.NoSync); err != nil {
			w.t.Fatal(err)
		}
	}
	for key, value := range entries {
		set(key, fmt.Appendf(nil, "%s of %d", value, id))
	}
	set("\x00", position)
	if err := db.Flush(); err != nil {
		w.t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		w.t.Fatal(err)
	}
	for name, text := range map[string]string{"LOCK": "", "weir-state.json": fmt.Sprintf(`{"format": 2, "identity": %q}`, identity)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *copyWorld) lineOf(r *Report) Check {
	w.t.Helper()
	for _, c := range r.Checks {
		if c.ID == "C9" {
			return c
		}
	}
	w.t.Fatal("no C9 in the report")
	return Check{}
}

// In each case, two tasks have the same changelog and at most one thing is wrong with the copy of
// the second.
func TestLocalCopies(t *testing.T) {
	header, a, b, c := headerKey, stateKey(1, -60_000, "a"), stateKey(1, 0, "b"), stateKey(2, 5, "\x01\xff")
	d, e := stateKey(1, 0, "d"), stateKey(1, 0, "e")
	day := 24 * time.Hour
	for name, x := range map[string]struct {
		change  func(entries map[string]string)
		offset  int64 // default: the end of the second transaction
		age     time.Duration
		more    []string // written after the copy
		spoil   func(w *copyWorld)
		verdict Verdict
		want    CopyReport
		detail  string // substring of the finding or the report line
	}{
		"equal":              {verdict: OK, want: CopyReport{Checked: 2, Entries: 12}},
		"a value is flipped": {change: func(m map[string]string) { m[b] = "B" }, verdict: Failed, want: CopyReport{Checked: 2, Entries: 12, Different: 1}, detail: `counted/stage1/1: operator 1, window 0, key "b"`},
		"an empty value":     {change: func(m map[string]string) { m[a] = "" }, verdict: Failed, want: CopyReport{Checked: 2, Entries: 12, Different: 1}, detail: `window -60000, key "a"`},
		"an entry is missing": {change: func(m map[string]string) { delete(m, c) }, verdict: Failed,
			want: CopyReport{Checked: 2, Entries: 12, Missing: 1}, detail: "counted/stage1/1: operator 2, window 5, key 0x01ff"},
		"a deleted entry exists":       {change: func(m map[string]string) { m[d] = "4" }, verdict: Failed, want: CopyReport{Checked: 2, Entries: 12, Extra: 1}, detail: `key "d"`},
		"an entry never written":       {change: func(m map[string]string) { m[e] = "5" }, verdict: Failed, want: CopyReport{Checked: 2, Entries: 13, Extra: 1}, detail: `key "e"`},
		"an aborted entry":             {change: func(m map[string]string) { m[stateKey(9, 9, "aborted")] = "x" }, verdict: Failed, want: CopyReport{Checked: 2, Entries: 13, Extra: 1}, detail: `key "aborted"`},
		"an older copy":                {more: []string{a, "7", e, "8"}, verdict: Partly, want: CopyReport{Checked: 2, Entries: 10, NotJudged: 4}},
		"an older copy is wrong":       {more: []string{a, "7"}, change: func(m map[string]string) { m[b] = "B" }, verdict: Failed, want: CopyReport{Checked: 2, Entries: 10, NotJudged: 2, Different: 1}},
		"an older copy has a new row":  {more: []string{e, ""}, change: func(m map[string]string) { m[stateKey(3, 0, "f")] = "6" }, verdict: Failed, want: CopyReport{Checked: 2, Entries: 13, NotJudged: 2, Extra: 1}},
		"a deletion may be lost":       {more: []string{e, "8"}, age: 2 * day, change: func(m map[string]string) { m[stateKey(3, 0, "f")] = "6" }, verdict: Partly, want: CopyReport{Checked: 2, Entries: 12, NotJudged: 3}},
		"compacted after the copy":     {more: []string{a, "7", b, "8", header, "h"}, spoil: func(w *copyWorld) { w.cluster.Compact() }, verdict: Partly, want: CopyReport{Checked: 2, Entries: 6, NotJudged: 6}},
		"an old copy without newer":    {age: 2 * day, change: func(m map[string]string) { m[e] = "5" }, verdict: Failed, want: CopyReport{Checked: 2, Entries: 13, Extra: 1}},
		"ahead of its changelog":       {offset: 1000, verdict: Failed, want: CopyReport{Checked: 2, Entries: 6, Ahead: 1}, detail: "covers offsets below 1000"},
		"in use":                       {spoil: (*copyWorld).lock, change: func(m map[string]string) { m[b] = "B" }, verdict: Partly, want: CopyReport{Checked: 1, Entries: 6}, detail: "not checked: in use (1 copies: counted/stage1/1)"},
		"not clean":                    {spoil: (*copyWorld).unmark, change: func(m map[string]string) { m[b] = "B" }, verdict: Partly, want: CopyReport{Checked: 1, Entries: 6}, detail: "not clean: its marker is missing"},
		"a table is broken":            {spoil: (*copyWorld).damage, verdict: Partly, want: CopyReport{Checked: 1, Entries: 6}, detail: "not clean: "},
		"a table is missing":           {spoil: (*copyWorld).removeTables, verdict: Partly, want: CopyReport{Checked: 1, Entries: 6}, detail: "not clean: "},
		"of a topic that was deleted":  {spoil: (*copyWorld).recreate, verdict: NotChecked, detail: "it belongs to"},
		"after an open transaction":    {spoil: (*copyWorld).hide, verdict: Partly, want: CopyReport{Checked: 1, Entries: 6}, detail: "an open transaction hides counted.stage1.changelog partition 1"},
		"no copies of that pipeline":   {spoil: func(w *copyWorld) { w.config.Copies.Pipeline = "other" }, verdict: NotChecked, detail: "no local copies"},
		"changelog without beginning":  {spoil: (*copyWorld).cut, verdict: Partly, want: CopyReport{Checked: 2, Entries: 8, NotJudged: 4, Cut: 2}, detail: "lost their beginning"},
		"wrong, and without beginning": {spoil: (*copyWorld).cut, change: func(m map[string]string) { m[c] = "C" }, verdict: Failed, want: CopyReport{Checked: 2, Entries: 8, NotJudged: 4, Cut: 2, Different: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCopyWorld(t)
			w.log(header, "h", a, "1", b, "2", d, "4") // offsets 0 to 3, followed by a marker
			w.abort(batch{{Topic: changelogTopic, Partition: 1, Key: []byte(stateKey(9, 9, "aborted")), Value: []byte("x")}})
			w.log(a, "10", c, "3", d, "", stateKey(0, 0, "position/in"), "p")
			honest := map[string]string{header: "h", a: "10", b: "2", c: "3", stateKey(0, 0, "position/in"): "p"}
			changed := map[string]string{}
			for k, v := range honest {
				changed[k] = v
			}
			if x.change != nil {
				x.change(changed)
			}
			at := time.Now().Add(-x.age)
			offset := w.end(changelogTopic, 1) - 1 // excluding the marker
			if x.offset != 0 {
				offset = x.offset
			}
			w.keep(0, w.end(changelogTopic, 0)-1, at, honest)
			w.keep(1, offset, at, changed)
			if x.more != nil {
				w.log(x.more...)
			}
			if x.spoil != nil {
				x.spoil(w)
			}
			before := contents(t, w.dir)
			r := w.verify()
			if diff := cmp.Diff(before, contents(t, w.dir)); diff != "" {
				t.Errorf("the copies were changed:\n%s", diff)
			}
			line, got := w.lineOf(r), *r.Copies
			got.Dir, got.Skipped = "", nil
			if diff := cmp.Diff(got, x.want); diff != "" {
				t.Errorf("figures (-got +want):\n%s", diff)
			}
			if line.Verdict != x.verdict || r.Clean() != (x.verdict != Failed) {
				t.Errorf("verdict %s, Clean() = %v, want %s: %s", line.Verdict, r.Clean(), x.verdict, line.Detail)
			}
			if got := fmt.Sprint(line.Detail, r.Findings); !strings.Contains(got, x.detail) {
				t.Errorf("%q is not in %s", x.detail, got)
			}
		})
	}
}

// Copies are checked even if the topic of readings does not exist.
func TestLocalCopiesAlone(t *testing.T) {
	w := newCopyWorld(t)
	if _, err := w.admin.DeleteTopics(w.ctx, inTopic); err != nil {
		t.Fatal(err)
	}
	w.log(headerKey, "h")
	w.keep(0, 1, time.Now(), map[string]string{headerKey: "x"})
	w.config.Copies.Alone = true
	if r := w.verify(); r.Clean() || r.Copies.Different != 1 {
		t.Errorf("Clean() = %v, %+v", r.Clean(), r.Copies)
	}
}

func (w *copyWorld) lock() {
	lock, err := vfs.Default.Lock(filepath.Join(w.folder(1), "LOCK"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = lock.Close() })
}

// hide leaves a transaction open below the offset of the second copy.
func (w *copyWorld) hide() {
	w.open(batch{{Topic: changelogTopic, Partition: 1, Key: []byte(stateKey(1, 0, "b")), Value: []byte("x")}})
	w.keep(1, w.end(changelogTopic, 1), time.Now(), nil)
}

func (w *copyWorld) unmark() {
	if err := os.Remove(filepath.Join(w.folder(1), "weir-state.json")); err != nil {
		w.t.Fatal(err)
	}
}

func (w *copyWorld) tables() []string {
	w.t.Helper()
	tables, err := filepath.Glob(filepath.Join(w.folder(1), "db", "*.sst"))
	if err != nil || len(tables) == 0 {
		w.t.Fatalf("tables %v, %v", tables, err)
	}
	return tables
}

func (w *copyWorld) damage() {
	for _, name := range w.tables() {
		b, err := os.ReadFile(name)
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range b[:len(b)/2] {
			b[i] ^= 0x55
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *copyWorld) removeTables() {
	for _, name := range w.tables() {
		if err := os.Remove(name); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *copyWorld) recreate() {
	if _, err := w.admin.DeleteTopics(w.ctx, changelogTopic); err != nil {
		w.t.Fatal(err)
	}
	if err := w.cluster.CreateTopic(changelogTopic, partitions, nil); err != nil {
		w.t.Fatal(err)
	}
}

// cut deletes the first transaction.
func (w *copyWorld) cut() {
	offsets, err := w.admin.ListStartOffsets(w.ctx, changelogTopic)
	if err != nil {
		w.t.Fatal(err)
	}
	to := offsets.Offsets()
	for id := range int32(2) {
		o := to[changelogTopic][id]
		o.At = 4
		to[changelogTopic][id] = o
	}
	if _, err := w.admin.DeleteRecords(w.ctx, to); err != nil {
		w.t.Fatal(err)
	}
}

// contents lists the files below a directory with their checksums.
func contents(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, fmt.Sprintf("%s %x", path, sha256.Sum256(b)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}
