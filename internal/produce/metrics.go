package produce

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/metric"
)

// Metrics are the metrics of a process's producers. They are collected from the producers' status;
// only the histogram is updated by the producers, once per transaction.
type Metrics struct {
	commit *prometheus.HistogramVec

	mu  sync.Mutex
	all []*Status
}

// NewMetrics returns the metrics of producers and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{commit: metric.SecondsHistogram("weir_produce_commit_seconds", "Duration of a transaction, from its first reading to the broker's response.", "source")}
	registry.MustRegister(m, m.commit)
	return m
}

// add adds a producer to the metrics.
func (m *Metrics) add(s *Status) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, s)
}

func (m *Metrics) committed(source string, took time.Duration) {
	if m != nil {
		m.commit.WithLabelValues(source).Observe(took.Seconds())
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weir_produce_"+name, help, append([]string{"source"}, labels...), nil)
}

// Metrics per source. No label has a value per device or reading.
var (
	descReadings    = desc("readings_total", "Readings in committed transactions, repeats included.")
	descBytes       = desc("bytes_total", "Bytes of keys and values in committed transactions, before compression.")
	descDeadLetters = desc("dead_letters_total", "Items of the source written to the dead-letter topic, by cause.", "cause")
	descCommitted   = desc("transactions_committed_total", "Committed transactions.")
	descAborted     = desc("transactions_aborted_total", "Aborted transactions.", "reason")
	descRetries     = desc("retries_total", "Session restarts after an error.")
	descRunning     = desc("running", "1 while the producer sends readings, 0 while it starts, retries or is stopped.")
	descLast        = desc("last_commit_timestamp_seconds", "Unix time of the last commit; 0 before the first.")
)

// Describe implements prometheus.Collector. It sends nothing, since a process may have no producer
// yet.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	all := slices.Clone(m.all)
	m.mu.Unlock()
	collected := make(map[string]bool)
	for _, s := range slices.Backward(all) { // the latest producer of each source
		now := s.Snapshot()
		if !collected[now.Source] {
			collected[now.Source] = true
			collect(now, to)
		}
	}
}

func collect(s Snapshot, to chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, value, append([]string{s.Source}, labels...)...)
	}
	send(descReadings, prometheus.CounterValue, float64(s.Readings))
	send(descBytes, prometheus.CounterValue, float64(s.Bytes))
	for _, cause := range deadletter.Causes {
		send(descDeadLetters, prometheus.CounterValue, float64(s.Causes[cause]), cause)
	}
	send(descCommitted, prometheus.CounterValue, float64(s.Committed))
	for _, reason := range abortReasons {
		send(descAborted, prometheus.CounterValue, float64(s.Aborted[reason]), reason)
	}
	send(descRetries, prometheus.CounterValue, float64(max(0, s.Sessions-1)))
	running, last := 0.0, 0.0
	if s.Phase == Running {
		running = 1
	}
	if !s.LastCommit.IsZero() {
		last = float64(s.LastCommit.UnixMilli()) / 1000
	}
	send(descRunning, prometheus.GaugeValue, running)
	send(descLast, prometheus.GaugeValue, last)
}
