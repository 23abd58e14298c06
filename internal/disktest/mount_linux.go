package disktest

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// Mount mounts a file system of its own, with room for some bytes, on a directory until the end of
// the test. All users may write there. It skips the test without the permission to.
func Mount(t *testing.T, dir string, bytes int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED on a real full disk: mounting a tmpfs needs root")
	}
	if err := syscall.Mount("weir-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=1777", bytes)); err != nil {
		t.Skipf("NOT TESTED on a real full disk: mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
