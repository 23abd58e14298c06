package broker

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Decompressed batches are as large as their producers want them to be, up to a limit for each.
// Several clients of a process read at the same time, and each of them fetches ahead. Their batches
// are therefore counted as long as they are in memory, and a client reads no further while those of
// all clients together take a share of the process's memory. A client that has none may always read
// one, so that none waits for another, and small ones while it has little.

const (
	countedBatch  = 16 << 10 // smaller batches are not counted
	littleHeld    = 4 << 20  // that each client may have in any case
	leastHeld     = 64 << 20
	mostHeld      = 1 << 30
	heldShare     = 8                      // of the process's memory
	waitForMemory = 500 * time.Millisecond // then a client reads a batch all the same
)

// holding counts the bytes of decompressed batches.
type holding struct {
	limit func() int64
	bytes atomic.Int64

	mu        sync.Mutex
	collected time.Time // last forced collection of garbage
}

// held has the decompressed batches of all clients of this process.
var held = holding{limit: func() int64 { return heldLimit(debug.SetMemoryLimit(-1)) }}

// heldLimit returns the limit for a process with this memory.
func heldLimit(memory int64) int64 { return min(max(leastHeld, memory/heldShare), mostHeld) }

// room reports whether a client that holds own bytes may decompress another batch of most bytes at
// most. It waits for memory; in vain, if the batches that the client holds are kept by slices that
// only its next records overwrite. So a client that has waited may go on: it is slow, but does not
// stand still. With no time to wait, it may not.
func (h *holding) room(own *atomic.Int64, most int64, wait time.Duration) bool {
	limit := h.limit()
	fits := func() bool {
		mine := own.Load()
		return mine == 0 || mine+most <= littleHeld || h.bytes.Load()+most <= limit
	}
	for end := time.Now().Add(wait); !fits(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return wait > 0
		}
		h.collect()
	}
	return true
}

// collect finds out which batches are no longer used, at most ten times a second.
func (h *holding) collect() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.collected) >= 100*time.Millisecond {
		runtime.GC()
		h.collected = time.Now()
	}
}

// mostExpanded returns the most bytes that a batch can have when it is decompressed, up to limit.
func mostExpanded(src []byte, codec kgo.CompressionCodecType, limit int) int64 {
	ratio := limit // of zstd
	switch codec {
	case kgo.CodecGzip:
		ratio = 1033
	case kgo.CodecSnappy, kgo.CodecLz4:
		ratio = 256
	}
	return min(int64(len(src))*int64(ratio), int64(limit))
}

// add counts a batch until it is garbage. own are the bytes of its client.
func (h *holding) add(own *atomic.Int64, batch []byte) {
	n := int64(cap(batch))
	if n < countedBatch {
		return
	}
	h.bytes.Add(n)
	own.Add(n)
	runtime.AddCleanup(&batch[:1][0], func(own *atomic.Int64) {
		h.bytes.Add(-n)
		own.Add(-n)
	}, own)
}

// LimitMemory tells Go how much memory this process may use, if a control group limits it and the
// environment variable GOMEMLIMIT does not. Without that, garbage may grow until the system ends
// the process.
func LimitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit := groupMemory("/"); limit > 0 {
		debug.SetMemoryLimit(limit / 100 * limitPercent)
	}
}

// limitPercent leaves room for what Go does not count: the program, and files that the database of
// the local state maps.
const limitPercent = 80

// groupMemory returns the memory that the control groups of this process allow in bytes, 0 if they
// don't limit it.
func groupMemory(root string) int64 {
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0
	}
	least := int64(math.MaxInt64)
	for line := range strings.Lines(string(groups)) {
		// hierarchy:controllers:path; see cgroups(7).
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		base, file := filepath.Join(root, "sys/fs/cgroup"), "memory.max"
		switch fields[1] {
		case "":
		case "memory":
			base, file = filepath.Join(base, "memory"), "memory.limit_in_bytes"
		default:
			continue
		}
		// In a container, the path may be one of the host, and base the process's own group.
		for dir := filepath.Join(base, fields[2]); strings.HasPrefix(dir, base); dir = filepath.Dir(dir) {
			text, err := os.ReadFile(filepath.Join(dir, file)) //nolint:gosec // of the kernel
			if err != nil {
				continue
			}
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
				least = min(least, n)
			}
		}
	}
	if least > 1<<50 { // version 1 writes a number near 2^63 for no limit
		return 0
	}
	return least
}
