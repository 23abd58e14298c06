package alert

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/tlsconf"
	"weir.example/weir/internal/webhook"
)

// Receiver is a destination of notifications.
type Receiver interface {
	// Send delivers a notification. It returns nil only once the other side has accepted it, and a
	// *PartlyError if only some of its addresses have. The same notification, with the same id, may
	// be sent again if the response was lost. Send is called concurrently.
	Send(ctx context.Context, n *Notification) error

	// Close releases idle connections. It is called after the last Send has returned.
	Close()
}

// PartlyError is the error of a notification that only some of the addresses accepted. It is not
// sent again.
type PartlyError struct{ Rejected []error }

func (e *PartlyError) Error() string {
	return "delivered to the other addresses only: " + oneLine(e.Rejected)
}

func oneLine(errs []error) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// timeoutError is the error of a receiver that did not respond in time.
type timeoutError struct{ step string }

func (e *timeoutError) Error() string { return "no answer to " + e.step }

// NewReceiver returns the receiver of a configuration.
func NewReceiver(c *ReceiverConfig) (Receiver, error) {
	trust, err := tlsconf.Client(c.CA, "", "")
	if err != nil {
		return nil, err
	}
	if c.Email != nil {
		return newEmail(c.Email, trust), nil
	}
	if c.Webhook != nil {
		p, err := newPoster(c.Webhook)
		if err != nil {
			return nil, err
		}
		p.Client = webhook.NewClient(trust, 0, append(slices.Collect(maps.Values(c.Webhook.Headers)), c.Webhook.RoutingKey)...)
		return p, nil
	}
	return &alertmanager{webhook.NewClient(trust, 0, slices.Collect(maps.Values(c.Alertmanager.Headers))...), c.Alertmanager}, nil
}

// Try sends a test alert to a receiver. The alert is already resolved.
func (c *Config) Try(ctx context.Context, receiver string, now time.Time) error {
	a := Alert{
		Status: Resolved, Name: "weir_test", Severity: "info", Summary: "Test of Weir's alerts: nothing is wrong.",
		Labels: map[string]string{"alertname": "weir_test", "severity": "info"}, Annotations: map[string]string{}, Since: now, ResolvedAt: now,
	}
	a.ID = newID(Origin{Key: receiver}, 0, now)
	n := &Notification{Receiver: receiver, Status: Resolved, Group: map[string]string{"alertname": "weir_test"}, Alerts: []Entry{{Alert: a, N: 1}}}
	n.setID()
	r := c.Receivers[receiver]
	to, err := NewReceiver(r)
	if err != nil {
		return err
	}
	defer to.Close()
	return send(ctx, r, to, n)
}
