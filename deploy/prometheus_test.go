package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/broker"
	"weir/engine"
	"weir/monitor"
	"weir/node"
	"weir/plan"
	"weir/source"
)

type rule struct {
	Alert       string
	Record      string
	Expr        string
	Annotations map[string]string
	Labels      map[string]string
}

// rules are all rules of a file.
func rules(t *testing.T, file string) []rule {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var content struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(text, &content); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range content.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no rules", file)
	}
	return all
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(pattern)
	if err != nil || len(all) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return all
}

// tool finds a program that make deps installs.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if testing.Short() {
			t.Skip(err)
		}
		t.Fatalf("%v: make deps installs it", err)
	}
	return path
}

// Each alert fires in its test when it should, stays quiet when not, and has a runbook that names it.
func TestAlerts(t *testing.T) {
	promtool := tool(t, "promtool")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	run(append([]string{"check", "rules"}, files(t, "prometheus/rules/*.yml")...)...)
	run(append([]string{"test", "rules"}, files(t, "prometheus/tests/*.yml")...)...)
	run("check", "config", "--syntax-only", "prometheus/prometheus.yml")
	for _, name := range []string{"weir", "kafka", "flink"} {
		tests, err := os.ReadFile("prometheus/tests/" + name + ".yml")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules(t, "prometheus/rules/"+name+".yml") {
			for _, want := range []string{"alertname: " + r.Alert + ", exp_alerts", "alertname: " + r.Alert + "}"} {
				if !strings.Contains(string(tests), want) {
					t.Errorf("%s is tested in only one way: no %q", r.Alert, want)
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

// target is a query of a dashboard.
type target struct{ dashboard, panel, expr string }

func dashboards(t *testing.T) []target {
	t.Helper()
	var all []target
	for _, file := range files(t, "grafana/dashboards/*.json") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			UID, Title    string
			SchemaVersion int
			Templating    struct{ List []struct{ Name string } }
			Panels        []struct {
				ID          int
				Type, Title string
				GridPos     struct{ H, W, X, Y int }
				Targets     []struct{ RefID, Expr string }
			}
		}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		known := make(map[string]bool)
		for _, v := range d.Templating.List {
			known["$"+v.Name] = true
		}
		if d.UID == "" || d.Title == "" || d.SchemaVersion == 0 || !known["$datasource"] {
			t.Errorf("%s has no uid, title, schemaVersion or datasource", file)
		}
		ids := make(map[int]bool)
		for _, p := range d.Panels {
			if ids[p.ID] || p.GridPos.W < 1 || p.GridPos.X+p.GridPos.W > 24 || p.Type != "row" && len(p.Targets) == 0 {
				t.Errorf("%s: panel %q has no id of its own, no place or no query", file, p.Title)
			}
			ids[p.ID] = true
			for _, q := range p.Targets {
				for _, v := range regexp.MustCompile(`\$\w+`).FindAllString(q.Expr, -1) {
					if !known[v] {
						t.Errorf("%s: panel %q uses %s, which is not defined", file, p.Title, v)
					}
				}
				all = append(all, target{filepath.Base(file), p.Title, regexp.MustCompile(`\$\w+`).ReplaceAllString(q.Expr, ".*")})
			}
		}
	}
	return all
}

// A Prometheus scrapes a Weir that runs. Each query of each rule and dashboard is one that it takes, and gives data where it is about
// what runs here. A dead letter becomes an alert that Alertmanager gets.
func TestPrometheusSeesWeir(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Prometheus for half a minute: make test does")
	}
	prometheus, alertmanager := tool(t, "prometheus"), tool(t, "prometheus-alertmanager")
	targets := dashboards(t)
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	admin, at := runWeir(t, ctx)

	dir := t.TempDir()
	alertsAt, promAt := freeAddr(t), freeAddr(t)
	rulesDir, err := filepath.Abs("prometheus/rules")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s/*.yml]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
scrape_configs:
  - {job_name: weir, static_configs: [{targets: [%q]}]}
`, rulesDir, alertsAt, admin)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, ctx, alertmanager, "--config.file=alertmanager/alertmanager.yml", "--storage.path="+filepath.Join(dir, "alerts"),
		"--web.listen-address="+alertsAt, "--cluster.listen-address=")
	start(t, ctx, prometheus, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "tsdb"),
		"--web.listen-address="+promAt)

	// The queries are about rates over a minute: a few scrapes are enough for them.
	eventually(t, ctx, func() error {
		return hasData(promAt, `increase(weir_engine_records_total[1m]) > 0 and on (pipeline) weir_engine_latency_seconds_count > 0`)
	})
	eventually(t, ctx, func() error { return hasData(promAt, "weir_monitor_group_lag_records") })
	eventually(t, ctx, func() error {
		return hasData(promAt, `pipeline:weir_engine_latency_seconds:p99{pipeline="per_minute"} > 0`)
	})
	eventually(t, ctx, func() error { return hasData(promAt, "weir_engine_watermark_delay_seconds") })
	for _, q := range targets {
		err := hasData(promAt, q.expr)
		if err != nil && (q.dashboard != "flink.json" || !strings.Contains(err.Error(), "no data")) {
			t.Errorf("%s, %s: %v", q.dashboard, q.panel, err)
		}
	}
	names := regexp.MustCompile(`(\w+:)?weir_[\w:]+`)
	for _, file := range files(t, "prometheus/rules/*.yml") {
		for _, r := range rules(t, file) {
			if err := hasData(promAt, r.Expr); err != nil && !strings.Contains(err.Error(), "no data") {
				t.Errorf("%s%s: %v", r.Alert, r.Record, err)
			}
			for _, name := range names.FindAllString(r.Expr, -1) {
				if err := hasData(promAt, name); err != nil {
					t.Errorf("%s%s: %v", r.Alert, r.Record, err)
				}
			}
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
	eventually(t, ctx, func() error {
		text, err := fetch("http://" + alertsAt + "/api/v2/alerts")
		if err == nil && !strings.Contains(text, `"alertname":"WeirDeadLetters"`) {
			err = fmt.Errorf("Alertmanager has not got the alert: %s", text)
		}
		return err
	})
}

// runWeir runs the main job and a monitor until ctx is done; it returns the admin address and the broker.
func runWeir(t *testing.T, ctx context.Context) (addr string, at broker.Config) { //nolint:revive // t comes first in tests
	t.Helper()
	log, data := slog.New(slog.DiscardHandler), t.TempDir()
	admin := node.NewAdmin()
	t.Cleanup(admin.Close)
	addr, err := admin.Serve(ctx, "127.0.0.1:0", false, log)
	if err != nil {
		t.Fatal(err)
	}
	listen := freeAddr(t)
	at = broker.Config{Brokers: []string{listen}}
	ready, done := make(chan struct{}), make(chan struct{})
	running, stop := context.WithCancel(ctx)
	go func() {
		defer close(done)
		_, err := node.Run(running, node.Config{
			Kafka: node.Kafka{DataDir: data, Listen: listen}, Fleet: source.FleetConfig{Devices: 20, Rate: 500, Seed: 1},
			Logger: log, Admin: admin, OnReady: func(node.Ready) { close(ready) },
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
	runWindows(t, running, admin, at)
	client, err := broker.Connect(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	m := monitor.New(client)
	admin.Registry.MustRegister(m)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		m.Run(running, time.Second, log)
	}()
	t.Cleanup(func() { stop(); <-looked; client.Close() })
	return addr, at
}

// runWindows runs a pipeline with windows beside the main job, which has none.
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
	admin.Pipeline(&cfg)
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := engine.Run(ctx, cfg); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { stop(); <-done })
}

// start runs a program until ctx is done.
func start(t *testing.T, ctx context.Context, name string, args ...string) { //nolint:revive // t comes first in tests
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed is how it ends
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s:\n%s", name, text)
		}
	})
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func eventually(t *testing.T, ctx context.Context, check func() error) { //nolint:revive // t comes first in tests
	t.Helper()
	err := check()
	for err != nil && broker.Sleep(ctx, 200*time.Millisecond) == nil {
		err = check()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func fetch(address string) (string, error) {
	response, err := http.Get(address) //nolint:gosec // of this test
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// hasData asks a Prometheus; the error says that it does not take the query, or has no data.
func hasData(addr, query string) error {
	text, err := fetch("http://" + addr + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return err
	}
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return fmt.Errorf("%s: %w: %s", query, err, text)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", query, answer.Error)
	}
	if len(answer.Data.Result) == 0 {
		return fmt.Errorf("%s: no data", query)
	}
	return nil
}
