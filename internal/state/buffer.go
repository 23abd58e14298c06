package state

const (
	bufferStep = 16      // capacities of buffers are multiples of it
	maxBuffer  = 1024    // larger buffers are left to the garbage collector
	maxHeld    = 4 << 20 // bytes kept for reuse
	numBins    = maxBuffer/bufferStep + 1
)

// buffers recycles the memory of values. A transaction replaces about as many values as it writes,
// so in a steady state new values reuse the buffers that the previous transaction released.
type buffers struct {
	bins [numBins][][]byte // by capacity / bufferStep
	held int64             // bytes in bins
}

// clone returns a copy of value. The copy is never nil, since nil means a tombstone.
func (b *buffers) clone(value []byte) []byte {
	bin := (len(value) + bufferStep - 1) / bufferStep
	if bin == 0 {
		return []byte{}
	}
	if bin >= numBins {
		return append([]byte(nil), value...)
	}
	free := b.bins[bin]
	if len(free) == 0 {
		return append(make([]byte, 0, bin*bufferStep), value...)
	}
	buf := free[len(free)-1]
	free[len(free)-1] = nil
	b.bins[bin] = free[:len(free)-1]
	b.held -= int64(cap(buf))
	return append(buf[:0], value...)
}

// replace returns a copy of value, in old's memory if it fits. value may alias old.
func (b *buffers) replace(old, value []byte) []byte {
	if cap(old) >= len(value) && cap(old) <= 2*len(value)+bufferStep && cap(old) > 0 {
		return append(old[:0], value...)
	}
	next := b.clone(value)
	b.release(old)
	return next
}

// release makes a buffer available for reuse. The caller must not keep a reference to it.
func (b *buffers) release(buf []byte) {
	n := cap(buf)
	if n == 0 || n > maxBuffer || n%bufferStep != 0 || b.held+int64(n) > maxHeld {
		return
	}
	b.bins[n/bufferStep] = append(b.bins[n/bufferStep], buf)
	b.held += int64(n)
}
