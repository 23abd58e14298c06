//go:build !linux

package embedded

import (
	"os"
	"syscall"
)

// syncFilesystem syncs all filesystems to disk.
func syncFilesystem(*os.File) error {
	syscall.Sync()
	return nil
}
