package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What a pipeline reads is garbage at once and little lives, so that twice Go's default saves a
// tenth of the CPU. Where more lives the same share is many megabytes: garbage may be as much as
// garbageBytes, between these percents of what lives.
const (
	garbageBytes = 48 << 20
	leastPercent = 75
	mostPercent  = 200
)

const liveBytes = "/gc/heap/live:bytes" // at the end of the last collection

// spendMemory sets how often the garbage collector runs by what lives, until ctx is done, unless
// the environment says how often.
func spendMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	now := mostPercent
	debug.SetGCPercent(now)
	go func() {
		const step = 10 // percent that are worth a change
		sample := []metrics.Sample{{Name: liveBytes}}
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			metrics.Read(sample)
			if want := gcPercent(sample[0].Value.Uint64()); want >= now+step || want <= now-step {
				now = want
				debug.SetGCPercent(now)
			}
		}
	}()
}

// gcPercent is how much garbage may gather beside so many bytes that live.
func gcPercent(live uint64) int {
	return int(min(max(garbageBytes*100/max(live, 1), leastPercent), mostPercent)) //nolint:gosec // at most 200
}
