package spool

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// segment is a file of the spool.
type segment struct {
	number int64
	first  int64  // number of its first item
	salt   string // of its checksums
	path   string
	size   int64 // of its durable frames
	disk   int64 // of the file, which may have an end that was never durable
}

// writer is the state of the goroutine that writes; nobody else uses it while that runs.
type writer struct {
	s      *Spool
	epoch  int64
	next   map[string]int64 // sequence number of each device's next reading
	number int64            // of the next segment
	file   vfs.File         // of the active segment; nil if a new one must be created
	active *segment
	buf    []byte
	synced time.Time

	counters map[string]*counter // the devices' own numbers
	logged   time.Time           // when missing ones were last logged
}

// run writes pending entries until the spool is closed.
func (w *writer) run() {
	s := w.s
	defer close(s.stopped)
	for {
		<-s.wake
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		if !closed {
			time.Sleep(time.Until(w.synced.Add(s.cfg.SyncInterval))) // gather more entries
		}
		for w.step() {
		}
		if closed {
			return
		}
	}
}

// step does what is due, and reports whether there may be more.
func (w *writer) step() bool {
	group, makeRoom, renumber := w.take()
	if renumber {
		w.newEpoch()
	}
	if makeRoom || renumber {
		if err := w.rotate(); err != nil {
			w.report(err)
			w.finish(group, slices.Repeat([]error{err}, len(group)))
			return false
		}
	}
	if len(group) == 0 {
		return false
	}
	w.finish(group, w.write(group))
	return true
}

// take returns the pending entries of the next batch, and what to do before.
func (w *writer) take() (group []*appended, makeRoom, renumber bool) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	var n int
	var size int64
	for n < len(w.s.pending) && (n == 0 || size+w.s.pending[n].size <= maxBatch) {
		size += w.s.pending[n].size
		n++
	}
	group = w.s.pending[:n:n]
	w.s.pending = w.s.pending[n:]
	return group, w.s.makeRoom, w.s.renumber
}

// write makes a group of entries durable, and returns the outcome of each.
func (w *writer) write(group []*appended) []error {
	s := w.s
	outcomes := make([]error, len(group))
	fail := func(err error) []error {
		for i := range outcomes {
			if outcomes[i] == nil {
				outcomes[i] = err
			}
		}
		w.report(err)
		return outcomes
	}
	if w.file == nil || w.active.size >= s.cfg.SegmentBytes {
		if err := w.rotate(); err != nil {
			return fail(err)
		}
	}
	now := s.cfg.now()
	numbers := numbering{next: make(map[string]int64), counters: make(map[string]*counter)}
	var count, readings int64
	for i, a := range group {
		if outcomes[i] = w.assign(a, &numbers); outcomes[i] != nil {
			continue
		}
		if !a.repeated {
			count += a.entry.items(len(a.readings))
		}
		readings += int64(len(a.readings))
	}
	w.encode(group, outcomes, count, now)
	if _, err := w.file.Write(w.buf); err != nil {
		return fail(w.broken("write", err))
	}
	if err := w.file.SyncData(); err != nil {
		return fail(w.broken("sync", err))
	}
	w.synced = time.Now()
	w.report(nil)
	maps.Copy(w.next, numbers.next)
	w.keep(&numbers)
	s.mu.Lock()
	defer s.mu.Unlock()
	active := w.active
	active.size += int64(len(w.buf))
	active.disk = active.size
	s.used += int64(len(w.buf))
	if count > 0 {
		s.end += count
		s.arrivals = append(s.arrivals, arrival{s.end, now})
	}
	s.accepted.readings += readings
	s.accepted.rejected += count - readings
	for i, a := range group {
		if outcomes[i] == nil {
			s.accepted.entries++
			s.note(a.entry.Notes)
			if a.entry.Key != "" {
				s.keys[a.entry.Key] = remembered{a.entry.Digest, a.entry.Answer, now}
			}
			if d := a.entry.Delivery; d != nil {
				s.windows.add(d.Session, d.sent(), now)
			}
		}
	}
	select {
	case s.readable <- struct{}{}:
	default:
	}
	return outcomes
}

// numbering is the numbers that a batch assigns, which count only once it is durable.
type numbering struct {
	next  map[string]int64 // sequence number of the next reading, of the devices in the batch
	fresh int              // devices that the spool has never seen

	counters map[string]*counter // of the devices in the batch
	devices  Devices             // changes
	skipped  []skipped
}

// assign numbers the readings of an entry that are no repeats. The error is a FullError if there
// are too many devices.
func (w *writer) assign(a *appended, numbers *numbering) error {
	count := w.dropRepeats(a, numbers)
	var added []string
	for i := range a.readings {
		device := a.readings[i].DeviceID
		if _, ok := numbers.next[device]; ok {
			continue
		}
		n, known := w.next[device]
		numbers.next[device] = n
		if !known {
			added = append(added, device)
		}
	}
	if len(added) > 0 && len(w.next)+numbers.fresh+len(added) > w.s.cfg.MaxDevices {
		for _, device := range added {
			delete(numbers.next, device)
		}
		return &FullError{What: fmt.Sprintf("it numbers the readings of at most %d devices", w.s.cfg.MaxDevices)}
	}
	count()
	numbers.fresh += len(added)
	for i := range a.readings {
		r := &a.readings[i]
		r.Seq = numbers.next[r.DeviceID]
		numbers.next[r.DeviceID]++
	}
	return nil
}

// encode encodes the batch into w.buf.
func (w *writer) encode(group []*appended, outcomes []error, count int64, now time.Time) {
	b := appendBatch(beginFrame(w.buf[:0]), w.s.end, count, now, bootOf(w.s.id, w.epoch))
	for i, a := range group {
		if outcomes[i] != nil {
			continue
		}
		for j := range a.readings {
			b = appendReading(b, &a.readings[j], a.readings[j].Seq)
		}
		for j := range a.entry.Rejected {
			if !a.repeated {
				b = appendRejected(b, &a.entry.Rejected[j])
			}
		}
		for j := range a.entry.Messages {
			if !a.repeated {
				b = appendMessage(b, &a.entry.Messages[j])
			}
		}
		for j := range a.counts {
			b = appendCount(b, &a.counts[j])
		}
		for j := range a.entry.Notes {
			b = appendNote(b, &a.entry.Notes[j])
		}
		if a.entry.Key != "" {
			b = appendKey(b, a.entry.Key, &remembered{a.entry.Digest, a.entry.Answer, now})
		}
		if a.entry.Delivery != nil {
			b = appendDelivery(b, a.entry.Delivery)
		}
	}
	endFrame(b, w.active.salt)
	w.buf = b
}

// newEpoch numbers all devices from 0 under a new boot id, because the numbers in use are not known
// for certain. The time makes it differ from every earlier one.
func (w *writer) newEpoch() {
	w.epoch = max(w.epoch+1, w.s.cfg.now().Unix())
	w.next = make(map[string]int64)
}

// bootOf returns the boot id of readings.
func bootOf(id string, epoch int64) string {
	if epoch == 0 {
		return id
	}
	return fmt.Sprintf("%s.%d", id, epoch)
}

// finish tells the senders of a group their outcomes, in order.
func (w *writer) finish(group []*appended, outcomes []error) {
	w.s.mu.Lock()
	for i, a := range group {
		w.s.waiting -= a.size
		if a.entry.Key != "" {
			delete(w.s.inFlight, a.entry.Key)
		}
		if d := a.entry.Delivery; d != nil {
			key := sending{d.Session, d.sent()}
			if w.s.sending[key]--; w.s.sending[key] == 0 {
				delete(w.s.sending, key)
			}
		}
		var full *FullError
		if errors.As(outcomes[i], &full) {
			w.s.refused++
		}
	}
	w.s.mu.Unlock()
	for i, a := range group {
		if outcomes[i] != nil {
			a.done(Receipt{}, outcomes[i])
			continue
		}
		w.s.acknowledge(a.done, Receipt{Answer: a.entry.Answer, Repeated: a.repeated})
	}
}

// broken gives up the active segment, whose end is unknown after a failed write.
func (w *writer) broken(what string, err error) error {
	active := w.active
	if info, statErr := w.file.Stat(); statErr == nil {
		w.s.mu.Lock()
		w.s.used += info.Size() - active.disk
		active.disk = info.Size()
		w.s.mu.Unlock()
	}
	return writeError(what+" "+active.path, errors.Join(err, w.seal()))
}

// writeError wraps an error of the disk. A full disk is a FullError.
func writeError(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &FullError{What: what, Err: err}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// seal ends the active segment.
func (w *writer) seal() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	return f.Close()
}

// report keeps and logs the state of writing when it changes.
func (w *writer) report(err error) {
	w.s.mu.Lock()
	before := w.s.failing
	w.s.failing = err
	w.s.mu.Unlock()
	switch {
	case err != nil && before == nil:
		w.s.cfg.Logger.Error("the spool cannot be written: devices are refused until it can", "err", err)
	case err == nil && before != nil:
		w.s.cfg.Logger.Info("the spool can be written again")
	}
}

// rotate begins a new segment with a snapshot of all counters and keys.
func (w *writer) rotate() error {
	s := w.s
	s.mu.Lock()
	maps.DeleteFunc(s.keys, func(_ string, k remembered) bool { return s.expired(k) })
	s.windows.expire(s.cfg.now().Add(-s.cfg.KeyTTL))
	h := header{id: s.id, epoch: w.epoch, first: s.end, next: w.next, keys: s.keys, windows: s.windows, counters: w.counters, notes: s.notes}
	b := beginFrame(w.buf[:0])
	b = h.append(b)
	s.mu.Unlock()
	next := &segment{number: w.number, first: h.first, salt: randomHex(8), size: int64(len(b)), disk: int64(len(b))}
	next.path = s.cfg.fs.PathJoin(s.cfg.Dir, segmentName(next))
	endFrame(b, next.salt)
	w.buf = b
	file, err := createSegment(s.cfg.fs, s.cfg.Dir, next.path, b)
	if err != nil {
		return writeError("begin "+next.path, err)
	}
	w.number++
	err = w.seal()
	w.file, w.active = file, next
	s.mu.Lock()
	s.segments = append(s.segments, next)
	s.used += next.disk
	s.makeRoom, s.renumber = false, false
	s.mu.Unlock()
	s.deleteCommitted()
	return err
}

const (
	segmentSuffix   = ".spool"
	temporarySuffix = ".tmp"
)

func segmentName(g *segment) string {
	return fmt.Sprintf("%010d-%016d-%s%s", g.number, g.first, g.salt, segmentSuffix)
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// createSegment creates a segment under its name once its header is durable: a file of that name
// without a header is damaged.
func createSegment(fsys vfs.FS, dir, path string, head []byte) (f vfs.File, err error) {
	temporary := path + temporarySuffix
	if f, err = fsys.Create(temporary, vfs.WriteCategoryUnspecified); err != nil {
		return nil, err
	}
	_, err = f.Write(head)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = fsys.Rename(temporary, path)
	}
	if err == nil {
		err = syncDir(fsys, dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), ignoreAbsent(fsys.Remove(temporary)), ignoreAbsent(fsys.Remove(path)))
	}
	return f, nil
}

func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
