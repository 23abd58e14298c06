package state

import "errors"

// change is a change to one entry by the open transaction.
type change struct {
	entry   *entry
	space   *space
	value   []byte // nil if deleted
	deleted bool
}

const (
	maxChanges     = 1 << 16 // bounds the memory that the overlay keeps between transactions
	changeOverhead = 400     // bytes: the entry, its change, and its record for the changelog
	changeCopies   = 3       // of a change's key and value: here, in the client and in the database's batch
)

// Put sets an entry in the overlay. It copies key and value; a nil value is equivalent to an empty
// one.
func (s *Store) Put(op uint16, window int64, key, value []byte) {
	sp := s.ensureSpace(op, window)
	e := s.find(sp, key)
	if e == nil {
		base := absent
		if !sp.complete {
			base = unknown // only Delete needs to know
		}
		e = s.add(sp, key, base)
	}
	if e.change == 0 {
		if e.base != present {
			sp.live++
		}
		v := s.buffers.clone(value)
		s.bytes += int64(cap(v))
		s.open += changeOverhead + changeCopies*int64(len(key)+cap(v))
		s.changes = append(s.changes, change{entry: e, space: sp, value: v})
		e.change = int32(len(s.changes))
		return
	}
	c := &s.changes[e.change-1]
	if c.deleted {
		c.deleted = false
		sp.live++
		if e.base == present {
			sp.deleted--
		}
	}
	before := cap(c.value)
	c.value = s.buffers.replace(c.value, value)
	s.bytes += int64(cap(c.value) - before)
	s.open += changeCopies * int64(cap(c.value)-before)
}

// Delete deletes an entry in the overlay. Deleting an absent entry has no effect.
func (s *Store) Delete(op uint16, window int64, key []byte) {
	sp := s.space(op, window)
	if sp == nil {
		return
	}
	e := s.find(sp, key)
	if e == nil && !sp.complete {
		e = s.load(sp, key)
	}
	if e == nil {
		return
	}
	if e.change == 0 {
		s.open += changeOverhead + changeCopies*int64(len(key))
		s.changes = append(s.changes, change{entry: e, space: sp, deleted: true})
		e.change = int32(len(s.changes))
		sp.live--
		sp.deleted++
		return
	}
	c := &s.changes[e.change-1]
	if c.deleted {
		return
	}
	if e.base == unknown {
		s.resolve(sp, e)
	}
	s.bytes -= int64(cap(c.value))
	s.open -= changeCopies * int64(cap(c.value))
	s.buffers.release(c.value)
	c.value, c.deleted = nil, true
	sp.live--
	if e.base == present {
		sp.deleted++
	}
}

// written reports whether c changes the base: an entry created and deleted within the transaction
// doesn't.
func (c *change) written() bool { return !c.deleted || c.entry.base == present }

// Changes calls fn with the overlay as changelog records, in the order in which the entries were
// first changed. The record key encodes op, window and key; a nil value is a tombstone. Entries
// created and deleted within the transaction are omitted. The slices are valid until Commit, Abort
// or the next change to the same entry, and must not be modified.
func (s *Store) Changes(fn func(key, value []byte)) {
	for i := range s.changes {
		c := &s.changes[i]
		if !c.written() {
			continue
		}
		if need := prefixLen + len(c.entry.key); cap(s.records)-len(s.records) < need {
			// Slices passed to fn keep the old array alive.
			s.records = make([]byte, 0, max(2*cap(s.records), need, 4096))
		}
		start := len(s.records)
		s.records = appendKey(s.records, c.space.op, c.space.window, c.entry.key)
		fn(s.records[start:len(s.records):len(s.records)], c.value)
	}
}

// Commit merges the overlay into the base. It must be called only after the broker has confirmed
// the commit of the transaction that contains Changes; offset is the changelog's next offset after
// it. If Commit fails, neither the local copy nor the store is usable any more: see Err.
func (s *Store) Commit(offset int64) error {
	if err := s.Err(); err != nil {
		return err
	}
	if s.disk != nil {
		if err := s.disk.commit(s.changes, offset, s.count); err != nil {
			s.fail(err)
			return err
		}
	}
	s.offset = offset
	for i := range s.changes {
		c := &s.changes[i]
		e, sp := c.entry, c.space
		e.change = 0
		if c.deleted {
			if e.base == present {
				s.count--
				sp.deleted--
			}
			s.drop(sp, e)
			s.suspectEmpty(sp)
			continue
		}
		if e.base != present {
			s.count++
		}
		s.bytes -= int64(cap(c.value)) // setBase adds it again
		s.setBase(e, c.value)
	}
	s.endTxn()
	return s.err
}

// Abort drops the overlay.
func (s *Store) Abort() {
	for i := range s.changes {
		c := &s.changes[i]
		e, sp := c.entry, c.space
		e.change = 0
		s.bytes -= int64(cap(c.value))
		s.buffers.release(c.value)
		switch {
		case c.deleted && e.base == present:
			sp.live++
			sp.deleted--
		case e.base != present:
			if !c.deleted {
				sp.live--
			}
			s.drop(sp, e)
			if sp.complete { // entries on disk are unaffected
				s.suspectEmpty(sp)
			}
		}
	}
	s.endTxn()
}

func (s *Store) endTxn() {
	clear(s.changes)
	s.changes, s.open = s.changes[:0], 0
	if cap(s.changes) > maxChanges {
		s.changes = nil
	}
	s.records = s.records[:0]
	if cap(s.records) > maxChanges*prefixLen*4 {
		s.records = nil
	}
	s.settle()
	s.warm()
	s.last, s.lastEntry = nil, nil // so that the next use marks its space as touched
	s.txn++
	s.makeRoom()
}

var errOpenTransaction = errors.New("restore state: the open transaction has changes")
