//go:build unix

package secret

import (
	"io/fs"
	"os"
	"syscall"
)

// Private makes all files and directories that the process creates readable by its owner only.
func Private() { syscall.Umask(0o077) }

// ownFile reports whether a file belongs to the user of this process.
func ownFile(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
