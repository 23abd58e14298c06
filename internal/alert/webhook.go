package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/webhook"
)

// poster posts a notification as JSON, as the message of a known service, or as its template says.
// The header Idempotency-Key contains its id, and Weir-Alert-Id the ids of its alerts.
type poster struct {
	*webhook.Client
	cfg        *WebhookConfig
	preset     *webhook.Preset
	text, body *webhook.Template // nil for the default
	signer     *webhook.Signer   // nil for none
}

func newPoster(cfg *WebhookConfig) (*poster, error) {
	p := &poster{cfg: cfg, preset: webhook.Presets[cfg.Preset]}
	switch {
	case cfg.Preset != "" && p.preset == nil:
		return nil, fmt.Errorf("preset %q: expected %s", cfg.Preset, strings.Join(slices.Sorted(maps.Keys(webhook.Presets)), ", "))
	case cfg.Text != "" && p.preset == nil:
		return nil, errors.New("text is the message of a preset: set preset, or write a body")
	case cfg.Body != "" && p.preset != nil:
		return nil, fmt.Errorf("preset %s has a body of its own: write its text instead", cfg.Preset)
	case (cfg.Preset == "pagerduty") != (cfg.RoutingKey != ""):
		return nil, errors.New("routing_key belongs to preset pagerduty, which needs it")
	}
	var err error
	if cfg.Text != "" {
		if p.text, err = webhook.ParseTemplate(cfg.Text, false, nil); err != nil {
			return nil, fmt.Errorf("text: %w", err)
		}
	}
	if cfg.Body != "" {
		if p.body, err = webhook.ParseTemplate(cfg.Body, true, nil); err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
	}
	if cfg.SigningSecret != "" {
		if p.signer, err = webhook.NewSigner(cfg.SigningSecret); err != nil {
			return nil, fmt.Errorf("signing_secret: %w", err)
		}
	}
	return p, validURL(p.url())
}

func (p *poster) url() string {
	if p.cfg.URL == "" && p.preset != nil {
		return p.preset.URL
	}
	return p.cfg.URL
}

// Send implements Receiver.
func (p *poster) Send(ctx context.Context, n *Notification) error {
	body, err := p.bodyOf(n)
	if err != nil {
		return err
	}
	headers := headersOf(p.cfg.Headers)
	if p.preset != nil {
		headers.Set("Content-Type", p.preset.ContentType)
	}
	ids := make([]string, len(n.Alerts))
	for i, a := range n.Alerts {
		ids[i] = a.ID
	}
	headers.Set("Idempotency-Key", n.ID)
	headers.Set("Weir-Alert-Id", strings.Join(ids, ","))
	if p.signer != nil {
		p.signer.Sign(headers, n.ID, time.Now(), body)
	}
	return post(ctx, p.Client, p.url(), headers, body)
}

func (p *poster) bodyOf(n *Notification) ([]byte, error) {
	switch {
	case p.preset != nil:
		m := &webhook.Message{
			Text: p.textOf(n), Key: "weir " + n.Receiver + " " + n.group, Resolved: n.Status == Resolved,
			Severity: n.Alerts[0].Severity, Source: n.Alerts[0].Name, Details: n.Alerts, RoutingKey: p.cfg.RoutingKey,
		}
		return p.preset.Body(m)
	case p.body != nil:
		return render(p.body, n, true)
	}
	return json.Marshal(n)
}

// textOf returns the message of a preset: by default, a line for each alert. An alert is more
// important than how it is written, so that is also what is sent if the template fails.
func (p *poster) textOf(n *Notification) string {
	failed := ""
	if p.text != nil {
		text, err := render(p.text, n, false)
		if err == nil {
			return string(text)
		}
		failed = "(text of the receiver: " + err.Error() + ")\n"
	}
	var b strings.Builder
	for _, a := range n.Alerts {
		fmt.Fprintf(&b, "%s %s: %s\n", strings.ToUpper(string(a.Status)), a.Severity, a.Summary)
	}
	return b.String() + failed
}

// render executes a template with the values of the notification's JSON.
func render(t *webhook.Template, n *Notification, asJSON bool) ([]byte, error) {
	object, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	values, err := webhook.Values(object, asJSON)
	if err != nil {
		return nil, err
	}
	return t.Render(values)
}

// post sends a body, JSON unless the headers name another type, and expects a 2xx status.
func post(ctx context.Context, c *webhook.Client, to string, headers http.Header, body []byte) error {
	if headers.Get("Content-Type") == "" {
		headers.Set("Content-Type", "application/json")
	}
	answer, err := c.Send(ctx, http.MethodPost, to, headers, body)
	if err != nil {
		return err
	}
	if !answer.OK() {
		return answer.Err()
	}
	return nil
}

func headersOf(pairs map[string]string) http.Header {
	h := make(http.Header)
	for name, value := range pairs {
		h.Set(name, value)
	}
	return h
}
