// Package durable makes changes of files last after a crash of the machine.
package durable

import (
	"errors"
	"os"
	"runtime"
)

// SyncDir makes changes of a directory's entries last: files that were created, renamed or removed
// (fsync(2)). Windows has no such call, and needs none.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir) //nolint:gosec // the caller's directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
