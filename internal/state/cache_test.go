package state

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestWarm opens a copy: its entries must stay on disk at first, so that opening takes the same
// time for any size, and move into memory step by step until all windows are complete or the cache
// is half full.
func TestWarm(t *testing.T) {
	const entries, atOnce = 5000, 300
	for _, test := range []struct {
		name  string
		cache int64
		all   bool
	}{{"all", 64 << 20, true}, {"half", 500 << 10, false}} {
		t.Run(test.name, func(t *testing.T) {
			cfg := Config{Dir: "/state", fs: vfs.NewMem(), CacheBytes: test.cache, warmAtOnce: atOnce}
			fill(t, cfg, entries)
			s, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.bytes != 0 || s.Len() != entries || len(s.Windows(1)) != 3 {
				t.Fatalf("opened with %d bytes in memory, %d entries, windows %v", s.bytes, s.Len(), s.Windows(1))
			}
			commits := 0
			for ; s.cold != nil; commits++ {
				before := s.bytes
				s.Put(1, 0, fmt.Appendf(nil, "key-%06d", 3*commits), []byte("new")) // exists, but has not been read yet
				commit(t, s)
				if grown := (s.bytes - before) / entryOverhead; grown > 2*atOnce {
					t.Fatalf("a commit brought %d entries into memory", grown)
				}
			}
			if s.bytes > test.cache/2+1000 {
				t.Errorf("%d bytes in memory, more than half of %d", s.bytes, test.cache)
			}
			complete := 0
			for _, sp := range s.ops[1].sorted {
				if sp.complete {
					complete++
				}
			}
			if (complete == 3) != test.all || complete == 0 {
				t.Errorf("%d windows of 3 are complete", complete)
			}
			if test.all && (s.Len() != entries || commits < entries/atOnce) {
				t.Errorf("%d entries after %d commits, want %d after at least %d", s.Len(), commits, entries, entries/atOnce)
			}
			for i := range entries {
				want := fmt.Sprintf("value-%d", i)
				if i%3 == 0 && i/3 < commits {
					want = "new"
				}
				if v, ok := s.Get(1, int64(i%3), fmt.Appendf(nil, "key-%06d", i)); !ok || string(v) != want {
					t.Fatalf("entry %d: %q, %t, want %q", i, v, ok, want)
				}
			}
		})
	}
}

// TestWarmAfterEviction runs a transaction larger than the cache, which evicts warmed entries.
// Entries that warm reads afterwards must not make a window look complete.
func TestWarmAfterEviction(t *testing.T) {
	const entries = 3000
	cfg := Config{Dir: "/state", fs: vfs.NewMem(), CacheBytes: 1 << 20, warmAtOnce: 100}
	fill(t, cfg, entries)
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	commit(t, s)
	s.Put(2, 0, []byte("large"), make([]byte, 2*cfg.CacheBytes))
	s.Get(1, 2, []byte("key-002999")) // evicts others to make room
	s.Abort()
	for range 2 * entries / cfg.warmAtOnce {
		commit(t, s)
	}
	for i := range entries {
		if _, ok := s.Get(1, int64(i%3), fmt.Appendf(nil, "key-%06d", i)); !ok {
			t.Fatalf("entry %d is missing", i)
		}
	}
}

// TestMemoryIsBounded writes a state that is many times as large as its cache, and reads it by
// range.
func TestMemoryIsBounded(t *testing.T) {
	const cache, keys = 4 << 20, 100_000
	s, err := Open(Config{Dir: "/state", CacheBytes: cache, fs: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// Half of the memtables are written, the others wait for a flush.
	const blocks, memTables, other = 8 << 20, 4 * minMemTable, 1 << 20
	const limit = cache + maxHeld + blocks + memTables + other
	for from := 0; from < keys; from += 5000 {
		for i := from; i < from+5000; i++ {
			s.Put(1, 0, joinKey(uint64(i)), make([]byte, 200))
		}
		s.ScanPrefix(1, 0, joinKey(uint64(from/2)), func(_, _ []byte) bool { return true })
		commit(t, s)
		if s.bytes > cache {
			t.Fatalf("%d entries: %d bytes in the cache, want at most %d", from, s.bytes, cache)
		}
		if got := s.Bytes(); got > limit {
			t.Fatalf("%d entries: %d bytes, want at most %d", from, got, limit)
		}
	}
}
