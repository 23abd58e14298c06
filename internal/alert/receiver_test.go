package alert

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A real Alertmanager accepts alerts, and drops them once they are resolved.
func TestAlertmanager(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an Alertmanager: make test runs it")
	}
	url := startAlertmanager(t)
	w := newWorld(t)
	w.config = config(t, fmt.Sprintf("receivers: {am: {alertmanager: {url: %q}}}\nroutes: [{receivers: [am], group_wait: 1ms, group_interval: 1ms}]", url))
	defer w.start("a")()
	w.row("d1", "critical")
	got := awaitAlerts(t, url, 1)
	if l := got[0].Labels; l["alertname"] != "too_hot" || l["severity"] != "critical" || l["device_id"] != "d1" || got[0].Annotations["summary"] != "d1 is hot" || len(got[0].Annotations["weir_alert_id"]) != 20 {
		t.Errorf("%+v", got[0])
	}
	w.row("d1", "")
	awaitAlerts(t, url, 0)
}

type managed struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func awaitAlerts(t *testing.T, url string, n int) (got []managed) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		got = nil
		if err = get(t.Context(), url+"/api/v2/alerts", &got); err == nil && len(got) == n {
			return got
		}
	}
	t.Fatalf("Alertmanager has %v (%v), want %d alerts", got, err, n)
	return nil
}

func get(ctx context.Context, url string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	return json.NewDecoder(answer.Body).Decode(into)
}

func startAlertmanager(t *testing.T) (url string) {
	t.Helper()
	binary, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		t.Fatalf("%v: make deps installs it", err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, []byte("route: {receiver: none}\nreceivers: [{name: none}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--config.file="+file, "--storage.path="+dir, "--web.listen-address="+address, "--cluster.listen-address=") //nolint:gosec,noctx // found above; killed below
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	awaitAlerts(t, "http://"+address, 0)
	return "http://" + address
}

func TestEmail(t *testing.T) {
	server := newMailServer(t, &mailServer{busy: 1})
	c := config(t, fmt.Sprintf(`
receivers: {ops: {email: {to: [ops@example.org, "Chief <chief@example.org>"], from: weir@example.org, server: %q, tls: none}}}
routes: [{receivers: [ops]}]`, server.address))
	b := newBook(c, func(time.Time) []Silence { return nil })
	for i, device := range []string{"d1", "d2"} {
		b.apply(row{
			origin: Origin{"hot", 0, device}, offset: int64(i), at: start, firing: true, severity: "warning", summary: "Grüße from\n " + device,
			labels: map[string]string{"alertname": "too_hot", "device_id": device, "severity": "warning"}, annotations: map[string]string{"value": "31.5"},
		}, start)
	}
	n := b.due(start.Add(time.Minute))[0]
	r, to := receiver(t, c, "ops")
	if err := send(t.Context(), r, to, n); err == nil || !strings.Contains(err.Error(), "451") {
		t.Errorf("refused: %v", err)
	}
	if err := send(t.Context(), r, to, n); err != nil {
		t.Fatal(err)
	}
	if got := server.taken(); len(got) != 1 || fmt.Sprint(got[0].to) != "[ops@example.org chief@example.org]" {
		t.Fatalf("the server got %+v", got)
	}
	m, err := mail.ReadMessage(strings.NewReader(server.taken()[0].text))
	if err != nil {
		t.Fatal(err)
	}
	var body strings.Builder
	if _, err := bufio.NewReader(quotedprintable.NewReader(m.Body)).WriteTo(&body); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FIRING  warning  Grüße from\n", "device_id: d2", "value: 31.5", "since: 2026-03-01T12:00:00Z", "id: " + n.Alerts[0].ID} {
		if !strings.Contains(strings.ReplaceAll(body.String(), "\r", ""), want) {
			t.Errorf("no %q in %s", want, body.String())
		}
	}
	if got := m.Header.Get("Message-Id"); got != "<"+n.ID+"@weir>" || m.Header.Get("Weir-Alert-Id") != n.Alerts[0].ID+", "+n.Alerts[1].ID || !strings.Contains(m.Header.Get("To"), "chief@example.org") {
		t.Errorf("headers %v", m.Header)
	}
	if s := subject(n); s != "[FIRING 2] too_hot: Grüße from d1, …" && s != "[FIRING 2] too_hot: Grüße from d2, …" {
		t.Errorf("subject %q", s)
	}
}

// Errors of HTTP receivers have the response and a hint, but not the path of the URL, which may be
// a secret.
func TestWebhookErrors(t *testing.T) {
	slow := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-slow
		case "/moved":
			http.Redirect(w, r, "https://hooks.example.org/secret", http.StatusMovedPermanently)
		case "/ok":
		default:
			http.Error(w, "no such\n  hook", http.StatusNotFound)
		}
	})
	server := httptest.NewServer(handler)
	defer server.Close()
	ca := newAuthority(t)
	secure := httptest.NewUnstartedServer(handler)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{*ca.sign(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, start.AddDate(100, 0, 0))}, MinVersion: tls.VersionTLS12}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	defer close(slow)
	for _, test := range []struct{ url, settings, want string }{
		{server.URL + "/secret", "", "the answer is 404 Not Found: no such hook"},
		{server.URL + "/slow", "timeout: 50ms,", "no answer within 50ms"},
		{server.URL + "/moved", "", "the answer is 301 Moved Permanently to https://hooks.example.org, and redirects are not followed: set the URL to the new address"},
		{secure.URL + "/ok?secret", "", "configure the file of its authority (ca): tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{secure.URL + "/ok?secret", "ca: " + ca.file + ",", ""},
		{"http://127.0.0.1:1/secret", "", "127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
	} {
		c := config(t, fmt.Sprintf("receivers: {a: {%s webhook: {url: %q}}}\nroutes: [{receivers: [a]}]", test.settings, test.url))
		err := c.Try(t.Context(), "a", start)
		if (err == nil) != (test.want == "") || err != nil && !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.url, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error has a secret: %v", err)
		}
	}
}

// Known services get their own messages, and templates make others. A notification of two alerts is
// one incident of PagerDuty, which ends with the last of them.
func TestWebhookBodies(t *testing.T) {
	var got []byte
	var headers http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		headers = r.Header
	}))
	defer server.Close()
	entry := func(device string, status Status) Entry {
		return Entry{Alert: Alert{ID: "id-" + device, Status: status, Name: "too_hot", Severity: "critical", Summary: `"` + device + `" is <hot>`, Labels: map[string]string{"device_id": device}, Since: start}, N: 1}
	}
	firing := &Notification{Receiver: "a", Status: Firing, group: "g", Alerts: []Entry{entry("d1", Firing), entry("d2", Resolved)}}
	over := &Notification{Receiver: "a", Status: Resolved, group: "g", Alerts: []Entry{entry("d1", Resolved)}}
	for _, test := range []struct {
		name, settings string
		n              *Notification
		want           []string
	}{
		{"slack", "preset: slack", firing, []string{`{"text":"FIRING critical: \"d1\" is &lt;hot&gt;\nRESOLVED critical: \"d2\" is &lt;hot&gt;\n"}`}},
		{"text", `preset: ntfy, text: "{{range .alerts}}{{.labels.device_id}} {{end}}"`, firing, []string{"d1 d2 "}},
		{"text that fails", `preset: ntfy, text: "{{.alertz}}"`, firing, []string{`FIRING critical: "d1"`, "(text of the receiver: ", "alertz"}},
		{"trigger", "preset: pagerduty, routing_key: r", firing, []string{`"event_action":"trigger"`, `"dedup_key":"weir a g"`, `"routing_key":"r"`, `"severity":"critical"`}},
		{"resolve", "preset: pagerduty, routing_key: r", over, []string{`"event_action":"resolve"`, `"dedup_key":"weir a g"`}},
		{"teams", "preset: teams", firing, []string{`"type":"AdaptiveCard"`}},
		{"body", `body: '{"what": "{{(index .alerts 0).summary}}", "n": {{len .alerts}}}'`, firing, []string{`{"what": "\"d1\" is <hot>", "n": 2}`}},
		{"signed", "signing_secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", firing, []string{`"alerts":[`}},
	} {
		c := config(t, fmt.Sprintf("receivers: {a: {webhook: {url: %q, %s}}}\nroutes: [{receivers: [a]}]", server.URL, test.settings))
		r, to := receiver(t, c, "a")
		test.n.setID()
		if err := send(t.Context(), r, to, test.n); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(string(got), want) {
				t.Errorf("%s: no %s in %s", test.name, want, got)
			}
		}
		if headers.Get("Idempotency-Key") != test.n.ID || (headers.Get("Webhook-Signature") != "") != (test.name == "signed") {
			t.Errorf("%s: headers %v", test.name, headers)
		}
	}
	for settings, want := range map[string]string{
		"preset: slak":                       `preset "slak": expected ntfy, pagerduty, slack, teams`,
		"text: x":                            "text is the message of a preset",
		"preset: slack, body: x":             "preset slack has a body of its own",
		"preset: pagerduty":                  "routing_key belongs to preset pagerduty",
		"routing_key: r":                     "routing_key belongs to preset pagerduty",
		`body: "{{"`:                         "body: ",
		`preset: slack, text: "{{.a"`:        "text: ",
		"signing_secret: whsec_MfKQ9r8GKYqr": "signing_secret: the secret of signatures has",
	} {
		_, err := ParseConfig([]byte(fmt.Sprintf("receivers: {a: {webhook: {url: %q, %s}}}\nroutes: [{receivers: [a]}]", server.URL, settings)), "alerts.yaml")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", settings, err, want)
		}
	}
}
