package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The directory of a local copy:
//
//	LOCK             locked while a store is open
//	weir-state.json  marks a complete copy and contains its identity; no marker, no copy
//	db/              the pebble database
//
// The marker is written last when a copy is created and removed first when it is given up, so a
// crash in between never leaves a partial copy that looks complete.
const (
	lockFile   = "LOCK"
	markerFile = "weir-state.json"
	dbDir      = "db"
	copyFormat = 2 // format 1 had no position of its inputs
)

type marker struct {
	Format   int    `json:"format"`
	Identity string `json:"identity"`
}

var (
	errNoCopy   = errors.New("no local copy")
	errNotClean = errors.New("not clean")
)

// Open opens the local copy in cfg.Dir, or creates an empty one with offset 0. A copy that can't be
// proved clean is removed and the reason logged: its marker or offset is missing, it belongs to
// something else, it is too old, or one of its files is corrupt. A copy that can't be opened for
// lack of disk space is an error, although removing it would free some: the next task would fill
// that space again. If another process has the copy open, the error is ErrLocked. With an empty
// Dir, Open is equivalent to Memory.
//
// A copy is a cache: after any error, from Open or from the store, the caller can continue with
// [Memory] and the changelog.
func Open(cfg Config) (*Store, error) {
	if cfg.Dir == "" {
		return Memory(), nil
	}
	cfg = cfg.withDefaults()
	d := &disk{cfg: cfg, flushed: cfg.Now()}
	if err := checkDescriptors(); err != nil {
		return nil, err
	}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	s := &Store{disk: d, limit: cfg.CacheBytes}
	err := s.reuse()
	if err == nil {
		return s, nil
	}
	if errors.Is(err, ErrNewer) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil, errors.Join(err, d.close())
	}
	if errors.Is(err, errNoCopy) {
		cfg.Logger.Debug("new local copy of the state", slog.String("dir", cfg.Dir))
	} else {
		cfg.Logger.Warn("rebuilding local state", slog.String("dir", cfg.Dir), slog.Any("err", err))
	}
	if err := s.Reset(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return s, nil
}

// acquire creates the directory, which only its owner may access, and locks it.
func (d *disk) acquire() error {
	if err := d.cfg.fs.MkdirAll(d.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("open local copy: %w", err)
	}
	if d.cfg.fs == vfs.Default { // earlier versions created it with 0755
		if err := os.Chmod(d.cfg.Dir, 0o700); err != nil {
			d.cfg.Logger.Warn("cannot restrict the local copy to its owner", slog.String("dir", d.cfg.Dir), slog.Any("err", err))
		}
	}
	lock, err := d.cfg.fs.Lock(d.path(lockFile))
	var pathErr *fs.PathError
	switch {
	case errors.As(err, &pathErr): // the file can't be created; a lock held elsewhere is a bare errno
		return fmt.Errorf("lock local copy: %w", err)
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrLocked, d.cfg.Dir, err)
	}
	d.lock = lock
	return nil
}

// reuse opens and loads the existing copy. The error is the reason why it can't be used.
func (s *Store) reuse() (err error) {
	d := s.disk
	defer func() {
		if r := recover(); r != nil { // corruption not covered by a checksum
			err = fmt.Errorf("%w: %v", errNotClean, r)
		}
	}()
	if err := d.checkMarker(); err != nil {
		return err
	}
	if err := d.openDB(false); err != nil {
		return err
	}
	if err := d.verifyTables(); err != nil {
		return err
	}
	value, ok, err := d.get(metaKey, &s.buffers)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: it has no offset", errNotClean)
	}
	if d.meta, err = decodeMeta(value); err != nil {
		return err
	}
	if d.meta.identity != sha256.Sum256([]byte(d.cfg.Identity)) {
		return fmt.Errorf("%w: its database belongs to something else", errNotClean)
	}
	if reason := d.cfg.tooOld(d.meta.at); reason != "" {
		return fmt.Errorf("%w: %s", errNotClean, reason)
	}
	if err := s.index(); err != nil {
		return err
	}
	if err := d.background(); err != nil {
		return err
	}
	s.offset, s.count = d.meta.offset, d.meta.count
	s.last, s.lastEntry = nil, nil
	return nil
}

func (d *disk) checkMarker() error {
	b, err := readFile(d.cfg.fs, d.path(markerFile))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := d.cfg.fs.Stat(d.path(dbDir)); errors.Is(err, fs.ErrNotExist) {
			return errNoCopy
		}
		return fmt.Errorf("%w: its marker is missing", errNotClean)
	}
	if err != nil {
		return fmt.Errorf("read marker: %w", err)
	}
	var m marker
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("read marker: %w", err)
	}
	if m.Format > copyFormat {
		return fmt.Errorf("%w: it has format %d, and this Weir reads formats up to %d: run the newer Weir that wrote it, or remove the folder, which is rebuilt from the changelog", ErrNewer, m.Format, copyFormat)
	}
	if m.Format != copyFormat {
		return fmt.Errorf("%w: format %d, want %d", errNotClean, m.Format, copyFormat)
	}
	if m.Identity != d.cfg.Identity {
		return fmt.Errorf("%w: it belongs to %q, not to %q", errNotClean, m.Identity, d.cfg.Identity)
	}
	return nil
}

// verifyTables compares the size of each table file with the manifest.
func (d *disk) verifyTables() error {
	levels, err := d.db.SSTables()
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, tables := range levels {
		for i := range tables {
			t := &tables[i]
			if t.Virtual {
				continue
			}
			name := fmt.Sprintf("%06d.sst", t.BackingSSTNum)
			info, err := d.cfg.fs.Stat(d.cfg.fs.PathJoin(d.path(dbDir), name))
			if err != nil {
				return fmt.Errorf("check tables: %w", err)
			}
			if info.Size() != int64(t.Size) {
				return fmt.Errorf("%w: table %s has %d bytes, want %d", errNotClean, name, info.Size(), t.Size)
			}
		}
	}
	return nil
}

// recreate removes the copy and creates an empty one.
func (d *disk) recreate() error {
	if err := d.remove(); err != nil {
		return fmt.Errorf("remove local copy: %w", err)
	}
	d.failure.Store(nil)
	if err := d.openDB(true); err != nil {
		return err
	}
	d.meta = meta{at: d.cfg.Now(), identity: sha256.Sum256([]byte(d.cfg.Identity))}
	batch := d.db.NewBatch()
	defer batch.Close()
	if err := d.apply(batch, d.meta); err != nil {
		return err
	}
	if err := d.flush(); err != nil {
		return err
	}
	if err := d.writeMarker(); err != nil {
		return fmt.Errorf("write marker: %w", err)
	}
	return nil
}

func (d *disk) remove() error {
	d.distrust()
	if err := d.closeDB(); err != nil {
		d.cfg.Logger.Debug("close local copy", slog.String("dir", d.cfg.Dir), slog.Any("err", err))
	}
	if _, err := d.cfg.fs.Stat(d.path(markerFile)); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(errors.New("marker is still there"), err)
	}
	return d.cfg.fs.RemoveAll(d.path(dbDir))
}

// distrust makes the next Open rebuild the copy.
func (d *disk) distrust() {
	err := d.cfg.fs.Remove(d.path(markerFile))
	if err == nil {
		err = d.syncDir()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.cfg.Logger.Error("mark local copy as not clean", slog.String("dir", d.cfg.Dir), slog.Any("err", err))
	}
}

func (d *disk) writeMarker() error {
	b, err := json.MarshalIndent(marker{Format: copyFormat, Identity: d.cfg.Identity}, "", "  ")
	if err != nil {
		return err
	}
	temp := d.path(markerFile + ".tmp")
	f, err := d.cfg.fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(append(b, '\n')))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := d.cfg.fs.Rename(temp, d.path(markerFile)); err != nil {
		return err
	}
	return d.syncDir()
}

func (d *disk) syncDir() error {
	dir, err := d.cfg.fs.OpenDir(d.cfg.Dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (d *disk) path(name string) string { return d.cfg.fs.PathJoin(d.cfg.Dir, name) }

func (d *disk) openDB(create bool) (err error) {
	defer d.recoverFatal(&err)
	o := d.options()
	o.ErrorIfExists, o.ErrorIfNotExists = create, !create
	d.abandoned.Store(false)
	db, err := pebble.Open(d.path(dbDir), o)
	if err != nil {
		return errors.Join(fmt.Errorf("open local copy: %w", err), d.background())
	}
	d.db = db
	return d.background()
}

// closeDB closes the database without flushing it.
func (d *disk) closeDB() (err error) {
	defer d.recoverFatal(&err)
	if d.pending != nil {
		_ = d.pending.Close() // only frees memory
		d.pending = nil
	}
	if d.db == nil {
		return nil
	}
	db := d.db
	d.db = nil
	if d.abandoned.Load() {
		return nil
	}
	return db.Close()
}

func (d *disk) close() error {
	d.closed = true
	return errors.Join(d.closeDB(), d.lock.Close())
}

// maxMarker bounds the marker, which has an identity and some numbers.
const maxMarker = 1 << 20

func readFile(fsys vfs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMarker+1))
	if err == nil && len(b) > maxMarker {
		err = fmt.Errorf("it has more than %d bytes", maxMarker)
	}
	return b, err
}
