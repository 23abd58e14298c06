// Package state stores the keyed state of one task: the windows, timers and last values of the
// operators of one stage on one partition.
//
// An entry is named by operator, window and key. Changes of the open transaction form an overlay;
// [Store.Changes] turns it into records of a compacted changelog topic, which are written in the
// same Kafka transaction as outputs and offsets. Once the broker has confirmed the commit,
// [Store.Commit] merges the overlay into the base; [Store.Abort] drops it. The base therefore
// always equals the committed part of the changelog up to [Store.Offset], and a store is rebuilt by
// reading the changelog from there: [Store.Restore] for each record, then [Store.Restored].
//
// The base is kept in memory, or in memory in front of a pebble database: the local copy. The copy
// has no write-ahead log, since the changelog already is one. Each commit is a single batch that
// includes the changelog's offset. Pebble makes batches durable atomically and in order, so a crash
// leaves the state as of some earlier commit, and the tail of the changelog brings it up to date. A
// copy that can't be proved clean is removed and rebuilt.
//
// The files, in reading order:
//
//	state.go              Config, Store, reading
//	key.go                op, window and key as one byte string: changelog record and database
//	space.go              entries in memory: one map for each (op, window), windows in order
//	overlay.go            Put, Delete, Changes, Commit, Abort
//	scan.go               entries in key order, overlay and disk merged
//	order.go              the sorted index of spaces that are read by range
//	restore.go            applying the changelog to the base
//	cache.go              the part of a disk base that is in memory: completeness, loading,
//	                      warming, eviction
//	disk.go               the pebble database: batches, offset, flushing, errors
//	copy.go               validating the local copy: marker, identity, age, removal
//	giveup.go             a full or broken disk: the first failed write ends the local copy
//	                      and nothing else
//	buffer.go             reuse of value buffers
//	descriptors_linux.go  whether enough file descriptors are left for a copy;
//	                      descriptors_other.go elsewhere
package state

import (
	"errors"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrLocked is returned if the local copy is open in another process or in another Store of this
// process.
var ErrLocked = errors.New("local copy of the state is open elsewhere")

// ErrDescriptors is returned if the process has too few file descriptors for another local copy.
var ErrDescriptors = errors.New("too few file descriptors")

// ErrNewer is returned if the local copy was written by a newer version of Weir.
var ErrNewer = errors.New("a newer version wrote the local copy of the state")

// Config configures the local copy of a task's state.
type Config struct {
	// Dir is the directory of the local copy and must contain nothing else; "" keeps the state in
	// memory only.
	Dir string
	// Identity identifies what the copy belongs to: pipeline, plan fingerprint, changelog topic id,
	// partition. A copy with another identity is removed.
	Identity string
	// CacheBytes is the memory for entries cached in front of the disk; default 256 MiB. The
	// overlay of the open transaction may exceed it.
	CacheBytes int64
	// MaxAge is the maximum age of a copy's last commit; default 12 h. The changelog's tombstones
	// may be compacted away after delete.retention.ms, and an older copy would keep the entries
	// they deleted, so MaxAge must stay well below that setting.
	MaxAge time.Duration
	// Logger receives one line for each copy that is rebuilt, and errors of the database; default
	// none.
	Logger *slog.Logger
	// Now is the clock for MaxAge and periodic flushes; default time.Now.
	Now func() time.Time

	fs         vfs.FS // default: the disk
	warmAtOnce int    // maximum number of entries loaded at the end of a transaction; default 2,000, which takes a millisecond or two
}

func (c Config) withDefaults() Config {
	if c.CacheBytes <= 0 {
		c.CacheBytes = 256 << 20
	}
	if c.MaxAge <= 0 {
		c.MaxAge = 12 * time.Hour
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.warmAtOnce <= 0 {
		c.warmAtOnce = 2000
	}
	if c.fs == nil {
		c.fs = vfs.Default
	}
	return c
}

// Store is the keyed state of one task. It must be used by one goroutine only.
type Store struct {
	ops     []*operator // by op; nil if the op has no entries
	changes []change    // the overlay, in order of first change
	offset  int64
	count   int // entries in the base

	// The last space and entry found. Operators read and then write the same key, usually in the
	// same window.
	last      *space
	lastIn    *space
	lastEntry *entry

	suspects []*space // may have become empty; see settle
	txn      uint64   // counts commits and aborts; the time base of eviction
	bytes    int64    // entries and their values, base and overlay
	open     int64    // that the open transaction's changes take: see Uncommitted
	spaces   int      // number of spaces
	limit    int64    // bytes above which entries are evicted
	cold     []byte   // database key at which warm continues; nil if done

	buffers buffers
	free    []*entry // entries to reuse
	records []byte   // keys passed to the callback of Changes
	scanner *scanner
	probe   []byte // database key of a lookup

	disk *disk // nil: memory only
	err  error
}

// Memory returns an empty store without a local copy.
func Memory() *Store { return &Store{} }

// Get returns the value of an entry as seen by the open transaction. The value must not be modified
// and is valid until the next Put, Delete, Commit or Abort. After an I/O error of the local copy,
// an existing entry may be reported as absent; see Err.
func (s *Store) Get(op uint16, window int64, key []byte) (value []byte, ok bool) {
	sp := s.space(op, window)
	if sp == nil {
		return nil, false
	}
	e := s.find(sp, key)
	if e == nil {
		if sp.complete {
			return nil, false
		}
		if e = s.load(sp, key); e == nil {
			return nil, false
		}
	}
	return s.value(e)
}

// value returns the value of e as seen by the open transaction.
func (s *Store) value(e *entry) ([]byte, bool) {
	if e.change != 0 {
		c := &s.changes[e.change-1]
		return c.value, !c.deleted
	}
	return e.value, true
}

// Windows returns, in ascending order, the windows in which the open transaction sees entries of
// op. The caller owns the slice.
func (s *Store) Windows(op uint16) []int64 {
	s.settle()
	if int(op) >= len(s.ops) || s.ops[op] == nil {
		return nil
	}
	sorted := s.ops[op].sorted
	windows := make([]int64, 0, len(sorted))
	for _, sp := range sorted {
		if s.populated(sp) {
			windows = append(windows, sp.window)
		}
	}
	return windows
}

// FirstWindow returns the first of Windows, without listing the others.
func (s *Store) FirstWindow(op uint16) (window int64, ok bool) {
	s.settle()
	if int(op) >= len(s.ops) || s.ops[op] == nil {
		return 0, false
	}
	for _, sp := range s.ops[op].sorted {
		if s.populated(sp) {
			return sp.window, true
		}
	}
	return 0, false
}

// Operators returns a number greater than every op that has, or has had, entries.
func (s *Store) Operators() int { return len(s.ops) }

// Err returns the first I/O error or corruption of the local copy, which Get and Scan can't report.
// It persists until Reset. After an error, results of the store must not be trusted: the
// transaction must be aborted and the store closed, and the next Open rebuilds the copy.
func (s *Store) Err() error {
	if s.err == nil && s.disk != nil && !s.disk.closed {
		if err := s.disk.background(); err != nil {
			s.fail(err)
		}
	}
	return s.err
}

// fail records the first error and ensures that no later Open trusts the copy.
func (s *Store) fail(err error) {
	if s.err == nil {
		s.err = err
		s.disk.distrust()
	}
}

// Offset returns the changelog offset up to which the base is complete: the first one that a
// restore must read. It is 0 for a new store.
func (s *Store) Offset() int64 { return s.offset }

// Len returns the number of entries in the base. It is exact without a local copy. With one, it is
// an estimate until all entries are in memory: an entry on disk that was overwritten without being
// read counts twice.
func (s *Store) Len() int { return s.count }

// Bytes returns the approximate memory in use: entries in memory, overlay, and the buffers of the
// database.
func (s *Store) Bytes() int64 {
	n := s.bytes + int64(s.spaces)*spaceOverhead + s.buffers.held + int64(cap(s.records))
	if s.disk != nil {
		n += s.disk.memory()
	}
	return n
}

// Uncommitted returns the approximate memory of the open transaction's changes, also on their way
// to changelog and local copy.
func (s *Store) Uncommitted() int64 { return s.open }

// Reset empties the store, including the overlay, and sets the offset to 0. It also clears Err,
// since the local copy is rebuilt.
func (s *Store) Reset() error {
	*s = Store{disk: s.disk, limit: s.limit}
	if s.disk == nil {
		return nil
	}
	s.limit = s.disk.cfg.CacheBytes
	if err := s.disk.recreate(); err != nil {
		s.fail(err)
		return err
	}
	return nil
}

// Flush makes the local copy durable up to Offset.
func (s *Store) Flush() error {
	if s.disk == nil {
		return nil
	}
	if err := s.Err(); err != nil {
		return err
	}
	if err := s.disk.flush(); err != nil {
		s.fail(err)
	}
	return s.err
}

// Close flushes and closes the local copy and releases its directory. The overlay is lost. Calling
// Close again has no effect. After Close, only Offset, Len and Err may be called.
func (s *Store) Close() error {
	if s.disk == nil || s.disk.closed {
		return nil
	}
	err := s.Flush()
	return errors.Join(err, s.disk.close())
}
