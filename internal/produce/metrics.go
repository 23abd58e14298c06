package produce

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/metric"
)

// Metrics are the metrics of a process's producers. They are read from the producers' status when
// scraped; only the histogram is updated, once per transaction.
type Metrics struct {
	commit *prometheus.HistogramVec

	mu  sync.Mutex
	all []*Status
}

// NewMetrics makes the metrics of producers and registers them.
func NewMetrics(to prometheus.Registerer) *Metrics {
	m := &Metrics{commit: metric.SecondsHistogram("weir_produce_commit_seconds", "Length of a transaction, from its first reading to the broker's answer.", "source")}
	to.MustRegister(m, m.commit)
	return m
}

// add includes a producer in the metrics from now on.
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

// The metrics of each source. No label has a value for each device or reading.
var (
	descReadings  = desc("readings_total", "Readings in committed transactions, repeats included.")
	descBytes     = desc("bytes_total", "Bytes of keys and values in committed transactions, before compression.")
	descLetters   = desc("dead_letters_total", "Rows of the source written to the dead-letter topic.", "cause")
	descCommitted = desc("transactions_committed_total", "Committed transactions.")
	descAborted   = desc("transactions_aborted_total", "Aborted transactions.", "reason")
	descRetries   = desc("retries_total", "Sessions that failed and were restarted.")
	descRunning   = desc("running", "1 while readings can flow, 0 while the producer starts, retries or has stopped.")
	descLast      = desc("last_commit_timestamp_seconds", "When the last transaction was committed, in Unix time; 0 before the first.")
)

// Describe names no metrics in advance: a process may have no producer yet.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of all producers.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	all := slices.Clone(m.all)
	m.mu.Unlock()
	told := make(map[string]bool)
	for _, s := range slices.Backward(all) { // the latest, where one of the same source has ended
		now := s.Snapshot()
		if !told[now.Source] {
			told[now.Source] = true
			collect(now, to)
		}
	}
}

func collect(s Snapshot, to chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, value, append([]string{s.Source}, labels...)...)
	}
	tell(descReadings, prometheus.CounterValue, float64(s.Readings))
	tell(descBytes, prometheus.CounterValue, float64(s.Bytes))
	for _, cause := range deadletter.Causes {
		tell(descLetters, prometheus.CounterValue, float64(s.Causes[cause]), cause)
	}
	tell(descCommitted, prometheus.CounterValue, float64(s.Committed))
	for _, reason := range abortReasons {
		tell(descAborted, prometheus.CounterValue, float64(s.Aborted[reason]), reason)
	}
	tell(descRetries, prometheus.CounterValue, float64(max(0, s.Sessions-1)))
	running, last := 0.0, 0.0
	if s.Phase == Running {
		running = 1
	}
	if !s.LastCommit.IsZero() {
		last = float64(s.LastCommit.UnixMilli()) / 1000
	}
	tell(descRunning, prometheus.GaugeValue, running)
	tell(descLast, prometheus.GaugeValue, last)
}
