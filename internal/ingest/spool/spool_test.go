package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

// Whatever happens to the process, the machine and the disk, acknowledged entries reach Kafka
// exactly once and in order, others at most once, and never in part.
func TestModel(t *testing.T) {
	runs := longtest.Size(300, 300, 20_000)
	first := rand.Uint64N(1 << 40)
	if text := os.Getenv("SPOOL_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, runs = seed, 1
	}
	for seed := first; seed < first+uint64(runs); seed++ {
		w := newWorld(t, seed)
		keys := 0
		for range 60 {
			switch n := w.rng.IntN(100); {
			case n < 40:
				w.append("")
			case n < 50:
				keys++
				w.append(fmt.Sprint("key-", keys))
			case n < 65:
				w.settle()
			case n < 85:
				w.send(w.rng.IntN(12)+1, w.rng.IntN(4) > 0)
			case n < 88:
				w.bad.set(w.rng.IntN(60))
			case n < 91:
				w.bad.set(0)
			case n < 94:
				w.bad.set(0)
				w.close()
				w.open()
			default:
				w.bad.set(0)
				w.crash([]int{0, 50, 100}[w.rng.IntN(3)])
			}
		}
		w.bad.set(0)
		w.crash(50)
		w.drain()
		w.check()
		w.checkKeys()
		w.checkDeliveries()
		if d := w.s.Stats().Damage; d != (Damage{}) {
			t.Errorf("damage was reported: %+v", d)
		}
		w.close()
		if t.Failed() {
			t.Fatalf("SPOOL_SEED=%d", seed)
		}
	}
}

// checkKeys repeats all entries with keys: those that Kafka has are recognized.
func (w *world) checkKeys() {
	w.Helper()
	present := make(map[string]bool)
	for i := range w.committed {
		present[textOf(&w.committed[i])] = true
	}
	for _, e := range w.sent {
		if e.key == "" {
			continue
		}
		got, err := w.s.Put(w.Context(), e.entry)
		if err != nil || got.Repeated != present[e.texts[0]] || string(got.Answer) != "answer "+e.key {
			w.Errorf("a repeat of %s: %+v, %v; want repeated %v", e.key, got, err, present[e.texts[0]])
		}
		other := *e.entry
		other.Digest[1]++
		if _, err := w.s.Put(w.Context(), &other); !errors.Is(err, ErrKeyBody) {
			w.Errorf("another body with the key %s: %v", e.key, err)
		}
	}
}

// checkDeliveries repeats all deliveries: those that Kafka has are recognized.
func (w *world) checkDeliveries() {
	w.Helper()
	present := make(map[string]bool)
	for i := range w.committed {
		present[textOf(&w.committed[i])] = true
	}
	for _, e := range w.sent {
		if e.entry.Delivery == nil {
			continue
		}
		again := *e.entry
		delivery := *e.entry.Delivery
		again.Delivery, delivery.Again = &delivery, true
		got, err := w.s.Put(w.Context(), &again)
		if err != nil || got.Repeated != present[e.texts[0]] {
			w.Errorf("a repeat of the delivery %+v: %+v, %v; want repeated %v", delivery, got, err, present[e.texts[0]])
		}
	}
}

// The process is killed, or the machine turned off, before each single write, sync, creation and
// renaming, which may have been done in part.
func TestCrashAtEachWrite(t *testing.T) {
	const seed = 4
	for _, keep := range []int{0, 50, 100} {
		for at := 0; ; at++ {
			w := newWorld(t, seed)
			w.bad.mu.Lock()
			w.bad.count, w.bad.after, w.bad.percent = 0, at, 100
			w.bad.mu.Unlock()
			for i := range 12 {
				w.append("")
				w.settle()
				if i%3 == 2 {
					w.send(5, true)
				}
			}
			w.bad.mu.Lock()
			finished := w.bad.count <= at
			w.bad.mu.Unlock()
			w.mu.Lock()
			w.generation++
			w.disk = w.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: w.rng})
			w.mu.Unlock()
			w.close()
			w.bad.set(0)
			w.open()
			w.append("")
			w.drain()
			w.check()
			w.close()
			if t.Failed() {
				t.Fatalf("crash at operation %d with %d%% kept", at, keep)
			}
			if finished {
				if at < 20 {
					t.Fatalf("there are only %d operations", at)
				}
				break
			}
		}
	}
}

// A damaged byte anywhere costs at most its batch. It is reported unless it looks like a batch that
// was never acknowledged, and no number of a reading is ever used twice.
func TestDamage(t *testing.T) {
	seed := rand.Uint64N(1 << 40)
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	reported := 0
	for range 400 {
		w := newWorld(t, rng.Uint64())
		for range 30 {
			w.append("")
			w.settle()
			if w.rng.IntN(4) == 0 {
				w.send(6, true)
			}
		}
		w.close()
		names, err := w.disk.List("/spool")
		if err != nil {
			t.Fatal(err)
		}
		name := "LOCK"
		for name == "LOCK" {
			name = names[w.rng.IntN(len(names))]
		}
		path := "/spool/" + name
		data, err := readFile(w.disk, path)
		if err != nil {
			t.Fatal(err)
		}
		if w.rng.IntN(2) == 0 {
			data[w.rng.IntN(len(data))] ^= byte(1 + w.rng.IntN(255))
		} else { // a block of zeros
			from := w.rng.IntN(len(data))
			clear(data[from:min(len(data), from+50)])
		}
		f, err := w.disk.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
		if len(names) == 2 { // the only segment's header may be unreadable: then the spool is refused
			w.cfg.fs = w.disk
			s, err := Open(w.cfg)
			if err != nil {
				if !strings.Contains(err.Error(), "move the directory away") {
					t.Fatal(err)
				}
				continue
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		w.open()
		before := len(w.sent)
		for range 10 {
			w.append("")
		}
		w.drain()
		w.checkNumbers(false)
		seen := make(map[string]int)
		for i := range w.committed {
			seen[textOf(&w.committed[i])]++
		}
		lost := 0
		for i, e := range w.sent {
			for _, text := range e.texts {
				if seen[text] > 1 {
					t.Errorf("%s was committed %d times", text, seen[text])
				}
				if seen[text] == 0 {
					lost++
					if i >= before {
						t.Errorf("%s, appended after the damage, is lost", text)
					}
				}
			}
		}
		if d := w.s.Stats().Damage; d.Places > 0 {
			reported++
		} else if lost > 8 { // two batches at the end look torn
			t.Errorf("%d items are lost, and nothing was reported", lost)
		}
		w.close()
		if t.Failed() {
			t.FailNow()
		}
	}
	if reported < 50 {
		t.Errorf("damage was reported only %d times", reported)
	}
}

// Bytes from a device that look like a frame are not taken for one when damage precedes them.
func TestForgedFrame(t *testing.T) {
	w := newWorld(t, 1)
	defer w.close()
	forged := appendBatch(beginFrame(nil), 0, 1, time.Now(), "forged")
	forged = appendReading(forged, &reading.Reading{DeviceID: "forged", Sensor: "s"}, 0)
	endFrame(forged, "")
	if _, ok := frameAt(forged, ""); !ok {
		t.Fatal("the forged frame is invalid")
	}
	if nextFrame(forged, w.s.segments[0].salt) >= 0 {
		t.Error("a frame with another salt is accepted")
	}
}

// While the disk is full, entries are refused without a trace; once it has room again, they are
// accepted.
func TestFullDisk(t *testing.T) {
	w := newWorld(t, 2)
	defer w.close()
	w.append("")
	w.settle()
	w.bad.set(100)
	for range 3 {
		e := w.append("key")
		w.settle()
		var full *FullError
		if !errors.As(e.err, &full) || !errors.Is(e.err, syscall.ENOSPC) {
			t.Fatalf("%v, want a full disk", e.err)
		}
	}
	if s := w.s.Stats(); s.Failing == nil || s.Refused != 3 {
		t.Errorf("%+v, want a failing spool that has refused 3 entries", s)
	}
	w.bad.set(0)
	last := w.append("key")
	w.settle()
	if last.err != nil || w.s.Stats().Failing != nil {
		t.Errorf("after the disk was freed: %v, %v", last.err, w.s.Stats().Failing)
	}
	w.drain()
	w.check()
	if n := len(w.committed); n != len(w.sent[0].texts)+len(last.texts) {
		t.Errorf("%d items were committed", n)
	}
}

// A spool refuses more than its size, and accepts again once Kafka has what it holds.
func TestFullSpool(t *testing.T) {
	w := newWorld(t, 3)
	w.close()
	w.cfg = Config{Dir: "/small", MaxBytes: MinBytes, SyncInterval: time.Microsecond}
	w.position, w.disk = nil, vfs.NewMem()
	w.open()
	defer w.close()
	big := func() error {
		_, err := w.s.Put(t.Context(), &Entry{Rejected: []Rejected{{Raw: make([]byte, 7<<20), Reason: "big"}}})
		return err
	}
	for round := range 3 {
		accepted := 0
		var full *FullError
		for {
			err := big()
			if errors.As(err, &full) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			accepted++
		}
		if accepted < 4 || accepted > 9 {
			t.Errorf("round %d: %d entries of 7 MiB fit into %d MiB", round, accepted, MinBytes>>20)
		}
		for w.send(1, true) > 0 {
		}
		if _, err := w.s.Put(t.Context(), &Entry{Rejected: []Rejected{{Raw: []byte("small")}}}); err != nil && !errors.As(err, &full) {
			t.Fatal(err)
		}
		w.drain()
	}
	if err := func() error {
		_, err := w.s.Put(t.Context(), &Entry{Rejected: []Rejected{{Raw: make([]byte, MaxEntry)}}})
		return err
	}(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an entry that is too large: %v", err)
	}
}

// Keys are forgotten after their time to live, and only then; while one is being written, a second
// entry with it is refused.
func TestKeys(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s, err := Open(Config{Dir: "/spool", MaxKeys: 2, KeyTTL: time.Hour, fs: vfs.NewMem(), now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put := func(key string) (bool, error) {
		r, err := s.Put(t.Context(), &Entry{Key: key})
		return r.Repeated, err
	}
	for _, step := range []struct {
		key      string
		after    time.Duration
		repeated bool
		full     bool
	}{
		{key: "a"}, {key: "a", repeated: true}, {key: "b", after: 30 * time.Minute}, {key: "c", full: true}, {key: "a", repeated: true},
		{key: "c", after: 31 * time.Minute}, {key: "b", repeated: true}, {key: "a", full: true}, {key: "a", after: time.Hour},
	} {
		now = now.Add(step.after)
		repeated, err := put(step.key)
		var full *FullError
		if errors.As(err, &full) != step.full || err != nil && !step.full || repeated != step.repeated {
			t.Errorf("%+v: %v, %v", step, repeated, err)
		}
	}
	done := make(chan error, 2)
	s.mu.Lock() // so that both are appended before the first is written
	s.inFlight["d"] = struct{}{}
	s.mu.Unlock()
	s.Append(&Entry{Key: "d"}, func(_ Receipt, err error) { done <- err })
	if err := <-done; !errors.Is(err, ErrInFlight) {
		t.Errorf("a key in flight: %v", err)
	}
}

// Only what may be a repeat, and equals the last delivery with its identifier, is one. Sessions do
// not share identifiers, and are forgotten when they were silent for long.
func TestDeliveries(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	disk := vfs.NewMem()
	open := func() *Spool {
		s, err := Open(Config{Dir: "/spool", KeyTTL: time.Hour, fs: disk, now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	for i, step := range []struct {
		session  string
		packet   uint16
		body     byte
		again    bool
		reopen   bool
		after    time.Duration
		repeated bool
	}{
		{session: "a", packet: 1, body: 1},
		{session: "a", packet: 1, body: 1, again: true, repeated: true},
		{session: "b", packet: 1, body: 1, again: true},
		{session: "a", packet: 2, body: 1, again: true},
		{session: "a", packet: 1, body: 1, again: true, reopen: true, repeated: true},
		{session: "a", packet: 1, body: 1}, // an equal reading
		{session: "a", packet: 1, body: 2}, // the identifier is in use again
		{session: "a", packet: 1, body: 1, again: true},
		{session: "a", packet: 1, body: 1, again: true, after: 59 * time.Minute, reopen: true, repeated: true},
		{session: "b", packet: 1, body: 1, again: true, after: 2 * time.Minute, repeated: true}, // still in memory
	} {
		now = now.Add(step.after)
		if step.reopen {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open()
		}
		d := &Delivery{Session: step.session, Packet: step.packet, Again: step.again}
		d.Digest[0] = step.body
		r, err := s.Put(t.Context(), &Entry{Delivery: d})
		if err != nil || r.Repeated != step.repeated {
			t.Errorf("step %d: %+v, %v, want repeated %v", i, r, err, step.repeated)
		}
	}
	d := &Delivery{Session: "c", Packet: 1, Again: true}
	s.mu.Lock()
	s.sending[sending{"c", d.sent()}]++
	s.mu.Unlock()
	if _, err := s.Put(t.Context(), &Entry{Delivery: d}); !errors.Is(err, ErrInFlight) {
		t.Errorf("a repeat of what is not durable yet: %v", err)
	}
	s.mu.Lock()
	for i := range maxAllDeliveries + 2 {
		s.windows.add(fmt.Sprint("many-", i/1000), sent{uint16(i), 1}, now.Add(time.Duration(i))) //nolint:gosec // it wraps
	}
	if s.windows.count > maxAllDeliveries || s.windows.has("a", sent{1, d.sent().digest}) || !s.windows.has(fmt.Sprint("many-", maxAllDeliveries/1000), sent{uint16(maxAllDeliveries % 65536), 1}) {
		t.Errorf("%d deliveries are remembered, or not the last ones", s.windows.count)
	}
	s.mu.Unlock()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Too many devices are refused, and the rest go on.
func TestMaxDevices(t *testing.T) {
	s, err := Open(Config{Dir: "/spool", MaxDevices: 2, fs: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put := func(devices ...string) error {
		e := &Entry{}
		for _, d := range devices {
			e.Readings = append(e.Readings, reading.Reading{DeviceID: d, Sensor: "s"})
		}
		_, err := s.Put(t.Context(), e)
		return err
	}
	var full *FullError
	for _, step := range []struct {
		devices []string
		full    bool
	}{{[]string{"a"}, false}, {[]string{"b", "c"}, true}, {[]string{"b"}, false}, {[]string{"a", "b"}, false}, {[]string{"c"}, true}} {
		if err := put(step.devices...); errors.As(err, &full) != step.full || err != nil && !step.full {
			t.Errorf("%v: %v", step.devices, err)
		}
	}
}

// Two processes cannot use one directory, and a position of something else is refused.
func TestMisuse(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second process: %v", err)
	}
	for _, p := range []string{``, `{}`, `{"segment":1,"items":-1}`, `7`} {
		if err := s.Source().Seek([]byte(p)); !errors.Is(err, source.ErrPosition) {
			t.Errorf("position %q: %v", p, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), &Entry{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	again, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if again.ID() != s.ID() {
		t.Errorf("the spool's identity changed from %s to %s", s.ID(), again.ID())
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Config{{}, {Dir: dir, MaxBytes: 1}, {Dir: dir, KeyTTL: -1}} {
		if _, err := Open(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// The disk loses what Kafka already has: items that are accepted afterwards are sent all the same,
// with numbers that were never used.
func TestDiskLosesCommitted(t *testing.T) {
	w := newWorld(t, 5)
	w.append("")
	w.settle()
	old := w.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: w.rng})
	for range 5 {
		w.append("")
	}
	w.drain()
	w.close()
	w.disk = old // such as an older copy of the directory
	w.open()
	if w.s.Stats().Damage.Places == 0 {
		t.Error("the loss was not reported")
	}
	before := len(w.committed)
	e := w.append("")
	w.drain()
	if got := len(w.committed) - before; got != len(e.texts) {
		t.Errorf("%d items were committed after the loss, want %d: %+v", got, len(e.texts), positionOf(t, w.position))
	}
	w.checkNumbers(true)
	w.close()
}

func FuzzSegment(f *testing.F) {
	b := appendBatch(nil, 3, 2, time.Unix(1, 0), "boot")
	b = appendReading(b, &reading.Reading{DeviceID: "d", Sensor: "s", Unit: "Cel", Value: 1.5, TS: 7}, 9)
	b = appendRejected(b, &Rejected{Raw: []byte("raw"), Reason: "why", Origin: []source.Attribute{{Name: "n", Value: "v"}}})
	b = appendKey(b, "k", &remembered{answer: []byte("a"), at: time.Unix(2, 0)})
	f.Add(b)
	h := header{id: "spool-1", first: 5, next: map[string]int64{"d": 4}, keys: map[string]remembered{"k": {}}}
	f.Add(h.append(nil))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if b, err := decodeBatch(payload); err == nil {
			again := appendBatch(nil, b.first, b.count, b.at, b.boot)
			for i := range b.items {
				if it := &b.items[i]; it.Err == nil {
					again = appendReading(again, &it.Reading, it.Seq)
				} else {
					again = appendRejected(again, &Rejected{it.Raw, it.Err.Error(), it.Origin})
				}
			}
			for key, k := range b.keys {
				again = appendKey(again, key, &k)
			}
			if second, err := decodeBatch(again); err != nil || len(second.items) != len(b.items) || len(second.keys) != len(b.keys) {
				t.Fatalf("decoded again: %v", err)
			}
		}
		if h, err := decodeHeader(payload); err == nil {
			if second, err := decodeHeader(h.append(nil)); err != nil || len(second.next) != len(h.next) {
				t.Fatalf("header decoded again: %v", err)
			}
		}
		frame := append(beginFrame(nil), payload...)
		endFrame(frame, "salt")
		if _, ok := frameAt(frame, "salt"); ok != (len(payload) > 0) {
			t.Fatal("the frame is not recognized")
		}
		nextFrame(payload, "salt")
	})
}

// FuzzPosition continues at a saved position: it is refused, or names an item. Items before it that
// the disk does not have are reported.
func FuzzPosition(f *testing.F) {
	disk := vfs.NewCrashableMem()
	open := func(disk *vfs.MemFS) (*Spool, *Source) {
		s, err := Open(Config{Dir: "/spool", fs: disk, SegmentBytes: 300, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			f.Fatal(err)
		}
		src := s.Source()
		src.pause = time.Microsecond
		return s, src
	}
	s, src := open(disk)
	for i := range 9 {
		if _, err := s.Put(f.Context(), &Entry{Readings: []reading.Reading{{DeviceID: "d", Sensor: "s", Value: float64(i)}}}); err != nil {
			f.Fatal(err)
		}
		if _, err := src.Next(make([]source.Item, 1)); err != nil {
			f.Fatal(err)
		}
		f.Add(src.Position())
	}
	src.close()
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	for _, other := range []string{``, `null`, `{}`, `7`, `{"segment":1}`, `{"items":3}`, `{"segment":1,"items":null}`, `{"segment":1,"items":9223372036854775807}`} {
		f.Add([]byte(other))
	}
	f.Fuzz(func(t *testing.T, saved []byte) {
		s, src := open(disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}))
		defer s.Close()
		defer src.close()
		if err := src.Seek(saved); err != nil {
			if !errors.Is(err, source.ErrPosition) || !strings.Contains(err.Error(), "write the position") {
				t.Fatalf("%q: %v", saved, err)
			}
			return
		}
		var want, got position
		if err := errors.Join(json.Unmarshal(saved, &want), json.Unmarshal(src.Position(), &got)); err != nil {
			t.Fatalf("%q: %v", saved, err)
		}
		if got.Items > want.Items || got.Items < want.Items && s.Stats().Damage.Places == 0 {
			t.Fatalf("%q continues at %s", saved, src.Position())
		}
	})
}

// Damage hides the number of a device's last reading, which Kafka has: its next reading gets a new
// boot id.
func TestDamageHidesNumbers(t *testing.T) {
	w := newWorld(t, 6)
	put := func(device string) {
		t.Helper()
		if _, err := w.s.Put(t.Context(), &Entry{Readings: []reading.Reading{{DeviceID: device, Sensor: "s"}}}); err != nil {
			t.Fatal(err)
		}
	}
	put("a")
	put("b")
	w.drain()
	path, head := w.s.segments[0].path, int64(0)
	w.close()
	data, err := readFile(w.disk, path)
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := frameAt(data, w.s.segments[0].salt)
	head = int64(frameHead + len(payload))
	f, err := w.disk.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff}, head+frameHead+3); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	w.open()
	defer w.close()
	put("a")
	w.drain()
	w.checkNumbers(true)
	if n := len(w.committed); n != 3 {
		t.Errorf("%d readings were committed, want 3", n)
	}
}
