// Package subscribe takes messages from an MQTT broker, 3.1.1 or 5, and acknowledges them once they
// are durable in the spool.
//
//	subscribe.go  Subscriber: connections one after the other, each with the same session
//	filters.go    topic filters that do not overlap
//	config.go     Config: an entry of subscribe in ingest.yaml
//	link.go       a connection: packets
//	acks.go       acknowledgements in order
//	loss.go       losses that can be proven
//	listen.go     messages of a broker for a while, to look at
//	publish.go    Publisher: messages to a broker, for sinks
//	metrics.go    Prometheus metrics
//
// # What is lost and what is repeated
//
// A message is acknowledged after the spool's fsync, so a crash of Weir makes the broker deliver it
// again. Such a repeat has the packet identifier of the first delivery and says that it is one: it
// is dropped if topic and payload are equal as well (spool.Delivery). A new message with an old
// identifier is therefore never dropped.
//
// What the broker drops, nobody can bring back. It drops what does not fit into its queue of this
// client, and it may forget the session in a crash. Both are noticed, counted and logged with the
// setting to change.
package subscribe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/ingest/mapping"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/retry"
)

// Subscriber takes the messages of one broker.
type Subscriber struct {
	cfg    *Config
	intake *intake.Intake
	spool  *spool.Spool
	log    *slog.Logger
	name   string // of the session, in notes and deliveries
	now    func() time.Time

	version byte // that the broker accepts; 0 while unknown
	pending sync.WaitGroup

	mu    sync.Mutex
	state state
}

// state is shown in metrics.
type state struct {
	connected bool
	failing   error // why it is not; nil at the start
	connects  int64
	repeated  int64 // deliveries that were dropped as repeats
	retained  int64 // messages that were skipped because they are retained
	dropped   int64 // by the broker, for any of its clients
	forgotten int64 // sessions that the broker should have had
	acks      *acks
}

// New returns a subscriber. The configuration must be complete.
func New(cfg *Config, in *intake.Intake, log *slog.Logger) *Subscriber {
	address, _, _ := cfg.address() // it was checked
	return &Subscriber{
		cfg: cfg, intake: in, spool: in.Spool(), log: log.With("broker", address, "client_id", cfg.ClientID),
		name: spool.FromBroker + address + "/" + cfg.ClientID, now: time.Now,
	}
}

// Name identifies the subscriber in messages.
func (s *Subscriber) Name() string { return s.cfg.ClientID + " at " + s.cfg.URL }

// URL returns the address of the broker.
func (s *Subscriber) URL() string { return s.cfg.URL }

// Failing returns why the subscriber takes no messages; nil if it does.
func (s *Subscriber) Failing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.connected {
		return nil
	}
	if s.state.failing == nil {
		return errors.New("it is connecting")
	}
	return s.state.failing
}

// Run takes messages until ctx is done. It connects again whenever the connection ends, after a
// pause that grows and is randomized.
func (s *Subscriber) Run(ctx context.Context) error {
	pauses := retry.Backoff()
	for ctx.Err() == nil {
		began := s.now()
		err := s.connect(ctx)
		s.pending.Wait() // what is being written must be known before it is delivered again
		if ctx.Err() != nil || errors.Is(err, spool.ErrClosed) {
			return nil
		}
		s.mu.Lock()
		first := s.state.connected || s.state.failing == nil || s.state.failing.Error() != err.Error()
		s.state.connected, s.state.failing = false, err
		s.mu.Unlock()
		if first {
			s.log.Error("no messages come from the MQTT broker: connecting again", "err", err)
		}
		if s.now().Sub(began) > time.Minute {
			pauses.Reset()
		}
		pause := pauses.NextBackOff()
		if errors.Is(err, errTaken) { // two clients with one id would disconnect each other forever
			pause = 20*time.Second + rand.N(20*time.Second)
		}
		if retry.Sleep(ctx, pause) != nil {
			return nil
		}
	}
	return nil
}

// errTaken means that another client has connected with the same id.
var errTaken = errors.New("another client has connected to the broker with the same client_id: each needs its own")

// connect opens a connection and takes messages until it ends.
func (s *Subscriber) connect(ctx context.Context) error {
	l, err := s.open(ctx)
	if err != nil {
		return err
	}
	acks := newAcks(l)
	defer context.AfterFunc(ctx, func() { // let the reader end
		acks.stop()
		_ = l.conn.SetReadDeadline(time.Unix(1, 0))
	})()
	s.greet(l)
	err = s.subscribe(ctx, l, acks)
	if err == nil {
		s.mu.Lock()
		s.state.connected, s.state.failing, s.state.acks = true, nil, acks
		s.state.connects++
		s.mu.Unlock()
		s.log.Info("taking messages from an MQTT broker", "version", versionName(l.version), "session_present", l.present, "topics", s.cfg.filters())
		err = s.take(ctx, l, acks)
	}
	if ctx.Err() != nil {
		s.pending.Wait() // then everything is acknowledged that is durable
		l.close()
		return ctx.Err()
	}
	err = l.cause(err)
	l.fail(err)
	<-l.ended
	acks.stop()
	return err
}

func versionName(version byte) string {
	if version == version5 {
		return "5"
	}
	return "3.1.1"
}

// open connects with the version that the broker accepts.
func (s *Subscriber) open(ctx context.Context) (*link, error) {
	l, err := openAny(ctx, s.cfg, s.version, false)
	if err == nil {
		s.version = l.version
	}
	return l, err
}

// openAny connects with the configured version, or the one that is known, or else with 5 and then
// with 3.1.1.
func openAny(ctx context.Context, c *Config, known byte, clean bool) (*link, error) {
	switch c.Version {
	case "5":
		known = version5
	case "3.1.1":
		known = version311
	}
	if known != 0 {
		return open(ctx, c, known, clean)
	}
	l, err := open(ctx, c, version5, clean)
	var refused *refusedError
	old := errors.Is(err, errNoAnswer) || errors.As(err, &refused) && (refused.code == 0x84 || refused.version == version311 && refused.code == 1)
	if !old {
		return l, err
	}
	return open(ctx, c, version311, clean)
}

// greet looks at what the broker has kept.
func (s *Subscriber) greet(l *link) {
	if l.version == version5 && l.session < s.cfg.Session {
		s.log.Warn("the broker keeps the session for a shorter time than configured: what devices send later, while Weir is away, is lost", "session", l.session, "wanted", s.cfg.Session)
	}
	if _, known := s.spool.Notes(s.name)[s.name+"/filters"]; known && !l.present {
		s.forgotten()
	}
}

// own is the topic by which the broker tells how many messages it has dropped.
const own = "$SYS/broker/publish/messages/dropped"

// subscribe makes the broker's subscriptions those of the configuration.
func (s *Subscriber) subscribe(ctx context.Context, l *link, acks *acks) error {
	filters := s.cfg.filters()
	var before []string
	if text, ok := s.spool.Notes(s.name)[s.name+"/filters"]; ok && l.present {
		_ = json.Unmarshal(text, &before) // an unreadable note is like none
	}
	if slices.Equal(before, filters) {
		return nil
	}
	var old, all []packets.Subscription
	for _, filter := range before {
		if !slices.Contains(filters, filter) {
			old = append(old, packets.Subscription{Filter: filter})
		}
	}
	for _, filter := range filters {
		all = append(all, packets.Subscription{Filter: filter, Qos: *s.cfg.QoS})
	}
	if !s.cfg.wants(own) {
		all = append(all, packets.Subscription{Filter: own})
	}
	const unsubscribe, subscribe = 1, 2
	if len(old) > 0 {
		if err := l.request(packets.Unsubscribe, unsubscribe, old); err != nil {
			return err
		}
	}
	if err := l.request(packets.Subscribe, subscribe, all); err != nil {
		return err
	}
	for { // messages may arrive before the answer
		p, err := s.next(ctx, l, acks)
		if err != nil {
			return err
		}
		if p.FixedHeader.Type != packets.Suback || p.PacketID != subscribe {
			continue
		}
		if len(p.ReasonCodes) != len(all) {
			return fmt.Errorf("the broker answers %d filters with %d codes", len(all), len(p.ReasonCodes))
		}
		for i, code := range p.ReasonCodes {
			switch {
			case all[i].Filter == own:
				if code >= 0x80 {
					s.log.Warn("the broker does not let this client read how many messages it drops: such losses are not noticed", "topic", own)
				}
			case code >= 0x80:
				return fmt.Errorf("the broker refuses the subscription of %q: %s", all[i].Filter, meaning(l.version, code, p.Properties.ReasonString))
			case code < *s.cfg.QoS:
				s.log.Warn("the broker grants a subscription without acknowledgements only: messages can be lost", "filter", all[i].Filter)
			}
		}
		break
	}
	text, err := json.Marshal(filters)
	if err != nil {
		return err
	}
	return s.note(ctx, "/filters", text)
}

// note stores a note durably.
func (s *Subscriber) note(ctx context.Context, key string, value []byte) error {
	return s.append(ctx, &spool.Entry{Notes: []spool.Note{{Key: s.name + key, Value: value}}}, func(error) {})
}

// take takes messages until the connection ends.
func (s *Subscriber) take(ctx context.Context, l *link, acks *acks) error {
	for {
		if _, err := s.next(ctx, l, acks); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// next reads a packet; a message is stored.
func (s *Subscriber) next(ctx context.Context, l *link, acks *acks) (*packets.Packet, error) {
	// The broker answers pings, which are sent twice in the time that is allowed here.
	if err := l.conn.SetReadDeadline(time.Now().Add(2*l.ping + writeTimeout)); err != nil {
		return nil, err
	}
	p, err := l.read()
	var long *tooLong
	if err != nil && !errors.As(err, &long) {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			err = errors.New("the broker does not answer pings")
		}
		if errors.Is(err, io.EOF) {
			err = errors.New("the broker has closed the connection; if it does so again and again, another client may have the same client_id")
		}
		return nil, err
	}
	switch p.FixedHeader.Type {
	case packets.Publish:
		return p, s.store(ctx, l, acks, p, long)
	case packets.Disconnect:
		if l.version == version5 && p.ReasonCode == 0x8e {
			return nil, errTaken
		}
		return nil, fmt.Errorf("the broker has ended the connection: %s", meaning(l.version, p.ReasonCode, p.Properties.ReasonString))
	}
	return p, nil
}

// store makes a message durable; it is acknowledged then.
func (s *Subscriber) store(ctx context.Context, l *link, acks *acks, p *packets.Packet, long *tooLong) error {
	switch {
	case p.TopicName == own && !s.cfg.wants(own):
		s.brokerDropped(ctx, p.Payload)
		return nil
	case p.TopicName == "" || strings.ContainsAny(p.TopicName, "+#"):
		return fmt.Errorf("the broker sent a message to %q, which is not a topic", p.TopicName)
	case p.FixedHeader.Qos > 1:
		return errors.New("the broker sent a message with QoS 2, to which nothing is subscribed")
	case p.FixedHeader.Qos == 1 && p.PacketID == 0:
		return errors.New("the broker sent a message without a packet identifier")
	}
	if p.TopicName == own {
		s.brokerDropped(ctx, p.Payload)
	}
	place := acks.add(p.PacketID, len(p.Payload)+len(p.TopicName))
	if p.FixedHeader.Retain && s.cfg.Retained == "skip" {
		s.mu.Lock()
		s.state.retained++
		s.mu.Unlock()
		acks.settle(place)
		return nil
	}
	if !s.cfg.wants(p.TopicName) { // a filter that was sent to the broker is a union
		acks.settle(place)
		return nil
	}
	msg := &intake.Message{
		Protocol: intake.MQTTSource, Client: s.cfg.ClientID, Topic: p.TopicName, Payload: p.Payload, Arrived: s.now(),
		QoS: p.FixedHeader.Qos, Retain: p.FixedHeader.Retain,
	}
	if p.FixedHeader.Qos == 1 {
		msg.Delivery = &spool.Delivery{Session: s.name, Packet: p.PacketID, Digest: intake.Digest(p.TopicName, p.Payload), Again: p.FixedHeader.Dup && l.present}
	}
	var entry *spool.Entry
	if long != nil {
		entry = s.intake.Reject(msg, long)
	} else {
		var result mapping.Result
		entry, result = s.intake.Map(msg)
		if result.Reply != nil {
			if err := l.publish(result.Reply.Topic, result.Reply.Payload); err != nil {
				return err
			}
		}
	}
	if entry == nil {
		acks.settle(place)
		return nil
	}
	done := func(err error) {
		if err != nil { // the broker delivers it again
			go l.fail(fmt.Errorf("store a message: %w", err)) // closing a connection may take a while
			return
		}
		acks.settle(place)
	}
	err := s.append(ctx, entry, done)
	if errors.Is(err, spool.ErrTooLarge) {
		return s.append(ctx, s.intake.Reject(msg, err), done)
	}
	return err
}

// append appends an entry. While the spool has no room, it waits, and nothing is read: the broker
// has to keep what comes.
func (s *Subscriber) append(ctx context.Context, e *spool.Entry, done func(error)) error {
	for waited := time.Duration(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.pending.Add(1)
		err := s.spool.TryAppend(e, func(r spool.Receipt, err error) {
			defer s.pending.Done()
			if r.Repeated {
				s.mu.Lock()
				s.state.repeated++
				s.mu.Unlock()
			}
			done(err)
		})
		if err == nil {
			return nil
		}
		s.pending.Done()
		var full *spool.FullError
		if !errors.As(err, &full) && !errors.Is(err, spool.ErrInFlight) {
			return err
		}
		if waited == 0 {
			s.log.Error("the spool has no room: nothing is read from the MQTT broker, which keeps messages as far as its own limits allow", "err", err)
		}
		pause := min(10*time.Millisecond+waited/4, 500*time.Millisecond)
		waited += pause
		if err := retry.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}
