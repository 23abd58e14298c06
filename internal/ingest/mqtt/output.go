package mqtt

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// errSlow means that a client does not read what is sent to it.
var errSlow = errors.New("the client does not read")

// output is what waits to be sent on a connection.
type output struct {
	mu      sync.Mutex
	room    sync.Cond // signals that something was sent, or that the connection is closed
	waiting []byte
	sending int  // bytes that are being sent
	busy    bool // a goroutine sends
	closed  bool
}

// Write implements io.Writer. It never waits for the client: mochi-mqtt holds a lock meanwhile for
// which the messages to all clients would wait.
func (c *conn) Write(p []byte) (int, error) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return 0, net.ErrClosed
	case len(o.waiting)+o.sending > maxOutput:
		go c.Close() //nolint:errcheck // it fails if the connection is closed
		return 0, errSlow
	}
	o.waiting = append(o.waiting, p...)
	if !c.welcome.Load() && accepts(p) { // from now on, another connection may take the session over
		c.welcome.Store(true)
	}
	if !o.busy {
		o.busy = true
		go c.send()
	}
	return len(p), nil
}

// accepts reports whether a packet is a CONNACK that accepts the connection.
func accepts(p []byte) bool {
	if len(p) == 0 || p[0] != packets.Connack<<4 {
		return false
	}
	_, length := binary.Uvarint(p[1:])
	code := 1 + length + 1 // after the flags
	return length > 0 && len(p) > code && p[code] == packets.CodeSuccess.Code
}

// send sends what waits.
func (c *conn) send() {
	o := &c.out
	for {
		o.mu.Lock()
		o.sending = 0
		p := o.waiting
		o.waiting = nil
		if len(p) == 0 {
			o.busy = false
			if o.closed {
				_ = c.Conn.Close()
			}
			o.room.Broadcast()
			o.mu.Unlock()
			return
		}
		o.sending = len(p)
		timeout := writeTimeout
		if o.closed {
			timeout = time.Second
		}
		o.room.Broadcast()
		o.mu.Unlock()
		_ = c.SetWriteDeadline(time.Now().Add(timeout)) // fails on a closed connection, like Write
		if _, err := c.Conn.Write(p); err != nil {
			_ = c.Conn.Close()
			o.mu.Lock()
			o.waiting, o.closed = nil, true
			o.mu.Unlock()
			go c.Close() //nolint:errcheck // it fails if the connection is closed
		}
	}
}

// wait waits until little waits to be sent.
func (o *output) wait() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && len(o.waiting)+o.sending > pendingOutput {
		o.room.Wait()
	}
}

// close ends the connection once what waits is sent. Reads end at once.
func (o *output) close(c net.Conn) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.room.Broadcast()
	if !o.busy {
		return c.Close()
	}
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	return c.SetReadDeadline(time.Unix(1, 0))
}

// disconnect ends the connection, and tells a client of MQTT 5 why.
func (c *conn) disconnect(code packets.Code) {
	if c.welcome.Load() && c.version == 5 {
		_, _ = c.Write([]byte{packets.Disconnect << 4, 2, code.Code, 0}) // it may be closed already
	}
	_ = c.Close()
}
