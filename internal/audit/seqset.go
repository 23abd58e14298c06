package audit

import (
	"cmp"
	"maps"
	"math"
	"math/bits"
	"slices"
)

// seqSet is a set of non-negative sequence numbers that takes almost no memory while it is dense:
// it contains all numbers below dense, and a bitmap of 64-bit words for those above. The zero value
// is empty.
type seqSet struct {
	dense int64
	words map[int64]uint64 // bit n&63 of words[n>>6]; bits below dense are meaningless
}

// add adds n and reports whether it is new.
func (s *seqSet) add(n int64) bool {
	if n < s.dense {
		return false
	}
	if n == s.dense && len(s.words) == 0 {
		s.dense++
		return true
	}
	word, bit := n>>6, uint64(1)<<(n&63)
	if s.words[word]&bit != 0 {
		return false
	}
	if s.words == nil {
		s.words = make(map[int64]uint64)
	}
	s.words[word] |= bit
	s.absorb()
	return true
}

// absorb advances dense past the consecutive bits that follow it.
func (s *seqSet) absorb() {
	for len(s.words) > 0 {
		at := s.dense & 63
		run := int64(bits.TrailingZeros64(^(s.words[s.dense>>6] >> at)))
		if run == 0 {
			return
		}
		s.dense += run
		if s.dense&63 != 0 {
			return
		}
		delete(s.words, (s.dense-1)>>6)
	}
}

func (s *seqSet) has(n int64) bool {
	return n < s.dense || s.words[n>>6]&(1<<(n&63)) != 0
}

// missing returns the numbers below end that are not in the set.
func (s *seqSet) missing(end int64) ranges {
	var gaps ranges
	next := s.dense
	for _, word := range slices.Sorted(maps.Keys(s.words)) {
		for left := s.words[word]; left != 0; left &= left - 1 {
			n := word<<6 + int64(bits.TrailingZeros64(left))
			if n < next {
				continue
			}
			if n >= end {
				return gaps.with(next, end)
			}
			gaps = gaps.with(next, n)
			next = n + 1
		}
	}
	return gaps.with(next, end)
}

// present returns the numbers below end that are in the set.
func (s *seqSet) present(end int64) ranges {
	return ranges{}.with(0, end).minus(s.missing(end))
}

// run is the half-open interval [from, to).
type run struct{ from, to int64 }

// ranges is a set of numbers as ascending runs that neither overlap nor touch.
type ranges []run

// with appends a run that starts after all others; an empty run changes nothing.
func (r ranges) with(from, to int64) ranges {
	if from >= to {
		return r
	}
	if last := len(r) - 1; last >= 0 && r[last].to >= from {
		r[last].to = max(r[last].to, to)
		return r
	}
	return append(r, run{from, to})
}

// normalized sorts and merges runs.
func normalized(runs []run) ranges {
	slices.SortFunc(runs, func(a, b run) int { return cmp.Compare(a.from, b.from) })
	var r ranges
	for _, x := range runs {
		r = r.with(x.from, x.to)
	}
	return r
}

// minus returns the difference r \ other.
func (r ranges) minus(other ranges) ranges {
	var left ranges
	i := 0
	for _, x := range r {
		for i < len(other) && other[i].to <= x.from {
			i++
		}
		from := x.from
		for j := i; j < len(other) && other[j].from < x.to; j++ {
			left = left.with(from, other[j].from)
			from = other[j].to
		}
		left = left.with(from, x.to)
	}
	return left
}

// and returns the intersection.
func (r ranges) and(other ranges) ranges { return r.minus(r.minus(other)) }

// or returns the union.
func (r ranges) or(other ranges) ranges {
	return normalized(slices.Concat([]run(r), []run(other)))
}

// below returns the numbers less than n, and from the others.
func (r ranges) below(n int64) ranges { return r.and(ranges{}.with(math.MinInt64, n)) }
func (r ranges) from(n int64) ranges  { return r.and(ranges{}.with(n, math.MaxInt64)) }

// count returns how many numbers r contains, capped at math.MaxInt64.
func (r ranges) count() int64 {
	var n int64
	for _, x := range r {
		n = sum(n, x.to-x.from)
	}
	return n
}

// sum adds two counts, capped at math.MaxInt64: a corrupt sequence number can open a gap of almost
// that size.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// end returns one more than the largest number; 0 if r is empty.
func (r ranges) end() int64 {
	if len(r) == 0 {
		return 0
	}
	return r[len(r)-1].to
}
