package embedded

import "github.com/prometheus/client_golang/prometheus"

// NewCollector returns the metrics of a broker.
func NewCollector(b *Broker) prometheus.Collector { return collector{b} }

type collector struct{ broker *Broker }

var (
	storedBytes  = prometheus.NewDesc("weir_broker_stored_bytes", "Bytes of all topics' records in the embedded broker, and 100 for each batch.", nil, nil)
	storedLimit  = prometheus.NewDesc("weir_broker_stored_limit_bytes", "Cap of weir_broker_stored_bytes; missing without a cap.", nil, nil)
	connections  = prometheus.NewDesc("weir_broker_connections", "Open connections of clients to the embedded broker.", nil, nil)
	memoryBytes  = prometheus.NewDesc("weir_broker_memory_bytes", "Memory of the embedded broker's requests and answers.", nil, nil)
	refusedTotal = prometheus.NewDesc("weir_broker_refused_connections_total", "Connections that the embedded broker refused or closed, by reason.", []string{"reason"}, nil)
	certExpires  = prometheus.NewDesc("weir_broker_certificate_expires_timestamp_seconds", "When the certificate of the embedded broker expires, in Unix time; missing without TLS.", nil, nil)
	auditDropped = prometheus.NewDesc("weir_audit_dropped_total", "Entries of the audit trail that were dropped because the disk was slow or full.", nil, nil)
	rejectsTotal = prometheus.NewDesc("weir_broker_rejected_requests_total", "Produce requests that the cap on stored bytes rejected.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- storedBytes
	ch <- storedLimit
	ch <- rejectsTotal
	ch <- connections
	ch <- memoryBytes
	ch <- refusedTotal
	ch <- auditDropped
	ch <- certExpires
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	at := c.broker.Stored()
	ch <- prometheus.MustNewConstMetric(storedBytes, prometheus.GaugeValue, float64(at.Bytes))
	ch <- prometheus.MustNewConstMetric(rejectsTotal, prometheus.CounterValue, float64(at.Rejected))
	ch <- prometheus.MustNewConstMetric(auditDropped, prometheus.CounterValue, float64(c.broker.trail.Dropped()))
	front := c.broker.front
	ch <- prometheus.MustNewConstMetric(connections, prometheus.GaugeValue, float64(front.Connections()))
	ch <- prometheus.MustNewConstMetric(memoryBytes, prometheus.GaugeValue, float64(front.Memory()))
	for reason, n := range front.Refusals() {
		ch <- prometheus.MustNewConstMetric(refusedTotal, prometheus.CounterValue, float64(n), string(reason))
	}
	if cert := c.broker.cfg.TLS; cert != nil {
		ch <- prometheus.MustNewConstMetric(certExpires, prometheus.GaugeValue, float64(cert.Expires().Unix()))
	}
	if at.Limit > 0 {
		ch <- prometheus.MustNewConstMetric(storedLimit, prometheus.GaugeValue, float64(at.Limit))
	}
}
