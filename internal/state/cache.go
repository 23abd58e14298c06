package state

import (
	"cmp"
	"slices"
)

// staleAfter is the number of transactions after which an unused space's entries no longer get a
// second chance.
const staleAfter = 16

// load reads an entry from the base into memory; nil if the base doesn't have it.
func (s *Store) load(sp *space, key []byte) *entry {
	value, ok := s.fetch(sp, key)
	if !ok {
		return nil
	}
	if s.bytes > s.limit {
		s.makeRoom() // before adding the entry, so that it isn't evicted
	}
	e := s.add(sp, key, absent)
	s.setBase(e, value)
	sp.live++
	return e
}

// resolve determines whether the base has e, which was written without being read.
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

// onDisk reports whether the database has an entry of sp. It returns true after an error, when the
// answer is unknown.
func (s *Store) onDisk(sp *space) bool {
	if s.err != nil {
		return true
	}
	found := false
	err := s.disk.scan(sp.op, sp.window, nil, nil, func(_, _ []byte) bool {
		found = true
		return false
	})
	if err != nil {
		s.fail(err)
		return true
	}
	return found
}

// makeRoom evicts entries that the open transaction has not changed until the cache is a tenth
// below its size. It starts with the least recently used spaces. Spaces in recent use follow the
// clock algorithm: entries read or written since the last sweep get a second chance, and the hand
// is map iteration, which starts at a random position.
func (s *Store) makeRoom() {
	if s.disk == nil {
		return
	}
	size := s.disk.cfg.CacheBytes
	if s.limit = size; s.bytes <= size {
		return
	}
	s.cold = nil // entries loaded by warm may be evicted
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
	// The rest belongs to the open transaction: don't sweep again for each entry loaded.
	s.limit = max(size, s.bytes+size/10)
}

// sweep evicts entries of sp until the cache is down to target. It doesn't reuse the evicted
// values, since Get may have returned them.
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

// index finds the windows of a newly opened copy. Entries stay on disk until they are needed or
// warm reaches them, so the time to open doesn't depend on the size of the state.
func (s *Store) index() error {
	s.cold = firstKey
	return s.disk.windows(func(op uint16, window int64) { s.ensureSpace(op, window).complete = false })
}

// warm reads the next entries of a newly opened copy into memory, until all are loaded or the cache
// is half full. Read in database order, an entry costs a tenth of a single lookup, and once a
// window is complete, new keys in it need no disk lookup. warm must be called between transactions,
// when the disk has exactly the base.
func (s *Store) warm() {
	if s.cold == nil || s.err != nil {
		return
	}
	room := s.disk.cfg.CacheBytes / 2
	left := s.disk.cfg.warmAtOnce
	from := s.cold
	s.cold = nil
	var sp *space
	err := s.disk.walk(from, func(op uint16, window int64, key, value []byte) (goOn bool) {
		if sp == nil || sp.op != op || sp.window != window {
			if sp != nil {
				sp.complete = true
			}
			sp = s.ensureSpace(op, window)
		}
		if left == 0 || s.bytes > room {
			s.cold = appendKey(nil, op, window, key)
			return false
		}
		left--
		if s.find(sp, key) == nil {
			s.setBase(s.add(sp, key, absent), s.buffers.clone(value))
			sp.live++
		}
		return true
	})
	switch {
	case err != nil:
		s.fail(err)
	case s.bytes > room:
		s.cold = nil // the remaining entries stay on disk
	case s.cold == nil:
		s.warmed(sp)
	}
}

// warmed records that all entries are in memory; last is the window of the last one.
func (s *Store) warmed(last *space) {
	if last != nil {
		last.complete = true
	}
	s.count = 0
	for _, o := range s.ops {
		if o != nil {
			for _, sp := range o.sorted {
				s.count += sp.live
			}
		}
	}
}
