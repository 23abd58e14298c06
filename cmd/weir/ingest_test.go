package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/ingest"
	"weir.example/weir/internal/ingest/mqtttest"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/node"
)

var accepting = regexp.MustCompile(`accepting readings at (http://\S+)`)

// senders send numbered readings, each with an idempotency key, and repeat a request until it is
// answered.
type senders struct {
	t       *testing.T
	mu      sync.Mutex
	url     string // of the current process
	stopped bool
	acked   []int // readings acknowledged, by sender
	repeats int   // answers that were those of an earlier request
}

func (s *senders) at(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url = url
}

func (s *senders) run(sender int) {
	client := &http.Client{Timeout: 2 * time.Second}
	for n := 0; ; n++ {
		for {
			s.mu.Lock()
			url, stopped := s.url, s.stopped
			s.mu.Unlock()
			if stopped {
				return
			}
			body := fmt.Sprintf(`{"device_id":"sender-%d","sensor":"n","value":%d}`, sender, n)
			r, err := http.NewRequest(http.MethodPost, url+"/v1/readings", strings.NewReader(body))
			if err != nil {
				s.t.Error(err)
				return
			}
			r.Header.Set("Idempotency-Key", fmt.Sprintf("%d-%d", sender, n))
			answer, err := client.Do(r)
			if err != nil {
				time.Sleep(5 * time.Millisecond) // the process was killed
				continue
			}
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				s.mu.Lock()
				s.acked[sender]++
				if answer.Header.Get("Idempotent-Replayed") != "" {
					s.repeats++
				}
				s.mu.Unlock()
				break
			}
			if answer.StatusCode != http.StatusConflict && answer.StatusCode != http.StatusTooManyRequests && answer.StatusCode != http.StatusServiceUnavailable {
				s.t.Errorf("status %s", answer.Status)
				return
			}
		}
	}
}

// weir ingest is killed with kill -9 again and again under load: every reading that a sender has an
// answer for is in Kafka exactly once, by weir verify and by a count of the readings themselves.
func TestIngestSurvivesKills(t *testing.T) {
	kills := longtest.Size(4, 10, 30)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "ingest.yaml")
	if err := os.WriteFile(file, []byte("http: { listen: \":0\" }\nspool: { dir: "+filepath.Join(dir, "spool")+" }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &senders{t: t, acked: make([]int, 8)}
	begin := func() *weir {
		p := start(t, "ingest", file, "--brokers", b.Addr())
		waitFor(t, "the address", func() bool { return accepting.MatchString(p.errOut.String()) })
		s.at(accepting.FindStringSubmatch(p.errOut.String())[1])
		return p
	}
	p := begin()
	var all sync.WaitGroup
	for sender := range s.acked {
		all.Go(func() { s.run(sender) })
	}
	for range kills {
		time.Sleep(time.Duration(100+rng.IntN(500)) * time.Millisecond) // random moment of the fault
		p.kill()
		p = begin()
	}
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	all.Wait()
	total := 0
	for _, n := range s.acked {
		total += n
	}
	counts := make(map[string]int)
	waitFor(t, "all readings in Kafka", func() bool {
		clear(counts)
		n := 0
		err := broker.ReadAll(t.Context(), broker.Config{Brokers: []string{b.Addr()}}, node.SensorData, nil, func(r *kgo.Record) error {
			v := struct {
				Device string  `json:"device_id"`
				Value  float64 `json:"value"`
			}{}
			if err := json.Unmarshal(r.Value, &v); err != nil {
				return err
			}
			counts[fmt.Sprintf("%s %v", v.Device, v.Value)]++
			n++
			return nil
		})
		return err == nil && n >= total
	})
	lost, repeated := 0, 0
	for sender, n := range s.acked {
		for i := range n {
			if counts[fmt.Sprintf("sender-%d %d", sender, i)] == 0 {
				lost++
			}
		}
	}
	for _, n := range counts {
		repeated += n - 1
	}
	t.Logf("%d kills, %d readings acknowledged, %d answers repeated, %d lost, %d repeated", kills, total, s.repeats, lost, repeated)
	if lost > 0 || repeated > 0 || total < 100 {
		t.Errorf("%d readings acknowledged, %d lost, %d repeated", total, lost, repeated)
	}
	p.signal(os.Interrupt)
	if code := p.wait(time.Minute); code != exitOK {
		t.Errorf("exit %d\n%s", code, p.errOut.String())
	}
	r := verified(t, "--brokers", b.Addr())
	if r.Records != int64(len(counts)) {
		t.Errorf("weir verify has %d readings, the count %d", r.Records, len(counts))
	}
}

// Devices are served while Kafka is down, also when weir starts then: what they send waits on the
// disk.
func TestIngestStartsWithoutKafka(t *testing.T) {
	config := embedded.Config{Dir: t.TempDir()}
	b, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	config.Addr = b.Addr()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "ingest.yaml")
	text := fmt.Sprintf("http: { listen: \":0\" }\nmqtt: { listen: \":0\" }\nspool: { dir: %s }\ntopics:\n  raw/#: { to: mqtt_raw }\n", filepath.Join(dir, "spool"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "ingest", file, "--brokers", config.Addr, "--data-dir", dir)
	waitFor(t, "the warning", func() bool { return strings.Contains(p.errOut.String(), "can't be reached yet") })
	answer, err := http.Post(accepting.FindStringSubmatch(p.errOut.String())[1]+"/v1/readings", "application/json", strings.NewReader(`{"device_id":"d","sensor":"n","value":1}`)) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("status %s", answer.Status)
	}
	if b, err = embedded.Open(config); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	waitFor(t, "the reading", func() bool {
		n := 0
		err := broker.ReadAll(t.Context(), broker.Config{Brokers: []string{config.Addr}}, node.SensorData, nil, func(*kgo.Record) error { n++; return nil })
		return err == nil && n == 1
	})
	p.signal(os.Interrupt)
	if code := p.wait(time.Minute); code != exitOK {
		t.Errorf("exit %d\n%s", code, p.errOut.String())
	}
}

func TestIngestTest(t *testing.T) {
	dir := t.TempDir()
	file, input := filepath.Join(dir, "ingest.yaml"), filepath.Join(dir, "messages.ndjson")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "topics:\n  \"site/+device/+sensor\": { value: payload }\n  raw/#: { to: mqtt_raw }\n")
	write(input, "site/d2/temp 8.25\nraw/a any thing\n"+`{"topic":"site/d1/temp","payload":"21.5"}`+"\n"+`{"topic":"site/d1/temp","payload":7}`+"\n"+`{"topic":"x","payload":{"a":1}}`+"\n")
	in, err := os.Open(input)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	root := newRoot()
	var out strings.Builder
	root.SetIn(in)
	root.SetOut(&out)
	root.SetArgs([]string{"ingest", "test", file})
	if err := root.ExecuteContext(t.Context()); exitCode(err) != exitCheck {
		t.Errorf("exit code %d: %v", exitCode(err), err)
	}
	for _, want := range []string{`"value":8.25`, "raw/a  (raw/#)\n  kept as it is in the topic mqtt_raw\n", `"value":21.5`, `"value":7`, "x\n  dead letter  no rule matches the topic"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// weir up takes readings of devices instead of a fleet's, and the statistics include them.
func TestUpWithDevices(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, "up", "--data-dir", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--no-fleet", "--http", ":0")
	address := regexp.MustCompile(`(http://\S+)/v1/readings`)
	waitFor(t, "the address", func() bool { return address.MatchString(p.errOut.String()) })
	url := address.FindString(p.errOut.String())
	answer, err := http.Post(url, "application/json", strings.NewReader(`{"device_id":"mine","sensor":"temperature","value":21.5}`)) //nolint:noctx // the test ends
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("status %s", answer.Status)
	}
	stats := func() (all []string) {
		err := broker.ReadAll(t.Context(), broker.Config{Brokers: []string{brokerOf(t, dir)}}, node.DeviceStats, nil, func(r *kgo.Record) error {
			all = append(all, string(r.Key))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	waitFor(t, "the statistics", func() bool { return len(stats()) > 0 })
	if all := stats(); len(all) != 1 || !strings.Contains(all[0], "mine") {
		t.Errorf("statistics of %q, want only those of the device", all)
	}
	p.signal(os.Interrupt)
	if code := p.wait(time.Minute); code != exitOK {
		t.Errorf("exit %d\n%s", code, p.errOut.String())
	}
	if r := verified(t, "--data-dir", dir); r.Records != 1 {
		t.Errorf("%d readings, want 1", r.Records)
	}
}

// What weir ingest guess proposes for the messages of a broker is valid, and fits them.
func TestIngestGuess(t *testing.T) {
	m := mqtttest.StartMosquitto(t)
	p := &mqtttest.Publisher{Addr: m.Addr(), ClientID: "p"}
	defer p.Close()
	for topic, payload := range map[string]string{"site/d1/temperature": "21.5", "zigbee2mqtt/kitchen": `{"temperature":1}`, "plant/press": `{"v":1,"ts":1700000000,"seq":4,"boot":"b"}`} {
		if err := p.Retain(t.Context(), topic, []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := do(t, "ingest", "guess", "mqtt://"+m.Addr(), "--for", "500ms")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	file := filepath.Join(t.TempDir(), "ingest.yaml")
	if err := os.WriteFile(file, []byte(stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ingest.Read(file); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	for _, want := range []string{"client_id: weir-1", `"site/+device/+sensor": { value: payload }`, "preset: zigbee2mqtt", "ts: $.ts, ts_format: unix, seq: $.seq, boot: $.boot"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %s in\n%s", want, stdout)
		}
	}
	if code, _, stderr := do(t, "ingest", "guess", "mqtt://127.0.0.1:1", "--for", "1s"); code == exitOK || !strings.Contains(stderr, "refused") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
