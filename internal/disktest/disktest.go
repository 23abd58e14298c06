// Package disktest gives tests a disk that can be full.
//
//	disktest.go     Fill
//	mount_linux.go  Mount; mount_other.go: where there is none
package disktest

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// Fill appends to a file until its disk is full.
func Fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // a test's directory
	if errors.Is(err, syscall.ENOSPC) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for zeros := make([]byte, 1<<20); len(zeros) > 0; zeros = zeros[:len(zeros)/2] {
		for err == nil {
			_, err = f.Write(zeros)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
