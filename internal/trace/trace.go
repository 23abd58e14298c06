// Package trace follows sampled readings from their source to the results derived from them, with
// OpenTelemetry spans that are exported over OTLP. The trace context travels in record headers (W3C
// Trace Context).
//
//	trace.go   Config, Open, Close
//	follow.go  sampling, and the spans of records
//	export.go  metrics and logs of the exporter
//
// Whether a reading is followed is decided when it is ingested. Readings that are not followed have
// no overhead.
package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config configures tracing. OpenTelemetry's other environment variables for OTLP (headers,
// certificates, compression, timeouts, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) apply as well.
type Config struct {
	Endpoint string  // URL of an OTLP receiver over HTTP; default OTEL_EXPORTER_OTLP_ENDPOINT, without which tracing is off
	Sample   float64 // share of readings that are followed, 0 to 1
	Version  string  // of this program

	Logger   *slog.Logger
	Registry prometheus.Registerer // of the exporter's metrics; default none
}

// Environment variables that turn tracing on and off: see OpenTelemetry's specification of the OTLP
// exporter.
const (
	endpointVariable       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	tracesEndpointVariable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	disabledVariable       = "OTEL_SDK_DISABLED"
)

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// On reports whether tracing is on.
func (c Config) On() bool {
	if c.Endpoint != "" {
		return true
	}
	if strings.EqualFold(os.Getenv(disabledVariable), "true") {
		return false
	}
	return os.Getenv(endpointVariable) != "" || os.Getenv(tracesEndpointVariable) != ""
}

// Validate returns an error for the first invalid setting.
func (c Config) Validate() error {
	if !(c.Sample >= 0 && c.Sample <= 1) {
		return fmt.Errorf("invalid share of readings to trace %v: choose 0 to 1", c.Sample)
	}
	if c.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("invalid OTLP endpoint %q: expected a URL such as http://127.0.0.1:4318", c.Endpoint)
	}
	return nil
}

// Tracer creates spans for followed readings. A nil Tracer follows none.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	sample   float64
}

// Open returns a tracer, or nil if tracing is off. It does not wait for the receiver. The caller
// must close the tracer.
func Open(ctx context.Context, c Config) (*Tracer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if !c.On() {
		return nil, nil //nolint:nilnil // a nil tracer is disabled
	}
	c = c.withDefaults()
	var options []otlptracehttp.Option
	if c.Endpoint != "" {
		options = append(options, otlptracehttp.WithEndpointURL(tracesURL(c.Endpoint)))
	}
	client, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("open OTLP exporter: %w", err)
	}
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "weir"), attribute.String("service.version", c.Version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("detect OpenTelemetry resource: %w", err)
	}
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(newExporter(client, c), sdk.WithBatchTimeout(time.Second)),
		sdk.WithResource(res),
		sdk.WithSampler(sdk.ParentBased(sdk.AlwaysSample())), // spans are created for followed readings only
	)
	return &Tracer{provider: provider, tracer: provider.Tracer("weir"), sample: c.Sample}, nil
}

// tracesURL adds the traces path to a receiver's address that has no path.
func tracesURL(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err == nil && strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
		return u.String()
	}
	return endpoint
}

// closeTimeout bounds how long a process waits for the receiver when it exits.
const closeTimeout = 3 * time.Second

// Close exports the remaining spans, waiting at most three seconds.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("export the remaining spans: %w", err)
	}
	return nil
}
