package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/exp/api/remote"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	resources "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/promtest"
	"weir.example/weir/reading"
)

const at = 1_800_000_000_000 // ms

func attributes(pairs ...string) (all []*common.KeyValue) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, &common.KeyValue{Key: pairs[i], Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: pairs[i+1]}}})
	}
	return all
}

func point(value float64, pairs ...string) *metrics.NumberDataPoint {
	return &metrics.NumberDataPoint{TimeUnixNano: at * 1e6, Value: &metrics.NumberDataPoint_AsDouble{AsDouble: value}, Attributes: attributes(pairs...)}
}

func gauge(name, unit string, all ...*metrics.NumberDataPoint) *metrics.Metric {
	return &metrics.Metric{Name: name, Unit: unit, Data: &metrics.Metric_Gauge{Gauge: &metrics.Gauge{DataPoints: all}}}
}

func resourceOf(pairs []string, all ...*metrics.Metric) *metrics.ResourceMetrics {
	return &metrics.ResourceMetrics{Resource: &resources.Resource{Attributes: attributes(pairs...)}, ScopeMetrics: []*metrics.ScopeMetrics{{Metrics: all}}}
}

func export(all ...*metrics.ResourceMetrics) *collector.ExportMetricsServiceRequest {
	return &collector.ExportMetricsServiceRequest{ResourceMetrics: all}
}

func marshal(t *testing.T, m proto.Message) string {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Points are readings or refused by name, in both encodings alike.
func TestOTLP(t *testing.T) {
	host := []string{"host.name", "press"}
	whole := point(0)
	whole.Value = &metrics.NumberDataPoint_AsInt{AsInt: -7}
	nothing, timeless, stale := point(1), point(1), point(math.NaN())
	nothing.Flags, timeless.TimeUnixNano = 1, 0
	nested := point(1)
	nested.Attributes = []*common.KeyValue{{Key: "list", Value: &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{}}}}}
	exemplary := point(2)
	exemplary.Exemplars = []*metrics.Exemplar{{}}
	for name, test := range map[string]struct {
		yaml    string
		sent    *collector.ExportMetricsServiceRequest
		stored  []string
		refused int64
		reason  string
	}{
		"a gauge": {"", export(resourceOf(host, gauge("temp", "Cel", point(21.5)))), []string{"press temp 21.5 Cel 1800000000000 #0"}, 0, ""},
		"a sum": {"", export(resourceOf(host, &metrics.Metric{Name: "n", Data: &metrics.Metric_Sum{Sum: &metrics.Sum{DataPoints: []*metrics.NumberDataPoint{whole}}}})),
			[]string{"press n -7  1800000000000 #0"}, 0, ""},
		"attributes and the service": {"", export(resourceOf([]string{"service.name", "oven", "host.name", "h"}, gauge("cpu", "1", point(1, "state", "idle", "cpu", "0")))),
			[]string{"h cpu,cpu=0,state=idle,service.name=oven 1 1 1800000000000 #0"}, 0, ""},
		"the instance is before the host": {"", export(resourceOf([]string{"host.name", "h", "service.instance.id", "i"}, gauge("m", "", point(1)))), []string{"i m 1  1800000000000 #0"}, 0, ""},
		"a point's attribute":             {"", export(resourceOf(host, gauge("m", "", point(1, "device", "d")))), []string{"d m 1  1800000000000 #0"}, 0, ""},
		"other names": {"metrics: { device: [line, unit], resource: [], drop: [pid] }", export(resourceOf([]string{"unit", "u", "service.name", "s"}, gauge("m", "", point(1, "pid", "7", "a", "b")))),
			[]string{"u m,a=b 1  1800000000000 #0"}, 0, ""},
		"escapes":       {"", export(resourceOf(host, gauge("m", "", point(1, "a", "1,b=2"), point(2, "a", "1", "b", "2")))), []string{`press m,a=1\,b\=2 1  1800000000000 #0`, "press m,a=1,b=2 2  1800000000000 #1"}, 0, ""},
		"no value":      {"", export(resourceOf(host, gauge("m", "", nothing, stale, &metrics.NumberDataPoint{TimeUnixNano: at * 1e6}))), nil, 0, ""},
		"an exemplar":   {"", export(resourceOf(host, gauge("m", "", exemplary))), []string{"press m 2  1800000000000 #0"}, 0, ""},
		"no device":     {"", export(resourceOf(nil, gauge("m", "", point(1)))), nil, 1, "metrics.device"},
		"no time":       {"", export(resourceOf(host, gauge("m", "", timeless, point(2)))), []string{"press m 2  1800000000000 #0"}, 1, "time_unix_nano"},
		"infinite":      {"", export(resourceOf(host, gauge("m", "", point(math.Inf(1))))), nil, 1, "finite"},
		"no name":       {"", export(resourceOf(host, gauge("", "", point(1)))), nil, 1, "sensor"},
		"a long name":   {"", export(resourceOf(host, gauge(strings.Repeat("m", 257), "", point(1)))), nil, 1, "metrics.drop"},
		"a label twice": {"", export(resourceOf(host, gauge("m", "", point(1, "a", "1", "a", "2")))), nil, 1, "occurs twice"},
		"another era":   {"", export(resourceOf(host, gauge("m", "", &metrics.NumberDataPoint{TimeUnixNano: 1, Value: &metrics.NumberDataPoint_AsInt{AsInt: 1}}))), nil, 1, "1990"},
		"a list":        {"", export(resourceOf(host, gauge("m", "", nested))), []string{"press m,list=2a00 1  1800000000000 #0"}, 0, ""},
		"two processes": {"", export(resourceOf([]string{"host.name", "h", "process.pid", "1"}, gauge("m", "", point(1))), resourceOf([]string{"host.name", "h", "process.pid", "2"}, gauge("m", "", point(2)))), []string{"h m 1  1800000000000 #0"}, 1, "two series"},
		"one twice":     {"", export(resourceOf(host, gauge("m", "", point(1))), resourceOf(host, gauge("m", "", point(2)))), []string{"press m 1  1800000000000 #0", "press m 2  1800000000000 #1"}, 0, ""},
		"no data":       {"", export(resourceOf(host, &metrics.Metric{Name: "m"})), nil, 1, "no data"},
		"nothing":       {"", export(), nil, 0, ""},
		"other kinds": {"", export(resourceOf(host,
			&metrics.Metric{Name: "h", Data: &metrics.Metric_Histogram{Histogram: &metrics.Histogram{DataPoints: make2[metrics.HistogramDataPoint]()}}},
			&metrics.Metric{Name: "e", Data: &metrics.Metric_ExponentialHistogram{ExponentialHistogram: &metrics.ExponentialHistogram{DataPoints: make2[metrics.ExponentialHistogramDataPoint]()}}},
			&metrics.Metric{Name: "s", Data: &metrics.Metric_Summary{Summary: &metrics.Summary{DataPoints: make2[metrics.SummaryDataPoint]()}}},
			gauge("m", "", point(1)))), []string{"press m 1  1800000000000 #0"}, 6, `6 points were refused, and 1 were stored: do not send them again; "h" is a histogram`},
	} {
		t.Run(name, func(t *testing.T) {
			inJSON, err := protojson.Marshal(test.sent)
			if err != nil {
				t.Fatal(err)
			}
			for media, body := range map[string]string{mediaProtobuf: marshal(t, test.sent), mediaJSON: string(inJSON)} {
				h, items := serve(t, test.yaml)
				w := post(t, h, "/v1/metrics", body, "Content-Type", media)
				var a collector.ExportMetricsServiceResponse
				if media == mediaJSON {
					err = protojson.Unmarshal(w.Body.Bytes(), &a)
				} else {
					err = proto.Unmarshal(w.Body.Bytes(), &a)
				}
				if err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != media {
					t.Fatalf("%d %q: %v", w.Code, w.Body, err)
				}
				if got := items(); !slices.Equal(got, test.stored) {
					t.Errorf("%s: stored %q, want %q", media, got, test.stored)
				}
				if p := a.GetPartialSuccess(); p.GetRejectedDataPoints() != test.refused || !strings.Contains(p.GetErrorMessage(), test.reason) {
					t.Errorf("%s: %v, want %d refused and %q", media, p, test.refused, test.reason)
				}
			}
		})
	}
}

func make2[T any]() []*T { return []*T{new(T), new(T)} }

// A body that is not an OTLP request is refused with a google.rpc.Status in the sender's encoding.
func TestOTLPRefused(t *testing.T) {
	deep := []byte{}
	for range maxNested { // kvlists in kvlists
		deep = protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType),
			protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), deep)))
	}
	for _, number := range []protowire.Number{2, 1, 1, 1} { // value of an attribute of a resource
		deep = protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), deep)
	}
	for _, test := range []struct {
		media, body string
		status      int
		want        string
	}{
		{mediaProtobuf, "\xff", 400, "protobuf"},
		{mediaProtobuf, "\x0a\x05", 400, "protobuf"},
		{mediaProtobuf, string(deep), 400, "nested"},
		{mediaProtobuf, strings.Repeat("\x0a\x00", maxParts+1), 413, "parts"},
		{mediaJSON, "{", 400, "JSON"},
		{mediaJSON, `{"resourceMetrics":[` + strings.Repeat("{},", maxParts) + `{}]}`, 413, "parts"},
		{mediaJSON, `{"resourceMetrics":` + strings.Repeat(`[`, 100_000), 400, "JSON"},
		{"text/plain", "x", 415, "content type"},
		{"", "x", 415, "Content-Type"},
	} {
		h, items := serve(t, "")
		w := post(t, h, "/v1/metrics", test.body, "Content-Type", test.media)
		message := ""
		if w.Header().Get("Content-Type") == mediaJSON {
			var a struct{ Message string }
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
				t.Error(err)
			}
			message = a.Message
		} else if err := eachField(w.Body.Bytes(), func(f *field) error {
			if f.is(2, protowire.BytesType) {
				message = string(f.bytes)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if w.Code != test.status || !strings.Contains(message, test.want) || len(items()) > 0 {
			t.Errorf("%s %.20q: %d %q, want %d and %q", test.media, test.body, w.Code, message, test.status, test.want)
		}
	}
}

// What a sender should repeat is answered so that OTLP and remote write let it, and not with 429 or
// 409, after which Prometheus drops samples.
func TestMetricsAreRetried(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusConflict, http.StatusServiceUnavailable} {
		for _, write := range []func(http.ResponseWriter, *http.Request, *answer){otlpAnswer, remoteAnswer} {
			w := httptest.NewRecorder()
			write(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil), &answer{Status: status, Error: "x"})
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
				t.Errorf("%d becomes %d with Retry-After %q", status, w.Code, w.Header().Get("Retry-After"))
			}
		}
	}
}

// OpenTelemetry's own exporter delivers, and its histogram is refused by name.
func TestOpenTelemetrySDK(t *testing.T) {
	h, items := serve(t, "")
	failed := make(chan string, 10)
	server := httptest.NewServer(h)
	defer server.Close()
	exporter, err := otlpmetrichttp.New(t.Context(), otlpmetrichttp.WithEndpointURL(server.URL+"/v1/metrics"), otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
	if err != nil {
		t.Fatal(err)
	}
	reader := sdk.NewPeriodicReader(exporter, sdk.WithInterval(time.Hour))
	provider := sdk.NewMeterProvider(sdk.WithReader(reader), sdk.WithResource(resource.NewSchemaless(attribute.String("service.instance.id", "press-7"))))
	meter := provider.Meter("test")
	counter, err := meter.Int64Counter("parts", metric.WithUnit("{part}"))
	if err != nil {
		t.Fatal(err)
	}
	histogram, err := meter.Float64Histogram("pressure")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3, metric.WithAttributes(attribute.Int("line", 4)))
	histogram.Record(t.Context(), 1)
	if err := provider.ForceFlush(t.Context()); err != nil {
		failed <- err.Error()
	}
	if got := items(); len(got) != 1 || !strings.HasPrefix(got[0], "press-7 parts,line=4 3 {part} ") {
		t.Errorf("stored %q", got)
	}
	select {
	case text := <-failed:
		if !strings.Contains(text, `"pressure" is a histogram`) {
			t.Errorf("the exporter failed: %s", text)
		}
	default:
		t.Error("the exporter was not told that a histogram is refused")
	}
	if err := provider.Shutdown(context.WithoutCancel(t.Context())); err == nil {
		t.Log("the last export had no histogram")
	}
}

// series1 is a TimeSeries of remote write 1.0.
func series1(labels []string, samples ...any) []byte {
	var s []byte
	for i := 0; i < len(labels); i += 2 {
		l := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), labels[i])
		l = protowire.AppendString(protowire.AppendTag(l, 2, protowire.BytesType), labels[i+1])
		s = protowire.AppendBytes(protowire.AppendTag(s, 1, protowire.BytesType), l)
	}
	for i := 0; i < len(samples); i += 2 {
		b := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(samples[i].(float64)))
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(samples[i+1].(int)))
		s = protowire.AppendBytes(protowire.AppendTag(s, 2, protowire.BytesType), b)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), s)
}

// series2 is the same as a Request of remote write 2.0.
func series2(labels []string, samples ...any) string {
	table := []string{"", "Cel"}
	s := &writev2.TimeSeries{Metadata: &writev2.Metadata{UnitRef: 1}}
	for _, text := range labels {
		s.LabelsRefs = append(s.LabelsRefs, uint32(len(table)))
		table = append(table, text)
	}
	for i := 0; i < len(samples); i += 2 {
		s.Samples = append(s.Samples, &writev2.Sample{Value: samples[i].(float64), Timestamp: int64(samples[i+1].(int))})
	}
	b, err := proto.Marshal(&writev2.Request{Symbols: table, Timeseries: []*writev2.TimeSeries{s}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func snap(body string) string { return string(snappy.Encode(nil, []byte(body))) }

var staleNaN = math.Float64frombits(0x7ff0000000000002)

func TestRemoteWrite(t *testing.T) {
	var many []string
	for i := range maxLabels + 1 {
		many = append(many, fmt.Sprint("l", i), "v")
	}
	for name, test := range map[string]struct {
		labels  []string
		samples []any
		status  int
		stored  []string // with the unit of 2.0
		want    string
	}{
		"a gauge":       {[]string{"__name__", "temp", "instance", "h:1", "job", "node"}, []any{21.5, at, 22.0, at + 1}, 204, []string{"h:1 temp,job=node 21.5 Cel 1800000000000 #0", "h:1 temp,job=node 22 Cel 1800000000001 #1"}, ""},
		"not in order":  {[]string{"job", "node", "__name__", "temp", "instance", "h:1"}, []any{1.0, at}, 204, []string{"h:1 temp,job=node 1 Cel 1800000000000 #0"}, ""},
		"a bucket":      {[]string{"__name__", "x_bucket", "instance", "h", "le", "+Inf"}, []any{4.0, at}, 204, []string{"h x_bucket,le=+Inf 4 Cel 1800000000000 #0"}, ""},
		"stale":         {[]string{"__name__", "m", "instance", "h"}, []any{staleNaN, at, 1.0, at, math.NaN(), at}, 204, []string{"h m 1 Cel 1800000000000 #0"}, ""},
		"an empty one":  {[]string{"__name__", "m", "instance", "", "host", "h"}, []any{1.0, at}, 204, []string{"h m 1 Cel 1800000000000 #0"}, ""},
		"no device":     {[]string{"__name__", "m"}, []any{1.0, at}, 400, nil, `"m": nothing names its device`},
		"no name":       {[]string{"instance", "h"}, []any{1.0, at}, 400, nil, "__name__"},
		"two names":     {[]string{"__name__", "m", "__name__", "n", "instance", "h"}, []any{1.0, at}, 400, nil, "twice"},
		"a label twice": {[]string{"__name__", "m", "a", "n", "a", "n", "instance", "h"}, []any{1.0, at}, 400, nil, "twice"},
		"partly":        {[]string{"__name__", "m", "instance", "h"}, []any{1.0, at, math.Inf(1), at, 2.0, 5}, 400, []string{"h m 1 Cel 1800000000000 #0"}, "2 points were refused, and 1 were stored"},
		"not UTF-8":     {[]string{"__name__", "m", "instance", "h\xff"}, []any{1.0, at}, 400, nil, "UTF-8"},
		"many labels":   {append([]string{"__name__", "m", "instance", "h"}, many...), []any{1.0, at}, 400, nil, "more than 128 labels"},
		"long":          {[]string{"__name__", "m", "instance", "h", "a", strings.Repeat("x", 300)}, []any{1.0, at}, 400, nil, "metrics.drop"},
	} {
		t.Run(name, func(t *testing.T) {
			for media, body := range map[string]string{
				mediaProtobuf: string(series1(test.labels, test.samples...)),
				mediaProtobuf + ";proto=io.prometheus.write.v2.Request": "",
			} {
				two := body == ""
				if two {
					if name == "not UTF-8" {
						continue // Go's own encoder refuses it
					}
					body = series2(test.labels, test.samples...)
				}
				h, items := serve(t, "")
				w := post(t, h, "/api/v1/write", snap(body), "Content-Type", media, "Content-Encoding", "snappy")
				want := slices.Clone(test.stored)
				if !two {
					for i := range want {
						want[i] = strings.Replace(want[i], " Cel ", "  ", 1)
					}
				}
				if got := items(); w.Code != test.status || !slices.Equal(got, want) || !strings.Contains(w.Body.String(), test.want) {
					t.Errorf("%s: %d %s, stored %q; want %d %q, %q", media, w.Code, w.Body, got, test.status, test.want, want)
				}
				if got := w.Header().Get("X-Prometheus-Remote-Write-Samples-Written"); got != fmt.Sprint(len(test.stored)) {
					t.Errorf("%s: %s samples written", media, got)
				}
			}
		})
	}
}

// Bodies that are not of remote write, or that would take much memory, are refused as a whole.
func TestRemoteWriteRefused(t *testing.T) {
	one := string(series1([]string{"__name__", "m", "instance", "h"}, 1.0, at))
	const two = mediaProtobuf + ";proto=io.prometheus.write.v2.Request"
	request := func(r *writev2.Request) string { return marshal(t, r) }
	large := binary.AppendUvarint(nil, 1<<32-1)
	points := string(series1([]string{"__name__", "m", "instance", "h"}, slices.Repeat([]any{1.0, at}, maxPoints+1)...))
	for name, test := range map[string]struct {
		media, encoding, body string
		status                int
		want                  string
	}{
		"no snappy":        {mediaProtobuf, "", one, 415, "snappy"},
		"gzip":             {mediaProtobuf, "gzip", gzipped(one), 415, "snappy"},
		"JSON":             {mediaJSON, "snappy", snap("{}"), 415, "content type"},
		"another message":  {mediaProtobuf + ";proto=x.Y", "snappy", snap(one), 415, "content type"},
		"no block":         {mediaProtobuf, "snappy", "\xff\xff\xff", 400, "body"},
		"a false size":     {mediaProtobuf, "snappy", string(large) + "x", 413, "bytes"},
		"a bomb":           {mediaProtobuf, "snappy", snap(strings.Repeat("\x00", 64<<20)), 413, "bytes"},
		"not protobuf":     {mediaProtobuf, "snappy", snap("\x0a\x7f"), 400, "protobuf"},
		"not protobuf 2":   {two, "snappy", snap("\x2a\x7f"), 400, "protobuf"},
		"cut off within":   {mediaProtobuf, "snappy", snap(string(series1([]string{"__name__", "m", "instance", "h"}, 1.0, at)) + "\x0a\x02\x12\x05"), 400, "nothing was stored"},
		"a symbol too far": {two, "snappy", snap(request(&writev2.Request{Symbols: []string{""}, Timeseries: []*writev2.TimeSeries{{LabelsRefs: []uint32{1, 2}}}})), 400, "symbol 1 of 1"},
		"an odd label":     {two, "snappy", snap(request(&writev2.Request{Symbols: []string{""}, Timeseries: []*writev2.TimeSeries{{LabelsRefs: []uint32{0}}}})), 400, "pairs"},
		"a first symbol":   {two, "snappy", snap(request(&writev2.Request{Symbols: []string{"x"}})), 400, "first symbol"},
		"too many points":  {mediaProtobuf, "snappy", snap(points), 413, "more than 100000 points"},
		"too many symbols": {two, "snappy", snap(strings.Repeat("\x22\x00", maxParts+1)), 413, "parts"},
	} {
		h, items := serve(t, "")
		w := post(t, h, "/api/v1/write", test.body, "Content-Type", test.media, "Content-Encoding", test.encoding)
		if got := items(); w.Code != test.status || !strings.Contains(w.Body.String(), test.want) || len(got) > 0 {
			t.Errorf("%s: %d %s, stored %d; want %d and %q", name, w.Code, w.Body, len(got), test.status, test.want)
		}
	}
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

// Prometheus's own client of remote write 2.0 reads from the answer what was stored.
func TestRemoteWriteClient(t *testing.T) {
	h, items := serve(t, "")
	server := httptest.NewServer(h)
	defer server.Close()
	client, err := remote.NewAPI(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	r := &writev2.Request{Symbols: []string{"", "__name__", "temp", "instance", "h"}, Timeseries: []*writev2.TimeSeries{
		{LabelsRefs: []uint32{1, 2, 3, 4}, Samples: []*writev2.Sample{{Value: 1, Timestamp: at}, {Value: 2, Timestamp: at + 1}}, Exemplars: []*writev2.Exemplar{{Value: 1}}},
	}}
	stats, err := client.Write(t.Context(), remote.WriteV2MessageType, r)
	if err != nil || stats.Samples != 2 || stats.Histograms != 0 || stats.Exemplars != 0 || len(items()) != 2 {
		t.Errorf("%+v: %v", stats, err)
	}
	r.Timeseries = append(r.Timeseries, &writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 3, 4}, Histograms: []*writev2.Histogram{{Timestamp: at}}})
	stats, err = client.Write(t.Context(), remote.WriteV2MessageType, r)
	if err == nil || !strings.Contains(err.Error(), `"temp" is a native histogram`) || stats.Samples != 2 || len(items()) != 2 {
		t.Errorf("a histogram: %+v: %v", stats, err)
	}
}

// A real Prometheus writes what it has scraped.
func TestPrometheusWrites(t *testing.T) {
	h, items := serve(t, "")
	server := httptest.NewServer(h)
	defer server.Close()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "# TYPE temp gauge\ntemp{room=\"a,b\"} 21.5\n# TYPE parts_total counter\nparts_total 7\n")
	}))
	defer target.Close()
	address := strings.TrimPrefix(target.URL, "http://")
	promtest.Start(t, promtest.Options{Jobs: map[string][]string{"press": {address}}, RemoteWrite: server.URL + "/api/v1/write"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []string
	promtest.Eventually(ctx, t, func() error {
		all = append(all, items()...)
		for _, want := range []string{address + ` temp,job=press,room=a\,b 21.5 `, address + " parts_total,job=press 7 ", address + " up,job=press 1 "} {
			if !slices.ContainsFunc(all, func(got string) bool { return strings.HasPrefix(got, want) }) {
				return fmt.Errorf("%q is not among %d readings", want, len(all))
			}
		}
		return nil
	})
}

// A request that a sender repeats because it has seen no answer is stored once, whoever sends it,
// and also after a restart.
func TestRepeatedMetrics(t *testing.T) {
	dir := t.TempDir()
	yaml := fmt.Sprintf("spool: { dir: %q }", dir)
	otlp := marshal(t, export(resourceOf([]string{"host.name", "h"}, gauge("m", "", point(1)))))
	samples := func(ts int) string {
		return snap(string(series1([]string{"__name__", "m", "instance", "h"}, 1.0, ts)))
	}
	for run := range 2 {
		t.Run(fmt.Sprint("run ", run), func(t *testing.T) {
			h, items := serve(t, yaml)
			count := func() (n int) {
				for got := items(); len(got) > 0; got = items() {
					n += len(got)
				}
				return n
			}
			before := count()
			if want := run * 101; before != want {
				t.Fatalf("%d readings at the start, want %d", before, want)
			}
			for range 2 {
				if w := post(t, h, "/v1/metrics", otlp, "Content-Type", mediaProtobuf); w.Code != http.StatusOK {
					t.Fatal(w.Code, w.Body)
				}
				for i := range 100 {
					w := post(t, h, "/api/v1/write", samples(at+i), "Content-Type", mediaProtobuf, "Content-Encoding", "snappy")
					if w.Code != http.StatusNoContent || w.Header().Get("X-Prometheus-Remote-Write-Samples-Written") != "1" {
						t.Fatal(w.Code, w.Body)
					}
				}
			}
			if got := count(); got != (1-run)*101 {
				t.Errorf("%d readings were stored", got)
			}
		})
	}
}

func FuzzMetrics(f *testing.F) {
	body, err := proto.Marshal(export(resourceOf([]string{"host.name", "h"}, gauge("m", "Cel", point(1, "a", "b")))))
	if err != nil {
		f.Fatal(err)
	}
	inJSON, err := protojson.Marshal(export(resourceOf([]string{"host.name", "h"}, gauge("m", "Cel", point(1, "a", "b")))))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, body)
	f.Add(1, inJSON)
	f.Add(2, series1([]string{"__name__", "m", "instance", "h"}, 1.0, at, staleNaN, at))
	f.Add(3, []byte(series2([]string{"__name__", "m", "instance", "h"}, 1.0, at)))
	cfg := &Config{}
	if err := cfg.complete(); err != nil {
		f.Fatal(err)
	}
	h := &Server{cfg: cfg, intake: intake.New(cfg.Mapping(), nil), now: func() time.Time { return time.UnixMilli(at) }}
	f.Fuzz(func(t *testing.T, kind int, body []byte) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		r.Header.Set("Content-Encoding", "snappy")
		accept := h.remoteWrite
		switch kind & 3 {
		case 0, 1:
			accept = h.otlp
			r.Header.Set("Content-Type", []string{mediaProtobuf, mediaJSON}[kind&3])
		case 2:
			r.Header.Set("Content-Type", mediaProtobuf)
		case 3:
			r.Header.Set("Content-Type", mediaProtobuf+";proto="+remoteWrite2)
		}
		holding := &held{server: h}
		defer holding.release()
		entry, a, err := accept(&request{r, body, holding})
		if err != nil {
			return
		}
		if a.Accepted != len(entry.Readings) || len(entry.Readings) > maxPoints {
			t.Fatalf("%d readings, the answer says %d", len(entry.Readings), a.Accepted)
		}
		for i := range entry.Readings {
			if err := entry.Readings[i].Validate(); err != nil {
				t.Fatal(err)
			}
		}
		again, b, err := accept(&request{r, body, holding})
		if err != nil || b.Message != a.Message || !slices.EqualFunc(entry.Readings, again.Readings, func(a, b reading.Reading) bool { return a == b }) || *again.Delivery != *entry.Delivery {
			t.Fatalf("the same body gives %v and %v: %v", entry, again, err)
		}
	})
}
