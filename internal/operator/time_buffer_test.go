package operator

import (
	"cmp"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"weir.example/weir/internal/state"
)

// bufferedRow is a row of a lane, numbered by its order in the lane.
type bufferedRow struct {
	at   int64
	from lane
	seq  int
}

// bufferRun puts rows into a time buffer and releases them by watermarks. After each transaction it
// commits, or aborts and repeats the transaction, or restarts with the same store.
func bufferRun(t *rapid.T, rows []bufferedRow) []bufferedRow {
	store := state.Memory()
	task := &Task{store: store}
	b := newTimeBuffer(task, 1, 2)
	b.rollback()
	var all []bufferedRow
	watermark := minWatermark
	for len(rows) > 0 {
		n := rapid.IntRange(1, len(rows)).Draw(t, "rows of the transaction")
		upTo := max(watermark, rapid.Int64Range(-3_000_000, 3_000_000).Draw(t, "watermark"))
		transaction := func() (released []bufferedRow) {
			for _, r := range rows[:n] {
				b.put(t.Context(), r.at, r.from, binary.AppendVarint(binary.AppendVarint(nil, int64(r.from)), int64(r.seq)))
			}
			b.release(upTo, func(at int64, row []byte, _ *kgo.Record) {
				in := &reader{b: row}
				released = append(released, bufferedRow{at, lane(in.varint()), int(in.varint())})
				if at > upTo {
					t.Fatalf("released a row of %d at watermark %d", at, upTo)
				}
			})
			b.finishTransaction()
			return released
		}
		released := transaction()
		if rapid.Bool().Draw(t, "abort") {
			store.Abort()
			b.rollback()
			if again := transaction(); !slices.Equal(again, released) {
				t.Fatalf("the repeated transaction released %v, the aborted one %v", again, released)
			}
		}
		store.Changes(func(_, _ []byte) {})
		if err := store.Commit(store.Offset() + 1); err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "restart") {
			b = newTimeBuffer(task, 1, 2)
			b.rollback()
		}
		if !slices.IsSortedFunc(released, byTimeLaneSeq) {
			t.Fatalf("released out of order: %v", released)
		}
		all, rows, watermark = append(all, released...), rows[n:], upTo
	}
	b.release(maxWatermark, func(at int64, row []byte, _ *kgo.Record) {
		in := &reader{b: row}
		all = append(all, bufferedRow{at, lane(in.varint()), int(in.varint())})
	})
	if left := store.Windows(1); len(left) > 0 {
		t.Fatalf("entries left in buckets %v", left)
	}
	return all
}

func byTimeLaneSeq(a, b bufferedRow) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.from, b.from), cmp.Compare(a.seq, b.seq))
}

// A time buffer releases each row once, and the rows of one release in the order of time, lane and
// arrival within the lane, despite aborts and restarts.
func TestTimeBuffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := make([]bufferedRow, rapid.IntRange(1, 40).Draw(t, "rows"))
		for i := range rows {
			rows[i] = bufferedRow{rapid.Int64Range(-3, 3).Draw(t, "at") * 700_000, lane(rapid.IntRange(0, 3).Draw(t, "lane")), i}
		}
		got := bufferRun(t, rows)
		want := slices.Clone(rows)
		slices.SortFunc(got, byTimeLaneSeq)
		slices.SortFunc(want, byTimeLaneSeq)
		if !slices.Equal(got, want) {
			t.Fatalf("released %v, put %v", got, want)
		}
	})
}

// Regardless of how the rows of several lanes interleave, the buffer releases them in the same
// order.
func TestTimeBufferIgnoresInterleaving(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lanes := make([][]bufferedRow, 3)
		for l := range lanes {
			for seq := range rapid.IntRange(0, 6).Draw(t, "rows of the lane") {
				lanes[l] = append(lanes[l], bufferedRow{rapid.Int64Range(0, 2).Draw(t, "at") * 1_000_000, lane(l), seq})
			}
		}
		release := func(rows []bufferedRow) (released []bufferedRow) {
			task := &Task{store: state.Memory()}
			b := newTimeBuffer(task, 1, 2)
			for _, r := range rows {
				b.put(t.Context(), r.at, r.from, binary.AppendVarint(binary.AppendVarint(nil, int64(r.from)), int64(r.seq)))
			}
			b.release(maxWatermark, func(at int64, row []byte, _ *kgo.Record) {
				in := &reader{b: row}
				released = append(released, bufferedRow{at, lane(in.varint()), int(in.varint())})
			})
			return released
		}
		one := slices.Concat(lanes...)
		var other []bufferedRow
		for rest := slices.Clone(lanes); len(other) < len(one); {
			l := rapid.IntRange(0, len(rest)-1).Draw(t, "next lane")
			if len(rest[l]) > 0 {
				other, rest[l] = append(other, rest[l][0]), rest[l][1:]
			}
		}
		if a, b := release(one), release(other); !slices.Equal(a, b) {
			t.Fatalf("in the order %v released %v\nin the order %v released %v", one, a, other, b)
		}
	})
}
