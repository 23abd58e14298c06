// Package spool keeps accepted readings on disk until a producer has committed them to Kafka.
//
// An entry is what one request or message contains. Append makes it durable before it is
// acknowledged, and the spool is a replayable source for package produce, which commits the spool's
// position in the same transaction as the readings: each entry reaches Kafka exactly once, whenever
// the process is killed.
//
//	spool.go    Config, Spool: appending, capacity, idempotency keys
//	writer.go   the goroutine that numbers, writes and syncs batches
//	ack.go      acknowledging what is durable, or only what is committed in Kafka
//	entry.go    Entry and its encoding in a batch
//	delivery.go messages that senders repeat until they are acknowledged
//	counter.go  the devices' own numbers: repeats, and what is missing
//	frame.go    frames with checksums, headers of segments
//	recover.go  opening a directory: torn ends, damage
//	source.go   the spool as a replayable source; deleting what is committed
//	stats.go    the state of a spool, and its metrics
//
// # Files
//
// The directory has segments NUMBER-FIRST.spool, where FIRST is the number of the first item. An
// item is a reading or a rejected input; items are numbered from 0 for the whole life of a spool. A
// segment is a sequence of frames, each with a length and a checksum: first a header with a
// snapshot of all counters, notes and idempotency keys, then batches. A batch is what one fsync
// made durable, and the next one is written only after that. So an invalid frame at the end is a
// batch that was never acknowledged, and is ignored; an invalid frame before a valid one is damage,
// and is reported.
//
// Nothing is ever appended to a segment after a restart or a failed write. The next segment
// supersedes every batch in earlier ones whose items have its own numbers.
package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"weir.example/weir/reading"
)

// Config configures a spool.
type Config struct {
	Dir string

	MaxBytes     int64         // on the disk; default 4 GiB
	SegmentBytes int64         // size after which a new segment begins; default 64 MiB, at most a quarter of MaxBytes
	SyncInterval time.Duration // shortest time between two fsyncs; default 5 ms
	KeyTTL       time.Duration // how long idempotency keys, and the deliveries of silent sessions, are remembered; default 24 h
	MaxKeys      int           // idempotency keys remembered at a time; default 500,000
	MaxDevices   int           // default 1,000,000
	AckCommitted bool          // call done of Append only once the entry is committed in Kafka; default once it is durable

	Logger *slog.Logger

	fs  vfs.FS           // default vfs.Default
	now func() time.Time // default time.Now
}

func (c Config) withDefaults() Config {
	if c.MaxBytes == 0 {
		c.MaxBytes = 4 << 30
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 64 << 20
	}
	c.SegmentBytes = min(c.SegmentBytes, c.MaxBytes/4)
	if c.SyncInterval == 0 {
		c.SyncInterval = 5 * time.Millisecond
	}
	if c.KeyTTL == 0 {
		c.KeyTTL = 24 * time.Hour
	}
	if c.MaxKeys == 0 {
		c.MaxKeys = 500_000
	}
	if c.MaxDevices == 0 {
		c.MaxDevices = 1_000_000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.fs == nil {
		c.fs = vfs.Default
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c
}

// MinBytes is the smallest valid Config.MaxBytes: four of the largest entries.
const MinBytes = 4 * MaxEntry

// Validate returns an error for the first invalid setting. 0 stands for a default.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("the spool needs a directory")
	case c.MaxBytes != 0 && c.MaxBytes < MinBytes:
		return fmt.Errorf("the spool's size must be at least %d MiB, got %d bytes", MinBytes>>20, c.MaxBytes)
	case c.KeyTTL < 0:
		return fmt.Errorf("the time to live of idempotency keys must not be negative, got %s", c.KeyTTL)
	}
	return nil
}

// Limits of the bytes of entries.
const (
	MaxEntry = 16 << 20 // of an encoded entry

	maxBatch   = 4 << 20   // a batch takes no further entry beyond it
	maxPending = 128 << 20 // of entries that wait to be written
)

// Errors of Append. None of them leaves a trace of the entry.
var (
	ErrClosed   = errors.New("the spool is closed")
	ErrInFlight = errors.New("another request with the same idempotency key, or the same delivery, is in progress")
	ErrKeyBody  = errors.New("the idempotency key was already used for a different body")
	ErrTooLarge = fmt.Errorf("the entry is larger than %d MiB", MaxEntry>>20)
)

// FullError is returned by Append while the spool has no room. The sender should try again later.
type FullError struct {
	What string // completes "the spool has no room: …"
	Err  error  // nil unless the disk is the cause
}

// Error returns "the spool has no room: WHAT".
func (e *FullError) Error() string {
	text := "the spool has no room: " + e.What
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *FullError) Unwrap() error { return e.Err }

// Spool is a durable queue of entries. Append may be called concurrently; the source must be used
// by one goroutine.
type Spool struct {
	cfg      Config
	id       string
	lock     io.Closer
	stopped  chan struct{} // closed when the writer has ended
	wake     chan struct{} // tells the writer that there is something to do
	readable chan struct{} // tells the source that there are new items

	mu        sync.Mutex
	closed    bool
	pending   []*appended
	waiting   int64 // bytes of entries that are pending or being written
	inFlight  map[string]struct{}
	keys      map[string]remembered // durable idempotency keys
	sending   map[sending]int       // deliveries that are pending or being written
	windows   windows               // durable deliveries
	notes     map[string][]byte     // durable notes
	devices   Devices
	purged    time.Time  // when expired keys were last forgotten for lack of room
	segments  []*segment // on the disk, in order
	used      int64      // bytes of segments
	end       int64      // number after the last durable item
	committed int64      // number after the last item that is committed in Kafka; 0 while unknown
	makeRoom  bool       // start a new segment although the active one is small
	renumber  bool       // start a new boot id
	failing   error      // of the last write, nil if it succeeded
	damage    Damage
	refused   int64 // entries refused by a FullError
	accepted  counts
	arrivals  []arrival // of uncommitted batches, oldest first

	acks acks
	w    writer
}

// counts are of this process.
type counts struct{ readings, rejected, entries, repeated int64 }

// arrival is the time of a batch.
type arrival struct {
	end int64 // number after its last item
	at  time.Time
}

// Damage is what checksums have found to be unreadable.
type Damage struct {
	Places int64 // ranges of bytes
	Items  int64 // readings and rejected inputs that were lost
}

// Receipt is the outcome of Append.
type Receipt struct {
	Answer   []byte // of the entry that was stored under the key
	Repeated bool   // the entry's key or delivery, or the device's own number of each of its parts, is known
}

// appended is an entry that waits to be durable.
type appended struct {
	entry *Entry
	size  int64
	done  func(Receipt, error)

	readings []reading.Reading // of the entry without repeats
	counts   []Count           // likewise
	repeated bool              // there is nothing else
}

// Append stores an entry and calls done once it is durable, or with Config.AckCommitted once it is
// committed in Kafka; or with the reason why it is not. The calls for entries that are stored are
// made in the order of the appends, one at a time: done must neither block nor call the spool.
// Append itself never waits for the disk. The entry must not be changed afterwards.
func (s *Spool) Append(e *Entry, done func(Receipt, error)) {
	switch receipt, decided, err := s.enqueue(e, done); {
	case err != nil:
		done(receipt, err)
	case decided:
		s.acknowledge(done, receipt)
	}
}

// TryAppend is like Append, but returns the reason if it is already known why the entry cannot be
// stored; done is not called then.
func (s *Spool) TryAppend(e *Entry, done func(Receipt, error)) error {
	receipt, decided, err := s.enqueue(e, done)
	if err != nil {
		return err
	}
	if decided {
		s.acknowledge(done, receipt)
	}
	return nil
}

// Put stores an entry and returns when Append would call done. If ctx is done earlier, the entry
// may still be stored.
func (s *Spool) Put(ctx context.Context, e *Entry) (Receipt, error) {
	type outcome struct {
		receipt Receipt
		err     error
	}
	result := make(chan outcome, 1)
	s.Append(e, func(r Receipt, err error) { result <- outcome{r, err} })
	select {
	case o := <-result:
		return o.receipt, o.err
	case <-ctx.Done():
		return Receipt{}, ctx.Err()
	}
}

// enqueue hands an entry to the writer unless its outcome is already decided.
func (s *Spool) enqueue(e *Entry, done func(Receipt, error)) (r Receipt, decided bool, err error) {
	size := int64(e.size())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return r, true, ErrClosed
	case size > MaxEntry:
		return r, true, ErrTooLarge
	}
	if e.Key != "" {
		if k, known := s.keys[e.Key]; known && !s.expired(k) {
			if k.digest != e.Digest {
				return r, true, ErrKeyBody
			}
			s.accepted.repeated++
			return Receipt{Answer: k.answer, Repeated: true}, true, nil
		}
		if _, busy := s.inFlight[e.Key]; busy {
			return r, true, ErrInFlight
		}
	}
	if d := e.Delivery; d != nil && d.Again {
		if s.windows.has(d.Session, d.sent()) {
			s.accepted.repeated++
			return Receipt{Repeated: true}, true, nil
		}
		if s.sending[sending{d.Session, d.sent()}] > 0 {
			return r, true, ErrInFlight
		}
	}
	if err := s.room(e, size); err != nil {
		s.refused++
		return r, true, err
	}
	if d := e.Delivery; d != nil {
		s.sending[sending{d.Session, d.sent()}]++
	}
	if e.Key != "" {
		s.inFlight[e.Key] = struct{}{}
	}
	s.pending = append(s.pending, &appended{entry: e, size: size, done: done})
	s.waiting += size
	s.signal()
	return r, false, nil
}

// room returns a FullError if an entry of the given size must not be appended.
func (s *Spool) room(e *Entry, size int64) error {
	switch {
	case s.used+s.waiting+size > s.cfg.MaxBytes:
		if s.committed == s.end && !s.makeRoom { // the active segment holds nothing that is still needed
			s.makeRoom = true
			s.signal()
		}
		return &FullError{What: fmt.Sprintf("it holds %d of at most %d bytes that are not yet in Kafka", s.used+s.waiting, s.cfg.MaxBytes)}
	case s.waiting+size > maxPending && s.waiting > 0:
		return &FullError{What: fmt.Sprintf("%d bytes wait to be written to the disk", s.waiting)}
	case e.Key != "" && !s.roomForKey():
		return &FullError{What: fmt.Sprintf("it remembers %d idempotency keys, and cannot forget any before they are %s old", len(s.keys), s.cfg.KeyTTL)}
	}
	return nil
}

// roomForKey reports whether another key can be remembered.
func (s *Spool) roomForKey() bool {
	if now := s.cfg.now(); len(s.keys)+len(s.inFlight) >= s.cfg.MaxKeys && now.Sub(s.purged) >= time.Second {
		s.purged = now
		maps.DeleteFunc(s.keys, func(_ string, k remembered) bool { return s.expired(k) })
	}
	return len(s.keys)+len(s.inFlight) < s.cfg.MaxKeys
}

func (s *Spool) expired(k remembered) bool { return s.cfg.now().Sub(k.at) >= s.cfg.KeyTTL }

// signal wakes the writer.
func (s *Spool) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Notes returns the durable notes whose keys begin with a prefix.
func (s *Spool) Notes(prefix string) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[string][]byte)
	for key, value := range s.notes {
		if strings.HasPrefix(key, prefix) {
			found[key] = value
		}
	}
	return found
}

// note applies notes.
func (s *Spool) note(notes []Note) {
	for _, n := range notes {
		if n.Value == nil {
			delete(s.notes, n.Key)
		} else {
			s.notes[n.Key] = n.Value
		}
	}
}

// ID returns the identity of the spool, which begins the boot id of its readings.
func (s *Spool) ID() string { return s.id }

// Close stores what was appended and closes the spool.
func (s *Spool) Close() error {
	s.mu.Lock()
	already := s.closed
	s.closed = true
	s.signal()
	s.mu.Unlock()
	<-s.stopped
	s.GiveUp()
	if already {
		return nil
	}
	return errors.Join(s.w.seal(), s.lock.Close())
}
