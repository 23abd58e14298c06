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

// Observer collects metrics of a process's clients (connections, requests, bytes, buffers) and
// traces single records.
type Observer struct {
	Registry prometheus.Registerer // for the clients' metrics
	Tracer   *trace.Tracer         // nil: no record is traced
}

// Tracer traces records of the configuration's clients; nil if tracing is off.
func (c *Config) Tracer() *trace.Tracer {
	if c.Observer == nil {
		return nil
	}
	return c.Observer.Tracer
}

// Observe returns the option that reports a long-lived client to the configuration's observer. part
// is the package that the client belongs to; name distinguishes it from the part's other clients.
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

// successive replaces the metrics of the previous client, which may still be closing, with a new
// client's.
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
			panic(err) // two different metrics with the same name: a bug
		}
	}
}

// named removes _total, a suffix for counters, from the names of two of kprom's gauges.
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
				_ = gauge.Write(&now) // cannot fail for a gauge
				return now.GetGauge().GetValue()
			})
		}
	}
	return c
}
