package state

import (
	"fmt"
	"os"
	"syscall"
)

// checkDescriptors returns an error if more than three quarters of the process's file descriptors
// are in use: broker connections need some too and, unlike a copy, can't do without.
func checkDescriptors() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil
	}
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	if open := uint64(len(names)); open > limit.Cur/4*3 {
		return fmt.Errorf("%w: %d of %d are open (ulimit -n)", ErrDescriptors, open, limit.Cur)
	}
	return nil
}
