package audit

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A seqSet behaves like a plain map, whatever the order of its numbers.
func TestSeqSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		top := rapid.Int64Range(1, 400).Draw(t, "top")
		order := rapid.SliceOfN(rapid.Int64Range(0, top-1), 0, 600).Draw(t, "order")
		if rapid.Bool().Draw(t, "nearly dense") {
			slices.Sort(order)
		}
		var s seqSet
		model := make(map[int64]bool)
		for _, n := range order {
			if isNew := s.add(n); isNew == model[n] {
				t.Fatalf("add(%d) = %v", n, isNew)
			}
			model[n] = true
		}
		end := rapid.Int64Range(0, top+100).Draw(t, "end")
		var missing, present ranges
		for n := range end {
			if s.has(n) != model[n] {
				t.Fatalf("has(%d) = %v", n, !model[n])
			}
			if model[n] {
				present = present.with(n, n+1)
			} else {
				missing = missing.with(n, n+1)
			}
		}
		if diff := cmp.Diff(missing, s.missing(end), compareRuns); diff != "" {
			t.Fatalf("missing (-want +got): %s", diff)
		}
		if diff := cmp.Diff(present, s.present(end), compareRuns); diff != "" {
			t.Fatalf("present (-want +got): %s", diff)
		}
	})
}

var compareRuns = cmp.AllowUnexported(run{})

// A dense stream takes no memory, and filling a gap releases what the gap took.
func TestSeqSetIsCompact(t *testing.T) {
	var s seqSet
	for n := range int64(1000) {
		if n != 100 {
			s.add(n)
		}
	}
	if s.add(100); s.dense != 1000 || len(s.words) > 1 {
		t.Errorf("dense to %d with %d words, want 1000 and at most 1", s.dense, len(s.words))
	}
}

func TestRanges(t *testing.T) {
	draw := func(t *rapid.T, name string) (ranges, map[int64]bool) {
		var runs []run
		in := make(map[int64]bool)
		for range rapid.IntRange(0, 6).Draw(t, name) {
			from := rapid.Int64Range(0, 40).Draw(t, "from")
			to := from + rapid.Int64Range(0, 10).Draw(t, "length")
			runs = append(runs, run{from, to})
			for n := from; n < to; n++ {
				in[n] = true
			}
		}
		return normalized(runs), in
	}
	rapid.Check(t, func(t *rapid.T) {
		a, inA := draw(t, "a")
		b, inB := draw(t, "b")
		for name, c := range map[string]struct {
			got  ranges
			want func(n int64) bool
		}{
			"minus": {a.minus(b), func(n int64) bool { return inA[n] && !inB[n] }},
			"and":   {a.and(b), func(n int64) bool { return inA[n] && inB[n] }},
			"or":    {a.or(b), func(n int64) bool { return inA[n] || inB[n] }},
			"below": {a.below(20), func(n int64) bool { return inA[n] && n < 20 }},
			"from":  {a.from(20), func(n int64) bool { return inA[n] && n >= 20 }},
		} {
			var want ranges
			for n := range int64(60) {
				if c.want(n) {
					want = want.with(n, n+1)
				}
			}
			if diff := cmp.Diff(want, c.got, compareRuns); diff != "" {
				t.Fatalf("%v %s %v (-want +got): %s", a, name, b, diff)
			}
		}
	})
}

func TestCountsDoNotWrap(t *testing.T) {
	r := ranges{{math.MinInt64 / 4, 0}, {1, math.MaxInt64}}
	if n := r.count(); n != math.MaxInt64 {
		t.Errorf("count = %d, want the largest", n)
	}
}
