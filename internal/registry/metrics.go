package registry

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir.example/weir/internal/metric"
)

// Metrics are the metrics of registry clients, labeled with the registry's URLs.
type Metrics struct {
	requests *prometheus.CounterVec // by outcome
	took     *prometheus.HistogramVec
	lookups  *prometheus.CounterVec // by outcome
	waiting  *prometheus.GaugeVec
}

// Outcomes of a request. The set is closed, so that it can be a label.
var outcomes = []string{"2xx", "3xx", "4xx", "5xx", "unreachable"}

// NewMetrics creates the metrics of clients and registers them.
func NewMetrics(to prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_client_requests_total", Help: "Requests to a schema registry, by the class of its answer; unreachable where there was none.",
		}, []string{"registry", "outcome"}),
		took: metric.SecondsHistogram("weir_registry_client_request_seconds", "Time from a request to a schema registry to its answer.", "registry"),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_client_lookups_total", Help: "Schemas requested by id that were not cached, by outcome: found or failed.",
		}, []string{"registry", "outcome"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weir_registry_client_waiting", Help: "Schemas that records are waiting for because the registry does not answer.",
		}, []string{"registry"}),
	}
	to.MustRegister(m.requests, m.took, m.lookups, m.waiting)
	return m
}

// add creates all series of a registry, so that they exist from the start.
func (m *Metrics) add(registry string) {
	if m == nil {
		return
	}
	for _, o := range outcomes {
		m.requests.WithLabelValues(registry, o)
	}
	m.took.WithLabelValues(registry)
	m.lookedUp(registry, nil, 0)
	m.lookups.WithLabelValues(registry, "failed")
	m.wait(registry, 0)
}

func (m *Metrics) lookedUp(registry string, err error, n float64) {
	if m == nil {
		return
	}
	outcome := "found"
	if err != nil {
		outcome = "failed"
	}
	m.lookups.WithLabelValues(registry, outcome).Add(n)
}

func (m *Metrics) wait(registry string, n float64) {
	if m != nil {
		m.waiting.WithLabelValues(registry).Add(n)
	}
}

// counted counts the requests of a client.
type counted struct {
	http.RoundTripper
	metrics  *Metrics
	registry string
}

// RoundTrip implements http.RoundTripper.
func (c counted) RoundTrip(req *http.Request) (*http.Response, error) {
	if c.metrics == nil {
		return c.RoundTripper.RoundTrip(req)
	}
	began := time.Now()
	answer, err := c.RoundTripper.RoundTrip(req)
	outcome := "unreachable"
	if err == nil {
		outcome = fmt.Sprintf("%dxx", answer.StatusCode/100)
	}
	c.metrics.requests.WithLabelValues(c.registry, outcome).Inc()
	c.metrics.took.WithLabelValues(c.registry).Observe(time.Since(began).Seconds())
	return answer, err
}
