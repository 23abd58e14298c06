package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Receiver takes notifications. Send returns nil only when the other side has said that it has it. It may be told the same again, by
// the same id, when its answer was lost. Send is called by several goroutines.
type Receiver interface {
	Send(ctx context.Context, n *Notification) error
}

// NewReceiver makes the receiver of a configuration.
func NewReceiver(c *ReceiverConfig) Receiver {
	switch {
	case c.Webhook != nil:
		return &webhook{c.Webhook}
	case c.Alertmanager != nil:
		return &alertmanager{c.Alertmanager}
	default:
		return &email{c.Email}
	}
}

// Try sends a test alert, which is resolved already, to a receiver.
func (c *Config) Try(ctx context.Context, receiver string, now time.Time) error {
	a := Alert{
		Status: Resolved, Name: "weir_test", Severity: "info", Summary: "A test of Weir's alerts: nothing is wrong.",
		Labels: map[string]string{"alertname": "weir_test", "severity": "info"}, Annotations: map[string]string{}, Since: now, ResolvedAt: now,
	}
	a.ID = newID(Origin{Key: receiver}, 0, now)
	n := &Notification{Receiver: receiver, Status: Resolved, Group: map[string]string{"alertname": "weir_test"}, Alerts: []Told{{a, 1}}}
	n.name()
	r := c.Receivers[receiver]
	return send(ctx, r, NewReceiver(r), n)
}

// send sends within the receiver's time limit.
func send(ctx context.Context, c *ReceiverConfig, r Receiver, n *Notification) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	err := r.Send(ctx, n)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", c.Timeout)
	}
	return err
}

// post sends JSON and wants a 2xx.
func post(ctx context.Context, url string, headers http.Header, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header = headers
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // it is read, or not looked at
	if answer.StatusCode/100 == 2 {
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20)) // so that the connection can be used again
		return nil
	}
	said, err := io.ReadAll(io.LimitReader(answer.Body, 200))
	if err != nil {
		return fmt.Errorf("it answered %s: %w", answer.Status, err)
	}
	return fmt.Errorf("it answered %s: %s", answer.Status, strings.Join(strings.Fields(string(said)), " "))
}

func headersOf(given map[string]string) http.Header {
	h := make(http.Header)
	for name, value := range given {
		h.Set(name, value)
	}
	return h
}
