package alert

import (
	"fmt"
	"sync"
	"time"
)

// Health is the readiness of a delivery. It is safe for concurrent use.
type Health struct {
	mu    sync.Mutex
	why   string // why alerts are not delivered; "" if they are
	since time.Time
}

// NewHealth returns the health of a delivery that is about to start.
func NewHealth() *Health { return &Health{why: "starting", since: time.Now()} }

// Ready returns nil if alerts are delivered, otherwise the reason. A receiver that is down does not
// count: its notifications are retried.
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
