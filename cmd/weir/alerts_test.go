package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
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

// told is an alert in a notification.
type told struct {
	ID       string            `json:"id"`
	Status   string            `json:"status"`
	Severity string            `json:"severity"`
	Labels   map[string]string `json:"labels"`
	Since    time.Time         `json:"since"`
	N        int               `json:"n"`
}

// name identifies an alert independently of its id.
func (a told) name() string {
	return fmt.Sprint(a.Labels["device_id"], " ", a.Severity, " ", a.Since.UnixMilli())
}

// hearer is a webhook that fails at times, and records what each process of weir up has sent.
type hearer struct {
	mu      sync.Mutex
	rng     *rand.Rand
	life    int
	lives   map[string][]int             // by receiver, id, status and n
	last    map[string]map[string]string // status of each alert, by receiver and name
	ids     map[string]string            // id by name
	wrong   []string
	answers int // number of notifications
}

func (h *hearer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	fails, slow := h.rng.IntN(10) == 0, time.Duration(h.rng.IntN(40))*time.Millisecond
	h.mu.Unlock()
	if fails {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	var n struct{ Alerts []told }
	if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
		h.mu.Lock()
		h.wrong = append(h.wrong, err.Error())
		h.mu.Unlock()
		return
	}
	h.mu.Lock()
	for _, a := range n.Alerts {
		at := fmt.Sprint(r.URL.Path, " ", a.ID, " ", a.Status, " ", a.N)
		h.lives[at] = append(h.lives[at], h.life)
		if h.last[r.URL.Path] == nil {
			h.last[r.URL.Path] = make(map[string]string)
		}
		h.last[r.URL.Path][a.name()] = a.Status
		if id := h.ids[a.name()]; id != "" && id != a.ID {
			h.wrong = append(h.wrong, fmt.Sprintf("%s has the ids %s and %s", a.name(), id, a.ID))
		}
		h.ids[a.name()] = a.ID
	}
	h.answers++
	h.mu.Unlock()
	time.Sleep(slow) // a kill in this interval loses the response
}

// weir up is killed with kill -9 fifty times while alerts are delivered. None is lost, and an alert
// is repeated only by another process, with the same id.
func TestAlertsSurviveFiftyKills(t *testing.T) {
	kills := 50
	if testing.Short() {
		kills = 5
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	h := &hearer{rng: rand.New(rand.NewPCG(seed, 1)), lives: make(map[string][]int), last: make(map[string]map[string]string), ids: make(map[string]string)}
	server := httptest.NewServer(h)
	defer server.Close()
	dir := t.TempDir()
	sql, alerts := filepath.Join(dir, "flapping.sql"), filepath.Join(dir, "alerts.yaml")
	for file, text := range map[string]string{sql: flapping, alerts: fmt.Sprintf(`
receivers: {all: {webhook: {url: "%[1]s/all"}}, each: {webhook: {url: "%[1]s/each"}}}
routes:
  - {receivers: [all], group_wait: 50ms, group_interval: 50ms, continue: true}
  - {receivers: [each], group_by: ["..."], group_wait: 1ms, group_interval: 1ms}
`, server.URL)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	for range kills {
		p := start(t, "up", "--data-dir", data, "--listen", "127.0.0.1:0", "--rate", "400", "--devices", "10", "--pipeline", sql, "--alerts", alerts)
		h.await(t, p, h.count()+1)
		time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond) // random moment of the fault
		p.kill()
		time.Sleep(100 * time.Millisecond) // wait for requests that the killed process has sent
		h.mu.Lock()
		h.life++
		h.mu.Unlock()
	}
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

func (h *hearer) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.answers
}

// await waits until n notifications have arrived.
func (h *hearer) await(t *testing.T, p *weir, n int) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); h.count() < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing was delivered:\n%s", p.errOut.String())
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
func (h *hearer) missing(expected map[string]string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, receiver := range []string{"/all", "/each"} {
		for name, status := range expected {
			if got := h.last[receiver][name]; got != status {
				return fmt.Sprintf("%s: the last that was told of %s is %q, want %s; %d alerts are expected", receiver, name, got, status, len(expected))
			}
		}
		for name, status := range h.last[receiver] {
			if _, ok := expected[name]; !ok {
				return fmt.Sprintf("%s: told of %s (%s), which no row makes", receiver, name, status)
			}
		}
	}
	return ""
}

func (h *hearer) check(t *testing.T, kills int) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	again := 0
	for what, lives := range h.lives {
		again += len(lives) - 1
		for i := 1; i < len(lives); i++ {
			if lives[i] == lives[i-1] {
				t.Errorf("%s: told twice by one life of the process", what)
			}
		}
	}
	for _, w := range h.wrong {
		t.Error(w)
	}
	t.Logf("%d alerts in %d notifications, %d told again after %d kills", len(h.ids), h.answers, again, kills)
	if len(h.ids) < 20 || h.answers < kills || again == 0 && kills > 10 {
		t.Errorf("%d alerts, %d told again: the kills hit nothing", len(h.ids), again)
	}
}
