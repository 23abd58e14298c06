package operator

import (
	"bytes"
	"encoding/binary"
	"slices"

	"weir.example/weir/internal/column"
)

// The DISTINCT values of sessions are state entries of their own, so that a row adds at most one
// entry, and parts that merge keep theirs: a part lists the sets whose union it has. The values are
// counted once the session has ended. A set is named by the time of the row that began it, and its
// lane: two sets of a key with the same name can't exist at a time, because the second row would
// have joined the part of the first.

// remember adds a value, given as a distinctKey, to the sets of a part.
func (s *sessionWindow) remember(p *part, value []byte) {
	n := len(value)
	for _, set := range p.sets {
		value = appendSet(value[:n], set, p.lane)
		if _, known := s.task.store.Get(s.rel.State+sets, 0, value); known {
			return
		}
	}
	s.task.store.Put(s.rel.State+sets, 0, appendSet(value[:n], p.sets[0], p.lane), []byte{1})
}

const setBytes = 16

// appendSet appends the name of a set.
func appendSet(dst []byte, set int64, of lane) []byte {
	return binary.BigEndian.AppendUint64(ordered(dst, set), uint64(of)) //nolint:gosec // lanes are not negative
}

// countDistinct adds the DISTINCT values of a session's parts to its accumulators, and deletes
// them.
func (s *sessionWindow) countDistinct(key []byte, together []part, value []byte) []byte {
	names := make(map[string]bool)
	for _, p := range together {
		for _, set := range p.sets {
			names[string(appendSet(nil, set, p.lane))] = true
		}
	}
	for agg, distinct := range s.distincts {
		if !distinct {
			continue
		}
		prefix := appendBytes([]byte{byte(agg)}, key)
		var counted []byte
		var ended [][]byte
		s.task.store.ScanPrefix(s.rel.State+sets, 0, prefix, func(entry, _ []byte) bool {
			if n := len(entry) - setBytes; n >= len(prefix) && names[string(entry[n:])] {
				ended = append(ended, bytes.Clone(entry))
			}
			return true
		})
		for _, entry := range ended { // entries of equal values follow each other
			s.task.store.Delete(s.rel.State+sets, 0, entry)
			one := entry[len(prefix) : len(entry)-setBytes]
			if counted != nil && bytes.Equal(one, counted) {
				continue
			}
			counted = one
			value = s.addValue(agg, one, value)
		}
	}
	return value
}

// addValue adds an encoded value to the accumulator of a function.
func (s *sessionWindow) addValue(agg int, one, value []byte) []byte {
	c := &column.Column{Type: s.rel.Inputs[0].Cols[s.aggs[agg].Arg].Type}
	in := &reader{b: one}
	if in.value(c); in.err != nil {
		s.task.fail(errState)
		return value
	}
	state := read(&s.in, slices.Clone(value))
	var added []byte
	for i, acc := range s.accs {
		if i == agg {
			added = acc.add(added, state, c, 0)
		} else {
			added = acc.skip(added, state)
		}
	}
	return added
}

// elements returns where the values that functions collect for a set are.
func (s *sessionWindow) elements(key []byte, set int64, of lane) valuePlace {
	return elementsOf(s.task.store, s.rel.State+sets, 0, key, appendSet(nil, set, of)...)
}

// collectedIn returns where the collected values of a session's parts are: parts in the order of
// their starts, and the sets of a part in the order of the rows that began them.
func (s *sessionWindow) collectedIn(key []byte, together []part) (from []valuePlace) {
	if !s.collecting {
		return nil
	}
	for _, p := range together {
		for _, set := range slices.Sorted(slices.Values(p.sets)) {
			from = append(from, s.elements(key, set, p.lane))
		}
	}
	return from
}

// dropCollected deletes the values of a session that has been emitted.
func (s *sessionWindow) dropCollected(from []valuePlace) {
	for i, c := range s.collectors {
		for _, e := range from {
			if c != nil {
				e.clear(i)
			}
		}
	}
}
