// Package promtest runs the queries of dashboards and rules on a real Prometheus that scrapes a
// test's processes.
//
//	queries.go     queries of dashboards and rules
//	prometheus.go  the Prometheus
package promtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Options configure a Prometheus.
type Options struct {
	Jobs         map[string][]string // scraped host:port, by job
	Rules        string              // files of rules; default none
	Alertmanager string              // host:port; default none
	RemoteWrite  string              // URL to which samples are written; default none
}

// Prometheus is a running Prometheus. It scrapes every second.
type Prometheus struct{ Addr string }

// Start starts a Prometheus, which is stopped when the test ends.
func Start(t testing.TB, o Options) *Prometheus {
	t.Helper()
	dir := t.TempDir()
	type config struct {
		StaticConfigs []map[string][]string `json:"static_configs"`
		JobName       string                `json:"job_name,omitempty"`
	}
	var jobs []config
	for _, name := range slices.Sorted(maps.Keys(o.Jobs)) {
		jobs = append(jobs, config{JobName: name, StaticConfigs: []map[string][]string{{"targets": o.Jobs[name]}}})
	}
	all := map[string]any{
		"global":         map[string]string{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"scrape_configs": jobs,
	}
	if o.Rules != "" {
		rules, err := filepath.Abs(o.Rules)
		if err != nil {
			t.Fatal(err)
		}
		all["rule_files"] = []string{rules}
	}
	if o.Alertmanager != "" {
		all["alerting"] = map[string]any{"alertmanagers": []config{{StaticConfigs: []map[string][]string{{"targets": {o.Alertmanager}}}}}}
	}
	if o.RemoteWrite != "" {
		all["remote_write"] = []map[string]string{{"url": o.RemoteWrite}}
	}
	text, err := json.Marshal(all) // JSON is also valid YAML
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Prometheus{Addr: FreeAddr(t)}
	Run(t, "prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address="+p.Addr)
	return p
}

// ErrNoData means that a query returned no data, or data without a required label.
var ErrNoData = errors.New("no data")

// Ask runs a query. The error is Prometheus's, or ErrNoData.
func (p *Prometheus) Ask(q Query) error {
	text, err := Get("http://" + p.Addr + "/api/v1/query?query=" + url.QueryEscape(q.Expr))
	if err != nil {
		return err
	}
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return fmt.Errorf("%s: %s: %w: %s", q.From, q.Expr, err, text)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s: %s", q.From, q.Expr, answer.Error)
	}
	if len(answer.Data.Result) == 0 {
		return fmt.Errorf("%s: %s: %w", q.From, q.Expr, ErrNoData)
	}
	for _, series := range answer.Data.Result {
		for _, label := range q.Labels {
			if series.Metric[label] == "" {
				return fmt.Errorf("%s: %s: %w with the label %s, but %v", q.From, q.Expr, ErrNoData, label, series.Metric)
			}
		}
	}
	return nil
}

// Await runs a query until it has data; the test fails if it has none before ctx is done.
func (p *Prometheus) Await(ctx context.Context, t testing.TB, expr string) {
	t.Helper()
	Eventually(ctx, t, func() error { return p.Ask(Query{Expr: expr}) })
}

// Eventually calls check until it returns no error; the test fails with the last one when ctx is
// done.
func Eventually(ctx context.Context, t testing.TB, check func() error) {
	t.Helper()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Tool finds a program that make deps installs. Short tests are skipped if it is missing.
func Tool(t testing.TB, name string) string {
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

// Run runs a program that make deps installs until the test ends; its output is logged if the test
// fails.
func Run(t testing.TB, name string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(Tool(t, name), args...) //nolint:gosec,noctx // found above; killed below
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdout, cmd.Stderr = log, log
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // the parent-death signal is sent when the starting thread exits
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is always killed
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s:\n%s", name, text)
		}
	})
}

// FreeAddr returns a free address on loopback.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed immediately
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Get returns the body of a page; a status other than 200 is an error.
func Get(address string) (string, error) {
	response, err := http.Get(address) //nolint:gosec,noctx // of a test
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return strings.TrimSpace(string(text)), err
}
