package broker

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// All clients together have a limit, and none waits for another: one without batches always gets
// one, and small ones are read in any case. Batches that are no longer used make room.
func TestHoldingBoundsAllClients(t *testing.T) {
	const mib = 1 << 20
	h := holding{limit: func() int64 { return 64 * mib }}
	var a, b, c atomic.Int64
	kept := make([][]byte, 0, 2)
	read := func(own *atomic.Int64, size int) bool {
		if !h.room(own, int64(size), 0) {
			return false
		}
		batch := make([]byte, size)
		h.add(own, batch)
		kept = append(kept, batch)
		return true
	}
	for i, step := range []struct {
		own  *atomic.Int64
		size int
		want bool
	}{{&a, 30 * mib, true}, {&a, 30 * mib, true}, {&a, 30 * mib, false}, {&b, 30 * mib, true}, {&b, mib, false}, {&c, mib, true}, {&c, mib, true}} {
		if got := read(step.own, step.size); got != step.want {
			t.Errorf("step %d: %v, %d bytes in memory", i, got, h.bytes.Load())
		}
	}
	if !h.room(&a, 30*mib, 10*time.Millisecond) {
		t.Error("a client that nobody can give memory to stands still")
	}
	runtime.KeepAlive(kept)
	kept = nil
	if !h.room(&a, 30*mib, time.Minute) {
		t.Errorf("no room: %d bytes in memory", h.bytes.Load())
	}
}

func TestMostExpanded(t *testing.T) {
	for _, compression := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		c, err := kgo.DefaultCompressor(compression)
		if err != nil {
			t.Fatal(err)
		}
		const size = 8 << 20
		packed, codec := c.Compress(new(bytes.Buffer), make([]byte, size))
		if most := mostExpanded(packed, codec, 1<<30); most < size {
			t.Errorf("codec %d: %d bytes expand to %d, not at most %d", codec, len(packed), size, most)
		}
	}
}

// The memory of the process is the least that its control groups allow, in both versions.
func TestGroupMemory(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"version 2":         {map[string]string{"proc/self/cgroup": "0::/system.slice/weir.service\n", "sys/fs/cgroup/system.slice/memory.max": "1000\n", "sys/fs/cgroup/system.slice/weir.service/memory.max": "max\n"}, 1000},
		"version 1":         {map[string]string{"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/weir\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/weir/memory.limit_in_bytes": "536870912\n"}, 512 << 20},
		"a container":       {map[string]string{"proc/self/cgroup": "0::/docker/0123\n", "sys/fs/cgroup/memory.max": "2000\n"}, 2000},
		"no limit":          {map[string]string{"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		"no control groups": {nil, 0},
	} {
		root := t.TempDir()
		for file, text := range c.files {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := groupMemory(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
