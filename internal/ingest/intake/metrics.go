package intake

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Counts are what arrived by a protocol since the start of this process.
type Counts struct {
	Messages  int64 `json:"messages"`  // messages and requests
	Readings  int64 `json:"readings"`  // in them
	Rejected  int64 `json:"rejected"`  // parts that became dead letters
	Ignored   int64 `json:"ignored"`   // messages that were ignored on purpose
	Skipped   int64 `json:"skipped"`   // fields and points without a number
	Refused   int64 `json:"refused"`   // points of metrics that the answer refuses
	Exemplars int64 `json:"exemplars"` // of metrics, which are ignored
	Missing   int64 `json:"missing"`   // Sparkplug messages that did not arrive, by their sequence numbers
}

// countsOf returns the counts of a protocol. The caller holds the lock.
func (in *Intake) countsOf(protocol string) *Counts {
	c := in.counts[protocol]
	if c == nil {
		c = &Counts{}
		in.counts[protocol] = c
	}
	return c
}

// Counts returns the counts by protocol.
func (in *Intake) Counts() map[string]Counts {
	in.mu.Lock()
	defer in.mu.Unlock()
	all := make(map[string]Counts, len(in.counts))
	for protocol, c := range in.counts {
		all[protocol] = *c
	}
	return all
}

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("weir_ingest_"+name, help, []string{"protocol"}, nil)
}

var (
	descMessages  = desc("messages_total", "Messages and requests that were mapped.")
	descReadings  = desc("readings_total", "Readings in messages and requests, stored or not.")
	descRejected  = desc("rejected_total", "Parts of messages and requests that are not readings, for the dead letters.")
	descIgnored   = desc("ignored_total", "Messages that the rules ignore on purpose.")
	descMissing   = desc("sparkplug_missing_total", "Sparkplug messages that did not arrive, by the sequence numbers of their nodes.")
	descSkipped   = desc("skipped_fields_total", "Fields of messages that are neither numbers nor booleans, and points of metrics without a value.")
	descRefused   = desc("refused_points_total", "Points of metrics that are refused in the answer, such as histograms.")
	descExemplars = desc("ignored_exemplars_total", "Exemplars of metrics, which are ignored.")
)

// Describe implements prometheus.Collector.
func (in *Intake) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descMessages, descReadings, descRejected, descIgnored, descSkipped, descMissing, descRefused, descExemplars} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (in *Intake) Collect(to chan<- prometheus.Metric) {
	all := in.Counts()
	for _, protocol := range slices.Sorted(maps.Keys(all)) {
		c := all[protocol]
		counter := func(d *prometheus.Desc, v int64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), protocol)
		}
		counter(descMessages, c.Messages)
		counter(descReadings, c.Readings)
		counter(descRejected, c.Rejected)
		counter(descIgnored, c.Ignored)
		counter(descSkipped, c.Skipped)
		counter(descMissing, c.Missing)
		counter(descRefused, c.Refused)
		counter(descExemplars, c.Exemplars)
	}
}
