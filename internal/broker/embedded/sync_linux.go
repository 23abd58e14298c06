package embedded

import (
	"golang.org/x/sys/unix"
)

// syncFilesystem syncs f's filesystem to disk (syncfs(2)): one call covers the segments, indexes
// and logs of a commit.
func syncFilesystem(f interface{ Fd() uintptr }) error { return unix.Syncfs(int(f.Fd())) }
