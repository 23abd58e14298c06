package subscribe

import "github.com/prometheus/client_golang/prometheus"

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("weir_mqtt_source_"+name, help, []string{"client_id", "url"}, nil)
}

var (
	descConnected = desc("connected", "1 while messages are taken from the MQTT broker, else 0.")
	descConnects  = desc("connects_total", "Connections to the MQTT broker.")
	descWaiting   = desc("unacknowledged", "Messages that were read and are not acknowledged yet.")
	descRepeated  = desc("repeated_total", "Messages that were dropped because they were stored before.")
	descRetained  = desc("retained_skipped_total", "Retained messages that were skipped.")
	descDropped   = desc("broker_dropped_total", "Messages that the MQTT broker says to have dropped, for any of its clients.")
	descForgotten = desc("sessions_forgotten_total", "Connections at which the MQTT broker had no session although it should.")
)

// All are the subscribers of a process. They are a prometheus.Collector.
type All []*Subscriber

// Describe implements prometheus.Collector.
func (a All) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descConnected, descConnects, descWaiting, descRepeated, descRetained, descDropped, descForgotten} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (a All) Collect(to chan<- prometheus.Metric) {
	for _, s := range a {
		s.collect(to)
	}
}

func (s *Subscriber) collect(to chan<- prometheus.Metric) {
	s.mu.Lock()
	now := s.state
	s.mu.Unlock()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v int64) {
		to <- prometheus.MustNewConstMetric(d, kind, float64(v), s.cfg.ClientID, s.cfg.URL)
	}
	connected, waiting := int64(0), int64(0)
	if now.connected {
		connected = 1
	}
	if now.acks != nil {
		waiting = int64(now.acks.len())
	}
	send(descConnected, prometheus.GaugeValue, connected)
	send(descConnects, prometheus.CounterValue, now.connects)
	send(descWaiting, prometheus.GaugeValue, waiting)
	send(descRepeated, prometheus.CounterValue, now.repeated)
	send(descRetained, prometheus.CounterValue, now.retained)
	send(descDropped, prometheus.CounterValue, now.dropped)
	send(descForgotten, prometheus.CounterValue, now.forgotten)
}
