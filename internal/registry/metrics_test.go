package registry_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"weir.example/weir/internal/registry"
)

// The metrics of a client count its requests by outcome, its lookups, and waiting callers.
func TestMetrics(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	metrics := prometheus.NewRegistry()
	served := serve(t, func(w http.ResponseWriter, req *http.Request) {
		switch {
		case down.Load():
			refuse(w, http.StatusServiceUnavailable, 50003, "away")
		case req.URL.Path == "/schemas/ids/2":
			refuse(w, http.StatusNotFound, 40403, "Schema not found")
		default:
			schemaAnswer(w, `"string"`, "")
		}
	})
	c := client(t, registry.Config{URLs: []string{served.URL()}, Metrics: registry.NewMetrics(metrics)})
	expect := func(name, help, kind string, lines ...string) error {
		text := "# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n"
		for _, l := range lines {
			text += name + strings.Replace(l, "}", `,registry="`+served.URL()+`"}`, 1) + "\n"
		}
		return testutil.GatherAndCompare(metrics, strings.NewReader(strings.ReplaceAll(text, "{,", "{")), name)
	}
	waiting := func(n string) error {
		return expect("weir_registry_client_waiting", "Schemas that records are waiting for because the registry does not answer.", "gauge", "{} "+n)
	}
	if err := waiting("0"); err != nil {
		t.Error(err)
	}
	done := make(chan error)
	go func() {
		_, err := c.Await(t.Context(), 1)
		done <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); waiting("1") != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no caller is waiting")
		}
	}
	down.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for range 2 { // known already
		if _, err := c.Schema(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Schema(t.Context(), 2); !errors.Is(err, registry.ErrNotFound) {
		t.Fatal(err)
	}
	if err := waiting("0"); err != nil {
		t.Error(err)
	}
	text, err := testutil.CollectAndFormat(metrics, expfmt.TypeTextPlain, "weir_registry_client_requests_total", "weir_registry_client_lookups_total")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`requests_total{outcome="2xx",registry="` + served.URL() + `"} 1`, `requests_total{outcome="4xx",registry="` + served.URL() + `"} 1`,
		`requests_total{outcome="unreachable",registry="` + served.URL() + `"} 0`, `lookups_total{outcome="found",registry="` + served.URL() + `"} 1`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), `requests_total{outcome="5xx",registry="`+served.URL()+`"} 0`) {
		t.Error("failed requests to an unavailable registry are not counted")
	}
}
