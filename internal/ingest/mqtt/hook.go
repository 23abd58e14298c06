package mqtt

import (
	"slices"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hook is what mochi-mqtt calls. Its methods are called on the goroutine that reads a connection
// unless they say otherwise.
type hook struct {
	mochi.HookBase
	b *Broker
}

// ID implements mochi.Hook, like the other exported methods.
func (h *hook) ID() string { return "weir" }

var provided = []byte{
	mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnSessionEstablish, mochi.OnSessionEstablished, mochi.OnDisconnect,
	mochi.OnPacketRead, mochi.OnPacketEncode, mochi.OnPacketProcessed, mochi.OnSubscribe, mochi.OnSubscribed, mochi.OnUnsubscribed, mochi.OnPublish,
	mochi.OnPublishDropped, mochi.OnRetainMessage, mochi.OnQosPublish, mochi.OnQosComplete, mochi.OnQosDropped, mochi.OnWillSent,
	mochi.OnClientExpired, mochi.OnRetainedExpired,
	mochi.StoredClients, mochi.StoredSubscriptions,
}

// Provides reports which methods are called.
func (h *hook) Provides(b byte) bool { return slices.Contains(provided, b) }

func connOf(cl *mochi.Client) *conn {
	c, _ := cl.Net.Conn.(*conn)
	return c
}

// OnConnect checks a CONNECT.
func (h *hook) OnConnect(cl *mochi.Client, pk packets.Packet) error { return h.b.connect(cl, &pk) }

// OnConnectAuthenticate accepts what OnConnect has accepted.
func (h *hook) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

// OnACLCheck checks a subscription, and each message that a subscriber gets. The latter is called
// on any goroutine.
func (h *hook) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	c := connOf(cl)
	if c == nil { // the session of an absent client: it is checked when the client is back
		return true
	}
	return h.b.may(c.who, c.id, topic, write)
}

// OnSessionEstablish stores a session before the client learns of it.
func (h *hook) OnSessionEstablish(cl *mochi.Client, pk packets.Packet) {
	if c := connOf(cl); c != nil {
		h.b.establish(cl, c, &pk)
	}
}

// OnSessionEstablished removes the subscriptions that the user may no longer have.
func (h *hook) OnSessionEstablished(cl *mochi.Client, _ packets.Packet) {
	c := connOf(cl)
	if c == nil {
		return
	}
	for filter := range cl.State.Subscriptions.GetAll() {
		if !h.b.may(c.who, c.id, filter, false) {
			h.b.server.Topics.Unsubscribe(filter, cl.ID)
			cl.State.Subscriptions.Delete(filter)
			h.b.store.unsubscribe(cl.ID, filter)
		}
	}
}

// OnDisconnect forgets the session, or notes since when the client is absent.
func (h *hook) OnDisconnect(cl *mochi.Client, _ error, expire bool) {
	c := connOf(cl)
	if c == nil || !h.b.owns(c) {
		return
	}
	if expire {
		h.b.store.forget(cl.ID)
	} else {
		h.b.store.session(cl)
	}
}

// OnPacketRead handles a PUBLISH, and keeps the packet identifiers of other requests apart from
// those of messages to the client.
func (h *hook) OnPacketRead(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	if c == nil {
		return pk, nil
	}
	switch pk.FixedHeader.Type {
	case packets.Connect:
		if pk.ProtocolVersion < 5 { // has no way to learn that QoS 2 is not supported
			pk.Connect.WillQos = min(pk.Connect.WillQos, 1)
		}
	case packets.Publish:
		if err := c.publish(cl, pk); err != nil {
			if code, ok := err.(packets.Code); ok { //nolint:errorlint // never wrapped
				c.disconnect(code)
			}
			return pk, packets.ErrRejectPacket // the only error that ends the connection
		}
		return nothing, nil
	case packets.Subscribe, packets.Unsubscribe:
		if pk.PacketID == 0 {
			return pk, nil // mochi-mqtt refuses it
		}
		c.packetID = pk.PacketID
		for id := uint16(0xffff); id > 0; id-- {
			if _, busy := cl.State.Inflight.Get(id); !busy {
				pk.PacketID = id
				break
			}
		}
	}
	return pk, nil
}

// OnPacketEncode restores packet identifiers, and announces limits. It is called on any goroutine.
func (h *hook) OnPacketEncode(cl *mochi.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	switch {
	case c == nil:
	case pk.FixedHeader.Type == packets.Publish:
		// Before mochi-mqtt holds the lock of the client, for which other messages would wait.
		c.out.wait()
	case pk.FixedHeader.Type == packets.Suback || pk.FixedHeader.Type == packets.Unsuback:
		pk.PacketID = c.packetID
	case pk.FixedHeader.Type == packets.Connack && pk.ReasonCode >= packets.ErrUnspecifiedError.Code && pk.ProtocolVersion < 5:
		pk.ReasonCode = packets.Err3ServerUnavailable.Code // mochi-mqtt sends some codes of MQTT 5
	case pk.FixedHeader.Type == packets.Connack && pk.ReasonCode == 0 && c.version == 5:
		pk.Properties.MaximumPacketSize = uint32(h.b.cfg.MaxPacket) //nolint:gosec // at most 8 MiB
		pk.Properties.TopicAliasMaximum = maxAliases
	}
	return pk
}

// OnSubscribe refuses filters that are too long or too many: an invalid filter in their place makes
// mochi-mqtt refuse them. It also notes which retained messages have to be sent, which mochi-mqtt
// would drop if there are many.
func (h *hook) OnSubscribe(cl *mochi.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	if c == nil {
		return pk
	}
	c.subscribed = nil
	count := cl.State.Subscriptions.Len()
	for i := range pk.Filters {
		s := &pk.Filters[i]
		_, known := cl.State.Subscriptions.Get(s.Filter)
		if !known {
			count++
		}
		if len(s.Filter) > maxTopic || count > maxFilters {
			h.b.stats.refuse("subscriptions that are too long or too many")
			s.Filter = ""
			continue
		}
		if s.RetainHandling == 0 || s.RetainHandling == 1 && !known {
			c.subscribed = append(c.subscribed, *s)
		}
		s.RetainHandling = 2 // none by mochi-mqtt
	}
	return pk
}

// OnPacketProcessed sends the retained messages of new subscriptions, as fast as the client reads.
func (h *hook) OnPacketProcessed(cl *mochi.Client, pk packets.Packet, _ error) {
	c := connOf(cl)
	if c == nil || pk.FixedHeader.Type != packets.Subscribe {
		return
	}
	all := c.subscribed
	c.subscribed = nil
	for _, s := range all {
		if _, granted := cl.State.Subscriptions.Get(s.Filter); !granted || mochi.IsSharedFilter(s.Filter) {
			continue
		}
		for _, m := range h.b.server.Topics.Messages(s.Filter) {
			if h.sendRetained(cl, s, m.Copy(false)) != nil {
				return
			}
		}
	}
}

// sendRetained sends a retained message. Its QoS is 0 if too many are not acknowledged yet.
func (h *hook) sendRetained(cl *mochi.Client, s packets.Subscription, out packets.Packet) error {
	out.FixedHeader.Retain = true
	out.FixedHeader.Qos = min(out.FixedHeader.Qos, s.Qos, 1)
	if s.Identifier > 0 {
		out.Properties.SubscriptionIdentifier = []int{s.Identifier}
	}
	limit := maxUndelivered
	if most := int(cl.Properties.Props.ReceiveMaximum); most > 0 {
		limit = min(limit, most)
	}
	if out.FixedHeader.Qos > 0 {
		id, err := cl.NextPacketID()
		if err != nil || cl.State.Inflight.Len() >= limit {
			out.FixedHeader.Qos = 0
		} else {
			out.PacketID = uint16(id) //nolint:gosec // it is one
			cl.State.Inflight.Set(out)
			cl.State.Inflight.DecreaseSendQuota()
			h.OnQosPublish(cl, out, out.Created, 0)
		}
	}
	return cl.WritePacket(out)
}

// OnSubscribed stores subscriptions before the client learns of them.
func (h *hook) OnSubscribed(cl *mochi.Client, pk packets.Packet, codes []byte) {
	if !persistent(cl) {
		return
	}
	for i, s := range pk.Filters {
		if codes[i] <= packets.CodeGrantedQos2.Code {
			h.b.store.subscribe(cl.ID, s)
		}
	}
	h.b.store.sync()
}

// OnUnsubscribed removes subscriptions.
func (h *hook) OnUnsubscribed(cl *mochi.Client, pk packets.Packet) {
	if c := connOf(cl); c == nil || !h.b.owns(c) || !persistent(cl) {
		return
	}
	for _, s := range pk.Filters {
		h.b.store.unsubscribe(cl.ID, s.Filter)
	}
	h.b.store.sync()
}

// OnPublish completes a message that goes to subscribers: see Broker.fanOut. mochi-mqtt sends
// messages of a session again in the order of Created, which no longer has another purpose.
func (h *hook) OnPublish(_ *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	pk.Origin = pk.Connect.ClientIdentifier
	pk.Connect.ClientIdentifier = ""
	pk.Created = h.b.order.Add(1)
	return pk, nil
}

// OnPublishDropped ends the connection of a subscriber that is too slow for messages with QoS 1:
// what comes next waits in its session. It is called on any goroutine.
func (h *hook) OnPublishDropped(cl *mochi.Client, pk packets.Packet) {
	h.b.stats.slow.Add(1)
	if c := connOf(cl); c != nil && pk.FixedHeader.Qos > 0 {
		h.b.log.Warn("ended an MQTT connection: the subscriber is too slow", "client", cl.ID, "topic", pk.TopicName, "waiting", pendingWrites)
		go c.disconnect(packets.ErrQuotaExceeded)
	}
}

// OnRetainMessage stores the retained will of a client. Other messages are stored before.
func (h *hook) OnRetainMessage(cl *mochi.Client, pk packets.Packet, _ int64) {
	if !cl.Net.Inline {
		h.b.store.retain(&pk)
		h.b.store.sync()
	}
}

// OnQosPublish stores a message that a subscriber has to acknowledge. It is called on any
// goroutine, like the next two.
func (h *hook) OnQosPublish(cl *mochi.Client, pk packets.Packet, _ int64, _ int) {
	if pk.FixedHeader.Type == packets.Publish && persistent(cl) {
		h.b.store.undelivered(cl.ID, &pk)
	}
}

// OnQosComplete forgets it.
func (h *hook) OnQosComplete(cl *mochi.Client, pk packets.Packet) {
	if persistent(cl) {
		h.b.store.delivered(cl.ID, pk.PacketID)
	}
}

// OnQosDropped forgets it.
func (h *hook) OnQosDropped(cl *mochi.Client, pk packets.Packet) { h.OnQosComplete(cl, pk) }

// OnWillSent stores what a will contains.
func (h *hook) OnWillSent(cl *mochi.Client, pk packets.Packet) { h.b.will(cl.ID, &pk) }

// OnClientExpired forgets a session. mochi-mqtt would keep its subscriptions.
func (h *hook) OnClientExpired(cl *mochi.Client) {
	h.b.server.UnsubscribeClient(cl)
	h.b.store.forget(cl.ID)
}

// OnRetainedExpired forgets a retained message.
func (h *hook) OnRetainedExpired(topic string) {
	h.b.store.retain(&packets.Packet{TopicName: topic})
}

// StoredClients returns the sessions.
func (h *hook) StoredClients() ([]storage.Client, error) {
	return h.b.store.sessions(h.b.cfg.SessionExpiry)
}

// StoredSubscriptions returns the subscriptions of the sessions.
func (h *hook) StoredSubscriptions() ([]storage.Subscription, error) {
	return load[storage.Subscription](h.b.store, subscriptionPrefix)
}
