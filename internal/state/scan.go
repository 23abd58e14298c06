package state

import (
	"slices"
	"strings"
)

// scanScratch is memory reused across scans.
type scanScratch struct {
	entries []*entry
	key     []byte
}

// Scan calls fn with the entries of op and window, as seen by the open transaction, in byte order
// of their keys, until fn returns false. fn must not modify the store; key and value are valid only
// during the call. After an I/O error of the local copy, entries may be missing; see Err.
func (s *Store) Scan(op uint16, window int64, fn func(key, value []byte) bool) {
	if sp := s.space(op, window); sp != nil {
		s.scan(sp, fn)
	}
}

func (s *Store) scan(sp *space, fn func(key, value []byte) bool) {
	x := s.scratch
	if x == nil {
		x = &scanScratch{}
	}
	s.scratch = nil // fn may scan another window
	x.gather(s, sp)
	if sp.complete {
		for _, e := range x.entries {
			if value, ok := s.value(e); ok {
				if x.key = append(x.key[:0], e.key...); !fn(x.key, value) {
					break
				}
			}
		}
	} else {
		s.scanDisk(sp, x, fn)
	}
	clear(x.entries)
	s.scratch = x
}

// gather collects and sorts the entries in memory for a scan of sp: all entries if sp is complete,
// otherwise only the overlay, since the disk has the base.
func (x *scanScratch) gather(s *Store, sp *space) {
	x.entries = x.entries[:0]
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
	slices.SortFunc(x.entries, func(a, b *entry) int { return strings.Compare(a.key, b.key) })
}

// scanDisk merges the overlay's entries with those on disk; the overlay takes precedence.
func (s *Store) scanDisk(sp *space, x *scanScratch, fn func(key, value []byte) bool) {
	overlay := x.entries
	// put passes the next overlay entry to fn and reports whether to continue.
	put := func() bool {
		e := overlay[0]
		overlay = overlay[1:]
		value, ok := s.value(e)
		if !ok {
			return true
		}
		x.key = append(x.key[:0], e.key...)
		return fn(x.key, value)
	}
	goOn := true
	err := s.disk.scan(sp.op, sp.window, func(key, value []byte) bool {
		for goOn && len(overlay) > 0 && overlay[0].key < string(key) {
			goOn = put()
		}
		switch {
		case !goOn:
		case len(overlay) > 0 && overlay[0].key == string(key):
			goOn = put()
		default:
			goOn = fn(key, value)
		}
		return goOn
	})
	if err != nil {
		s.fail(err)
		return
	}
	for goOn && len(overlay) > 0 {
		goOn = put()
	}
}
