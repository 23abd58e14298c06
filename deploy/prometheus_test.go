package deploy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/alert"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/ingest"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/promtest"
	"weir.example/weir/internal/source/fleet"
	"weir.example/weir/internal/tlsconf/tlstest"
	"weir.example/weir/internal/trace"
	"weir.example/weir/internal/trace/tracetest"
)

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(pattern)
	if err != nil || len(all) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return all
}

// Each alert is tested both firing and not firing, and has a runbook that names it.
func TestAlerts(t *testing.T) {
	promtool := promtest.Tool(t, "promtool")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	run(append([]string{"check", "rules"}, glob(t, "prometheus/rules/*.yml")...)...)
	run(append([]string{"test", "rules"}, glob(t, "prometheus/tests/*.yml")...)...)
	run("check", "config", "--syntax-only", "prometheus/prometheus.yml")
	for _, name := range []string{"weir", "kafka", "flink"} {
		tests, err := os.ReadFile("prometheus/tests/" + name + ".yml")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range promtest.Rules(t, "prometheus/rules/"+name+".yml") {
			for _, want := range []string{"alertname: " + r.Alert + ", exp_alerts", "alertname: " + r.Alert + "}"} {
				if !strings.Contains(string(tests), want) {
					t.Errorf("%s is tested only one way: no %q", r.Alert, want)
				}
			}
			book, err := os.ReadFile(filepath.Join("..", r.Annotations["runbook"]))
			if err != nil || !strings.Contains(strings.SplitN(string(book), "\n", 2)[0], r.Alert) {
				t.Errorf("%s: its runbook %q does not name it: %v", r.Alert, r.Annotations["runbook"], err)
			}
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("%s has no severity or summary", r.Alert)
			}
		}
	}
}

// Grafana can load the dashboards: each has a unique name and a data source, and its panels do not
// overlap.
func TestDashboards(t *testing.T) {
	uids := make(map[string]bool)
	for _, d := range promtest.Dashboards(t, "grafana/dashboards/*.json") {
		known := d.Variables()
		if d.UID == "" || uids[d.UID] || d.Title == "" || d.SchemaVersion == 0 || !known["$datasource"] {
			t.Errorf("%s has no unique uid, no title, schemaVersion or datasource", d.File)
		}
		uids[d.UID] = true
		ids, taken := make(map[int]bool), make(map[[2]int]string)
		for _, p := range d.Panels {
			if ids[p.ID] || p.Type != "row" && len(p.Targets) == 0 {
				t.Errorf("%s: panel %q has no unique id, or no query", d.File, p.Title)
			}
			ids[p.ID] = true
			at := p.GridPos
			if at.W < 1 || at.H < 1 || at.X < 0 || at.X+at.W > 24 {
				t.Errorf("%s: panel %q is outside of the 24 columns: %+v", d.File, p.Title, at)
			}
			for x := at.X; x < at.X+at.W; x++ {
				for y := at.Y; y < at.Y+at.H; y++ {
					if other, ok := taken[[2]int{x, y}]; ok {
						t.Fatalf("%s: panel %q lies on %q", d.File, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			for _, q := range p.Targets {
				for _, v := range regexp.MustCompile(`\$\w+`).FindAllString(q.Expr, -1) {
					if !known[v] {
						t.Errorf("%s: panel %q uses %s, which is not defined", d.File, p.Title, v)
					}
				}
			}
		}
	}
}

// Prometheus scrapes a running Weir. Each query of each rule and dashboard returns data, with the
// labels that its legend or summary uses. Flink's queries only have to be valid here; a test in
// cmd/weir runs them with a Flink cluster. A dead letter becomes an alert that Alertmanager
// receives.
func TestPrometheusSeesWeir(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Prometheus for half a minute: make test does")
	}
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	admin, at := runWeir(t, ctx)
	alertsAt := promtest.FreeAddr(t)
	promtest.Run(t, "prometheus-alertmanager", "--config.file=alertmanager/alertmanager.yml", "--storage.path="+filepath.Join(t.TempDir(), "alerts"),
		"--web.listen-address="+alertsAt, "--cluster.listen-address=")
	prom := promtest.Start(t, promtest.Options{Jobs: map[string][]string{"weir": {admin}}, Rules: "prometheus/rules/*.yml", Alertmanager: alertsAt})

	// The queries use rates over one minute, for which a few scrapes suffice.
	prom.Await(ctx, t, `increase(weir_engine_records_total[1m]) > 0 and on (pipeline) weir_engine_latency_seconds_count > 0`)
	prom.Await(ctx, t, `weir_monitor_group_lag_records`)
	prom.Await(ctx, t, `pipeline:weir_engine_latency_seconds:p99{pipeline="per_minute"} > 0`)
	prom.Await(ctx, t, `weir_engine_watermark_delay_seconds`)
	var queries []promtest.Query
	for _, d := range promtest.Dashboards(t, "grafana/dashboards/*.json") {
		queries = append(queries, d.Queries()...)
	}
	for _, r := range promtest.Rules(t, "prometheus/rules/*.yml") {
		queries = append(queries, r.Query())
	}
	for _, q := range queries {
		err := prom.Ask(q)
		beside := strings.HasPrefix(q.From, "flink.") && errors.Is(err, promtest.ErrNoData)
		if err != nil && !beside {
			t.Error(err)
		}
	}

	client, err := broker.Connect(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: node.SensorData, Key: []byte("k"), Value: []byte("no reading")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	promtest.Eventually(ctx, t, func() error {
		text, err := promtest.Get("http://" + alertsAt + "/api/v2/alerts")
		if err == nil && !strings.Contains(text, `"alertname":"WeirDeadLetters"`) {
			err = fmt.Errorf("Alertmanager has not got the alert: %s", text)
		}
		return err
	})
}

// runWeir runs the main job, pipelines, registry, alerts and traces until ctx is done; it returns
// the admin address and the broker.
func runWeir(t *testing.T, ctx context.Context) (addr string, at broker.Config) { //nolint:revive // t comes first in tests
	t.Helper()
	log, data := slog.New(slog.DiscardHandler), t.TempDir()
	admin := node.NewAdmin()
	t.Cleanup(admin.Close)
	url, err := admin.Serve(ctx, "127.0.0.1:0", false, log)
	if err != nil {
		t.Fatal(err)
	}
	addr = strings.TrimPrefix(url, "http://")
	spans := tracetest.NewReceiver(t)
	if admin.Tracer, err = trace.Open(ctx, trace.Config{Endpoint: spans.URL, Sample: 0.01, Registry: admin.Registry}); err != nil {
		t.Fatal(err)
	}
	registryAt := promtest.FreeAddr(t)
	programs, told := pipelinesOf(t, registryAt)
	listen := promtest.FreeAddr(t)
	at = broker.Config{Brokers: []string{listen}, DataDir: data}
	file := filepath.Join(data, "ingest.yaml") // nobody is at that broker, but its metrics are there
	if err := os.WriteFile(file, []byte("subscribe: [{ url: \"mqtt://127.0.0.1:1\", client_id: weir, topics: [a] }]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	devicesAt := promtest.FreeAddr(t)
	devices, err := ingest.ReadWith(file, ingest.Override{HTTP: devicesAt, MQTT: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	certificate, _ := tlstest.Server(t, filepath.Join(data, "tls"), false)
	ready, done := make(chan struct{}), make(chan struct{})
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // what uses the broker ends before it, in the order of the cleanups
	go func() {
		defer close(done)
		_, err := node.Run(running, node.Config{
			Kafka: node.Kafka{DataDir: data, Listen: listen, Profile: "edge", TLS: certificate}, Fleet: fleet.Config{Devices: 20, Rate: 500, Seed: 1},
			ServeRegistry: &node.ServeRegistry{Listen: registryAt}, Pipelines: programs, Alerts: told, MonitorInterval: time.Second,
			Devices: &node.DevicesConfig{Ingest: devices, DataDir: data},
			Logger:  log, Admin: admin, OnReady: func(node.Ready) { close(ready) },
		})
		if err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { stop(); <-done })
	select {
	case <-ready:
	case <-done:
		t.Fatal("it ended before it was ready")
	}
	answer, err := http.Post("http://"+devicesAt+"/v1/readings", "application/json", strings.NewReader(`{"device_id":"d","sensor":"s","value":1}`)) //nolint:noctx // loopback
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(answer, err)
	}
	_ = answer.Body.Close()
	runWindows(t, running, admin, at)
	return addr, at
}

// pipelinesOf returns a pipeline whose rows have a schema in the registry, one that writes alerts,
// and a configuration that sends the alerts to a webhook.
func pipelinesOf(t *testing.T, registryAt string) ([]*plan.Program, *alert.Config) {
	t.Helper()
	text, err := os.ReadFile("../pipelines/alert_temperature.sql")
	if err != nil {
		t.Fatal(err)
	}
	readings, _, _ := strings.Cut(string(text), "CREATE TABLE alert_temperature")
	var programs []*plan.Program
	for name, sql := range map[string]string{
		"hot": strings.Replace(string(text), "WHERE `value` > 30", "WHERE `value` > -100", 1),
		"registered": readings + "CREATE TABLE registered (device_id STRING, `value` DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'registered', " +
			"'value.format' = 'avro-confluent', 'value.avro-confluent.url' = 'http://" + registryAt + "'); INSERT INTO registered SELECT device_id, `value` FROM readings;",
	} {
		p, err := plan.Compile(sql, name)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, p)
	}
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(hook.Close)
	told, err := alert.ParseConfig([]byte("receivers: {hook: {webhook: {url: '"+hook.URL+"'}}}\nroutes: [{receivers: [hook], group_wait: 0s, group_interval: 1s}]\n"), "alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return programs, told
}

// runWindows runs a pipeline with windows, which the main job does not have.
func runWindows(t *testing.T, ctx context.Context, admin *node.Admin, at broker.Config) { //nolint:revive // t comes first in tests
	t.Helper()
	text, err := os.ReadFile("../pipelines/per_minute.sql")
	if err != nil {
		t.Fatal(err)
	}
	program, err := plan.Compile(string(text), "per_minute")
	if err != nil {
		t.Fatal(err)
	}
	cfg := engine.Config{Broker: admin.Broker(at), Program: program, Instances: []string{"one"}}
	cfg = admin.Pipeline(cfg)
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := engine.Run(ctx, cfg); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { stop(); <-done })
}
