package mqtt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/mochi-mqtt/server/v2/packets"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/ingest/mapping"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/source"
	"weir.example/weir/internal/syncbuf"
)

// world is a broker with its spool, which can be restarted.
type world struct {
	testing.TB
	dir    string
	cfg    Config
	spool  *spool.Spool
	source *spool.Source
	b      *Broker
	log    syncbuf.Buffer
	stop   func()
}

func newWorld(t *testing.T, cfg Config) *world {
	w := &world{TB: t, dir: t.TempDir(), cfg: cfg}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) start() {
	w.Helper()
	var rules mapping.Rules
	if err := yaml.Unmarshal([]byte("site/+device/+sensor: { value: payload }\nspBv1.0/#: { preset: sparkplug-b }\n"), &rules); err != nil {
		w.Fatal(err)
	}
	m, err := mapping.New(rules)
	if err != nil {
		w.Fatal(err)
	}
	if w.spool, err = spool.Open(spool.Config{Dir: filepath.Join(w.dir, "spool"), MaxBytes: spool.MinBytes}); err != nil {
		w.Fatal(err)
	}
	w.source = w.spool.Source()
	c := w.cfg
	c.Listen, c.Dir, c.Intake = "127.0.0.1:0", filepath.Join(w.dir, "mqtt"), intake.New(m, w.spool)
	c.Logger = slog.New(slog.NewTextHandler(&w.log, nil))
	if w.b, err = Listen(c); err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.b.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := errors.Join(<-ended, w.spool.Close()); err != nil {
			w.Error(err)
		}
		w.stop = func() {}
	}
}

// restart ends everything and starts it again on the same directory.
func (w *world) restart() {
	w.Helper()
	w.stop()
	w.start()
}

// items returns what the spool has that was not returned yet: readings as device, sensor and value,
// and dead letters as their bytes and origin.
func (w *world) items() (all []string) {
	w.Helper()
	dst := make([]source.Item, 1000)
	n, err := w.source.Next(dst)
	if err != nil {
		w.Fatal(err)
	}
	for _, it := range dst[:n] {
		if it.Err != nil {
			var origin []string
			for _, a := range it.Origin {
				origin = append(origin, a.Name+"="+a.Value)
			}
			all = append(all, fmt.Sprintf("rejected %s: %v (%s)", it.Raw, it.Err, strings.Join(origin, " ")))
			continue
		}
		all = append(all, fmt.Sprintf("%s %s %v", it.DeviceID, it.Sensor, it.Value))
	}
	return all
}

// commit moves what the spool has to Kafka.
func (w *world) commit() {
	w.Helper()
	for dst := make([]source.Item, 1000); w.spool.Stats().Items > 0; {
		if _, err := w.source.Next(dst); err != nil {
			w.Fatal(err)
		}
		w.spool.Committed(w.source.Position())
	}
}

// client speaks MQTT.
type client struct {
	testing.TB
	net.Conn
	in      *bufio.Reader
	version byte
}

// options are those of a CONNECT.
type options struct {
	id             string
	version        byte // default 4
	keep           bool // the session
	user, password string
	will           string // topic
	tls            *tls.Config
	aliases        uint16 // that the broker may use
}

func (w *world) dial(o options) (*client, packets.Packet) {
	w.Helper()
	raw, err := (&net.Dialer{}).DialContext(w.Context(), "tcp", w.b.Addr())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = raw.Close() })
	if o.tls != nil {
		raw = tls.Client(raw, o.tls)
	}
	if o.version == 0 {
		o.version = 4
	}
	c := &client{TB: w.TB, Conn: raw, in: bufio.NewReader(raw), version: o.version}
	connect := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: o.version, Connect: packets.ConnectParams{
		ProtocolName: []byte("MQTT"), Clean: !o.keep, ClientIdentifier: o.id, Keepalive: 60,
		UsernameFlag: o.user != "", Username: []byte(o.user), PasswordFlag: o.password != "", Password: []byte(o.password),
		WillFlag: o.will != "", WillTopic: o.will, WillPayload: []byte("7"), WillQos: 1,
	}}
	if o.keep && o.version == 5 {
		connect.Properties.SessionExpiryInterval, connect.Properties.SessionExpiryIntervalFlag = 3600, true
	}
	connect.Properties.TopicAliasMaximum = o.aliases
	c.send(connect)
	return c, c.receive()
}

// connect is like dial, and expects to be accepted.
func (w *world) connect(o options) *client {
	w.Helper()
	c, ack := w.dial(o)
	if ack.FixedHeader.Type != packets.Connack || ack.ReasonCode != 0 {
		w.Fatalf("CONNECT was answered with %+v", ack)
	}
	return c
}

func (c *client) send(pk packets.Packet) {
	c.Helper()
	pk.ProtocolVersion = c.version
	var b bytes.Buffer
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(&b)
	case packets.Publish:
		err = pk.PublishEncode(&b)
	case packets.Puback:
		err = pk.PubackEncode(&b)
	case packets.Subscribe:
		err = pk.SubscribeEncode(&b)
	case packets.Unsubscribe:
		err = pk.UnsubscribeEncode(&b)
	case packets.Pingreq:
		err = pk.PingreqEncode(&b)
	case packets.Disconnect:
		err = pk.DisconnectEncode(&b)
	}
	if err == nil {
		_, err = c.Write(b.Bytes())
	}
	if err != nil {
		c.Fatal(err)
	}
}

// try returns the next packet within a time.
func (c *client) try(within time.Duration) (pk packets.Packet, err error) {
	_ = c.SetReadDeadline(time.Now().Add(within))
	first, err := c.in.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	if pk.FixedHeader.Remaining, _, err = packets.DecodeLength(c.in); err != nil {
		return pk, err
	}
	body := make([]byte, pk.FixedHeader.Remaining)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return pk, err
	}
	pk.ProtocolVersion = c.version
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Unsuback:
		err = pk.UnsubackDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	}
	return pk, err
}

func (c *client) receive() packets.Packet {
	c.Helper()
	pk, err := c.try(10 * time.Second)
	if err != nil {
		c.Fatal(err)
	}
	return pk
}

// messageTo returns a PUBLISH; with id 0 its QoS is 0.
func messageTo(id uint16, topic, payload string) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, PacketID: id, TopicName: topic, Payload: []byte(payload)}
	if id > 0 {
		pk.FixedHeader.Qos = 1
	}
	return pk
}

// publish publishes with QoS 1, and returns the reason code of the PUBACK.
func (c *client) publish(id uint16, topic, payload string, change ...func(*packets.Packet)) byte {
	c.Helper()
	pk := messageTo(id, topic, payload)
	for _, fn := range change {
		fn(&pk)
	}
	c.send(pk)
	ack := c.receive()
	if ack.FixedHeader.Type != packets.Puback || ack.PacketID != id {
		c.Fatalf("PUBLISH %d was answered with %+v", id, ack)
	}
	return ack.ReasonCode
}

func again(pk *packets.Packet)    { pk.FixedHeader.Dup = true }
func retained(pk *packets.Packet) { pk.FixedHeader.Retain = true }

// subscribe returns the reason code of the SUBACK.
func (c *client) subscribe(id uint16, filter string) byte {
	c.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: id, Filters: packets.Subscriptions{{Filter: filter, Qos: 1}}})
	ack := c.receive()
	if ack.FixedHeader.Type != packets.Suback || ack.PacketID != id || len(ack.ReasonCodes) != 1 {
		c.Fatalf("SUBSCRIBE was answered with %+v", ack)
	}
	return ack.ReasonCodes[0]
}

// ended reports whether the broker has closed the connection, after at most one DISCONNECT.
func (c *client) ended() (code byte, ok bool) {
	pk, err := c.try(10 * time.Second)
	if err == nil && pk.FixedHeader.Type == packets.Disconnect {
		code = pk.ReasonCode
		_, err = c.try(10 * time.Second)
	}
	var timeout net.Error
	return code, err != nil && (!errors.As(err, &timeout) || !timeout.Timeout())
}

// users returns a guard with users.
func users(t *testing.T, all ...guard.User) *guard.Guard {
	t.Helper()
	g, err := guard.Open(t.Context(), guard.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	err = g.Users().Change(func(users map[string]guard.User) error {
		for _, u := range all {
			keys, err := guard.BothKeys(u.Name + "-password")
			if err != nil {
				return err
			}
			u.SCRAM = keys
			users[u.Name] = u
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// raw returns a connection on which nothing was sent.
func (w *world) raw() net.Conn {
	w.Helper()
	raw, err := (&net.Dialer{}).DialContext(w.Context(), "tcp", w.b.Addr())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = raw.Close() })
	return raw
}
