package mqtttest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Publisher publishes with QoS 1, one message after the other. It repeats each until it is
// acknowledged, over new connections if it has to, as devices do.
type Publisher struct {
	Addr     string
	ClientID string
	Version  byte // default 4: MQTT 3.1.1

	conn net.Conn
	in   *bufio.Reader
	id   uint16
}

// Publish publishes a message, and returns once it is acknowledged or ctx is done.
func (p *Publisher) Publish(ctx context.Context, topic string, payload []byte) error {
	return p.publish(ctx, topic, payload, 1, false)
}

// Retain publishes a retained message.
func (p *Publisher) Retain(ctx context.Context, topic string, payload []byte) error {
	return p.publish(ctx, topic, payload, 1, true)
}

// Throw publishes a message with QoS 0.
func (p *Publisher) Throw(ctx context.Context, topic string, payload []byte) error {
	return p.publish(ctx, topic, payload, 0, false)
}

func (p *Publisher) publish(ctx context.Context, topic string, payload []byte, qos byte, retain bool) error {
	p.id = p.id%1000 + 1
	for dup := false; ; dup = true {
		err := p.try(topic, payload, qos, retain, dup)
		if err == nil {
			return nil
		}
		p.Close()
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *Publisher) try(topic string, payload []byte, qos byte, retain, dup bool) error {
	if p.Version == 0 {
		p.Version = 4
	}
	if p.conn == nil {
		conn, err := net.DialTimeout("tcp", p.Addr, time.Second)
		if err != nil {
			return err
		}
		p.conn, p.in = conn, bufio.NewReader(conn)
		connect := packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: p.Version,
			Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), Clean: true, ClientIdentifier: p.ClientID, Keepalive: 60},
		}
		if err := p.exchange(connect.ConnectEncode, packets.Connack); err != nil {
			return err
		}
	}
	m := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos, Dup: dup && qos > 0, Retain: retain}, ProtocolVersion: p.Version,
		TopicName: topic, Payload: payload,
	}
	if qos == 0 {
		return p.exchange(m.PublishEncode, 0)
	}
	m.PacketID = p.id
	return p.exchange(m.PublishEncode, packets.Puback)
}

// exchange sends a packet, and waits for one of the given type; 0 for none.
func (p *Publisher) exchange(encode func(*bytes.Buffer) error, answer byte) error {
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		return err
	}
	if err := p.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := p.conn.Write(b.Bytes()); err != nil || answer == 0 {
		return err
	}
	first, err := p.in.ReadByte()
	if err != nil {
		return err
	}
	n, _, err := packets.DecodeLength(p.in)
	if err != nil {
		return err
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(p.in, body); err != nil {
		return err
	}
	switch {
	case first>>4 != answer:
		return fmt.Errorf("a packet of type %d, want %d", first>>4, answer)
	case answer == packets.Connack && body[1] != 0:
		return fmt.Errorf("refused with %d", body[1])
	}
	return nil
}

// Close closes the connection.
func (p *Publisher) Close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}
