package guard

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"weir.example/weir/internal/tlsconf"
)

// Server returns a server of requests that have a bounded time to arrive. Answers may take any
// time, as long as clients read them: use the listener of Serving.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           newAnswers(heldAnswers, heldAnswers1).counting(arriving(h)),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// arriving returns a handler that lifts the deadline for reading once a request has arrived. It
// would otherwise cancel the context of a request whose answer takes longer.
func arriving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lift := func() { _ = http.NewResponseController(w).SetReadDeadline(time.Time{}) } // fails only for a closed connection
		if r.ContentLength == 0 {
			lift()
		} else {
			r.Body = &body{r.Body, r.ContentLength, lift}
		}
		next.ServeHTTP(w, r)
	})
}

// body calls a function when all of it has been read.
type body struct {
	io.ReadCloser
	left int64 // negative: unknown
	end  func()
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left == 0 || errors.Is(err, io.EOF) {
		b.end()
	}
	return n, err
}

// Connections that HTTP servers serve at a time; further ones are closed at once.
const (
	maxConns     = 2048
	maxConnsFrom = 512 // of one address
)

// Serving wraps the listener of an HTTP server: it limits connections and the time in which clients
// read answers, and serves TLS if other machines can reach the address. Clients use the scheme that
// it returns.
func Serving(l net.Listener, certificate *tlsconf.Server) (serving net.Listener, scheme string) {
	serving = parted{LimitConns(l, maxConns, maxConnsFrom), partTime}
	if certificate == nil || Loopback(l.Addr().String()) {
		return serving, "http"
	}
	return tls.NewListener(serving, certificate.Config("http/1.1")), "https"
}

// LimitConns returns a listener that closes connections beyond a number from the same address. If
// there are too many in all, the address that has most of them loses one for each new client.
func LimitConns(l net.Listener, all, from int) net.Listener {
	return &limited{Listener: l, all: all, from: from, open: make(map[netip.Prefix]map[*limitedConn]bool)}
}

type limited struct {
	net.Listener
	all, from int

	mu    sync.Mutex
	open  map[netip.Prefix]map[*limitedConn]bool
	total int
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		at, _ := netip.ParseAddrPort(c.RemoteAddr().String())
		conn := &limitedConn{Conn: c, of: l, from: network(at.Addr().Unmap())}
		ok, loser := l.take(conn)
		if loser != nil {
			_ = loser.Close()
		}
		if ok {
			return conn, nil
		}
		_ = c.Close()
	}
}

// take counts a connection, unless there are too many. loser has to make room for it.
func (l *limited) take(c *limitedConn) (ok bool, loser *limitedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.open[c.from]
	if len(own) >= l.from {
		return false, nil
	}
	if l.total >= l.all {
		most := own
		for _, others := range l.open {
			if len(others) > len(most) {
				most = others
			}
		}
		if len(most) <= len(own)+1 {
			return false, nil
		}
		for loser = range most {
			break
		}
	}
	if own == nil {
		own = make(map[*limitedConn]bool)
		l.open[c.from] = own
	}
	own[c] = true
	l.total++
	return true, loser
}

type limitedConn struct {
	net.Conn
	of   *limited
	from netip.Prefix
	once sync.Once
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	c.once.Do(func() {
		c.of.mu.Lock()
		defer c.of.mu.Unlock()
		c.of.total--
		delete(c.of.open[c.from], c)
		if len(c.of.open[c.from]) == 0 {
			delete(c.of.open, c.from)
		}
	})
	return c.Conn.Close()
}

// Hosts are the names by which a server may be addressed. A web page can make a browser believe
// that its own name is an address of this machine or its network (DNS rebinding), and would then
// read and write here in the name of its visitor. Such a name is public, so it has a dot, and is
// not an address.
type Hosts struct{ known map[string]bool }

// NewHosts returns the names of a server that listens at host:port. more are those of a proxy or of
// a DNS zone.
func NewHosts(listen string, more ...string) Hosts {
	h := Hosts{make(map[string]bool)}
	if host, _, err := net.SplitHostPort(listen); err == nil {
		h.known[strings.ToLower(host)] = true
	}
	if own, err := os.Hostname(); err == nil {
		h.known[strings.ToLower(own)] = true
	}
	for _, name := range more {
		h.known[strings.ToLower(name)] = true
	}
	return h
}

// Known reports whether a Host header names this server.
func (h Hosts) Known(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return h.known[host] || !strings.Contains(host, ".")
}

// Only returns a handler that passes only requests for these names to next.
func (h Hosts) Only(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h.Check(r); err != nil {
			http.Error(w, err.Error(), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Check returns an error if a request is for another name.
func (h Hosts) Check(r *http.Request) error {
	if h.Known(r.Host) {
		return nil
	}
	return fmt.Errorf("unknown host %q: use an address or the name of this machine, or name it with --allowed-host", r.Host)
}

// From returns the address of a request's client, as far as this server sees it.
func From(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}
