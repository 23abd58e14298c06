package mqtt

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/ingest/spool"
)

// messages are the messages of a connection that are not yet acknowledged.
type messages struct {
	mu     sync.Mutex
	room   sync.Cond // signals that there is room, or that the connection is closed
	closed bool

	count int   // of messages in flight
	bytes int64 // of them

	order    int64      // of the last message
	queue    []*message // without an outcome, or behind one without; in order
	held     []*message // refused by the spool, to be appended again; in order
	retrying bool       // the first of them is being appended
}

// message is a PUBLISH and what becomes of it. It is far smaller than mochi-mqtt's packet, of which
// each one would take most of a kilobyte until it is acknowledged.
type message struct {
	from       *conn
	topic      string
	payload    []byte
	properties *packets.Properties // of MQTT 5; nil for none
	qos        byte
	retain     bool
	packetID   uint16
	entry      *spool.Entry // nil: nothing to store
	size       int64
	order      int64

	retried bool // from held
	done    bool // has an outcome
	code    byte // of its PUBACK
}

func (c *conn) newMessage(pk *packets.Packet) *message {
	m := &message{
		from: c, topic: pk.TopicName, payload: pk.Payload, qos: pk.FixedHeader.Qos, retain: pk.FixedHeader.Retain, packetID: pk.PacketID,
		size: int64(len(pk.TopicName)+len(pk.Payload)) + overhead,
	}
	if c.version == 5 {
		m.properties = new(pk.Properties)
	}
	return m
}

// packet returns the message for subscribers, or to be retained.
func (m *message) packet() *packets.Packet {
	pk := &packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: m.qos, Retain: m.retain},
		ProtocolVersion: m.from.version, TopicName: m.topic, Payload: m.payload, PacketID: m.packetID,
	}
	if m.properties != nil {
		pk.Properties = *m.properties
	}
	return pk
}

// overhead is about what a message takes besides topic and payload.
const overhead = 512

// nothing is a packet without an effect: no message to a client has the identifier 0.
var nothing = packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}}

// publish handles a PUBLISH on the goroutine that reads the connection. It returns the code with
// which to disconnect the client, or nil.
func (c *conn) publish(cl *mochi.Client, pk packets.Packet) error {
	if code := pk.PublishValidate(maxAliases); code != packets.CodeSuccess {
		return code
	}
	if pk.FixedHeader.Qos > 1 {
		c.b.stats.refuse("QoS 2")
		c.b.qos2(c)
		return packets.ErrQosNotSupported
	}
	if pk.Properties.TopicAlias > 0 {
		if pk.TopicName = cl.State.TopicAliases.Inbound.Set(pk.Properties.TopicAlias, pk.TopicName); pk.TopicName == "" {
			return packets.ErrTopicAliasInvalid
		}
	}
	m := c.newMessage(&pk)
	if !c.admit(m) {
		return packets.CodeDisconnect
	}
	switch {
	case len(pk.TopicName) > maxTopic || strings.HasPrefix(pk.TopicName, "$SYS") || strings.HasPrefix(pk.TopicName, "$share"):
		c.b.stats.refuse("topics that are too long, or of the broker itself")
		c.b.refused(m, packets.ErrTopicNameInvalid)
	case !c.b.may(c.who, c.id, pk.TopicName, true):
		c.b.stats.refuse("topics that the user may not publish to")
		c.b.refused(m, packets.ErrNotAuthorized)
	default:
		m.entry = c.b.entryOf(c.id, &pk, c.delivery(&pk))
		c.append(m)
	}
	return nil
}

// delivery identifies a message that its sender repeats until it is acknowledged; nil if it does
// not, or if the client cannot come back under the same id.
func (c *conn) delivery(pk *packets.Packet) *spool.Delivery {
	if pk.FixedHeader.Qos == 0 || c.anonymous {
		return nil
	}
	return &spool.Delivery{
		Session: "mqtt/" + c.id, Packet: pk.PacketID, Digest: intake.Digest(pk.TopicName, pk.Payload), Again: pk.FixedHeader.Dup,
	}
}

// entryOf returns what a message contains; nil for nothing. A retained message without a payload
// only removes the retained one.
func (b *Broker) entryOf(client string, pk *packets.Packet, d *spool.Delivery) *spool.Entry {
	if pk.FixedHeader.Retain && len(pk.Payload) == 0 {
		return nil
	}
	entry, result := b.cfg.Intake.Map(&intake.Message{
		Protocol: intake.MQTT, Client: client, Topic: pk.TopicName, Payload: pk.Payload, Arrived: time.Now(),
		QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain, Delivery: d,
	})
	if r := result.Reply; r != nil {
		b.fanOut(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, ProtocolVersion: 5, TopicName: r.Topic, Payload: r.Payload}, "weir")
	}
	return entry
}

// admit counts a message once there is room for it. It returns false if the connection has ended.
func (c *conn) admit(m *message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && c.count > 0 && (c.count >= maxInFlight || c.bytes+m.size > maxBytes) {
		c.room.Wait()
	}
	if c.closed {
		return false
	}
	c.count++
	c.bytes += m.size
	c.order++
	m.order = c.order
	c.queue = append(c.queue, m)
	return true
}

// append gives a message to the spool, unless earlier ones wait to be appended again.
func (c *conn) append(m *message) {
	c.mu.Lock()
	waiting := len(c.held) > 0 || c.retrying
	if waiting && m.qos > 0 {
		c.held = append(c.held, m)
	}
	c.mu.Unlock()
	switch {
	case !waiting:
		c.b.append(m)
	case m.qos == 0:
		c.b.outcome(m, &spool.FullError{What: "earlier messages of the client wait for room"})
	}
}

func (b *Broker) append(m *message) {
	if m.entry == nil {
		b.outcome(m, nil)
		return
	}
	b.cfg.Intake.Spool().Append(m.entry, func(_ spool.Receipt, err error) {
		if b.waits(m, err) {
			m.from.hold(m) // at once, so that the next message of the client waits behind it
			return
		}
		b.outcome(m, err)
	})
}

// waits reports whether a message has to be appended again later: MQTT 3.1.1 cannot refuse it, or
// the same one is about to become durable.
func (b *Broker) waits(m *message, err error) bool {
	switch {
	case err == nil || m.qos == 0 || errors.Is(err, spool.ErrClosed) || errors.Is(err, spool.ErrTooLarge):
		return false
	case errors.Is(err, spool.ErrInFlight):
		return true
	case m.from.version < 5:
		b.noRoom(err)
		return true
	}
	return false
}

// hold keeps a message that the spool has refused, in order.
func (c *conn) hold(m *message) {
	c.mu.Lock()
	at, _ := slices.BinarySearchFunc(c.held, m, func(a, b *message) int { return int(a.order - b.order) })
	c.held = slices.Insert(c.held, at, m)
	if m.retried {
		c.retrying = false
	}
	gone := c.closed
	c.mu.Unlock()
	if gone { // the client sends it again
		return
	}
	c.b.mu.Lock()
	c.b.holding[c] = struct{}{}
	c.b.mu.Unlock()
}

// again appends the first message that the spool has refused. It returns false if there is none.
func (c *conn) again() bool {
	c.mu.Lock()
	if c.closed || len(c.held) == 0 || c.retrying {
		more := !c.closed && (len(c.held) > 0 || c.retrying)
		c.mu.Unlock()
		return more
	}
	m := c.held[0]
	c.held = c.held[1:]
	c.retrying, m.retried = true, true
	c.mu.Unlock()
	c.b.append(m)
	return true
}

// settle ends a message, and acknowledges those that are next in order.
func (c *conn) settle(m *message, code byte) {
	c.mu.Lock()
	m.done, m.code = true, code
	if m.retried {
		c.retrying = false
	}
	n := 0
	var acks bytes.Buffer
	ack := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, ProtocolVersion: c.version}
	for n < len(c.queue) && c.queue[n].done {
		next := c.queue[n]
		if next.qos > 0 {
			ack.PacketID, ack.ReasonCode = next.packetID, next.code
			_ = ack.PubackEncode(&acks) // it never fails
		}
		c.count--
		c.bytes -= next.size
		n++
	}
	c.queue = slices.Delete(c.queue, 0, n)
	next := m.retried && len(c.held) > 0
	c.room.Broadcast()
	c.mu.Unlock()
	if acks.Len() > 0 {
		_, _ = c.Write(acks.Bytes()) // a client that is gone sends the messages again
	}
	if next {
		c.again()
	}
}

// errRefused ends a message that is not stored because it must not be.
type errRefused packets.Code

func (e errRefused) Error() string { return e.Reason }

// refused ends a message without storing it. MQTT 3.1.1 has no code for it and allows either to
// acknowledge the message or to disconnect the client; only the latter can be noticed.
func (b *Broker) refused(m *message, code packets.Code) { b.outcome(m, errRefused(code)) }

// inFlight returns the messages in flight, and how many of them wait for room in the spool.
func (c *conn) inFlight() (count, held int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count, len(c.held)
}
