package state

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
)

// smallDisk mounts a tmpfs of the given size, which requires root.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED on a real full disk: mounting a tmpfs needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("NOT TESTED on a real full disk: mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

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
