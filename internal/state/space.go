package state

import (
	"cmp"
	"slices"
)

const (
	entryOverhead = 100 // bytes: entry, map slot at average load, rounding of the key
	spaceOverhead = 300 // bytes: space, map header, index
	maxFreeSpaces = 4   // emptied maps that an operator keeps for new windows
	maxFreeMap    = 1 << 16
	maxFree       = 1 << 16 // entries kept for reuse
)

// presence is what is known about an entry in the base.
type presence uint8

const (
	absent  presence = iota
	present          // entry.value is its value
	unknown          // not cached, and not looked up in the database
)

// entry is an entry in memory. It is in the base, the overlay or both.
type entry struct {
	key    string
	value  []byte // in the base, if present
	change int32  // 1 + index in Store.changes; 0 if the open transaction has not changed it
	base   presence
	used   bool // since the last sweep of the cache
}

// space contains the in-memory entries of one operator and window. Outside of a transaction, all of
// them are present in the base.
//
// Invariant: every space that has an entry in the base is in the index, even if all its entries are
// only on disk. A space that is not in the index is therefore empty, and a new one starts out
// complete. A space in the index without entries in memory either has them on disk or is queued for
// settle.
type space struct {
	op      uint16
	window  int64
	entries map[string]*entry
	order   *order // entries by key; nil if they were never read by range
	peak    int    // maximum number of entries so far: a map never shrinks
	// complete means that entries contains every entry of the base, so a miss needs no disk read.
	// Always true without a local copy.
	complete bool
	live     int    // entries seen by the open transaction
	deleted  int    // entries present in the base and deleted by the overlay
	touched  uint64 // Store.txn of the last use
	suspect  bool   // in Store.suspects
	dropped  bool   // not in the index
}

// operator indexes the spaces of an op.
type operator struct {
	windows map[int64]*space
	sorted  []*space // by window
	free    []*space
}

// space returns the space of op and window, or nil if neither base nor overlay has entries in it.
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

// ensureSpace returns the space of op and window, creating it if needed.
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

// find returns the entry if it is in memory, else nil.
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

// add creates an entry in sp, which must not have an entry with that key.
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
	if sp.order != nil {
		sp.order.insert(e)
		s.bytes += orderOverhead
	}
	s.lastIn, s.lastEntry = sp, e
	return e
}

// drop removes e from memory and recycles its value's buffer, to which no reference may exist: it
// is not suitable for evictions.
func (s *Store) drop(sp *space, e *entry) {
	s.forget(sp, e)
	s.buffers.release(e.value)
	*e = entry{}
	if len(s.free) < maxFree {
		s.free = append(s.free, e)
	}
}

// forget removes e from memory without recycling any of its memory.
func (s *Store) forget(sp *space, e *entry) {
	delete(sp.entries, e.key)
	s.bytes -= entryOverhead + int64(len(e.key)) + int64(cap(e.value))
	if sp.order != nil {
		sp.order.remove(e)
		s.bytes -= orderOverhead
	}
	if s.lastEntry == e {
		s.lastEntry = nil
	}
}

// setBase sets the value of e in the base. The store takes ownership of value's buffer.
func (s *Store) setBase(e *entry, value []byte) {
	s.bytes += int64(cap(value)) - int64(cap(e.value))
	s.buffers.release(e.value)
	e.value, e.base = value, present
}

// suspectEmpty queues a space that has lost entries for settle.
func (s *Store) suspectEmpty(sp *space) {
	if !sp.suspect {
		sp.suspect = true
		s.suspects = append(s.suspects, sp)
	}
}

// settle removes the queued spaces that are empty. It reads the disk only for spaces that may have
// entries there and have none in memory.
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
		return true // in the index but not in memory: on disk
	}
	found := false
	s.scan(sp, nil, nil, func(_, _ []byte) bool {
		found = true
		return false
	})
	return found
}
