package state

import (
	"errors"
	"syscall"
	"testing"
)

// When few file descriptors are left, opening another copy fails, and the open ones keep working.
func TestFewDescriptors(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	first, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	low := limit
	low.Cur = 64
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}()
	opened := 0
	for ; opened < 100; opened++ {
		s, err := Open(Config{Dir: t.TempDir()})
		if errors.Is(err, ErrDescriptors) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	if opened == 0 || opened == 100 {
		t.Errorf("%d copies were opened with 64 descriptors", opened)
	}
	if err := errors.Join(put(first, 200, []byte("v")), first.Flush()); err != nil {
		t.Error(err)
	}
}
