package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// onceFS is the file system of a database whose files may be lost. The first failed write is
// reported and is the last one to reach the disk: later writes go to memory as if they had
// succeeded, until the database is closed. After a failed write, pebble would otherwise retry
// without a pause or end the process.
//
// The disk is therefore in the state that a crash at that moment would have left. The copy is given
// up all the same.
type onceFS struct {
	vfs.FS
	report func(error)
	gone   atomic.Bool
	memory vfs.FS
}

func newOnceFS(fsys vfs.FS, report func(error)) *onceFS {
	return &onceFS{FS: fsys, report: report, memory: vfs.NewMem()}
}

// failed reports whether err is an error, and passes the first one to report.
func (o *onceFS) failed(err error) bool {
	if err == nil {
		return false
	}
	if o.gone.CompareAndSwap(false, true) {
		o.report(err)
	}
	return true
}

// Create implements vfs.FS.
func (o *onceFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return o.create(name, func() (vfs.File, error) { return o.FS.Create(name, category) })
}

// OpenReadWrite implements vfs.FS.
func (o *onceFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return o.create(name, func() (vfs.File, error) { return o.FS.OpenReadWrite(name, category, opts...) })
}

// ReuseForWrite implements vfs.FS.
func (o *onceFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return o.create(newname, func() (vfs.File, error) { return o.FS.ReuseForWrite(oldname, newname, category) })
}

func (o *onceFS) create(name string, create func() (vfs.File, error)) (vfs.File, error) {
	if !o.gone.Load() {
		f, err := create()
		if !o.failed(err) {
			return &onceFile{File: f, fs: o}, nil
		}
	}
	if err := o.memory.MkdirAll(o.PathDir(name), 0o755); err != nil {
		return nil, err
	}
	return o.memory.Create(name, vfs.WriteCategoryUnspecified)
}

// Open implements vfs.FS. A missing table is damage that must not make the database end the
// process.
func (o *onceFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if o.gone.Load() {
		if f, err := o.memory.Open(name); err == nil {
			return f, nil
		}
	}
	f, err := o.FS.Open(name, opts...)
	if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(name, ".sst") {
		err = fmt.Errorf("table is missing: %s", err.Error()) // not fs.ErrNotExist any more
		o.failed(err)
	}
	return f, err
}

// OpenDir implements vfs.FS. The database keeps its directory open several times in order to sync
// it; this directory is opened only to be synced.
func (o *onceFS) OpenDir(name string) (vfs.File, error) { return &onceDir{fs: o, name: name}, nil }

// Lock implements vfs.FS. The copy has its own lock.
func (o *onceFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// Link implements vfs.FS.
func (o *onceFS) Link(oldname, newname string) error {
	return o.write(func(f vfs.FS) error { return f.Link(oldname, newname) })
}

// Rename implements vfs.FS.
func (o *onceFS) Rename(oldname, newname string) error {
	return o.write(func(f vfs.FS) error { return f.Rename(oldname, newname) })
}

// MkdirAll implements vfs.FS.
func (o *onceFS) MkdirAll(dir string, perm os.FileMode) error {
	return o.write(func(f vfs.FS) error { return f.MkdirAll(dir, perm) })
}

// Remove implements vfs.FS.
func (o *onceFS) Remove(name string) error {
	return o.write(func(f vfs.FS) error { return ignoreMissing(f.Remove(name)) })
}

// RemoveAll implements vfs.FS.
func (o *onceFS) RemoveAll(name string) error {
	return o.write(func(f vfs.FS) error { return ignoreMissing(f.RemoveAll(name)) })
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (o *onceFS) write(fn func(vfs.FS) error) error {
	if !o.gone.Load() && !o.failed(fn(o.FS)) {
		return nil
	}
	_ = fn(o.memory) // never read back
	return nil
}

// List implements vfs.FS.
func (o *onceFS) List(dir string) ([]string, error) {
	names, err := o.FS.List(dir)
	if err != nil && o.gone.Load() {
		return o.memory.List(dir)
	}
	return names, err
}

// Stat implements vfs.FS.
func (o *onceFS) Stat(name string) (vfs.FileInfo, error) {
	if o.gone.Load() {
		if info, err := o.memory.Stat(name); err == nil {
			return info, nil
		}
	}
	return o.FS.Stat(name)
}

// Unwrap implements vfs.FS.
func (o *onceFS) Unwrap() vfs.FS { return o.FS }

// onceFile is a file open for writing.
type onceFile struct {
	vfs.File
	fs *onceFS
}

func (f *onceFile) do(fn func() error) {
	if !f.fs.gone.Load() {
		f.fs.failed(fn())
	}
}

// Write implements vfs.File.
func (f *onceFile) Write(b []byte) (int, error) {
	n := len(b)
	f.do(func() error { _, err := f.File.Write(b); return err })
	return n, nil
}

// WriteAt implements vfs.File.
func (f *onceFile) WriteAt(b []byte, at int64) (int, error) {
	n := len(b)
	f.do(func() error { _, err := f.File.WriteAt(b, at); return err })
	return n, nil
}

// Preallocate implements vfs.File.
func (f *onceFile) Preallocate(at, n int64) error {
	f.do(func() error { return f.File.Preallocate(at, n) })
	return nil
}

// Sync implements vfs.File.
func (f *onceFile) Sync() error {
	f.do(f.File.Sync)
	return nil
}

// SyncData implements vfs.File.
func (f *onceFile) SyncData() error {
	f.do(f.File.SyncData)
	return nil
}

// SyncTo implements vfs.File.
func (f *onceFile) SyncTo(n int64) (full bool, err error) {
	full = true
	f.do(func() error {
		full, err = f.File.SyncTo(n)
		return err
	})
	return full, nil
}

// Close implements vfs.File.
func (f *onceFile) Close() error {
	f.fs.failed(f.File.Close())
	return nil
}

// onceDir is a directory that is opened only when it is synced.
type onceDir struct {
	vfs.File // nil: a directory is only synced and closed
	fs       *onceFS
	name     string
}

// Sync implements vfs.File.
func (d *onceDir) Sync() error {
	if d.fs.gone.Load() {
		return nil
	}
	dir, err := d.fs.FS.OpenDir(d.name)
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	d.fs.failed(err)
	return nil
}

// Close implements vfs.File.
func (d *onceDir) Close() error { return nil }

// Fd implements vfs.File.
func (d *onceDir) Fd() uintptr { return vfs.InvalidFd }
