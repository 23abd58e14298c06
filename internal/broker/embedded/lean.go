package embedded

import (
	"io/fs"
	"path/filepath"
	"runtime"
	"runtime/debug"
)

// A start reads every segment into memory. The garbage would grow to a multiple of what is in use
// before it is collected, and machines with little memory would kill the process at its start.

const (
	leanBytes  = 48 << 20 // for the segments that are being read
	indexBytes = 100      // of kfake's index in memory for a batch: 72, and up to a third more for the capacity of its slices
)

// leanMemory limits the memory of the process while a data directory is opened, and returns a
// function that restores the limit and returns free memory to the system.
func leanMemory(data string) (restore func()) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	limit := int64(m.Sys-m.HeapReleased) + leanBytes + batches(data)*indexBytes //nolint:gosec // far below 2^63
	before := debug.SetMemoryLimit(-1)
	if limit >= before {
		return func() {}
	}
	debug.SetMemoryLimit(limit)
	return func() {
		debug.SetMemoryLimit(before)
		debug.FreeOSMemory()
	}
}

// batches counts the batches of a kfake data directory by the sizes of its indexes. Files that
// cannot be read count as empty: opening the directory reports them.
func batches(data string) (n int64) {
	_ = filepath.WalkDir(filepath.Join(data, "partitions"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".idx" {
			return nil
		}
		if info, err := e.Info(); err == nil {
			n += info.Size() / indexEntrySize
		}
		return nil
	})
	return n
}
