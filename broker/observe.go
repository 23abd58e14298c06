package broker

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"

	"weir/trace"
)

// Observer sees what the clients of a process do: connections, requests, bytes, buffers, and the way of single records.
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

// Observe is the option of a long-lived client by which the configuration's observer sees it. Part is the folder that the client
// belongs to; name tells it from the part's other clients that live at the same time.
func (c *Config) Observe(part, name string) kgo.Opt {
	if c.Observer == nil {
		return kgo.WithHooks()
	}
	return kgo.WithHooks(kprom.NewMetrics("weir_broker_client",
		kprom.Registerer(&successive{c.Observer.Registry}),
		kprom.WithStaticLabel(prometheus.Labels{"part": part, "client": name}),
		kprom.FetchAndProduceDetail(kprom.ByTopic, kprom.Batches, kprom.Records, kprom.CompressedBytes, kprom.UncompressedBytes, kprom.ConsistentNaming),
		kprom.Histograms(kprom.RequestDurationE2E)))
}

// successive lets the metrics of a new client take the place of those of the client before, which may still be closing.
type successive struct{ prometheus.Registerer }

func (s *successive) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		err := s.Register(c)
		var already prometheus.AlreadyRegisteredError
		if errors.As(err, &already) {
			s.Unregister(already.ExistingCollector)
			err = s.Register(c)
		}
		if err != nil {
			panic(err) // two metrics of one name that differ: a mistake in this program
		}
	}
}
