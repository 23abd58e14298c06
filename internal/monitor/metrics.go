package monitor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weir_monitor_"+name, help, labels, nil)
}

// The metrics of the cluster, from the last look.
var (
	descUp           = desc("up", "1 where a broker answered the last look at the cluster; where none did, no other metric is reported.")
	descTook         = desc("look_seconds", "How long the last look took.")
	descBrokers      = desc("brokers_up", "Brokers that answer.")
	descKnown        = desc("brokers_known", "Brokers that are in the cluster, have replicas, or were there within the last hour.")
	descGaps         = desc("gaps", "Parts of the cluster that could not be queried at the last look, such as groups whose broker is down. Their metrics are missing.")
	descPartitions   = desc("partitions", "Partitions of a topic.", "topic")
	descUnder        = desc("partitions_under_replicated", "Partitions with replicas that are not in sync.", "topic")
	descOffline      = desc("partitions_offline", "Partitions without a leader that answers.", "topic")
	descMembers      = desc("group_members", "Members of a consumer group.", "group")
	descLag          = desc("group_lag_records", "Records between the offset a group has committed and the end of the topic.", "group", "topic")
	descBehind       = desc("group_lag_seconds", "How long ago the oldest record that a group has not read was written, as far back as the monitor has been running.", "group", "topic")
	descTransactions = desc("transactions_open", "Open transactions.")
	descHanging      = desc("transactions_hanging", "Transactions that no coordinator knows, so that no timeout ends them.")
	descOldest       = desc("transaction_oldest_seconds", "Age of the oldest open transaction; 0 where none is open.")
	descBlocked      = desc("transaction_blocked_records", "Records that readers wait for behind open transactions.", "topic")
)

// Describe names no metrics in advance: before the first look there are none.
func (m *Monitor) Describe(chan<- *prometheus.Desc) {}

// Collect sends what the last look found.
func (m *Monitor) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	v, err, looked, took := m.last, m.err, m.looked, m.took
	m.mu.Unlock()
	if !looked {
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
