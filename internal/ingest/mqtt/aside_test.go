package mqtt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"
)

// damage changes entries of the store of a broker that has stopped.
func (w *world) damage(change func(key string, value []byte) []byte) {
	w.Helper()
	s, err := openStore(filepath.Join(w.dir, "mqtt"), slog.New(slog.DiscardHandler))
	if err != nil {
		w.Fatal(err)
	}
	changed := 0
	err = s.each("a", "z", func(key string, value []byte) error {
		if now := change(key, value); now != nil {
			changed++
			return s.db.Set([]byte(key), now, pebble.Sync)
		}
		return nil
	})
	if err != nil || changed == 0 {
		w.Fatalf("%d entries changed, %v: %s", changed, err, w.log.String())
	}
	if err := s.close(); err != nil {
		w.Fatal(err)
	}
}

// An entry that cannot be read is set aside with what cannot be used without it, and everything
// else is there.
func TestUnreadableEntries(t *testing.T) {
	for name, c := range map[string]struct {
		prefix, contains string
		value            string // "" cuts it off
		aside            int
		gone             string // session
		message          string // that the other client does not get any more
		retained         int
		log              string
	}{
		"session":                {prefix: sessionPrefix, contains: "panel1", aside: 4, gone: "panel1", retained: 2, log: `session of client \"panel1\"`},
		"session without a name": {prefix: sessionPrefix, contains: "panel1", value: `{}`, aside: 4, gone: "panel1", retained: 2, log: "does not belong to its key"},
		"subscription":           {prefix: subscriptionPrefix, contains: "panel1", value: `[1]`, aside: 4, gone: "panel1", retained: 2, log: "whose subscription to"},
		"undelivered":            {prefix: undeliveredPrefix, contains: "panel1\x00\x00\x01", aside: 1, message: "1", retained: 2, log: `undelivered message of client \"panel1\"`},
		"no message":             {prefix: undeliveredPrefix, contains: "panel1\x00\x00\x01", value: `{"client":"panel1","packet_id":1,"topic_name":"site/d1/temp","fixedheader":{"Type":9}}`, aside: 1, message: "1", retained: 2, log: "is no message"},
		"retained":               {prefix: retainedPrefix, contains: "site/d1", value: "\x00", aside: 1, retained: 1, log: `retained message of topic \"site/d1/temp\"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{})
			for _, id := range []string{"panel1", "panel2"} {
				panel := w.connect(options{id: id, keep: true})
				panel.subscribe(1, "site/+/temp")
				_ = panel.Close()
			}
			press := w.connect(options{id: "press"})
			press.publish(1, "site/d1/temp", "1", retained)
			press.publish(2, "site/d2/temp", "2", retained)
			eventually(t, "end of the sessions' connections", func() bool { return w.b.Stats().Connections == 1 })
			w.stop()
			w.damage(func(key string, value []byte) []byte {
				switch {
				case !strings.HasPrefix(key, c.prefix+c.contains):
					return nil
				case c.value == "":
					return value[:len(value)/2]
				}
				return []byte(c.value)
			})
			w.start()
			if !strings.Contains(w.log.String(), c.log) {
				t.Errorf("the log does not say %q: %s", c.log, w.log.String())
			}
			if s := w.b.Stats(); s.Unreadable != c.aside || s.Retained != c.retained {
				t.Errorf("%d entries are set aside, want %d; %d messages are retained, want %d", s.Unreadable, c.aside, s.Retained, c.retained)
			}
			data, err := os.ReadFile(unreadableFile(filepath.Join(w.dir, "mqtt")))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(data)), "\n")
			if len(lines) != c.aside {
				t.Errorf("the file has %d entries, want %d", len(lines), c.aside)
			}
			for _, line := range lines {
				var one setAside
				if err := json.Unmarshal([]byte(line), &one); err != nil || len(one.Key) == 0 || one.Cause == "" {
					t.Errorf("%s: %v", line, err)
				}
			}
			for _, id := range []string{"panel1", "panel2"} {
				panel, ack := w.dial(options{id: id, keep: true})
				if ack.ReasonCode != 0 || ack.SessionPresent != (id != c.gone) {
					t.Errorf("%s: session present %t, code %d", id, ack.SessionPresent, ack.ReasonCode)
				}
				if id == c.gone {
					continue
				}
				for _, payload := range []string{"1", "2"} {
					if id == "panel1" && payload == c.message {
						continue
					}
					if pk := panel.receive(); string(pk.Payload) != payload {
						t.Errorf("%s: %q, want %q", id, pk.Payload, payload)
					}
				}
			}
			w.restart() // nothing is left to be set aside
			if s := w.b.Stats(); s.Unreadable != 0 {
				t.Errorf("%d entries are set aside again", s.Unreadable)
			}
			w.stop()
		})
	}
}

// FuzzStore starts a broker with an entry that nobody has written, and with sound ones.
func FuzzStore(f *testing.F) {
	add := func(key string, value any) {
		data, err := json.Marshal(value)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(key, data)
	}
	message := messageTo(7, "site/d1/temp", "21.5")
	stored := messageOf(&message)
	stored.Client = "panel"
	stored.PacketID = 7
	add(sessionPrefix+"panel", storedSession{Client: storage.Client{ID: "panel", ProtocolVersion: 5}, Seen: time.Now()})
	add(subscriptionPrefix+"panel\x00site/#", storage.Subscription{Client: "panel", Filter: "site/#", Qos: 1})
	add(undeliveredKey("panel", 7), stored)
	add(retainedPrefix+"site/d1/temp", stored)
	add(retainedPrefix+"a/#", storage.Message{FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: "a/#"})
	f.Add("other\x00", []byte("{}"))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		one := examine(key, value)
		if one.cause != nil {
			if one.what == "" {
				t.Fatalf("%q cannot be read, and has no name", key)
			}
			return
		}
		// What is sound can be sent to a client, and is what was sent.
		kind, rest, _ := strings.Cut(key, "\x00")
		if kind+"\x00" != undeliveredPrefix && kind+"\x00" != retainedPrefix {
			return
		}
		var m storedMessage
		if err := json.Unmarshal(value, &m); err != nil {
			t.Fatal(err)
		}
		pk := m.packet()
		if sent := encoded(t, pk); sent.TopicName != pk.TopicName || string(sent.Payload) != string(pk.Payload) {
			t.Fatalf("%q: %+v was sent as %+v", fmt.Sprint(rest), pk, sent)
		}
	})
}

// encoded returns what a client of MQTT 5 receives.
func encoded(t *testing.T, pk packets.Packet) packets.Packet {
	t.Helper()
	pk.PacketID, pk.ProtocolVersion = max(pk.PacketID, 1), 5
	var b bytes.Buffer
	if err := pk.PublishEncode(&b); err != nil {
		t.Fatal(err)
	}
	sent := packets.Packet{ProtocolVersion: 5}
	first, err := b.ReadByte()
	if err == nil {
		err = sent.FixedHeader.Decode(first)
	}
	if err == nil {
		sent.FixedHeader.Remaining, _, err = packets.DecodeLength(&b)
	}
	if err == nil {
		err = sent.PublishDecode(b.Bytes())
	}
	if err != nil {
		t.Fatalf("%+v: %v", pk, err)
	}
	return sent
}
