package guard

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// A name that a web page can let resolve to this machine is unknown; addresses and names that no
// public DNS has are known.
func TestHosts(t *testing.T) {
	h := NewHosts("edge.factory.example:8081", "weir.monitoring.svc")
	for host, want := range map[string]bool{
		"127.0.0.1:8081": true, "[::1]:8081": true, "192.0.2.7": true, "localhost:8081": true, "weir:9600": true, "EDGE.factory.example:8081": true,
		"edge.factory.example.": true, "weir.monitoring.svc:9600": true, "": true,
		"evil.example": false, "evil.example:8081": false, "127.0.0.1.evil.example": false, "localhost.evil.example:80": false, "127.0.0.1.": true, "evil.example.": false,
	} {
		if got := h.Known(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

// A crowd from a few addresses keeps nobody else out: the limits are those of an address, and of
// all of them together, where the one with most connections loses one.
func TestLimitConns(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	l := LimitConns(inner, 6, 4)
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	alive := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		return errors.Is(err, os.ErrDeadlineExceeded)
	}
	dial := func(host byte) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, host)}}
		c, err := d.DialContext(t.Context(), "tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	count := func(all []net.Conn) (n int) {
		for _, c := range all {
			if alive(c) {
				n++
			}
		}
		return n
	}
	var first, second []net.Conn
	for range 6 {
		first = append(first, dial(1))
	}
	if n := count(first); n != 4 {
		t.Errorf("%d connections of one address are open, want 4", n)
	}
	for range 2 {
		second = append(second, dial(2))
	}
	third := dial(3)
	if !alive(third) || count(first) != 3 || count(second) != 2 {
		t.Errorf("a client beside a crowd: open %t; %d and %d of the crowd", alive(third), count(first), count(second))
	}
	for range 4 {
		_ = (<-accepted).Close()
	}
	if !alive(dial(4)) {
		t.Error("closed connections are counted")
	}
}
