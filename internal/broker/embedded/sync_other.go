//go:build !linux

package embedded

import (
	"syscall"
)

// syncFilesystem syncs all filesystems to disk.
func syncFilesystem(interface{ Fd() uintptr }) error {
	syscall.Sync()
	return nil
}
