package mqtt

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/ingest/mapping"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/source"
)

// finisher is the queue of messages with an outcome of the spool.
type finisher struct {
	mu    sync.Mutex
	more  sync.Cond
	queue []outcome
	ended bool
}

// outcome is what the spool says about a message.
type outcome struct {
	m   *message
	err error
}

func (f *finisher) init() { f.more.L = &f.mu }

// take returns what is queued; nil after the end.
func (f *finisher) take() []outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.queue) == 0 && !f.ended {
		f.more.Wait()
	}
	all := f.queue
	f.queue = nil
	return all
}

func (f *finisher) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.more.Broadcast()
}

// outcome queues an outcome. It never blocks, since the spool calls it.
func (b *Broker) outcome(m *message, err error) {
	f := &b.finishing
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, outcome{m, err})
	f.more.Signal()
}

// finish handles outcomes until the end.
func (b *Broker) finish() {
	for {
		all := b.finishing.take()
		if all == nil {
			return
		}
		b.keepRetained(all)
		for _, o := range all {
			b.finishOne(o)
		}
	}
}

// finishOne hands a stored message to subscribers and acknowledges it, or does what its refusal
// requires.
func (b *Broker) finishOne(o outcome) {
	m, c := o.m, o.m.from
	qos, version := m.qos, c.version
	var refused errRefused
	switch {
	case o.err == nil:
		b.stats.accepted.Add(1)
		if m.retain || b.subscribed(m.topic) {
			b.fanOut(m.packet(), c.id)
		}
		c.settle(m, packets.CodeSuccess.Code)
	case errors.As(o.err, &refused):
		if qos > 0 && version < 5 {
			c.disconnect(packets.Code(refused))
		}
		c.settle(m, refused.Code)
	case errors.Is(o.err, spool.ErrTooLarge):
		m.entry = tooLarge(m, c.id)
		b.append(m)
	case errors.Is(o.err, spool.ErrClosed):
		_ = c.Close() // without an acknowledgement: the client sends it again
	case qos == 0:
		b.stats.dropped.Add(1)
		b.noRoom(o.err)
		c.settle(m, 0)
	default: // of MQTT 5: others wait
		b.stats.quota.Add(1)
		b.noRoom(o.err)
		c.settle(m, packets.ErrQuotaExceeded.Code)
	}
}

// tooLarge returns the entry of a message whose readings take more than an entry can hold.
func tooLarge(m *message, client string) *spool.Entry {
	return &spool.Entry{
		Rejected: []spool.Rejected{{
			Raw: m.payload, Reason: "its readings are too large to be stored together",
			Origin: []source.Attribute{{Name: mapping.HeaderTopic, Value: m.topic}, {Name: intake.HeaderClient, Value: client}},
		}},
		Delivery: m.entry.Delivery,
	}
}

// noRoom reports, once in a while, that the spool refuses.
func (b *Broker) noRoom(err error) {
	now := time.Now().Unix()
	if last := b.stats.noRoom.Load(); now-last >= 30 && b.stats.noRoom.CompareAndSwap(last, now) {
		b.log.Error("MQTT messages cannot be stored: clients of MQTT 5 are refused, those of MQTT 3.1.1 wait, and QoS 0 is dropped", "err", err)
	}
}

// qos2 reports, once in a while, that a client uses QoS 2.
func (b *Broker) qos2(c *conn) {
	now := time.Now().Unix()
	if last := b.stats.qos2.Load(); now-last >= 30 && b.stats.qos2.CompareAndSwap(last, now) {
		b.log.Warn("disconnected an MQTT client that publishes with QoS 2, which this broker does not support: set it to QoS 1, with which nothing is lost or repeated here either",
			"client", c.id, "remote", c.RemoteAddr().String())
	}
}

// retry appends again what the spool has refused, until the end.
func (b *Broker) retry() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-b.stopping:
			return
		case <-tick.C:
			b.mu.Lock()
			var all []*conn
			for c := range b.holding {
				all = append(all, c)
			}
			b.mu.Unlock()
			for _, c := range all {
				if !c.again() {
					b.forgetHolding(c)
				}
			}
		}
	}
}

// forgetHolding removes a connection that holds nothing.
func (b *Broker) forgetHolding(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, held := c.inFlight(); held == 0 || c.ended() {
		delete(b.holding, c)
	}
}

func (c *conn) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// keepRetained stores the retained messages of outcomes.
func (b *Broker) keepRetained(all []outcome) {
	var retained []*message
	for _, o := range all {
		if o.err == nil && o.m.retain {
			retained = append(retained, o.m)
		}
	}
	if len(retained) == 0 {
		return
	}
	for _, m := range retained {
		if !b.store.retain(m.packet()) {
			m.retain = false
			b.stats.refuse("retained messages beyond the limit")
			b.log.Warn("an MQTT message is not retained: there are too many", "topic", m.topic, "limit", fmt.Sprintf("%d messages, %d MiB", maxRetained, maxRetainBytes>>20))
		}
	}
	b.store.sync()
}

// fanOut retains a message if it asks for that, and hands it to the subscribers of its topic.
func (b *Broker) fanOut(pk *packets.Packet, from string) {
	out := pk.Copy(true)
	out.Connect.ClientIdentifier = from // see hook.OnPublish
	out.FixedHeader.Dup = false
	out.Properties.TopicAlias, out.Properties.TopicAliasFlag = 0, false
	if err := b.server.InjectPacket(b.inline, out); err != nil {
		b.log.Debug("hand an MQTT message to subscribers", "topic", pk.TopicName, "err", err)
	}
	b.slowSubscribers()
}

// subscribed reports whether a session has a subscription for a topic.
func (b *Broker) subscribed(topic string) bool {
	s := b.server.Topics.Subscribers(topic)
	return len(s.Subscriptions)+len(s.Shared)+len(s.InlineSubscriptions) > 0
}

// slowSubscribers reports, once in a while, that messages to subscribers were dropped.
func (b *Broker) slowSubscribers() {
	dropped, seen := b.slowDropped(), b.stats.slowSeen.Load()
	now := time.Now().Unix()
	if dropped == seen || now-b.stats.slowLog.Load() < 30 {
		return
	}
	b.stats.slowSeen.Store(dropped)
	b.stats.slowLog.Store(now)
	b.log.Warn("MQTT messages to subscribers were dropped, because they do not read or acknowledge, or are absent for long; the spool has the messages",
		"messages", dropped-seen, "limit", maxUndelivered)
}

// will stores the will of a client that has gone. mochi-mqtt has sent it to subscribers.
func (b *Broker) will(client string, pk *packets.Packet) {
	entry := b.entryOf(client, pk, nil)
	if entry == nil {
		return
	}
	b.cfg.Intake.Spool().Append(entry, func(_ spool.Receipt, err error) {
		if err != nil {
			b.stats.dropped.Add(1)
			b.noRoom(err)
		}
	})
}
