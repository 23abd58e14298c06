// Package post delivers rows by HTTP requests to other systems, at least once: webhooks, and
// messages to Slack, Teams, PagerDuty and ntfy.
//
//	post.go  Sender: requests, their idempotency keys, and what answers mean
//	body.go  bodies: the rows as JSON, a template, or a preset
//
// A request has the rows of one partition, in the order of their offsets. Its idempotency key names
// them: the sink, the partition, and the offset of the row, or those of the first and the last. A
// request that is repeated after a crash has the same rows, and so the same key.
package post

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/web"
	"weir.example/weir/internal/webhook"
)

// MaxRows is how many rows are read before they are sent, so that slow receivers get them in time.
const MaxRows = 500

const maxBytes = 1 << 20 // of the rows of a request

// Sender sends requests. It implements sink.Sender.
type Sender struct {
	name    string // of the sink
	table   *plan.Table
	to      *plan.Webhook
	secrets secret.Source
	now     func() time.Time
}

// New returns the target of a table with the connector http.
func New(c broker.Config, pipeline string, t *plan.Table, secrets secret.Source) sink.Target {
	s := &Sender{name: sink.Name(pipeline, t.Name), table: t, to: t.Delivery.(*plan.Webhook), secrets: secrets, now: time.Now} //nolint:forcetypeassert // by contract
	return sink.AtLeastOnce(c, pipeline, t, s)
}

// Into implements sink.Sender. Rows may be sent elsewhere after a restart.
func (s *Sender) Into() string { return "" }

// sending is a client with its settings. It implements sink.Sending.
type sending struct {
	*Sender
	server *web.Server
	signer *webhook.Signer
	bodies *bodies
}

// Open implements sink.Sender.
func (s *Sender) Open(context.Context) (sink.Sending, error) {
	server, err := web.Open(s.table, &s.to.Web, s.secrets)
	if err != nil {
		return nil, err
	}
	open := &sending{Sender: s, server: server}
	server.Headers.Set("Content-Type", s.to.ContentType)
	if s.to.Signing != "" {
		key, err := server.Expand("signing.secret", s.to.Signing)
		if err != nil {
			return nil, err
		}
		if open.signer, err = webhook.NewSigner(key); err != nil {
			return nil, sink.Refuse("table %s: option 'signing.secret': %w", s.table.Name, err)
		}
	}
	routing, err := server.Expand("pagerduty.routing-key", s.to.RoutingKey)
	if err != nil {
		return nil, err
	}
	if open.bodies, err = newBodies(s, routing); err != nil {
		return nil, sink.Refuse("table %s: %w", s.table.Name, err)
	}
	return open, server.Connect()
}

// Close implements sink.Sending.
func (s *sending) Close() { s.server.Close() }

// Send implements sink.Sending.
func (s *sending) Send(ctx context.Context, b *sink.Batch, p *sink.Progress) error {
	rows := slices.Concat(b.Origins, b.DeletedOrigins)
	slices.SortFunc(rows, sink.ByOffset)
	for len(rows) > 0 {
		n := s.next(rows, b.Repeat[rows[0].Partition])
		if err := s.write(ctx, rows[:n], p); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// next returns how many of the rows are sent in one request. Those before the offset repeat were
// sent in one before.
func (s *sending) next(rows []*kgo.Record, repeat int64) int {
	first, size, n := rows[0], 0, 0
	for n < len(rows) && n < s.to.BatchRows && rows[n].Partition == first.Partition && (first.Offset >= repeat || rows[n].Offset < repeat) {
		size += len(rows[n].Key) + len(rows[n].Value)
		if n > 0 && size > maxBytes {
			break
		}
		n++
	}
	return n
}

// rowError is an error of rows, not of the receiver.
type rowError struct{ error }

func (e *rowError) Unwrap() error { return e.error }

// write sends rows in one request, and in smaller ones if the receiver refuses some of them.
func (s *sending) write(ctx context.Context, rows []*kgo.Record, p *sink.Progress) error {
	return sink.Isolate(len(rows), func(from, to int) error {
		part := rows[from:to]
		next := part[len(part)-1].Offset + 1
		body, err := s.bodies.of(part)
		if err != nil {
			return &rowError{err}
		}
		if err := p.Sending(ctx, part[0].Partition, next); err != nil {
			return err
		}
		if err := s.request(ctx, part, body); err != nil {
			return err
		}
		p.Acknowledged(part[0].Partition, next)
		return nil
	}, func(err error) bool { return errors.As(err, new(*rowError)) }, func(row int, err error) {
		p.Refuse(sink.Refusal{Origin: rows[row], Err: fmt.Errorf("refused by the receiver: %w", err)})
		p.Acknowledged(rows[row].Partition, rows[row].Offset+1)
	})
}

// key returns the idempotency key of a request.
func (s *sending) key(rows []*kgo.Record) string {
	first, last := rows[0], rows[len(rows)-1]
	if s.to.BatchRows == 1 {
		return rowKey(s.name, first)
	}
	return fmt.Sprintf("%s-%d-%d-%d", s.name, first.Partition, first.Offset, last.Offset)
}

func rowKey(name string, r *kgo.Record) string {
	return fmt.Sprintf("%s-%d-%d", name, r.Partition, r.Offset)
}

func (s *sending) request(ctx context.Context, rows []*kgo.Record, body []byte) error {
	headers, key := s.server.Headers.Clone(), s.key(rows)
	headers.Set("Idempotency-Key", key)
	if s.to.BatchRows == 1 && s.table.Upsert {
		headers.Set("Weir-Op", op(rows[0]))
	}
	if s.signer != nil {
		s.signer.Sign(headers, key, s.now(), body)
	}
	a, err := s.server.Send(ctx, s.to.Method, s.server.URL, headers, body)
	switch {
	case err != nil:
		return fmt.Errorf("send rows of table %s: %w", s.table.Name, err)
	case a.OK():
		return nil
	case slices.Contains(s.to.Letters, a.Status):
		return &rowError{a.Err()}
	case a.Later():
		return &sink.LaterError{Err: fmt.Errorf("send rows of table %s: %w", s.table.Name, a.Err()), After: a.RetryAfter}
	case a.Endpoint():
		return sink.Refuse("table %s: the receiver does not take its rows: %w. Check the options 'url', 'method' and 'headers.…'; if the status concerns single rows, list it in 'dead-letter.statuses'", s.table.Name, a.Err())
	}
	return &rowError{a.Err()}
}

// op is what a row does to the previous one with its key.
func op(r *kgo.Record) string {
	if r.Value == nil {
		return "delete"
	}
	return "upsert"
}
