//go:build !linux

package embedded

import (
	"os"
	"syscall"
)

// syncFilesystem writes all that is pending to the disks.
func syncFilesystem(*os.File) error {
	syscall.Sync()
	return nil
}
