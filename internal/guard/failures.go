package guard

import (
	"net/netip"
	"sync"
	"time"
)

// Failures limits how many logins may fail from an address, whatever the protocol: after burst
// failures, one more each second. Logins that succeed cost nothing.
type Failures struct {
	mu   sync.Mutex
	from map[netip.Prefix]*bucket
}

// bucket counts the failures of an address; it loses one each second.
type bucket struct {
	failed float64
	at     time.Time
}

const (
	burst      = 30
	maxBuckets = 10_000 // addresses that are remembered
)

// network returns what is limited: an address, or the /64 of an IPv6 address, all of which one host
// may have.
func network(from netip.Addr) netip.Prefix {
	bits := 32
	if from.Is6() {
		bits = 64
	}
	p, _ := from.Prefix(bits) // the zero prefix of the zero address
	return p
}

// Allowed reports whether an address may try to log in.
func (f *Failures) Allowed(from netip.Addr, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.from[network(from)]
	return b == nil || b.left(now) < burst
}

// Failed counts a login that has failed.
func (f *Failures) Failed(from netip.Addr, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := network(from)
	b := f.from[key]
	if b == nil {
		f.forget(now)
		b = &bucket{at: now}
		f.from[key] = b
	}
	b.failed, b.at = b.left(now)+1, now
}

// left returns the failures that still count.
func (b *bucket) left(now time.Time) float64 { return max(b.failed-now.Sub(b.at).Seconds(), 0) }

// forget makes room for an address.
func (f *Failures) forget(now time.Time) {
	if f.from == nil {
		f.from = make(map[netip.Prefix]*bucket)
	}
	if len(f.from) < maxBuckets {
		return
	}
	for key, b := range f.from {
		if b.left(now) < 1 || len(f.from) >= maxBuckets {
			delete(f.from, key)
		}
	}
}
