package front

import (
	"container/list"
	"net"
	"sync"
	"time"
)

// holders are the connections for which kfake keeps an answer of some size, whether their clients
// have read it or not. The one whose answer was sent first is in front.
type holders struct {
	mu   sync.Mutex
	list list.List // of *holder
}

type holder struct {
	conn  *conn
	since time.Time // of the answer
}

// holdTime is how long a connection may keep its answer if the memory is used up. If twice as much
// is used, it may not keep it at all.
const holdTime = time.Second

// hold puts a connection at the end, because it sends an answer.
func (h *holders) hold(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-c.closed: // leave was called, or is going to be
		return
	default:
	}
	if c.held == nil {
		c.held = h.list.PushBack(&holder{conn: c})
	}
	c.held.Value.(*holder).since = time.Now() //nolint:forcetypeassert // all are
	h.list.MoveToBack(c.held)
}

// leave removes a connection.
func (h *holders) leave(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.held != nil {
		h.list.Remove(c.held)
	}
}

// first returns the connection that has kept its answer for the longest time, and at least for
// some time, or nil. Those of Weir's own processes may keep theirs.
func (h *holders) first(least time.Duration) *conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := h.list.Front(); e != nil; e = e.Next() {
		first := e.Value.(*holder) //nolint:forcetypeassert // all are
		if time.Since(first.since) < least {
			return nil
		}
		if who := first.conn.who.Load(); who == nil || !who.Internal {
			return first.conn
		}
	}
	return nil
}

// relieve closes connections that keep answers until the memory is within its limit. Their clients
// read slowly, or have nothing to ask. self sends an answer now.
func (l *Listener) relieve(self *conn) {
	for {
		used, least := l.memory.inUse(), holdTime
		if used <= l.memory.max {
			return
		}
		if used > 2*l.memory.max {
			least = 0
		}
		c := l.holders.first(least)
		if c == nil || c == self {
			return
		}
		c.reset()
		c.refuse(&refusal{ReasonMemory, "the memory of all answers is used up, and this one was kept for the longest time"})
	}
}

// reset lets the system forget what it has not sent yet when the connection is closed.
func (c *conn) reset() {
	inner := c.Conn
	if secure, ok := inner.(interface{ NetConn() net.Conn }); ok {
		inner = secure.NetConn()
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails on a closed connection
	}
}
