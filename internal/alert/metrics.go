package alert

import (
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir.example/weir/internal/metric"
)

// Metrics are the metrics of the delivery of alerts.
type Metrics struct {
	notifications *prometheus.CounterVec   // by kind of receiver and outcome
	retries       *prometheus.CounterVec   // by kind of receiver
	delay         *prometheus.HistogramVec // by kind of receiver
	firing        *prometheus.GaugeVec     // by severity
	silenced      prometheus.Gauge
	undelivered   prometheus.Gauge
}

// Label values: kinds of receivers, outcomes of notifications and severities. Pipelines choose
// severities freely, so unusual ones count as other.
var (
	kinds      = []string{"webhook", "alertmanager", "email"}
	outcomes   = []string{"delivered", "partly", "failed"}
	severities = []string{"critical", "error", "warning", "info", "other"}
)

// NewMetrics returns the metrics of a delivery and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_alert_notifications_total", Help: "Notifications to receivers, by outcome; partly means that the server rejected some of the addresses.",
		}, []string{"kind", "outcome"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_alert_retries_total", Help: "Notifications sent again because the previous attempt failed.",
		}, []string{"kind"}),
		delay: metric.SecondsHistogram("weir_alert_delivery_seconds", "Time from detecting that an alert fires or is resolved to the receiver's response, without repeats.", "kind"),
		firing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weir_alert_firing", Help: "Firing alerts of the partitions assigned to this process, including silenced ones.",
		}, []string{"severity"}),
		silenced:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_alert_silenced", Help: "Firing alerts suppressed by a silence."}),
		undelivered: prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_alert_failing_groups", Help: "Alert groups whose last notification failed and will be retried."}),
	}
	registry.MustRegister(m.notifications, m.retries, m.delay, m.firing, m.silenced, m.undelivered)
	return m
}

// add creates all series before the first alert.
func (m *Metrics) add(c *Config) {
	if m == nil {
		return
	}
	for _, r := range c.Receivers {
		for _, o := range outcomes {
			m.notifications.WithLabelValues(r.kind(), o)
		}
		m.retries.WithLabelValues(r.kind())
		m.delay.WithLabelValues(r.kind())
	}
	for _, s := range severities {
		m.firing.WithLabelValues(s)
	}
}

func (r *ReceiverConfig) kind() string {
	switch {
	case r.Webhook != nil:
		return kinds[0]
	case r.Alertmanager != nil:
		return kinds[1]
	}
	return kinds[2]
}

// sent counts the outcome of sending a notification.
func (m *Metrics) sent(r *ReceiverConfig, n *Notification, failed error, now time.Time) {
	if m == nil {
		return
	}
	var partly *PartlyError
	outcome := outcomes[0]
	switch {
	case errors.As(failed, &partly):
		outcome = outcomes[1]
	case failed != nil:
		outcome = outcomes[2]
	}
	m.notifications.WithLabelValues(r.kind(), outcome).Inc()
	if n.attempt > 0 {
		m.retries.WithLabelValues(r.kind()).Inc()
	}
	if outcome == outcomes[2] {
		return
	}
	for _, a := range n.Alerts {
		if a.changed {
			m.delay.WithLabelValues(r.kind()).Observe(max(0, now.Sub(a.Changed).Seconds()))
		}
	}
}

// snapshot sets the gauges from the book.
func (m *Metrics) snapshot(b *Book, now time.Time) {
	if m == nil {
		return
	}
	firing, quiet := make(map[string]int), 0
	silences := b.silences(now)
	for _, a := range b.alerts {
		if a.Status != Firing {
			continue
		}
		severity := a.Severity
		if !slices.Contains(severities, severity) {
			severity = "other"
		}
		firing[severity]++
		if silenced(silences, a.Labels) {
			quiet++
		}
	}
	for _, s := range severities {
		m.firing.WithLabelValues(s).Set(float64(firing[s]))
	}
	m.silenced.Set(float64(quiet))
	m.undelivered.Set(float64(len(b.failed)))
}
