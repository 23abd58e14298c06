package subscribe

import "sync"

// Limits of what was read and is not durable yet. They bound memory.
const (
	maxMessages = 1000
	maxBytes    = 64 << 20
)

// acks acknowledges messages in the order in which they arrived, each once it is durable.
type acks struct {
	link *link

	mu      sync.Mutex
	room    *sync.Cond
	waiting []*ack
	bytes   int
	stopped bool
}

// ack is a message that is not acknowledged yet.
type ack struct {
	packet  uint16 // 0 for QoS 0
	bytes   int
	durable bool
}

func newAcks(l *link) *acks {
	a := &acks{link: l}
	a.room = sync.NewCond(&a.mu)
	return a
}

// add adds a message at the end. It waits while too much is not durable yet.
func (a *acks) add(packet uint16, bytes int) *ack {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.stopped && len(a.waiting) > 0 && (len(a.waiting) >= maxMessages || a.bytes+bytes > maxBytes) {
		a.room.Wait()
	}
	next := &ack{packet: packet, bytes: bytes}
	a.waiting = append(a.waiting, next)
	a.bytes += bytes
	return next
}

// settle acknowledges a message that is durable, once all before it are.
func (a *acks) settle(m *ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m.durable = true
	n := 0
	for n < len(a.waiting) && a.waiting[n].durable {
		if a.waiting[n].packet != 0 {
			a.link.acknowledge(a.waiting[n].packet)
		}
		a.bytes -= a.waiting[n].bytes
		n++
	}
	a.waiting = a.waiting[n:]
	a.room.Broadcast()
}

// stop ends waiting in add.
func (a *acks) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	a.room.Broadcast()
}

func (a *acks) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting)
}
