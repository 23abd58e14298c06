package subscribe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	keepalive      = 30 * time.Second
	connectTimeout = 15 * time.Second
	writeTimeout   = 30 * time.Second
	closeTimeout   = 2 * time.Second // of what is written last

	maxPacket = 8 << 20  // bytes of a message; what is longer becomes a dead letter
	shownPart = 64 << 10 // bytes of it that are kept
)

// MQTT's protocol versions.
const (
	version311 = 4
	version5   = 5
)

// link is a connection to a broker. One goroutine reads; acknowledgements and other packets may be
// written by any.
type link struct {
	conn    net.Conn
	in      *bufio.Reader
	version byte
	ping    time.Duration // between two of our packets, at most

	receive int  // unacknowledged messages that the broker takes
	largest int  // bytes of a packet that it takes; 0 for any
	present bool // the broker had a session
	session time.Duration

	mu     sync.Mutex
	out    bytes.Buffer
	err    error
	closed bool
	wake   chan struct{}
	ended  chan struct{} // closed when nothing is written any more
}

// refusedError is a broker's refusal to connect.
type refusedError struct {
	version byte
	code    byte
	reason  string
}

// Error implements error.
func (e *refusedError) Error() string {
	return fmt.Sprintf("the broker refuses the connection: %s", meaning(e.version, e.code, e.reason))
}

// meaning describes a reason code of CONNACK, SUBACK and DISCONNECT.
func meaning(version, code byte, reason string) string {
	text := ""
	if version == version5 {
		switch code {
		case 0x81, 0x82:
			text = "it considers a packet malformed"
		case 0x84:
			text = "it does not support this version of MQTT"
		case 0x85:
			text = "it does not accept client_id"
		case 0x86:
			text = "the user name or password is wrong"
		case 0x87:
			text = "not authorized"
		case 0x8a:
			text = "the client is banned"
		case 0x8b:
			text = "it is shutting down"
		case 0x8e:
			text = "another client has connected with the same client_id"
		case 0x97:
			text = "its quota is exceeded"
		case 0x9e:
			text = "it does not support shared subscriptions"
		}
	} else {
		text = map[byte]string{
			1: "it does not support this version of MQTT", 2: "it does not accept client_id", 3: "it is not available",
			4: "the user name or password is wrong", 5: "not authorized",
		}[code]
	}
	if text == "" {
		text = fmt.Sprintf("reason code %#x", code)
	}
	if reason != "" {
		text += fmt.Sprintf(" (%.200q)", reason)
	}
	return text
}

// open connects with a version of the protocol. clean asks for a session that ends with the
// connection.
func open(ctx context.Context, c *Config, version byte, clean bool) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	address, _, err := c.address()
	if err != nil {
		return nil, err
	}
	secure, err := c.tls()
	if err != nil {
		return nil, err
	}
	username, err := c.secrets.Expand(c.Username)
	if err != nil {
		return nil, err
	}
	password, err := c.secrets.Expand(c.Password)
	if err != nil {
		return nil, err
	}
	dial := c.dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		encrypted := tls.Client(conn, secure)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = encrypted
	}
	l := &link{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), version: version, ping: keepalive / 2, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := l.handshake(c, username, password, clean); err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	go l.write()
	return l, nil
}

// errNoAnswer means that the broker closed the connection instead of answering CONNECT, as brokers
// do that do not know a version.
var errNoAnswer = errors.New("the broker closed the connection instead of answering")

func (l *link) handshake(c *Config, username, password string, clean bool) error {
	p := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: l.version,
		Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"), Clean: clean, Keepalive: uint16(keepalive / time.Second), ClientIdentifier: c.ClientID,
			UsernameFlag: username != "", Username: []byte(username), PasswordFlag: password != "", Password: []byte(password),
		},
	}
	if l.version == version5 {
		const unacknowledged = 500
		p.Properties = packets.Properties{ReceiveMaximum: unacknowledged, MaximumPacketSize: maxPacket}
		if !clean {
			p.Properties.SessionExpiryInterval, p.Properties.SessionExpiryIntervalFlag = uint32(c.Session/time.Second), true
		}
	}
	var b bytes.Buffer
	if err := p.ConnectEncode(&b); err != nil {
		return err
	}
	if _, err := l.conn.Write(b.Bytes()); err != nil {
		return err
	}
	answer, err := l.read()
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			return errNoAnswer
		}
		return err
	}
	if answer.FixedHeader.Type != packets.Connack {
		return errors.New("the broker does not answer with CONNACK: is this the port of an MQTT broker?")
	}
	if answer.ReasonCode != 0 {
		return &refusedError{answer.ProtocolVersion, answer.ReasonCode, answer.Properties.ReasonString}
	}
	l.present = answer.SessionPresent
	l.receive, l.largest = int(answer.Properties.ReceiveMaximum), int(answer.Properties.MaximumPacketSize)
	l.session = c.Session
	if answer.Properties.SessionExpiryIntervalFlag {
		l.session = time.Duration(answer.Properties.SessionExpiryInterval) * time.Second
	}
	if answer.Properties.ServerKeepAliveFlag && answer.Properties.ServerKeepAlive > 0 {
		l.ping = min(l.ping, time.Duration(answer.Properties.ServerKeepAlive)*time.Second/2)
	}
	return nil
}

// tooLong is an incoming message of which only the beginning was read.
type tooLong struct{ size int }

// Error implements error.
func (e *tooLong) Error() string {
	return fmt.Sprintf("the message has %d bytes, more than %d MiB: only its beginning is kept", e.size, maxPacket>>20)
}

// read reads a packet. With a *tooLong, the packet is a PUBLISH whose payload is not complete.
func (l *link) read() (*packets.Packet, error) {
	first, err := l.in.ReadByte()
	if err != nil {
		return nil, err
	}
	p := &packets.Packet{ProtocolVersion: l.version}
	if err := p.FixedHeader.Decode(first); err != nil {
		return nil, fmt.Errorf("the broker sent an invalid packet: %w", err)
	}
	size, _, err := packets.DecodeLength(l.in)
	if err != nil {
		return nil, err
	}
	p.FixedHeader.Remaining = size
	var long error
	keep := size
	if size > maxPacket {
		if p.FixedHeader.Type != packets.Publish {
			return nil, fmt.Errorf("the broker sent a packet of %d bytes", size)
		}
		keep, long = shownPart, &tooLong{size}
	}
	body := make([]byte, keep)
	if _, err := io.ReadFull(l.in, body); err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, l.in, int64(size-keep)); err != nil {
		return nil, err
	}
	if err := decode(p, body); err != nil {
		return nil, fmt.Errorf("the broker sent an invalid packet: %w", err)
	}
	return p, long
}

func decode(p *packets.Packet, body []byte) error {
	switch p.FixedHeader.Type {
	case packets.Connack:
		if len(body) == 2 { // as before MQTT 5
			p.ProtocolVersion = version311
		}
		return p.ConnackDecode(body)
	case packets.Publish:
		return p.PublishDecode(body)
	case packets.Suback:
		return p.SubackDecode(body)
	case packets.Unsuback:
		if len(body) < 2 { // mochi decodes it for one version only
			return errors.New("an UNSUBACK without a packet identifier")
		}
		p.PacketID = uint16(body[0])<<8 | uint16(body[1])
		return nil
	case packets.Puback:
		return p.PubackDecode(body)
	case packets.Pingresp:
		return nil
	case packets.Disconnect:
		if len(body) == 0 {
			return nil
		}
		err := p.DisconnectDecode(body)
		p.ReasonCode = body[0] // mochi leaves it out if it is alone
		return err
	}
	return fmt.Errorf("a packet of type %d", p.FixedHeader.Type)
}

// send encodes a packet that the write goroutine sends.
func (l *link) send(encode func(*bytes.Buffer) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	err := encode(&l.out)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return err
}

// acknowledge sends a PUBACK.
func (l *link) acknowledge(packet uint16) {
	p := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, ProtocolVersion: l.version, PacketID: packet}
	_ = l.send(p.PubackEncode) // the reader notices that the connection failed
}

// publish sends a message with QoS 0.
func (l *link) publish(topic string, payload []byte) error {
	p := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, ProtocolVersion: l.version, TopicName: topic, Payload: payload}
	return l.send(p.PublishEncode)
}

// write sends what was encoded, and pings while there is nothing.
func (l *link) write() {
	defer close(l.ended)
	timer := time.NewTicker(l.ping)
	defer timer.Stop()
	for {
		l.mu.Lock()
		data := bytes.Clone(l.out.Bytes())
		l.out.Reset()
		done, limit := l.closed || l.err != nil, writeTimeout
		if l.closed {
			limit = closeTimeout
		}
		l.mu.Unlock()
		if len(data) > 0 {
			_ = l.conn.SetWriteDeadline(time.Now().Add(limit))
			if _, err := l.conn.Write(data); err != nil {
				l.fail(err)
				return
			}
			continue
		}
		if done {
			return
		}
		select {
		case <-l.wake:
		case <-timer.C:
			p := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}}
			_ = l.send(p.PingreqEncode)
		}
	}
}

// fail ends the connection at once.
func (l *link) fail(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
	}
	l.mu.Unlock()
	_ = l.conn.Close()
	l.signal()
}

// cause returns why the connection failed, if that is known better than by the error of a read.
func (l *link) cause(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	return err
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// close sends what was encoded and a DISCONNECT, and ends the connection.
func (l *link) close() {
	p := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ProtocolVersion: l.version}
	_ = l.send(p.DisconnectEncode) // a failed connection needs none
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(closeTimeout)) // also for a write that is under way
	l.signal()
	<-l.ended
	_ = l.conn.Close()
}

// request sends SUBSCRIBE or UNSUBSCRIBE.
func (l *link) request(kind byte, id uint16, filters []packets.Subscription) error {
	p := packets.Packet{FixedHeader: packets.FixedHeader{Type: kind, Qos: 1}, ProtocolVersion: l.version, PacketID: id, Filters: filters}
	if kind == packets.Subscribe {
		return l.send(p.SubscribeEncode)
	}
	return l.send(p.UnsubscribeEncode)
}
