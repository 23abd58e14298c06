package state

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestKeyOrder(t *testing.T) {
	var last []byte
	for _, n := range []name{
		{0, math.MinInt64, nil}, {0, -1, []byte{0xff}}, {0, 0, nil}, {0, 0, []byte{0}}, {0, 0, []byte("a")}, {0, 1, nil},
		{0, math.MaxInt64, []byte("z")}, {1, math.MinInt64, nil}, {math.MaxUint16, math.MaxInt64, []byte{0xff}},
	} {
		k := appendKey(nil, n.op, n.window, n.key)
		if bytes.Compare(last, k) >= 0 {
			t.Errorf("%x is not after %x", k, last)
		}
		if bytes.Compare(k, firstKey) < 0 || bytes.Compare(k, metaKey) <= 0 {
			t.Errorf("%x is not after the offset record", k)
		}
		last = k
	}
}

func TestPrefixEnd(t *testing.T) {
	for _, test := range []struct{ prefix, want []byte }{
		{[]byte{1, 2}, []byte{1, 3}}, {[]byte{1, 0xff}, []byte{2}}, {[]byte{0xff, 0xff}, nil},
	} {
		if got := PrefixEnd(test.prefix); !bytes.Equal(got, test.want) {
			t.Errorf("PrefixEnd(%x) = %x, want %x", test.prefix, got, test.want)
		}
	}
}

func FuzzDecodeKey(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(appendKey(nil, 3, -5, "device"))
	f.Add(bytes.Repeat([]byte{0xff}, prefixLen))
	f.Fuzz(func(t *testing.T, b []byte) {
		op, window, key, err := decodeKey(b)
		if err != nil {
			if len(b) >= prefixLen {
				t.Fatal(err)
			}
			return
		}
		if got := appendKey(nil, op, window, key); !bytes.Equal(got, b) {
			t.Fatalf("%x decodes to %d, %d, %x, which encodes to %x", b, op, window, key, got)
		}
	})
}

func TestRestoreRefuses(t *testing.T) {
	s := Memory()
	if err := s.Restore([]byte("short"), nil); err == nil {
		t.Error("malformed key")
	}
	s.Put(1, 1, nil, nil)
	if err := s.Restore(appendKey(nil, 1, 1, ""), nil); !errors.Is(err, errOpenTransaction) {
		t.Errorf("open transaction: %v", err)
	}
	if err := s.Restored(5); !errors.Is(err, errOpenTransaction) {
		t.Errorf("open transaction: %v", err)
	}
}

// TestSlicesOfChanges checks that slices passed to the callback of Changes stay valid while the
// overlay grows.
func TestSlicesOfChanges(t *testing.T) {
	s := Memory()
	var records []record
	for i := range 1000 {
		s.Put(1, 0, fmt.Appendf(nil, "k%d", i), fmt.Appendf(nil, "v%d", i))
		if i%100 == 0 {
			records = records[:0]
			s.Changes(func(k, v []byte) { records = append(records, record{k, v}) })
		}
	}
	for i, r := range records {
		if _, _, k, err := decodeKey(r.key); err != nil || string(k) != fmt.Sprintf("k%d", i) || string(r.value) != fmt.Sprintf("v%d", i) {
			t.Fatalf("record %d: %q = %q, %v", i, r.key, r.value, err)
		}
	}
}

// TestValuesStayValid reads more than the cache holds: values returned by Get must outlive the
// eviction of their entries.
func TestValuesStayValid(t *testing.T) {
	s, err := Open(Config{Dir: "/state", CacheBytes: 4 << 10, fs: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 1000 {
		s.Put(1, 0, fmt.Appendf(nil, "%d", i), fmt.Appendf(nil, "value of %d", i))
	}
	commit(t, s)
	var values [][]byte
	for i := range 1000 {
		v, _ := s.Get(1, 0, fmt.Appendf(nil, "%d", i))
		values = append(values, v)
	}
	for i, v := range values {
		if string(v) != fmt.Sprintf("value of %d", i) {
			t.Fatalf("value %d is now %q", i, v)
		}
	}
	if s.bytes > 8<<10 {
		t.Errorf("cache holds %d bytes", s.bytes)
	}
}

// TestNestedScan scans another window within a Scan.
func TestNestedScan(t *testing.T) {
	s := Memory()
	for i := range 3 {
		s.Put(1, int64(i), []byte("a"), nil)
		s.Put(1, int64(i), []byte("b"), nil)
	}
	var got []string
	s.Scan(1, 0, func(outer, _ []byte) bool {
		s.Scan(1, 1, func(inner, _ []byte) bool {
			got = append(got, string(outer)+string(inner))
			return true
		})
		return true
	})
	if fmt.Sprint(got) != "[aa ab ba bb]" {
		t.Errorf("got %v", got)
	}
}

// TestReadWithinScan reads entries within ScanRange. That loads entries of the scanned window
// before and after the scan's position, or evicts entries of a window that was complete when the
// scan began. Entries are evicted in random order, hence the repetition.
func TestReadWithinScan(t *testing.T) {
	for range 10 {
		t.Run("load", func(t *testing.T) { readWithinScan(t, 0, false) })
		t.Run("evict", func(t *testing.T) { readWithinScan(t, 1, true) })
	}
}

func readWithinScan(t *testing.T, read int64, complete bool) {
	const rows = 300
	row := func(i int) []byte { return fmt.Appendf(nil, "row-%03d", i) }
	cfg := Config{Dir: "/state", fs: vfs.NewMem(), warmAtOnce: 1}
	fill := func(s *Store, window int64) {
		for i := range rows {
			s.Put(1, window, row(i), row(i))
		}
		commit(t, s)
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	fill(s, read)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if complete {
		fill(s, 0)
	}
	var want []string
	for i := 1; i < rows-1; i++ {
		switch i { // the overlay takes part
		case 7, 250:
			s.Delete(1, 0, row(i))
		case 8, 251:
			s.Put(1, 0, row(i), []byte("new"))
			want = append(want, fmt.Sprintf("%s=new", row(i)))
		default:
			want = append(want, fmt.Sprintf("%s=%s", row(i), row(i)))
		}
	}
	sp := s.space(1, 0)
	if sp.complete != complete {
		t.Fatalf("complete: %t at the beginning", sp.complete)
	}
	var got []string
	s.ScanRange(1, 0, row(1), row(rows-1), func(key, value []byte) bool {
		got = append(got, fmt.Sprintf("%s=%s", key, value))
		if len(got) == 100 && complete {
			s.disk.cfg.CacheBytes, s.limit = 1, 1 // the next load evicts all but the overlay
		}
		i := 10 + 7*len(got)%200
		if v, ok := s.Get(1, read, row(i)); !ok || string(v) != string(row(i)) {
			t.Fatalf("row %d: %q, %t", i, v, ok)
		}
		return true
	})
	if !slices.Equal(got, want) || s.Err() != nil {
		t.Errorf("got %q, want %q, error %v", got, want, s.Err())
	}
	if sp.complete || complete != (len(sp.entries) == 4) {
		t.Errorf("complete: %t at the end, with %d entries in memory", sp.complete, len(sp.entries))
	}
}

// TestBytes checks that deleting windows releases their memory.
func TestBytes(t *testing.T) {
	s := Memory()
	for round := range 50 {
		for i := range 1000 {
			s.Put(1, int64(round), fmt.Appendf(nil, "key-%d", i), make([]byte, 100))
			if round > 0 {
				s.Delete(1, int64(round-1), fmt.Appendf(nil, "key-%d", i))
			}
		}
		commit(t, s)
	}
	if s.Len() != 1000 || s.Bytes() > 2<<20 {
		t.Errorf("%d entries, %d bytes", s.Len(), s.Bytes())
	}
}

// TestReadDuringRestore reads records that were restored and evicted, but not yet covered by an
// offset.
func TestReadDuringRestore(t *testing.T) {
	s, err := Open(Config{Dir: "/state", CacheBytes: 4 << 10, fs: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 500 {
		if err := s.Restore(appendKey(nil, 1, 0, fmt.Sprint(i)), fmt.Appendf(nil, "value of %d", i)); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := s.Restore(appendKey(nil, 1, 0, fmt.Sprint(i/2)), nil); err != nil {
				t.Fatal(err)
			}
		}
		if v, ok := s.Get(1, 0, fmt.Append(nil, i)); i > 0 && (!ok || string(v) != fmt.Sprintf("value of %d", i)) {
			t.Fatalf("entry %d: %q, %t", i, v, ok)
		}
	}
	for i := range 500 {
		deleted := i < 250 && (2*i%3 == 0 || (2*i+1)%3 == 0)
		if _, ok := s.Get(1, 0, fmt.Append(nil, i)); ok == deleted {
			t.Errorf("entry %d: %t", i, ok)
		}
	}
	n := 0
	s.Scan(1, 0, func(_, _ []byte) bool {
		n++
		return true
	})
	if n != 333 || s.Bytes() < s.bytes || s.Err() != nil {
		t.Errorf("%d entries, %d bytes, %v", n, s.Bytes(), s.Err())
	}
}

// TestFatal calls Fatalf from the store and from a goroutine of the database: the store fails, the
// process survives, and the next Open must not trust the copy.
func TestFatal(t *testing.T) {
	for _, own := range []bool{false, true} {
		cfg := Config{Dir: "/state", fs: vfs.NewMem()}
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		commit(t, s)
		last := func() { quietLogger{s.disk}.Fatalf("manifest: %s", "disk full") }
		if own {
			err = s.disk.iterate(nil, nil, func(*pebble.Iterator) { last() })
		} else {
			done := make(chan struct{})
			go func() {
				defer close(done)
				last()
			}()
			<-done
			err = s.Err()
		}
		if err == nil || !strings.Contains(err.Error(), "manifest: disk full") {
			t.Errorf("own call %t: error %v", own, err)
		}
		within(t, "Close", func() {
			if err := s.Close(); err == nil {
				t.Error("Close has no error")
			}
		})
		if offset, _ := reopen(t, cfg); offset != 0 {
			t.Errorf("the copy is used again at offset %d", offset)
		}
	}
}
