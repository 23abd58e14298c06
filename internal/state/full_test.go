package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"weir.example/weir/internal/disktest"
)

// fullDisk returns a file system on which writes fail while full is on.
func fullDisk() (fsys vfs.FS, full *errorfs.Toggle) {
	full = &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo,
			errorfs.OpFilePreallocate, errorfs.OpMkdirAll, errorfs.OpReuseForWrite:
			return syscall.ENOSPC
		}
		return nil
	})}
	return errorfs.Wrap(vfs.NewMem(), full), full
}

// within fails the test if fn doesn't return in time: a database that retries forever blocks the
// whole process.
func within(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not end", what)
	}
}

// put writes n entries in transactions of 100 until one fails.
func put(s *Store, n int, value []byte) error {
	for i := range n {
		s.Put(1, int64(i%3), fmt.Appendf(nil, "key-%06d", i), value)
		if i%100 == 99 {
			if err := s.Commit(s.Offset() + 1); err != nil {
				return err
			}
		}
	}
	return s.Err()
}

// The disk fills up while a store is open: the store reports it and closes promptly, and the next
// Open doesn't trust the copy and fails while the disk is full.
func TestDiskFillsUp(t *testing.T) {
	for _, what := range []string{"flush", "close", "large"} {
		t.Run(what, func(t *testing.T) {
			fsys, full := fullDisk()
			now := epoch
			cfg := Config{Dir: "/state", fs: fsys, Now: func() time.Time { return now }}
			s, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := put(s, 1000, []byte("v")); err != nil {
				t.Fatal(err)
			}
			full.On()
			within(t, what, func() {
				switch what {
				case "flush": // in small steps
					for i := 0; s.Err() == nil && i < 1000; i++ {
						now = now.Add(flushEvery)
						_ = put(s, 100, []byte("w"))
						time.Sleep(time.Millisecond) // the database flushes in the background
					}
				case "large": // more than the memtables hold
					for i := 0; s.Err() == nil && i < 100; i++ {
						_ = put(s, 1000, make([]byte, 4<<10))
					}
				}
				if err := s.Close(); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("Close: %v", err)
				}
			})
			within(t, "Open", func() {
				if s, err := Open(cfg); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("Open on a full disk: %v, %v", s, err)
				}
			})
			full.Off()
			if offset, n := reopen(t, cfg); offset != 0 || n != 0 {
				t.Errorf("the copy is used again: offset %d, %d entries", offset, n)
			}
		})
	}
}

// An intact copy opened on a full disk is given up without a panic.
func TestOpenOnFullDisk(t *testing.T) {
	fsys, full := fullDisk()
	cfg := Config{Dir: "/state", fs: fsys, Now: func() time.Time { return epoch }}
	fill(t, cfg, 1000)
	full.On()
	within(t, "Open", func() {
		if s, err := Open(cfg); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Open on a full disk: %v, %v", s, err)
		}
	})
	full.Off()
	reopen(t, cfg)
}

// An intact copy that needs more space to open is kept until there is some, although removing it
// would free enough for an empty one.
func TestOpenNeedsSpace(t *testing.T) {
	full := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.Contains(op.Path, "MANIFEST") {
			return syscall.ENOSPC
		}
		return nil
	})}
	cfg := Config{Dir: "/state", fs: errorfs.Wrap(vfs.NewMem(), full), Now: func() time.Time { return epoch }}
	fill(t, cfg, 1000)
	full.On()
	if s, err := Open(cfg); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Open without space: %v, %v", s, err)
	}
	full.Off()
	if offset, n := reopen(t, cfg); offset == 0 || n == 0 {
		t.Errorf("the intact copy was removed: offset %d, %d entries", offset, n)
	}
}

// Every write operation of the disk fails once, in turn: the store must either not need it or
// report the error, must never panic or hang, and the state found by a later Open must be correct.
func TestEachOperationFails(t *testing.T) {
	for nth := int64(0); ; nth++ {
		var count atomic.Int64
		counting := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				if count.Add(1) == nth+1 {
					return syscall.EIO
				}
			}
			return nil
		})
		mem := vfs.NewMem()
		now := epoch
		cfg := Config{Dir: "/state", fs: errorfs.Wrap(mem, counting), Now: func() time.Time { return now }}
		within(t, fmt.Sprintf("operation %d", nth), func() {
			s, err := Open(cfg)
			if err != nil {
				return
			}
			for range 3 {
				now = now.Add(flushEvery)
				if put(s, 300, []byte("v")) != nil {
					break
				}
			}
			_ = s.Close()
		})
		cfg.fs = mem
		s, err := Open(cfg)
		if err != nil {
			t.Fatalf("operation %d: Open after it: %v", nth, err)
		}
		if n := s.Len(); s.Offset() > 0 && n != min(300, 100*int(s.Offset())) {
			t.Errorf("operation %d: %d entries at offset %d", nth, n, s.Offset())
		}
		_ = s.Close()
		if t.Failed() {
			return
		}
		if count.Load() <= nth { // there are no more operations
			if nth < 20 {
				t.Errorf("only %d operations failed", nth)
			}
			return
		}
	}
}

// A table removed under a running store is an error, not a panic.
func TestTableIsRemoved(t *testing.T) {
	mem := vfs.NewMem()
	cfg := Config{Dir: "/state", CacheBytes: 1, fs: mem}
	fill(t, cfg, 5000)
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	names, err := mem.List("/state/db")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			if err := mem.Remove("/state/db/" + name); err != nil {
				t.Fatal(err)
			}
		}
	}
	within(t, "reading", func() {
		wrong := 0
		for i := range 5000 {
			if v, ok := s.Get(1, int64(i%3), fmt.Appendf(nil, "key-%06d", i)); !ok || string(v) != fmt.Sprintf("value-%d", i) {
				wrong++
			}
		}
		if s.Err() == nil && wrong > 0 { // tables already open can still be read
			t.Errorf("%d entries are wrong, and no error", wrong)
		}
		_ = s.Close()
	})
	if offset, _ := reopen(t, cfg); offset != 0 {
		t.Errorf("the copy is used again at offset %d", offset)
	}
}

// A task must not use many file descriptors: a pipeline has hundreds of tasks.
func TestDescriptors(t *testing.T) {
	const fds, tasks = "/proc/self/fd", 20
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are counted in " + fds)
	}
	open := func() int {
		names, err := os.ReadDir(fds)
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	before := open()
	dir := t.TempDir()
	for i := range tasks {
		s, err := Open(Config{Dir: filepath.Join(dir, fmt.Sprint(i))})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := errors.Join(put(s, 200, []byte("v")), s.Flush()); err != nil {
			t.Fatal(err)
		}
		s.Get(1, 1, []byte("nothing")) // opens the table
	}
	if n := open() - before; n > 4*tasks {
		t.Errorf("%d tasks have %d descriptors open", tasks, n)
	}
}

// The same on a real disk of 24 MiB.
func TestRealDiskFillsUp(t *testing.T) {
	dir := t.TempDir()
	disktest.Mount(t, dir, 24<<20)
	cfg := Config{Dir: filepath.Join(dir, "state"), Now: func() time.Time { return epoch }}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(s, 1000, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	disktest.Fill(t, ballast)
	within(t, "Close", func() {
		if err := s.Close(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Close: %v", err)
		}
	})
	if err := os.RemoveAll(cfg.Dir); err != nil { // frees the space of the copy
		t.Fatal(err)
	}
	disktest.Fill(t, ballast+"2")
	within(t, "Open", func() {
		if s, err := Open(cfg); err == nil {
			_ = s.Close()
			t.Error("Open on a full disk")
		}
	})
	if err := errors.Join(os.Remove(ballast), os.Remove(ballast+"2")); err != nil {
		t.Fatal(err)
	}
	reopen(t, cfg)
}
