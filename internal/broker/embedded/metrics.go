package embedded

import "github.com/prometheus/client_golang/prometheus"

// NewCollector returns the metrics of a broker.
func NewCollector(b *Broker) prometheus.Collector { return collector{b} }

type collector struct{ broker *Broker }

var (
	storedBytes  = prometheus.NewDesc("weir_broker_stored_bytes", "Bytes of all topics' records in the embedded broker.", nil, nil)
	storedLimit  = prometheus.NewDesc("weir_broker_stored_limit_bytes", "Cap of weir_broker_stored_bytes; missing without a cap.", nil, nil)
	rejectsTotal = prometheus.NewDesc("weir_broker_rejected_requests_total", "Produce requests that the cap on stored bytes rejected.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- storedBytes
	ch <- storedLimit
	ch <- rejectsTotal
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	at := c.broker.Stored()
	ch <- prometheus.MustNewConstMetric(storedBytes, prometheus.GaugeValue, float64(at.Bytes))
	ch <- prometheus.MustNewConstMetric(rejectsTotal, prometheus.CounterValue, float64(at.Rejected))
	if at.Limit > 0 {
		ch <- prometheus.MustNewConstMetric(storedLimit, prometheus.GaugeValue, float64(at.Limit))
	}
}
