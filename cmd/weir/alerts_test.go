package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir.example/weir/internal/longtest"
)

// flapping is an alert that keeps firing and resolving, depending on the sequence number of a
// device's latest temperature.
const flapping = `
CREATE TABLE readings (device_id STRING NOT NULL, sensor STRING NOT NULL, seq BIGINT NOT NULL) WITH ('connector' = 'kafka', 'topic' = 'sensor_data_tx',
  'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE flapping (device_id STRING, severity STRING, summary STRING, PRIMARY KEY (device_id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'flapping', 'key.format' = 'raw', 'value.format' = 'json');
INSERT INTO flapping
SELECT device_id, CASE WHEN MOD(n, 4) = 0 THEN 'critical' ELSE 'warning' END, device_id || ' at ' || CAST(n AS STRING)
FROM (SELECT device_id, LAST_VALUE(seq / 5) AS n FROM readings WHERE sensor = 'temperature' GROUP BY device_id)
WHERE MOD(n, 3) <> 0;`

// notifiedAlert is an alert in a notification.
type notifiedAlert struct {
	ID       string            `json:"id"`
	Status   string            `json:"status"`
	Severity string            `json:"severity"`
	Labels   map[string]string `json:"labels"`
	Since    time.Time         `json:"since"`
	N        int               `json:"n"`
}

// name identifies an alert independently of its id.
func (a notifiedAlert) name() string {
	return fmt.Sprint(a.Labels["device_id"], " ", a.Severity, " ", a.Since.UnixMilli())
}

// lifeHeader is the header of notifications with the number of the process that sent them.
const lifeHeader = "Life"

// webhook is a receiver that fails at times, and records what each process has sent.
type webhook struct {
	mu       sync.Mutex
	rng      *rand.Rand
	lives    map[string][]string                 // processes that sent an alert, by receiver, id, status and n
	last     map[string]map[string]notifiedAlert // the highest n of each alert, by receiver and name
	ids      map[string]string                   // id by name
	wrong    []string
	requests map[string]int // answered or held, by process
	hold     chan struct{}  // if not nil, responses wait until it is closed
	held     int            // responses that wait
}

func newWebhook(seed uint64) *webhook {
	return &webhook{
		rng: rand.New(rand.NewPCG(seed, 1)), lives: make(map[string][]string), last: make(map[string]map[string]notifiedAlert),
		ids: make(map[string]string), requests: make(map[string]int),
	}
}

func (h *webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	fails, slow := h.rng.IntN(10) == 0, time.Duration(h.rng.IntN(40))*time.Millisecond
	h.mu.Unlock()
	if fails {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the process was killed while it was sending
	}
	var n struct{ Alerts []notifiedAlert }
	if err := json.Unmarshal(body, &n); err != nil {
		h.mu.Lock()
		h.wrong = append(h.wrong, err.Error())
		h.mu.Unlock()
		return
	}
	if hold := h.record(r.URL.Path, r.Header.Get(lifeHeader), n.Alerts); hold != nil {
		<-hold
		return
	}
	time.Sleep(slow) // a kill in this interval loses the response
}

// record records a notification; hold is not nil if its response must wait until hold is closed.
func (h *webhook) record(receiver, life string, alerts []notifiedAlert) (hold chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last[receiver] == nil {
		h.last[receiver] = make(map[string]notifiedAlert)
	}
	for _, a := range alerts {
		what := fmt.Sprint(receiver, " ", a.ID, " ", a.Status, " ", a.N)
		h.lives[what] = append(h.lives[what], life)
		if a.N >= h.last[receiver][a.name()].N { // a request of a killed process may be handled late
			h.last[receiver][a.name()] = a
		}
		if id := h.ids[a.name()]; id != "" && id != a.ID {
			h.wrong = append(h.wrong, fmt.Sprintf("%s has the ids %s and %s", a.name(), id, a.ID))
		}
		h.ids[a.name()] = a.ID
	}
	h.requests[life]++
	if h.hold != nil {
		h.held++
	}
	return h.hold
}

// setHold makes responses wait from now on. release drops their connections.
func (h *webhook) setHold() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hold := make(chan struct{})
	h.hold, h.held = hold, 0
	return func() {
		h.mu.Lock()
		h.hold = nil
		h.mu.Unlock()
		close(hold)
	}
}

// weir up is killed with kill -9 again and again while alerts are delivered, every other time while
// a response is outstanding. None is lost, and an alert is repeated only by another process, with
// the same id.
func TestAlertsSurviveKills(t *testing.T) {
	kills := longtest.Size(5, 12, 50)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	h := newWebhook(seed)
	server := httptest.NewServer(h)
	defer server.Close()
	dir := t.TempDir()
	sql, alerts := filepath.Join(dir, "flapping.sql"), filepath.Join(dir, "alerts.yaml")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(sql, flapping)
	configure := func(life int) {
		t.Helper()
		write(alerts, fmt.Sprintf(`
receivers: {all: {webhook: {url: "%[1]s/all", headers: {%[2]s: "%[3]d"}}}, each: {webhook: {url: "%[1]s/each", headers: {%[2]s: "%[3]d"}}}}
routes:
  - {receivers: [all], group_wait: 50ms, group_interval: 50ms, continue: true}
  - {receivers: [each], group_by: ["..."], group_wait: 1ms, group_interval: 1ms}
`, server.URL, lifeHeader, life))
	}
	const alertsPerLife = 4
	data := filepath.Join(dir, "data")
	for life := range kills {
		configure(life)
		p := start(t, "up", "--data-dir", data, "--listen", "127.0.0.1:0", "--rate", "400", "--devices", "10", "--pipeline", sql, "--alerts", alerts)
		h.await(t, p, func() bool { return h.requests[fmt.Sprint(life)] > 0 && len(h.ids) >= alertsPerLife*(life+1) })
		if life%2 == 1 {
			release := h.setHold()
			h.await(t, p, func() bool { return h.held > 0 })
			p.kill()
			release()
			continue
		}
		time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond) // random moment of the fault
		p.kill()
	}
	configure(kills)
	last := start(t, "run", sql, "--data-dir", data, "--alerts", alerts)
	for !strings.Contains(last.errOut.String(), "embedded broker") {
		select {
		case <-last.exited:
			t.Fatal(last.errOut.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	var missing string
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if missing = h.missing(expectedAlerts(t, data)); missing == "" {
			break
		}
	}
	if missing != "" {
		t.Errorf("%s\n%s", missing, last.errOut.String())
	}
	last.signal(syscall.SIGTERM)
	if code := last.wait(20 * time.Second); code != exitOK {
		t.Errorf("exit %d\n%s", code, last.errOut.String())
	}
	h.check(t, kills)
}

// await waits until a condition on the recorded notifications is true.
func (h *webhook) await(t *testing.T, p *weir, condition func() bool) {
	t.Helper()
	met := func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return condition()
	}
	for deadline := time.Now().Add(2 * time.Minute); !met(); {
		if time.Now().After(deadline) {
			t.Fatalf("too few notifications were delivered:\n%s", p.errOut.String())
		}
		select {
		case <-p.exited:
			t.Fatal(p.errOut.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// expectedAlerts returns the alerts that follow from the rows of the topic, with their status at
// its end.
func expectedAlerts(t *testing.T, data string) map[string]string {
	t.Helper()
	expected, current := make(map[string]string), make(map[string]string)
	for _, line := range strings.Split(strings.TrimSpace(must(t, "tail", "flapping", "--from-start", "--until-end", "-o", "json", "--data-dir", data)), "\n") {
		var r struct {
			Key       string
			Value     *string
			Timestamp time.Time
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		severity := ""
		if r.Value != nil && *r.Value != "" {
			var v struct{ Severity string }
			if err := json.Unmarshal([]byte(*r.Value), &v); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			severity = v.Severity
		}
		if old := current[r.Key]; old != "" && !strings.Contains(old, " "+severity+" ") || severity == "" {
			if old != "" {
				expected[old] = "resolved"
			}
			delete(current, r.Key)
		}
		if severity != "" && current[r.Key] == "" {
			current[r.Key] = fmt.Sprint(r.Key, " ", severity, " ", r.Timestamp.UnixMilli())
			expected[current[r.Key]] = "firing"
		}
	}
	return expected
}

// missing describes the first alert whose last notification is not the expected one.
func (h *webhook) missing(expected map[string]string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, receiver := range []string{"/all", "/each"} {
		for name, status := range expected {
			if got := h.last[receiver][name].Status; got != status {
				return fmt.Sprintf("%s: the last status of %s is %q, want %s; %d alerts are expected", receiver, name, got, status, len(expected))
			}
		}
		for name, a := range h.last[receiver] {
			if _, ok := expected[name]; !ok {
				return fmt.Sprintf("%s: %s (%s) was delivered, but no row causes it", receiver, name, a.Status)
			}
		}
	}
	return ""
}

func (h *webhook) check(t *testing.T, kills int) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	repeats := 0
	for what, lives := range h.lives {
		repeats += len(lives) - 1
		slices.Sort(lives)
		if len(slices.Compact(slices.Clone(lives))) < len(lives) {
			t.Errorf("%s: sent twice by one process: %v", what, lives)
		}
	}
	for _, w := range h.wrong {
		t.Error(w)
	}
	t.Logf("%d alerts, %d repeated after %d kills", len(h.ids), repeats, kills)
	if repeats == 0 && kills > 10 {
		t.Error("no notification was repeated: the kills interrupted nothing")
	}
}
