package sink

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the metrics of a process's sinks. They are read from their status when scraped.
type Metrics struct {
	mu  sync.Mutex
	all []*Status
}

// NewMetrics creates the metrics of sinks and registers them.
func NewMetrics(to prometheus.Registerer) *Metrics {
	m := &Metrics{}
	to.MustRegister(m)
	return m
}

// Add includes a sink in the metrics.
func (m *Metrics) Add(s *Status) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, s)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weir_sink_"+name, help, append([]string{"pipeline", "table"}, labels...), nil)
}

var (
	descRows      = desc("rows_total", "Rows written to the target, by committed deliveries.")
	descDeletes   = desc("deletes_total", "Rows deleted from the target, by committed deliveries.")
	descLetters   = desc("dead_letters_total", "Rows that the target refused, set aside in the dead-letter topic.")
	descRetries   = desc("retries_total", "Sessions that failed and were restarted.")
	descLag       = desc("lag_records", "Offsets of the result topic that are not delivered yet, in the partitions of this process.")
	descPhase     = desc("phase", "1 for what the sink is doing: starting, delivering, waiting (retrying), refused or stopped.", "phase")
	descDelivered = desc("last_delivery_timestamp_seconds", "When the last delivery was committed, in Unix time; 0 before the first.")
	descError     = desc("last_error_timestamp_seconds", "When the last error occurred, in Unix time; 0 without one.")
)

// Describe names no metrics in advance: a process may have no sinks yet.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of all sinks.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	all := slices.Clone(m.all)
	m.mu.Unlock()
	seen := make(map[string]bool)
	for _, status := range slices.Backward(all) { // the latest of each name
		s := status.Snapshot()
		if seen[Name(s.Pipeline, s.Table)] {
			continue
		}
		seen[Name(s.Pipeline, s.Table)] = true
		s.collect(to)
	}
}

func (s *Snapshot) collect(to chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, value, append([]string{s.Pipeline, s.Table}, labels...)...)
	}
	for d, n := range map[*prometheus.Desc]int64{descRows: s.Rows, descDeletes: s.Deletes, descLetters: s.DeadLetters, descRetries: s.Retries} {
		send(d, prometheus.CounterValue, float64(n))
	}
	send(descLag, prometheus.GaugeValue, float64(s.Lag))
	for _, p := range Phases {
		at := 0.0
		if s.Phase == p {
			at = 1
		}
		send(descPhase, prometheus.GaugeValue, at, string(p))
	}
	delivered, failed := 0.0, 0.0
	if !s.LastDelivery.IsZero() {
		delivered = float64(s.LastDelivery.UnixMilli()) / 1000
	}
	if !s.LastErrorAt.IsZero() {
		failed = float64(s.LastErrorAt.UnixMilli()) / 1000
	}
	send(descDelivered, prometheus.GaugeValue, delivered)
	send(descError, prometheus.GaugeValue, failed)
}
