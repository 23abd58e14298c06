package subscribe

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// The filters that are sent to a broker match each topic of the configured ones exactly once.
func TestDisjoint(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	for range 5000 {
		var filters []string
		for range rng.IntN(4) + 1 {
			var levels []string
			for range rng.IntN(3) + 1 {
				levels = append(levels, pick("a", "b", "+", "$x", ""))
			}
			if rng.IntN(4) == 0 {
				levels = append(levels, "#")
			}
			filters = append(filters, strings.Join(levels, "/"))
		}
		sent := disjoint(filters)
		for range 40 {
			var levels []string
			for range rng.IntN(4) + 1 {
				levels = append(levels, pick("a", "b", "c", "$x", ""))
			}
			topic := strings.Join(levels, "/")
			matches := func(f string) bool { return match(f, topic) }
			n := 0
			for _, f := range sent {
				if matches(f) {
					n++
				}
			}
			if wanted := slices.ContainsFunc(filters, matches); n > 1 || wanted && n == 0 {
				t.Fatalf("%q became %q, which match %q %d times", filters, sent, topic, n)
			}
		}
	}
}
