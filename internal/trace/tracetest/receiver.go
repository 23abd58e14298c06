// Package tracetest is an OpenTelemetry collector for tests.
package tracetest

import (
	"context"
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

// Span is a received span. Ids are in hex; Parent is "" for a root span.
type Span struct {
	Name              string
	Trace, ID, Parent string
	Links             []Link
	Attributes        map[string]string // string values only
	Error             string
}

// Link is a link to another span.
type Link struct{ Trace, Span string }

// Receiver receives OTLP over HTTP with protobuf.
type Receiver struct {
	URL string

	mu      sync.Mutex
	spans   []Span
	refuse  bool
	changed chan struct{} // closed at the next request; nil if no one waits
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
	if r.changed != nil {
		defer close(r.changed)
		r.changed = nil
	}
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

// Refuse sets whether the receiver answers requests with an error.
func (r *Receiver) Refuse(refuse bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = refuse
}

// Spans returns the spans received so far.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Await waits until a span for which ok returns true is received, and reports whether one was
// before ctx is done. Each check passes all received spans to ok until it returns true.
func (r *Receiver) Await(ctx context.Context, ok func(Span) bool) bool {
	for {
		r.mu.Lock()
		if slices.ContainsFunc(r.spans, ok) {
			r.mu.Unlock()
			return true
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
