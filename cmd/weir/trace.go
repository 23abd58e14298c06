package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/node"
	"weir.example/weir/internal/trace"
)

// traceFlags configure the tracing of individual readings.
type traceFlags struct{ config trace.Config }

func (t *traceFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.config.Endpoint, "otlp-endpoint", "", "address of an OpenTelemetry receiver (OTLP over HTTP, such as http://127.0.0.1:4318) for traces of individual readings (default: OTEL_EXPORTER_OTLP_ENDPOINT, else off)")
	f.Float64Var(&t.config.Sample, "otlp-sample", 0.001, "share of readings to trace from their source, 0 to 1; readings with a sampled traceparent are always traced")
}

// open enables tracing for the clients of a process, if configured. Call done at the end.
func (t *traceFlags) open(ctx context.Context, admin *node.Admin, log *slog.Logger) (done func(), err error) {
	t.config.Logger, t.config.Registry, t.config.Version = log, admin.Registry, version()
	if err := t.config.Validate(); err != nil {
		return nil, usage(err)
	}
	admin.Tracer, err = trace.Open(ctx, t.config)
	return func() {
		if err := admin.Tracer.Close(); err != nil {
			log.Warn("spans lost", "err", err)
		}
	}, err
}
