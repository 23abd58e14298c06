package operator

import (
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	bytesAtOnce   = 64 << 10 // allocated together: most of what a transaction writes has the same lifetime
	recordsAtOnce = 64
	maxBlocks     = 512                                     // kept for the next transaction: 32 MiB of bytes
	recordBytes   = int64(unsafe.Sizeof(kgo.Record{})) + 64 // with what the client adds
)

// arena allocates the memory of a transaction's records. After a commit, reuse recycles it for the
// next transaction; after an abort it must be dropped, since the client may still hold records.
type arena struct {
	bytes   blocks[byte]
	records blocks[kgo.Record]
	used    int64 // bytes that the transaction's records take, also in the client, which encodes them once more
}

// room returns an empty slice with capacity for about n bytes; keep retains what was appended to it
// until the transaction has ended.
func (a *arena) room(n int) []byte { return a.bytes.room(n, bytesAtOnce) }

func (a *arena) keep(b []byte) []byte {
	a.bytes.take(b)
	a.used += 2 * int64(len(b))
	return b[:len(b):len(b)]
}

// record returns an empty record.
func (a *arena) record() *kgo.Record {
	one := append(a.records.room(1, recordsAtOnce), kgo.Record{})
	a.records.take(one)
	a.used += recordBytes
	return &one[0]
}

func (a *arena) reuse() {
	a.used = 0
	a.bytes.reuse()
	for _, b := range a.records.full {
		clear(b) // drop references to the contents of old records
	}
	clear(a.records.last)
	a.records.reuse()
}

// blocks are slices that are handed out from the front: the length of each is its used part.
type blocks[T any] struct {
	last []T   // has room
	full [][]T // have no room
	free [][]T // empty ones of the previous transaction
}

// room returns the free part of the last block, or of another block if that has no room for n.
func (b *blocks[T]) room(n, atOnce int) []T {
	if cap(b.last)-len(b.last) < n {
		if cap(b.last) > 0 && len(b.full) < maxBlocks {
			b.full = append(b.full, b.last)
		}
		if k := len(b.free); k > 0 {
			b.last, b.free = b.free[k-1], b.free[:k-1]
		} else {
			b.last = make([]T, 0, atOnce)
		}
	}
	return b.last[len(b.last):len(b.last):cap(b.last)]
}

// take marks s as used, unless it has outgrown what room returned and has been reallocated.
func (b *blocks[T]) take(s []T) {
	n := len(b.last)
	if len(s) > 0 && n < cap(b.last) && &s[0] == &b.last[:n+1][n] {
		b.last = b.last[:n+len(s)]
	}
}

// reuse empties all blocks. Those that this transaction did not need are dropped.
func (b *blocks[T]) reuse() {
	for i, f := range b.full {
		b.full[i] = f[:0]
	}
	clear(b.free[:cap(b.free)])
	b.full, b.free, b.last = b.free[:0], b.full, b.last[:0]
}
