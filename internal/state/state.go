// Package state stores the keyed state of one task: the windows, timers and last values of the
// operators of one stage on one partition.
//
// An entry is named by operator, window and key. What the open transaction changes is an overlay;
// [Store.Changes] turns it into records of a compacted changelog topic, which are written in the
// same Kafka transaction as outputs and offsets. After the broker said committed, [Store.Commit]
// merges the overlay into the base; [Store.Abort] drops it. So the base holds exactly what the
// committed part of the changelog says, up to [Store.Offset], and a store is rebuilt by reading the
// changelog from there: [Store.Restore] for each record, then [Store.Restored].
//
// The base is memory, or memory in front of a pebble database: the local copy. The copy's
// write-ahead log is off, since the changelog is one already. Each commit is one batch that carries
// the changelog's offset with it, and pebble makes batches durable in order and whole, so what a
// crash leaves is the state as of some earlier commit; the tail of the changelog brings it up to
// date. A copy that can't be proved clean is removed and rebuilt.
//
// The files, in the order to read them:
//
//	state.go              Config, Store, reading
//	key.go                op, window and key as one byte string: changelog record and database
//	space.go              entries in memory: one map for each (op, window), windows in order
//	overlay.go            Put, Delete, Changes, Commit, Abort
//	scan.go               entries in key order, overlay and disk merged
//	restore.go            the changelog applied to the base
//	cache.go              the part of a disk base that is in memory: completeness, loading,
//	                      warming, eviction
//	disk.go               the pebble database: batches, offset, flushing, errors
//	copy.go               is the local copy clean? marker, identity, age, removal
//	giveup.go             a disk that is full or broken: the first failed write ends the local
//	                      copy, and nothing else
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

// ErrLocked is returned if another process, or another Store of this one, has the local copy open.
var ErrLocked = errors.New("local copy of the state is open elsewhere")

// ErrDescriptors is returned if the process has too few file descriptors for another local copy.
var ErrDescriptors = errors.New("too few file descriptors")

// ErrNewer is returned if a newer version of Weir wrote the local copy.
var ErrNewer = errors.New("a newer version wrote the local copy of the state")

// Config configures the local copy of a task's state.
type Config struct {
	// Dir is the directory of the local copy and holds nothing else; "" keeps the state in memory
	// only.
	Dir string
	// Identity names what the copy belongs to: pipeline, plan fingerprint, changelog topic id,
	// partition. A copy of something else is removed.
	Identity string
	// CacheBytes is the memory for entries in front of the disk; default 256 MiB. The overlay of
	// the open transaction may exceed it.
	CacheBytes int64
	// MaxAge is how old the last commit of a copy may be; default 12 h. The changelog's tombstones
	// may be compacted away after its delete.retention.ms, and an older copy would keep what they
	// deleted, so MaxAge must stay well below what the topic has.
	MaxAge time.Duration
	// Logger gets one line for each copy that is rebuilt, and errors of the database; default none.
	Logger *slog.Logger
	// Now is the clock for MaxAge and periodic flushes; default time.Now.
	Now func() time.Time

	fs         vfs.FS // default the disk
	warmAtOnce int    // entries that the end of a transaction reads into memory at most; default 2,000, a millisecond or two
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

// Store is the keyed state of one task. One goroutine uses it; no method may be called concurrently
// with another.
type Store struct {
	ops     []*operator // by op; nil where the op has no entries
	changes []change    // the overlay, in order of first change
	offset  int64
	count   int // entries in the base

	// The last space and entry found. Operators read and then write the same key, mostly in the
	// same window.
	last      *space
	lastIn    *space
	lastEntry *entry

	suspects []*space // may have become empty; see settle
	txn      uint64   // counts commits and aborts: the clock of eviction
	bytes    int64    // entries and their values, base and overlay
	spaces   int      // number of spaces
	limit    int64    // bytes beyond which entries are evicted
	cold     []byte   // database key at which warm continues; nil: done

	buffers buffers
	free    []*entry // entries to reuse
	records []byte   // keys handed out by Changes
	scratch *scanScratch
	probe   []byte // database key of a lookup

	disk *disk // nil: memory only
	err  error
}

// Memory returns an empty store without a local copy.
func Memory() *Store { return &Store{} }

// Get returns the value of an entry as the open transaction sees it. The value must not be changed
// and is valid until the next Put, Delete, Commit or Abort. After an I/O error of the local copy
// the entry may seem absent; see Err.
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

// value returns e as the open transaction sees it.
func (s *Store) value(e *entry) ([]byte, bool) {
	if e.change != 0 {
		c := &s.changes[e.change-1]
		return c.value, !c.deleted
	}
	return e.value, true
}

// Windows returns, ascending, the windows in which op has entries as the open transaction sees
// them. The slice is the caller's.
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

// Operators returns a number above those of all operators that have, or had, entries.
func (s *Store) Operators() int { return len(s.ops) }

// Err returns the first I/O error or corruption of the local copy, which Get and Scan can't report.
// It stays until Reset. After it, results of the store must not be trusted: the transaction must be
// aborted and the store closed, and the next Open rebuilds the copy.
func (s *Store) Err() error {
	if s.err == nil && s.disk != nil && !s.disk.closed {
		if err := s.disk.background(); err != nil {
			s.fail(err)
		}
	}
	return s.err
}

// fail records the first error and makes sure that no later Open trusts the copy.
func (s *Store) fail(err error) {
	if s.err == nil {
		s.err = err
		s.disk.distrust()
	}
}

// Offset returns the changelog offset that the base includes: the first one that a restore must
// read. It is 0 for a new store.
func (s *Store) Offset() int64 { return s.offset }

// Len returns the number of entries in the base. It is exact in memory. With a local copy it is an
// estimate until all entries are in memory: one that was overwritten unread while it was on disk
// counts twice.
func (s *Store) Len() int { return s.count }

// Bytes returns the approximate memory held: entries in memory, overlay, and the buffers of the
// database.
func (s *Store) Bytes() int64 {
	n := s.bytes + int64(s.spaces)*spaceOverhead + s.buffers.held + int64(cap(s.records))
	if s.disk != nil {
		n += s.disk.memory()
	}
	return n
}

// Reset empties the store including the overlay, and sets the offset to 0. It also clears Err,
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

// Close flushes and closes the local copy and releases its directory. The overlay is lost. A second
// Close does nothing. After Close, Offset, Len and Err can still be called, but no other method.
func (s *Store) Close() error {
	if s.disk == nil || s.disk.closed {
		return nil
	}
	err := s.Flush()
	return errors.Join(err, s.disk.close())
}
