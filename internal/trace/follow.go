package trace

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kotel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// MaxLinks bounds the links of a span, since a result may be derived from any number of readings.
const MaxLinks = 32

// followed is the context of a record that is followed. Records with any other context are ignored.
type followed struct {
	context.Context
	links []trace.Link // to the other records that the record is derived from
}

// Span is one step in the processing of a record.
type Span = trace.Span

// Sampler chooses the readings to follow. It is used by one goroutine. A nil Sampler chooses none.
type Sampler struct {
	share float64
	left  int64 // readings until the next
}

// Sampler returns a new sampler, or nil if no readings are sampled.
func (t *Tracer) Sampler() *Sampler {
	if t == nil || t.sample == 0 {
		return nil
	}
	s := &Sampler{share: t.sample}
	s.left = s.gap()
	return s
}

// Take reports whether the next reading is followed.
func (s *Sampler) Take() bool {
	if s == nil {
		return false
	}
	if s.left--; s.left > 0 {
		return false
	}
	s.left = s.gap()
	return true
}

// gap draws the distance to the next chosen reading from the geometric distribution, which takes
// one random number per choice instead of one per reading.
func (s *Sampler) gap() int64 {
	if s.share >= 1 {
		return 1
	}
	return 1 + int64(math.Log(1-rand.Float64())/math.Log1p(-s.share)) //nolint:gosec // not a secret
}

// Ingest starts the trace of a reading from a source. The caller ends the span, with End, when the
// reading's transaction ends.
func (t *Tracer) Ingest(r *kgo.Record, source string) trace.Span {
	ctx, span := t.tracer.Start(context.Background(), "ingest", trace.WithAttributes(attribute.String("weir.source", source)))
	r.Context = &followed{Context: ctx}
	return span
}

// End ends the spans of the records of a transaction. aborted is the reason of an abort, "" after a
// commit.
func End(spans []trace.Span, aborted string) {
	for _, s := range spans {
		if aborted != "" {
			s.SetStatus(codes.Error, "the transaction was aborted: "+aborted)
		}
		s.End()
	}
}

// Client follows the records of one Kafka client: those with a sampled traceparent header, and
// those derived from them. A nil Client follows none.
type Client struct {
	*Tracer
	kotel *kotel.Tracer
}

// Client returns the hooks of a Kafka client. Group is its consumer group, "" if it has none.
func (t *Tracer) Client(id, group string) *Client {
	if t == nil {
		return nil
	}
	return &Client{t, kotel.NewTracer(kotel.TracerProvider(t.provider), kotel.TracerPropagator(propagation.TraceContext{}),
		kotel.ClientID(id), kotel.ConsumerGroup(group))}
}

// Option installs the hooks.
func (c *Client) Option() kgo.Opt {
	if c == nil {
		return kgo.WithHooks()
	}
	return kgo.WithHooks(c)
}

// OnProduceRecordBuffered implements kgo.HookProduceRecordBuffered. It adds the traceparent header
// to followed records.
func (c *Client) OnProduceRecordBuffered(r *kgo.Record) {
	f, ok := r.Context.(*followed)
	if !ok {
		return
	}
	c.kotel.OnProduceRecordBuffered(r)
	span := trace.SpanFromContext(r.Context)
	for _, l := range f.links {
		span.AddLink(l)
	}
	r.Context = &followed{Context: r.Context}
}

// OnProduceRecordUnbuffered implements kgo.HookProduceRecordUnbuffered.
func (c *Client) OnProduceRecordUnbuffered(r *kgo.Record, err error) {
	if _, ok := r.Context.(*followed); ok {
		c.kotel.OnProduceRecordUnbuffered(r, err)
	}
}

// OnFetchRecordBuffered implements kgo.HookFetchRecordBuffered.
func (c *Client) OnFetchRecordBuffered(r *kgo.Record) {
	if !isFollowed(r) {
		return
	}
	c.kotel.OnFetchRecordBuffered(r)
	r.Context = &followed{Context: r.Context}
}

// OnFetchRecordUnbuffered implements kgo.HookFetchRecordUnbuffered.
func (c *Client) OnFetchRecordUnbuffered(r *kgo.Record, polled bool) {
	if _, ok := r.Context.(*followed); ok {
		c.kotel.OnFetchRecordUnbuffered(r, polled)
	}
}

// isFollowed reports whether a record has a traceparent header whose flag "sampled" is set.
func isFollowed(r *kgo.Record) bool {
	for _, h := range r.Headers {
		if h.Key == "traceparent" {
			ctx := propagation.TraceContext{}.Extract(context.Background(), kotel.NewRecordCarrier(r))
			return trace.SpanContextFromContext(ctx).IsSampled()
		}
	}
	return false
}

// Process starts the processing spans of followed records and appends them to spans.
func (c *Client) Process(records []*kgo.Record, pipeline string, spans []trace.Span) []trace.Span {
	if c == nil {
		return spans
	}
	for _, r := range records {
		if _, ok := r.Context.(*followed); !ok {
			continue
		}
		ctx, span := c.kotel.WithProcessSpan(r)
		span.SetAttributes(attribute.String("weir.pipeline", pipeline))
		r.Context = &followed{Context: ctx}
		spans = append(spans, span)
	}
	return spans
}

// Caused returns the context of a record whose parent is one followed record, with links to others.
func Caused(by context.Context, others ...context.Context) context.Context {
	if !isSpan(by) {
		return Joined(append([]context.Context{by}, others...)...)
	}
	return &followed{by, links(others)}
}

func isSpan(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsValid() }

// Joined returns the context of a record derived from several; origins are the contexts of those
// that are followed. None of them is its parent; the writer of the record assigns one, see Parent.
func Joined(origins ...context.Context) context.Context {
	return &followed{context.Background(), links(origins)}
}

func links(origins []context.Context) []trace.Link {
	var all []trace.Link
	for _, o := range origins {
		if isSpan(o) {
			all = append(all, trace.LinkFromContext(o))
		} else if f, ok := o.(*followed); ok {
			all = append(all, f.links...)
		}
	}
	return all[:min(len(all), MaxLinks)]
}

// Whole is the span of a whole transaction: the parent of records derived from several others. It
// is created with the first such record.
type Whole struct {
	span  trace.Span
	ctx   context.Context
	links int
}

// Parent makes the transaction the parent of those records that are derived from several others,
// and links the transaction to their origins.
func (c *Client) Parent(w *Whole, records []*kgo.Record, pipeline string, began time.Time) {
	if c == nil {
		return
	}
	for _, r := range records {
		f, ok := r.Context.(*followed)
		if !ok || isSpan(f.Context) {
			continue
		}
		if w.span == nil {
			w.ctx, w.span = c.tracer.Start(context.Background(), pipeline+" transaction", trace.WithTimestamp(began),
				trace.WithAttributes(attribute.String("weir.pipeline", pipeline)))
		}
		for _, l := range f.links {
			if w.links == MaxLinks {
				break
			}
			w.span.AddLink(l)
			w.links++
		}
		r.Context = &followed{w.ctx, f.links}
	}
}

// End ends the transaction's span, if it has one.
func (w *Whole) End(aborted string) {
	if w.span != nil {
		End([]trace.Span{w.span}, aborted)
	}
	*w = Whole{}
}
