package state

import (
	"cmp"
	"slices"
)

// staleAfter is how many transactions a space must be unused for its entries to go without a second chance.
const staleAfter = 16

// load brings an entry of the base that is not in memory into it; nil where there is none.
func (s *Store) load(sp *space, key []byte) *entry {
	value, ok := s.fetch(sp, key)
	if !ok {
		return nil
	}
	if s.bytes > s.limit {
		s.makeRoom() // before the entry is there, so that it stays
	}
	e := s.add(sp, key, absent)
	s.setBase(e, value)
	sp.live++
	return e
}

// resolve finds out whether the base has e, which was written unread.
func (s *Store) resolve(sp *space, e *entry) {
	value, ok := s.fetch(sp, []byte(e.key))
	if ok {
		s.setBase(e, value)
	} else {
		e.base = absent
	}
}

// fetch reads an entry from disk.
func (s *Store) fetch(sp *space, key []byte) ([]byte, bool) {
	if s.err != nil {
		return nil, false
	}
	s.probe = appendKey(s.probe[:0], sp.op, sp.window, key)
	value, ok, err := s.disk.get(s.probe, &s.buffers)
	if err != nil {
		s.fail(err)
	}
	return value, ok
}

// onDisk reports whether the database has an entry of sp; also after an error, since then nothing is known.
func (s *Store) onDisk(sp *space) bool {
	if s.err != nil {
		return true
	}
	found := false
	err := s.disk.scan(sp.op, sp.window, func(_, _ []byte) bool {
		found = true
		return false
	})
	if err != nil {
		s.fail(err)
		return true
	}
	return found
}

// makeRoom evicts entries that the open transaction has not changed until the cache is a tenth below its size. It goes
// through the spaces from the least recently used; within those in use it is a clock: what was read or
// written since the last sweep gets a second chance. The map's iteration, which starts at random, is the clock's hand.
func (s *Store) makeRoom() {
	if s.disk == nil {
		return
	}
	size := s.disk.cfg.CacheBytes
	if s.limit = size; s.bytes <= size {
		return
	}
	target := size - size/10
	all := make([]*space, 0, s.spaces)
	for _, o := range s.ops {
		if o != nil {
			for _, sp := range o.sorted {
				if len(sp.entries) > 0 {
					all = append(all, sp)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *space) int { return cmp.Compare(a.touched, b.touched) })
	for _, secondChance := range []bool{true, false} {
		for _, sp := range all {
			s.sweep(sp, secondChance && sp.touched+staleAfter > s.txn, target)
		}
	}
	// What is left over belongs to the open transaction: don't sweep again for each entry that is loaded.
	s.limit = max(size, s.bytes+size/10)
}

// sweep evicts entries of sp until the cache is down to target. Evicted values are not reused: Get may have handed them
// out.
func (s *Store) sweep(sp *space, secondChance bool, target int64) {
	for _, e := range sp.entries {
		if s.bytes <= target {
			return
		}
		if e.change != 0 {
			continue
		}
		if secondChance && e.used {
			e.used = false
			continue
		}
		s.forget(sp, e)
		sp.live--
		sp.complete = false
	}
	if len(sp.entries) == 0 {
		sp.entries, sp.peak = nil, 0 // the map wouldn't shrink
	}
}

// warm reads the database into memory until the cache is half full. What follows is known only by its windows. A
// state that fits is complete afterwards, and each of its blocks has passed its checksum.
func (s *Store) warm() error {
	room := s.disk.cfg.CacheBytes / 2
	var sp *space
	return s.disk.walk(func(op uint16, window int64, key, value []byte) (skipWindow bool) {
		if sp == nil || sp.op != op || sp.window != window {
			sp = s.ensureSpace(op, window)
		}
		if s.bytes > room {
			sp.complete = false
			return true
		}
		s.setBase(s.add(sp, key, absent), s.buffers.clone(value))
		sp.live++
		s.count++
		return false
	})
}
