package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/node"
	"weir.example/weir/internal/trace"
)

// traceFlags say whether readings are followed, and where what is seen of them goes.
type traceFlags struct{ config trace.Config }

func (t *traceFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.config.Endpoint, "otlp-endpoint", "", "address of an OpenTelemetry receiver (OTLP over HTTP, such as http://127.0.0.1:4318) that gets traces of single readings (default: OTEL_EXPORTER_OTLP_ENDPOINT, else off)")
	f.Float64Var(&t.config.Sample, "otlp-sample", 0.001, "share of the readings that are traced from their source on, 0 to 1; those that come with a sampled traceparent are in any case")
}

// open lets the clients of a process follow readings, where that is asked for. Call done at the
// end.
func (t *traceFlags) open(ctx context.Context, admin *node.Admin, log *slog.Logger) (done func(), err error) {
	t.config.Logger, t.config.Registry, t.config.Version = log, admin.Registry, version()
	if err := t.config.Validate(); err != nil {
		return nil, usage(err)
	}
	admin.Tracer, err = trace.Open(ctx, t.config)
	return func() {
		if err := admin.Tracer.Close(); err != nil {
			log.Warn("spans are lost", "err", err)
		}
	}, err
}
