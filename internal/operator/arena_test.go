package operator

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestArena writes transactions of all sizes: kept bytes must not change until reuse, and new
// records must be empty.
func TestArena(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	var a arena
	used := int64(0)
	for range 50 {
		var kept []*kgo.Record
		var want [][]byte
		for range rng.IntN(3000) {
			r := a.record()
			used += recordBytes
			if r.Topic != "" || r.Key != nil || r.Value != nil || r.Context != nil {
				t.Fatalf("record is not empty: %v", r)
			}
			value := bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(300))
			if rng.IntN(500) == 0 {
				value = make([]byte, 2*bytesAtOnce)
			}
			b := append(a.room(64), value...)
			if rng.IntN(10) > 0 {
				b = a.keep(b)
				used += 2 * int64(len(b))
				r.Topic, r.Key, r.Value, r.Context = "t", b, append(b, 'x')[:len(b)], t.Context()
				kept, want = append(kept, r), append(want, value)
			}
		}
		for i, r := range kept {
			if !bytes.Equal(r.Value, want[i]) || !bytes.Equal(r.Key, want[i]) || r.Topic != "t" {
				t.Fatalf("record %d of %d has changed", i, len(kept))
			}
		}
		if a.used != used {
			t.Fatalf("%d bytes used, want %d", a.used, used)
		}
		used = 0
		if rng.IntN(5) == 0 {
			a = arena{}
		} else {
			a.reuse()
		}
	}
}

// TestArenaReuses writes transactions of the same size, which must not allocate, and then smaller
// ones, which must not retain memory that they don't need.
func TestArenaReuses(t *testing.T) {
	var a arena
	transaction := func(records int) {
		for range records {
			r := a.record()
			r.Value = a.keep(append(a.room(256), "0123456789"...))
		}
		a.reuse()
	}
	transaction(20_000)
	if n := testing.AllocsPerRun(10, func() { transaction(20_000) }); n > 4 {
		t.Errorf("%g allocations in a transaction like the one before", n)
	}
	transaction(1)
	transaction(1)
	if n := len(a.bytes.free) + len(a.records.free); n > 0 {
		t.Errorf("%d blocks are kept for a transaction of one record", n)
	}
}
