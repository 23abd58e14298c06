package operator

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// queue keeps rows under the second of their time until a watermark has passed them. Rows of one
// time come out by their lanes, and those of a lane as they went in: in which order lanes are read
// must not matter.
type queue struct {
	task          *Task
	rows, numbers uint16 // its entries
	next, saved   uint64 // number of the next row
	key           []byte
	origins       *origins // of the rows that wait
}

var nextKey = []byte("next")

func newQueue(task *Task, rows, numbers uint16) queue {
	return queue{task: task, rows: rows, numbers: numbers, origins: task.origins()}
}

func (q *queue) reset() {
	q.origins.clear()
	q.next = 0
	if v, ok := q.task.store.Get(q.numbers, 0, nextKey); ok && len(v) == 8 {
		q.next = binary.BigEndian.Uint64(v)
	}
	q.saved = q.next
}

// laneShift leaves 40 bits of an entry's number to count rows, and 24 to their lane.
const laneShift = 40

// put keeps a row. ctx is that of the record that it came from; nil where that is not traced.
func (q *queue) put(ctx context.Context, at int64, from lane, row []byte) {
	q.key = binary.BigEndian.AppendUint64(ordered(q.key[:0], at), uint64(from)<<laneShift|q.next) //nolint:gosec // lanes count from 0
	q.next++
	q.task.store.Put(q.rows, second(at), q.key, row)
	if q.origins != nil {
		q.origins.add(ctx, second(at), q.key)
	}
}

// origin is what stands for the record of a row that leaves, where it is traced.
func (q *queue) origin(at int64, key []byte) *kgo.Record {
	if q.origins == nil {
		return nil
	}
	defer q.origins.forget(second(at)-1, second(at), key)
	return q.origins.caused(second(at), key)
}

// release takes out the rows up to a time, in its order.
func (q *queue) release(upTo int64, fn func(at int64, row []byte, origin *kgo.Record)) {
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

func (q *queue) flush() {
	if q.next != q.saved {
		q.task.store.Put(q.numbers, 0, nextKey, binary.BigEndian.AppendUint64(nil, q.next))
		q.saved = q.next
	}
}
