package ingest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/ingest/spool"
)

// Media types of OTLP and remote write.
const (
	mediaProtobuf = "application/x-protobuf"
	mediaJSON     = "application/json"
)

// Limits of decoding OTLP.
const (
	maxParts  = 500_000 // messages within a message
	maxNested = 32      // levels of them
	partBytes = 128     // about what one takes in memory
)

// otlp accepts metrics of OTLP over HTTP: the points of gauges and sums are readings. Points of
// other kinds, and points that cannot be readings, are refused in the answer, as OTLP's partial
// success.
func (h *Server) otlp(q *request) (*spool.Entry, answer, error) {
	media, err := q.media()
	if err != nil {
		return nil, answer{}, err
	}
	var sent collector.ExportMetricsServiceRequest
	switch media {
	case mediaProtobuf:
		n, err := parts(q.body, sent.ProtoReflect().Descriptor(), 0, 0)
		if err != nil {
			return nil, answer{}, err
		}
		if err := q.holding.reserve(int64(n) * partBytes); err != nil {
			return nil, answer{}, err
		}
		if err := proto.Unmarshal(q.body, &sent); err != nil {
			return nil, answer{}, refuse(http.StatusBadRequest, "the body is not an ExportMetricsServiceRequest of OTLP: %v", err)
		}
	case mediaJSON:
		n := bytes.Count(q.body, []byte("{"))
		if n > maxParts {
			return nil, answer{}, tooManyParts()
		}
		if err := q.holding.reserve(int64(n) * partBytes); err != nil {
			return nil, answer{}, err
		}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: 2 * maxNested}).Unmarshal(q.body, &sent); err != nil {
			return nil, answer{}, refuse(http.StatusBadRequest, "the body is not an ExportMetricsServiceRequest of OTLP in JSON: %v", err)
		}
	default:
		return nil, answer{}, refuse(http.StatusUnsupportedMediaType, "the content type %q is not one of OTLP: use %s or %s", media, mediaProtobuf, mediaJSON)
	}
	p := q.points(&h.cfg.Metrics, h.now().UnixMilli())
	for _, r := range sent.GetResourceMetrics() {
		if err := p.otlpResource(r); err != nil {
			return nil, answer{}, err
		}
	}
	entry, a := p.entry(h, q, intake.OTLP)
	return entry, a, nil
}

// media returns the media type of the body.
func (q *request) media() (string, error) {
	given := q.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(given)
	if err != nil {
		return "", refuse(http.StatusUnsupportedMediaType, "the header Content-Type is missing or wrong: %.100q", given)
	}
	return media, nil
}

func tooManyParts() error {
	return refuse(http.StatusRequestEntityTooLarge, "the body consists of more than %d parts: send fewer points at a time", maxParts)
}

// parts returns the number of messages within an encoded message, before memory is spent on them.
func parts(b []byte, of protoreflect.MessageDescriptor, n, level int) (int, error) {
	if level > maxNested {
		return n, refuse(http.StatusBadRequest, "values in the body are nested more than %d levels deep", maxNested)
	}
	for len(b) > 0 {
		number, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return n, refuse(http.StatusBadRequest, "%v", errMalformed)
		}
		b = b[size:]
		field := of.Fields().ByNumber(number)
		if kind != protowire.BytesType || field == nil || field.Message() == nil {
			if size = protowire.ConsumeFieldValue(number, kind, b); size < 0 {
				return n, refuse(http.StatusBadRequest, "%v", errMalformed)
			}
			b = b[size:]
			continue
		}
		inner, size := protowire.ConsumeBytes(b)
		if size < 0 {
			return n, refuse(http.StatusBadRequest, "%v", errMalformed)
		}
		b = b[size:]
		if n++; n > maxParts {
			return n, tooManyParts()
		}
		var err error
		if n, err = parts(inner, field.Message(), n, level+1); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (p *points) otlpResource(r *metrics.ResourceMetrics) error {
	resource := attributesOf(r.GetResource().GetAttributes())
	slices.SortFunc(resource, func(a, b label) int { return cmp.Compare(a.name, b.name) })
	for _, s := range r.GetScopeMetrics() {
		identity := xxhash.New()
		_, _ = fmt.Fprintf(identity, "%q", s.GetScope().GetName()) // it never fails
		for _, l := range resource {
			if !strings.HasPrefix(l.name, "telemetry.") {
				_, _ = fmt.Fprintf(identity, "%q=%q", l.name, l.value)
			}
		}
		for _, m := range s.GetMetrics() {
			if err := p.otlpMetric(m, resource, identity.Sum64()); err != nil {
				return err
			}
		}
	}
	return nil
}

// otlpMetric adds the points of a metric.
func (p *points) otlpMetric(m *metrics.Metric, resource []label, identity uint64) error {
	name := fmt.Sprintf("%.200q", m.GetName())
	switch data := m.GetData().(type) {
	case *metrics.Metric_Gauge:
		return p.otlpNumbers(m, data.Gauge.GetDataPoints(), resource, identity)
	case *metrics.Metric_Sum:
		return p.otlpNumbers(m, data.Sum.GetDataPoints(), resource, identity)
	case *metrics.Metric_Histogram:
		p.refuse(len(data.Histogram.GetDataPoints()), name+" is a histogram: only gauges and sums are readings")
	case *metrics.Metric_ExponentialHistogram:
		p.refuse(len(data.ExponentialHistogram.GetDataPoints()), name+" is an exponential histogram: only gauges and sums are readings")
	case *metrics.Metric_Summary:
		p.refuse(len(data.Summary.GetDataPoints()), name+" is a summary: only gauges and sums are readings")
	default:
		p.refuse(1, name+" has no data, or of a kind that is not known")
	}
	return nil
}

func (p *points) otlpNumbers(m *metrics.Metric, all []*metrics.NumberDataPoint, resource []label, identity uint64) error {
	for _, n := range all {
		p.exemplars += len(n.GetExemplars())
		var value float64
		switch v := n.GetValue().(type) {
		case *metrics.NumberDataPoint_AsDouble:
			value = v.AsDouble
		case *metrics.NumberDataPoint_AsInt:
			value = float64(v.AsInt)
		default:
			value = math.NaN()
		}
		if n.GetFlags()&uint32(metrics.DataPointFlags_DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK) != 0 || math.IsNaN(value) {
			p.skipped++
			continue
		}
		series, err := p.sensor(m.GetName(), m.GetUnit(), attributesOf(n.GetAttributes()), resource, identity)
		if err == nil && n.GetTimeUnixNano() == 0 {
			err = errors.New("it has no time_unix_nano")
		}
		if err != nil {
			p.refuse(1, fmt.Sprintf("%.200q: %v", m.GetName(), err))
			continue
		}
		if err := p.add(series, value, int64(n.GetTimeUnixNano()/1e6)); err != nil { //nolint:gosec // at most 1.8e13
			return err
		}
	}
	return nil
}

// attributesOf returns attributes as labels. What is not a scalar has its text in JSON.
func attributesOf(all []*common.KeyValue) []label {
	labels := make([]label, 0, len(all))
	for _, a := range all {
		labels = append(labels, label{a.GetKey(), attributeText(a.GetValue())})
	}
	return labels
}

func attributeText(v *common.AnyValue) string {
	switch v := v.GetValue().(type) {
	case nil:
		return ""
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *common.AnyValue_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(v)
	if err != nil { // text that is not UTF-8, as the caller will find
		return "\xff"
	}
	return fmt.Sprintf("%x", text)
}

// otlpAnswer writes the answer in the sender's encoding. What a sender should repeat has one of the
// codes for which OTLP lets it do so.
func otlpAnswer(w http.ResponseWriter, r *http.Request, a *answer) {
	a.Status = retryable(w, a.Status)
	inJSON := false
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && media == mediaJSON {
		inJSON = true
	}
	var text []byte
	switch {
	case a.Status == http.StatusOK:
		var success collector.ExportMetricsServiceResponse
		if a.Refused > 0 {
			success.PartialSuccess = &collector.ExportMetricsPartialSuccess{RejectedDataPoints: a.Refused, ErrorMessage: a.Message}
		}
		if inJSON {
			text, _ = protojson.Marshal(&success) // valid text always marshals
		} else {
			text, _ = proto.Marshal(&success)
		}
	case inJSON:
		quoted, _ := json.Marshal(a.Error) // text always marshals
		text = fmt.Appendf(nil, `{"code":%d,"message":%s}`, rpcCode(a.Status), quoted)
	default: // google.rpc.Status
		text = protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(rpcCode(a.Status))) //nolint:gosec // never negative
		text = protowire.AppendString(protowire.AppendTag(text, 2, protowire.BytesType), a.Error)
	}
	if inJSON {
		w.Header().Set("Content-Type", mediaJSON)
	} else {
		w.Header().Set("Content-Type", mediaProtobuf)
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(text) // the client may have disconnected
}

// rpcCode returns the code of gRPC that belongs to a status of HTTP.
func rpcCode(status int) int {
	switch status {
	case http.StatusUnauthorized:
		return 16
	case http.StatusServiceUnavailable:
		return 14
	case http.StatusInternalServerError:
		return 13
	case http.StatusRequestEntityTooLarge:
		return 8
	}
	return 3 // invalid argument
}

// retryable returns the status to answer instead of one after which the sender should try again,
// but which OTLP or remote write do not define so.
func retryable(w http.ResponseWriter, status int) int {
	switch status {
	case http.StatusTooManyRequests, http.StatusConflict:
		status = http.StatusServiceUnavailable
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	return status
}
