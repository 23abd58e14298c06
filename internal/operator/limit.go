package operator

import (
	"encoding/binary"

	"weir.example/weir/internal/plan"
)

// limit passes a number of rows, in the order of their arrival. Its only state entry counts the
// rows that have arrived, up to the last one that passes.
type limit struct {
	base
	op          *plan.Limit
	out         rowBatch
	seen, saved int64 // rows that have arrived, and the same in the state
}

var seenKey = []byte("seen")

func newLimit(b base, op *plan.Limit) (node, error) {
	l := &limit{base: b, op: op, out: rowBatch{Batch: batch(b.rel)}}
	l.rollback()
	return l, nil
}

func limitEntries(*plan.Limit) []movedEntry { return []movedEntry{keyedEntry(0, 0, nil, nil)} }

func (l *limit) rollback() {
	l.seen = 0
	if v, ok := l.task.store.Get(l.rel.State, 0, seenKey); ok {
		in := &reader{b: v}
		if l.seen = int64(in.count()); in.err != nil {
			l.task.fail(errState)
		}
	}
	l.saved = l.seen
}

func (l *limit) push(_ int, r *rowBatch) {
	l.out.clear()
	for i := range r.N {
		if l.seen == l.op.Skip+l.op.Rows {
			break
		}
		if l.seen++; l.seen > l.op.Skip {
			l.out.add(r, i)
		}
	}
	l.emit(&l.out)
}

func (l *limit) finishTransaction() {
	if l.seen != l.saved {
		l.task.store.Put(l.rel.State, 0, seenKey, binary.AppendUvarint(nil, uint64(l.seen))) //nolint:gosec // not negative
		l.saved = l.seen
	}
}
