// Package mqtt is the embedded MQTT broker, for devices that send their readings by MQTT 3.1.1 and
// 5. A message is acknowledged once what it contains is durable in the spool; then it is retained
// and goes to the other subscribers.
//
//	mqtt.go     Config, Broker: starting and stopping
//	hook.go     what mochi-mqtt, which speaks the protocol, asks and reports
//	connect.go  logins, sessions, and clients that connect twice
//	publish.go  a connection's messages: in flight, in order, acknowledged
//	finish.go   what happens to a message once the spool has it, or has refused it
//	listener.go accepting connections: TLS, time limits, the first packet
//	output.go   what is sent on a connection, without waiting for the client
//	frame.go    limits of the packets that arrive on a connection
//	acl.go      who may publish and subscribe to which topics
//	store.go    sessions, subscriptions, retained and undelivered messages on the disk
//	aside.go    entries of the store that cannot be read: set aside at the start
//	metrics.go  the state of the broker, and its metrics
//
// # The way of a message
//
// The goroutine that reads a connection maps a PUBLISH and appends it to the spool, which never
// blocks. It waits only while the client has too much in flight. The spool reports the outcome to
// the finisher, a goroutine that stores retained messages, hands messages to subscribers, and lets
// each connection send its acknowledgements in the order in which the messages arrived.
//
// If the spool has no room, a client of MQTT 5 gets PUBACK with 0x97, Quota exceeded. MQTT 3.1.1
// cannot refuse, so the message waits, and once enough of them wait, nothing is read from the
// client any more. Messages with QoS 0 are dropped and counted.
//
// A message with the DUP flag that equals one that the spool has under the same client and packet
// identifier is acknowledged and not stored again. The spool remembers this as durably as the
// readings, so it holds across kill -9.
//
// # What mochi-mqtt does not do
//
// It acknowledges before anything is stored, and it uses one map for the packet identifiers of both
// directions, so that a PUBLISH of a client would delete a message that is being sent to it. A
// PUBLISH therefore never reaches it: the hook handles it, and gives mochi-mqtt a packet without an
// effect. Messages reach subscribers through a client of its own.
package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/tlsconf"
)

// Config configures a Broker.
type Config struct {
	Listen   string          // host:port
	TLS      *tlsconf.Server // nil: none
	Guard    *guard.Guard    // nil: everybody may do everything
	Insecure bool            // allows exposed addresses without TLS and a login
	Allow    []Rule          // of users with the role device; default: publish to all topics
	Dir      string          // of sessions and retained messages

	MaxClients    int           // connected at a time; default 20,000
	MaxPacket     int64         // bytes of a packet; default 1 MiB
	SessionExpiry time.Duration // of sessions of absent clients, at most; default 24 h

	Intake *intake.Intake
	Logger *slog.Logger

	connectTimeout time.Duration // for TLS and CONNECT; default 10 s
}

// Limits of a broker. They bound what one client, and all of them together, can occupy.
const (
	maxInFlight  = 100       // unacknowledged messages of a connection: the Receive Maximum
	maxBytes     = 2 << 20   // their bytes, or a single larger message
	maxConnect   = 128 << 10 // bytes of CONNECT
	maxUnknown   = 2000      // connections without a CONNECT yet
	writeTimeout = 10 * time.Second
	maxClientID  = 256  // bytes
	maxTopic     = 1024 // bytes of a topic or a topic filter
	maxFilters   = 100  // subscriptions of a client
	maxKeepalive = 3600 // seconds; announced to MQTT 5 clients

	maxOutput      = 2 << 20   // bytes that wait to be sent to a client besides messages
	pendingOutput  = 64 << 10  // bytes that wait to be sent, from which messages wait
	pendingWrites  = 384       // messages that wait to be sent to a client
	maxUndelivered = 1000      // messages with QoS 1 that a subscriber has not acknowledged
	maxAliases     = 16        // topics that an MQTT 5 client can abbreviate
	maxLarge       = 256 << 20 // bytes of large packets that are being received
	maxRetained    = 10_000    // retained messages
	maxRetainBytes = 64 << 20
)

// Validate returns an error for the first invalid setting. 0 stands for a default.
func (c *Config) Validate() error {
	switch {
	case c.MaxClients < 0:
		return fmt.Errorf("mqtt.max_clients must not be negative, got %d", c.MaxClients)
	case c.MaxPacket != 0 && (c.MaxPacket < 1024 || c.MaxPacket > 8<<20):
		return fmt.Errorf("mqtt.max_packet must be between 1KiB and 8MiB, got %d bytes", c.MaxPacket)
	case c.SessionExpiry != 0 && (c.SessionExpiry < time.Second || c.SessionExpiry > 90*24*time.Hour):
		return fmt.Errorf("mqtt.session_expiry must be between 1s and 2160h, got %s", c.SessionExpiry)
	}
	return checkRules(c.Allow)
}

func (c Config) withDefaults() Config {
	if c.MaxClients == 0 {
		c.MaxClients = 20_000
	}
	if c.MaxPacket == 0 {
		c.MaxPacket = 1 << 20
	}
	if c.SessionExpiry == 0 {
		c.SessionExpiry = 24 * time.Hour
	}
	if c.connectTimeout == 0 {
		c.connectTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Broker is an MQTT broker.
type Broker struct {
	cfg      Config
	log      *slog.Logger
	server   *mochi.Server
	inline   *mochi.Client // from which messages go to subscribers
	store    *store
	listener *listener
	stats    counters
	logins   chan struct{} // bounds passwords that are checked at a time
	stopping chan struct{} // closed when connections are to end

	mu      sync.Mutex
	conns   map[*conn]struct{} // with a session
	current map[string]*conn   // by client id: the connection that may change the session
	holding map[*conn]struct{} // with messages that the spool has refused

	finishing finisher
	order     atomic.Int64 // of messages that go to subscribers
}

// Listen opens the store and begins to listen.
func Listen(cfg Config) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := cfg.checkExposed(); err != nil {
		return nil, err
	}
	b := &Broker{
		cfg: cfg, log: cfg.Logger, logins: make(chan struct{}, 4), stopping: make(chan struct{}),
		conns: make(map[*conn]struct{}), current: make(map[string]*conn), holding: make(map[*conn]struct{}),
	}
	b.finishing.init()
	inner, err := net.Listen("tcp", cfg.Listen) //nolint:noctx // closed by Run
	if err != nil {
		return nil, fmt.Errorf("mqtt.listen: %w", err)
	}
	if b.store, err = openStore(cfg.Dir, cfg.Logger); err != nil {
		if pebble.IsCorruptionError(err) {
			err = fmt.Errorf("%w: move this directory away to start without its sessions and retained messages; readings are not in it", err)
		}
		return nil, errors.Join(fmt.Errorf("open the MQTT sessions in %s: %w", cfg.Dir, err), inner.Close())
	}
	b.listener = newListener(b, inner)
	b.server = mochi.New(&mochi.Options{
		Capabilities:             b.capabilities(),
		ClientNetReadBufferSize:  1024,
		ClientNetWriteBufferSize: 1024,
		Logger:                   slog.New(slog.DiscardHandler), // it logs each bad packet
		SysTopicResendInterval:   60,
	})
	b.inline = b.server.NewClient(nil, mochi.LocalListener, mochi.InlineClientId, true)
	b.inline.Properties.ProtocolVersion = 5
	err = b.server.AddHook(&hook{b: b}, nil)
	if err == nil {
		err = b.server.AddListener(b.listener)
	}
	if err == nil {
		err = b.restore()
	}
	if err != nil {
		return nil, errors.Join(err, inner.Close(), b.store.close())
	}
	return b, nil
}

// checkExposed refuses an address that other machines can reach, unless it is protected.
func (c *Config) checkExposed() error {
	login := c.Guard != nil && !c.Guard.Open()
	if guard.Loopback(c.Listen) || c.TLS != nil && login {
		return nil
	}
	missing := "neither TLS nor a login"
	switch {
	case login:
		missing = "no TLS"
	case c.TLS != nil:
		missing = "no login"
	}
	if c.Insecure {
		c.Logger.Warn("whoever reaches the MQTT broker can send readings, or read the traffic: --insecure-listen allows it", "address", c.Listen, "missing", missing)
		return nil
	}
	return fmt.Errorf("mqtt.listen: other machines can reach %s, and the MQTT broker has %s: set mqtt.cert and mqtt.key (weir cert makes them; weir up also has --listen-cert and --listen-key) "+
		"and add a user with weir users add (weir up --secure-listen does both), listen at 127.0.0.1, or say --insecure-listen", c.Listen, missing)
}

func (b *Broker) capabilities() *mochi.Capabilities {
	c := mochi.NewDefaultServerCapabilities()
	c.MaximumClients = int64(b.cfg.MaxClients)
	c.MaximumMessageExpiryInterval = 0 // only what publishers say
	c.MaximumClientWritesPending = pendingWrites
	c.MaximumSessionExpiryInterval = uint32(b.cfg.SessionExpiry / time.Second)
	c.MaximumPacketSize = uint32(b.cfg.MaxPacket)
	c.ReceiveMaximum = maxInFlight
	c.MaximumInflight = maxUndelivered
	c.TopicAliasMaximum = maxAliases
	c.MinimumProtocolVersion = 4
	c.MaximumQos = 1
	return c
}

// restore loads the sessions and messages of the store.
func (b *Broker) restore() error {
	if err := b.server.Serve(); err != nil {
		return fmt.Errorf("read the MQTT sessions in %s: %w", b.cfg.Dir, err)
	}
	undelivered, err := load[storedMessage](b.store, undeliveredPrefix)
	if err != nil {
		return fmt.Errorf("read the undelivered MQTT messages in %s: %w", b.cfg.Dir, err)
	}
	for i := range undelivered {
		b.order.Store(max(b.order.Load(), undelivered[i].Created))
		if cl, ok := b.server.Clients.Get(undelivered[i].Client); ok {
			cl.State.Inflight.Set(undelivered[i].packet())
		}
	}
	retained, err := load[storedMessage](b.store, retainedPrefix)
	if err != nil {
		return fmt.Errorf("read the retained MQTT messages in %s: %w", b.cfg.Dir, err)
	}
	for i := range retained {
		b.server.Topics.RetainMessage(retained[i].packet())
	}
	return nil
}

// Addr returns the address.
func (b *Broker) Addr() string { return b.listener.inner.Addr().String() }

// URL returns the address as MQTT clients write it.
func (b *Broker) URL() string {
	if b.cfg.TLS != nil {
		return "mqtts://" + b.Addr()
	}
	return "mqtt://" + b.Addr()
}

// Run serves until ctx is done. The spool must be open until Run has returned.
func (b *Broker) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(b.finish)
	parts.Go(b.retry)
	parts.Go(b.revalidate)
	b.listener.begin()
	<-ctx.Done()
	close(b.stopping)
	err := b.server.Close() // ends all connections
	b.listener.wait()
	b.finishing.end()
	parts.Wait()
	return errors.Join(err, b.store.close())
}

// Err returns why the broker cannot keep sessions and retained messages, or nil.
func (b *Broker) Err() error { return b.store.failing() }

// revalidate ends the connections whose login has ended.
func (b *Broker) revalidate() {
	if b.cfg.Guard == nil {
		return
	}
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-b.stopping:
			return
		case now := <-tick.C:
			for _, c := range b.connections() {
				if !c.valid(now) {
					b.log.Info("ended an MQTT connection: its login has ended", "client", c.id, "remote", c.RemoteAddr().String())
					c.disconnect(packets.ErrNotAuthorized)
				}
			}
		}
	}
}

// connections returns the connections with a session.
func (b *Broker) connections() []*conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		all = append(all, c)
	}
	return all
}
