package broker

import (
	"errors"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"

	"weir.example/weir/internal/trace"
)

// Observer sees what the clients of a process do: connections, requests, bytes, buffers, and the
// way of single records.
type Observer struct {
	Registry prometheus.Registerer // of the clients' metrics
	Tracer   *trace.Tracer         // nil: no record is followed
}

// Tracer follows records of the configuration's clients; nil where none are.
func (c *Config) Tracer() *trace.Tracer {
	if c.Observer == nil {
		return nil
	}
	return c.Observer.Tracer
}

// Observe is the option of a long-lived client by which the configuration's observer sees it. Part
// is the folder that the client belongs to; name tells it from the part's other clients that live
// at the same time.
func (c *Config) Observe(part, name string) kgo.Opt {
	if c.Observer == nil {
		return kgo.WithHooks()
	}
	labels := prometheus.Labels{"part": part, "client": name}
	return kgo.WithHooks(kprom.NewMetrics("weir_broker_client",
		kprom.Registerer(&successive{c.Observer.Registry, labels}),
		kprom.WithStaticLabel(labels),
		kprom.FetchAndProduceDetail(kprom.ByTopic, kprom.Batches, kprom.Records, kprom.CompressedBytes, kprom.UncompressedBytes, kprom.ConsistentNaming),
		kprom.Histograms(kprom.RequestDurationE2E)))
}

// successive lets the metrics of a new client take the place of those of the client before, which
// may still be closing.
type successive struct {
	prometheus.Registerer
	labels prometheus.Labels
}

// Unregister implements prometheus.Registerer.
func (s *successive) Unregister(c prometheus.Collector) bool {
	return s.Registerer.Unregister(s.named(c))
}

// MustRegister implements prometheus.Registerer.
func (s *successive) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		c = s.named(c)
		err := s.Register(c)
		var already prometheus.AlreadyRegisteredError
		if errors.As(err, &already) {
			s.Registerer.Unregister(already.ExistingCollector)
			err = s.Register(c)
		}
		if err != nil {
			panic(err) // two metrics of one name that differ: a mistake in this program
		}
	}
}

// named gives two gauges of kprom names without _total, which is for counters.
func (s *successive) named(c prometheus.Collector) prometheus.Collector {
	gauge, ok := c.(prometheus.GaugeFunc)
	if !ok {
		return c
	}
	for name, help := range map[string]string{
		"weir_broker_client_buffered_produce_records": "Records in the client that are waiting to be written.",
		"weir_broker_client_buffered_fetch_records":   "Records in the client that are waiting to be processed.",
	} {
		if strings.Contains(gauge.Desc().String(), strconv.Quote(name+"_total")) {
			return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: s.labels}, func() float64 {
				var now dto.Metric
				_ = gauge.Write(&now) // of a gauge's value
				return now.GetGauge().GetValue()
			})
		}
	}
	return c
}
