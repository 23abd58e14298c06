package mqtt

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are of this process.
type counters struct {
	accepted atomic.Int64 // messages
	dropped  atomic.Int64 // messages with QoS 0, and wills, for which there was no room
	quota    atomic.Int64 // messages of MQTT 5 that were refused with 0x97
	slow     atomic.Int64 // messages that did not fit into subscribers' queues
	slowSeen atomic.Int64 // all of them, when that was last logged
	slowLog  atomic.Int64 // when that was, in Unix seconds
	large    atomic.Int64 // bytes of large packets that are being received
	noRoom   atomic.Int64 // when that was last logged, in Unix seconds
	qos2     atomic.Int64 // likewise

	mu      sync.Mutex
	refused map[string]int64 // by reason
}

// slowDropped returns how many messages subscribers were too slow for.
func (b *Broker) slowDropped() int64 {
	return b.stats.slow.Load() + atomic.LoadInt64(&b.server.Info.InflightDropped)
}

// refuse counts a connection or packet that was refused.
func (s *counters) refuse(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = make(map[string]int64)
	}
	s.refused[reason]++
}

// Stats is the state of a broker. Counts are of this process.
type Stats struct {
	Address       string           `json:"address"`
	Connections   int              `json:"connections"`
	Sessions      int              `json:"sessions"` // of connected and absent clients
	Subscriptions int64            `json:"subscriptions"`
	Retained      int              `json:"retained"`
	InFlight      int              `json:"in_flight"`      // messages that are not yet acknowledged
	Held          int              `json:"held"`           // of them waiting for room in the spool
	Accepted      int64            `json:"accepted"`       // messages
	Dropped       int64            `json:"dropped"`        // with QoS 0, for lack of room
	Quota         int64            `json:"quota_exceeded"` // refused with 0x97
	SlowDropped   int64            `json:"slow_dropped"`   // for which subscribers were too slow
	Unreadable    int              `json:"unreadable"`     // entries of the store that were set aside at the start
	Refused       map[string]int64 `json:"refused"`        // connections and packets, by reason
	Clients       []Client         `json:"clients"`        // some of those that are connected
}

// Client is a connected client.
type Client struct {
	ID       string `json:"id"`
	User     string `json:"user,omitempty"`
	Remote   string `json:"remote"`
	Version  string `json:"version"` // of MQTT
	InFlight int    `json:"in_flight"`
}

// maxListed bounds the clients in Stats.
const maxListed = 100

// Stats returns the current state.
func (b *Broker) Stats() Stats {
	s := Stats{
		Address: b.URL(), Sessions: b.server.Clients.Len(), Subscriptions: atomic.LoadInt64(&b.server.Info.Subscriptions), Retained: b.store.retainedCount(),
		Accepted: b.stats.accepted.Load(), Dropped: b.stats.dropped.Load(), Quota: b.stats.quota.Load(), SlowDropped: b.slowDropped(), Unreadable: b.store.unreadable,
	}
	b.stats.mu.Lock()
	s.Refused = maps.Clone(b.stats.refused)
	b.stats.mu.Unlock()
	for _, c := range b.connections() {
		s.Connections++
		count, held := c.inFlight()
		s.InFlight += count
		s.Held += held
		if len(s.Clients) < maxListed {
			listed := Client{ID: c.id, Remote: c.RemoteAddr().String(), Version: "3.1.1", InFlight: count}
			if c.version == 5 {
				listed.Version = "5"
			}
			if c.who != nil {
				listed.User = c.who.Name
			}
			s.Clients = append(s.Clients, listed)
		}
	}
	return s
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weir_mqtt_"+name, help, labels, nil)
}

var (
	descConnections   = desc("connections", "Connected MQTT clients.")
	descSessions      = desc("sessions", "MQTT sessions, of connected and absent clients.")
	descSubscriptions = desc("subscriptions", "Subscriptions of MQTT clients.")
	descRetained      = desc("retained_messages", "Retained MQTT messages.")
	descInFlight      = desc("in_flight_messages", "MQTT messages that are not yet acknowledged.")
	descHeld          = desc("held_messages", "MQTT 3.1.1 messages that wait for room in the spool.")
	descAccepted      = desc("messages_total", "MQTT messages that were accepted.")
	descDropped       = desc("dropped_total", "MQTT messages with QoS 0 that were dropped for lack of room in the spool.")
	descQuota         = desc("quota_exceeded_total", "MQTT 5 messages that were refused with Quota exceeded for lack of room in the spool.")
	descSlow          = desc("slow_subscriber_dropped_total", "MQTT messages that a subscriber was too slow for.")
	descUnreadable    = desc("unreadable_entries", "Entries of MQTT sessions and retained messages that could not be read at the start and were set aside.")
	descRefused       = desc("refused_total", "MQTT connections and packets that were refused.", "reason")
)

// Describe implements prometheus.Collector.
func (b *Broker) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descConnections, descSessions, descSubscriptions, descRetained, descInFlight, descHeld, descAccepted, descDropped, descQuota, descSlow, descUnreadable, descRefused,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (b *Broker) Collect(to chan<- prometheus.Metric) {
	now := b.Stats()
	gauge := func(d *prometheus.Desc, v float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(descConnections, float64(now.Connections))
	gauge(descSessions, float64(now.Sessions))
	gauge(descSubscriptions, float64(now.Subscriptions))
	gauge(descRetained, float64(now.Retained))
	gauge(descInFlight, float64(now.InFlight))
	gauge(descHeld, float64(now.Held))
	gauge(descUnreadable, float64(now.Unreadable))
	counter(descAccepted, now.Accepted)
	counter(descDropped, now.Dropped)
	counter(descQuota, now.Quota)
	counter(descSlow, now.SlowDropped)
	for _, reason := range slices.Sorted(maps.Keys(now.Refused)) {
		counter(descRefused, now.Refused[reason], reason)
	}
}
