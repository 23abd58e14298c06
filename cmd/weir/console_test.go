package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/alert"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/site"
	"weir.example/weir/reading"
)

var consoleAt = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// startConsole starts weir up with a console and returns its address. With the race detector, the
// broker would not keep up with 10,000 devices.
func startConsole(t *testing.T, args ...string) (url, brokerAddr string) {
	t.Helper()
	args = append([]string{"up", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--console-listen", "127.0.0.1:0"}, args...)
	up := startBinary(t, buildWeir(t), args...)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if url = consoleAt.FindString(up.errOut.String()); url == "" {
			continue
		}
		var info struct{ Brokers []string }
		if getJSON(t, url+"/api/info", &info) == nil && len(info.Brokers) == 1 {
			return url, info.Brokers[0]
		}
	}
	t.Fatalf("no console: %s", up.errOut.String())
	return "", ""
}

func getJSON(t *testing.T, url string, into any) error {
	t.Helper()
	resp, err := http.Get(url) //nolint:gosec // belongs to this test
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s %s", url, resp.Status, text)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// A real browser visits each page of the console of a running weir up with 10,000 devices, and
// tries its actions.
func TestConsoleInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser: not with -short")
	}
	web, err := filepath.Abs("../../internal/console/web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(web, "node_modules", "playwright-core")); err != nil {
		t.Fatalf("the browser's driver is missing: run make internal/console/web/node_modules: %v", err)
	}
	url, addr := startConsole(t, "--devices", "10000", "--rate", "5000", "--console-write", "--registry-listen", "127.0.0.1:0", "--mqtt", "127.0.0.1:0")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	go strangeDevices(ctx, t, addr)
	leaveOpen(t, addr)
	leaveAlerts(t, addr)
	leaveSchemas(t, url)
	sendMessages(t, url)

	folder := os.Getenv("WEIR_SCREENSHOTS")
	if folder == "" {
		folder = t.ArtifactDir()
	}
	walk := exec.CommandContext(ctx, "node", "test/walk.mjs", url, folder)
	walk.Dir = web
	walk.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := walk.CombinedOutput()
	t.Logf("screenshots in %s\n%s", folder, out)
	if err != nil {
		t.Errorf("the walk: %v", err)
	}
}

// strangeDevices sends readings of devices whose names contain HTML or right-to-left text, and a
// record that is not a reading.
func strangeDevices(ctx context.Context, t *testing.T, addr string) {
	client, err := broker.Connect(ctx, broker.Config{Brokers: []string{addr}})
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	client.Produce(ctx, &kgo.Record{Topic: "sensor_data_tx", Key: []byte("broken"), Value: []byte("no reading \x00\xff")}, nil)
	for seq := int64(0); ctx.Err() == nil; seq++ {
		for _, id := range []string{`<img src=x onerror=alert(1)>`, "מד־טמפרטורה"} {
			r := reading.Reading{DeviceID: id, Sensor: "temperature", Unit: "Cel", Value: 20 + float64(seq%7), TS: time.Now().UnixMilli(), Seq: seq}
			client.Produce(ctx, &kgo.Record{Topic: "sensor_data_tx", Key: []byte(id), Value: r.AppendJSON(nil)}, nil)
		}
		_ = retry.Sleep(ctx, 500*time.Millisecond)
	}
}

// sendMessages sends readings by MQTT, one of them with HTML as a name, and stays connected.
func sendMessages(t *testing.T, console string) {
	t.Helper()
	var state struct{ Addresses []string }
	if err := getJSON(t, console+"/api/ingest", &state); err != nil || len(state.Addresses) != 1 {
		t.Fatalf("addresses %v: %v", state.Addresses, err)
	}
	p := newPublisher3(t, "walk-client", state.Addresses[0])
	t.Cleanup(p.end)
	for _, topic := range []string{"walk/pump-9/temperature", "walk/pump-9/<img src=x onerror=alert(1)>"} {
		if token := p.client.Publish(topic, 1, false, "21.5"); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
			t.Fatal(topic, token.Error())
		}
		time.Sleep(300 * time.Millisecond) // both become samples
	}
}

// leaveOpen leaves a transaction open, in a topic without readers.
func leaveOpen(t *testing.T, addr string) {
	t.Helper()
	client, err := broker.Connect(t.Context(), broker.Config{Brokers: []string{addr}},
		kgo.TransactionalID("walk-open"), kgo.TransactionTimeout(10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := broker.EnsureTopics(t.Context(), kadm.NewClient(client), []broker.Topic{{Name: "nobody_reads", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "nobody_reads", Value: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// leaveAlerts creates alerts in each state.
func leaveAlerts(t *testing.T, addr string) {
	t.Helper()
	at := broker.Config{Brokers: []string{addr}}
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := broker.EnsureTopics(t.Context(), kadm.NewClient(client), []broker.Topic{{Name: site.DefaultAlerts, Partitions: 1, CleanupPolicy: "compact"}}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for id, status := range map[string]alert.Status{"pump-1": alert.Firing, "pump-2": alert.Firing, "pump-3": alert.Resolved} {
		value, err := json.Marshal(alert.Alert{
			ID: id, Status: status, Name: "too_hot", Severity: "critical", Summary: id + " is too hot", Since: now,
			Labels: map[string]string{"alertname": "too_hot", "severity": "critical", "device_id": id},
			Sent:   map[string]alert.Sent{"ops": {Status: status, At: now, N: 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: site.DefaultAlerts, Key: []byte("alert/" + id), Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	silence := alert.Silence{ID: "s1", Match: alert.Matcher{"device_id": "pump-2"}, Until: now.Add(time.Hour), Comment: "under repair"}
	if err := alert.PutSilence(t.Context(), at, site.Site{}, silence); err != nil {
		t.Fatal(err)
	}
}

// leaveSchemas registers three versions of a subject; the last one can't read data of the second.
func leaveSchemas(t *testing.T, url string) {
	t.Helper()
	var served struct{ Registry string }
	if err := getJSON(t, url+"/api/schemas", &served); err != nil {
		t.Fatal(err)
	}
	schemas, err := registry.NewClient(registry.Config{URLs: []string{served.Registry}})
	if err != nil {
		t.Fatal(err)
	}
	if err := schemas.SetCompatibility(t.Context(), "walk-value", "NONE"); err != nil {
		t.Fatal(err)
	}
	fields := `{"name":"n","type":"long"}`
	for _, more := range []string{"", `,{"name":"place","type":"string","default":""}`, `,{"name":"unit","type":"string"}`} {
		fields += more
		text := `{"type":"record","name":"Walk","fields":[` + fields + `]}`
		if _, err := schemas.Register(t.Context(), "walk-value", &registry.Schema{Type: registry.Avro, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
}

// A console without an address, or on all interfaces, is a usage error.
func TestConsoleFlags(t *testing.T) {
	for _, args := range [][]string{{"console", "--console-listen", "none"}, {"up", "--console-listen", "0.0.0.0:8080"}, {"up", "--console-listen", "here"}} {
		p := start(t, append(args, "--data-dir", t.TempDir())...)
		if code := p.wait(20 * time.Second); code != exitUsage || !strings.Contains(p.errOut.String(), "console") {
			t.Errorf("%v: exit %d, %s", args, code, p.errOut.String())
		}
	}
}
