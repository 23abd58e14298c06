package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

const (
	minMemTable = 1 << 20 // bytes
	maxMemTable = 16 << 20
	flushEvery  = 10 * time.Second // bounds what is replayed after a crash
	maxPending  = 4 << 20          // bytes of restored records per batch
)

// metaKey is shorter than every entry's key and sorts before them.
var (
	metaKey  = []byte{0}
	firstKey = []byte{0, 0}
)

// meta describes the state of the database. It is written in every batch, so it always matches the
// entries.
//
//	format   1 byte
//	offset   8 bytes, big endian
//	at       8 bytes, Unix milliseconds
//	count    8 bytes
//	identity 32 bytes, SHA-256 of Config.Identity
type meta struct {
	offset   int64
	at       time.Time // last time the changelog was known to be read to its end
	count    int
	identity [sha256.Size]byte
}

const (
	metaFormat = 1
	metaLen    = 1 + 3*8 + sha256.Size
)

func (m *meta) append(b []byte) []byte {
	b = append(b, metaFormat)
	b = binary.BigEndian.AppendUint64(b, uint64(m.offset))
	b = binary.BigEndian.AppendUint64(b, uint64(m.at.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(m.count))
	return append(b, m.identity[:]...)
}

func decodeMeta(b []byte) (m meta, err error) {
	if len(b) != metaLen || b[0] != metaFormat {
		return m, fmt.Errorf("offset record of an unknown format: %x", b)
	}
	m.offset = int64(binary.BigEndian.Uint64(b[1:]))
	m.at = time.UnixMilli(int64(binary.BigEndian.Uint64(b[9:])))
	m.count = int(binary.BigEndian.Uint64(b[17:]))
	copy(m.identity[:], b[25:])
	if m.offset < 0 || m.count < 0 {
		return m, fmt.Errorf("offset record with the offset %d and %d entries", m.offset, m.count)
	}
	return m, nil
}

// disk is the local copy. See copy.go for the layout of its directory.
type disk struct {
	cfg     Config
	lock    io.Closer
	db      *pebble.DB
	meta    meta
	pending *pebble.Batch // restored records that no read has needed yet
	flushed time.Time     // start of the last flush
	closed  bool

	failure   atomic.Pointer[error] // from the database's goroutines
	abandoned atomic.Bool           // the database can't even be closed
	record    []byte                // scratch for meta
}

// commit writes the overlay and its offset in one batch. count is the number of entries in the base
// before the commit.
func (d *disk) commit(changes []change, offset int64, count int) error {
	batch := d.db.NewBatch()
	defer batch.Close()
	for i := range changes {
		c := &changes[i]
		if !c.written() {
			continue
		}
		n := prefixLen + len(c.entry.key)
		if c.deleted {
			op := batch.DeleteDeferred(n)
			appendKey(op.Key[:0], c.space.op, c.space.window, c.entry.key)
			_ = op.Finish() // there is no index, so no error
			count--
			continue
		}
		op := batch.SetDeferred(n, len(c.value))
		appendKey(op.Key[:0], c.space.op, c.space.window, c.entry.key)
		copy(op.Value, c.value)
		_ = op.Finish()
		if c.entry.base != present {
			count++
		}
	}
	next := d.meta
	next.offset, next.at, next.count = offset, d.cfg.Now(), count
	return d.apply(batch, next)
}

// restore adds a changelog record to the pending batch.
func (d *disk) restore(key, value []byte) error {
	if d.pending == nil {
		d.pending = d.db.NewBatch()
	}
	var err error
	if value == nil {
		err = d.pending.Delete(key, nil)
	} else {
		err = d.pending.Set(key, value, nil)
	}
	if err == nil && d.pending.Len() > maxPending {
		err = d.settle()
	}
	if err != nil {
		return fmt.Errorf("restore local copy: %w", err)
	}
	return nil
}

// restored writes the pending records and their offset.
func (d *disk) restored(offset int64, count int) error {
	batch := d.pending
	d.pending = nil
	if batch == nil {
		batch = d.db.NewBatch()
	}
	defer batch.Close()
	next := d.meta
	next.offset, next.count = offset, count
	return d.apply(batch, next)
}

// settle makes pending records readable.
func (d *disk) settle() (err error) {
	defer d.recoverFatal(&err)
	if d.pending == nil {
		return nil
	}
	batch := d.pending
	d.pending = nil
	defer batch.Close()
	return d.db.Apply(batch, pebble.NoSync)
}

// apply writes batch and next atomically. It starts a flush every flushEvery, so that little must
// be replayed after a crash; a full memtable also starts one.
func (d *disk) apply(batch *pebble.Batch, next meta) (err error) {
	defer d.recoverFatal(&err)
	d.record = next.append(d.record[:0])
	if err := batch.Set(metaKey, d.record, nil); err != nil {
		return fmt.Errorf("write local copy: %w", err)
	}
	if err := d.db.Apply(batch, pebble.NoSync); err != nil {
		return fmt.Errorf("write local copy: %w", err)
	}
	d.meta = next
	now := d.cfg.Now()
	if now.Sub(d.flushed) >= flushEvery {
		d.flushed = now
		if _, err := d.db.AsyncFlush(); err != nil {
			return fmt.Errorf("flush local copy: %w", err)
		}
	}
	return nil
}

// get returns a copy of the value stored under an entry's key.
func (d *disk) get(key []byte, b *buffers) (value []byte, ok bool, err error) {
	defer d.recoverFatal(&err)
	if err := d.settle(); err != nil {
		return nil, false, fmt.Errorf("write local copy: %w", err)
	}
	v, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read local copy: %w", err)
	}
	value = b.clone(v)
	if err := closer.Close(); err != nil {
		return nil, false, fmt.Errorf("read local copy: %w", err)
	}
	return value, true, nil
}

// scan calls fn with the entries of one window whose keys are in [from, to), in key order, until fn
// returns false. A nil to is unbounded.
func (d *disk) scan(op uint16, window int64, from, to []byte, fn func(key, value []byte) bool) error {
	lower := appendKey(nil, op, window, from)
	var upper []byte
	if to != nil {
		upper = appendKey(nil, op, window, to)
	} else {
		upper = PrefixEnd(lower[:prefixLen])
	}
	return d.iterate(lower, upper, func(it *pebble.Iterator) {
		for ok := it.First(); ok; ok = it.Next() {
			if !fn(it.Key()[prefixLen:], it.Value()) {
				return
			}
		}
	})
}

// walk calls fn with all entries in order, starting at from, until fn returns false.
func (d *disk) walk(from []byte, fn func(op uint16, window int64, key, value []byte) (goOn bool)) error {
	var malformed error
	err := d.iterate(from, nil, func(it *pebble.Iterator) {
		for ok := it.First(); ok; ok = it.Next() {
			op, window, key, err := decodeKey(it.Key())
			if err != nil {
				malformed = err
				return
			}
			if !fn(op, window, key, it.Value()) {
				return
			}
		}
	})
	return errors.Join(err, malformed)
}

// windows calls fn with all windows that have entries, in order.
func (d *disk) windows(fn func(op uint16, window int64)) error {
	var malformed error
	err := d.iterate(firstKey, nil, func(it *pebble.Iterator) {
		for ok := it.First(); ok; {
			op, window, _, err := decodeKey(it.Key())
			if err != nil {
				malformed = err
				return
			}
			fn(op, window)
			end := PrefixEnd(it.Key()[:prefixLen])
			if end == nil {
				return
			}
			ok = it.SeekGE(end)
		}
	})
	return errors.Join(err, malformed)
}

func (d *disk) iterate(lower, upper []byte, fn func(*pebble.Iterator)) (err error) {
	defer d.recoverFatal(&err)
	if err := d.settle(); err != nil {
		return fmt.Errorf("write local copy: %w", err)
	}
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("read local copy: %w", err)
	}
	defer func() { // even if fn panics; Close returns the error that stopped the iterator
		if cerr := it.Close(); cerr != nil && err == nil {
			err = fmt.Errorf("read local copy: %w", cerr)
		}
	}()
	fn(it)
	return nil
}

// flush makes all writes durable. It returns any background error so far, including earlier ones.
func (d *disk) flush() (err error) {
	defer d.recoverFatal(&err)
	if err := d.settle(); err != nil {
		return fmt.Errorf("write local copy: %w", err)
	}
	d.flushed = d.cfg.Now()
	done, err := d.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("flush local copy: %w", err)
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		select {
		case <-done:
			return d.background()
		case <-time.After(wait):
			if err := d.background(); err != nil { // pebble would retry forever
				return err
			}
		}
	}
}

// memory returns the bytes used by the database: memtables and cached blocks.
func (d *disk) memory() int64 {
	if d.db == nil {
		return 0
	}
	m := d.db.Metrics()
	return int64(m.MemTable.Size) + m.BlockCache.Size
}

// background returns the first error of a flush or compaction. Pebble retries, but a copy that
// can't be flushed uses more and more memory and falls further and further behind.
func (d *disk) background() error {
	if p := d.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// report records the first failure of the database.
func (d *disk) report(err error) {
	err = fmt.Errorf("maintain local copy: %w", err)
	d.failure.CompareAndSwap(nil, &err)
}

func (d *disk) options() *pebble.Options {
	memTable := min(max(d.cfg.CacheBytes/4, minMemTable), maxMemTable)
	o := &pebble.Options{
		FS:                 newOnceFS(d.cfg.fs, d.report),
		DisableWAL:         true,
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       uint64(memTable), //nolint:gosec // at most maxMemTable
		// Memtables count towards the cache: one being written and one being flushed.
		CacheSize:    min(max(d.cfg.CacheBytes/4, 8<<20), 64<<20) + 2*memTable,
		MaxOpenFiles: 500,
		// The built-in check of file sizes ends the process from a goroutine; see verifyTables.
		DisableConsistencyCheck:    true,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
		Logger:                     quietLogger{d},
		EventListener: &pebble.EventListener{
			BackgroundError: d.report,
			DataCorruption:  func(i pebble.DataCorruptionInfo) { d.report(i.Details) },
		},
	}
	for i := range o.TargetFileSizes {
		// Each table has one filter block. A block larger than a shard of the block cache would be
		// read and discarded by every Get: 4 MiB of small entries have a filter of about 200 KiB.
		o.TargetFileSizes[i] = 4 << 20
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].FilterType = pebble.TableFilter
		o.Levels[i].IndexBlockSize = 256 << 10 // one per table instead of two levels, which each read would search
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	return o
}

// quietLogger discards the database's info lines and logs its errors, which Err reports too.
type quietLogger struct{ d *disk }

func (quietLogger) Infof(string, ...any) {}

func (l quietLogger) Errorf(format string, args ...any) {
	l.d.cfg.Logger.Warn("local copy of the state", slog.String("dir", l.d.cfg.Dir),
		slog.String("err", fmt.Sprintf(format, args...)))
}

// Fatalf must not return: the database can't continue. No data is lost, since the changelog has
// everything. If the store is the caller, Fatalf panics, and [recoverFatal] turns the panic into an
// error. A goroutine of the database exits, which leaves the database abandoned.
func (l quietLogger) Fatalf(format string, args ...any) {
	err := &fatalError{fmt.Errorf("local copy "+l.d.cfg.Dir+" failed: "+format, args...)}
	l.d.report(err)
	l.d.distrust()
	if bytes.Contains(debug.Stack(), []byte("weir.example/weir/internal/state.(*disk).")) {
		panic(err)
	}
	l.d.abandoned.Store(true)
	runtime.Goexit()
}

// fatalError is an error after which the database can't continue.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

// recoverFatal turns a panic of Fatalf into an error. The database must not be used or closed
// afterwards, since it may still hold its own locks.
func (d *disk) recoverFatal(err *error) {
	r := recover()
	if r == nil {
		return
	}
	fatal, ok := r.(*fatalError)
	if !ok {
		panic(r)
	}
	d.abandoned.Store(true)
	*err = errors.Join(*err, fatal)
}

// tooOld returns the reason why a copy last committed at that time can't be used, or "".
func (c *Config) tooOld(at time.Time) string {
	age := c.Now().Sub(at)
	switch {
	case age > c.MaxAge:
		return fmt.Sprintf("last commit %s ago, more than %s", age.Round(time.Second), c.MaxAge)
	case age < -time.Minute:
		return "last commit is in the future: the clock is wrong"
	}
	return ""
}
