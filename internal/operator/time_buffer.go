package operator

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// timeBuffer stores rows under the second of their time until a watermark has passed them. Rows of
// equal time are released in the order of their lanes, and rows of a lane in the order in which
// they were put: the order in which lanes are read must not matter.
type timeBuffer struct {
	task          *Task
	rows, numbers uint16 // state entries: rows, and the number of the next row
	next, saved   uint64 // number of the next row
	key           []byte
	lineage       *lineage // of the waiting rows
}

var nextKey = []byte("next")

func newTimeBuffer(task *Task, rows, numbers uint16) timeBuffer {
	return timeBuffer{task: task, rows: rows, numbers: numbers, lineage: task.newLineage()}
}

func (q *timeBuffer) rollback() {
	q.lineage.clear()
	q.next = 0
	if v, ok := q.task.store.Get(q.numbers, 0, nextKey); ok && len(v) == 8 {
		q.next = binary.BigEndian.Uint64(v)
	}
	q.saved = q.next
}

// laneShift leaves 40 bits of an entry's number for the row counter, and 24 for the lane.
const laneShift = 40

// put stores a row. ctx is that of the record that it came from, or nil if it is not traced.
func (q *timeBuffer) put(ctx context.Context, at int64, from lane, row []byte) {
	q.key = ordered(q.key[:0], at)
	q.add(ctx, at, q.key, from, row)
}

// add stores a row like put, under a key that begins with its time.
func (q *timeBuffer) add(ctx context.Context, at int64, key []byte, from lane, row []byte) {
	q.key = binary.BigEndian.AppendUint64(key, uint64(from)<<laneShift|q.next) //nolint:gosec // lanes are not negative
	q.next++
	q.task.store.Put(q.rows, second(at), q.key, row)
	if q.lineage != nil {
		q.lineage.add(ctx, second(at), q.key)
	}
}

// origin returns a record with the context of a released row, or nil if it is not traced.
func (q *timeBuffer) origin(at int64, key []byte) *kgo.Record {
	if q.lineage == nil {
		return nil
	}
	defer q.lineage.forget(second(at)-1, second(at), key)
	return q.lineage.caused(second(at), key)
}

// release removes the rows with times up to upTo and calls fn with them in order.
func (q *timeBuffer) release(upTo int64, fn func(at int64, row []byte, origin *kgo.Record)) {
	for _, bucket := range q.task.store.Windows(q.rows) {
		if bucket > upTo {
			break
		}
		var keys, rows [][]byte
		q.task.store.Scan(q.rows, bucket, func(key, value []byte) bool {
			if unordered(key) > upTo {
				return false
			}
			keys, rows = append(keys, slices.Clone(key)), append(rows, slices.Clone(value))
			return true
		})
		for i, key := range keys {
			at := unordered(key)
			fn(at, rows[i], q.origin(at, key))
			q.task.store.Delete(q.rows, bucket, key)
		}
	}
}

func (q *timeBuffer) finishTransaction() {
	if q.next != q.saved {
		q.task.store.Put(q.numbers, 0, nextKey, binary.BigEndian.AppendUint64(nil, q.next))
		q.saved = q.next
	}
}
