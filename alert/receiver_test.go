package alert

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// An Alertmanager as Debian has it takes alerts, and drops them when they are resolved.
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

// smtpServer takes mail as a server does that has no TLS. It refuses the first refuse messages for now.
func smtpServer(t *testing.T, refuse int) (address string, mails <-chan string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	got := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			refused := refuse > 0
			refuse--
			go serveSMTP(c, refused, got)
		}
	}()
	return l.Addr().String(), got
}

func serveSMTP(c net.Conn, refuse bool, got chan<- string) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	say := func(line string) { fmt.Fprintf(c, "%s\r\n", line) }
	say("220 test")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch word := strings.ToUpper(strings.Fields(line + " x")[0]); {
		case word == "QUIT":
			say("221 bye")
			return
		case word == "DATA" && refuse:
			say("451 try again")
		case word == "DATA":
			say("354 go on")
			var mail strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				mail.WriteString(line)
			}
			got <- mail.String()
			say("250 taken")
		default:
			say("250 ok")
		}
	}
}

func TestEmail(t *testing.T) {
	address, mails := smtpServer(t, 1)
	c := config(t, fmt.Sprintf(`
receivers: {ops: {email: {to: [ops@example.org, "Chief <chief@example.org>"], from: weir@example.org, server: %q, tls: none}}}
routes: [{receivers: [ops]}]`, address))
	b := newBook(c, func(time.Time) []Silence { return nil })
	for i, device := range []string{"d1", "d2"} {
		b.apply(row{
			origin: Origin{"hot", 0, device}, offset: int64(i), at: start, firing: true, severity: "warning", summary: "Grüße from\n " + device,
			labels: map[string]string{"alertname": "too_hot", "device_id": device, "severity": "warning"}, annotations: map[string]string{"value": "31.5"},
		}, start)
	}
	n := b.due(start.Add(time.Minute))[0]
	r := c.Receivers["ops"]
	if err := send(t.Context(), r, NewReceiver(r), n); err == nil || !strings.Contains(err.Error(), "451") {
		t.Errorf("refused: %v", err)
	}
	if err := send(t.Context(), r, NewReceiver(r), n); err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(strings.NewReader(<-mails))
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

func TestWebhookErrors(t *testing.T) {
	slow := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-slow
		}
		http.Error(w, "no such\n  hook", http.StatusNotFound)
	}))
	defer server.Close()
	defer close(slow)
	for path, want := range map[string]string{"/": "it answered 404 Not Found: no such hook", "/slow": "no answer within 50ms"} {
		c := config(t, fmt.Sprintf("receivers: {a: {timeout: 50ms, webhook: {url: %q}}}\nroutes: [{receivers: [a]}]", server.URL+path))
		if err := c.Try(t.Context(), "a", start); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	c := config(t, "receivers: {a: {webhook: {url: \"http://127.0.0.1:1/\"}}}\nroutes: [{receivers: [a]}]")
	if err := c.Try(t.Context(), "a", start); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody there: %v", err)
	}
}
