package subscribe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/mochi-mqtt/server/v2/packets"

	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/ingest/mapping"
	"weir.example/weir/internal/ingest/mqtttest"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/source"
	"weir.example/weir/internal/syncbuf"
	"weir.example/weir/internal/tlsconf"
)

// hashedPassword is a line that mosquitto_passwd wrote, for the password opensesame.
const hashedPassword = "sensor:$7$101$tkP/n0tx8/MhYuEJ$B5DfhTgUhgPLH+iiaZt1Z/TGZrDl78sdzAqNTNNH1u+AjPtzAOyLtd9Ho7ln3RLfK77oyW//1WimY4FQAKNYPg=="

const rules = `
"site/+device/+sensor": { value: payload }
"num/+device": { seq: $.n, boot: $.boot }
"spBv1.0/#": { preset: sparkplug-b }
`

// world is a spool and a subscriber.
type world struct {
	*testing.T
	dir   string
	cfg   Config
	log   *syncbuf.Buffer
	spool *spool.Spool
	src   *spool.Source
	sub   *Subscriber

	stop  context.CancelFunc
	done  chan struct{}
	items []source.Item
	saved []byte
}

func newWorld(t *testing.T, cfg Config) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), cfg: cfg, log: &syncbuf.Buffer{}}
	w.start()
	t.Cleanup(w.end)
	return w
}

func (w *world) start() {
	w.Helper()
	var r mapping.Rules
	if err := yaml.Unmarshal([]byte(rules), &r); err != nil {
		w.Fatal(err)
	}
	m, err := mapping.New(r)
	if err != nil {
		w.Fatal(err)
	}
	cfg := w.cfg
	if err := cfg.Complete(m.Filters(), w.dir); err != nil {
		w.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	if w.spool, err = spool.Open(spool.Config{Dir: filepath.Join(w.dir, "spool"), MaxBytes: spool.MinBytes, Logger: log}); err != nil {
		w.Fatal(err)
	}
	w.src = w.spool.Source()
	if w.saved != nil {
		if err := w.src.Seek(w.saved); err != nil {
			w.Fatal(err)
		}
	}
	w.sub = New(&cfg, intake.New(m, w.spool), log)
	ctx, stop := context.WithCancel(w.Context())
	w.stop, w.done = stop, make(chan struct{})
	go func() {
		defer close(w.done)
		if err := w.sub.Run(ctx); err != nil {
			w.Error(err)
		}
	}()
}

func (w *world) end() {
	if w.stop == nil {
		return
	}
	w.stop()
	<-w.done
	w.stop = nil
	if err := w.spool.Close(); err != nil {
		w.Error(err)
	}
}

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("%s: %s", what, w.log.String())
		}
	}
}

func (w *world) connected() {
	w.Helper()
	w.until("it does not connect", func() bool { return w.sub.Failing() == nil })
}

// read reads what the spool has, and commits it.
func (w *world) read() {
	w.Helper()
	dst := make([]source.Item, 1000)
	for {
		n, err := w.src.Next(dst)
		if err != nil {
			w.Fatal(err)
		}
		if n == 0 {
			return
		}
		w.items = append(w.items, dst[:n]...)
		w.saved = w.src.Position()
		w.spool.Committed(w.saved)
	}
}

// values waits for a number of items, and returns them as text.
func (w *world) values(n int) (all []string) {
	w.Helper()
	w.until(fmt.Sprintf("not %d items", n), func() bool { w.read(); return len(w.items) >= n })
	for i := range w.items {
		it := &w.items[i]
		if it.Err != nil {
			all = append(all, fmt.Sprintf("%.20s: %v", it.Raw, it.Err))
			continue
		}
		all = append(all, fmt.Sprintf("%s %s %v", it.DeviceID, it.Sensor, it.Value))
	}
	return all
}

func (w *world) equal(got []string, want ...string) {
	w.Helper()
	if !slices.Equal(got, want) {
		w.Errorf("items %q, want %q", got, want)
	}
}

// Messages of both versions and qualities arrive in order; retained ones are skipped; what comes
// while the subscriber is away comes afterwards, once.
func TestTakes(t *testing.T) {
	for _, version := range []string{"", "5", "3.1.1"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			m := mqtttest.StartMosquitto(t)
			p := &mqtttest.Publisher{Addr: m.Addr(), ClientID: "p"}
			defer p.Close()
			publish := func(topic, payload string) {
				t.Helper()
				if err := p.Publish(t.Context(), topic, []byte(payload)); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Retain(t.Context(), "site/d0/t", []byte("99")); err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, Config{URL: "mqtt://" + m.Addr(), ClientID: "weir", Version: version})
			w.connected()
			publish("site/d1/t", "1")
			publish("site/d1/t", "no number")
			publish("other/d1/t", "5")
			if err := p.Throw(t.Context(), "site/d1/t", []byte("2")); err != nil {
				t.Fatal(err)
			}
			publish("site/d1/t", "3")
			w.equal(w.values(4), "d1 t 1", "no number: the value is not a number, true, false, on or off", "d1 t 2", "d1 t 3")
			w.end()
			publish("site/d1/t", "4")
			w.start()
			publish("site/d1/t", "5")
			if got := w.values(6); len(got) == 6 {
				w.equal(got[4:], "d1 t 4", "d1 t 5")
			}
			w.sub.mu.Lock()
			defer w.sub.mu.Unlock()
			if w.sub.state.retained != 0 || w.sub.state.forgotten != 0 {
				t.Errorf("state %+v: a session that exists needs no new subscription", w.sub.state)
			}
		})
	}
}

// mutable is a connection that can lose what is written.
type mutable struct {
	net.Conn
	mute *atomic.Bool
}

func (c *mutable) Write(p []byte) (int, error) {
	if c.mute.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// A subscriber that dies after the fsync and before the acknowledgement gets the messages again:
// they are recognized, although nothing in the payload says so. Equal new messages are not dropped.
func TestRedelivery(t *testing.T) {
	t.Parallel()
	m := mqtttest.StartMosquitto(t)
	var mute atomic.Bool
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return &mutable{conn, &mute}, err
	}
	w := newWorld(t, Config{URL: "mqtt://" + m.Addr(), ClientID: "weir", dial: dial})
	w.connected()
	p := &mqtttest.Publisher{Addr: m.Addr(), ClientID: "p"}
	defer p.Close()
	want := 0
	for round := range 6 {
		w.sub.mu.Lock()
		acks := w.sub.state.acks
		w.sub.mu.Unlock()
		mute.Store(true) // from now on, nothing that is written arrives
		for range 5 + round {
			if err := p.Publish(t.Context(), "site/d1/t", []byte("7")); err != nil {
				t.Fatal(err)
			}
			want++
		}
		w.values(want)
		mute.Store(false)
		acks.link.fail(errors.New("the test cuts the connection"))
		w.until("it does not connect again", func() bool {
			w.sub.mu.Lock()
			defer w.sub.mu.Unlock()
			return w.sub.state.connected && w.sub.state.acks != acks
		})
	}
	if err := p.Publish(t.Context(), "site/d1/t", []byte("8")); err != nil {
		t.Fatal(err)
	}
	if got := w.values(want + 1); len(got) != want+1 || got[want] != "d1 t 8" {
		t.Errorf("%d items, want %d", len(got), want+1)
	}
	w.sub.mu.Lock()
	defer w.sub.mu.Unlock()
	if w.sub.state.repeated < 30 {
		t.Errorf("%d repeats, want at least 30", w.sub.state.repeated)
	}
}

// What mosquitto drops with its default limits is reported, by the broker's own count and exactly
// by the devices' numbers; so is a session that a crash has cost.
func TestReportsLoss(t *testing.T) {
	t.Parallel()
	m := mqtttest.StartMosquitto(t, "sys_interval 1")
	w := newWorld(t, Config{URL: "mqtt://" + m.Addr(), ClientID: "weir"})
	w.connected()
	w.until("there is no count", func() bool { return len(w.spool.Notes(w.sub.name)) == 2 })
	p := &mqtttest.Publisher{Addr: m.Addr(), ClientID: "p"}
	defer p.Close()
	publish := func(n int) {
		t.Helper()
		if err := p.Publish(t.Context(), "num/d1", fmt.Appendf(nil, `{"n":%d,"boot":"b","v":%d}`, n, n)); err != nil {
			t.Fatal(err)
		}
	}
	publish(0)
	w.values(1)
	w.end()
	const sent = 1500
	for n := 1; n < sent; n++ {
		publish(n)
	}
	w.start()
	w.connected()
	publish(sent)
	w.until("the last one is missing", func() bool { w.read(); return len(w.items) > 0 && w.items[len(w.items)-1].Value == sent })
	lost := sent + 1 - len(w.items)
	w.until("the broker's drops are not reported", func() bool {
		w.sub.mu.Lock()
		defer w.sub.mu.Unlock()
		return w.sub.state.dropped == int64(lost)
	})
	if got := w.spool.Stats().Devices.Missing; lost < 100 || got != int64(lost) {
		t.Errorf("%d are lost, and %d missing", lost, got)
	}
	m.Kill()
	m.Start()
	w.until("the session is not missed", func() bool { return strings.Contains(w.log.String(), "has forgotten the session") })
	if log := w.log.String(); !strings.Contains(log, "max_queued_messages 0") {
		t.Errorf("the log does not say what to change: %s", log)
	}
}

// While the spool is full, nothing is read or acknowledged, and memory is bounded; nothing is lost.
func TestFullSpool(t *testing.T) {
	t.Parallel()
	m := mqtttest.StartMosquitto(t, "max_queued_messages 0", "memory_limit 0")
	w := newWorld(t, Config{URL: "mqtt://" + m.Addr(), ClientID: "weir"})
	w.connected()
	const messages = 100
	p := &mqtttest.Publisher{Addr: m.Addr(), ClientID: "p"}
	defer p.Close()
	pad := strings.Repeat("x", 1<<20)
	for n := range messages {
		if err := p.Publish(t.Context(), "site/d1/t", fmt.Append(nil, n, " ", pad)); err != nil {
			t.Fatal(err)
		}
	}
	w.until("the spool is not full", func() bool { return strings.Contains(w.log.String(), "has no room") })
	w.sub.mu.Lock()
	waiting := w.sub.state.acks
	w.sub.mu.Unlock()
	if waiting.mu.Lock(); waiting.bytes > maxBytes {
		t.Errorf("%d bytes wait in memory", waiting.bytes)
	}
	waiting.mu.Unlock()
	for n, got := range w.values(messages) {
		if !strings.HasPrefix(got, fmt.Sprint(n, " ")) {
			t.Fatalf("item %d is %s", n, got)
		}
	}
	if len(w.items) != messages {
		t.Errorf("%d items, want %d", len(w.items), messages)
	}
}

// A node whose birth is not known is asked for it; what cannot be read is a dead letter.
func TestAsksForBirth(t *testing.T) {
	t.Parallel()
	m := mqtttest.StartMosquitto(t)
	w := newWorld(t, Config{URL: "mqtt://" + m.Addr(), ClientID: "weir"})
	w.connected()
	node := Config{URL: "mqtt://" + m.Addr(), ClientID: "node"}
	if err := node.Complete([]string{"spBv1.0/+/NCMD/+"}, "."); err != nil {
		t.Fatal(err)
	}
	l, err := open(t.Context(), &node, version5, true)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if err := l.request(packets.Subscribe, 1, []packets.Subscription{{Filter: "spBv1.0/G/NCMD/E"}}); err != nil {
		t.Fatal(err)
	}
	if p, err := l.read(); err != nil || p.FixedHeader.Type != packets.Suback {
		t.Fatalf("%+v, %v", p, err)
	}
	p := &mqtttest.Publisher{Addr: m.Addr(), ClientID: "p"}
	defer p.Close()
	if err := p.Publish(t.Context(), "spBv1.0/G/NDATA/E", []byte{0x18, 5}); err != nil { // seq 5
		t.Fatal(err)
	}
	got := w.values(1)
	if !strings.Contains(got[0], "the birth of the node is not known: it is requested") {
		t.Errorf("items %q", got)
	}
	command, err := l.read()
	if err != nil || command.TopicName != "spBv1.0/G/NCMD/E" || !strings.Contains(string(command.Payload), "Node Control/Rebirth") {
		t.Errorf("%+v, %v", command, err)
	}
}

// Logins by password and by certificate, and refusals that name the reason.
func TestLogins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, err := tlsconf.OpenAuthority(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	serverCert, serverKey, err := authority.Issue(dir, tlsconf.Request{Name: "server", Hosts: []string{"127.0.0.1"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	clientCert, clientKey, err := authority.Issue(dir, tlsconf.Request{Name: "client", Client: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	passwords := filepath.Join(dir, "passwords")
	if err := os.WriteFile(passwords, []byte(hashedPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := mqtttest.StartMosquitto(t, "listener PORT 127.0.0.1", "allow_anonymous false", "password_file "+passwords,
		"cafile "+authority.CertFile, "certfile "+serverCert, "keyfile "+serverKey, "require_certificate true")
	base := Config{URL: "mqtts://" + m.Addr(), ClientID: "weir", Username: "sensor", Password: "${file:secret}", TLS: TLSConfig{CA: authority.CertFile, Cert: clientCert, Key: clientKey}}
	for _, tt := range []struct {
		name, secret, want string
		change             func(*Config)
	}{
		{"right", "opensesame", "", func(*Config) {}},
		{"wrong password", "closed", "", nil},
		{"no certificate", "opensesame", "", func(c *Config) { c.TLS.Cert, c.TLS.Key = "", "" }},
		{"unknown authority", "opensesame", "certificate signed by unknown authority", func(c *Config) { c.TLS.CA = "" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := base
			if tt.change != nil {
				tt.change(&c)
			}
			w := &world{T: t, dir: t.TempDir(), cfg: c, log: &syncbuf.Buffer{}}
			if err := os.WriteFile(filepath.Join(w.dir, "secret"), []byte(tt.secret), 0o600); err != nil {
				t.Fatal(err)
			}
			w.start()
			t.Cleanup(w.end)
			if tt.name == "right" {
				w.connected()
				return
			}
			w.until("it is not refused", func() bool { return strings.Contains(w.log.String(), "no messages come from the MQTT broker") })
			if log := w.log.String(); !strings.Contains(log, tt.want) || strings.Contains(log, tt.secret) {
				t.Errorf("the log has no %q, or the password: %s", tt.want, log)
			}
			if w.sub.Failing() == nil {
				t.Error("it is connected")
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	seven := byte(7)
	for want, c := range map[string]Config{
		"url must be":          {ClientID: "c"},
		"ws:// is not supp":    {URL: "ws://h:1", ClientID: "c"},
		"client_id is missing": {URL: "mqtt://h"},
		"qos must be":          {URL: "mqtt://h", ClientID: "c", QoS: &seven},
		"version must be":      {URL: "mqtt://h", ClientID: "c", Version: "4"},
		"retained must be":     {URL: "mqtt://h", ClientID: "c", Retained: "first"},
		"password needs":       {URL: "mqtt://h", ClientID: "c", Password: "${env:X}"},
		"instead of writing":   {URL: "mqtt://h", ClientID: "c", Username: "u", Password: "open"},
		"url has a user":       {URL: "mqtt://u:p@h", ClientID: "c"},
		"tls needs":            {URL: "mqtt://h", ClientID: "c", TLS: TLSConfig{CA: "x"}},
		"set share":            {URL: "mqtt://h", ClientID: "c", Topics: []string{"$share/g/a"}},
		"a whole level":        {URL: "mqtt://h", ClientID: "c", Topics: []string{"a/b+"}},
		"topics is missing":    {URL: "mqtt://h", ClientID: "c", Topics: []string{}, Share: "none"},
	} {
		filters := []string{"a"}
		if c.Share == "none" {
			filters = nil
		}
		if err := c.Complete(filters, "."); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", c, err, want)
		}
	}
}
