package front

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/trail"
)

// Listener accepts connections on which only well-formed requests arrive.
type Listener struct {
	net.Listener
	limits   Limits
	log      *slog.Logger
	memory   budget
	holders  holders
	refusals *refusals
	batches  unpacker

	trail        func(trail.Deed) // nil: nothing is reported
	guard        *guard.Guard     // nil: logins are kfake's
	tls          *tls.Config      // nil: none
	plainWarning sync.Once

	topicNames       atomic.Pointer[map[[16]byte]string] // by topic id
	topicConfigError func(name string, value *string) string

	mu          sync.Mutex
	connections int
	byAddress   map[netip.Addr]int

	closed     chan struct{}
	closedOnce sync.Once
}

// Wrap decorates a listener for kfake.
func Wrap(l net.Listener, limits Limits, log *slog.Logger) *Listener {
	limits = limits.withDefaults()
	return &Listener{
		Listener: l, limits: limits, log: log, memory: budget{max: limits.MemoryBytes}, batches: unpacker{limit: limits.BatchBytes}, refusals: newRefusals(log),
		byAddress: make(map[netip.Addr]int), closed: make(chan struct{}),
		topicConfigError: func(string, *string) string { return "" },
	}
}

// SetTopicConfigError sets a function that returns why a setting of a topic is invalid, or "".
// Topics with such settings that the broker refuses to create get this error. Call it before
// Accept.
func (l *Listener) SetTopicConfigError(invalid func(name string, value *string) string) {
	l.topicConfigError = invalid
}

// SetTopicNames sets the names of topics, by id, for answers to requests that the broker has not
// yet received. The map must not change.
func (l *Listener) SetTopicNames(names map[[16]byte]string) { l.topicNames.Store(&names) }

// Refusals returns how many connections were closed or refused, by reason; all reasons are there.
func (l *Listener) Refusals() map[Reason]int64 { return l.refusals.all() }

// Connections returns the number of open connections.
func (l *Listener) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connections
}

// Memory returns the bytes of the requests and answers of all connections.
func (l *Listener) Memory() int64 { return l.memory.inUse() }

// Close stops accepting.
func (l *Listener) Close() error {
	l.closedOnce.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Accept returns the next connection within the limits. Errors that may pass, such as too many open
// files, are retried: kfake would stop accepting for good.
func (l *Listener) Accept() (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; {
		c, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			l.log.Warn("cannot accept client connection: retrying", "part", "broker", "err", err, "wait", wait)
			select {
			case <-l.closed:
				return nil, err
			case <-time.After(wait):
			}
			wait = min(2*wait, time.Second)
			continue
		}
		wait = 5 * time.Millisecond
		from := address(c)
		if err := l.admit(from); err != nil {
			l.refusals.add(ReasonConnections, c.RemoteAddr(), err.Error())
			_ = c.Close() // nothing was sent
			continue
		}
		if l.tls != nil {
			c = tls.Server(c, l.tls)
		}
		return newConn(l, c, from), nil
	}
}

// admit counts a connection, or returns an error if there are too many.
func (l *Listener) admit(from netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.connections >= l.limits.Connections {
		return fmt.Errorf("%d connections are open, the limit", l.connections)
	}
	if n := l.byAddress[from]; n >= l.limits.ConnectionsPerAddress {
		return fmt.Errorf("%d connections from this address are open, the limit", n)
	}
	l.connections++
	l.byAddress[from]++
	return nil
}

// leave is admit's counterpart.
func (l *Listener) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections--
	if l.byAddress[from]--; l.byAddress[from] == 0 {
		delete(l.byAddress, from)
	}
}

// address returns a client's IP address, or the zero address if it has none.
func address(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
