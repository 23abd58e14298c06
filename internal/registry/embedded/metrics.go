package embedded

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir.example/weir/internal/metric"
)

// Metrics are the metrics of an embedded registry.
type Metrics struct {
	requests *prometheus.CounterVec   // by route, such as "GET /schemas/ids/{id}", and status class, such as 2xx
	took     *prometheus.HistogramVec // by method
	state    *held
}

// NewMetrics creates the metrics of a registry and registers them.
func NewMetrics(to prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_requests_total", Help: "Requests to the registry that this process serves, by route and class of the answer.",
		}, []string{"route", "code"}),
		took:  metric.SecondsHistogram("weir_registry_request_seconds", "Time from a request to the registry that this process serves to its answer.", "method"),
		state: &held{},
	}
	to.MustRegister(m.requests, m.took, m.state)
	return m
}

// observe counts the requests of a route. The label is its pattern, without the values of
// wildcards.
func (m *Metrics) observe(pattern string, next http.HandlerFunc) http.HandlerFunc {
	if m == nil {
		return next
	}
	for _, code := range []string{"2xx", "4xx", "5xx"} { // so that the first error is an increase
		m.requests.WithLabelValues(pattern, code)
	}
	return func(w http.ResponseWriter, req *http.Request) {
		began, answer := time.Now(), &recorder{ResponseWriter: w, code: http.StatusOK}
		next(answer, req)
		method, _, _ := strings.Cut(pattern, " ")
		m.requests.WithLabelValues(pattern, fmt.Sprintf("%dxx", answer.code/100)).Inc()
		m.took.WithLabelValues(method).Observe(time.Since(began).Seconds())
	}
}

// recorder records the status of a response.
type recorder struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

// held collects the contents of the registry that was opened last.
type held struct{ registry atomic.Pointer[Registry] }

var (
	descSubjects = prometheus.NewDesc("weir_registry_subjects", "Subjects that have a version.", nil, nil)
	descVersions = prometheus.NewDesc("weir_registry_versions", "Versions of all subjects.", nil, nil)
	descSchemas  = prometheus.NewDesc("weir_registry_schemas", "Schemas; subjects may share them. Deleted ones are counted, since they keep their id.", nil, nil)
)

// Describe lists the metrics that Collect reports once a registry is open.
func (*held) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSubjects, descVersions, descSchemas} {
		to <- d
	}
}

// Collect reports the registry's current contents.
func (h *held) Collect(to chan<- prometheus.Metric) {
	r := h.registry.Load()
	if r == nil {
		return
	}
	r.mu.RLock()
	subjects, versions, schemas := r.state.size()
	r.mu.RUnlock()
	for d, n := range map[*prometheus.Desc]int{descSubjects: subjects, descVersions: versions, descSchemas: schemas} {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
}
