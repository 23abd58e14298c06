package front

import (
	"sync"
	"time"
)

// budget is the memory that all connections share.
type budget struct {
	max int64 // bytes

	mu    sync.Mutex
	used  int64
	freed chan struct{} // closed at the next release if somebody waits for it; else nil
}

// acquire waits until n bytes are free, but not longer than timeout, nor after stop is closed. A
// single holder may exceed the budget.
func (b *budget) acquire(n int64, timeout time.Duration, stop <-chan struct{}) bool {
	var expired <-chan time.Time
	for {
		b.mu.Lock()
		if b.used+n <= b.max || b.used == 0 {
			b.used += n
			b.mu.Unlock()
			return true
		}
		if b.freed == nil {
			b.freed = make(chan struct{})
		}
		freed := b.freed
		b.mu.Unlock()
		if expired == nil {
			timer := time.NewTimer(timeout)
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case <-freed:
		case <-expired:
			return false
		case <-stop:
			return false
		}
	}
}

// take takes n bytes even if they exceed the budget.
func (b *budget) take(n int64) {
	b.mu.Lock()
	b.used += n
	b.mu.Unlock()
}

func (b *budget) release(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	b.used -= n
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
	b.mu.Unlock()
}

// free returns the bytes that are left, at least 0.
func (b *budget) free() int64 {
	return max(b.max-b.inUse(), 0)
}

func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
