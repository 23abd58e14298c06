package lookup

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir.example/weir/internal/metric"
	"weir.example/weir/internal/operator"
)

func refused(err error) bool { return errors.As(err, new(*RefusedError)) }

// counts are those of a table.
type counts struct {
	again, cached, asked atomic.Int64 // keys, by where their answer came from
	rows, failures       atomic.Int64
	seconds              prometheus.Observer // nil without metrics
}

func (c *counts) answered(again, cached int) {
	c.again.Add(int64(again))
	c.cached.Add(int64(cached))
}

func (c *counts) queried(keys int, rows [][]operator.LookupRow, took time.Duration) {
	c.asked.Add(int64(keys))
	for _, r := range rows {
		c.rows.Add(int64(len(r)))
	}
	if c.seconds != nil {
		c.seconds.Observe(took.Seconds())
	}
}

func (c *counts) failed() { c.failures.Add(1) }

// Metrics are the metrics of a process's lookups. They are read from the counters when scraped.
type Metrics struct {
	seconds *prometheus.HistogramVec

	mu  sync.Mutex
	all []measured
}

type measured struct {
	pipeline string
	*group
}

// NewMetrics creates the metrics of lookups and registers them.
func NewMetrics(to prometheus.Registerer) *Metrics {
	m := &Metrics{seconds: metric.SecondsHistogram("weir_lookup_query_seconds", "Time that the database took to answer a batch of keys.", "pipeline", "table")}
	to.MustRegister(m, m.seconds)
	return m
}

// add includes a table in the metrics.
func (m *Metrics) add(pipeline string, g *group) {
	if m == nil {
		return
	}
	g.seconds = m.seconds.WithLabelValues(pipeline, g.Name)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, measured{pipeline, g})
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weir_lookup_"+name, help, append([]string{"pipeline", "table"}, labels...), nil)
}

var (
	descKeys   = desc("keys_total", "Keys looked up, by where their answer came from: the transaction, in which the key was looked up before, the cache, or the database. Keys that a batch repeats count once.", "from")
	descRows   = desc("rows_total", "Rows read from the database.")
	descErrors = desc("errors_total", "Failed connections and queries. The transaction is aborted, and its records are computed again.")
	descCached = desc("cached_rows", "Rows in the cache; a key without rows counts as one.")
)

// Describe names no metrics in advance: a process may have no lookups yet.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of all tables.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	all := slices.Clone(m.all)
	m.mu.Unlock()
	type name struct{ pipeline, table string }
	sums := make(map[name]*sum)
	for _, g := range all {
		at := name{g.pipeline, g.Name}
		if sums[at] == nil {
			sums[at] = &sum{}
		}
		sums[at].add(g.group)
	}
	for at, s := range sums {
		send := func(d *prometheus.Desc, kind prometheus.ValueType, value int64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, kind, float64(value), append([]string{at.pipeline, at.table}, labels...)...)
		}
		send(descKeys, prometheus.CounterValue, s.again, "transaction")
		send(descKeys, prometheus.CounterValue, s.cached, "cache")
		send(descKeys, prometheus.CounterValue, s.asked, "database")
		send(descRows, prometheus.CounterValue, s.rows)
		send(descErrors, prometheus.CounterValue, s.errors)
		send(descCached, prometheus.GaugeValue, int64(s.kept))
	}
}

// sum is over the lookups of a table, of all runs of the pipeline: a counter must not decrease.
type sum struct {
	again, cached, asked, rows, errors int64
	kept                               int
}

func (s *sum) add(g *group) {
	s.again, s.cached, s.asked = s.again+g.again.Load(), s.cached+g.cached.Load(), s.asked+g.asked.Load()
	s.rows, s.errors = s.rows+g.rows.Load(), s.errors+g.failures.Load()
	s.kept += g.cache.size()
}
