package retry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"weir.example/weir/internal/retry"
)

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	b := retry.Backoff()
	first := b.NextBackOff()
	var last time.Duration
	for range 30 {
		last = b.NextBackOff()
	}
	if first < 50*time.Millisecond || first > 150*time.Millisecond || last < 2500*time.Millisecond || last > 7500*time.Millisecond {
		t.Errorf("from %s to %s", first, last)
	}
}

func TestSleepEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := retry.Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if err := retry.Sleep(t.Context(), time.Nanosecond); err != nil {
		t.Error(err)
	}
}
