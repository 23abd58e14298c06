package state

// Restore applies one committed record of the changelog to the base; a nil value is a tombstone.
// Records must be applied in changelog order, starting at Offset, while no transaction is open. The
// error is a malformed key or an I/O error.
//
// Records may reach the local copy before their offset does. That is safe: after a crash they are
// applied again, and a record contains the entry's value, not a change to it.
func (s *Store) Restore(key, value []byte) error {
	if s.err != nil {
		return s.err
	}
	if len(s.changes) > 0 {
		return errOpenTransaction
	}
	op, window, k, err := decodeKey(key)
	if err != nil {
		return err
	}
	if value == nil {
		if !s.restoreDelete(op, window, k) {
			return nil
		}
	} else {
		s.restorePut(op, window, k, value)
	}
	if s.disk == nil {
		return nil
	}
	if err := s.disk.restore(key, value); err != nil {
		s.fail(err)
		return err
	}
	if s.bytes > s.limit {
		s.makeRoom()
	}
	return nil
}

// restoreDelete removes an entry from memory and reports whether the disk may have it.
func (s *Store) restoreDelete(op uint16, window int64, key []byte) bool {
	sp := s.space(op, window)
	if sp == nil {
		return false
	}
	e := s.find(sp, key)
	if e == nil && sp.complete {
		return false
	}
	if e != nil {
		s.drop(sp, e)
		sp.live--
		s.count--
	}
	if len(sp.entries) == 0 {
		s.suspectEmpty(sp)
	}
	return true
}

func (s *Store) restorePut(op uint16, window int64, key, value []byte) {
	sp := s.ensureSpace(op, window)
	e := s.find(sp, key)
	if e == nil {
		e = s.add(sp, key, absent)
		sp.live++
		s.count++
	}
	if e.value == nil {
		s.setBase(e, s.buffers.clone(value))
		return
	}
	s.bytes -= int64(cap(e.value))
	e.value = s.buffers.replace(e.value, value)
	s.bytes += int64(cap(e.value))
}

// Restored sets the changelog offset up to which the base is complete. It completes a restore, and
// may also be called during a long one so that a crash doesn't lose all progress. It does not make
// the local copy younger: only Commit proves that the changelog was read to its end, tombstones
// included; see Config.MaxAge.
func (s *Store) Restored(offset int64) error {
	if err := s.Err(); err != nil {
		return err
	}
	if len(s.changes) > 0 {
		return errOpenTransaction
	}
	if s.disk != nil {
		if err := s.disk.restored(offset, s.count); err != nil {
			s.fail(err)
			return err
		}
	}
	s.offset = offset
	s.settle()
	s.last, s.lastEntry = nil, nil
	s.txn++
	s.makeRoom()
	return s.err
}
