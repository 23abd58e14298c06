package audit

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"weir.example/weir/internal/objectstore"
)

// bucketFS shows the part of a bucket below a prefix as a file system. A file that is opened is
// copied to the machine, so that its pages can be read in any order.
type bucketFS struct {
	ctx context.Context
	at  *objectstore.Bucket
}

// Open implements fs.FS for files.
func (b bucketFS) Open(name string) (fs.File, error) {
	failed := func(err error) (fs.File, error) {
		if objectstore.IsMissing(err) {
			err = fs.ErrNotExist
		}
		return nil, &fs.PathError{Op: "read", Path: b.at.URL(name), Err: err}
	}
	r, info, _, err := b.at.GetObject(b.ctx, b.at.Bucket, b.at.Key(name), minio.GetObjectOptions{})
	if err != nil {
		return failed(err)
	}
	defer r.Close()
	f, err := os.CreateTemp("", "weir-verify-")
	if err != nil {
		return nil, err
	}
	copied := copiedFile{f}
	n, err := io.Copy(f, r)
	if err == nil && n != info.Size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = copied.Close()
		return failed(err)
	}
	return copied, nil
}

// copiedFile is removed when it is closed.
type copiedFile struct{ *os.File }

func (f copiedFile) Close() error { return errors.Join(f.File.Close(), os.Remove(f.Name())) }

// ReadDir implements fs.ReadDirFS.
func (b bucketFS) ReadDir(name string) (all []fs.DirEntry, err error) {
	prefix := b.at.Key(name)
	if prefix != "" && prefix != "." {
		prefix += "/"
	} else {
		prefix = ""
	}
	for o := range b.at.ListObjectsIter(b.ctx, b.at.Bucket, minio.ListObjectsOptions{Prefix: prefix}) {
		if o.Err != nil {
			return nil, &fs.PathError{Op: "list", Path: b.at.URL(name), Err: o.Err}
		}
		if rest := strings.TrimPrefix(o.Key, prefix); rest != "" { // otherwise it stands for the directory
			all = append(all, objectEntry{rest, o.Size, o.LastModified})
		}
	}
	return all, nil
}

// objectEntry is the name of an object, or of what is like a directory, with a slash at the end.
type objectEntry struct {
	name string
	size int64
	at   time.Time
}

func (e objectEntry) Name() string               { return path.Base(e.name) }
func (e objectEntry) IsDir() bool                { return strings.HasSuffix(e.name, "/") }
func (e objectEntry) Info() (fs.FileInfo, error) { return e, nil }
func (e objectEntry) Size() int64                { return e.size }
func (e objectEntry) ModTime() time.Time         { return e.at }
func (e objectEntry) Mode() fs.FileMode          { return e.Type() }
func (e objectEntry) Sys() any                   { return nil }

func (e objectEntry) Type() fs.FileMode {
	if e.IsDir() {
		return fs.ModeDir
	}
	return 0
}
