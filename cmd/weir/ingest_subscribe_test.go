package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/ingest/mqtttest"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/node"
)

// meters are 50 devices that publish numbered messages to a broker, each until it is acknowledged.
type meters struct {
	t    *testing.T
	addr string
	stop atomic.Bool
	all  sync.WaitGroup
	last [50]atomic.Int64 // number of the last message that was acknowledged
}

func (m *meters) run() {
	for i := range m.last {
		m.last[i].Store(-1)
		m.all.Go(func() {
			p := &mqtttest.Publisher{Addr: m.addr, ClientID: fmt.Sprint("meter-", i)}
			defer p.Close()
			for n := int64(0); !m.stop.Load(); n++ {
				if !m.publish(p, i, n) {
					return
				}
				time.Sleep(10 * time.Millisecond) // the rate
			}
		})
	}
}

func (m *meters) publish(p *mqtttest.Publisher, i int, n int64) bool {
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	if err := p.Publish(ctx, fmt.Sprintf("line/meter-%d", i), fmt.Appendf(nil, `{"n":%d,"boot":"b","v":%d}`, n, n)); err != nil {
		m.t.Error(err)
		return false
	}
	m.last[i].Store(n)
	return true
}

// finish stops the devices; each publishes one more message, after which everything that is missing
// before it is known.
func (m *meters) finish() {
	m.stop.Store(true)
	m.all.Wait()
	for i := range m.last {
		p := &mqtttest.Publisher{Addr: m.addr, ClientID: fmt.Sprint("meter-", i)}
		m.publish(p, i, m.last[i].Load()+1)
		p.Close()
	}
}

// keep publishes numbered messages that are kept as they are, and returns how many were
// acknowledged.
func (m *meters) keep() *atomic.Int64 {
	var sent atomic.Int64
	m.all.Go(func() {
		p := &mqtttest.Publisher{Addr: m.addr, ClientID: "raw"}
		defer p.Close()
		for !m.stop.Load() {
			if err := p.Publish(m.t.Context(), "raw/one", fmt.Append(nil, sent.Load())); err != nil {
				m.t.Error(err)
				return
			}
			sent.Add(1)
			time.Sleep(10 * time.Millisecond) // the rate
		}
	})
	return &sent
}

// raw returns the messages that were kept: key, value and quality of service.
func (m *meters) raw(addr string) (all []string) {
	err := broker.ReadAll(m.t.Context(), broker.Config{Brokers: []string{addr}}, "mqtt_raw", nil, func(r *kgo.Record) error {
		qos := ""
		for _, h := range r.Headers {
			if h.Key == "mqtt.qos" {
				qos = string(h.Value)
			}
		}
		all = append(all, fmt.Sprintf("%s %s %s", r.Key, r.Value, qos))
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return all
}

// inKafka returns how often each number of each device is in Kafka.
func (m *meters) inKafka(addr string) map[string]map[int64]int {
	counts := make(map[string]map[int64]int)
	err := broker.ReadAll(m.t.Context(), broker.Config{Brokers: []string{addr}}, node.SensorData, nil, func(r *kgo.Record) error {
		v := struct {
			Device string  `json:"device_id"`
			Value  float64 `json:"value"`
		}{}
		if err := json.Unmarshal(r.Value, &v); err != nil {
			return err
		}
		if counts[v.Device] == nil {
			counts[v.Device] = make(map[int64]int)
		}
		counts[v.Device][int64(v.Value)]++
		return nil
	})
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) { // weir takes messages before it has created the topics
		m.t.Fatal(err)
	}
	return counts
}

// Readings from a foreign broker are in Kafka exactly once, whatever is killed with kill -9; or
// what that broker has lost is exactly what Weir reports as missing.
func TestSubscribeSurvivesKills(t *testing.T) {
	for _, tt := range []struct {
		name      string
		mosquitto []string
		kill      []string
		lossless  bool
	}{
		{"Weir and Kafka", []string{"max_queued_messages 0"}, []string{"weir", "kafka"}, true},
		{"mosquitto with its default limits", []string{"persistence true", "persistence_location DIR/", "autosave_on_changes true", "autosave_interval 50"}, []string{"mosquitto", "weir"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			config := embedded.Config{Dir: t.TempDir()}
			kafka, err := embedded.Open(config)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { kafka.Close() }()
			config.Addr = kafka.Addr()
			mosquitto := mqtttest.StartMosquitto(t, tt.mosquitto...)
			dir := t.TempDir()
			file := filepath.Join(dir, "ingest.yaml")
			text := fmt.Sprintf("subscribe:\n  - { url: mqtt://%s, client_id: weir }\nspool: { dir: %s }\ntopics:\n  line/+device: { seq: $.n, boot: $.boot }\n  raw/#: { to: mqtt_raw }\n", mosquitto.Addr(), filepath.Join(dir, "spool"))
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			begin := func() *weir {
				return start(t, "ingest", file, "--brokers", config.Addr, "--admin-listen", "127.0.0.1:0")
			}
			p := begin()
			defer func() {
				if t.Failed() {
					t.Log(p.errOut.String())
				}
			}()
			connected := func() {
				t.Helper()
				waitFor(t, "the connection", func() bool {
					return strings.Contains(p.page("/metrics"), `weir_mqtt_source_connected{client_id="weir",url="mqtt://`+mosquitto.Addr()+`"} 1`)
				})
			}
			connected()
			m := &meters{t: t, addr: mosquitto.Addr()}
			m.run()
			defer func() { // also after a failure
				m.stop.Store(true)
				m.all.Wait()
			}()
			kept := m.keep()
			waitFor(t, "a reading of each device", func() bool { return len(m.inKafka(config.Addr)) == len(m.last) })
			for i := range longtest.Size(2, 4, 40) {
				time.Sleep(time.Duration(200+rng.IntN(400)) * time.Millisecond) // random moment of the fault
				switch tt.kill[i%len(tt.kill)] {
				case "weir":
					p.kill()
					p = begin()
				case "mosquitto":
					mosquitto.Kill()
					mosquitto.Start()
				case "kafka":
					if err := kafka.Close(); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Duration(longtest.Size(300, 300, 5000)) * time.Millisecond)
					if kafka, err = embedded.Open(config); err != nil {
						t.Fatal(err)
					}
				}
			}
			connected()
			m.finish()
			var counts map[string]map[int64]int
			waitFor(t, "the last reading of each device", func() bool {
				counts = m.inKafka(config.Addr)
				for i := range m.last {
					if counts[fmt.Sprint("meter-", i)][m.last[i].Load()] == 0 {
						return false
					}
				}
				return true
			})
			if tt.lossless {
				waitFor(t, "the messages that are kept as they are", func() bool { return len(m.raw(config.Addr)) >= int(kept.Load()) })
				for n, text := range m.raw(config.Addr) {
					if want := fmt.Sprintf("raw/one %d 1", n); text != want {
						t.Fatalf("message %d of mqtt_raw is %s, want %s", n, text, want)
					}
				}
			}
			lost, repeated, total := int64(0), 0, int64(0)
			for i := range m.last {
				for n := range m.last[i].Load() {
					total++
					switch c := counts[fmt.Sprint("meter-", i)][n]; {
					case c == 0:
						lost++
					case c > 1:
						repeated += c - 1
					}
				}
			}
			metrics := p.page("/metrics")
			reported, _ := strconv.ParseInt(regexp.MustCompile(`(?m)^weir_spool_device_missing (\d+)`).FindStringSubmatch(metrics)[1], 10, 64)
			t.Logf("%d messages acknowledged by mosquitto, %d lost, %d of them reported, %d repeated; %s", total, lost, reported, repeated,
				strings.Join(regexp.MustCompile(`(?m)^(weir_spool_device_repeated_total|weir_mqtt_source_(?:repeated|broker_dropped|sessions_forgotten)_total)\{?.*`).FindAllString(metrics, -1), "; "))
			if repeated > 0 || lost != reported || tt.lossless && lost > 0 || total < 1000 {
				t.Errorf("%d messages, %d lost, %d reported, %d repeated", total, lost, reported, repeated)
			}
			p.signal(os.Interrupt)
			if code := p.wait(time.Minute); code != exitOK {
				t.Errorf("exit %d", code)
			}
			if r := verified(t, "--brokers", config.Addr); r.Records != total-lost+int64(len(m.last)) {
				t.Errorf("weir verify has %d readings, the count %d", r.Records, total-lost+int64(len(m.last)))
			}
		})
	}
}
