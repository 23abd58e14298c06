package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

// stores runs a benchmark once for each kind of store.
func stores(b *testing.B, run func(b *testing.B, s *Store)) {
	b.Run("memory", func(b *testing.B) { run(b, Memory()) })
	b.Run("disk", func(b *testing.B) {
		s, err := Open(Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		run(b, s)
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkWindowed keeps a 10 s window for each of 3,000 devices, with one transaction per 100 ms
// of event time. Each transaction reads and writes the windows of all devices, and closing a window
// deletes its entries one by one. An iteration is one Get and one Put, plus their share of Changes,
// Commit and the deletes.
func BenchmarkWindowed(b *testing.B) {
	const devices, txns = 3000, 100
	keys := make([][]byte, devices)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "device-%05d", i)
	}
	stores(b, func(b *testing.B, s *Store) {
		value := make([]byte, 40)
		records := 0
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			txn := int64(n / devices)
			window, key := txn/txns, keys[n%devices]
			old, ok := s.Get(1, window, key)
			copy(value, old)
			binary.LittleEndian.PutUint64(value, binary.LittleEndian.Uint64(value)+1)
			if !ok {
				clear(value)
			}
			s.Put(1, window, key, value)
			if n++; n%devices != 0 {
				continue
			}
			if txn%txns == 0 && window > 0 {
				s.Scan(1, window-1, func(_, _ []byte) bool { return true })
				for _, k := range keys {
					s.Delete(1, window-1, k)
				}
			}
			s.Changes(func(_, _ []byte) { records++ })
			commit(b, s)
		}
		if s.Len() > 2*devices || n > devices && records == 0 {
			b.Fatalf("%d entries", s.Len())
		}
	})
}

// BenchmarkLarge reads and rewrites random entries of a window of a million entries, with a cache
// that holds a tenth of them and with one that holds all. An iteration is one Get and one Put, plus
// their share of the commit.
func BenchmarkLarge(b *testing.B) {
	const entries, batch = 1_000_000, 3000
	for _, cache := range []int64{16 << 20, 256 << 20} {
		b.Run(fmt.Sprintf("cache=%dMiB", cache>>20), func(b *testing.B) {
			s, err := Open(Config{Dir: b.TempDir(), CacheBytes: cache})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			var key [8]byte
			value := make([]byte, 40)
			for i := range uint64(entries) {
				binary.BigEndian.PutUint64(key[:], i*0x9E3779B97F4A7C15)
				if err := s.Restore(appendKey(nil, 1, 0, key[:]), value); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Restored(1); err != nil {
				b.Fatal(err)
			}
			if err := s.Flush(); err != nil {
				b.Fatal(err)
			}
			if err := s.disk.db.Compact(b.Context(), firstKey, bytes.Repeat([]byte{0xff}, 20), false); err != nil {
				b.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				binary.BigEndian.PutUint64(key[:], rng.Uint64N(entries)*0x9E3779B97F4A7C15)
				old, ok := s.Get(1, 0, key[:])
				if !ok {
					b.Fatalf("entry %x is missing: %v", key, s.Err())
				}
				copy(value, old)
				value[0]++
				s.Put(1, 0, key[:], value)
				if n++; n%batch == 0 {
					commit(b, s)
				}
			}
			b.ReportMetric(float64(s.Bytes())/(1<<20), "MiB")
		})
	}
}

// BenchmarkScanPrefix reads all rows of a join key out of a window of a million entries: in memory,
// from disk with random join keys, and from disk with the same join key again and again. The cache
// of the disk holds a tenth of the entries.
func BenchmarkScanPrefix(b *testing.B) {
	for _, kind := range []string{"memory", "disk", "disk-hot"} {
		for _, rows := range []uint64{1, 10, 1000} {
			b.Run(fmt.Sprintf("%s/rows=%d", kind, rows), func(b *testing.B) {
				cfg := Config{CacheBytes: 16 << 20}
				if kind != "memory" {
					cfg.Dir = b.TempDir()
				}
				s := million(b, cfg, rows)
				defer s.Close()
				keys := 1_000_000 / rows
				if kind == "disk-hot" {
					keys = 1
				}
				read := uint64(0)
				scan := func(i uint64) {
					s.ScanPrefix(1, 0, joinKey(i), func(_, _ []byte) bool {
						read++
						return true
					})
				}
				scan(0) // sorts
				s.Put(1, 0, append(joinKey(1), 0), nil)
				read = 0
				rng := rand.New(rand.NewPCG(1, 1))
				b.ReportAllocs()
				n := uint64(0)
				for b.Loop() {
					scan(rng.Uint64N(keys))
					n++
				}
				if read < n*rows {
					b.Fatalf("%d rows in %d scans: %v", read, n, s.Err())
				}
			})
		}
	}
}

// BenchmarkOrdered replaces a random row of a million and reads it back, with a commit every 3,000
// rows, in a window without a sorted index and in one with.
func BenchmarkOrdered(b *testing.B) {
	for _, ordered := range []bool{false, true} {
		b.Run(fmt.Sprintf("ordered=%t", ordered), func(b *testing.B) {
			s := million(b, Config{}, 10)
			if ordered {
				s.ScanPrefix(1, 0, joinKey(0), func(_, _ []byte) bool { return false })
			}
			rng := rand.New(rand.NewPCG(1, 1))
			value := make([]byte, 40)
			b.ReportAllocs()
			n := 0
			row := uint64(0)
			for b.Loop() {
				join := joinKey(rng.Uint64N(100_000))
				s.Delete(1, 0, binary.BigEndian.AppendUint64(join, row%10))
				row++
				s.Put(1, 0, binary.BigEndian.AppendUint64(join, row%10), value)
				if n++; n%3000 == 0 {
					commit(b, s)
				}
			}
		})
	}
}

// BenchmarkSort reads a window of a million entries by prefix for the first time.
func BenchmarkSort(b *testing.B) {
	s := million(b, Config{}, 10)
	var size, index float64
	for b.Loop() {
		b.StopTimer()
		s.ops[1].sorted[0].order = nil
		before := heap()
		b.StartTimer()
		s.ScanPrefix(1, 0, joinKey(0), func(_, _ []byte) bool { return true })
		b.StopTimer()
		index, size = float64(heap()-before), float64(s.Len())
		b.StartTimer()
	}
	b.ReportMetric(index/size, "index-B/entry")
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// million returns a store with a million entries in one window: rows for each join key.
func million(b *testing.B, cfg Config, rows uint64) *Store {
	b.Helper()
	s, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 40)
	for i := range uint64(1_000_000) {
		i = i * 7919 % 1_000_000
		key := binary.BigEndian.AppendUint64(joinKey(i/rows), i%rows)
		if err := s.Restore(appendKey(nil, 1, 0, key), value); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(s.Restored(1), s.Flush()); err != nil {
		b.Fatal(err)
	}
	return s
}

func joinKey(i uint64) []byte { return binary.BigEndian.AppendUint64(nil, i*0x9E3779B97F4A7C15) }

// BenchmarkRestore applies changelog records of a million entries: in memory, to a copy with a
// cache for all of them, and to one with a cache for a tenth.
func BenchmarkRestore(b *testing.B) {
	restore := func(b *testing.B, s *Store) {
		key := make([]byte, prefixLen+8)
		value := make([]byte, 40)
		n := uint64(0)
		b.ReportAllocs()
		for b.Loop() {
			binary.BigEndian.PutUint64(key[prefixLen:], (n%1_000_000)*0x9E3779B97F4A7C15)
			n++
			if err := s.Restore(key, value); err != nil {
				b.Fatal(err)
			}
		}
	}
	stores(b, restore)
	b.Run("disk-cold", func(b *testing.B) {
		s, err := Open(Config{Dir: b.TempDir(), CacheBytes: 16 << 20})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		restore(b, s)
	})
}

// BenchmarkOpen opens a copy. The time must not depend on its size.
func BenchmarkOpen(b *testing.B) {
	for _, entries := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			cfg := Config{Dir: b.TempDir()}
			open := func() *Store {
				s, err := Open(cfg)
				if err != nil {
					b.Fatal(err)
				}
				return s
			}
			s := open()
			for i := range entries {
				if err := s.Restore(appendKey(nil, 1, 0, fmt.Sprintf("device-%09d", i)), make([]byte, 40)); err != nil {
					b.Fatal(err)
				}
			}
			if err := errors.Join(s.Restored(1), s.Close()); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s := open()
				if s.Len() != entries {
					b.Fatalf("%d entries", s.Len())
				}
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
