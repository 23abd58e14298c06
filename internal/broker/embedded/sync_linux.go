package embedded

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFilesystem writes all that is pending on f's filesystem to its disk (syncfs(2)): one call for
// the segments, indexes and logs that a commit has touched.
func syncFilesystem(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
