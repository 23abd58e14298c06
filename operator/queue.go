package operator

import (
	"encoding/binary"
	"slices"
)

// queue keeps rows under the second of their time until a watermark has passed them. Rows of one time come out as they went in.
type queue struct {
	task          *Task
	rows, numbers uint16 // its entries
	next, saved   uint64 // number of the next row
	key           []byte
}

var nextKey = []byte("next")

func (q *queue) reset() {
	q.next = 0
	if v, ok := q.task.store.Get(q.numbers, 0, nextKey); ok && len(v) == 8 {
		q.next = binary.BigEndian.Uint64(v)
	}
	q.saved = q.next
}

func (q *queue) put(at int64, row []byte) {
	q.key = binary.BigEndian.AppendUint64(ordered(q.key[:0], at), q.next)
	q.next++
	q.task.store.Put(q.rows, second(at), q.key, row)
}

// release takes out the rows up to a time, in its order. A row's key begins with its time: [unordered].
func (q *queue) release(upTo int64, fn func(key, row []byte)) {
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
			fn(key, rows[i])
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
