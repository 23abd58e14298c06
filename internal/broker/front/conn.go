package front

import (
	"container/list"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/guard"
)

// conn is a connection to a client. kfake calls Read in one goroutine, Write in another, and Close
// in both.
type conn struct {
	net.Conn
	l       *Listener
	from    netip.Addr
	closed  chan struct{}
	closing sync.Once
	who     atomic.Pointer[guard.Principal] // nil before the login

	// Used by Read only.
	session  session
	secured  bool      // the TLS handshake is complete, or there is none
	small    []byte    // the buffer of small requests
	buf      []byte    // small, or a grown one
	start    int       // of the bytes in buf that kfake has not received
	end      int       // of the bytes in buf
	ready    []byte    // rest of the checked frame, mostly in buf
	previous int       // size of the previous frame
	deadline time.Time // for reading

	mu       sync.Mutex
	dead     bool          // Close has released everything
	grown    int64         // memory charged for buf
	pending  []request     // handed to kfake and not answered
	retained int64         // kfake keeps a buffer as large as the largest answer, until the end
	held     *list.Element // in holders, whose lock is for it; nil: kfake keeps little
	writing  bool          // an answer is being written
	written  sync.Cond     // signaled when it was, and by Close
}

func newConn(l *Listener, c net.Conn, from netip.Addr) *conn {
	small := make([]byte, smallBuffer)
	made := &conn{Conn: c, l: l, from: from, closed: make(chan struct{}), small: small, buf: small}
	made.written.L = &made.mu
	return made
}

// Read returns bytes of the next frame, size included, after the frame has arrived and was checked.
func (c *conn) Read(p []byte) (n int, err error) {
	defer c.recover(&err)
	if len(c.ready) == 0 {
		if err := c.next(); err != nil {
			c.end, c.start = 0, 0
			c.refuse(err)
			return 0, err
		}
	}
	n = copy(p, c.ready)
	if c.ready = c.ready[n:]; len(c.ready) == 0 {
		c.shrink()
	}
	return n, nil
}

// next reads and checks a frame that is for kfake. It serves logins.
func (c *conn) next() error {
	if !c.secured {
		if err := c.handshake(); err != nil {
			return err
		}
		c.secured = true
	}
	for {
		if login, err := c.nextFrame(); err != nil || !login {
			return err
		}
	}
}

// nextFrame reads and checks a frame, and serves it if it is a part of a login.
func (c *conn) nextFrame() (login bool, err error) {
	c.settle()
	if err := c.fill(4); err != nil {
		return false, err
	}
	size := int64(binary.BigEndian.Uint32(c.buf[c.start:]))
	limit := c.l.limits.FrameBytes
	if !c.loggedIn() {
		limit = min(limit, maxLoginFrame)
	}
	if size < headerBytes || size > int64(limit) {
		return false, &refusal{ReasonSize, fmt.Sprintf("a request of %d bytes, expected %d to %d", size, headerBytes, limit)}
	}
	need := 4 + int(size)
	if err := c.fill(need); err != nil {
		return false, err
	}
	whole := c.buf[c.start : c.start+need]
	req, frame, err := c.l.check(whole[4:])
	if err != nil {
		return false, err
	}
	c.start += need
	c.previous = need
	if c.l.guard != nil && isLogin(req.key) {
		return true, c.login(req, frame)
	}
	if err := c.authorized(kmsg.Key(req.key)); err != nil {
		return false, err
	}
	if who := c.who.Load(); kmsg.Key(req.key) == kmsg.Produce && (who == nil || !who.Internal) {
		if why := c.l.batches.refuse(req, frame); why != "" {
			c.l.log.Warn("refused records with INVALID_RECORD", "part", "broker", "client", c.RemoteAddr(), "err", why)
		}
	}
	c.ready = whole
	if len(frame) != len(whole)-4 || &frame[0] != &whole[4] { // replaced
		c.ready = append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...) //nolint:gosec // a small frame
	}
	if req.charge <= smallBuffer {
		req.charge = 0
	} else if !c.l.memory.acquire(req.charge, c.l.limits.MemoryTimeout, c.closed) {
		return false, c.noMemory()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		c.l.memory.release(req.charge)
		return false, net.ErrClosed
	}
	c.pending = append(c.pending, req)
	return false, nil
}

// fill reads until need bytes of the current frame are in the buffer.
func (c *conn) fill(need int) error {
	var started time.Time
	for c.end-c.start < need {
		if err := c.makeRoom(need); err != nil {
			return err
		}
		if have := c.end - c.start; have == 0 {
			c.setDeadline(time.Now().Add(c.idleTimeout()))
		} else {
			if started.IsZero() {
				started = time.Now()
			}
			c.setDeadline(started.Add(c.l.limits.FrameTimeout + time.Duration(have>>12)*time.Second))
		}
		n, err := c.Conn.Read(c.buf[c.end:])
		c.end += n
		switch {
		case n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := c.late(); err != nil {
				return err
			}
		case err != nil:
			return err
		}
	}
	return nil
}

// late decides about a connection whose read deadline has passed.
func (c *conn) late() error {
	if c.end > c.start {
		return &refusal{ReasonSlow, fmt.Sprintf("%d bytes of a request arrived, and the rest did not in time", c.end-c.start)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, req := range c.pending {
		if req.answered { // it waits for an answer, and is not idle
			return nil
		}
	}
	return &refusal{ReasonIdle, "no request for " + c.idleTimeout().String()}
}

// setDeadline sets the read deadline, unless the one that applies is close to it.
func (c *conn) setDeadline(t time.Time) {
	if d := t.Sub(c.deadline); d < 0 || d > c.l.limits.FrameTimeout/16 {
		c.deadline = t
		_ = c.SetReadDeadline(t) // fails on a closed connection, and so does Read
	}
}

// makeRoom makes room for a byte at the end of the buffer. A frame of need bytes begins at start.
func (c *conn) makeRoom(need int) error {
	if c.end < len(c.buf) {
		return nil
	}
	have := c.buf[c.start:c.end]
	if c.start > 0 && (need <= len(c.buf) || len(have) < len(c.buf)/2) {
		copy(c.buf, have)
		c.start, c.end = 0, len(have)
		return nil
	}
	// The next frame often has the size of the previous one, all of which had arrived.
	larger := newBuffer(max(len(have), min(need, c.previous)-1), need)
	if !c.l.memory.acquire(int64(len(larger)), c.l.limits.MemoryTimeout, c.closed) {
		recycle(larger)
		return c.noMemory()
	}
	copy(larger, have)
	c.replace(larger, int64(len(larger)))
	c.start, c.end = 0, len(have)
	return nil
}

func (c *conn) noMemory() error {
	return &refusal{ReasonMemory, "no memory for a request within " + c.l.limits.MemoryTimeout.String()}
}

// shrink returns to the small buffer after a frame was handed over, unless it grew for the next.
func (c *conn) shrink() {
	c.ready = nil
	rest := c.buf[c.start:c.end]
	switch {
	case len(rest) == 0:
		c.start, c.end = 0, 0
	case len(rest) > smallBuffer:
		return
	}
	if len(c.buf) > smallBuffer {
		n := copy(c.small, rest)
		c.replace(c.small, 0)
		c.start, c.end = 0, n
	}
}

// replace sets the read buffer and the memory charged for it, and frees the old ones.
func (c *conn) replace(buf []byte, charge int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	recycle(c.buf)
	c.buf = buf
	if c.dead {
		c.l.memory.release(charge)
		return
	}
	c.l.memory.release(c.grown)
	c.grown = charge
}

// settle forgets requests that kfake has finished. It reads a request while it processes the one
// before it, and no earlier one.
func (c *conn) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.pending) > 1 {
		c.forget()
	}
}

// forget drops the oldest pending request; mu is held.
func (c *conn) forget() request {
	req := c.pending[0]
	c.pending = append(c.pending[:0], c.pending[1:]...)
	c.l.memory.release(req.charge)
	return req
}

// answer returns the request that an answer belongs to.
func (c *conn) answer(p []byte) (request, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.pending) > 0 {
		req := c.forget()
		if !req.answered {
			continue
		}
		if len(p) < 8 || binary.BigEndian.Uint32(p[4:]) != req.correlation {
			break
		}
		c.writing = true
		return req, nil
	}
	return request{}, errors.New("answer to no request")
}

// writeChunk is the part of an answer that WriteTimeout is for.
const writeChunk = 1 << 20

// Write sends an answer, which p has as a whole.
func (c *conn) Write(p []byte) (n int, err error) {
	defer c.recover(&err)
	req, err := c.answer(p)
	if err != nil {
		return 0, err
	}
	defer c.wrote()
	if c.retain(int64(len(p))) {
		c.l.holders.hold(c)
		c.l.relieve(c)
	}
	answer, err := c.l.repair(req, p)
	if err != nil {
		return 0, err
	}
	c.l.report(req, answer, c.who.Load(), c.from)
	for len(answer) > 0 {
		chunk := answer[:min(len(answer), writeChunk)]
		_ = c.SetWriteDeadline(time.Now().Add(c.l.limits.WriteTimeout)) // fails on a closed connection, and so does Write
		if _, err := c.Conn.Write(chunk); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = &refusal{ReasonSlow, "the client does not read its answer"}
			}
			c.refuse(err)
			return 0, err
		}
		answer = answer[len(chunk):]
	}
	return len(p), nil
}

// wrote tells those who wait that an answer was written.
func (c *conn) wrote() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	c.written.Broadcast()
}

// retain charges the buffer that kfake keeps for a connection's answers, of which one has n bytes.
// It reports whether the buffer is charged.
func (c *conn) retain(n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if more := n - c.retained; more > smallBuffer && !c.dead {
		c.l.memory.take(more)
		c.retained = n
	}
	return c.retained > 0
}

// Close releases what the connection holds.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.closing.Do(func() {
		close(c.closed)
		c.mu.Lock()
		defer c.mu.Unlock()
		for len(c.pending) > 0 {
			c.forget()
		}
		c.l.memory.release(c.retained + c.grown)
		c.retained, c.grown, c.dead = 0, 0, true
		c.written.Broadcast()
		c.l.holders.leave(c)
		c.l.leave(c.from)
	})
	return err
}

// refuse closes the connection if err is a refusal; other errors are those of the connection.
func (c *conn) refuse(err error) {
	var r *refusal
	if errors.As(err, &r) {
		c.l.refusals.add(r.reason, c.RemoteAddr(), r.detail)
	}
	c.Close() //nolint:errcheck,gosec // the connection has failed
}

// recover ends the connection after a panic.
func (c *conn) recover(err *error) {
	p := recover()
	if p == nil {
		return
	}
	*err = &refusal{ReasonPanic, fmt.Sprint(p)}
	c.l.log.Error("panic while serving a client connection", "part", "broker", "client", c.RemoteAddr(), "err", *err, "stack", string(debug.Stack()))
	c.refuse(*err)
}
