package monitor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weir_monitor_"+name, help, labels, nil)
}

// Metrics of the cluster, from the last snapshot.
var (
	descUp           = desc("up", "1 if a broker answered at the last check of the cluster, 0 otherwise; without an answer only the duration is reported besides.")
	descTook         = desc("check_seconds", "Duration of the last check of the cluster.")
	descBrokers      = desc("brokers_up", "Brokers that answer requests.")
	descKnown        = desc("brokers_known", "Brokers that are in the cluster, hold replicas, or were in the cluster within the last hour.")
	descGaps         = desc("gaps", "Parts of the cluster that could not be queried at the last check, such as groups whose broker is down. Their metrics are missing.")
	descPartitions   = desc("partitions", "Partitions of a topic.", "topic")
	descUnder        = desc("partitions_under_replicated", "Partitions with replicas that are not in sync.", "topic")
	descOffline      = desc("partitions_offline", "Partitions whose leader does not answer, or that have none.", "topic")
	descMembers      = desc("group_members", "Members of a consumer group.", "group")
	descLag          = desc("group_lag_records", "Records between the offset a group has committed and the end of the topic.", "group", "topic")
	descBehind       = desc("group_lag_seconds", "Age of the oldest record that a group has not read, at most as long as the monitor has been running.", "group", "topic")
	descTransactions = desc("transactions_open", "Open transactions.")
	descHanging      = desc("transactions_hanging", "Open transactions that no coordinator knows; no timeout ends them.")
	descOldest       = desc("transaction_oldest_seconds", "Age of the oldest open transaction; 0 if none is open.")
	descBlocked      = desc("transaction_blocked_records", "Records after an open transaction, which read_committed consumers cannot read yet.", "topic")
)

// Describe implements prometheus.Collector. It sends nothing, since there are no metrics before the
// first snapshot.
func (m *Monitor) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. It sends the last snapshot.
func (m *Monitor) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	v, err, checked, took := m.last, m.err, m.checked, m.took
	m.mu.Unlock()
	if !checked {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(descTook, took.Seconds())
	if err != nil {
		gauge(descUp, 0)
		return
	}
	gauge(descUp, 1)
	gauge(descGaps, float64(len(v.Gaps)))
	gauge(descBrokers, float64(v.Up()))
	gauge(descKnown, float64(len(v.Brokers)))
	for _, t := range v.Topics {
		gauge(descPartitions, float64(t.Partitions), t.Name)
		gauge(descUnder, float64(t.UnderReplicated), t.Name)
		gauge(descOffline, float64(t.Offline), t.Name)
	}
	for _, g := range v.Groups {
		gauge(descMembers, float64(g.Members), g.Name)
		for _, t := range g.Topics {
			gauge(descLag, float64(t.Lag), g.Name, t.Topic)
			gauge(descBehind, t.Behind, g.Name, t.Topic)
		}
	}
	if v.Transactions == nil {
		return // no coordinator could be queried
	}
	hanging, oldest := 0, 0.0
	blocked := make(map[string]int64)
	for i := range v.Transactions {
		t := &v.Transactions[i]
		if t.Hanging {
			hanging++
		}
		oldest = max(oldest, time.Duration(t.Age).Seconds())
		for _, p := range t.Partitions {
			blocked[p.Topic] = max(blocked[p.Topic], p.Behind)
		}
	}
	gauge(descTransactions, float64(len(v.Transactions)))
	gauge(descHanging, float64(hanging))
	gauge(descOldest, oldest)
	for topic, n := range blocked {
		gauge(descBlocked, float64(n), topic)
	}
}
