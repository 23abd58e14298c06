package state

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// record is a record of the model's changelog; a nil value is a tombstone.
type record struct{ key, value []byte }

// machine runs a store alongside a model of it: two plain maps and the changelog. Every kind of
// store must behave like the model, and after a crash the changelog from Offset on must rebuild the
// model exactly.
type machine struct {
	store   *Store
	cfg     Config // zero Dir: memory
	fs      *vfs.MemFS
	now     time.Time
	base    map[string]string
	merged  map[string]string
	touched []string // keys of the overlay, in order of first change
	log     []record // the index is the offset
}

func (m *machine) open(t *rapid.T) {
	m.cfg.fs = m.fs
	m.cfg.Now = func() time.Time { return m.now }
	s, err := Open(m.cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.store = s
}

// restore reads the tail of the changelog, as a task does on startup.
func (m *machine) restore(t *rapid.T) {
	offset := m.store.Offset()
	if offset > int64(len(m.log)) {
		t.Fatalf("offset %d is beyond the changelog's end %d", offset, len(m.log))
	}
	every := rapid.IntRange(1, 40).Draw(t, "restored every")
	for i := offset; i < int64(len(m.log)); i++ {
		if err := m.store.Restore(m.log[i].key, m.log[i].value); err != nil {
			t.Fatal(err)
		}
		if i%int64(every) == 0 {
			if err := m.store.Restored(i + 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := m.store.Restored(int64(len(m.log))); err != nil {
		t.Fatal(err)
	}
	m.forgetOverlay()
}

func (m *machine) forgetOverlay() {
	m.merged = maps.Clone(m.base)
	m.touched = nil
}

func (m *machine) touch(k string) {
	if !slices.Contains(m.touched, k) {
		m.touched = append(m.touched, k)
	}
}

type name struct {
	op     uint16
	window int64
	key    []byte
}

func (n name) encoded() string { return string(appendKey(nil, n.op, n.window, n.key)) }

var names = rapid.Custom(func(t *rapid.T) name {
	return name{
		op:     rapid.SampledFrom([]uint16{0, 7}).Draw(t, "op"),
		window: rapid.SampledFrom([]int64{-10, 0, 1<<63 - 1}).Draw(t, "window"),
		key:    []byte(keys.Draw(t, "key")),
	}
})

// keys has few values, so that the same entries change again and again, and some of them are
// prefixes of others.
var keys = rapid.SampledFrom([]string{"", "a", "a\x00", "bb", "bbb", "\xff", "\xff\xff", "device-1"})

func (m *machine) Put(t *rapid.T) {
	n := names.Draw(t, "name")
	size := rapid.SampledFrom([]int{0, 1, 15, 16, 40, 1500}).Draw(t, "size")
	value := bytes.Repeat([]byte{rapid.Byte().Draw(t, "fill")}, size)
	if rapid.Bool().Draw(t, "read first") {
		m.check(t, n)
	}
	m.store.Put(n.op, n.window, n.key, value)
	want := string(value)
	for i := range value {
		value[i] = 'X' // the store must have made a copy
	}
	m.merged[n.encoded()] = want
	m.touch(n.encoded())
	if rapid.IntRange(0, 3).Draw(t, "delete again") == 0 {
		m.store.Delete(n.op, n.window, n.key)
		delete(m.merged, n.encoded())
	}
}

// PutMany puts or deletes the rows of a join key, more than a node of the sorted index has.
func (m *machine) PutMany(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "really") != 0 {
		t.Skip("rarely")
	}
	n := names.Draw(t, "name")
	join := rapid.SampledFrom([]string{"a", "b", "device-"}).Draw(t, "join")
	count := rapid.IntRange(1, 100).Draw(t, "rows")
	step := rapid.IntRange(1, 3).Draw(t, "step")
	del := rapid.Bool().Draw(t, "delete")
	for i := range count {
		n.key = fmt.Appendf(nil, "%s%03d", join, i*step*37%300)
		k := n.encoded()
		if !del {
			m.store.Put(n.op, n.window, n.key, n.key)
			m.merged[k] = string(n.key)
			m.touch(k)
			continue
		}
		m.store.Delete(n.op, n.window, n.key)
		if _, ok := m.merged[k]; ok {
			delete(m.merged, k)
			m.touch(k)
		}
	}
}

// ScanRange scans a random range or prefix, up to its end or a random number of entries. Some scans
// read other entries on the way, which loads and evicts entries.
func (m *machine) ScanRange(t *rapid.T) { m.scanRange(t, true) }

func (m *machine) scanRange(t *rapid.T, nested bool) {
	n := names.Draw(t, "name")
	bounds := rapid.SampledFrom([]string{"", "a", "a\x00", "a0", "a1", "a15", "b", "bb", "device-", "device-1", "\xff", "\xff\xff"})
	from, to := []byte(bounds.Draw(t, "from")), []byte(bounds.Draw(t, "to"))
	inside := func(key string) bool { return key >= string(from) && key < string(to) }
	scan := func(fn func(key, value []byte) bool) { m.store.ScanRange(n.op, n.window, from, to, fn) }
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		to = nil
		inside = func(key string) bool { return key >= string(from) }
	case 1, 2:
		inside = func(key string) bool { return strings.HasPrefix(key, string(from)) }
		scan = func(fn func(key, value []byte) bool) { m.store.ScanPrefix(n.op, n.window, from, fn) }
	}
	limit := rapid.SampledFrom([]int{1, 2, 70, 1000}).Draw(t, "limit")
	var want, got []string
	start := string(appendPrefix(nil, n.op, n.window))
	for _, k := range slices.Sorted(maps.Keys(m.merged)) {
		if key, ok := strings.CutPrefix(k, start); ok && inside(key) && len(want) < limit {
			want = append(want, key+"="+m.merged[k])
		}
	}
	every := rapid.SampledFrom([]int{0, 0, 1, 20}).Draw(t, "read on the way")
	others := slices.Sorted(maps.Keys(m.merged))
	other := rapid.IntRange(0, 300).Draw(t, "other")
	scan(func(key, value []byte) bool {
		got = append(got, string(key)+"="+string(value))
		if every > 0 && len(got)%every == 0 {
			for range min(10, len(others)) {
				other += 7
				op, window, key, _ := decodeKey([]byte(others[other%len(others)]))
				m.check(t, name{op, window, key})
			}
			if nested && len(got) < 3 {
				m.scanRange(t, false)
			}
			if last := got[len(got)-1]; last != string(key)+"="+string(value) {
				t.Fatalf("%q has become %q=%q within the call", last, key, value)
			}
		}
		return len(got) < limit
	})
	if !slices.Equal(got, want) {
		t.Fatalf("scan of %q to %q in %d/%d, limit %d:\n got %q\nwant %q", from, to, n.op, n.window, limit, got, want)
	}
}

// Append puts a value that aliases the one returned by Get.
func (m *machine) Append(t *rapid.T) {
	n := names.Draw(t, "name")
	v, ok := m.store.Get(n.op, n.window, n.key)
	if !ok || len(v) > 4000 {
		t.Skip("absent")
	}
	half := v[len(v)/2:]
	want := string(half)
	m.store.Put(n.op, n.window, n.key, half)
	m.merged[n.encoded()] = want
	m.touch(n.encoded())
}

func (m *machine) Delete(t *rapid.T) {
	n := names.Draw(t, "name")
	if rapid.Bool().Draw(t, "read first") {
		m.check(t, n)
	}
	m.store.Delete(n.op, n.window, n.key)
	if _, ok := m.merged[n.encoded()]; ok {
		delete(m.merged, n.encoded())
		m.touch(n.encoded())
	}
}

// DeleteWindow deletes all entries found by Scan, as closing a window does.
func (m *machine) DeleteWindow(t *rapid.T) {
	n := names.Draw(t, "name")
	var keys [][]byte
	m.store.Scan(n.op, n.window, func(key, _ []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return true
	})
	for _, k := range keys {
		e := name{n.op, n.window, k}
		m.store.Delete(n.op, n.window, k)
		delete(m.merged, e.encoded())
		m.touch(e.encoded())
	}
}

func (m *machine) Get(t *rapid.T) { m.check(t, names.Draw(t, "name")) }

func (m *machine) check(t *rapid.T, n name) {
	got, ok := m.store.Get(n.op, n.window, n.key)
	want, wantOK := m.merged[n.encoded()]
	if ok != wantOK || string(got) != want {
		t.Fatalf("Get(%d, %d, %q) = %q, %t, want %q, %t", n.op, n.window, n.key, got, ok, want, wantOK)
	}
}

func (m *machine) Changes(t *rapid.T) {
	var got, want []record
	m.store.Changes(func(k, v []byte) { got = append(got, record{k, v}) })
	for _, k := range m.touched {
		v, ok := m.merged[k]
		if _, was := m.base[k]; !ok && !was {
			continue
		}
		r := record{key: []byte(k)}
		if ok {
			r.value = []byte(v)
		}
		want = append(want, r)
	}
	same := func(a, b record) bool {
		return bytes.Equal(a.key, b.key) && bytes.Equal(a.value, b.value) && (a.value == nil) == (b.value == nil)
	}
	if !slices.EqualFunc(got, want, same) {
		t.Fatalf("Changes:\n got %q\nwant %q", got, want)
	}
}

func (m *machine) Commit(t *rapid.T) {
	m.store.Changes(func(k, v []byte) { m.log = append(m.log, record{bytes.Clone(k), bytes.Clone(v)}) })
	m.log = append(m.log, record{key: appendKey(nil, 9, 9, "marker")}) // the transaction's commit marker has an offset too
	if err := m.store.Commit(int64(len(m.log))); err != nil {
		t.Fatal(err)
	}
	m.base = maps.Clone(m.merged)
	m.touched = nil
	if m.store.Offset() != int64(len(m.log)) {
		t.Fatalf("Offset = %d after Commit(%d)", m.store.Offset(), len(m.log))
	}
}

func (m *machine) Abort(*rapid.T) {
	m.store.Abort()
	m.forgetOverlay()
}

func (m *machine) Wait(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second)
}

func (m *machine) Flush(t *rapid.T) {
	if err := m.store.Flush(); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) Restart(t *rapid.T) {
	if err := m.store.Close(); err != nil {
		t.Fatal(err)
	}
	m.open(t)
	if m.cfg.Dir != "" && m.store.Offset() != int64(len(m.log)) {
		t.Fatalf("offset %d after a clean restart, want %d", m.store.Offset(), len(m.log))
	}
	m.restore(t)
}

// Crash loses all or part of the unsynced data.
func (m *machine) Crash(t *rapid.T) {
	old := m.store
	seed := rapid.Uint64().Draw(t, "seed")
	if m.fs != nil {
		m.fs = m.fs.CrashClone(vfs.CrashCloneCfg{
			UnsyncedDataPercent: rapid.SampledFrom([]int{0, 30, 100}).Draw(t, "unsynced"),
			RNG:                 rand.New(rand.NewPCG(seed, 1)),
		})
	}
	_ = old.Close() // frees memory; the clone isn't affected
	m.open(t)
	m.restore(t)
}

func (m *machine) Reset(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "really") != 0 {
		t.Skip("rarely")
	}
	if err := m.store.Reset(); err != nil {
		t.Fatal(err)
	}
	if m.store.Len() != 0 || m.store.Offset() != 0 {
		t.Fatalf("Reset leaves %d entries, offset %d", m.store.Len(), m.store.Offset())
	}
	m.restore(t)
}

// Check compares all readable state with the model.
func (m *machine) Check(t *rapid.T) {
	windows := map[uint16][]int64{}
	var got []string
	want := slices.Sorted(maps.Keys(m.merged))
	for _, k := range want {
		op, window, _, _ := decodeKey([]byte(k))
		if w := windows[op]; len(w) == 0 || w[len(w)-1] != window {
			windows[op] = append(w, window)
		}
	}
	for _, op := range []uint16{0, 2, 7} {
		w := m.store.Windows(op)
		if !slices.Equal(w, windows[op]) {
			t.Fatalf("Windows(%d) = %v, want %v", op, w, windows[op])
		}
		for _, window := range w {
			m.store.Scan(op, window, func(key, value []byte) bool {
				k := string(appendKey(nil, op, window, key))
				if m.merged[k] != string(value) {
					t.Fatalf("Scan: %q = %q, want %q", k, value, m.merged[k])
				}
				got = append(got, k)
				return true
			})
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("Scan finds %q, want %q", got, want)
	}
	if err := m.store.Err(); err != nil {
		t.Fatal(err)
	}
	if m.cfg.Dir == "" || m.cfg.CacheBytes > 1<<20 && m.store.cold == nil {
		if m.store.Len() != len(m.base) {
			t.Fatalf("Len = %d, want %d", m.store.Len(), len(m.base))
		}
	}
	m.checkMemory(t)
}

// checkMemory recomputes the store's running totals.
func (m *machine) checkMemory(t *rapid.T) {
	var sum int64
	spaces := 0
	for _, o := range m.store.ops {
		if o == nil {
			continue
		}
		for _, sp := range o.sorted {
			spaces++
			live, deleted := 0, 0
			for _, e := range sp.entries {
				sum += entryOverhead + int64(len(e.key)) + int64(cap(e.value))
				if sp.order != nil {
					sum += orderOverhead
					if got, ok := sp.order.tree.Get(e); !ok || got != e {
						t.Fatalf("space %d/%d: entry %q is not in order", sp.op, sp.window, e.key)
					}
				}
				if _, ok := m.store.value(e); ok {
					live++
				} else if e.base == present {
					deleted++
				}
				if e.change != 0 {
					sum += int64(cap(m.store.changes[e.change-1].value))
				}
			}
			if sp.order != nil && sp.order.tree.Len() != len(sp.entries) {
				t.Fatalf("space %d/%d: %d entries in order, %d in memory", sp.op, sp.window, sp.order.tree.Len(), len(sp.entries))
			}
			if live != sp.live || deleted != sp.deleted {
				t.Fatalf("space %d/%d: %d live, %d deleted; counted %d, %d",
					sp.op, sp.window, sp.live, sp.deleted, live, deleted)
			}
		}
	}
	open := int64(0)
	for _, c := range m.store.changes {
		open += changeOverhead + changeCopies*int64(len(c.entry.key)+cap(c.value))
	}
	if open != m.store.Uncommitted() {
		t.Fatalf("%d bytes uncommitted; counted %d", m.store.Uncommitted(), open)
	}
	if sum != m.store.bytes || spaces != m.store.spaces {
		t.Fatalf("bytes %d, spaces %d; counted %d, %d", sum, spaces, m.store.bytes, m.store.spaces)
	}
}

func TestModel(t *testing.T) {
	if f := flag.Lookup("rapid.steps"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("120"); err != nil { // with the default of 30, evictions are rarely followed by anything of interest
			t.Fatal(err)
		}
	}
	for _, kind := range []struct {
		name  string
		cache int64 // 0: memory
	}{{"memory", 0}, {"disk complete cache", 64 << 20}, {"disk half a cache", 8 << 10}, {"disk small cache", 2 << 10}, {"disk without cache", 1}} {
		t.Run(kind.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := &machine{now: time.Unix(1e9, 0), base: map[string]string{}, merged: map[string]string{}}
				if kind.cache > 0 {
					m.fs = vfs.NewCrashableMem()
					m.cfg = Config{Dir: "/state", Identity: "p/1", CacheBytes: kind.cache, warmAtOnce: 3}
				}
				m.open(t)
				defer func() { _ = m.store.Close() }()
				t.Repeat(map[string]func(*rapid.T){
					"put": m.Put, "put again": m.Put, "append": m.Append, "delete": m.Delete, "delete window": m.DeleteWindow,
					"put many": m.PutMany, "scan range": m.ScanRange, "scan range again": m.ScanRange,
					"get": m.Get, "changes": m.Changes, "commit": m.Commit, "commit again": m.Commit, "abort": m.Abort,
					"wait": m.Wait, "flush": m.Flush, "restart": m.Restart, "crash": m.Crash, "reset": m.Reset,
					"check": m.Check,
				})
				m.Check(t)
			})
		})
	}
}

// TestManySpaces uses more windows than transactions keep in use, and a small cache.
func TestManySpaces(t *testing.T) {
	s, err := Open(Config{Dir: "/state", CacheBytes: 8 << 10, fs: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const windows = 3000
	for w := range int64(windows) {
		s.Put(1, w, []byte("k"), fmt.Appendf(nil, "%d", w))
		if w%10 == 9 {
			commit(t, s)
		}
	}
	if s.bytes > 8<<10 {
		t.Errorf("%d bytes cached", s.bytes)
	}
	for w := range int64(windows) {
		if got := s.Windows(1); w%500 == 0 && (int64(len(got)) != windows-w || got[0] != w) {
			t.Fatalf("%d windows from %d, want %d from %d", len(got), got[0], windows-w, w)
		}
		if v, ok := s.Get(1, w, []byte("k")); !ok || string(v) != fmt.Sprint(w) {
			t.Fatalf("window %d: %q, %t", w, v, ok)
		}
		s.Delete(1, w, []byte("k"))
		if w%10 == 9 {
			commit(t, s)
		}
	}
	if s.Len() != 0 || s.spaces != 0 || s.Windows(1) == nil && s.bytes != 0 {
		t.Errorf("%d entries, %d spaces left", s.Len(), s.spaces)
	}
}

func commit(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Commit(s.Offset() + 1); err != nil {
		t.Fatal(err)
	}
}
