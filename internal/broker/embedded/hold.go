package embedded

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// With Config.Sync, the answers to requests that write are held until the disk has what they wrote.
// One sync of the file system serves all answers that wait when it begins. The decision to end a
// transaction is synced before the broker carries it out (see journal.append), so its answer is not
// held.

// heldKeys are the requests whose answers are held.
var heldKeys = []kmsg.Key{kmsg.Produce, kmsg.OffsetCommit, kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit}

// syncer shares syncs of the file system between those who wait for one.
type syncer struct {
	sync func() error // of everything written before the call

	mu       sync.Mutex
	changed  *sync.Cond
	running  bool
	begun    uint64 // syncs
	finished uint64
	waiting  int   // calls
	failed   error // of any sync: what has not reached the disk then never will
}

func newSyncer(fs func() error) *syncer {
	s := &syncer{sync: fs}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// openSyncer returns the syncer of dir's file system, which must be closed.
func openSyncer(dir string) (*syncer, func() error, error) {
	f, err := os.Open(dir) //nolint:gosec // the data directory is the user's choice
	if err != nil {
		return nil, nil, err
	}
	return newSyncer(func() error { return syncFilesystem(f) }), f.Close, nil
}

// wait returns when the disk has everything that was written before the call. After an error, every
// call returns it.
func (s *syncer) wait() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for enough := s.begun + 1; s.failed == nil && s.finished < enough; {
		if s.running {
			s.waiting++
			s.changed.Wait()
			s.waiting--
			continue
		}
		s.running = true
		s.begun++
		s.mu.Unlock()
		err := s.sync()
		s.mu.Lock()
		s.running = false
		s.finished = s.begun
		s.failed = err
		s.changed.Broadcast()
	}
	return s.failed
}

// heldListener holds answers on its connections.
type heldListener struct {
	net.Listener
	disk *syncer
}

// Accept implements net.Listener.
func (l heldListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &heldConn{Conn: c, disk: l.disk}, nil
}

// heldConn holds answers. kfake reads and writes in one goroutine each, and writes an answer in one
// call.
type heldConn struct {
	net.Conn
	disk *syncer

	header [12]byte // of the frame that is being read: size, key, version, correlation id
	have   int      // bytes of it
	left   int64    // bytes of the rest of the frame

	mu      sync.Mutex
	pending []heldRequest // read and not answered
}

type heldRequest struct {
	key         kmsg.Key
	correlation uint32
}

// NetConn returns the connection below.
func (c *heldConn) NetConn() net.Conn { return c.Conn }

// Read implements net.Conn.
func (c *heldConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.observe(p[:n])
	return n, err
}

// observe keeps the headers of requests.
func (c *heldConn) observe(p []byte) {
	for len(p) > 0 {
		if c.left > 0 {
			skip := min(c.left, int64(len(p)))
			c.left -= skip
			p = p[skip:]
			continue
		}
		n := copy(c.header[c.have:], p)
		c.have += n
		p = p[n:]
		if c.have < len(c.header) {
			return
		}
		c.have = 0
		c.left = int64(binary.BigEndian.Uint32(c.header[:])) + 4 - int64(len(c.header))
		c.mu.Lock()
		c.pending = append(c.pending, heldRequest{
			key:         kmsg.Key(binary.BigEndian.Uint16(c.header[4:])), //nolint:gosec // as it was sent
			correlation: binary.BigEndian.Uint32(c.header[8:]),
		})
		c.mu.Unlock()
	}
}

// Write sends an answer, once the disk has what its request wrote. If the disk fails, it is never
// sent.
func (c *heldConn) Write(p []byte) (int, error) {
	key, err := c.answered(p)
	if err != nil {
		return 0, err
	}
	if slices.Contains(heldKeys, key) {
		if err := c.disk.wait(); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// answered returns the key of the request that an answer belongs to. Requests without an answer
// (acks=0) are dropped.
func (c *heldConn) answered(p []byte) (kmsg.Key, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) >= 8 && len(c.pending) > 0 {
		first := c.pending[0]
		c.pending = append(c.pending[:0], c.pending[1:]...)
		if first.correlation == binary.BigEndian.Uint32(p[4:]) {
			return first.key, nil
		}
	}
	return 0, errors.New("answer to no request")
}

// readyListener accepts connections once ready is closed: until then, the handlers are incomplete.
type readyListener struct {
	net.Listener
	ready  <-chan struct{}
	closed chan struct{}
	once   sync.Once
}

// Accept waits until the broker is ready.
func (l *readyListener) Accept() (net.Conn, error) {
	select {
	case <-l.ready:
		return l.Listener.Accept()
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *readyListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
