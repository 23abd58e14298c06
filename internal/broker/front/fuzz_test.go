package front

import (
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/longtest"
)

// Random and mutated requests neither end the broker nor occupy it: it answers others, is idle
// afterwards and holds little memory. make long sends a million to one broker.
func TestRandomRequests(t *testing.T) {
	requests := longtest.Size(20_000, 20_000, 1_000_000)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	randomRequests(t, seed, requests)
}

func randomRequests(t *testing.T, seed uint64, requests int) {
	const clients = 20
	earlier := heap() // kfake does not free all memory of a closed broker
	addr, l := serve(t, Limits{}, "topic", "other")
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			var c net.Conn
			for range requests / clients {
				if c == nil {
					var err error
					if c, err = net.Dial("tcp", addr); err != nil {
						t.Error(err)
						return
					}
				}
				if !tryRequest(c, randomFrame(rnd)) {
					_ = c.Close()
					c = nil
				}
			}
			if c != nil {
				_ = c.Close()
			}
		})
	}
	wg.Wait()
	checkServes(t, addr)
	waitNoMemory(t, l)
	before := cpuTime(t)
	time.Sleep(500 * time.Millisecond) // nothing is waited for: the CPU time of these is measured
	if used := cpuTime(t) - before; used > 300*time.Millisecond {
		t.Errorf("the broker uses %s of CPU within 500 ms after the last request", used)
	}
	held := heap() - earlier
	if held > 100<<20 {
		t.Errorf("%d bytes are in use after the last request", held)
	}
	t.Logf("refusals: %v, heap %d KiB, CPU time of the process %s", l.Refusals(), held>>10, before)
}

// heap returns the bytes in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far less than 2^63
}

// randomFrame returns a request that is random, plausible or mutated, or mere bytes.
func randomFrame(rnd *rand.Rand) []byte {
	keys := slices.Sorted(maps.Keys(served()))
	key := keys[rnd.IntN(len(keys))]
	api := served()[key]
	version := api.from + int16(rnd.IntN(int(api.to-api.from)+1))
	req := randomRequest(rnd, key, version)
	if rnd.IntN(4) > 0 {
		plausible(rnd, reflect.ValueOf(req).Elem())
		req.SetVersion(version)
	}
	whole := frame(req)
	switch rnd.IntN(10) {
	case 0: // a frame of random bytes
		for i := range whole[4:] {
			whole[4+i] = byte(rnd.Uint32())
		}
	case 1: // no frame
		whole = whole[4:]
	case 2, 3, 4, 5: // mutated after the header
		body := mutate(rnd, slices.Clone(whole[14:]))
		whole = append(whole[:14:14], body...)
		binary.BigEndian.PutUint32(whole, uint32(len(whole)-4))
	}
	return whole
}

// tryRequest sends a frame and reads an answer, and reports whether the connection remains usable.
func tryRequest(c net.Conn, frame []byte) bool {
	if err := c.SetDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
		return false
	}
	if _, err := c.Write(frame); err != nil {
		return false
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return false
	}
	_, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:])))
	return err == nil
}

// cpuTime returns the CPU time that this process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// FuzzFront sends arbitrary bytes to a broker. What kfake's own goroutines do to the process is
// found by a crash of the fuzzer.
func FuzzFront(f *testing.F) {
	for _, seed := range []string{unknownKey, hugeTags, hugeFrame, httpRequest, tlsHello} {
		f.Add([]byte(seed))
	}
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		f.Add(randomFrame(rnd))
	}
	addr, _ := serve(f, Limits{FrameTimeout: time.Second}, "topic")
	f.Fuzz(func(t *testing.T, p []byte) {
		c := dial(t, addr)
		if _, err := c.Write(p); err == nil {
			_ = c.(*net.TCPConn).CloseWrite() // the broker may have closed the connection
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, net.ErrClosed) {
				t.Fatal(err)
			}
		}
		_ = c.Close()
		req := kmsg.NewPtrApiVersionsRequest()
		if resp := ask(t, addr, req).(*kmsg.ApiVersionsResponse); resp.ErrorCode != 0 {
			t.Fatalf("the broker answers others with %+v", resp)
		}
	})
}
