// Package trace follows single readings from their source to what became of them: OpenTelemetry
// spans, sent over OTLP, whose context travels in the headers of records (W3C Trace Context).
//
//	trace.go  Config, Open: where spans go
//	follow.go which records are followed, and how they find each other
//	export.go what becomes of the spans, for operators
//
// A reading is followed or not from the moment it is taken in; nothing is done for the others, and
// nothing at all where tracing is off.
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

// Config says where spans go and how many readings are followed. What else OpenTelemetry's
// environment variables say of OTLP (headers, certificates, compression, timeouts,
// OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) holds as well.
type Config struct {
	Endpoint string  // URL of a receiver of OTLP over HTTP; default what OTEL_EXPORTER_OTLP_ENDPOINT says, and without it tracing is off
	Sample   float64 // share of the readings that is followed, 0 to 1
	Version  string  // of this program

	Logger   *slog.Logger
	Registry prometheus.Registerer // of the exporter's metrics; default none
}

// Variables of the environment that turn tracing on: see OpenTelemetry's specification of the OTLP
// exporter.
const (
	endpointVariable       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	tracesEndpointVariable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	disabledVariable       = "OTEL_SDK_DISABLED"
)

// On reports whether anything is followed.
func (c *Config) On() bool {
	if c.Endpoint != "" {
		return true
	}
	if strings.EqualFold(os.Getenv(disabledVariable), "true") {
		return false
	}
	return os.Getenv(endpointVariable) != "" || os.Getenv(tracesEndpointVariable) != ""
}

// Validate reports the first setting that can't work.
func (c *Config) Validate() error {
	if c.Sample < 0 || c.Sample > 1 {
		return fmt.Errorf("a share of %v of the readings can't be followed: choose 0 to 1", c.Sample)
	}
	if c.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("the OTLP endpoint %q is no URL, such as http://127.0.0.1:4318", c.Endpoint)
	}
	return nil
}

// Tracer follows readings. A nil one follows none.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	sample   float64
}

// Open returns a tracer, or nil where tracing is off. It does not wait for the receiver. Call Close
// at the end.
func Open(ctx context.Context, c Config) (*Tracer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if !c.On() {
		return nil, nil //nolint:nilnil // a nil tracer is one that is off
	}
	var options []otlptracehttp.Option
	if c.Endpoint != "" {
		options = append(options, otlptracehttp.WithEndpointURL(tracesURL(c.Endpoint)))
	}
	to, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("open the OTLP exporter: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "weir"), attribute.String("service.version", c.Version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describe this process to OpenTelemetry: %w", err)
	}
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(newExporter(to, c), sdk.WithBatchTimeout(time.Second)),
		sdk.WithResource(about),
		sdk.WithSampler(sdk.ParentBased(sdk.AlwaysSample())), // only what is followed gets here
	)
	return &Tracer{provider: provider, tracer: provider.Tracer("weir"), sample: c.Sample}, nil
}

// tracesURL adds to the address of a receiver the path of traces, where it has none.
func tracesURL(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err == nil && strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
		return u.String()
	}
	return endpoint
}

// closeWithin is how long a process that ends waits for a receiver.
const closeWithin = 3 * time.Second

// Close sends what is left, within three seconds.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last spans: %w", err)
	}
	return nil
}
