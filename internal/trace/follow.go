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

// MaxLinks is how many origins a span names at most: a result may come from any number of readings.
const MaxLinks = 32

// followed marks the context of a record that is followed. A record without it is not looked at
// again.
type followed struct {
	context.Context
	links []trace.Link // to the others that the record came from
}

// Span is the time of one step on the way of a record.
type Span = trace.Span

// Sampler chooses the readings that are followed. One goroutine uses it; a nil one chooses none.
type Sampler struct {
	share float64
	left  int64 // readings until the next
}

// Sampler returns a new one.
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

// gap is the distance to the next choice, when each reading is chosen with the same chance: one
// random number for each choice, and not for each reading.
func (s *Sampler) gap() int64 {
	if s.share >= 1 {
		return 1
	}
	return 1 + int64(math.Log(1-rand.Float64())/math.Log1p(-s.share)) //nolint:gosec // no secret
}

// Ingest begins to follow a reading that a source has given: its span ends when the reading's
// transaction does.
func (t *Tracer) Ingest(r *kgo.Record, source string) trace.Span {
	ctx, span := t.tracer.Start(context.Background(), "ingest", trace.WithAttributes(attribute.String("weir.source", source)))
	r.Context = &followed{Context: ctx}
	return span
}

// End ends spans of records that took part in a transaction. Without a reason it was committed.
func End(spans []trace.Span, aborted string) {
	for _, s := range spans {
		if aborted != "" {
			s.SetStatus(codes.Error, "the transaction was aborted: "+aborted)
		}
		s.End()
	}
}

// Client follows the records of one Kafka client: those whose headers say so, and those that were
// made of them. A nil one follows none.
type Client struct {
	*Tracer
	kotel *kotel.Tracer
}

// Client returns what follows the records of a client. Group is its consumer group, where it has
// one.
func (t *Tracer) Client(id, group string) *Client {
	if t == nil {
		return nil
	}
	return &Client{t, kotel.NewTracer(kotel.TracerProvider(t.provider), kotel.TracerPropagator(propagation.TraceContext{}),
		kotel.ClientID(id), kotel.ConsumerGroup(group))}
}

// Option lets the client follow records.
func (c *Client) Option() kgo.Opt {
	if c == nil {
		return kgo.WithHooks()
	}
	return kgo.WithHooks(c)
}

// OnProduceRecordBuffered implements kgo.HookProduceRecordBuffered: a followed record says so in
// its headers.
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

// isFollowed reports whether a record's headers say that it is followed: a traceparent whose flag
// "sampled" is set.
func isFollowed(r *kgo.Record) bool {
	for _, h := range r.Headers {
		if h.Key == "traceparent" {
			ctx := propagation.TraceContext{}.Extract(context.Background(), kotel.NewRecordCarrier(r))
			return trace.SpanContextFromContext(ctx).IsSampled()
		}
	}
	return false
}

// Process begins the processing of those records that are followed, and returns its spans.
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

// Caused is the context of a record that one followed record has caused, and that holds others as
// well.
func Caused(by context.Context, others ...context.Context) context.Context {
	if !isSpan(by) {
		return Joined(append([]context.Context{by}, others...)...)
	}
	return &followed{by, links(others)}
}

func isSpan(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsValid() }

// Joined is the context of a record that was made of several, of which these were followed. None of
// them is its parent: that is for whoever writes the record, see Parent.
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

// Whole is the span of a transaction as a whole: the parent of what was made of several records. It
// begins with the first of these.
type Whole struct {
	span  trace.Span
	ctx   context.Context
	links int
}

// Parent gives the records that were made of several the transaction as parent, and the transaction
// links to their origins.
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

// End ends the transaction's span, where there is one.
func (w *Whole) End(aborted string) {
	if w.span != nil {
		End([]trace.Span{w.span}, aborted)
	}
	*w = Whole{}
}
