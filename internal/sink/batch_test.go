package sink

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The last record of each key is kept, and the order is that of the keys' bytes: also of keys that
// are prefixes of others, end with NUL, are empty, or differ only far behind.
func TestLastVersions(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 300 {
		prefix := []string{"", "k", `{"device_id":"device-`}[round%3]
		tail := []string{"", "a", "a\x00", "\x00", "ab", "\xff", "abcdefgh", "abcdefgh\x00", "abcdefghi", "abcdefghj", "b"}
		last := make(map[string]int64)
		var records []*kgo.Record
		offsets := make(map[int32]int64)
		for range random.IntN(60) {
			key := prefix + tail[random.IntN(len(tail))]
			p := int32(len(key) % 3) //nolint:gosec // small
			offsets[p] += 1 + random.Int64N(3)
			records = append(records, &kgo.Record{Key: []byte(key), Partition: p, Offset: offsets[p]})
			last[key] = offsets[p]
		}
		var want, got []string
		for _, key := range slices.Sorted(maps.Keys(last)) {
			want = append(want, fmt.Sprintf("%q %d", key, last[key]))
		}
		for _, r := range lastVersions(records) {
			got = append(got, fmt.Sprintf("%q %d", r.Key, r.Offset))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round %d (-want +got)\n%s", round, diff)
		}
	}
}
