package front

import "sync"

// A connection's read buffer starts small, because most are idle, and grows by a factor while the
// bytes of a large request arrive: it is never more than this factor larger than what arrived, or
// than the connection's previous request.
const (
	smallBuffer  = 2 << 10
	growthFactor = 4
)

// pools has free buffers of smallBuffer * growthFactor^(i+1) bytes: 8 KiB to 8 MiB. Larger ones are
// left to the garbage collector.
var pools [6]sync.Pool

// newBuffer returns a buffer that has room for more than used bytes, of at most need bytes unless a
// reused one is larger.
func newBuffer(used, need int) []byte {
	size := smallBuffer
	for i := range pools {
		if size *= growthFactor; used < size {
			if b, ok := pools[i].Get().(*[]byte); ok {
				return *b
			}
			return make([]byte, size)
		}
	}
	for used >= size {
		size *= growthFactor
	}
	return make([]byte, min(size, need))
}

// recycle makes a buffer of newBuffer available again.
func recycle(b []byte) {
	size := smallBuffer
	for i := range pools {
		if size *= growthFactor; len(b) == size {
			pools[i].Put(&b)
			return
		}
	}
}
