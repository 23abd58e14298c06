package operator

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/state"
)

// expiry drops the state of keys that have not changed for the TTL of their relation. It is nil if
// state is kept forever; all methods accept that.
//
// A key is stamped with the time of its last change, rounded up to a 64th of the TTL, so that a key
// that changes all the time does not get a new stamp each time. It expires when the time of a row
// that reads it is the TTL past its stamp; this alone determines the rows that are emitted. At the
// end of each transaction, keys that no later row can read are deleted, oldest first.
//
// Time is the watermark after the row, or the time of the transaction if the relation has none of
// its own, see plan.Relation.EventTime. The stamp of a key that changes before there is a watermark
// is noTime, until there is one.
type expiry struct {
	task      *Task
	number    uint16 // of its entries in the state
	entry     uint16 // entries that are present if any key has state
	eventTime bool
	ttl, step int64 // microseconds
	keys      expiring

	now     int64 // with eventTime: the watermark
	tracked bool  // each key has a stamp
	saved   bool  // tracked is in the state
	pending bool  // there are stamps of noTime
	changed int   // stamps set in this transaction
}

// expiring is state of an operator that expires by key.
type expiring interface {
	// drop deletes the state of a key.
	drop(key []byte)
	// each calls fn with the keys from a key on, in order, until fn returns false. fn does not
	// change the store.
	eachKey(from []byte, fn func(key []byte) bool)
}

// Windows of an expiry's entries: those with a key's stamp have stamped, and each key has an entry
// whose window is its stamp.
const (
	stamped int64 = math.MaxInt64
	noTime        = minWatermark
)

// stampsOf is the number of the entries of an expiry in an operator's state. A regular join has
// one for each input.
const stampsOf = 3

// sweepKeys is how many keys a transaction deletes in addition to twice those that it stamps, so
// that deletions keep up with new keys. It keeps a transaction short.
const sweepKeys = 5000

// newExpiry returns the expiry of an operator's keys, nil if its state is kept forever. Its own
// entries have one number, and those of another are present if any key has state.
func newExpiry(b *base, ttl time.Duration, number, entry uint16, keys expiring) *expiry {
	x := &expiry{
		task: b.task, number: b.rel.State + number, entry: b.rel.State + entry, eventTime: b.rel.EventTime(),
		ttl: ttl.Microseconds(), step: max(1, ttl.Microseconds()/64), keys: keys,
	}
	if x.ttl == 0 {
		b.task.untracked = append(b.task.untracked, x)
		return nil
	}
	b.task.expiries = append(b.task.expiries, x)
	x.rollback()
	return x
}

// trackedKey is the key of a watermark entry that is present once all keys have stamps. It is
// deleted by a run without TTL, whose changes set no stamps.
func (x *expiry) trackedKey() []byte {
	return binary.BigEndian.AppendUint16([]byte(stampsPrefix), x.number)
}

// stampsPrefix starts the keys of the entries that tell how far the keys have stamps.
const stampsPrefix = "stamps of "

// kindOfTime is the value of the entry of trackedKey, and of untrackedFrom.
func (x *expiry) kindOfTime() byte {
	if x.eventTime {
		return 'e'
	}
	return 'p'
}

func (x *expiry) rollback() {
	if x == nil {
		return
	}
	v, ok := x.task.store.Get(watermarkEntry, 0, x.trackedKey())
	x.saved = ok && len(v) == 1 && v[0] == x.kindOfTime()
	_, used := x.task.store.FirstWindow(x.entry)
	x.tracked = x.saved || !used
	first, ok := x.task.store.FirstWindow(x.number)
	x.now, x.pending, x.changed = noTime, ok && first == noTime, 0
}

// advance sets the watermark.
func (x *expiry) advance(watermark int64) {
	if x == nil || watermark == maxWatermark || watermark <= x.now { // after the end of its inputs, time stops
		return
	}
	x.now = watermark
	if x.eventTime && !x.task.restoring {
		x.date(x.now)
	}
}

// at returns the time of a row.
func (x *expiry) at(r *rowBatch, i int) int64 {
	switch {
	case x == nil:
		return noTime
	case !x.eventTime:
		return x.task.now.UnixMicro()
	}
	if r.times == nil || r.times[i] == maxWatermark {
		return x.date(x.now)
	}
	return x.date(max(x.now, r.times[i]))
}

// time returns the time that no later row is before. now is that of the transaction.
func (x *expiry) time(now time.Time) int64 {
	if x.eventTime {
		return x.now
	}
	return now.UnixMicro()
}

// date replaces stamps of noTime once there is a time, which it returns.
func (x *expiry) date(at int64) int64 {
	if x != nil && x.pending && at != noTime {
		x.pending = false
		x.eachStamped(noTime, sweepKeys, func(key []byte) { x.set(key, noTime, x.stamp(at)) })
		first, ok := x.task.store.FirstWindow(x.number)
		x.pending = ok && first == noTime
	}
	return at
}

// stamp rounds a time up to the next multiple of the step.
func (x *expiry) stamp(at int64) int64 {
	if at == noTime {
		return noTime
	}
	rest := at % x.step
	if rest < 0 {
		rest += x.step
	}
	return at - rest + x.step
}

// passed reports whether the state of a key with a stamp has expired.
func (x *expiry) passed(stamp, at int64) bool {
	return stamp != noTime && at != noTime && stamp <= at-x.ttl
}

// expired reports whether the state of a key has expired at the time of a row. The caller drops it
// with restart.
func (x *expiry) expired(key []byte, at int64) bool {
	if x == nil || !x.tracked {
		return false
	}
	stamp, ok := x.lookUp(key)
	return ok && x.passed(stamp, at)
}

// drop deletes the state of a key and its stamp.
func (x *expiry) drop(key []byte) {
	x.forget(key)
	x.keys.drop(key)
}

func (x *expiry) lookUp(key []byte) (stamp int64, ok bool) {
	v, ok := x.task.store.Get(x.number, stamped, key)
	if !ok {
		return noTime, false
	}
	if len(v) != 8 {
		x.task.fail(errState)
	}
	return (&reader{b: v}).int64(), true
}

// touch records that the state of a key has changed. A row of a partition that is behind does not
// make the key older.
func (x *expiry) touch(key []byte, at int64) {
	if x == nil {
		return
	}
	stamp := x.stamp(at)
	old, known := x.lookUp(key)
	if known && (old == stamp || x.tracked && old > stamp) {
		return
	}
	x.changed++
	if !known {
		x.put(key, stamp)
		return
	}
	x.set(key, old, stamp)
}

func (x *expiry) put(key []byte, stamp int64) {
	x.pending = x.pending || stamp == noTime
	x.task.store.Put(x.number, stamped, key, appendInt(nil, stamp))
	x.task.store.Put(x.number, stamp, key, nil)
}

// set replaces the stamp of a key.
func (x *expiry) set(key []byte, old, stamp int64) {
	x.task.store.Delete(x.number, old, key)
	x.put(key, stamp)
}

// forget deletes the stamp of a key whose state the operator has deleted.
func (x *expiry) forget(key []byte) {
	if x == nil {
		return
	}
	if stamp, ok := x.lookUp(key); ok {
		x.task.store.Delete(x.number, stamp, key)
		x.task.store.Delete(x.number, stamped, key)
	}
}

// eachStamped calls fn with up to most keys of a stamp and returns their number. fn may change the
// store.
func (x *expiry) eachStamped(stamp int64, most int, fn func(key []byte)) int {
	var keys [][]byte
	x.task.store.ScanRange(x.number, stamp, nil, nil, func(key, _ []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return len(keys) < most
	})
	for _, key := range keys {
		fn(key)
	}
	return len(keys)
}

// due reports whether sweep has keys to delete or to stamp.
func (x *expiry) due(at time.Time) bool {
	now := x.time(at)
	if now == noTime {
		return false
	}
	first, ok := x.task.store.FirstWindow(x.number)
	return !x.tracked || ok && (first == noTime || first != stamped && x.passed(first, now))
}

// sweep deletes keys that have expired, as many as fit into a transaction, and counts them.
func (x *expiry) sweep() {
	most := sweepKeys + 2*x.changed
	x.changed = 0
	if x.tracked && !x.saved {
		x.save()
	}
	now := x.time(x.task.now)
	if now == noTime {
		return
	}
	x.date(now)
	if !x.tracked {
		x.track(now, most)
		return
	}
	for most > 0 {
		first, ok := x.task.store.FirstWindow(x.number)
		if !ok || first == stamped || !x.passed(first, now) {
			return
		}
		n := x.eachStamped(first, most, x.drop)
		if n == 0 {
			return // the local copy has failed
		}
		most -= n
		x.task.out.Expired += n
	}
}

// untrackedFrom is the key of a watermark entry with the first key that has not been stamped yet by
// track.
func (x *expiry) untrackedFrom() []byte {
	return append(x.trackedKey(), " from"...)
}

// track stamps up to most keys of a state from a run without TTL as if they had just changed.
// Nothing expires before all keys have a stamp.
func (x *expiry) track(now int64, most int) {
	store := x.task.store
	v, ok := store.Get(watermarkEntry, 0, x.untrackedFrom())
	var from []byte
	if ok && len(v) > 0 && v[0] == x.kindOfTime() {
		from = bytes.Clone(v[1:])
	}
	var keys [][]byte
	x.keys.eachKey(from, func(key []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return len(keys) < most
	})
	for _, key := range keys {
		if old, known := x.lookUp(key); !known || old != x.stamp(now) {
			if known {
				store.Delete(x.number, old, key)
			}
			x.put(key, x.stamp(now))
		}
	}
	if len(keys) < most {
		store.Delete(watermarkEntry, 0, x.untrackedFrom())
		x.save()
		return
	}
	next := append([]byte{x.kindOfTime()}, keys[len(keys)-1]...)
	store.Put(watermarkEntry, 0, x.untrackedFrom(), append(next, 0))
}

func (x *expiry) save() {
	x.task.store.Put(watermarkEntry, 0, x.trackedKey(), []byte{x.kindOfTime()})
	x.tracked, x.saved = true, true
}

// untrack records that changes of this run set no stamps.
func (x *expiry) untrack() {
	x.task.store.Delete(watermarkEntry, 0, x.trackedKey())
	x.task.store.Delete(watermarkEntry, 0, x.untrackedFrom())
}

// deleteKeys deletes the entries with a prefix.
func deleteKeys(store *state.Store, entry uint16, prefix []byte) {
	var keys [][]byte
	store.ScanPrefix(entry, 0, prefix, func(key, _ []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return true
	})
	for _, key := range keys {
		store.Delete(entry, 0, key)
	}
}

// eachEntry calls fn with the keys of entries.
func eachEntry(store *state.Store, entry uint16, from []byte, fn func(key []byte) bool) {
	store.ScanRange(entry, 0, from, nil, func(key, _ []byte) bool { return fn(key) })
}

// eachPrefix calls fn with what the keys of entries start with: the values of these columns.
func eachPrefix(t *Task, entry uint16, columns []*column.Column, from []byte, fn func(key []byte) bool) {
	var last []byte
	t.store.ScanRange(entry, 0, from, nil, func(key, _ []byte) bool {
		in := &reader{b: key}
		for _, c := range columns {
			c.Truncate(0)
			in.value(c)
		}
		if in.err != nil {
			t.fail(errState)
			return false
		}
		if prefix := key[:len(key)-len(in.b)]; last == nil || !bytes.Equal(prefix, last) {
			last = append([]byte{}, prefix...)
			return fn(last)
		}
		return true
	})
}

// ExpiryDue reports whether a transaction at this time would delete state that has expired.
// Deleting it frees space and has no other effect.
func (t *Task) ExpiryDue(now time.Time) bool {
	return slices.ContainsFunc(t.expiries, func(x *expiry) bool { return x.due(now) })
}

// Expire makes the transaction delete state that has expired by now.
func (t *Task) Expire(now time.Time, out *Output) error {
	t.begin(now, out)
	return t.err
}
