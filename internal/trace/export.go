package trace

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// exporter reports export errors to the log and the metrics. The SDK would only call a global
// handler.
type exporter struct {
	sdk.SpanExporter
	log    *slog.Logger
	spans  *prometheus.CounterVec // by outcome
	failed atomic.Bool            // since the last successful export
}

func newExporter(next sdk.SpanExporter, c Config) *exporter {
	e := &exporter{SpanExporter: next, log: c.Logger, spans: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_trace_spans_total", Help: "Spans exported to the OTLP receiver, by outcome: sent or lost.",
	}, []string{"outcome"})}
	for _, outcome := range []string{"sent", "lost"} {
		e.spans.WithLabelValues(outcome)
	}
	if c.Registry != nil {
		c.Registry.MustRegister(e.spans)
	}
	return e
}

// ExportSpans implements sdk.SpanExporter. Spans that can't be exported are dropped; readings are
// not affected.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.spans.WithLabelValues("lost").Add(float64(len(spans)))
		if !e.failed.Swap(true) {
			e.log.Warn("spans lost: export to the OTLP receiver failed", "err", err, "spans", len(spans))
		}
		return nil
	}
	e.spans.WithLabelValues("sent").Add(float64(len(spans)))
	if e.failed.Swap(false) {
		e.log.Info("OTLP receiver accepts spans again")
	}
	return nil
}
