package spool

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Stats is the state of a spool at one moment. Counts are of this process.
type Stats struct {
	Bytes    int64         `json:"bytes"` // on the disk
	MaxBytes int64         `json:"max_bytes"`
	Items    int64         `json:"items"`    // readings and rejected inputs that are not committed in Kafka
	Age      time.Duration `json:"age_ns"`   // of the oldest of them
	Readings int64         `json:"readings"` // accepted
	Rejected int64         `json:"rejected"` // accepted for the dead-letter topic
	Entries  int64         `json:"entries"`  // accepted requests and messages
	Repeated int64         `json:"repeated"` // entries whose idempotency key or delivery was known
	Refused  int64         `json:"refused"`  // entries for which there was no room
	Damage   Damage        `json:"damage"`   // found since the spool was opened
	Failing  error         `json:"-"`        // of the last write; nil if it succeeded
	Waiting  int           `json:"waiting"`  // entries that are not acknowledged because they are not committed in Kafka
	Keys     int           `json:"keys"`     // idempotency keys remembered
	Segments int           `json:"segments"` // files
	Devices  Devices       `json:"devices"`  // what the devices' own numbers say
}

// Stats returns the current state.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := Stats{
		Bytes: s.used, MaxBytes: s.cfg.MaxBytes, Items: s.end - s.committed,
		Readings: s.accepted.readings, Rejected: s.accepted.rejected, Entries: s.accepted.entries, Repeated: s.accepted.repeated,
		Refused: s.refused, Damage: s.damage, Failing: s.failing, Keys: len(s.keys), Waiting: len(s.acks.waiting), Segments: len(s.segments), Devices: s.devices,
	}
	if len(s.arrivals) > 0 {
		now.Age = max(0, s.cfg.now().Sub(s.arrivals[0].at))
	}
	return now
}

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("weir_spool_"+name, help, nil, nil)
}

var (
	descBytes    = desc("bytes", "Bytes of the spool on the disk.")
	descMax      = desc("max_bytes", "Bytes at which the spool refuses.")
	descItems    = desc("items", "Readings and rejected inputs that are accepted and not yet committed in Kafka.")
	descAge      = desc("oldest_item_age_seconds", "Age of the oldest item that is not yet committed in Kafka.")
	descReadings = desc("readings_total", "Readings that were made durable.")
	descRejected = desc("rejected_total", "Inputs that were made durable for the dead-letter topic.")
	descRepeated = desc("repeated_total", "Requests and messages that were recognised as repeats, so that nothing was stored.")
	descRefused  = desc("refused_total", "Requests and messages that were refused because the spool had no room.")
	descDamage   = desc("damaged_places_total", "Places of the spool's files whose checksum is wrong.")
	descLost     = desc("lost_items_total", "Items that were lost by damage of the spool's files.")
	descMissing  = desc("device_missing", "Numbers that devices gave their messages, were skipped, and have not come since: lost before they arrived here.")
	descKnown    = desc("device_repeated_total", "Messages that were dropped because their devices had given their numbers to earlier ones.")
	descRestarts = desc("device_restarts_total", "Counters of devices that began again without a new boot id.")
	descUncount  = desc("device_uncounted_total", "Messages whose devices' numbers were ignored because there are too many counters.")
	descWaiting  = desc("unacknowledged", "Requests and messages that wait for their commit in Kafka, with ack: kafka.")
	descFailing  = desc("failing", "1 while the spool cannot be written, else 0.")
)

// Describe implements prometheus.Collector.
func (s *Spool) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, to) }

// Collect implements prometheus.Collector.
func (s *Spool) Collect(to chan<- prometheus.Metric) {
	now := s.Stats()
	gauge := func(d *prometheus.Desc, v float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, v int64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	gauge(descBytes, float64(now.Bytes))
	gauge(descMax, float64(now.MaxBytes))
	gauge(descItems, float64(now.Items))
	gauge(descAge, now.Age.Seconds())
	gauge(descWaiting, float64(now.Waiting))
	counter(descReadings, now.Readings)
	counter(descRejected, now.Rejected)
	counter(descRepeated, now.Repeated)
	counter(descRefused, now.Refused)
	counter(descDamage, now.Damage.Places)
	counter(descLost, now.Damage.Items)
	gauge(descMissing, float64(now.Devices.Missing))
	counter(descKnown, now.Devices.Repeated)
	counter(descRestarts, now.Devices.Restarts)
	counter(descUncount, now.Devices.Uncounted)
	failing := 0.0
	if now.Failing != nil {
		failing = 1
	}
	gauge(descFailing, failing)
}
