package sink

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// buffer is the records of a session that are read, and not yet part of a batch.
type buffer struct {
	from    map[int32]int64 // where it begins, of every partition of the session
	read    map[int32]int64 // the next offset to read, of partitions of which something was read
	records []*kgo.Record
	bytes   int
	since   time.Time // when the first of them was read
}

func newBuffer() buffer {
	return buffer{from: make(map[int32]int64), read: make(map[int32]int64)}
}

// empty reports whether nothing was read, not even control records.
func (b *buffer) empty() bool { return len(b.read) == 0 }

// add adds a record that was read at a time, unless its partition was assigned before.
func (b *buffer) add(r *kgo.Record, at time.Time) {
	next, owned := b.from[r.Partition]
	if read, ok := b.read[r.Partition]; ok {
		next = read
	}
	if !owned || r.Offset < next {
		return
	}
	if b.empty() {
		b.since = at
	}
	b.read[r.Partition] = r.Offset + 1
	if !r.Attrs.IsControl() {
		b.records = append(b.records, r)
		b.bytes += sizeOf(r)
	}
}

func sizeOf(r *kgo.Record) int { return len(r.Key) + len(r.Value) }

// take moves the records to a batch, which begins where the buffer did.
func (b *buffer) take(p *prepared) {
	p.records, b.records = b.records, p.records[:0]
	p.bytes, p.since = b.bytes, b.since
	p.Batch.From, p.Batch.Next = make(map[int32]int64), make(map[int32]int64)
	for part, next := range b.read {
		p.Batch.From[part], p.Batch.Next[part] = b.from[part], next
	}
	maps.Copy(b.from, b.read)
	clear(b.read)
	b.bytes = 0
}

// back takes the records of a batch back.
func (b *buffer) back(p *prepared) {
	b.records = slices.Concat(p.records, b.records)
	b.bytes += p.bytes
	b.since = p.since
	for part, from := range p.Batch.From {
		b.from[part] = from
		b.read[part] = max(b.read[part], p.Batch.Next[part])
	}
}

// drop removes partitions.
func (b *buffer) drop(gone []int32) {
	for _, p := range gone {
		delete(b.from, p)
		delete(b.read, p)
	}
	b.records = slices.DeleteFunc(b.records, func(r *kgo.Record) bool { return slices.Contains(gone, r.Partition) })
	b.bytes = 0
	for _, r := range b.records {
		b.bytes += sizeOf(r)
	}
}
