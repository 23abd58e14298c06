package node_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/source/fleet"
)

const copyQuery = `
CREATE TABLE readings (device_id STRING, sensor STRING, ` + "`value`" + ` DOUBLE, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'kafka', 'topic' = 'sensor_data_tx', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE sums (device_id STRING, since TIMESTAMP(3), total DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'sums', 'value.format' = 'json');
INSERT INTO sums SELECT device_id, window_start, SUM(` + "`value`" + `)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY device_id, window_start, window_end;
`

// get requests a path of the admin port.
func get(t *testing.T, url, path string) (code int, body string) {
	t.Helper()
	response, err := http.Get(url + path) //nolint:gosec // belongs to this test
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// value returns the sum of a metric over the series with all these labels; -1 if there is none.
func value(metrics, name string, labels ...string) float64 {
	sum, found := 0.0, false
	lines := bufio.NewScanner(strings.NewReader(metrics))
	for lines.Scan() {
		series, number, _ := strings.Cut(lines.Text(), "} ")
		if !strings.HasPrefix(series, name+"{") {
			continue
		}
		all := true
		for _, l := range labels {
			all = all && strings.Contains(series, l)
		}
		var v float64
		if _, err := fmt.Sscan(number, &v); all && err == nil {
			sum, found = sum+v, true
		}
	}
	if !found {
		return -1
	}
	return sum
}

// The admin port reports the flow's own counters, names the parts that are not ready, and exposes
// no device names.
func TestAdmin(t *testing.T) {
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	closeBroker := sync.OnceValue(b.Close)
	t.Cleanup(func() { _ = closeBroker() })
	at := broker.Config{Brokers: []string{b.Addr()}}
	if err := node.ApplyDefaultTopics(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	admin := node.NewAdmin()
	defer admin.Close()
	url, err := admin.Serve(t.Context(), "127.0.0.1:0", false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	observed := admin.Broker(at)

	simulated, err := fleet.New(fleet.Config{Devices: 7, Prefix: "secret-", Count: 3000, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	send := produce.Config{Broker: observed, Topic: node.SensorData, DLQ: node.DeadLetters, Progress: node.Progress}
	send = admin.Producer(send, simulated)
	program, err := plan.Compile(copyQuery, "summed")
	if err != nil {
		t.Fatal(err)
	}
	run := engine.Config{Broker: observed, Program: program, Instances: []string{"one", "spare"}, CommitInterval: 20 * time.Millisecond}
	run = admin.Pipeline(run)

	code, body := get(t, url, "/readyz")
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "no worker has started") || !strings.Contains(body, "starting for") {
		t.Errorf("before the start: readyz is %d %s", code, body)
	}
	sent, err := produce.Run(t.Context(), send, simulated)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var running sync.WaitGroup
	var result engine.Result
	running.Go(func() {
		if result, err = engine.Run(ctx, run); err != nil {
			t.Error(err)
		}
	})
	var metrics string
	for retry.Sleep(ctx, 20*time.Millisecond) == nil {
		if _, metrics = get(t, url, "/metrics"); value(metrics, "weir_engine_records_total", `pipeline="summed"`) >= 3000 && value(metrics, "weir_engine_tasks") == 4 &&
			value(metrics, "weir_engine_workers", `phase="running"`) == 2 {
			break
		}
	}
	_, body = get(t, url, "/readyz")
	var ready node.Readiness
	if err := json.Unmarshal([]byte(body), &ready); err != nil {
		t.Fatal(err)
	}
	for _, p := range ready.Parts {
		if want := p.Part != "source "+simulated.Name(); p.Ready != want || !want && !strings.HasPrefix(p.Why, "stopped") {
			t.Errorf("%s is ready: %v, %s", p.Part, p.Ready, p.Why)
		}
	}
	if len(ready.Parts) != 3 {
		t.Errorf("parts %+v", ready.Parts)
	}
	for name, want := range map[string]float64{
		"weir_produce_readings_total":               float64(sent.Readings),
		"weir_produce_transactions_committed_total": float64(sent.Transactions),
		"weir_produce_commit_seconds_count":         float64(sent.Transactions),
		"weir_produce_dead_letters_total":           0,
		"weir_engine_lag_records":                   0,
		"weir_engine_tasks":                         4,
		"weir_engine_workers":                       2,
		"weir_engine_dead_letters_total":            0,
		"weir_broker_client_buffered_fetch_records": 0,
	} {
		if got := value(metrics, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{
		"weir_engine_latency_seconds_count", "weir_engine_commit_seconds_bucket", "weir_engine_state_entries",
		"weir_engine_outputs_total", "weir_broker_client_connects_total",
	} {
		if value(metrics, name) <= 0 {
			t.Errorf("%s is %v", name, value(metrics, name))
		}
	}
	if strings.Contains(metrics, "secret-") {
		t.Error("metrics contain device names")
	}
	problems, err := testutil.GatherAndLint(admin.Registry)
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "weir_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	checkFamilies(t, admin)
	var status node.Status
	if _, body = get(t, url, "/status"); json.Unmarshal([]byte(body), &status) != nil || len(status.Pipelines) != 1 || len(status.Producers) != 1 ||
		status.Producers[0].Readings != sent.Readings || len(status.Pipelines[0].Tasks) != 4 {
		t.Errorf("status %s", body)
	}
	stop()
	running.Wait()
	if got := value(metrics, "weir_engine_records_total"); got != float64(result.Records) {
		t.Errorf("%v records in the metrics, %d in the result", got, result.Records)
	}

	if err := closeBroker(); err != nil {
		t.Fatal(err)
	}
	if code, body = get(t, url, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, `"part": "broker",
      "ready": false,`) {
		t.Errorf("without a broker: readyz is %d %s", code, body)
	}
	if code, _ = get(t, url, "/healthz"); code != http.StatusOK {
		t.Errorf("healthz of a live process is %d", code)
	}
}

// Labels that metrics may have. None of them has a value per device.
var labels = []string{
	"pipeline", "stage", "topic", "source", "group", "phase", "reason", "cause", "registry", "route", "code", "method", "kind", "severity", "outcome",
	"part", "client", "node_id", "table", "what", "is", "was",
}

// checkFamilies checks that metrics have no other labels, and that histograms have both native and
// classic buckets.
func checkFamilies(t *testing.T, admin *node.Admin) {
	t.Helper()
	families, err := admin.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "weir_") {
			continue
		}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if !slices.Contains(labels, l.GetName()) {
					t.Errorf("%s has the label %s", f.GetName(), l.GetName())
				}
			}
			if h := m.Histogram; h != nil && !strings.HasPrefix(f.GetName(), "weir_broker_client_") && (len(h.Bucket) == 0 || h.Schema == nil) {
				t.Errorf("%s lacks native or classic buckets", f.GetName())
			}
		}
	}
}

// A registry that a pipeline needs is in the readiness checks, once for all its tables.
func TestAdminRegistry(t *testing.T) {
	status := http.StatusOK
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, `["AVRO"]`)
	}))
	defer registry.Close()
	options := fmt.Sprintf("'connector' = 'kafka', 'value.format' = 'avro-confluent', 'value.avro-confluent.url' = '%s', 'scan.startup.mode' = 'earliest-offset'", registry.URL)
	program, err := plan.Compile("CREATE TABLE a (x INT) WITH ("+options+", 'topic' = 'a'); CREATE TABLE b (x INT) WITH ("+options+", 'topic' = 'b'); INSERT INTO b SELECT x FROM a;", "p")
	if err != nil {
		t.Fatal(err)
	}
	admin := node.NewAdmin()
	defer admin.Close()
	admin.Pipeline(engine.Config{Program: program})
	check := func() node.PartStatus {
		t.Helper()
		all := admin.Ready(t.Context()).Parts
		if len(all) != 2 || all[0].Part != "registry "+registry.URL {
			t.Fatalf("parts %+v", all)
		}
		return all[0]
	}
	if got := check(); !got.Ready {
		t.Errorf("%+v", got)
	}
	status = http.StatusServiceUnavailable
	if got := check(); got.Ready || !strings.Contains(got.Why, registry.URL) {
		t.Errorf("%+v", got)
	}
}

// If the default port is in use, a free one is used; a port that was set explicitly is not
// replaced.
func TestAdminPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	log := slog.New(slog.DiscardHandler)
	admin := node.NewAdmin()
	defer admin.Close()
	if _, err := admin.Serve(t.Context(), taken, false, log); err == nil || !strings.Contains(err.Error(), "--admin-listen") {
		t.Errorf("error %v", err)
	}
	url, err := admin.Serve(t.Context(), taken, true, log)
	if err != nil || url == "http://"+taken {
		t.Fatalf("listens at %s, %v", url, err)
	}
	if code, _ := get(t, url, "/healthz"); code != http.StatusOK {
		t.Errorf("healthz is %d", code)
	}
}

// The admin port answers only to names of this machine, and shows neither profiles nor the command
// line, which may contain secrets, unless it is asked to.
func TestAdminIsNoTarget(t *testing.T) {
	for _, profiles := range []bool{false, true} {
		admin := node.NewAdmin()
		admin.Profiles = profiles
		url, err := admin.Serve(t.Context(), "127.0.0.1:0", false, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		get := func(path, host string) int {
			r, err := http.NewRequestWithContext(t.Context(), "GET", url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			return answer.StatusCode
		}
		if status := get("/status", "evil.example"); status != http.StatusMisdirectedRequest {
			t.Errorf("the name of a web page: status %d", status)
		}
		if status := get("/status", "weir:9600"); status != http.StatusOK {
			t.Errorf("the name of a container: status %d", status)
		}
		if status := get("/debug/pprof/cmdline", ""); status != http.StatusNotFound {
			t.Errorf("command line: status %d", status)
		}
		if status := get("/debug/pprof/goroutine", ""); (status == http.StatusOK) != profiles {
			t.Errorf("profiles %v: status %d", profiles, status)
		}
	}
}

// With users, the admin port tells others whether the process works, and nothing more.
func TestAdminLogin(t *testing.T) {
	dir := t.TempDir()
	users, err := guard.OpenUsers(dir)
	if err != nil {
		t.Fatal(err)
	}
	token, hash := guard.NewToken()
	if err := users.Change(func(all map[string]guard.User) error {
		all["prometheus"] = guard.User{Name: "prometheus", Role: guard.Reader, Token: hash}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	who, err := guard.Join(t.Context(), guard.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	admin := node.NewAdmin()
	defer admin.Close()
	admin.Web.Guard, admin.Profiles = who, true
	admin.Part("secret-part", func(context.Context) error { return nil })
	url, err := admin.Serve(t.Context(), "127.0.0.1:0", false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path, token string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{"/healthz", "", 200}, {"/readyz", "", 200}, {"/metrics", "", 401}, {"/status", "", 401}, {"/debug/pprof/heap", "", 401}, {"/none", "", 401},
		{"/metrics", "wrong", 401}, {"/metrics", token, 200}, {"/status", token, 200}, {"/debug/pprof/heap", token, 403},
	} {
		if got, _ := ask(c.path, c.token); got != c.want {
			t.Errorf("%s with token %q: %d, want %d", c.path, c.token, got, c.want)
		}
	}
	if _, text := ask("/readyz", ""); strings.Contains(text, "secret-part") {
		t.Errorf("without a login, readyz tells %s", text)
	}
	if _, text := ask("/readyz", token); !strings.Contains(text, "secret-part") {
		t.Errorf("with a login, readyz tells %s", text)
	}
}

// Each route of the admin port has a role, and each role a route.
func TestAdminRoutes(t *testing.T) {
	admin := node.NewAdmin()
	admin.Profiles = true
	if left := admin.Handler(guard.NewAccess(guard.AccessConfig{})).Unserved(); len(left) > 0 {
		t.Errorf("guard.AdminRoutes has %q, which are not served", left)
	}
}

// An admin port that other machines can reach is refused without TLS and a login.
func TestAdminExposed(t *testing.T) {
	admin := node.NewAdmin()
	defer admin.Close()
	log := slog.New(slog.DiscardHandler)
	if _, err := admin.Serve(t.Context(), "0.0.0.0:0", false, log); !errors.As(err, new(*guard.ExposedError)) {
		t.Errorf("error %v", err)
	}
	admin.Web.Insecure = true
	if _, err := admin.Serve(t.Context(), "0.0.0.0:0", false, log); err != nil {
		t.Error(err)
	}
}
