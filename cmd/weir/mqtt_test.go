package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	paho3 "github.com/eclipse/paho.mqtt.golang"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/node"
)

var acceptingMQTT = regexp.MustCompile(`(mqtt://\S+)`)

// publisher publishes the numbers from 0 to a topic of its own with QoS 1, several at a time.
type publisher interface {
	publish(ctx context.Context, n int) error // returns once the number is acknowledged
	end()
}

// publisher3 is a client of MQTT 3.1.1.
type publisher3 struct {
	id     string
	client paho3.Client
}

func newPublisher3(t *testing.T, id, url string) *publisher3 {
	options := paho3.NewClientOptions().AddBroker(strings.Replace(url, "mqtt:", "tcp:", 1)).SetClientID(id).SetCleanSession(false).
		SetConnectRetry(true).SetConnectRetryInterval(20 * time.Millisecond).SetMaxReconnectInterval(50 * time.Millisecond).SetProtocolVersion(4)
	p := &publisher3{id, paho3.NewClient(options)}
	if token := p.client.Connect(); !token.WaitTimeout(20*time.Second) || token.Error() != nil {
		t.Fatal("MQTT 3.1.1: no connection", token.Error())
	}
	return p
}

func (p *publisher3) publish(ctx context.Context, n int) error {
	token := p.client.Publish("site/"+p.id+"/n", 1, false, fmt.Sprint(n))
	select {
	case <-token.Done():
		return token.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *publisher3) end() { p.client.Disconnect(100) }

// publisher5 is a client of MQTT 5.
type publisher5 struct {
	id     string
	client *autopaho.ConnectionManager
}

func newPublisher5(t *testing.T, id, address string) *publisher5 {
	server, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	client, err := autopaho.NewConnection(context.Background(), autopaho.ClientConfig{
		ServerUrls: []*url.URL{server}, KeepAlive: 20, SessionExpiryInterval: 3600, ConnectTimeout: 5 * time.Second,
		ReconnectBackoff: func(int) time.Duration { return 30 * time.Millisecond },
		ClientConfig:     paho.ClientConfig{ClientID: id, PacketTimeout: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.AwaitConnection(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &publisher5{id, client}
}

func (p *publisher5) publish(ctx context.Context, n int) error {
	for {
		r, err := p.client.Publish(ctx, &paho.Publish{QoS: 1, Topic: "site/" + p.id + "/n", Payload: []byte(fmt.Sprint(n))})
		if r != nil && r.ReasonCode >= 0x80 {
			return fmt.Errorf("refused with %#x", r.ReasonCode)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		if r == nil && errors.Is(err, autopaho.ConnectionDownError) { // nothing was sent
			time.Sleep(10 * time.Millisecond)
			continue
		}
		return err
	}
}

func (p *publisher5) end() { _ = p.client.Disconnect(context.Background()) }

// countNumbers returns how often each device and value is in the topic of readings.
func countNumbers(t *testing.T, brokers ...string) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	err := broker.ReadAll(t.Context(), broker.Config{Brokers: brokers}, node.SensorData, nil, func(r *kgo.Record) error {
		var v struct {
			Device string  `json:"device_id"`
			Value  float64 `json:"value"`
		}
		err := json.Unmarshal(r.Value, &v)
		counts[fmt.Sprintf("%s %v", v.Device, v.Value)]++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

// freePort returns an address that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// publishNumbers lets two clients of MQTT 3.1.1 and two of MQTT 5 publish until stop is called,
// which returns what was acknowledged as "device-N NUMBER".
func publishNumbers(t *testing.T, address string) (stop func() map[string]bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	var stopped atomic.Bool
	var all sync.WaitGroup
	var mu sync.Mutex
	acked := make(map[string]bool)
	for i := range 4 {
		var to publisher = newPublisher3(t, fmt.Sprint("device-", i), "mqtt://"+address)
		if i%2 == 1 {
			to.end()
			to = newPublisher5(t, fmt.Sprint("device-", i), "mqtt://"+address)
		}
		t.Cleanup(to.end)
		window := make(chan struct{}, 10)
		all.Go(func() {
			var flying sync.WaitGroup
			for n := 0; !stopped.Load(); n++ {
				window <- struct{}{}
				flying.Go(func() {
					err := to.publish(ctx, n)
					<-window
					if err != nil { // the client may send it again all the same
						t.Logf("client %d, number %d: %v", i, n, err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					acked[fmt.Sprintf("device-%d %d", i, n)] = true
				})
				time.Sleep(time.Millisecond) // the rate of a busy device
			}
			flying.Wait()
		})
	}
	return func() map[string]bool {
		stopped.Store(true)
		all.Wait()
		return acked
	}
}

// weir ingest is killed with kill -9 again and again while real clients publish: every number that
// is acknowledged is in Kafka exactly once, although clients send again what they have no
// acknowledgement for, and all payloads of a topic but their numbers are equal.
func TestMQTTSurvivesKills(t *testing.T) {
	for ack, least := range map[string]int{"spool": 500, "kafka": 50} {
		t.Run(ack, func(t *testing.T) { mqttSurvivesKills(t, ack, least) })
	}
}

func mqttSurvivesKills(t *testing.T, ack string, least int) {
	kills := longtest.Size(4, 10, 30)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dir, address := t.TempDir(), freePort(t)
	file := filepath.Join(dir, "ingest.yaml")
	text := "ack: " + ack + "\nmqtt: { listen: \"" + address + "\" }\nspool: { dir: " + filepath.Join(dir, "spool") + " }\ntopics: { \"site/+device/+sensor\": { value: payload } }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	begin := func() *weir {
		p := start(t, "ingest", file, "--brokers", b.Addr(), "--data-dir", dir, "--admin-listen", "127.0.0.1:0")
		waitFor(t, "the address", func() bool { return acceptingMQTT.MatchString(p.errOut.String()) })
		return p
	}
	p := begin()
	published := publishNumbers(t, address)
	repeated := 0
	for range kills {
		time.Sleep(time.Duration(200+rng.IntN(600)) * time.Millisecond) // a random moment
		repeated += repeatedOf(p)
		p.kill()
		p = begin()
	}
	time.Sleep(300 * time.Millisecond) // clients send again what they have no acknowledgement for
	acked := published()
	repeated += repeatedOf(p)
	p.signal(os.Interrupt)
	if code := p.wait(time.Minute); code != exitOK {
		t.Errorf("exit %d\n%s", code, p.errOut.String())
	}
	var counts map[string]int
	lost, twice := 0, 0
	waitFor(t, "all readings in Kafka", func() bool {
		counts, lost = countNumbers(t, b.Addr()), 0
		for number := range acked {
			if counts[number] == 0 {
				lost++
			}
		}
		return lost == 0
	})
	for _, n := range counts {
		twice += n - 1
	}
	t.Logf("%d kills, %d numbers acknowledged, %d repeats recognised, %d lost, %d stored twice", kills, len(acked), repeated, lost, twice)
	if twice > 0 || len(acked) < least {
		t.Errorf("%d numbers acknowledged, %d stored twice", len(acked), twice)
	}
	if repeated == 0 && kills >= 30 {
		t.Error("no client has sent again what was stored: the test does not show that repeats are recognised")
	}
	if r := verified(t, "--brokers", b.Addr()); r.Records != int64(len(counts)) {
		t.Errorf("weir verify has %d readings, the count %d", r.Records, len(counts))
	}
}

// With ack: kafka, what is acknowledged by MQTT and HTTP is in Kafka even if the disk with the
// spool is lost together with the process.
func TestAckKafkaSurvivesLossOfTheDisk(t *testing.T) {
	rounds := longtest.Size(3, 6, 20)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dir, address := t.TempDir(), freePort(t)
	spool := filepath.Join(dir, "spool")
	file := filepath.Join(dir, "ingest.yaml")
	text := "ack: kafka\nhttp: { listen: \":0\" }\nmqtt: { listen: \"" + address + "\" }\nspool: { dir: " + spool + " }\ntopics: { \"site/+device/+sensor\": { value: payload } }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &senders{t: t, acked: make([]int, 4)}
	begin := func() *weir {
		p := start(t, "ingest", file, "--brokers", b.Addr(), "--data-dir", dir, "--admin-listen", "127.0.0.1:0")
		waitFor(t, "the addresses", func() bool {
			return acceptingMQTT.MatchString(p.errOut.String()) && accepting.MatchString(p.errOut.String())
		})
		s.at(accepting.FindStringSubmatch(p.errOut.String())[1])
		return p
	}
	p := begin()
	published := publishNumbers(t, address)
	var sending sync.WaitGroup
	for sender := range s.acked {
		sending.Go(func() { s.run(sender) })
	}
	for range rounds {
		time.Sleep(time.Duration(400+rng.IntN(600)) * time.Millisecond) // a random moment
		p.kill()
		if err := os.RemoveAll(spool); err != nil { // not the sessions, without which some clients wait for a minute
			t.Fatal(err)
		}
		p = begin()
	}
	time.Sleep(500 * time.Millisecond)
	acked := published()
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	sending.Wait()
	for sender, n := range s.acked {
		for i := range n {
			acked[fmt.Sprintf("sender-%d %d", sender, i)] = true
		}
	}
	p.kill()
	if err := os.RemoveAll(spool); err != nil {
		t.Fatal(err)
	}
	counts, lost := countNumbers(t, b.Addr()), 0
	for number := range acked {
		if counts[number] == 0 {
			lost++
		}
	}
	t.Logf("%d kills, each with the loss of the spool: %d acknowledged, %d lost", rounds+1, len(acked), lost)
	if lost > 0 || len(acked) < 100 {
		t.Errorf("%d acknowledged, %d lost", len(acked), lost)
	}
}

// repeatedOf returns how many repeats a process has recognised.
func repeatedOf(p *weir) int {
	_, after, _ := strings.Cut(p.page("/metrics"), "\nweir_spool_repeated_total ")
	n := 0
	_, _ = fmt.Sscan(after, &n) // 0 before the metric exists
	return n
}

// A newcomer publishes with mosquitto_pub, and sees the reading within a second.
func TestUpWithMQTT(t *testing.T) {
	if _, err := exec.LookPath("mosquitto_pub"); err != nil {
		t.Fatal("no mosquitto_pub: install the Debian package mosquitto-clients, or run sudo make deps")
	}
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, "up", "--data-dir", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--no-fleet", "--mqtt", ":0")
	waitFor(t, "the address", func() bool { return acceptingMQTT.MatchString(p.errOut.String()) })
	server, err := url.Parse(acceptingMQTT.FindString(p.errOut.String()))
	if err != nil {
		t.Fatal(err)
	}
	best := time.Hour
	for n := 0; n < 5 && best > time.Second; n++ { // other tests may occupy the machine
		value := fmt.Sprintf("2%d.5", n)
		began := time.Now()
		args := []string{"-h", server.Hostname(), "-p", server.Port(), "-q", "1", "-t", "kitchen/temperature", "-m", value}
		out, err := exec.CommandContext(t.Context(), "mosquitto_pub", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		waitFor(t, "the reading", func() bool { return countNumbers(t, brokerOf(t, dir))["kitchen "+value] == 1 })
		best = min(best, time.Since(began))
	}
	if best > time.Second {
		t.Errorf("a reading was visible after %s at the earliest", best)
	}
	p.signal(os.Interrupt)
	if code := p.wait(time.Minute); code != exitOK {
		t.Errorf("exit %d\n%s", code, p.errOut.String())
	}
}

// Ten thousand idle clients, with sessions that survive a restart, take less than 400 MB.
func TestIdleConnections(t *testing.T) {
	clients := longtest.Size(300, 1000, 10_000)
	dir := filepath.Join(t.TempDir(), "data")
	p := startBinary(t, buildWeir(t), "up", "--data-dir", dir, "--listen", "127.0.0.1:0", "--no-fleet", "--mqtt", ":0")
	waitFor(t, "the address", func() bool { return acceptingMQTT.MatchString(p.errOut.String()) })
	address := strings.TrimPrefix(acceptingMQTT.FindString(p.errOut.String()), "mqtt://")
	before := resident(t, p)
	began := time.Now()
	var dialing errgroup.Group
	dialing.SetLimit(50)
	for i := range clients {
		dialing.Go(func() error {
			c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = c.Close() })
			id := fmt.Sprintf("idle-%06d", i)
			if _, err := c.Write(append([]byte{0x10, byte(12 + len(id)), 0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, 0, 0, byte(len(id))}, id...)); err != nil {
				return err
			}
			ack := make([]byte, 4)
			if _, err := io.ReadFull(c, ack); err != nil || ack[3] != 0 {
				return fmt.Errorf("CONNACK %v: %w", ack, err)
			}
			return nil
		})
	}
	if err := dialing.Wait(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	time.Sleep(2 * time.Second) // for the garbage collector, and what runs once a second
	after := resident(t, p)
	t.Logf("%d clients in %s: %d MB, without them %d MB, %d bytes each", clients, took.Round(time.Millisecond), after/1e6, before/1e6, (after-before)/int64(clients))
	if after > 400e6 {
		t.Errorf("%d idle clients take %d MB", clients, after/1e6)
	}
}

// resident returns the bytes of memory that a process occupies.
func resident(t *testing.T, p *weir) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var all, pages int64
	if _, err := fmt.Sscan(string(text), &all, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
