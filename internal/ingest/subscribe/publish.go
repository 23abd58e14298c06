package subscribe

import (
	"context"
	"errors"
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"

	"weir.example/weir/internal/secret"
)

// Publisher publishes messages with QoS 1 over one connection.
type Publisher struct {
	link  *link
	acks  chan puback
	ended chan struct{} // closed after the last of acks
	err   error         // why the connection ended
	id    uint16
}

// Message is a message to publish.
type Message struct {
	Topic   string
	Payload []byte
	Retain  bool
}

type puback struct {
	id     uint16
	code   byte
	reason string
}

// window is how many messages are in flight; mosquitto takes 20 by default.
const window = 20

// ConnectPublisher connects with the URL, client id, user and TLS of c, whose session ends with the
// connection.
func ConnectPublisher(ctx context.Context, c *Config, secrets secret.Source) (*Publisher, error) {
	c.secrets = secrets
	if _, _, err := c.address(); err != nil {
		return nil, err
	}
	l, err := openAny(ctx, c, 0, true)
	if err != nil {
		return nil, err
	}
	p := &Publisher{link: l, acks: make(chan puback, window), ended: make(chan struct{})}
	go p.read()
	return p, nil
}

// read passes acknowledgements on until the connection ends.
func (p *Publisher) read() {
	defer close(p.ended)
	for {
		packet, err := p.link.read()
		switch {
		case err != nil:
			p.err = p.link.cause(err)
			p.link.fail(p.err)
			return
		case packet.FixedHeader.Type == packets.Puback:
			select {
			case p.acks <- puback{packet.PacketID, packet.ReasonCode, packet.Properties.ReasonString}:
			default:
				p.err = errors.New("the broker acknowledges more messages than it got")
				p.link.fail(p.err)
				return
			}
		case packet.FixedHeader.Type == packets.Disconnect:
			p.err = fmt.Errorf("the broker ends the connection: %s", meaning(p.link.version, packet.ReasonCode, packet.Properties.ReasonString))
			p.link.fail(p.err)
			return
		}
	}
}

// Largest returns how many bytes a packet may have; 0 for any number.
func (p *Publisher) Largest() int { return p.link.largest }

// RejectedError is a message that the broker has answered with an error.
type RejectedError struct {
	Code   byte
	Reason string
}

// Busy reports whether the broker may take the message later.
func (e *RejectedError) Busy() bool { return e.Code == 0x80 || e.Code == 0x83 || e.Code == 0x97 }

func (e *RejectedError) Error() string {
	text := fmt.Sprintf("reason code %#x", e.Code)
	switch e.Code {
	case 0x87:
		text = "not authorized"
	case 0x90:
		text = "it does not accept the topic"
	case 0x97:
		text = "its quota is exceeded"
	case 0x99:
		text = "it does not accept the payload"
	}
	if e.Reason != "" {
		text += fmt.Sprintf(" (%.200q)", e.Reason)
	}
	return "the broker rejects the message: " + text
}

// Publish publishes messages in their order. It calls done for each in the same order, once it is
// acknowledged; err is a *RejectedError or nil. done's error ends it.
func (p *Publisher) Publish(ctx context.Context, all []Message, done func(i int, err error) error) error {
	most := window
	if p.link.receive > 0 {
		most = min(most, p.link.receive)
	}
	ids := make(map[uint16]int)
	answers := make(map[int]error)
	for next, sent := 0, 0; next < len(all); {
		for ; sent < len(all) && sent-next < most; sent++ {
			p.id = p.id%65535 + 1
			ids[p.id] = sent
			m := packets.Packet{
				FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: all[sent].Retain}, ProtocolVersion: p.link.version,
				TopicName: all[sent].Topic, Payload: all[sent].Payload, PacketID: p.id,
			}
			if err := p.link.send(m.PublishEncode); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return fmt.Errorf("before the message to %q was acknowledged: %w", all[next].Topic, p.err)
		case a := <-p.acks:
			i, ok := ids[a.id]
			if !ok {
				return errors.New("the broker acknowledges a message that it did not get")
			}
			delete(ids, a.id)
			answers[i] = nil
			if a.code >= 0x80 {
				answers[i] = &RejectedError{a.code, a.reason}
			}
		}
		for {
			err, ok := answers[next]
			if !ok {
				break
			}
			delete(answers, next)
			if err := done(next, err); err != nil {
				return err
			}
			next++
		}
	}
	return nil
}

// Close ends the connection.
func (p *Publisher) Close() {
	p.link.close()
	<-p.ended
}
