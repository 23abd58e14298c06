package alert

import (
	"fmt"
	"sync"
	"time"
)

// Health is whether alerts are delivered, for whoever asks while they are.
type Health struct {
	mu    sync.Mutex
	why   string // not; "" where they are
	since time.Time
}

// NewHealth makes the health of a delivery that is about to start.
func NewHealth() *Health { return &Health{why: "starting", since: time.Now()} }

// Ready returns nil where alerts are delivered, or why not. A receiver that is away is no reason:
// what it was not told waits for it.
func (h *Health) Ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.why == "" {
		return nil
	}
	return fmt.Errorf("%s, for %s", h.why, time.Since(h.since).Round(time.Second))
}

func (h *Health) set(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if (h.why == "") != (why == "") {
		h.since = time.Now()
	}
	h.why = why
}
