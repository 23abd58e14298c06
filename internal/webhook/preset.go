package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// Message is what presets send.
type Message struct {
	Text       string // lines
	Key        string // the same for later messages about the same thing
	Resolved   bool   // it is over
	Severity   string
	Source     string
	Details    any
	RoutingKey string // of PagerDuty
}

// Preset makes the bodies of a service.
type Preset struct {
	URL         string // default; "" for none
	ContentType string
	Secret      bool // the URL is a secret
	body        func(m *Message) (string, error)
}

// Presets are the known services.
var Presets = map[string]*Preset{
	"slack":     {ContentType: "application/json", Secret: true, body: slack},
	"teams":     {ContentType: "application/json", Secret: true, body: teams},
	"pagerduty": {URL: "https://events.pagerduty.com/v2/enqueue", ContentType: "application/json", body: pagerDuty},
	"ntfy":      {ContentType: "text/plain; charset=utf-8", body: func(m *Message) (string, error) { return m.Text, nil }},
}

// Body returns the body of a message.
func (p *Preset) Body(m *Message) ([]byte, error) {
	text, err := p.body(m)
	return []byte(text), err
}

// slack escapes what Slack would read as a link, or as a mention of everybody. See
// https://docs.slack.dev/messaging/formatting-message-text#escaping
func slack(m *Message) (string, error) {
	return asText(map[string]string{"text": strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(m.Text)})
}

// teams is the card that workflows of Teams post.
func teams(m *Message) (string, error) {
	block := map[string]any{"type": "TextBlock", "text": m.Text, "wrap": true}
	card := map[string]any{"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": []any{block}}
	return asText(map[string]any{"type": "message", "attachments": []any{map[string]any{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}}})
}

// Limits of PagerDuty's Events API v2.
const (
	maxSummary = 1024
	maxDedup   = 255
)

func pagerDuty(m *Message) (string, error) {
	key, summary := m.Key, m.Text
	if len(key) > maxDedup {
		sum := sha256.Sum256([]byte(key))
		key = hex.EncodeToString(sum[:])
	}
	if len(summary) > maxSummary {
		summary = strings.ToValidUTF8(summary[:maxSummary], "")
	}
	action, severity := "trigger", m.Severity
	if m.Resolved {
		action = "resolve"
	}
	if !slices.Contains([]string{"critical", "error", "warning", "info"}, severity) {
		severity = "error"
	}
	return asText(map[string]any{
		"routing_key": m.RoutingKey, "event_action": action, "dedup_key": key,
		"payload": map[string]any{"summary": summary, "source": m.Source, "severity": severity, "custom_details": m.Details},
	})
}
