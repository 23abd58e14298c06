package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// The garbage of a pipeline, and of what takes readings in, is short-lived, and the live heap is
// small, so collecting half as often as Go's default saves a tenth of the CPU. With a larger live
// heap the same percentage would cost many megabytes: the garbage is limited to garbageBytes,
// within these percentages of the live heap. A memory limit can't express this, because it includes
// the live heap.
const (
	garbageBytes = 48 << 20
	leastPercent = 75
	mostPercent  = 200
)

const liveBytes = "/gc/heap/live:bytes" // after the last collection

// spendMemory adapts how often the garbage collector runs to the size of the live heap, unless the
// environment sets GOGC. Call stop at the end.
func spendMemory() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	debug.SetGCPercent(mostPercent)
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() { adaptGC(quit) })
	return func() {
		close(quit)
		done.Wait()
	}
}

// adaptGC sets the percentage of the garbage collector until quit is closed.
func adaptGC(quit <-chan struct{}) {
	const step = 10 // smallest change worth making
	current := mostPercent
	sample := []metrics.Sample{{Name: liveBytes}}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-quit:
			return
		case <-ticker.C:
		}
		metrics.Read(sample)
		if percent := gcPercent(sample[0].Value.Uint64()); percent >= current+step || percent <= current-step {
			current = percent
			debug.SetGCPercent(current)
		}
	}
}

// gcPercent returns the garbage collection percentage for a live heap of this size in bytes.
func gcPercent(live uint64) int {
	return int(min(max(garbageBytes*100/max(live, 1), leastPercent), mostPercent)) //nolint:gosec // at most 200
}
