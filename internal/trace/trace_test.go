package trace_test

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/trace"
	"weir.example/weir/internal/trace/tracetest"
)

// Without an endpoint there is no tracer, and using a nil tracer costs nothing.
func TestOff(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	tracer, err := trace.Open(t.Context(), trace.Config{Sample: 1})
	if err != nil || tracer != nil {
		t.Fatalf("tracer %v, error %v", tracer, err)
	}
	records := []*kgo.Record{{Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}}}}
	client := tracer.Client("id", "group")
	var whole trace.Whole
	allocations := testing.AllocsPerRun(100, func() {
		if tracer.Sampler().Take() || client.Process(records, "p", nil) != nil {
			t.Error("a record is followed")
		}
		trace.End(nil, "")
		whole.End("")
	})
	if allocations > 0 || records[0].Context != nil {
		t.Errorf("%v allocations", allocations)
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}

// OpenTelemetry's environment variables turn tracing on and off.
func TestEnvironment(t *testing.T) {
	receiver := tracetest.NewReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	if send(t, trace.Config{Sample: 1}); len(receiver.Spans()) != 1 {
		t.Errorf("spans %v", receiver.Spans())
	}
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if c := (trace.Config{}); c.On() {
		t.Error("tracing is on with OTEL_SDK_DISABLED=true")
	}
}

// send traces one reading and closes the tracer.
func send(t *testing.T, c trace.Config) {
	t.Helper()
	tracer, err := trace.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	trace.End([]trace.Span{tracer.Ingest(&kgo.Record{}, "test")}, "timeout")
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []trace.Config{{Endpoint: "127.0.0.1:4318"}, {Endpoint: "grpc://127.0.0.1:4317"}, {Sample: 1.5}, {Sample: -1}} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// Spans that the receiver rejects are counted and logged once.
func TestLostSpans(t *testing.T) {
	receiver := tracetest.NewReceiver(t)
	receiver.Refuse(true)
	var log bytes.Buffer
	metrics := prometheus.NewRegistry()
	send(t, trace.Config{Endpoint: receiver.URL, Sample: 1, Registry: metrics, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), "spans lost") {
		t.Errorf("log: %q", log.String())
	}
	want := `# HELP weir_trace_spans_total Spans exported to the OTLP receiver, by outcome: sent or lost.
# TYPE weir_trace_spans_total counter
weir_trace_spans_total{outcome="lost"} 1
weir_trace_spans_total{outcome="sent"} 0
`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	receiver.Refuse(false)
	send(t, trace.Config{Endpoint: receiver.URL + "/v1/traces", Sample: 1})
	spans := receiver.Spans()
	if len(spans) != 1 || spans[0].Name != "ingest" || spans[0].Error != "the transaction was aborted: timeout" {
		t.Errorf("spans %+v", spans)
	}
}

// Readings are sampled at random, in the configured share.
func TestSampler(t *testing.T) {
	const readings = 1_000_000
	for _, share := range []float64{0, 0.001, 0.3, 1} {
		tracer, err := trace.Open(t.Context(), trace.Config{Endpoint: "http://127.0.0.1:1", Sample: share})
		if err != nil {
			t.Fatal(err)
		}
		sampler, taken := tracer.Sampler(), 0
		for range readings {
			if sampler.Take() {
				taken++
			}
		}
		if err := tracer.Close(); err != nil {
			t.Error(err)
		}
		// Six standard deviations: once in half a billion runs.
		if off := math.Abs(float64(taken) - share*readings); off > 6*math.Sqrt(readings*share*(1-share)) {
			t.Errorf("%d of %d readings are followed with a share of %v", taken, readings, share)
		}
	}
}
