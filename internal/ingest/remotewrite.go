package ingest

import (
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/reading"
)

// Messages of remote write, as the parameter proto of the content type names them.
const (
	remoteWrite1 = "prometheus.WriteRequest" // the default
	remoteWrite2 = "io.prometheus.write.v2.Request"
)

const metricName = "__name__"

// remoteWrite accepts Prometheus's remote write, 1.0 and 2.0: samples are readings. As the
// specification has it, samples that cannot be readings do not refuse the others: those are stored,
// and the answer 400 names the first bad ones, so that nothing is sent again.
func (h *Server) remoteWrite(q *request) (*spool.Entry, answer, error) {
	message, err := remoteMessage(q.Header.Get("Content-Type"))
	if err != nil {
		return nil, answer{}, err
	}
	if q.Header.Get("Content-Encoding") != "snappy" {
		return nil, answer{}, refuse(http.StatusUnsupportedMediaType, "remote write needs the content encoding snappy, got %.100q", q.Header.Get("Content-Encoding"))
	}
	p := q.points(&h.cfg.Metrics, h.now().UnixMilli())
	read := p.remoteWrite1
	if message == remoteWrite2 {
		read = p.remoteWrite2
	}
	if err := read(q.body); err != nil {
		if errors.Is(err, errMalformed) {
			err = refuse(http.StatusBadRequest, "%v of the form %s: nothing was stored", err, message)
		}
		return nil, answer{}, err
	}
	entry, a := p.entry(h, q, intake.RemoteWrite)
	a.Status = http.StatusNoContent
	if a.Refused > 0 {
		a.Status, a.Error = http.StatusBadRequest, a.Message
	}
	return entry, a, nil
}

// remoteMessage returns the message that a content type stands for.
func remoteMessage(contentType string) (string, error) {
	media, parameters, err := mime.ParseMediaType(contentType)
	if err == nil && media == mediaProtobuf {
		switch message, given := parameters["proto"]; {
		case !given, message == remoteWrite1:
			return remoteWrite1, nil
		case message == remoteWrite2:
			return message, nil
		}
	}
	return "", refuse(http.StatusUnsupportedMediaType, "the content type %.200q is not one of remote write: use %s, with proto=%s or proto=%s", contentType, mediaProtobuf, remoteWrite1, remoteWrite2)
}

// remoteAnswer writes the answer, with the headers of 2.0.
func remoteAnswer(w http.ResponseWriter, _ *http.Request, a *answer) {
	a.Status = retryable(w, a.Status)
	if a.Status == http.StatusNoContent || a.Status == http.StatusBadRequest {
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(a.Accepted))
		w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
		w.Header().Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
	}
	if a.Status == http.StatusNoContent {
		w.WriteHeader(a.Status)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.Status)
	_, _ = fmt.Fprintln(w, a.Error) // the client may have disconnected
}

// field is a field of an encoded message: bytes, or a number of any kind.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bytes  []byte
	value  uint64
}

// eachField calls fn for each field of an encoded message.
func eachField(b []byte, fn func(f *field) error) error {
	for len(b) > 0 {
		var f field
		var n int
		if f.number, f.kind, n = protowire.ConsumeTag(b); n < 0 {
			return errMalformed
		}
		b = b[n:]
		switch f.kind {
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(b)
		default:
			n = protowire.ConsumeFieldValue(f.number, f.kind, b)
		}
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		if err := fn(&f); err != nil {
			return err
		}
	}
	return nil
}

// is reports whether a field has a number and a kind. A known number with another kind is an
// unknown field, as in every decoder of protobuf.
func (f *field) is(number protowire.Number, kind protowire.Type) bool {
	return f.number == number && f.kind == kind
}

// remoteSeries is a TimeSeries of either version.
type remoteSeries struct {
	labels     []label
	unit       string
	samples    [][]byte
	histograms int
	exemplars  int
}

// remoteWrite1 adds the samples of a prometheus.WriteRequest.
func (p *points) remoteWrite1(body []byte) error {
	return eachField(body, func(f *field) error {
		if !f.is(1, protowire.BytesType) {
			return nil // metadata, which senders of 1.0 send apart from samples
		}
		var s remoteSeries
		err := eachField(f.bytes, func(f *field) error {
			switch {
			case f.is(1, protowire.BytesType):
				var l label
				err := eachField(f.bytes, func(f *field) error {
					switch {
					case f.is(1, protowire.BytesType):
						l.name = string(f.bytes)
					case f.is(2, protowire.BytesType):
						l.value = string(f.bytes)
					}
					return nil
				})
				if len(s.labels) <= maxLabels {
					s.labels = append(s.labels, l)
				}
				return err
			case f.is(2, protowire.BytesType):
				s.samples = append(s.samples, f.bytes)
			case f.is(3, protowire.BytesType):
				s.exemplars++
			case f.is(4, protowire.BytesType):
				s.histograms++
			}
			return nil
		})
		if err != nil {
			return err
		}
		return p.remoteSamples(&s, 1, 2)
	})
}

// remoteWrite2 adds the samples of an io.prometheus.write.v2.Request, whose texts are in a table.
func (p *points) remoteWrite2(body []byte) error {
	var symbols [][]byte
	err := eachField(body, func(f *field) error {
		if f.is(4, protowire.BytesType) {
			if len(symbols) == maxParts {
				return tooManyParts()
			}
			symbols = append(symbols, f.bytes)
		}
		return nil
	})
	if err == nil && len(symbols) > 0 && len(symbols[0]) > 0 {
		err = refuse(http.StatusBadRequest, "the first symbol must be empty: nothing was stored")
	}
	if err == nil {
		err = p.holding.reserve(int64(len(symbols)) * 24)
	}
	if err != nil {
		return err
	}
	return eachField(body, func(f *field) error {
		if !f.is(5, protowire.BytesType) {
			return nil
		}
		s, err := remoteSeries2(f.bytes, symbols)
		if err != nil {
			return err
		}
		return p.remoteSamples(s, 1, 2)
	})
}

// errSymbol refuses a whole request, since its table of symbols is not what the sender means.
func errSymbol(what string) error {
	return refuse(http.StatusBadRequest, "%s: nothing was stored", what)
}

func remoteSeries2(b []byte, symbols [][]byte) (*remoteSeries, error) {
	s := &remoteSeries{}
	var refs []uint64
	symbol := func(ref uint64) (string, error) {
		if ref >= uint64(len(symbols)) {
			return "", errSymbol(fmt.Sprintf("a series refers to symbol %d of %d", ref, len(symbols)))
		}
		return string(symbols[ref]), nil
	}
	add := func(ref uint64) {
		if len(refs) <= 2*maxLabels {
			refs = append(refs, ref)
		}
	}
	err := eachField(b, func(f *field) error {
		switch {
		case f.is(1, protowire.VarintType):
			add(f.value)
		case f.is(1, protowire.BytesType):
			for packed := f.bytes; len(packed) > 0; {
				ref, n := protowire.ConsumeVarint(packed)
				if n < 0 {
					return errMalformed
				}
				add(ref)
				packed = packed[n:]
			}
		case f.is(2, protowire.BytesType):
			s.samples = append(s.samples, f.bytes)
		case f.is(3, protowire.BytesType):
			s.histograms++
		case f.is(4, protowire.BytesType):
			s.exemplars++
		case f.is(5, protowire.BytesType):
			return eachField(f.bytes, func(f *field) (err error) {
				if f.is(4, protowire.VarintType) {
					s.unit, err = symbol(f.value)
				}
				return err
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(refs) > 2*maxLabels {
		s.labels = make([]label, maxLabels+1) // too many, which remoteSamples refuses
		return s, nil
	}
	if len(refs)%2 != 0 {
		return nil, errSymbol(fmt.Sprintf("a series has %d references to labels, which must be pairs", len(refs)))
	}
	for i := 0; i < len(refs); i += 2 {
		name, err := symbol(refs[i])
		if err != nil {
			return nil, err
		}
		value, err := symbol(refs[i+1])
		if err != nil {
			return nil, err
		}
		s.labels = append(s.labels, label{name, value})
	}
	return s, nil
}

// remoteSamples adds the samples of a series, whose value and time have the given numbers.
func (p *points) remoteSamples(s *remoteSeries, value, time protowire.Number) error {
	p.exemplars += s.exemplars
	name := valueOf(s.labels, metricName)
	if s.histograms > 0 {
		p.refuse(s.histograms, fmt.Sprintf("%.200q is a native histogram: only samples are readings", name))
	}
	series, err := p.remoteSensor(s, name)
	if err != nil {
		p.refuse(len(s.samples), fmt.Sprintf("%.200q: %v", name, err))
		return nil
	}
	for _, b := range s.samples {
		var v float64
		var ts int64
		err := eachField(b, func(f *field) error {
			switch {
			case f.is(value, protowire.Fixed64Type):
				v = math.Float64frombits(f.value)
			case f.is(time, protowire.VarintType):
				ts = int64(f.value) //nolint:gosec // as protobuf encodes int64
			}
			return nil
		})
		if err == nil {
			err = p.add(series, v, ts)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// remoteSensor returns the reading of a series without a value. As in Prometheus, a label without a
// value is none.
func (p *points) remoteSensor(s *remoteSeries, name string) (reading.Reading, error) {
	switch {
	case len(s.labels) > maxLabels:
		return reading.Reading{}, fmt.Errorf("it has more than %d labels", maxLabels)
	case name == "":
		return reading.Reading{}, errors.New("it has no label " + metricName)
	}
	twice := 0
	for _, l := range s.labels {
		if l.name == metricName {
			twice++
		}
	}
	if twice > 1 {
		return reading.Reading{}, fmt.Errorf("the label %q occurs twice", metricName)
	}
	labels := slices.DeleteFunc(s.labels, func(l label) bool { return l.value == "" || l.name == metricName })
	return p.sensor(name, s.unit, labels, nil, 0)
}
