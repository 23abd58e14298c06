package files

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"weir.example/weir/internal/durable"
	"weir.example/weir/internal/sink"
)

// local is the store of a directory. Files are put in place, and the state is replaced, by a
// rename. It has a lock, because a rename can't depend on the version that it replaces.
type local struct {
	dir string // of the table
	own string // what is not for readers
	failpoint

	lock    *flock.Flock
	session string // begins the names of files that are being written
	files   int
}

func (l *local) hidden(name string) string   { return filepath.Join(l.own, name) }
func (l *local) stateName() string           { return l.hidden(stateFile) }
func (l *local) fileName(name string) string { return filepath.Join(l.dir, filepath.FromSlash(name)) }

// acquire keeps other sessions out until close.
func (l *local) acquire() error {
	if err := makeDirs(l.own); err != nil {
		return fmt.Errorf("create the directory of the table: %w", err)
	}
	lock := flock.New(l.hidden("lock"), flock.SetPermissions(0o600))
	free, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock the directory of the table: %w", err)
	}
	if !free {
		return fmt.Errorf("another process writes the files of table %s in %s, and holds %s: this one takes over when it ends", filepath.Base(l.own), l.dir, lock.Path())
	}
	l.lock, l.session = lock, rand.Text()[:8]
	return nil
}

func (l *local) close() {
	if l.lock != nil {
		_ = l.lock.Close() // the process releases the lock in any case
	}
}

func (l *local) load(context.Context) (*state, string, error) {
	text, err := os.ReadFile(l.stateName())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the state of the table: %w", err)
	}
	s, err := decodeState(text)
	if err != nil {
		return nil, "", sink.Refuse("%s is damaged: restore it: %w", l.stateName(), err)
	}
	return s, versionOf(text), nil
}

func versionOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func (l *local) replace(ctx context.Context, version string, s *state) error {
	_, now, err := l.load(ctx)
	if err != nil {
		return err
	}
	if now != version {
		return errChanged
	}
	next := l.hidden(stateFile + temporary)
	if err := l.step("write state"); err != nil {
		return err
	}
	if err := writeSynced(next, s.text()); err != nil {
		return fmt.Errorf("write the state of the table: %w", err)
	}
	if err := l.step("commit"); err != nil {
		return err
	}
	if err := os.Rename(next, l.stateName()); err != nil {
		return fmt.Errorf("replace the state of the table: %w", err)
	}
	if err := l.step("committed"); err != nil {
		return err
	}
	return durable.SyncDir(l.own)
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

const (
	fileMode  = 0o644
	dirMode   = 0o755
	temporary = ".tmp"
)

// localFile is a file that is being written.
type localFile struct {
	*os.File
	at *local
	as pending
}

// create implements store. The directory of the file is made now, while it can still be refused.
func (l *local) create(_ context.Context, name string, _ metadata) (newFile, error) {
	if err := l.step("directory"); err != nil {
		return nil, err
	}
	if err := makeDirs(filepath.Dir(l.fileName(name))); err != nil {
		return nil, err
	}
	_, err := os.Lstat(l.fileName(name))
	if err == nil {
		return nil, occupied(l, name)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := l.step("create"); err != nil {
		return nil, err
	}
	l.files++
	as := pending{Temporary: fmt.Sprintf("%s-%d%s", l.session, l.files, temporary), File: name}
	f, err := os.OpenFile(l.hidden(as.Temporary), os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	return &localFile{f, l, as}, err
}

func (f *localFile) pending() pending { return f.as }
func (f *localFile) close() error     { return f.Close() }

func (f *localFile) Write(p []byte) (int, error) {
	if err := f.at.step("write"); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *localFile) sync(context.Context) error {
	if err := f.at.step("sync"); err != nil {
		return err
	}
	return errors.Join(f.Sync(), durable.SyncDir(f.at.own))
}

func (l *local) place(_ context.Context, f pending) error {
	if err := l.step("rename"); err != nil {
		return err
	}
	file := l.fileName(f.File)
	if err := makeDirs(filepath.Dir(file)); err != nil {
		return err
	}
	err := os.Rename(l.hidden(f.Temporary), file)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(file) // renamed before a crash
		if errors.Is(err, fs.ErrNotExist) {
			return missing(l, f.File)
		}
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(file))
}

func (l *local) discard(f pending) {
	_ = os.Remove(l.hidden(f.Temporary)) // otherwise the next session does
}

func (l *local) clean(_ context.Context, _ []int32, kept []pending) error {
	entries, err := os.ReadDir(l.own)
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, temporary) && !slices.ContainsFunc(kept, func(f pending) bool { return f.Temporary == name }) {
			err = errors.Join(err, os.Remove(l.hidden(name)))
		}
	}
	return err
}

func (l *local) names(ctx context.Context, fn func(name string) bool) error {
	root, err := filepath.EvalSymlinks(l.dir) // WalkDir does not follow a link
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && d.Name() == hidden:
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err == nil && !fn(filepath.ToSlash(name)) {
			return filepath.SkipAll
		}
		return err
	})
}

// makeDirs creates a directory and its parents, so that they last.
func makeDirs(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDirs(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncDir(parent)
}
