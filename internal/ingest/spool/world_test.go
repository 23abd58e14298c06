package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

// world is a spool on a simulated disk, with a Kafka that commits items and the position in one
// transaction.
type world struct {
	*testing.T
	rng  *rand.Rand
	disk *vfs.MemFS
	bad  *faults
	cfg  Config
	s    *Spool
	src  *Source

	position  []byte
	committed []source.Item // in Kafka

	mu         sync.Mutex
	generation int // of the spool; outcomes of an older one come too late to be seen
	sent       []*sentEntry
	values     int
}

// sentEntry is an entry and its outcome.
type sentEntry struct {
	texts []string // identifies its items
	key   string
	entry *Entry
	acked bool
	err   error
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{T: t, rng: rand.New(rand.NewPCG(seed, 19)), disk: vfs.NewCrashableMem(), bad: &faults{rng: rand.New(rand.NewPCG(seed, 23))}}
	w.cfg = Config{Dir: "/spool", SegmentBytes: 1500, SyncInterval: time.Microsecond}
	w.open()
	return w
}

// open opens the spool and continues at Kafka's position.
func (w *world) open() {
	w.Helper()
	w.cfg.fs = &faultyFS{w.disk, w.bad}
	s, err := Open(w.cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.s, w.src = s, s.Source()
	w.src.pause = time.Microsecond
	if w.position == nil {
		w.position = w.src.Position()
	}
	w.seek()
}

func (w *world) seek() {
	w.Helper()
	if err := w.src.Seek(w.position); err != nil {
		w.Fatal(err)
	}
}

func (w *world) close() {
	w.Helper()
	w.src.close()
	if err := w.s.Close(); err != nil && w.bad.get() == 0 {
		w.Fatal(err)
	}
}

// append appends an entry of random size.
func (w *world) append(key string) *sentEntry {
	e := &sentEntry{entry: &Entry{Key: key}, key: key}
	for range w.rng.IntN(4) + 1 {
		w.values++
		if w.rng.IntN(5) == 0 {
			text := fmt.Sprintf("rejected-%d", w.values)
			e.texts = append(e.texts, text)
			e.entry.Rejected = append(e.entry.Rejected, Rejected{Raw: []byte(text + strings.Repeat("x", w.rng.IntN(300))), Reason: "why", Origin: []source.Attribute{{Name: "n", Value: "v"}}})
			continue
		}
		e.entry.Readings = append(e.entry.Readings, reading.Reading{DeviceID: fmt.Sprint("d", w.rng.IntN(3)), Sensor: "s", Unit: "u", Value: float64(w.values), TS: int64(w.values)})
	}
	for _, r := range slices.Backward(e.entry.Readings) { // an entry's readings come before what it rejects
		e.texts = append([]string{fmt.Sprint(r.Value)}, e.texts...)
	}
	if key != "" {
		e.entry.Digest[0], e.entry.Answer = 1, []byte("answer "+key)
	}
	if key == "" && w.rng.IntN(2) == 0 {
		e.entry.Delivery = &Delivery{Session: fmt.Sprint("session-", w.rng.IntN(3)), Packet: uint16(w.values)} //nolint:gosec // small
		e.entry.Delivery.Digest[0] = byte(w.values)
	}
	w.mu.Lock()
	generation := w.generation
	w.sent = append(w.sent, e)
	w.mu.Unlock()
	w.s.Append(e.entry, func(_ Receipt, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.generation == generation {
			e.acked, e.err = err == nil, err
		}
	})
	return e
}

// settle waits until every entry has an outcome.
func (w *world) settle() {
	w.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		w.s.mu.Lock()
		waiting := w.s.waiting
		w.s.mu.Unlock()
		if waiting == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.Fatal("appended entries have no outcome")
		}
		time.Sleep(10 * time.Microsecond)
	}
}

// send reads some items and commits them, or gives the transaction up.
func (w *world) send(most int, commit bool) int {
	w.Helper()
	items := make([]source.Item, most)
	n, err := w.src.Next(items)
	if err != nil {
		w.Fatal(err)
	}
	if !commit {
		w.seek()
		return n
	}
	w.position = w.src.Position()
	w.committed = append(w.committed, items[:n]...)
	w.s.Committed(w.position)
	return n
}

// crash kills the process, or turns the machine off if the disk keeps less than everything.
func (w *world) crash(keep int) {
	w.Helper()
	w.mu.Lock()
	w.generation++
	old := w.disk
	w.disk = old.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: w.rng})
	w.mu.Unlock()
	w.close()
	w.open()
}

// drain sends everything.
func (w *world) drain() {
	w.Helper()
	w.settle()
	for w.send(100, true) > 0 {
	}
}

func textOf(it *source.Item) string {
	if it.Err != nil {
		text := string(it.Raw)
		return strings.TrimRight(text, "x")
	}
	return fmt.Sprint(it.Value)
}

// check checks that Kafka has every acknowledged entry once, every other one at most once, none in
// part, and that the numbers of each device's readings are dense.
func (w *world) check() {
	w.Helper()
	seen := make(map[string]int)
	var all []string
	for i := range w.committed {
		seen[textOf(&w.committed[i])]++
		all = append(all, textOf(&w.committed[i]))
	}
	for text, n := range seen {
		if n != 1 {
			w.Errorf("%s was committed %d times", text, n)
		}
	}
	from := 0
	for _, e := range w.sent {
		at := slices.Index(all[from:], e.texts[0])
		if at < 0 {
			if slices.Contains(all, e.texts[0]) {
				w.Errorf("%s is out of order", e.texts)
			}
			if e.acked {
				w.Errorf("%s was acknowledged and is lost", e.texts)
			}
			for _, text := range e.texts {
				if seen[text] > 0 {
					w.Errorf("only a part of %s was committed: %s", e.texts, text)
				}
			}
			continue
		}
		at += from
		if at+len(e.texts) > len(all) || !slices.Equal(all[at:at+len(e.texts)], e.texts) {
			w.Errorf("only a part of %s was committed: %s", e.texts, all[at:min(at+len(e.texts), len(all))])
		}
		from = at + len(e.texts)
	}
	w.checkNumbers(true)
}

// checkNumbers checks that no number of a device and boot is used twice, and that they are dense.
func (w *world) checkNumbers(dense bool) {
	w.Helper()
	next := make(map[string]int64)
	for i := range w.committed {
		it := &w.committed[i]
		if it.Err != nil {
			continue
		}
		id := it.DeviceID + " " + it.Boot
		if it.Seq < next[id] || dense && it.Seq != next[id] {
			w.Errorf("reading %s of %s has number %d, want %d", textOf(it), id, it.Seq, next[id])
		}
		next[id] = it.Seq + 1
	}
}

// faults makes writes fail.
type faults struct {
	mu      sync.Mutex
	percent int
	rng     *rand.Rand
	after   int // operations that succeed before all fail; -1: percent decides
	count   int // of operations
}

func (f *faults) set(percent int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.percent, f.after = percent, -1
}

func (f *faults) get() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.percent
}

func (f *faults) fail() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.percent == 0 {
		return false
	}
	if f.after >= 0 {
		return f.count > f.after
	}
	return f.rng.IntN(100) < f.percent
}

var errFault error = syscall.ENOSPC

// faultyFS is a file system whose writes fail, after having written a part.
type faultyFS struct {
	vfs.FS
	f *faults
}

func (f *faultyFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if !strings.HasSuffix(name, "LOCK") && f.f.fail() {
		return nil, errFault
	}
	file, err := f.FS.Create(name, c)
	return &faultyFile{file, f.f}, err
}

func (f *faultyFS) Rename(from, to string) error {
	if f.f.fail() {
		return errFault
	}
	return f.FS.Rename(from, to)
}

type faultyFile struct {
	vfs.File
	f *faults
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if f.f.fail() {
		n, err := f.File.Write(p[:len(p)/2])
		return n, errors.Join(err, errFault)
	}
	return f.File.Write(p)
}

func (f *faultyFile) Sync() error {
	if f.f.fail() {
		return errFault
	}
	return f.File.Sync()
}

func (f *faultyFile) SyncData() error {
	if f.f.fail() {
		return errFault
	}
	return f.File.SyncData()
}

func positionOf(t *testing.T, b []byte) position {
	t.Helper()
	var p position
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	return p
}
