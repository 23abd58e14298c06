package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/site"
	"weir.example/weir/internal/syncbuf"
)

// signal wakes goroutines that wait for a state change. The zero value is ready for use.
type signal struct {
	mu      sync.Mutex
	changed chan struct{}
}

// next returns a channel that is closed at the next change.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Write implements io.Writer for use as a log's output; each line is a change.
func (s *signal) Write(p []byte) (int, error) {
	s.fire()
	return len(p), nil
}

// patience is how long a test waits before it fails.
const patience = 20 * time.Second

// await checks ok after each change until it returns true, and reports whether it did so in time.
func (s *signal) await(ok func() bool) bool {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		next := s.next()
		if ok() {
			return true
		}
		select {
		case <-next:
		case <-late.C:
			return false
		}
	}
}

// hook is a webhook that records the notifications that it receives.
type hook struct {
	*httptest.Server
	requests signal
	mu       sync.Mutex
	down     bool
	received []Notification
}

func newHook(t *testing.T) *hook {
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer h.requests.fire()
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.down {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		var n Notification
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			t.Error(err)
		}
		ids := []string{}
		for _, a := range n.Alerts {
			ids = append(ids, a.ID)
		}
		if got := r.Header.Get("Weir-Alert-Id"); got != strings.Join(ids, ",") || r.Header.Get("Idempotency-Key") != n.ID || r.Header.Get("Authorization") != "Bearer x" {
			t.Errorf("headers %v of %+v", r.Header, n)
		}
		h.received = append(h.received, n)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) setDown(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

// alerts returns the received alerts in order, each as device/status/n.
func (h *hook) alerts() (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.received {
		for _, a := range n.Alerts {
			all = append(all, fmt.Sprintf("%s/%s/%d", a.Labels["device_id"], a.Status, a.N))
		}
	}
	return all
}

// await waits until exactly the given alerts were received.
func (h *hook) await(t *testing.T, want ...string) {
	t.Helper()
	if !h.requests.await(func() bool { return slices.Equal(h.alerts(), want) }) {
		t.Fatalf("the receiver got %v, want %v", h.alerts(), want)
	}
}

// awaitDistinct is await without duplicates.
func (h *hook) awaitDistinct(t *testing.T, want ...string) {
	t.Helper()
	distinct := func() []string {
		seen := make(map[string]bool)
		return slices.DeleteFunc(h.alerts(), func(a string) bool {
			duplicate := seen[a]
			seen[a] = true
			return duplicate
		})
	}
	if !h.requests.await(func() bool { return slices.Equal(distinct(), want) }) {
		t.Fatalf("the receiver got %v, want %v", distinct(), want)
	}
}

type world struct {
	t      *testing.T
	at     broker.Config
	site   site.Site
	hook   *hook
	config *Config
	client *kgo.Client
	log    syncbuf.Buffer
	events signal // log lines and iterations of a deliverer

	metrics *prometheus.Registry // nil: none
	health  *Health
}

func (w *world) metricsText() string {
	w.t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			w.t.Fatal(err)
		}
	}
	return text.String()
}

// awaitMetrics waits until the metrics have all lines.
func (w *world) awaitMetrics(lines ...string) {
	w.t.Helper()
	var missing, text string
	if !w.events.await(func() bool {
		missing, text = "", w.metricsText()
		for _, l := range lines {
			if !strings.Contains(text, l+"\n") {
				missing = l
			}
		}
		return missing == ""
	}) {
		w.t.Fatalf("no %s in\n%s", missing, text)
	}
}

// awaitLog waits for a text in the log.
func (w *world) awaitLog(text string) {
	w.t.Helper()
	if !w.events.await(func() bool { return strings.Contains(w.log.String(), text) }) {
		w.t.Fatalf("no %q in the log\n%s", text, w.log.String())
	}
}

func newWorld(t *testing.T) *world {
	_, w := newCluster(t)
	return w
}

func newCluster(t *testing.T) (*kfake.Cluster, *world) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "hot"), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, newWorldOn(t, broker.Config{Brokers: c.ListenAddrs()})
}

// newWorldOn is newWorld on an existing broker with a topic "hot".
func newWorldOn(t *testing.T, at broker.Config) *world {
	t.Helper()
	w := &world{t: t, at: at, hook: newHook(t)}
	var err error
	w.config = config(t, fmt.Sprintf(`
receivers: {hook: {webhook: {url: %q, headers: {Authorization: Bearer x}}}}
routes: [{receivers: [hook], group_wait: 1ms, group_interval: 1ms, group_by: ["..."]}]`, w.hook.URL))
	if w.client, err = broker.Connect(t.Context(), w.at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	return w
}

// deliver returns the configuration of a deliverer.
func (w *world) deliver(instance string) DeliverConfig {
	var metrics *Metrics
	if w.metrics != nil {
		metrics = NewMetrics(w.metrics)
	}
	return DeliverConfig{
		Broker: w.at, Site: w.site, Alerts: w.config, Instance: instance, Metrics: metrics, Health: w.health,
		Logger: slog.New(slog.NewTextHandler(io.MultiWriter(&w.log, &w.events), nil)),
		Now: func() time.Time { // at least once per iteration
			w.events.fire()
			return time.Now()
		},
		Tables: []Table{{Name: "too_hot", Topic: w.site.Scoped("hot"), Upsert: true, Key: []string{"device_id"}}},
	}
}

// start delivers until stop is called.
func (w *world) start(instance string) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- Deliver(ctx, w.deliver(instance)) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("deliver: %v", err)
		}
	}
}

func (w *world) row(device, severity string) {
	w.t.Helper()
	r := &kgo.Record{Topic: w.site.Scoped("hot"), Key: []byte(device)}
	if severity != "" {
		r.Value = fmt.Appendf(nil, `{"device_id":%q,"severity":%q,"summary":"%s is hot","value":31.50,"extra":null}`, device, severity, device)
	}
	if err := w.client.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

func TestDeliver(t *testing.T) {
	w := newWorld(t)
	stop := w.start("a")
	w.row("d1", "warning")
	w.hook.await(t, "d1/firing/1")
	a := w.hook.received[0].Alerts[0]
	if a.Name != "too_hot" || a.Summary != "d1 is hot" || a.Labels["alertname"] != "too_hot" || a.Labels["severity"] != "warning" || fmt.Sprint(a.Annotations) != "map[value:31.50]" {
		t.Errorf("%+v", a)
	}
	w.hook.setDown(true)
	w.row("d1", "")
	w.awaitLog("alert not delivered")
	w.hook.setDown(false)
	w.hook.await(t, "d1/firing/1", "d1/resolved/2")
	stop()

	// A new process knows what was delivered, and delivers what arrived in the meantime.
	w.row("d2", "critical")
	defer w.start("b")()
	w.hook.await(t, "d1/firing/1", "d1/resolved/2", "d2/firing/1")
	state, err := ReadState(t.Context(), w.at, site.Site{})
	if err != nil || len(state.Alerts) != 2 || state.Alerts[0].Status != Firing || state.Alerts[0].Severity != "critical" {
		t.Errorf("%+v, %v", state, err)
	}
}

// A second process takes over partitions from the first, and nothing is lost. A notification that
// was in flight when its partition moved may be sent again, with the same ids, status and number.
func TestDeliverMoves(t *testing.T) {
	w := newWorld(t)
	stopA := w.start("a")
	var want []string
	for i := range 6 {
		device := fmt.Sprint("d", i)
		w.row(device, "warning")
		want = append(want, device+"/firing/1")
		w.hook.await(t, want...)
	}
	stopB := w.start("b")
	for i := range 6 {
		device := fmt.Sprint("d", i)
		w.row(device, "")
		want = append(want, device+"/resolved/2")
		w.hook.awaitDistinct(t, want...)
		if i == 2 {
			stopA()
		}
	}
	stopB()
	if repeats := len(w.hook.alerts()) - len(want); repeats > 2 {
		t.Errorf("%d duplicate alerts: %v", repeats, w.hook.alerts())
	}
}

// A silence suppresses notifications from the start, and an alert that still fires when the silence
// is deleted is sent then.
func TestDeliverSilences(t *testing.T) {
	w := newWorld(t)
	s := Silence{ID: "s1", Match: Matcher{"device_id": "d1"}, Until: time.Now().Add(time.Hour)}
	if err := PutSilence(t.Context(), w.at, site.Site{}, s); err != nil {
		t.Fatal(err)
	}
	defer w.start("a")()
	w.row("d1", "warning")
	w.row("d2", "warning")
	w.hook.await(t, "d2/firing/1")
	if err := DeleteSilence(t.Context(), w.at, site.Site{}, "s1"); err != nil {
		t.Fatal(err)
	}
	w.hook.await(t, "d2/firing/1", "d1/firing/1")
}

// Metrics count notifications, retries and firing alerts; no label identifies an alert.
func TestDeliverMetrics(t *testing.T) {
	w := newWorld(t)
	w.metrics = prometheus.NewRegistry()
	if err := PutSilence(t.Context(), w.at, site.Site{}, Silence{ID: "s1", Match: Matcher{"device_id": "d3"}, Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	defer w.start("a")()
	w.awaitMetrics(`weir_alert_notifications_total{kind="webhook",outcome="failed"} 0`, `weir_alert_firing{severity="critical"} 0`)
	w.hook.setDown(true)
	w.row("d1", "warning")
	w.awaitMetrics(`weir_alert_notifications_total{kind="webhook",outcome="failed"} 1`, "weir_alert_failing_groups 1", `weir_alert_firing{severity="warning"} 1`)
	w.hook.setDown(false)
	w.hook.await(t, "d1/firing/1")
	w.awaitMetrics(`weir_alert_notifications_total{kind="webhook",outcome="delivered"} 1`, "weir_alert_failing_groups 0",
		`weir_alert_delivery_seconds_count{kind="webhook"} 1`)
	w.row("d2", "strange")
	w.row("d3", "critical")
	w.row("d1", "")
	w.awaitMetrics(`weir_alert_firing{severity="warning"} 0`, `weir_alert_firing{severity="other"} 1`, `weir_alert_firing{severity="critical"} 1`, "weir_alert_silenced 1")
	text := w.metricsText()
	for _, not := range []string{"d1", "strange", `weir_alert_retries_total{kind="webhook"} 0`} {
		if strings.Contains(text, not) {
			t.Errorf("%s in\n%s", not, text)
		}
	}
}

// Health is not ready before the first iteration or after Deliver has returned. A receiver that is
// down does not affect it.
func TestDeliverHealth(t *testing.T) {
	w := newWorld(t)
	w.health = NewHealth()
	await := func(want string) {
		t.Helper()
		var got string
		if !w.events.await(func() bool {
			got = ""
			if err := w.health.Ready(); err != nil {
				got = err.Error()
			}
			return want != "" && strings.HasPrefix(got, want) || want == got
		}) {
			t.Fatalf("the health is %q, want %q", got, want)
		}
	}
	await("starting, for")
	stop := w.start("a")
	await("")
	w.hook.setDown(true)
	w.row("d1", "warning")
	w.awaitLog("alert not delivered")
	await("")
	w.hook.setDown(false)
	w.hook.await(t, "d1/firing/1")
	stop()
	await("stopped")
}

// Mail that the server rejects for some addresses is not sent again to the others. The log names
// the rejected addresses.
func TestDeliverToSome(t *testing.T) {
	server := newMailServer(t, &mailServer{rejects: map[string]int{"a@example.org": 550}})
	w := newWorld(t)
	w.config = config(t, fmt.Sprintf(`
receivers: {mail: {email: {to: [a@example.org, b@example.org], from: weir@example.org, server: %q, tls: none}}}
routes: [{receivers: [mail], group_wait: 1ms, group_interval: 1ms, group_by: ["..."]}]`, server.address))
	defer w.start("a")()
	for i, device := range []string{"d1", "d2"} {
		w.row(device, "warning")
		if !w.events.await(func() bool { return len(server.taken()) > i }) {
			t.Fatalf("the server got %+v", server.taken())
		}
		if got := server.taken(); len(got) != i+1 || !strings.Contains(got[i].text, device+" is hot") || fmt.Sprint(got[i].to) != "[b@example.org]" {
			t.Fatalf("the server got %+v", got)
		}
	}
	w.awaitLog(`msg="alert not delivered to all" receiver=mail`)
	w.awaitLog("the server rejects a@example.org: 550")
}
