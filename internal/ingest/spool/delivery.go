package spool

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Delivery identifies a message whose sender repeats it until it has seen the acknowledgement, as
// MQTT does with QoS 1. The spool remembers the last deliveries of each session as durably as their
// readings, so that a repeat is recognised although nothing in its payload tells it from an equal
// reading.
type Delivery struct {
	Session string   // of the protocol and the client, such as mqtt/press-7
	Packet  uint16   // packet identifier; 0 if there is none, so that the digest alone tells
	Digest  [32]byte // of topic and payload
	Again   bool     // the sender may have sent it before: if so, nothing is stored
}

// Limits of what is remembered of deliveries. A sender that has more than maxDeliveries without an
// acknowledgement can have the oldest of them stored twice.
const (
	maxDeliveries    = 1024      // of a session
	maxFromBroker    = 65_536    // of a session with a broker: all packet identifiers
	maxAllDeliveries = 1_000_000 // of all: silent sessions are forgotten
)

// FromBroker begins the names of sessions with a broker, which sends as many messages without an
// acknowledgement as its connection takes, and forgets the acknowledgements that it has not read
// when the connection breaks.
const FromBroker = "mqtt-source/"

// most returns how many deliveries of a session are remembered.
func most(session string) int {
	if strings.HasPrefix(session, FromBroker) {
		return maxFromBroker
	}
	return maxDeliveries
}

// sent is a delivery in the window of its session.
type sent struct {
	packet uint16
	digest uint64 // its first bytes
}

// window is what is remembered of a session.
type window struct {
	sent []sent // in order
	at   time.Time
}

// sending is a delivery that is not durable yet.
type sending struct {
	session string
	sent
}

// delivered is a delivery of a batch.
type delivered struct {
	session string
	sent
}

func (d *Delivery) sent() sent { return sent{d.Packet, binary.BigEndian.Uint64(d.Digest[:])} }

// windows are the windows of all sessions.
type windows struct {
	of    map[string]*window
	count int // of all deliveries
}

// Whole returns the delivery of a message that senders repeat without a number or a session, and
// that is a repeat of any equal one among the last, whoever sent it: of at least maxDeliveries in
// each of 256 windows.
func Whole(protocol string, digest [32]byte) *Delivery {
	return &Delivery{Session: fmt.Sprintf("%s/%02x", protocol, digest[len(digest)-1]), Digest: digest, Again: true}
}

// has reports whether the last delivery under the packet's identifier is the same; without an
// identifier, whether any is.
func (w *windows) has(session string, s sent) bool {
	known := w.of[session]
	if known == nil {
		return false
	}
	for _, other := range slices.Backward(known.sent) {
		switch {
		case other == s:
			return true
		case other.packet == s.packet && s.packet != 0:
			return false
		}
	}
	return false
}

// add remembers a delivery.
func (w *windows) add(session string, s sent, at time.Time) {
	known := w.of[session]
	if known == nil {
		known = &window{}
		w.of[session] = known
	}
	known.at = at
	known.sent = append(known.sent, s)
	w.count++
	if limit := most(session); len(known.sent) >= 2*limit {
		w.count -= len(known.sent) - limit
		known.sent = slices.Clone(known.sent[len(known.sent)-limit:])
	}
	if w.count > maxAllDeliveries {
		w.forgetSilent()
	}
}

// forgetSilent forgets the sessions that were silent for longest, until there is room for a while.
func (w *windows) forgetSilent() {
	sessions := slices.Collect(maps.Keys(w.of))
	slices.SortFunc(sessions, func(a, b string) int { return cmp.Or(w.of[a].at.Compare(w.of[b].at), cmp.Compare(a, b)) })
	for _, session := range sessions {
		if w.count <= maxAllDeliveries*3/4 {
			return
		}
		w.forget(session)
	}
}

func (w *windows) forget(session string) {
	w.count -= len(w.of[session].sent)
	delete(w.of, session)
}

// expire forgets the sessions that were silent since a time.
func (w *windows) expire(since time.Time) {
	for session, known := range w.of {
		if known.at.Before(since) {
			w.forget(session)
		}
	}
}

func appendSent(b []byte, s sent) []byte {
	return binary.BigEndian.AppendUint64(binary.AppendUvarint(b, uint64(s.packet)), s.digest)
}

func appendDelivery(b []byte, d *Delivery) []byte {
	return appendSent(appendText(append(b, partDelivery), d.Session), d.sent())
}

func (d *decoder) sent() sent {
	packet := d.uvarint()
	if packet > 0xffff {
		d.failed = true
	}
	return sent{uint16(packet), d.uint64()} //nolint:gosec // checked above
}

func (w *windows) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(w.of)))
	for session, known := range w.of {
		b = binary.AppendVarint(appendText(b, session), known.at.UnixMilli())
		last := known.sent[max(0, len(known.sent)-most(session)):]
		b = binary.AppendUvarint(b, uint64(len(last)))
		for _, s := range last {
			b = appendSent(b, s)
		}
	}
	return b
}

func (d *decoder) windows() windows {
	w := windows{of: make(map[string]*window)}
	for n := d.count(); n > 0 && !d.failed; n-- {
		session, at := d.text(), time.UnixMilli(d.varint())
		for m := d.count(); m > 0 && !d.failed; m-- {
			w.add(session, d.sent(), at)
		}
	}
	return w
}
