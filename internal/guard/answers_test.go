package guard

import (
	"bufio"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir.example/weir/internal/tlsconf"
	"weir.example/weir/internal/tlsconf/tlstest"
)

// large serves answers of 8 MiB, with TLS or without, and returns how many handlers are running.
func large(t *testing.T, secure bool, patience time.Duration) (addr string, a *answers, running *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l = parted{l, patience}
	if secure {
		dir := t.TempDir()
		tlstest.Server(t, dir, false)
		certificate, err := tlsconf.NewServer(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem"), "", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		l = tls.NewListener(l, certificate.Config("http/1.1"))
	}
	a = newAnswers(20<<20, 20<<20)
	running = new(atomic.Int32)
	text := make([]byte, 8<<20)
	server := &http.Server{Handler: a.counting(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		running.Add(1)
		defer running.Add(-1)
		_, _ = w.Write(text)
	})), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return addr, a, running
}

// request asks for an answer on a connection with a receive buffer of some bytes; 0 for the
// system's.
func request(t *testing.T, addr string, secure bool, buffer int) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if buffer > 0 {
		if err := c.(*net.TCPConn).SetReadBuffer(buffer); err != nil {
			t.Fatal(err)
		}
	}
	if secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // its own server
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return c
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s\n%s", what, stacks())
		}
	}
}

func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// Clients that don't read their answers can use only so much memory, and are disconnected in the
// end. Meanwhile other clients are told to retry later, and then get complete answers.
func TestSlowReaders(t *testing.T) {
	for _, secure := range []bool{false, true} {
		addr, a, running := large(t, secure, 2*time.Second)
		for range 10 {
			request(t, addr, secure, 4<<10)
		}
		eventually(t, "two answers and eight refusals", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.all == 16<<20 && a.count == 8
		})
		resp, err := http.ReadResponse(bufio.NewReader(request(t, addr, secure, 0)), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "too many large answers") {
			t.Errorf("beside slow readers: %d, %q, %v", resp.StatusCode, text, err)
		}
		_ = resp.Body.Close()
		eventually(t, "slow readers stay", func() bool { return running.Load() == 0 })
		if resp, err = http.ReadResponse(bufio.NewReader(request(t, addr, secure, 0)), nil); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != 8<<20 || err != nil {
			t.Errorf("after slow readers: %d bytes, %v", n, err)
		}
		_ = resp.Body.Close()
		eventually(t, "memory is held", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.all == 0 && len(a.by) == 0
		})
		if a.peak > 20<<20 {
			t.Errorf("%d bytes waited, more than the limit", a.peak)
		}
	}
}

// A client that reads slowly, but goes on, gets the whole answer, for as long as it takes.
func TestSteadyReader(t *testing.T) {
	const patience = 300 * time.Millisecond
	addr, _, _ := large(t, false, patience)
	c := request(t, addr, false, 64<<10)
	began, total, buf := time.Now(), 0, make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(c, buf)
		if total += n; total >= 8<<20 {
			break
		}
		if err != nil {
			t.Fatalf("after %s and %d bytes: %v", time.Since(began), total, err)
		}
		time.Sleep(patience / 10)
	}
	if took := time.Since(began); took < 2*patience {
		t.Errorf("it took %s only", took)
	}
}
