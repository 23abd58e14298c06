package console

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// loudFeed has a new frame at each tick.
type loudFeed struct {
	size   int
	frames atomic.Int64
	closed chan struct{}
}

func newLoudFeed(size int) *loudFeed { return &loudFeed{size: size, closed: make(chan struct{})} }

func (f *loudFeed) frame() any {
	return map[string]any{"n": f.frames.Add(1), "fill": strings.Repeat("x", f.size)}
}
func (f *loudFeed) period() time.Duration { return 0 }
func (f *loudFeed) close()                { close(f.closed) }

// streamServer serves a hub with these feeds.
func streamServer(t *testing.T, patience time.Duration, feeds map[string]feed) (*hub, *httptest.Server) {
	t.Helper()
	h := newHub(func(name string) (feed, error) {
		if f := feeds[name]; f != nil {
			return f, nil
		}
		return nil, fmt.Errorf("feed %q not found", name)
	})
	h.patience = patience
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", h.serve)
	mux.HandleFunc("POST /events/{id}", h.rewatch)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	var running sync.WaitGroup
	running.Go(func() { h.run(t.Context()) })
	t.Cleanup(running.Wait)
	return h, server
}

// listen opens a stream without reading it.
func listen(t *testing.T, server *httptest.Server, query string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET /events?%s HTTP/1.1\r\nHost: x\r\n\r\n", query); err != nil {
		t.Fatal(err)
	}
	return conn
}

// await reads a stream until a line starts with a prefix.
func await(t *testing.T, in *bufio.Reader, prefix string) string {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("stream ended before %q: %v", prefix, err)
		}
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSpace(line)
		}
	}
}

// waitFor waits, tick by tick, until a condition on the hub is true. There must be a stream.
func waitFor(t *testing.T, h *hub, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		h.mu.Lock()
		ok, wake := condition(), h.wake
		h.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-wake:
		case <-ctx.Done():
			t.Fatalf("timed out: %s", what)
		}
	}
}

func waitClosed(t *testing.T, f *loudFeed) {
	t.Helper()
	select {
	case <-f.closed:
	case <-time.After(10 * time.Second):
		t.Fatal("a feed without streams stays open")
	}
}

func TestWatch(t *testing.T) {
	a, b := newLoudFeed(0), newLoudFeed(0)
	h, server := streamServer(t, time.Second, map[string]feed{"a": a, "b:1": b})
	in := bufio.NewReader(listen(t, server, "watch=a"))
	hello := await(t, in, "data: {\"id\"")
	await(t, in, "event: a")
	id := strings.Split(hello, `"`)[3]
	if status, got := answer(t, "POST", server.URL+"/events/"+id, `{"watch":["b:1"]}`); status != 204 {
		t.Fatalf("change feeds: status %d, %s", status, got)
	}
	await(t, in, "event: b")
	waitClosed(t, a)
	if status, _ := answer(t, "POST", server.URL+"/events/"+id, `{"watch":["nothing"]}`); status != 400 {
		t.Errorf("change to an unknown feed: status %d", status)
	}
	await(t, in, "event: b") // the previous feeds remain
	if status, _ := answer(t, "POST", server.URL+"/events/nobody", `{"watch":["a"]}`); status != 404 {
		t.Errorf("unknown stream: status %d", status)
	}
	if status, _ := answer(t, "GET", server.URL+"/events?watch=nothing", ""); status != 400 {
		t.Errorf("new stream of an unknown feed: status %d", status)
	}
	server.CloseClientConnections()
	waitClosed(t, b)
	if h.watched() {
		t.Error("the stream of a closed page stays open")
	}
}

// A browser that does not read delays no other, uses no more memory than the buffers of its
// connection, and is disconnected.
func TestSlowBrowser(t *testing.T) {
	loud := newLoudFeed(200_000)
	h, server := streamServer(t, 2*time.Second, map[string]feed{"loud": loud})
	before := memory()
	for range 20 {
		listen(t, server, "watch=loud")
	}
	in := bufio.NewReader(listen(t, server, "watch=loud"))
	seen := loud.frames.Load()
	for range 12 {
		await(t, in, "event: loud")
	}
	if built := loud.frames.Load() - seen; built > 40 {
		t.Errorf("12 frames received while %d were built: slow browsers delay them", built)
	}
	if grown := memory() - before; grown > 40<<20 {
		t.Errorf("20 slow browsers use %d MiB", grown>>20)
	}
	waitFor(t, h, "only the stream that is read stays open", func() bool { return len(h.streams) == 1 })
}

// Two hundred open, idle pages use little memory and share their feeds.
func TestIdleStreams(t *testing.T) {
	quiet := newLoudFeed(2000)
	h, server := streamServer(t, time.Second, map[string]feed{"quiet": quiet})
	h.own = maxStreams
	before := memory()
	const n = 200
	for range n {
		conn := listen(t, server, "watch=quiet")
		go func() { _, _ = io.Copy(io.Discard, conn) }()
	}
	waitFor(t, h, "all streams are open", func() bool { return len(h.streams) == n })
	if feeds := len(h.feeds); feeds != 1 {
		t.Errorf("got %d feeds for one name", feeds)
	}
	seen := quiet.frames.Load()
	waitFor(t, h, "all streams have sent frames", func() bool { return quiet.frames.Load() >= seen+8 })
	grown := memory() - before
	t.Logf("%d streams: %d KiB each, both ends", n, grown/n>>10)
	if grown > n*100<<10 {
		t.Errorf("%d idle streams use %d MiB", n, grown>>20)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	h := newHub(func(string) (feed, error) { return newLoudFeed(0), nil })
	for range maxOwn {
		if _, err := h.join(netip.MustParseAddr("192.0.2.1"), []string{"a"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.join(netip.MustParseAddr("192.0.2.1"), []string{"a"}); !errors.Is(err, errOwnStreams) {
		t.Errorf("one stream too many of a client: %v", err)
	}
	for i := range maxStreams - maxOwn {
		if _, err := h.join(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), []string{"a"}); err != nil {
			t.Fatal(err)
		}
	}
	w := httptest.NewRecorder()
	last := httptest.NewRequest("GET", "/events?watch=a", &bytes.Buffer{})
	last.RemoteAddr = "203.0.113.1:5000"
	h.serve(w, last)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("one stream too many: status %d", w.Code)
	}
}

// memory returns the size of the heap and stacks in use, in bytes.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse) //nolint:gosec // far below
}
