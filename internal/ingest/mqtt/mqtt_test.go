package mqtt

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/tlsconf"
	"weir.example/weir/internal/tlsconf/tlstest"
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no " + what)
		}
	}
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// What is acknowledged is in the spool. What is no reading is a dead letter with all that is known
// about it.
func TestPublish(t *testing.T) {
	for _, version := range []byte{4, 5} {
		w := newWorld(t, Config{})
		c := w.connect(options{id: "press", version: version})
		if code := c.publish(1, "site/d1/temp", "21.5"); code != 0 {
			t.Errorf("PUBACK %#x", code)
		}
		want(t, "items", w.items(), "d1 temp 21.5")
		c.send(messageTo(0, "site/d1/temp", "22"))
		if code := c.publish(2, "other", "x", retained); code != 0 {
			t.Errorf("PUBACK %#x", code)
		}
		want(t, "items", w.items(), "d1 temp 22",
			"rejected x: no rule matches the topic (weir-ingest-topic=other weir-ingest-client=press weir-ingest-qos=1 weir-ingest-retain=true)")
		c.publish(3, "other", "", retained) // removes the retained message, and says nothing
		want(t, "items", w.items())
		if n := w.b.Stats().Retained; n != 0 {
			t.Errorf("%d messages are retained", n)
		}
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		if pk := c.receive(); pk.FixedHeader.Type != packets.Pingresp {
			t.Errorf("PINGREQ was answered with %+v", pk)
		}
	}
}

// A Sparkplug node whose birth is not known is asked for it, also if it is the only subscriber.
func TestAsksForBirth(t *testing.T) {
	w := newWorld(t, Config{})
	c := w.connect(options{id: "node"})
	if code := c.subscribe(1, "spBv1.0/G/NCMD/E"); code > 1 {
		t.Fatalf("SUBACK %#x", code)
	}
	c.send(messageTo(0, "spBv1.0/G/NDATA/E", "\x18\x05")) // seq 5
	if pk := c.receive(); pk.TopicName != "spBv1.0/G/NCMD/E" || !strings.Contains(string(pk.Payload), "Node Control/Rebirth") {
		t.Errorf("%+v", pk)
	}
}

// PUBACKs come in the order of the messages, however many are in flight.
func TestOrder(t *testing.T) {
	w := newWorld(t, Config{})
	c := w.connect(options{id: "press"})
	const n = 5 * maxInFlight
	go func() {
		var b bytes.Buffer
		for i := range n {
			pk := messageTo(uint16(i+1), "site/d1/n", fmt.Sprint(i)) //nolint:gosec // small
			pk.ProtocolVersion = 4
			_ = pk.PublishEncode(&b)
		}
		_, _ = c.Write(b.Bytes())
	}()
	for i := range n {
		if pk := c.receive(); pk.FixedHeader.Type != packets.Puback || int(pk.PacketID) != i+1 {
			t.Fatalf("acknowledgement %d is %+v", i, pk)
		}
	}
	items := w.items()
	for i := range items {
		if items[i] != fmt.Sprint("d1 n ", i) {
			t.Fatalf("item %d is %s", i, items[i])
		}
	}
	if len(items) != n {
		t.Errorf("%d items", len(items))
	}
}

// A message that is sent again under its identifier is stored once: on the next connection, also
// without a session, and after a restart. An equal message that is not sent again is another one.
func TestRepeats(t *testing.T) {
	for _, version := range []byte{4, 5} {
		for _, keep := range []bool{false, true} {
			w := newWorld(t, Config{})
			o := options{id: "press", version: version, keep: keep}
			c := w.connect(o)
			c.publish(1, "site/d1/temp", "21.5")
			c.publish(2, "site/d1/temp", "21.5")
			want(t, "items", w.items(), "d1 temp 21.5", "d1 temp 21.5")
			_ = c.Close()
			c = w.connect(o)
			c.publish(1, "site/d1/temp", "21.5", again)
			c.publish(2, "site/d1/temp", "21.5", again)
			want(t, "items after a reconnect", w.items())
			w.restart()
			w.items()
			c = w.connect(o)
			c.publish(2, "site/d1/temp", "21.5", again)
			want(t, "items after a restart", w.items())
			c.publish(2, "site/d1/temp", "21.5")
			c.publish(3, "site/d1/temp", "21.5", again) // never arrived before
			c.publish(1, "site/d1/temp", "21.6", again)
			want(t, "new items", w.items(), "d1 temp 21.5", "d1 temp 21.5", "d1 temp 21.6")
			_ = c.Close()
			other := w.connect(options{id: "other", version: version})
			other.publish(2, "site/d1/temp", "21.5", again)
			want(t, "items of another client", w.items(), "d1 temp 21.5")
			w.stop()
		}
	}
}

// A spool without room refuses MQTT 5 with Quota exceeded. MQTT 3.1.1 waits, is pinged, and gets
// its acknowledgements in order once there is room. QoS 0 is dropped and counted.
func TestFull(t *testing.T) {
	w := newWorld(t, Config{})
	for size := 15 << 20; size >= 0; { // to the last byte
		if _, err := w.spool.Put(t.Context(), &spool.Entry{Rejected: []spool.Rejected{{Raw: make([]byte, size), Reason: "filler"}}}); err == nil {
			continue
		}
		if size == 0 {
			break
		}
		size /= 2
	}
	five := w.connect(options{id: "five", version: 5})
	if code := five.publish(1, "site/d1/temp", "1"); code != packets.ErrQuotaExceeded.Code {
		t.Errorf("PUBACK %#x", code)
	}
	three := w.connect(options{id: "three"})
	three.send(messageTo(1, "site/d3/temp", "1"))
	three.send(messageTo(2, "site/d3/temp", "2"))
	three.send(messageTo(0, "site/d3/temp", "3"))
	three.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	if pk := three.receive(); pk.FixedHeader.Type != packets.Pingresp {
		t.Fatalf("PINGREQ was answered with %+v", pk)
	}
	eventually(t, "message that was dropped", func() bool { return w.b.Stats().Dropped == 1 })
	if s := w.b.Stats(); s.Held != 2 || s.Quota != 1 {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(w.log.String(), "MQTT messages cannot be stored") {
		t.Error("the log does not say that messages are refused")
	}
	w.commit() // Kafka is back
	for id := uint16(1); id <= 2; id++ {
		if pk := three.receive(); pk.FixedHeader.Type != packets.Puback || pk.PacketID != id {
			t.Fatalf("PUBLISH %d was answered with %+v", id, pk)
		}
	}
	if code := five.publish(2, "site/d1/temp", "1"); code != 0 {
		t.Errorf("PUBACK %#x", code)
	}
}

// QoS 2 is announced as unsupported, and a client that publishes with it is disconnected.
func TestQoS2(t *testing.T) {
	w := newWorld(t, Config{})
	for _, version := range []byte{4, 5} {
		c, ack := w.dial(options{id: "press", version: version})
		if version == 5 && (!ack.Properties.MaximumQosFlag || ack.Properties.MaximumQos != 1 || ack.Properties.ReceiveMaximum != maxInFlight || ack.Properties.MaximumPacketSize != 1<<20) {
			t.Errorf("CONNACK %+v", ack.Properties)
		}
		c.send(func() packets.Packet { pk := messageTo(1, "site/d1/temp", "1"); pk.FixedHeader.Qos = 2; return pk }())
		if code, ok := c.ended(); !ok || version == 5 && code != packets.ErrQosNotSupported.Code {
			t.Errorf("MQTT %d: the connection goes on, or ended with %#x", version, code)
		}
	}
	want(t, "items", w.items())
	if !strings.Contains(w.log.String(), "QoS 2") {
		t.Error("the log does not name QoS 2")
	}
}

// Sessions, subscriptions, messages that were not delivered, and retained messages outlive a
// restart, for clients of both versions.
func TestRestart(t *testing.T) {
	for _, version := range []byte{4, 5} {
		w := newWorld(t, Config{})
		o := options{id: "panel", version: version, keep: true}
		panel := w.connect(o)
		if code := panel.subscribe(1, "site/+/temp"); code != 1 {
			t.Fatalf("SUBACK %#x", code)
		}
		_ = panel.Close()
		press := w.connect(options{id: "press"})
		press.publish(1, "site/d1/temp", "1", retained)
		press.publish(2, "site/d1/temp", "2")
		press.publish(3, "site/d1/other", "3")
		w.restart()
		w.items()
		press = w.connect(options{id: "press"})
		press.publish(4, "site/d1/temp", "4")
		panel, ack := w.dial(o)
		if !ack.SessionPresent {
			t.Error("the session is gone")
		}
		for i, payload := range []string{"1", "2", "4"} {
			pk := panel.receive()
			if pk.FixedHeader.Type != packets.Publish || string(pk.Payload) != payload || pk.FixedHeader.Qos != 1 {
				t.Fatalf("message %d is %+v", i, pk)
			}
			panel.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})
		}
		other := w.connect(options{id: "other", version: version})
		if code := other.subscribe(7, "site/#"); code != 1 {
			t.Fatalf("SUBACK %#x", code)
		}
		if pk := other.receive(); string(pk.Payload) != "1" || !pk.FixedHeader.Retain {
			t.Errorf("the retained message is %+v", pk)
		}
		// A clean start ends the session, for good.
		_ = panel.Close()
		_ = w.connect(options{id: "panel", version: version})
		w.restart()
		if _, ack := w.dial(o); ack.SessionPresent {
			t.Error("a clean start has not ended the session")
		}
		w.stop()
	}
}

// All retained messages reach a new subscriber, however many there are.
func TestManyRetained(t *testing.T) {
	w := newWorld(t, Config{})
	press := w.connect(options{id: "press"})
	const n = 3 * pendingWrites
	for i := range n {
		pk := messageTo(uint16(i%50+1), fmt.Sprint("config/", i), "x") //nolint:gosec // small
		pk.FixedHeader.Retain = true
		press.send(pk)
		if i%50 == 49 || i == n-1 {
			for range i%50 + 1 {
				press.receive()
			}
		}
	}
	panel := w.connect(options{id: "panel", version: 5})
	if code := panel.subscribe(1, "config/#"); code != 1 {
		t.Fatalf("SUBACK %#x", code)
	}
	got := make(map[string]bool)
	for range n {
		pk := panel.receive()
		if pk.FixedHeader.Type != packets.Publish || !pk.FixedHeader.Retain {
			t.Fatalf("%+v", pk)
		}
		got[pk.TopicName] = true
	}
	if len(got) != n {
		t.Errorf("%d retained messages, want %d", len(got), n)
	}
}

// The identifiers of both directions are independent: a message on its way to a client survives a
// PUBLISH and a SUBSCRIBE of the client with the same identifier.
func TestIdentifiers(t *testing.T) {
	w := newWorld(t, Config{})
	o := options{id: "panel", keep: true}
	panel := w.connect(o)
	panel.subscribe(1, "site/#")
	w.connect(options{id: "press"}).publish(1, "site/d1/temp", "1")
	first := panel.receive()
	if string(first.Payload) != "1" {
		t.Fatalf("%+v", first)
	}
	panel.publish(first.PacketID, "other", "mine")
	if code := panel.subscribe(first.PacketID, "more"); code != 1 {
		t.Errorf("SUBACK %#x", code)
	}
	_ = panel.Close()
	panel = w.connect(o)
	if pk := panel.receive(); string(pk.Payload) != "1" || !pk.FixedHeader.Dup {
		t.Errorf("the message is not sent again, but %+v", pk)
	}
}

// Messages that are sent again on another connection have their topic, although the client lets the
// broker abbreviate topics.
func TestAliases(t *testing.T) {
	w := newWorld(t, Config{})
	o := options{id: "panel", version: 5, keep: true, aliases: 10}
	panel := w.connect(o)
	panel.subscribe(1, "site/#")
	press := w.connect(options{id: "press"})
	for id := uint16(1); id <= 3; id++ {
		press.publish(id, "site/d1/temp", fmt.Sprint(id))
		panel.receive()
	}
	_ = panel.Close()
	panel = w.connect(o)
	for i := range 3 {
		if pk := panel.receive(); pk.TopicName != "site/d1/temp" || string(pk.Payload) != fmt.Sprint(i+1) {
			t.Errorf("message %d is sent again as %q to %q", i+1, pk.Payload, pk.TopicName)
		}
	}
}

// A second connection of a client takes its session over, and a will is published and stored.
func TestTakeover(t *testing.T) {
	w := newWorld(t, Config{})
	watch := w.connect(options{id: "watch"})
	watch.subscribe(1, "site/#")
	for _, version := range []byte{4, 5} {
		one := w.connect(options{id: "press", version: version, will: "site/d1/gone"})
		two := w.connect(options{id: "press", version: version})
		if code, ok := one.ended(); !ok || version == 5 && code != packets.ErrSessionTakenOver.Code {
			t.Errorf("the first connection goes on, or ended with %#x", code)
		}
		if pk := watch.receive(); pk.TopicName != "site/d1/gone" {
			t.Errorf("will %+v", pk)
		}
		eventually(t, "will in the spool", func() bool { return slices.Contains(w.items(), "d1 gone 7") })
		two.publish(1, "site/d1/temp", "1")
		if pk := watch.receive(); string(pk.Payload) != "1" {
			t.Errorf("%+v", pk)
		}
		_ = two.Close()
	}
	eventually(t, "end of the connections", func() bool { return w.b.Stats().Connections == 1 })
}

func TestLogin(t *testing.T) {
	g := users(t, guard.User{Name: "press-7", Role: guard.Device}, guard.User{Name: "panel", Role: guard.Reader}, guard.User{Name: "boss", Role: guard.Admin},
		guard.User{Name: "nobody"})
	w := newWorld(t, Config{Guard: g, Allow: []Rule{{Publish: []string{"site/%u/#"}, Subscribe: []string{"cmd/%u/+", "cmd/%c"}}}})
	for _, version := range []byte{4, 5} {
		for _, o := range []options{{}, {user: "press-7", password: "wrong"}, {user: "press-8", password: "press-7-password"}, {user: "nobody", password: "nobody-password"}} {
			o.id, o.version = "x", version
			_, ack := w.dial(o)
			wrong := version == 4 && ack.ReasonCode != 5 || version == 5 && ack.ReasonCode != 0x86 && ack.ReasonCode != 0x87
			if ack.FixedHeader.Type != packets.Connack || wrong {
				t.Errorf("%+v: CONNACK %#x", o, ack.ReasonCode)
			}
		}
		device := options{id: "device-id", version: version, user: "press-7", password: "press-7-password"}
		c := w.connect(device)
		if code := c.publish(1, "site/press-7/temp", "1"); code != 0 {
			t.Errorf("PUBACK %#x", code)
		}
		for filter, allowed := range map[string]bool{"cmd/press-7/go": true, "cmd/press-7/+": true, "cmd/device-id": true, "cmd/press-7/#": false, "cmd/press-8/go": false, "#": false, "$SYS/#": false, "$share/g/cmd/press-7/x": true} {
			if code := c.subscribe(9, filter); (code <= 1) != allowed {
				t.Errorf("a device subscribes to %s: %#x", filter, code)
			}
		}
		c.send(messageTo(2, "site/press-8/temp", "1"))
		if version == 5 {
			if pk := c.receive(); pk.ReasonCode != packets.ErrNotAuthorized.Code {
				t.Errorf("a forbidden PUBLISH was answered with %+v", pk)
			}
		} else if _, ok := c.ended(); !ok {
			t.Error("a forbidden PUBLISH does not end the connection")
		}
		_ = c.Close()
		panel := w.connect(options{id: "panel", version: version, user: "panel", password: "panel-password"})
		if code := panel.subscribe(1, "site/#"); code != 1 {
			t.Errorf("a reader subscribes: %#x", code)
		}
		panel.send(messageTo(2, "site/panel/temp", "1"))
		if pk, err := panel.try(10 * time.Second); err == nil && pk.ReasonCode < 0x80 {
			t.Errorf("a reader publishes: %+v", pk)
		}
	}
	// Another user cannot have the session of an absent client.
	kept := options{id: "kept", keep: true, user: "press-7", password: "press-7-password"}
	_ = w.connect(kept).Close()
	w.restart()
	if _, ack := w.dial(options{id: "kept", keep: true, user: "panel", password: "panel-password"}); ack.ReasonCode != 2 {
		t.Errorf("another user's session: CONNACK %d", ack.ReasonCode)
	}
	// A user that is removed is disconnected.
	c := w.connect(kept)
	if err := g.Users().Change(func(all map[string]guard.User) error { delete(all, "press-7"); return nil }); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.ended(); !ok {
		t.Error("a removed user stays connected")
	}
	// Many failures from an address end its attempts.
	last := byte(0)
	for range 40 {
		_, ack := w.dial(options{id: "x", version: 5, user: "boss", password: "guess"})
		last = ack.ReasonCode
	}
	if last != packets.ErrConnectionRateExceeded.Code {
		t.Errorf("the last of many guesses: CONNACK %#x", last)
	}
}

// Over TLS, users log in with passwords, and certificates of the authority name their user.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	served, ca := tlstest.Server(t, dir, true)
	g := users(t, guard.User{Name: "press-7", Role: guard.Device}, guard.User{Name: "CN=press-8", Role: guard.Device})
	w := newWorld(t, Config{TLS: served, Guard: g})
	trust, err := tlsconf.Pinned(served.CertFile())
	if err != nil {
		t.Fatal(err)
	}
	w.connect(options{id: "a", user: "press-7", password: "press-7-password", tls: trust}).publish(1, "site/press-7/temp", "7")
	if _, ack := w.dial(options{id: "b", tls: trust}); ack.ReasonCode != 5 {
		t.Errorf("without a login: CONNACK %d", ack.ReasonCode)
	}
	mine := trust.Clone()
	cert, key, err := ca.Issue(dir, tlsconf.Request{Name: "press-8", Client: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	mine.Certificates = []tls.Certificate{pair}
	w.connect(options{id: "c", version: 5, tls: mine}).publish(1, "site/press-8/temp", "8")
	for _, s := range w.b.Stats().Clients {
		if s.ID == "c" && s.User != "CN=press-8" {
			t.Errorf("the user of the certificate is %q", s.User)
		}
	}
	want(t, "items", w.items(), "press-7 temp 7", "press-8 temp 8")
	plain := w.raw()
	if _, err := io.WriteString(plain, "\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	_ = plain.SetReadDeadline(time.Now().Add(10 * time.Second))
	if answer, _ := io.ReadAll(plain); bytes.HasPrefix(answer, []byte{packets.Connack << 4}) {
		t.Error("a client without TLS is answered")
	}
}

// An address that other machines can reach needs TLS and a login.
func TestExposed(t *testing.T) {
	for _, c := range []struct {
		listen   string
		insecure bool
		ok       bool
	}{{"127.0.0.1:0", false, true}, {"0.0.0.0:0", false, false}, {"0.0.0.0:0", true, true}} {
		config := Config{Listen: c.listen, Insecure: c.insecure, Logger: slog.New(slog.DiscardHandler)}
		if err := config.checkExposed(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		allowed, filter string
		want            bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/c", false}, {"a/b", "a", false}, {"a", "a/b", false}, {"a/+", "a/b", true}, {"a/+", "a/+", true},
		{"a/+", "a/#", false}, {"a/+", "a", false}, {"a/#", "a", true}, {"a/#", "a/b/+", true}, {"#", "a/#", true}, {"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true}, {"a/#", "$share/g/a/b", true}, {"a/#", "$share/g/b", false}, {"a/b", "a/+", false},
	} {
		if got := covers(c.allowed, c.filter); got != c.want {
			t.Errorf("%s covers %s: %v", c.allowed, c.filter, got)
		}
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t, Config{MaxClients: 2, MaxPacket: 64 << 10, connectTimeout: time.Second})
	if _, ack := w.dial(options{id: strings.Repeat("x", maxClientID+1), version: 5}); ack.ReasonCode != packets.ErrClientIdentifierNotValid.Code {
		t.Errorf("a long client id: CONNACK %#x", ack.ReasonCode)
	}
	c := w.connect(options{id: "one", version: 5})
	if code := c.publish(1, strings.Repeat("x", maxTopic+1), "1"); code != packets.ErrTopicNameInvalid.Code {
		t.Errorf("a long topic: PUBACK %#x", code)
	}
	if code := c.publish(2, "$SYS/x", "1"); code != packets.ErrTopicNameInvalid.Code {
		t.Errorf("a topic of the broker: PUBACK %#x", code)
	}
	for i := range maxFilters + 1 {
		code := c.subscribe(3, fmt.Sprint("filter/", i))
		if (code == 1) != (i < maxFilters) {
			t.Fatalf("subscription %d: %#x", i, code)
		}
	}
	_ = w.connect(options{id: "two"})
	if _, ack := w.dial(options{id: "three"}); ack.ReasonCode != 3 {
		t.Errorf("one client too many: CONNACK %d", ack.ReasonCode)
	}
	c.send(messageTo(4, "site/d1/temp", strings.Repeat("1", 65<<10)))
	if code, ok := c.ended(); !ok || code != packets.ErrPacketTooLarge.Code {
		t.Errorf("a large packet does not end the connection, or with %#x", code)
	}
	for _, silent := range []string{"", "\x10", "\x10\x20MQ", "GET / HTTP/1.1\r\n\r\n", "\x10\xff\xff\xff\xff\x01"} {
		raw := w.raw()
		if _, err := io.WriteString(raw, silent); err != nil {
			t.Fatal(err)
		}
		_ = raw.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := raw.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("%q: the connection stays open", silent)
		}
	}
	eventually(t, "count of what was refused", func() bool {
		refused := w.b.Stats().Refused
		return refused["no CONNECT in time"] == 3 && refused[errNotConnect.Error()] == 1 && refused[errFrame.Error()] == 1
	})
}

// Sessions of absent clients are bounded, those of each user too: clients without a session are
// refused, and those that have one come back, also after a restart.
func TestTooManySessions(t *testing.T) {
	w := newWorld(t, Config{MaxClients: 3})
	leave := func(id string) {
		t.Helper()
		c := w.connect(options{id: id, keep: true})
		_ = c.Close()
		eventually(t, "the end of "+id, func() bool { w.b.mu.Lock(); defer w.b.mu.Unlock(); return len(w.b.conns) == 0 })
	}
	for i := range 6 {
		leave(fmt.Sprint("client", i))
	}
	if _, ack := w.dial(options{id: "new"}); ack.ReasonCode != 3 {
		t.Errorf("a session too many: CONNACK %d", ack.ReasonCode)
	}
	if _, ack := w.dial(options{id: "new", version: 5}); ack.ReasonCode != packets.ErrQuotaExceeded.Code {
		t.Errorf("a session too many: CONNACK %#x", ack.ReasonCode)
	}
	leave("client0")
	w.restart()
	leave("client5")
	if n := w.b.Stats().Refused["clients with further sessions"]; n != 0 {
		t.Errorf("%d clients with a session are refused", n)
	}
	if _, ack := w.dial(options{id: "new"}); ack.ReasonCode != 3 {
		t.Errorf("a session too many after a restart: CONNACK %d", ack.ReasonCode)
	}
}

// A subscriber that does not read loses messages, which is counted and logged, and does not stop
// the publisher.
func TestSlowSubscriber(t *testing.T) {
	w := newWorld(t, Config{})
	slow := w.connect(options{id: "slow"})
	slow.subscribe(1, "site/#")
	press := w.connect(options{id: "press"})
	payload := strings.Repeat("1", 20<<10)
	began := time.Now()
	for n := 0; w.b.Stats().SlowDropped == 0; n += 50 {
		if n > 5000 {
			t.Fatalf("nothing is dropped: %+v %s", w.b.Stats(), w.log.String())
		}
		for id := range uint16(50) {
			press.send(messageTo(id+1, "site/d1/temp", payload))
		}
		for range 50 {
			press.receive()
		}
		w.commit()
	}
	if took := time.Since(began); took > writeTimeout {
		t.Errorf("the publisher waited: %s", took)
	}
	eventually(t, "line in the log", func() bool { return strings.Contains(w.log.String(), "messages to subscribers were dropped") })
}

// A session can be taken over as soon as CONNACK has been written, so a client whose connection
// ends after that is told the reason. One that was refused, or has no CONNACK yet, is not.
func TestTakeoverAtConnack(t *testing.T) {
	long := append([]byte{packets.Connack << 4, 0x81, 1, 0, 0, 126}, make([]byte, 126)...) // with properties
	for name, c := range map[string]struct {
		written string
		told    bool
	}{
		"no answer yet": {"", false},
		"accepted":      {"\x20\x03\x00\x00\x00", true},
		"properties":    {string(long), true},
		"refused":       {"\x20\x03\x00\x87\x00", false},
	} {
		ours, theirs := net.Pipe()
		one := &conn{Conn: ours, version: 5}
		one.room.L, one.out.room.L = &one.mu, &one.out.mu
		if c.written != "" {
			if _, err := one.Write([]byte(c.written)); err != nil {
				t.Fatal(err)
			}
		}
		one.disconnect(packets.ErrSessionTakenOver)
		got, err := io.ReadAll(theirs)
		if err != nil {
			t.Fatal(err)
		}
		want := c.written
		if c.told {
			want += "\xe0\x02\x8e\x00"
		}
		if string(got) != want {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
}
