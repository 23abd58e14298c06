package state

import (
	"bytes"
	"slices"
)

// scanner is the memory of one scan, reused by later ones. It yields the entries in memory that the
// scan has to consider, in key order: all entries if the space is complete, otherwise at least the
// overlay's, since the disk has the base.
type scanner struct {
	cursor  cursor   // over the order of the space, if it has one
	entries []*entry // else collected and sorted
	read    int      // number of entries read
	head    *entry   // read from the cursor or entries, but not used yet
	key     []byte   // passed to fn
}

// Scan calls fn with the entries of op and window, as seen by the open transaction, in byte order
// of their keys, until fn returns false. fn must not modify the store; key and value are valid only
// during the call. After an I/O error of the local copy, entries may be missing; see Err.
//
// It costs a sort of all entries of the window that are in memory, unless ScanRange or ScanPrefix
// was called on the window before.
func (s *Store) Scan(op uint16, window int64, fn func(key, value []byte) bool) {
	if sp := s.space(op, window); sp != nil {
		s.scan(sp, nil, nil, fn)
	}
}

// ScanPrefix is like Scan for the keys that start with prefix, at the cost of ScanRange.
func (s *Store) ScanPrefix(op uint16, window int64, prefix []byte, fn func(key, value []byte) bool) {
	s.ScanRange(op, window, prefix, PrefixEnd(prefix), fn)
}

// ScanRange is like Scan for the keys in [from, to); a nil to is unbounded. It costs O(log n) for a
// window of n entries, plus the entries in the range: those passed to fn and those deleted by the
// open transaction. The first call for a window sorts its entries in memory, which are then kept
// in order until the window is empty.
func (s *Store) ScanRange(op uint16, window int64, from, to []byte, fn func(key, value []byte) bool) {
	sp := s.space(op, window)
	if sp == nil || to != nil && bytes.Compare(from, to) >= 0 {
		return
	}
	s.sort(sp)
	s.scan(sp, from, to, fn)
}

// scan calls fn with the entries of sp in [from, to). The bounds require an order.
func (s *Store) scan(sp *space, from, to []byte, fn func(key, value []byte) bool) {
	x := s.scanner
	if x == nil {
		x = &scanner{}
	}
	s.scanner = nil // fn may scan too
	x.start(s, sp, from, to)
	goOn := true
	for sp.complete {
		e := x.next()
		if e == nil {
			goOn = false
			break
		}
		if goOn = x.pass(s, e, fn); !goOn {
			break
		}
		if !sp.complete { // fn read an entry of another space, which evicted entries of this one
			from = append([]byte(e.key), 0)
		}
	}
	if goOn {
		s.scanDisk(sp, x, from, to, fn)
	}
	x.stop()
	s.scanner = x
}

// scanDisk calls fn with the entries of sp in [from, to), merging those in memory with those on
// disk. An entry in memory takes precedence: it is in the overlay, or equals the one on disk.
func (s *Store) scanDisk(sp *space, x *scanner, from, to []byte, fn func(key, value []byte) bool) {
	goOn := true
	err := s.disk.scan(sp.op, sp.window, from, to, func(key, value []byte) bool {
		for goOn && x.peek() != nil && x.peek().key < string(key) {
			goOn = x.pass(s, x.next(), fn)
		}
		switch {
		case !goOn:
		case x.peek() != nil && x.peek().key == string(key):
			goOn = x.pass(s, x.next(), fn)
		default:
			goOn = fn(key, value)
		}
		return goOn
	})
	if err != nil {
		s.fail(err)
		return
	}
	for goOn && x.peek() != nil {
		goOn = x.pass(s, x.next(), fn)
	}
}

func (x *scanner) start(s *Store, sp *space, from, to []byte) {
	if sp.order != nil {
		x.cursor.start(sp.order, from, to)
		return
	}
	if sp.complete {
		for _, e := range sp.entries {
			x.entries = append(x.entries, e)
		}
	} else {
		for i := range s.changes {
			if c := &s.changes[i]; c.space == sp {
				x.entries = append(x.entries, c.entry)
			}
		}
	}
	slices.SortFunc(x.entries, byKey)
}

// peek returns the entry that next will return.
func (x *scanner) peek() *entry {
	if x.head == nil {
		x.head = x.advance()
	}
	return x.head
}

// next returns the next entry in memory, or nil after the last one.
func (x *scanner) next() *entry {
	e := x.peek()
	x.head = nil
	return e
}

func (x *scanner) advance() *entry {
	if x.cursor.order != nil {
		return x.cursor.next()
	}
	if x.read == len(x.entries) {
		return nil
	}
	x.read++
	return x.entries[x.read-1]
}

// pass calls fn with e, unless the open transaction has deleted it, and reports whether to
// continue.
func (x *scanner) pass(s *Store, e *entry, fn func(key, value []byte) bool) bool {
	value, ok := s.value(e)
	if !ok {
		return true
	}
	x.key = append(x.key[:0], e.key...)
	return fn(x.key, value)
}

func (x *scanner) stop() {
	if x.cursor.order != nil {
		x.cursor.stop()
	}
	clear(x.entries)
	x.entries, x.read, x.head = x.entries[:0], 0, nil
}
