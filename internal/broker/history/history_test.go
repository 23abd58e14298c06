package history

import (
	"math/rand/v2"
	"slices"
	"testing"
)

const (
	writers, transactions, recordsEach = 3, 40, 4
)

// correct returns a history of interleaved transactions in which a broker did nothing wrong. Its
// reader Reads[0] was given a prefix of each partition.
func correct(rng *rand.Rand) History {
	var h History
	logs := make([][]Observation, recordsEach) // by partition
	for number := range transactions {
		for _, w := range rng.Perm(writers) {
			t := Transaction{Writer: string(rune('a' + w)), Number: number, Records: recordsEach, Outcome: Outcome(rng.IntN(3))}
			h.Transactions = append(h.Transactions, t)
			if t.Outcome == Aborted || t.Outcome == Unknown && rng.IntN(2) == 0 {
				continue
			}
			for i := range recordsEach {
				offset := int64(0)
				if n := len(logs[i]); n > 0 {
					offset = logs[i][n-1].Offset + 2 // control records take offsets
				}
				logs[i] = append(logs[i], Observation{Partition{"t", int32(i)}, offset, Record{t.Writer, number, i}})
			}
		}
	}
	h.Final.Reader = "final"
	early := Read{Reader: "early"}
	for _, log := range logs {
		h.Final.Seen = append(h.Final.Seen, log...)
		early.Seen = append(early.Seen, log[:len(log)/2]...)
	}
	h.Reads = []Read{early}
	return h
}

func TestCorrectHistory(t *testing.T) {
	for seed := range uint64(50) {
		if found := Check(correct(rand.New(rand.NewPCG(seed, 0)))); len(found) > 0 {
			t.Errorf("seed %d: %v", seed, found)
		}
	}
}

// Each way to break a correct history is found, by its name.
func TestMutations(t *testing.T) {
	// pick returns a position in the final read of a transaction with an outcome.
	pick := func(h History, rng *rand.Rand, outcome Outcome) int {
		for {
			i := rng.IntN(len(h.Final.Seen))
			r := h.Final.Seen[i].Record
			if slices.ContainsFunc(h.Transactions, func(t Transaction) bool {
				return t.Writer == r.Writer && t.Number == r.Transaction && t.Outcome == outcome
			}) {
				return i
			}
		}
	}
	without := func(seen []Observation, of Record) []Observation {
		return slices.DeleteFunc(seen, func(o Observation) bool {
			return o.Record.Writer == of.Writer && o.Record.Transaction == of.Transaction
		})
	}
	for name, m := range map[string]struct {
		want   Verdict
		mutate func(h *History, rng *rand.Rand)
	}{
		"an acknowledged transaction is gone": {Lost, func(h *History, rng *rand.Rand) {
			r := h.Final.Seen[pick(*h, rng, Committed)].Record
			h.Reads = nil
			h.Final.Seen = without(h.Final.Seen, r)
		}},
		"an unacknowledged transaction is gone after it was read": {Lost, func(h *History, rng *rand.Rand) {
			i := pick(*h, rng, Unknown)
			h.Reads = append(h.Reads, Read{"other", []Observation{h.Final.Seen[i]}})
			h.Final.Seen = without(h.Final.Seen, h.Final.Seen[i].Record)
		}},
		"a record is repeated": {Doubled, func(h *History, rng *rand.Rand) {
			again := h.Final.Seen[rng.IntN(len(h.Final.Seen))]
			again.Offset = 1 << 40
			h.Final.Seen = append(h.Final.Seen, again)
		}},
		"a record has moved": {Doubled, func(h *History, rng *rand.Rand) {
			i := rng.IntN(len(h.Final.Seen))
			moved := h.Final.Seen[i]
			moved.Offset++
			h.Reads = append(h.Reads, Read{"other", []Observation{moved}})
		}},
		"an aborted record is given to a reader": {AbortedRead, func(h *History, rng *rand.Rand) {
			i := slices.IndexFunc(h.Transactions, func(t Transaction) bool { return t.Outcome == Aborted })
			t := h.Transactions[i]
			h.Reads = append(h.Reads, Read{"other", []Observation{{Partition{"t", 0}, 1 << 40, Record{t.Writer, t.Number, rng.IntN(t.Records)}}}})
		}},
		"a record that was never written is visible": {AbortedRead, func(h *History, _ *rand.Rand) {
			h.Final.Seen = append(h.Final.Seen, Observation{Partition{"t", 0}, 1 << 40, Record{"a", transactions, 0}})
		}},
		"an acknowledged transaction lacks a record": {Torn, func(h *History, rng *rand.Rand) {
			i := pick(*h, rng, Committed)
			h.Final.Seen = slices.Delete(h.Final.Seen, i, i+1)
		}},
		"an unacknowledged transaction lacks a record": {Torn, func(h *History, rng *rand.Rand) {
			i := pick(*h, rng, Unknown)
			h.Reads = nil
			h.Final.Seen = slices.Delete(h.Final.Seen, i, i+1)
		}},
		"a reader goes back": {NonMonotonic, func(h *History, rng *rand.Rand) {
			h.Reads[0].Seen = append(h.Reads[0].Seen, h.Reads[0].Seen[rng.IntN(len(h.Reads[0].Seen))])
		}},
		"two records change places": {NonMonotonic, func(h *History, rng *rand.Rand) {
			h.Reads = nil
			i := rng.IntN(len(h.Final.Seen) - 1)
			for h.Final.Seen[i].Partition != h.Final.Seen[i+1].Partition {
				i = rng.IntN(len(h.Final.Seen) - 1)
			}
			h.Final.Seen[i], h.Final.Seen[i+1] = h.Final.Seen[i+1], h.Final.Seen[i]
		}},
		"a writer's transactions change places": {NonMonotonic, func(h *History, _ *rand.Rand) {
			h.Reads = nil
			seen := h.Final.Seen
			next := slices.IndexFunc(seen[1:], func(o Observation) bool { return o.Record.Writer == seen[0].Record.Writer }) + 1
			seen[0].Record, seen[next].Record = seen[next].Record, seen[0].Record
		}},
		"a position has another record": {NonMonotonic, func(h *History, _ *rand.Rand) {
			seen := slices.Clone(h.Final.Seen[:2])
			seen[0].Record, seen[1].Record = seen[1].Record, seen[0].Record
			h.Reads = append(h.Reads, Read{"other", seen})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(50) {
				rng := rand.New(rand.NewPCG(seed, 0))
				h := correct(rng)
				m.mutate(&h, rng)
				found := Check(h)
				if !slices.ContainsFunc(found, func(f Finding) bool { return f.Verdict == m.want }) {
					t.Errorf("seed %d: found %v, expected %q", seed, found, m.want)
				}
			}
		})
	}
}

func TestRecordText(t *testing.T) {
	r := Record{"writer-1", 12, 3}
	if got, err := ParseRecord(r.String()); err != nil || got != r {
		t.Errorf("%s was parsed as %v, %v", r, got, err)
	}
	for _, text := range []string{"", "a", "a/1", "a/x/1"} {
		if _, err := ParseRecord(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
