package operator

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestWatermarkMerger(t *testing.T) {
	type step struct {
		in        int
		watermark int64
		idle      bool
		want      int64
		wantIdle  bool
	}
	for name, steps := range map[string][]step{
		"the slowest input decides":                {{0, 5, false, minWatermark, false}, {1, 3, false, 3, false}, {1, 9, false, 5, false}},
		"an input never falls back":                {{0, 5, false, minWatermark, false}, {1, 5, false, 5, false}, {0, 2, false, 5, false}},
		"an idle input does not hold others back":  {{0, 5, false, minWatermark, false}, {1, minWatermark, true, 5, false}, {0, 7, false, 7, false}},
		"an input that resumes counts again":       {{0, 5, true, minWatermark, false}, {1, 3, false, 3, false}, {0, 6, false, 3, false}},
		"all idle: the furthest input decides":     {{0, 5, true, minWatermark, false}, {1, 3, true, 5, true}},
		"an ended input does not hold others back": {{0, maxWatermark, false, minWatermark, false}, {1, 3, false, 3, false}, {1, maxWatermark, false, maxWatermark, false}},
		"ended and idle":                           {{0, maxWatermark, false, minWatermark, false}, {1, 3, true, maxWatermark, false}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newWatermarkMerger(2)
			for i, s := range steps {
				got, idle := p.advance(s.in, s.watermark, s.idle)
				if got != s.want || idle != s.wantIdle {
					t.Fatalf("step %d: got %d, idle %v; want %d, %v", i, got, idle, s.want, s.wantIdle)
				}
			}
			p.reset()
			if got, idle := p.advance(0, 1, false); got != minWatermark || idle {
				t.Errorf("after reset: got %d, idle %v; want minWatermark of the other input", got, idle)
			}
		})
	}
}

// The merged watermark of inputs that are never idle is the minimum of their maxima and never
// decreases.
func TestWatermarkMergerIsMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inputs := rapid.IntRange(1, 5).Draw(t, "inputs")
		p, reached := newWatermarkMerger(inputs), make([]int64, inputs)
		for i := range reached {
			reached[i] = minWatermark
		}
		last := int64(math.MinInt64)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			in := rapid.IntRange(0, inputs-1).Draw(t, "in")
			watermark := rapid.Int64Range(-100, 100).Draw(t, "watermark")
			reached[in] = max(reached[in], watermark)
			got, idle := p.advance(in, watermark, false)
			if want := slices.Min(reached); got != want || idle || got < last {
				t.Fatalf("got %d, idle %v after %d; want %d", got, idle, last, want)
			}
			last = got
		}
	})
}
