package mqtt

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"weir.example/weir/internal/guard"
)

// listener accepts connections for mochi-mqtt. It gives it only those that have sent CONNECT.
type listener struct {
	b         *Broker
	inner     net.Listener
	tls       *tls.Config // nil: none
	establish listeners.EstablishFn
	serving   chan struct{} // closed when connections are accepted
	closed    atomic.Bool
	open      sync.WaitGroup
	unknown   atomic.Int64 // connections without CONNECT

	mu  sync.Mutex
	new map[net.Conn]struct{} // likewise
}

func newListener(b *Broker, inner net.Listener) *listener {
	l := &listener{b: b, inner: inner, serving: make(chan struct{}), new: make(map[net.Conn]struct{})}
	if b.cfg.TLS != nil {
		l.tls = b.cfg.TLS.Config("mqtt")
	}
	return l
}

// Init implements listeners.Listener, like the other exported methods.
func (l *listener) Init(*slog.Logger) error { return nil }

// ID returns the name by which mochi-mqtt knows the listener.
func (l *listener) ID() string { return "weir" }

// Address returns the address.
func (l *listener) Address() string { return l.inner.Addr().String() }

// Protocol returns the protocol below MQTT.
func (l *listener) Protocol() string { return "tcp" }

// Serve keeps what gives connections to mochi-mqtt. begin accepts them.
func (l *listener) Serve(establish listeners.EstablishFn) {
	l.establish = establish
	close(l.serving)
}

// begin accepts connections from now on.
func (l *listener) begin() {
	<-l.serving
	l.open.Go(l.accept)
}

func (l *listener) accept() {
	for {
		c, err := l.inner.Accept()
		if err != nil {
			if l.closed.Load() || errors.Is(err, net.ErrClosed) {
				return
			}
			l.b.log.Warn("accept MQTT connections", "err", err) // such as too many open files
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if l.unknown.Add(1) > maxUnknown {
			l.unknown.Add(-1)
			l.b.stats.refuse("connections without CONNECT")
			_ = c.Close()
			continue
		}
		l.open.Go(func() { l.serve(c) })
	}
}

// serve serves a connection until it ends.
func (l *listener) serve(raw net.Conn) {
	c, err := l.greet(raw)
	l.unknown.Add(-1)
	if err != nil {
		_ = raw.Close()
		if !errors.Is(err, io.EOF) && !l.closed.Load() { // a port scan, or a health check
			l.b.stats.refuse(greetReason(err))
			l.b.log.Debug("refused an MQTT connection", "remote", raw.RemoteAddr().String(), "err", err)
		}
		return
	}
	defer close(c.finished)
	defer c.gone()
	defer func() { // a fault in the protocol must not end the process
		if fault := recover(); fault != nil {
			l.b.log.Error("an MQTT connection has failed", "client", c.id, "remote", c.RemoteAddr().String(), "err", fault)
			_ = c.Close()
		}
	}()
	_ = l.establish(l.ID(), c) // mochi-mqtt has answered the client
}

func greetReason(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "no CONNECT in time"
	}
	for _, known := range []error{errNotConnect, errConnectLarge, errFrame} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "TLS"
}

// greet does the TLS handshake and reads CONNECT.
func (l *listener) greet(raw net.Conn) (*conn, error) {
	l.mu.Lock()
	l.new[raw] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.new, raw)
		l.mu.Unlock()
	}()
	if l.closed.Load() {
		return nil, net.ErrClosed
	}
	_ = raw.SetDeadline(time.Now().Add(l.b.cfg.connectTimeout)) // what follows fails, too
	c := &conn{Conn: raw, b: l.b, frames: frames{max: l.b.cfg.MaxPacket}, finished: make(chan struct{})}
	c.room.L, c.out.room.L = &c.mu, &c.out.mu
	if l.tls != nil {
		secure := tls.Server(raw, l.tls)
		if err := secure.Handshake(); err != nil { //nolint:noctx // the deadline bounds it
			return nil, err
		}
		c.Conn = secure
	}
	var err error
	if c.first, err = readConnect(c.Conn); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends all connections.
func (l *listener) Close(closeClients listeners.CloseFn) {
	l.closed.Store(true)
	_ = l.inner.Close() // nothing is lost
	l.mu.Lock()
	for c := range l.new {
		_ = c.Close()
	}
	l.mu.Unlock()
	closeClients(l.ID())
	for _, c := range l.b.connections() {
		_ = c.Close()
	}
}

// wait waits until all connections have ended.
func (l *listener) wait() { l.open.Wait() }

// conn is a connection that has sent CONNECT.
type conn struct {
	net.Conn
	b        *Broker
	first    []byte // read before mochi-mqtt reads
	frames   frames
	large    int64 // bytes reserved for a large packet
	finished chan struct{}

	// Set once, before the session is established.
	id        string
	who       *guard.Principal // nil: nobody had to log in
	version   byte
	anonymous bool // the broker chose the client id

	welcome atomic.Bool // CONNACK was written, so that the client may be told why it is disconnected

	// Of the reading goroutine.
	packetID   uint16                 // of the SUBSCRIBE or UNSUBSCRIBE in progress
	subscribed []packets.Subscription // whose retained messages have to be sent

	messages
	out output
}

// largePacket is the size from which the memory of packets that are being received is bounded.
const largePacket = 16 << 10

// Read implements io.Reader for mochi-mqtt. It waits while too many large packets are being
// received on other connections.
func (c *conn) Read(p []byte) (n int, err error) {
	if c.large > 0 && c.frames.state == inType { // it was processed
		c.b.stats.large.Add(-c.large)
		c.large = 0
	}
	if len(c.first) > 0 {
		n = copy(p, c.first)
		if c.first = c.first[n:]; len(c.first) == 0 {
			c.first = nil
		}
	} else if n, err = c.Conn.Read(p); err != nil {
		return n, err
	}
	open, err := c.frames.scan(p[:n])
	if err != nil {
		c.b.stats.refuse(err.Error())
		if errors.Is(err, errPacketSize) {
			c.disconnect(packets.ErrPacketTooLarge)
		}
		return 0, err
	}
	if open > largePacket && c.large == 0 {
		if c.b.stats.large.Add(2*open) > maxLarge { // mochi-mqtt has two copies
			c.b.stats.large.Add(-2 * open)
			c.b.stats.refuse("too many large packets at a time")
			c.disconnect(packets.ErrServerBusy)
			return 0, errPacketSize
		}
		c.large = 2 * open
	}
	return n, nil
}

// SetDeadline sets the deadline of reads only: Write has its own.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// Close ends the connection, once what was written before has been sent, and the wait for room.
func (c *conn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.room.Broadcast()
	c.mu.Unlock()
	return c.out.close(c.Conn)
}

// gone removes the connection when it has ended.
func (c *conn) gone() {
	_ = c.Close()
	c.b.stats.large.Add(-c.large)
	c.b.mu.Lock()
	delete(c.b.conns, c)
	if c.b.current[c.id] == c {
		delete(c.b.current, c.id)
	}
	c.b.mu.Unlock()
}
