package guard

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Clients may read their answers slowly, or never. A connection ends if a part of an answer is not
// read in time, and large answers that wait for their clients have a limit together.

const (
	answerPart   = 64 << 10         // bytes
	partTime     = 30 * time.Second // to read a part
	largeAnswer  = 64 << 10         // bytes of a single Write; smaller ones are not counted
	heldAnswers  = 64 << 20         // bytes of large answers, of all clients of a server
	heldAnswers1 = heldAnswers / 2  // of one client
)

// parted is a listener whose connections have a limited time to read each part of an answer.
type parted struct {
	net.Listener
	patience time.Duration
}

// Accept implements net.Listener.
func (l parted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &partedConn{Conn: c, patience: l.patience}, nil
}

type partedConn struct {
	net.Conn
	patience time.Duration

	mu       sync.Mutex
	deadline time.Time // that a handler has set; zero for none
}

// SetWriteDeadline implements net.Conn. The deadline applies if it is earlier than that of a part.
func (c *partedConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *partedConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Write implements net.Conn.
func (c *partedConn) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		if err := c.limit(); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[:min(len(p), answerPart)])
		if written += n; err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

func (c *partedConn) limit() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	until := time.Now().Add(c.patience)
	if !c.deadline.IsZero() && c.deadline.Before(until) {
		until = c.deadline
	}
	return c.Conn.SetWriteDeadline(until)
}

// answers counts the bytes of large answers that are being written.
type answers struct {
	limit, limit1 int

	mu    sync.Mutex
	all   int
	by    map[netip.Prefix]int
	peak  int // of all
	count int // refused
}

func newAnswers(limit, limit1 int) *answers {
	return &answers{limit: limit, limit1: limit1, by: make(map[netip.Prefix]int)}
}

// take reports whether an answer may wait for its client. A client may have one large answer in any
// case, if there is no other.
func (a *answers) take(from netip.Prefix, n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all > 0 && a.all+n > a.limit || a.by[from] > 0 && a.by[from]+n > a.limit1 {
		a.count++
		return false
	}
	a.all += n
	a.by[from] += n
	a.peak = max(a.peak, a.all)
	return true
}

func (a *answers) release(from netip.Prefix, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all -= n
	if a.by[from] -= n; a.by[from] == 0 {
		delete(a.by, from)
	}
}

// counting returns a handler whose large answers are counted.
func (a *answers) counting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&answer{ResponseWriter: w, of: a, from: network(From(r))}, r)
	})
}

type answer struct {
	http.ResponseWriter
	of    *answers
	from  netip.Prefix
	begun bool
}

// Unwrap is for http.ResponseController.
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *answer) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *answer) Write(p []byte) (int, error) {
	if len(p) <= largeAnswer {
		w.begun = true
		return w.ResponseWriter.Write(p)
	}
	if !w.of.take(w.from, len(p)) {
		if w.begun {
			panic(http.ErrAbortHandler) // the client must not take what it has for the whole answer
		}
		w.Header().Del("Content-Length")
		w.Header().Set("Retry-After", "30")
		err := errors.New("too many large answers wait for their clients to read them")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return 0, err
	}
	defer w.of.release(w.from, len(p))
	w.begun = true
	return w.ResponseWriter.Write(p)
}
