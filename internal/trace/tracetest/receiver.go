// Package tracetest receives spans as a collector of OpenTelemetry does, for tests.
package tracetest

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span that was received. Ids are in hex; Parent is "" where it has none.
type Span struct {
	Name              string
	Trace, ID, Parent string
	Links             []Link
	Attributes        map[string]string // those that are strings
	Error             string
}

// Link is a link to another span.
type Link struct{ Trace, Span string }

// Receiver is a receiver of OTLP over HTTP with protobuf.
type Receiver struct {
	URL string

	mu     sync.Mutex
	spans  []Span
	refuse bool
}

// NewReceiver listens on a free port until the test ends.
func NewReceiver(t *testing.T) *Receiver {
	r := &Receiver{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", r.take)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

func (r *Receiver) take(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	message := &collector.ExportTraceServiceRequest{}
	if err == nil {
		err = proto.Unmarshal(body, message)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || r.refuse || request.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "refused", http.StatusBadRequest)
		return
	}
	for _, resource := range message.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				r.spans = append(r.spans, read(s))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func read(s *otlp.Span) Span {
	span := Span{
		Name: s.Name, Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
		Attributes: make(map[string]string),
	}
	for _, a := range s.Attributes {
		if text := a.Value.GetStringValue(); text != "" {
			span.Attributes[a.Key] = text
		}
	}
	for _, l := range s.Links {
		span.Links = append(span.Links, Link{hex.EncodeToString(l.TraceId), hex.EncodeToString(l.SpanId)})
	}
	if s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR {
		span.Error = s.Status.Message
	}
	return span
}

// Refuse lets the receiver answer with an error from now on, or no longer.
func (r *Receiver) Refuse(refuse bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = refuse
}

// Spans returns what was received so far.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}
