package alert

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"strings"
	"time"

	"weir.example/weir/internal/webhook"
)

// alertmanager posts alerts to version 2 of the API. Alertmanager identifies an alert by its labels
// and considers it resolved once endsAt has passed, so that no alert keeps firing after Weir is
// stopped.
type alertmanager struct {
	*webhook.Client
	cfg *AlertmanagerConfig
}

type postableAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// Send implements Receiver.
func (a *alertmanager) Send(ctx context.Context, n *Notification) error {
	alerts := make([]postableAlert, len(n.Alerts))
	for i, x := range n.Alerts {
		p := postableAlert{Labels: labelNames(x.Labels), Annotations: labelNames(x.Annotations), StartsAt: x.Since.UTC(), EndsAt: x.ResolvedAt.UTC()}
		p.Annotations["summary"], p.Annotations["weir_alert_id"] = x.Summary, x.ID
		if x.Status == Firing {
			p.EndsAt = time.Now().Add(4 * a.cfg.Resend).UTC()
		} else if !p.EndsAt.After(p.StartsAt) {
			p.EndsAt = p.StartsAt.Add(time.Millisecond) // the end must be after the start
		}
		alerts[i] = p
	}
	body, err := json.Marshal(alerts)
	if err != nil {
		return err
	}
	return post(ctx, a.Client, strings.TrimSuffix(a.cfg.URL, "/")+"/api/v2/alerts", headersOf(a.cfg.Headers), body)
}

// notLabel matches characters that Prometheus does not allow in label names.
var notLabel = regexp.MustCompile(`^[^a-zA-Z_]|[^a-zA-Z0-9_]`)

// labelNames returns the labels with valid names.
func labelNames(of map[string]string) map[string]string {
	names := make(map[string]string, len(of))
	for name, value := range maps.All(of) {
		if value != "" { // an empty label equals a missing one
			names[notLabel.ReplaceAllString(name, "_")] = value
		}
	}
	return names
}
