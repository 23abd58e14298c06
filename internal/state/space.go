package state

import (
	"cmp"
	"slices"
)

const (
	entryOverhead = 100 // bytes: entry, map slot at average load, rounding of the key
	spaceOverhead = 300 // bytes: space, map header, index
	maxFreeSpaces = 4   // emptied maps that an operator keeps for its next windows
	maxFreeMap    = 1 << 16
	maxFree       = 1 << 16 // entries kept for reuse
)

// What is known of an entry's presence in the base.
type presence uint8

const (
	absent  presence = iota
	present          // entry.value is its value
	unknown          // not cached, and the database was not asked
)

// entry is one entry in memory. It is in the base, or in the overlay, or both.
type entry struct {
	key    string
	value  []byte // in the base, where present
	change int32  // 1 + its index in Store.changes; 0 where the open transaction leaves it alone
	base   presence
	used   bool // since the last sweep of the cache
}

// space holds the entries of one operator and window that are in memory. Outside of a transaction
// all are present in the base.
//
// Invariant: each space that has an entry in the base is in the index, even when all its entries
// are on disk only, so an unknown space has none and a new one starts complete. A space in the
// index without entries is one of those or waits for settle.
type space struct {
	op      uint16
	window  int64
	entries map[string]*entry
	peak    int // maximum number of entries so far: the capacity of a map never shrinks
	// complete: each entry in the base is in entries, so a miss needs no disk read. Always
	// true in memory.
	complete bool
	live     int    // entries that the open transaction sees
	deleted  int    // entries present in the base that the overlay deletes
	touched  uint64 // Store.txn of the last use
	suspect  bool   // in Store.suspects
	dropped  bool   // not in the index
}

// operator indexes the spaces of one op.
type operator struct {
	windows map[int64]*space
	sorted  []*space // by window
	free    []*space
}

// space returns the space of op and window, nil where neither base nor overlay has entries in it.
func (s *Store) space(op uint16, window int64) *space {
	if sp := s.last; sp != nil && sp.op == op && sp.window == window {
		return sp
	}
	if int(op) >= len(s.ops) || s.ops[op] == nil {
		return nil
	}
	sp := s.ops[op].windows[window]
	if sp != nil {
		sp.touched = s.txn
		s.last = sp
	}
	return sp
}

// ensureSpace returns the space of op and window and creates it where needed.
func (s *Store) ensureSpace(op uint16, window int64) *space {
	if sp := s.space(op, window); sp != nil {
		return sp
	}
	if int(op) >= len(s.ops) {
		s.ops = append(s.ops, make([]*operator, int(op)+1-len(s.ops))...)
	}
	o := s.ops[op]
	if o == nil {
		o = &operator{windows: map[int64]*space{}}
		s.ops[op] = o
	}
	sp := &space{}
	if n := len(o.free); n > 0 {
		sp = o.free[n-1]
		o.free = o.free[:n-1]
	}
	*sp = space{op: op, window: window, entries: sp.entries, peak: sp.peak, complete: true, touched: s.txn}
	o.windows[window] = sp
	i, _ := slices.BinarySearchFunc(o.sorted, window, byWindow)
	o.sorted = slices.Insert(o.sorted, i, sp)
	s.spaces++
	s.last = sp
	return sp
}

func byWindow(sp *space, window int64) int { return cmp.Compare(sp.window, window) }

// removeSpace removes an empty space from the index.
func (s *Store) removeSpace(sp *space) {
	o := s.ops[sp.op]
	delete(o.windows, sp.window)
	if i, ok := slices.BinarySearchFunc(o.sorted, sp.window, byWindow); ok {
		o.sorted = slices.Delete(o.sorted, i, i+1)
	}
	s.spaces--
	sp.dropped = true
	if s.last == sp {
		s.last = nil
	}
	s.lastEntry = nil
	if sp.peak <= maxFreeMap && len(o.free) < maxFreeSpaces {
		o.free = append(o.free, sp)
	}
}

// find returns the entry in memory, or nil.
func (s *Store) find(sp *space, key []byte) *entry {
	if e := s.lastEntry; e != nil && s.lastIn == sp && e.key == string(key) {
		return e
	}
	e := sp.entries[string(key)]
	if e != nil {
		e.used = true
		s.lastIn, s.lastEntry = sp, e
	}
	return e
}

// add creates an entry in sp, which must not have one with that key.
func (s *Store) add(sp *space, key []byte, base presence) *entry {
	e := &entry{}
	if n := len(s.free); n > 0 {
		e = s.free[n-1]
		s.free = s.free[:n-1]
	}
	*e = entry{key: string(key), base: base, used: true}
	if sp.entries == nil {
		sp.entries = map[string]*entry{}
	}
	sp.entries[e.key] = e
	sp.peak = max(sp.peak, len(sp.entries))
	s.bytes += entryOverhead + int64(len(key))
	s.lastIn, s.lastEntry = sp, e
	return e
}

// drop removes e from memory. Its value's buffer is reused, so nobody may hold it: not for
// evictions.
func (s *Store) drop(sp *space, e *entry) {
	s.forget(sp, e)
	s.buffers.release(e.value)
	*e = entry{}
	if len(s.free) < maxFree {
		s.free = append(s.free, e)
	}
}

// forget removes e from memory without reusing anything of it.
func (s *Store) forget(sp *space, e *entry) {
	delete(sp.entries, e.key)
	s.bytes -= entryOverhead + int64(len(e.key)) + int64(cap(e.value))
	if s.lastEntry == e {
		s.lastEntry = nil
	}
}

// setBase makes value, whose buffer the store owns, the value of e in the base.
func (s *Store) setBase(e *entry, value []byte) {
	s.bytes += int64(cap(value)) - int64(cap(e.value))
	s.buffers.release(e.value)
	e.value, e.base = value, present
}

// suspectEmpty queues a space that lost entries for settle.
func (s *Store) suspectEmpty(sp *space) {
	if !sp.suspect {
		sp.suspect = true
		s.suspects = append(s.suspects, sp)
	}
}

// settle removes the queued spaces that are empty. It asks the disk only about those that have
// entries nowhere else.
func (s *Store) settle() {
	for _, sp := range s.suspects {
		sp.suspect = false
		if sp.dropped || len(sp.entries) > 0 || (!sp.complete && s.onDisk(sp)) {
			continue
		}
		s.removeSpace(sp)
	}
	clear(s.suspects)
	s.suspects = s.suspects[:0]
}

// populated reports whether the open transaction sees entries in sp.
func (s *Store) populated(sp *space) bool {
	switch {
	case sp.live > 0:
		return true
	case sp.complete:
		return false
	case sp.deleted == 0:
		return true // in the index, not in memory: on disk
	}
	found := false
	s.scan(sp, func(_, _ []byte) bool {
		found = true
		return false
	})
	return found
}
